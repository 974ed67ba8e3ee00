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
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
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

    private final SyntheticShape shape;
    private final SyntheticQuantisation quantisation;
    private final long seed;
    private final LongConsumer progress;
    private final GgufWriter writer = new GgufWriter();
    private long written;

    private SyntheticModel(final SyntheticShape shape, final SyntheticQuantisation quantisation, final long seed,
            final LongConsumer progress) {
        this.shape = shape;
        this.quantisation = quantisation;
        this.seed = seed;
        this.progress = progress;
    }

    /**
     * Writes a model; an existing file is replaced only when the new one is complete.
     *
     * @param seed decides every weight
     * @param progress is told now and then how many bytes of weights have been written, of {@link #bytes}
     * @throws BadInputException if rows of that shape are no whole blocks, or the place cannot be written to
     */
    public static void write(final Path path, final SyntheticShape shape, final SyntheticQuantisation quantisation,
            final long seed, final LongConsumer progress) {
        final SyntheticModel model = new SyntheticModel(shape, quantisation, seed, progress);
        model.metadata();
        model.tensors();
        model.writer.write(path);
    }

    /**
     * Bytes of weights in a model of that shape, for progress displays.
     *
     * @throws BadInputException if rows of that shape are no whole blocks
     */
    public static long bytes(final SyntheticShape shape, final SyntheticQuantisation quantisation) {
        return tensors(shape).stream().mapToLong(tensor -> tensor.type(shape, quantisation)
                .bytes(tensor.isNorm() ? tensor.in : (long) tensor.in * tensor.out)).sum();
    }

    /** A matrix, or with an {@code out} of 0 a norm; the layer is -1 outside of blocks. */
    private record Tensor(String name, int in, int out, int layer) {
        boolean isNorm() {
            return out == 0;
        }

        GgmlType type(final SyntheticShape shape, final SyntheticQuantisation quantisation) {
            final GgmlType type = isNorm() ? GgmlType.F32 : quantisation.of(shape, name, layer);
            if (in % type.blockSize() != 0) {
                throw new BadInputException(
                        name + ": rows of " + in + " are no whole blocks of " + type.blockSize(),
                        "synthetic model " + shape.name(), "use " + SyntheticQuantisation.Q4_0.label());
            }
            return type;
        }
    }

    private static List<Tensor> tensors(final SyntheticShape shape) {
        final int width = shape.width();
        final int kvWidth = width / shape.heads() * shape.kvHeads();
        final List<Tensor> all = new ArrayList<>();
        all.add(new Tensor("token_embd.weight", width, shape.vocabulary(), -1));
        all.add(new Tensor("output_norm.weight", width, 0, -1));
        if (!shape.tiedHead()) {
            all.add(new Tensor("output.weight", width, shape.vocabulary(), -1));
        }
        for (int i = 0; i < shape.layers(); i++) {
            final String block = "blk." + i + ".";
            all.add(new Tensor(block + "attn_norm.weight", width, 0, i));
            all.add(new Tensor(block + "attn_q.weight", width, width, i));
            all.add(new Tensor(block + "attn_k.weight", width, kvWidth, i));
            all.add(new Tensor(block + "attn_v.weight", width, kvWidth, i));
            all.add(new Tensor(block + "attn_output.weight", width, width, i));
            all.add(new Tensor(block + "ffn_norm.weight", width, 0, i));
            all.add(new Tensor(block + "ffn_gate.weight", width, shape.feedForward(), i));
            all.add(new Tensor(block + "ffn_up.weight", width, shape.feedForward(), i));
            all.add(new Tensor(block + "ffn_down.weight", shape.feedForward(), width, i));
        }
        return all;
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
        final float[] ones = new float[shape.width()];
        Arrays.fill(ones, 1);
        for (final Tensor tensor : tensors(shape)) {
            final GgmlType type = tensor.type(shape, quantisation);
            if (tensor.isNorm()) {
                writer.tensor(tensor.name, type, new long[] {tensor.in}, ones);
            } else {
                writer.tensor(tensor.name, type, new long[] {tensor.in, tensor.out}, this::blocks);
            }
        }
    }

    private void blocks(final GgufTensor tensor, final OutputStream out) throws IOException {
        final GgmlType type = tensor.type();
        final SplittableRandom random = new SplittableRandom(seed * 31 + tensor.name().hashCode());
        final Blocks blocks = Blocks.of(type, 1 / Math.sqrt(tensor.extent(0)));
        final ByteBuffer portion =
                ByteBuffer.allocate(BLOCKS_A_PORTION * type.blockBytes()).order(ByteOrder.LITTLE_ENDIAN);
        long left = tensor.elements() / type.blockSize();
        while (left > 0) {
            portion.clear();
            final int n = (int) Math.min(left, BLOCKS_A_PORTION);
            long signs = 0;
            for (int i = 0; i < n; i++) {
                signs = i % Long.SIZE == 0 ? random.nextLong() : signs >>> 1;
                blocks.draw(portion, random, (signs & 1) == 0);
            }
            out.write(portion.array(), 0, portion.position());
            left -= n;
            written += portion.position();
            progress.accept(written);
        }
    }
}
