package dev.equipoise.bench.train;

import ai.djl.ndarray.NDArray;
import dev.equipoise.bench.testbed.Picture;
import dev.equipoise.bench.testbed.Vocabulary;
import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufValue;
import dev.equipoise.runtime.gguf.GgufWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Writes the trained model as the two GGUF files that llama.cpp and libmtmd load. */
final class Export {
    /** File name of the text model. */
    static final String TEXT = "testbed-q8_0.gguf";
    /** File name of picture and sound encoder. */
    static final String MEDIA = "testbed-mmproj.gguf";

    private static final int FILE_TYPE_Q8_0 = 7;

    private Export() {
    }

    /** Writes both files into {@code directory}. */
    static void write(final OmniNet net, final Vocabulary words, final Path directory) {
        write(net, words, directory, net.parameters().get("mm.a.mlp.2.weight").toFloatArray());
    }

    /** Writes both files with another last layer of the sound projector, [WIDTH, EAR_FEATURES]. */
    static void write(final OmniNet net, final Vocabulary words, final Path directory, final float[] lastOfEar) {
        text(net, words, directory.resolve(TEXT));
        media(net, directory.resolve(MEDIA), lastOfEar);
    }

    private static void text(final OmniNet net, final Vocabulary words, final Path file) {
        final GgufWriter gguf = new GgufWriter()
                .put("general.architecture", "llama")
                .put("general.name", "Equipoise testbed")
                .put("general.license", "apache-2.0")
                .put("general.file_type", GgufValue.u32(FILE_TYPE_Q8_0))
                .put("llama.context_length", GgufValue.u32(ModelShape.CONTEXT))
                .put("llama.embedding_length", GgufValue.u32(ModelShape.WIDTH))
                .put("llama.block_count", GgufValue.u32(ModelShape.LAYERS))
                .put("llama.feed_forward_length", GgufValue.u32(ModelShape.FEED_FORWARD))
                .put("llama.attention.head_count", GgufValue.u32(ModelShape.HEADS))
                .put("llama.attention.head_count_kv", GgufValue.u32(ModelShape.HEADS))
                .put("llama.attention.layer_norm_rms_epsilon", GgufValue.f32(ModelShape.NORM_EPSILON))
                .put("llama.rope.dimension_count", GgufValue.u32(ModelShape.HEAD))
                .put("llama.rope.freq_base", GgufValue.f32(ModelShape.ROPE_BASE))
                .put("llama.vocab_size", GgufValue.u32(words.size()));
        words.addTo(gguf);
        net.parameters().forEach((name, values) -> {
            if (textTensor(name)) {
                final boolean matrix = values.getShape().dimension() > 1;
                gguf.tensor(name, matrix ? GgmlType.Q8_0 : GgmlType.F32, shape(values), values.toFloatArray());
            }
        });
        gguf.write(file);
    }

    private static boolean textTensor(final String name) {
        return name.startsWith("blk.") || name.startsWith("output") || name.startsWith("token_embd");
    }

    private static void media(final OmniNet net, final Path file, final float[] lastOfEar) {
        final Map<String, NDArray> parameters = net.parameters();
        final GgufWriter gguf = new GgufWriter()
                .put("general.architecture", "clip")
                .put("general.name", "Equipoise testbed")
                .put("general.license", "apache-2.0")
                .put("clip.use_gelu", GgufValue.bool(true))
                .put("clip.has_vision_encoder", GgufValue.bool(true))
                .put("clip.vision.projector_type", "mlp")
                .put("clip.vision.image_size", GgufValue.u32(Picture.SIZE))
                .put("clip.vision.patch_size", GgufValue.u32(ModelShape.PATCH))
                .put("clip.vision.embedding_length", GgufValue.u32(ModelShape.VISION_WIDTH))
                .put("clip.vision.feed_forward_length", GgufValue.u32(32))
                // libmtmd runs one block fewer than there are: none. The one it loads is as small as can be.
                .put("clip.vision.block_count", GgufValue.u32(1))
                .put("clip.vision.attention.head_count", GgufValue.u32(4))
                .put("clip.vision.attention.layer_norm_epsilon", GgufValue.f32(1e-5f))
                .put("clip.vision.projection_dim", GgufValue.u32(ModelShape.WIDTH))
                .put("clip.vision.image_mean", GgufValue.f32s(0.5f, 0.5f, 0.5f))
                .put("clip.vision.image_std", GgufValue.f32s(0.5f, 0.5f, 0.5f));
        final NDArray patch = parameters.get("v.patch_embd.weight");
        gguf.tensor("v.patch_embd.weight", GgmlType.F32,
                new long[] {ModelShape.PATCH, ModelShape.PATCH, 3, ModelShape.VISION_WIDTH}, patch.toFloatArray());
        for (final String name : List.of("v.patch_embd.bias", "v.position_embd.weight", "mm.0.weight", "mm.0.bias",
                "mm.2.weight", "mm.2.bias")) {
            final NDArray values = parameters.get(name);
            gguf.tensor(name, GgmlType.F32, shape(values), values.toFloatArray());
        }
        idleBlock(gguf);
        FrozenEar.write(gguf, lastOfEar);
        gguf.write(file);
    }

    private static void idleBlock(final GgufWriter gguf) {
        final int width = ModelShape.VISION_WIDTH;
        for (final String matrix : List.of("attn_q", "attn_k", "attn_v", "attn_out")) {
            zeros(gguf, "v.blk.0." + matrix + ".weight", GgmlType.F16, width, width);
            zeros(gguf, "v.blk.0." + matrix + ".bias", GgmlType.F32, width);
        }
        for (final String norm : List.of("ln1", "ln2")) {
            zeros(gguf, "v.blk.0." + norm + ".weight", GgmlType.F32, width);
            zeros(gguf, "v.blk.0." + norm + ".bias", GgmlType.F32, width);
        }
        zeros(gguf, "v.blk.0.ffn_up.weight", GgmlType.F16, width, 32);
        zeros(gguf, "v.blk.0.ffn_up.bias", GgmlType.F32, 32);
        zeros(gguf, "v.blk.0.ffn_down.weight", GgmlType.F16, 32, width);
        zeros(gguf, "v.blk.0.ffn_down.bias", GgmlType.F32, width);
    }

    private static void zeros(final GgufWriter gguf, final String name, final GgmlType type, final long... shape) {
        gguf.tensor(name, type, shape, new float[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)]);
    }

    /** Extents with the fastest first, as GGUF has them. */
    private static long[] shape(final NDArray values) {
        final long[] shape = values.getShape().getShape();
        final long[] reversed = new long[shape.length];
        for (int i = 0; i < shape.length; i++) {
            reversed[i] = shape[shape.length - 1 - i];
        }
        return reversed;
    }
}
