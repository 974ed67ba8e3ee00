package dev.equipoise.bench.synth;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufTensor;
import dev.equipoise.runtime.gguf.GgufValue;
import dev.equipoise.runtime.gguf.GgufWriter;
import dev.equipoise.runtime.gguf.WordVocabulary;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.function.LongConsumer;

/**
 * Writes a random but valid GGUF of a given shape.
 *
 * <p>Blocks are drawn directly in their stored form and written as they are drawn, so a model of any size needs a few
 * hundred kilobytes of heap (and its vocabulary) and about as long as the disk takes. Scales are chosen so that what
 * comes out of a matrix is as large as what goes in: hidden states and logits stay finite. The same shape, type and
 * seed give the same bytes.
 */
public final class SyntheticModel {
    private static final int CONTEXT = 32_768;
    private static final int BLOCKS_A_PORTION = 2048;
    /** Standard deviation of what a block's integers mean: 16 steps from -8, or 128 steps from -64. */
    private static final double Q4_DEVIATION = Math.sqrt((16 * 16 - 1) / 12.0);
    private static final double Q8_DEVIATION = Math.sqrt((128 * 128 - 1) / 12.0);

    private final SyntheticShape shape;
    private final GgmlType type;
    private final long seed;
    private final LongConsumer progress;
    private final GgufWriter writer = new GgufWriter();
    private long written;

    private SyntheticModel(
            final SyntheticShape shape, final GgmlType type, final long seed, final LongConsumer progress) {
        this.shape = shape;
        this.type = type;
        this.seed = seed;
        this.progress = progress;
    }

    /**
     * The type of that name.
     *
     * @throws BadInputException if it is neither {@code q4_0} nor {@code q8_0}
     */
    public static GgmlType quantisation(final String name) {
        return switch (name.toLowerCase(Locale.ROOT)) {
            case "q4_0" -> GgmlType.Q4_0;
            case "q8_0" -> GgmlType.Q8_0;
            default -> throw new BadInputException(
                    "no quantisation '" + name + "'", "synthetic model", "use q4_0 or q8_0");
        };
    }

    /**
     * Writes a model; an existing file is replaced only when the new one is complete.
     *
     * @param type {@link GgmlType#Q4_0} or {@link GgmlType#Q8_0} for the matrices; norms are F32
     * @param seed decides every weight
     * @param progress is told now and then how many bytes of weights have been written, of {@link #bytes}
     * @throws BadInputException if the type is another or the place cannot be written to
     */
    public static void write(final Path path, final SyntheticShape shape, final GgmlType type, final long seed,
            final LongConsumer progress) {
        quantisation(type.name());
        final SyntheticModel model = new SyntheticModel(shape, type, seed, progress);
        model.metadata();
        model.tensors();
        model.writer.write(path);
    }

    /** Bytes of weights in a model of that shape, for progress displays. */
    public static long bytes(final SyntheticShape shape, final GgmlType type) {
        final long width = shape.width();
        final long kvWidth = width / shape.heads() * shape.kvHeads();
        final long matrices = shape.layers() * width * (2 * width + 2 * kvWidth + 3L * shape.feedForward())
                + (shape.tiedHead() ? 1 : 2) * width * shape.vocabulary();
        return type.bytes(matrices) + GgmlType.F32.bytes((2L * shape.layers() + 1) * width);
    }

    private void metadata() {
        writer.put("general.architecture", "llama")
                .put("general.name", "synthetic " + shape.name() + ", seed " + seed)
                .put("llama.context_length", GgufValue.u32(CONTEXT))
                .put("llama.embedding_length", GgufValue.u32(shape.width()))
                .put("llama.block_count", GgufValue.u32(shape.layers()))
                .put("llama.feed_forward_length", GgufValue.u32(shape.feedForward()))
                .put("llama.attention.head_count", GgufValue.u32(shape.heads()))
                .put("llama.attention.head_count_kv", GgufValue.u32(shape.kvHeads()))
                .put("llama.attention.layer_norm_rms_epsilon", GgufValue.f32(1e-6f))
                .put("llama.rope.dimension_count", GgufValue.u32(shape.width() / shape.heads()))
                .put("llama.rope.freq_base", GgufValue.f32(10_000));
        WordVocabulary.ofSize(shape.vocabulary()).addTo(writer);
    }

    private void tensors() {
        final int width = shape.width();
        final int kvWidth = width / shape.heads() * shape.kvHeads();
        matrix("token_embd.weight", width, shape.vocabulary());
        norm("output_norm.weight");
        if (!shape.tiedHead()) {
            matrix("output.weight", width, shape.vocabulary());
        }
        for (int i = 0; i < shape.layers(); i++) {
            final String block = "blk." + i + ".";
            norm(block + "attn_norm.weight");
            matrix(block + "attn_q.weight", width, width);
            matrix(block + "attn_k.weight", width, kvWidth);
            matrix(block + "attn_v.weight", width, kvWidth);
            matrix(block + "attn_output.weight", width, width);
            norm(block + "ffn_norm.weight");
            matrix(block + "ffn_gate.weight", width, shape.feedForward());
            matrix(block + "ffn_up.weight", width, shape.feedForward());
            matrix(block + "ffn_down.weight", shape.feedForward(), width);
        }
    }

    private void norm(final String name) {
        final float[] ones = new float[shape.width()];
        Arrays.fill(ones, 1);
        writer.tensor(name, GgmlType.F32, new long[] {shape.width()}, ones);
    }

    private void matrix(final String name, final int in, final int out) {
        writer.tensor(name, type, new long[] {in, out}, this::blocks);
    }

    private void blocks(final GgufTensor tensor, final OutputStream out) throws IOException {
        final SplittableRandom random = new SplittableRandom(seed * 31 + tensor.name().hashCode());
        final double deviation = 1 / Math.sqrt(tensor.extent(0));
        final boolean four = type == GgmlType.Q4_0;
        final float scale = (float) (deviation / (four ? Q4_DEVIATION : Q8_DEVIATION));
        // Four bits have a mean of -1/2: with scales of either sign no direction is favoured.
        final short[] scales = {Float.floatToFloat16(scale), Float.floatToFloat16(-scale)};
        final ByteBuffer portion =
                ByteBuffer.allocate(BLOCKS_A_PORTION * type.blockBytes()).order(ByteOrder.LITTLE_ENDIAN);
        long left = tensor.elements() / type.blockSize();
        while (left > 0) {
            portion.clear();
            final int n = (int) Math.min(left, BLOCKS_A_PORTION);
            long signs = 0;
            for (int i = 0; i < n; i++) {
                signs = i % Long.SIZE == 0 ? random.nextLong() : signs >>> 1;
                portion.putShort(scales[(int) signs & 1]);
                if (four) {
                    portion.putLong(random.nextLong()).putLong(random.nextLong());
                } else {
                    for (int j = 0; j < 4; j++) {
                        portion.putLong(signedSevenBits(random.nextLong()));
                    }
                }
            }
            out.write(portion.array(), 0, portion.position());
            left -= n;
            written += portion.position();
            progress.accept(written);
        }
    }

    /** Eight bytes from -64 to 63: the quantiser never writes -128, and kernels rely on it. */
    private static long signedSevenBits(final long bits) {
        final long seven = bits & 0x7F7F7F7F7F7F7F7FL;
        return seven | (seven & 0x4040404040404040L) << 1;
    }
}
