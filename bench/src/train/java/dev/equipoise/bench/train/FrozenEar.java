package dev.equipoise.bench.train;

import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufValue;
import dev.equipoise.runtime.gguf.GgufWriter;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * The sound encoder: a tiny Whisper encoder and the first layer of an Ultravox projector, random and never trained. A
 * linear readout of random features is enough to tell the sounds apart, so only the projector's last layer learns.
 */
final class FrozenEar {
    private static final long SEED = 0x45415221L;

    private FrozenEar() {
    }

    /** Adds the metadata and tensors of the ear; {@code last} is the projector's last layer, [out, EAR_FEATURES]. */
    static void write(final GgufWriter gguf, final float[] last) {
        gguf.put("clip.has_audio_encoder", GgufValue.bool(true));
        gguf.put("clip.audio.projector_type", "ultravox");
        gguf.put("clip.audio.embedding_length", GgufValue.u32(ModelShape.EAR_WIDTH));
        gguf.put("clip.audio.feed_forward_length", GgufValue.u32(ModelShape.EAR_FEED_FORWARD));
        gguf.put("clip.audio.block_count", GgufValue.u32(1));
        gguf.put("clip.audio.attention.head_count", GgufValue.u32(ModelShape.EAR_HEADS));
        gguf.put("clip.audio.attention.layer_norm_epsilon", GgufValue.f32(1e-5f));
        gguf.put("clip.audio.projection_dim", GgufValue.u32(last.length / ModelShape.EAR_FEATURES));
        gguf.put("clip.audio.num_mel_bins", GgufValue.u32(ModelShape.MEL_BINS));
        gguf.put("clip.audio.projector.stack_factor", GgufValue.u32(ModelShape.STACK));

        final SplittableRandom random = new SplittableRandom(SEED);
        final int width = ModelShape.EAR_WIDTH;
        random(gguf, random, "a.conv1d.1.weight", GgmlType.F16, 0.6, 3, ModelShape.MEL_BINS, width);
        random(gguf, random, "a.conv1d.1.bias", GgmlType.F32, 0.1, 1, width);
        random(gguf, random, "a.conv1d.2.weight", GgmlType.F16, 1.0, 3, width, width);
        random(gguf, random, "a.conv1d.2.bias", GgmlType.F32, 0.1, 1, width);
        random(gguf, random, "a.position_embd.weight", GgmlType.F32, 0.1, width, ModelShape.EAR_POSITIONS);
        for (final String matrix : new String[] {"attn_q", "attn_k", "attn_v", "attn_out"}) {
            random(gguf, random, "a.blk.0." + matrix + ".weight", GgmlType.F16, 1.0, width, width);
            if (!matrix.equals("attn_k")) {
                constant(gguf, "a.blk.0." + matrix + ".bias", 0, width);
            }
        }
        random(gguf, random, "a.blk.0.ffn_up.weight", GgmlType.F16, 1.0, width, ModelShape.EAR_FEED_FORWARD);
        constant(gguf, "a.blk.0.ffn_up.bias", 0, ModelShape.EAR_FEED_FORWARD);
        random(gguf, random, "a.blk.0.ffn_down.weight", GgmlType.F16, 1.0, ModelShape.EAR_FEED_FORWARD, width);
        constant(gguf, "a.blk.0.ffn_down.bias", 0, width);
        for (final String norm : new String[] {"a.blk.0.ln1", "a.blk.0.ln2", "a.post_ln"}) {
            constant(gguf, norm + ".weight", 1, width);
            constant(gguf, norm + ".bias", 0, width);
        }
        final int stacked = width * ModelShape.STACK;
        constant(gguf, "mm.a.norm_pre.weight", 1, stacked);
        random(gguf, random, "mm.a.mlp.1.weight", GgmlType.F16, 1.0, stacked, 2 * ModelShape.EAR_FEATURES);
        constant(gguf, "mm.a.norm_mid.weight", 1, ModelShape.EAR_FEATURES);
        gguf.tensor("mm.a.mlp.2.weight", GgmlType.F32,
                new long[] {ModelShape.EAR_FEATURES, last.length / ModelShape.EAR_FEATURES}, last);
    }

    /** A last layer that hands the features through, for collecting them. */
    static float[] identity() {
        final float[] matrix = new float[ModelShape.EAR_FEATURES * ModelShape.EAR_FEATURES];
        for (int i = 0; i < ModelShape.EAR_FEATURES; i++) {
            matrix[i * ModelShape.EAR_FEATURES + i] = 1;
        }
        return matrix;
    }

    /** Normal numbers of deviation gain / sqrt(inputs): the last dimension counts outputs, all before it inputs. */
    private static void random(final GgufWriter gguf, final SplittableRandom random, final String name,
            final GgmlType type, final double gain, final int... shape) {
        int inputs = 1;
        for (int i = 0; i < shape.length - 1; i++) {
            inputs *= shape[i];
        }
        final float[] values = new float[inputs * shape[shape.length - 1]];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (random.nextGaussian() * gain / Math.sqrt(inputs));
        }
        gguf.tensor(name, type, Arrays.stream(shape).asLongStream().toArray(), values);
    }

    private static void constant(final GgufWriter gguf, final String name, final float value, final int size) {
        final float[] values = new float[size];
        Arrays.fill(values, value);
        gguf.tensor(name, GgmlType.F32, new long[] {size}, values);
    }
}
