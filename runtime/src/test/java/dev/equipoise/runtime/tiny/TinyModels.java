package dev.equipoise.runtime.tiny;

import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufValue;
import dev.equipoise.runtime.gguf.GgufWriter;
import dev.equipoise.runtime.gguf.WordVocabulary;
import java.nio.file.Path;
import java.util.Random;

/** Writes small random models whose activations are of order one, so that absolute tolerances mean something. */
public final class TinyModels {
    /** Trained context of every tiny text model, in tokens. */
    public static final int CONTEXT = 512;
    /** Pixels a side of the pictures that a tiny projector takes. */
    public static final int IMAGE_SIZE = 32;
    /** Pixels a side of a patch. */
    public static final int PATCH_SIZE = 8;
    /** Embeddings that a tiny projector makes of one picture. */
    public static final int IMAGE_TOKENS = 16;
    /** Frames of 20 ms that make one embedding. */
    public static final int STACK_FACTOR = 50;
    /** Embeddings that a tiny projector makes of one window of 30 s. */
    public static final int AUDIO_TOKENS = 30;

    private static final int MEL_BINS = 40;
    private static final int AUDIO_FRAMES = 1500;

    private TinyModels() {
    }

    /**
     * Shape of a text model.
     *
     * @param width a multiple of {@code heads} (and of 32 for Q8_0), with even heads
     * @param tiedHead whether the output head is the embedding table
     */
    public record LlamaShape(
            long seed, int layers, int width, int heads, int kvHeads, int feedForward, WordVocabulary vocabulary,
            GgmlType type, boolean tiedHead) {
    }

    /** Writes a float32 model of the {@code llama} architecture with a vocabulary of exactly {@code vocabulary}. */
    public static Path llama(final Path path, final long seed, final int layers, final int width, final int heads,
            final int kvHeads, final int feedForward, final int vocabulary) {
        return llama(path, new LlamaShape(seed, layers, width, heads, kvHeads, feedForward,
                WordVocabulary.ofSize(vocabulary), GgmlType.F32, false));
    }

    /** The model that most tests use: 4 layers, 64 wide, 4 heads over 2, 512 tokens, float32. */
    public static Path llama(final Path path, final long seed) {
        return llama(path, seed, 4, 64, 4, 2, 96, 512);
    }

    /** Writes a model of the {@code llama} architecture; matrices are stored as the shape's type, norms as F32. */
    public static Path llama(final Path path, final LlamaShape shape) {
        final Weights weights = new Weights(shape.seed());
        final GgufWriter writer = new GgufWriter()
                .put("general.architecture", "llama")
                .put("general.name", "tiny random llama " + shape.seed())
                .put("llama.context_length", GgufValue.u32(CONTEXT))
                .put("llama.embedding_length", GgufValue.u32(shape.width()))
                .put("llama.block_count", GgufValue.u32(shape.layers()))
                .put("llama.feed_forward_length", GgufValue.u32(shape.feedForward()))
                .put("llama.attention.head_count", GgufValue.u32(shape.heads()))
                .put("llama.attention.head_count_kv", GgufValue.u32(shape.kvHeads()))
                .put("llama.attention.layer_norm_rms_epsilon", GgufValue.f32(1e-5f))
                .put("llama.rope.dimension_count", GgufValue.u32(shape.width() / shape.heads()))
                .put("llama.rope.freq_base", GgufValue.f32(10000));
        shape.vocabulary().addTo(writer);
        final int width = shape.width();
        final int kvWidth = width / shape.heads() * shape.kvHeads();
        final int vocabulary = shape.vocabulary().size();
        // As a head, rows must not be longer than a matrix's: logits stay of order one.
        weights.rows(writer, "token_embd.weight", shape.type(), width, vocabulary,
                shape.tiedHead() ? 1 / Math.sqrt(width) : 1);
        weights.norm(writer, "output_norm.weight", width);
        if (!shape.tiedHead()) {
            weights.matrix(writer, "output.weight", shape.type(), width, vocabulary);
        }
        for (int i = 0; i < shape.layers(); i++) {
            final String block = "blk." + i + ".";
            weights.norm(writer, block + "attn_norm.weight", width);
            weights.matrix(writer, block + "attn_q.weight", shape.type(), width, width);
            weights.matrix(writer, block + "attn_k.weight", shape.type(), width, kvWidth);
            weights.matrix(writer, block + "attn_v.weight", shape.type(), width, kvWidth);
            weights.matrix(writer, block + "attn_output.weight", shape.type(), width, width);
            weights.norm(writer, block + "ffn_norm.weight", width);
            weights.matrix(writer, block + "ffn_gate.weight", shape.type(), width, shape.feedForward());
            weights.matrix(writer, block + "ffn_up.weight", shape.type(), width, shape.feedForward());
            weights.matrix(writer, block + "ffn_down.weight", shape.type(), shape.feedForward(), width);
        }
        writer.write(path);
        return path;
    }

    /** Writes a projector for pictures and sound with encoders of 32 elements. */
    public static Path mmproj(final Path path, final long seed, final int projectionWidth) {
        return mmproj(path, seed, 32, 32, projectionWidth);
    }

    /**
     * Writes a projector: pictures by {@code mlp}, sound by {@code ultravox}.
     *
     * @param visionWidth width of the picture encoder, a multiple of 4, or 0 for none
     * @param audioWidth width of the sound encoder, a multiple of 4, or 0 for none
     * @param projectionWidth width of the text model
     */
    public static Path mmproj(final Path path, final long seed, final int visionWidth, final int audioWidth,
            final int projectionWidth) {
        // Two blocks, of which libmtmd runs the first: LLaVA takes the state before the last.
        return mmproj(path, seed, visionWidth, 2, false, audioWidth, projectionWidth);
    }

    /** The same with more blocks in the picture encoder, all of which run but the last, or with a class token. */
    public static Path mmproj(final Path path, final long seed, final int visionWidth, final int visionBlocks,
            final boolean classToken, final int audioWidth, final int projectionWidth) {
        final Weights weights = new Weights(seed);
        final GgufWriter writer = new GgufWriter()
                .put("general.architecture", "clip")
                .put("general.name", "tiny random projector " + seed)
                .put("clip.has_vision_encoder", GgufValue.bool(visionWidth > 0))
                .put("clip.has_audio_encoder", GgufValue.bool(audioWidth > 0))
                .put("clip.use_gelu", GgufValue.bool(true));
        if (visionWidth > 0) {
            vision(writer, weights, visionWidth, visionBlocks, classToken, projectionWidth);
        }
        if (audioWidth > 0) {
            audio(writer, weights, audioWidth, projectionWidth);
        }
        writer.write(path);
        return path;
    }

    private static void vision(final GgufWriter writer, final Weights weights, final int width, final int blocks,
            final boolean classToken, final int projection) {
        encoder(writer, "vision", "mlp", width, blocks, projection);
        writer.put("clip.vision.image_size", GgufValue.u32(IMAGE_SIZE))
                .put("clip.vision.patch_size", GgufValue.u32(PATCH_SIZE))
                .put("clip.vision.image_mean", GgufValue.f32s(0.5f, 0.5f, 0.5f))
                .put("clip.vision.image_std", GgufValue.f32s(0.25f, 0.25f, 0.25f));
        weights.add(writer, "v.patch_embd.weight", GgmlType.F32, 1 / Math.sqrt(PATCH_SIZE * PATCH_SIZE * 3),
                PATCH_SIZE, PATCH_SIZE, 3, width);
        if (classToken) {
            weights.rows(writer, "v.class_embd", GgmlType.F32, width, 1, 0.5);
        }
        weights.rows(writer, "v.position_embd.weight", GgmlType.F32, width, IMAGE_TOKENS + (classToken ? 1 : 0), 0.5);
        for (int i = 0; i < blocks; i++) {
            block(writer, weights, "v.blk." + i + ".", width);
        }
        weights.matrix(writer, "mm.0.weight", GgmlType.F32, width, projection);
        weights.rows(writer, "mm.0.bias", GgmlType.F32, projection, 1, 0.1);
        weights.matrix(writer, "mm.2.weight", GgmlType.F32, projection, projection);
        weights.rows(writer, "mm.2.bias", GgmlType.F32, projection, 1, 0.1);
    }

    private static void audio(final GgufWriter writer, final Weights weights, final int width, final int projection) {
        encoder(writer, "audio", "ultravox", width, 1, projection);
        writer.put("clip.audio.num_mel_bins", GgufValue.u32(MEL_BINS))
                .put("clip.audio.projector.stack_factor", GgufValue.u32(STACK_FACTOR));
        weights.add(writer, "a.conv1d.1.weight", GgmlType.F32, 1 / Math.sqrt(3 * MEL_BINS), 3, MEL_BINS, width);
        weights.add(writer, "a.conv1d.1.bias", GgmlType.F32, 0.1, 1, width);
        weights.add(writer, "a.conv1d.2.weight", GgmlType.F32, 1 / Math.sqrt(3 * width), 3, width, width);
        weights.add(writer, "a.conv1d.2.bias", GgmlType.F32, 0.1, 1, width);
        weights.rows(writer, "a.position_embd.weight", GgmlType.F32, width, AUDIO_FRAMES, 0.5);
        block(writer, weights, "a.blk.0.", width);
        final int stacked = width * STACK_FACTOR;
        weights.norm(writer, "mm.a.norm_pre.weight", stacked);
        weights.matrix(writer, "mm.a.mlp.1.weight", GgmlType.F32, stacked, 2 * projection);
        weights.norm(writer, "mm.a.norm_mid.weight", projection);
        weights.matrix(writer, "mm.a.mlp.2.weight", GgmlType.F32, projection, projection);
    }

    private static void encoder(final GgufWriter writer, final String modality, final String projector,
            final int width, final int layers, final int projection) {
        final String prefix = "clip." + modality + ".";
        writer.put(prefix + "projector_type", projector)
                .put(prefix + "embedding_length", GgufValue.u32(width))
                .put(prefix + "feed_forward_length", GgufValue.u32(2 * width))
                .put(prefix + "block_count", GgufValue.u32(layers))
                .put(prefix + "projection_dim", GgufValue.u32(projection))
                .put(prefix + "attention.head_count", GgufValue.u32(2))
                .put(prefix + "attention.layer_norm_epsilon", GgufValue.f32(1e-5f));
    }

    private static void block(final GgufWriter writer, final Weights weights, final String block, final int width) {
        for (final String norm : new String[] {"ln1", "ln2"}) {
            weights.norm(writer, block + norm + ".weight", width);
            weights.rows(writer, block + norm + ".bias", GgmlType.F32, width, 1, 0.1);
        }
        for (final String matrix : new String[] {"attn_q", "attn_k", "attn_v", "attn_out"}) {
            weights.matrix(writer, block + matrix + ".weight", GgmlType.F32, width, width);
            if (!matrix.equals("attn_k")) {
                weights.rows(writer, block + matrix + ".bias", GgmlType.F32, width, 1, 0.1);
            }
        }
        weights.matrix(writer, block + "ffn_up.weight", GgmlType.F32, width, 2 * width);
        weights.rows(writer, block + "ffn_up.bias", GgmlType.F32, 2 * width, 1, 0.1);
        weights.matrix(writer, block + "ffn_down.weight", GgmlType.F32, 2 * width, width);
        weights.rows(writer, block + "ffn_down.bias", GgmlType.F32, width, 1, 0.1);
    }

    /** Seeded normal numbers, scaled so that what comes out of a matrix is as large as what goes in. */
    private static final class Weights {
        private final Random random;

        Weights(final long seed) {
            random = new Random(seed);
        }

        void matrix(final GgufWriter writer, final String name, final GgmlType type, final int in, final int out) {
            rows(writer, name, type, in, out, 1 / Math.sqrt(in));
        }

        void rows(final GgufWriter writer, final String name, final GgmlType type, final int in, final int out,
                final double deviation) {
            if (out == 1) {
                add(writer, name, type, deviation, in);
            } else {
                add(writer, name, type, deviation, in, out);
            }
        }

        void norm(final GgufWriter writer, final String name, final int width) {
            final float[] values = new float[width];
            for (int i = 0; i < width; i++) {
                values[i] = (float) (1 + 0.1 * random.nextGaussian());
            }
            writer.tensor(name, GgmlType.F32, new long[] {width}, values);
        }

        void add(final GgufWriter writer, final String name, final GgmlType type, final double deviation,
                final long... shape) {
            long elements = 1;
            for (final long extent : shape) {
                elements *= extent;
            }
            final float[] values = new float[Math.toIntExact(elements)];
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) (deviation * random.nextGaussian());
            }
            writer.tensor(name, type, shape, values);
        }
    }
}
