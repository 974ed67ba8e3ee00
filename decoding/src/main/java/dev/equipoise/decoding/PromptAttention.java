package dev.equipoise.decoding;

import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Span;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.IntStream;

/**
 * Attention of a prompt's last token, or of the last one that was generated behind it.
 *
 * @param spans what the columns are, covering all of them; generated tokens are text
 * @param rows {@code [blocks][columns]}, weights of at least 0, the mean of the heads
 * @param heads {@code [blocks][heads][columns]}; none where only the means are known
 */
public record PromptAttention(List<Span> spans, List<float[]> rows, List<float[][]> heads) {
    public PromptAttention {
        spans = List.copyOf(spans);
        rows = List.copyOf(rows);
        heads = List.copyOf(heads);
    }

    /** Attention of which only the means of the heads are known. */
    public PromptAttention(final List<Span> spans, final List<float[]> rows) {
        this(spans, rows, List.of());
    }

    /** Attention by head. */
    static PromptAttention ofHeads(final List<Span> spans, final List<float[][]> heads) {
        return new PromptAttention(spans, heads.stream().map(PromptAttention::mean).toList(), heads);
    }

    private static float[] mean(final float[][] heads) {
        final float[] mean = new float[heads[0].length];
        for (int column = 0; column < mean.length; column++) {
            double sum = 0;
            for (final float[] head : heads) {
                sum += head[column];
            }
            mean[column] = (float) (sum / heads.length);
        }
        return mean;
    }

    /** The columns of some modalities. */
    public SortedSet<Integer> columns(final Set<Modality> modalities) {
        final SortedSet<Integer> columns = new TreeSet<>();
        spans.stream()
                .filter(span -> modalities.contains(span.modality()))
                .forEach(span -> IntStream.range(span.start(), span.start() + span.length()).forEach(columns::add));
        return columns;
    }

    /** The mean row of some blocks, by their number in {@link #rows}. */
    double[] mean(final Collection<Integer> blocks) {
        final double[] mean = new double[rows.getFirst().length];
        for (final int block : blocks) {
            for (int column = 0; column < mean.length; column++) {
                mean[column] += rows.get(block)[column] / (double) blocks.size();
            }
        }
        return mean;
    }

    /** The mean over heads of each head's quantile of all columns, of which it takes the mean of all blocks. */
    double meanQuantile(final double at) {
        final int there = heads.getFirst().length;
        if (heads.stream().anyMatch(block -> block.length != there)) {
            throw new UnavailableException(
                    "a mean over blocks of each head, in a model whose blocks differ in their heads",
                    "tokens.mask heads",
                    "mask rows or columns, which the mean of all heads chooses");
        }
        double sum = 0;
        for (int head = 0; head < there; head++) {
            final double[] mean = new double[heads.getFirst()[head].length];
            for (final float[][] block : heads) {
                for (int column = 0; column < mean.length; column++) {
                    mean[column] += block[head][column] / (double) heads.size();
                }
            }
            sum += quantile(mean, at);
        }
        return sum / there;
    }

    /**
     * The fewest blocks that together hold a share of all blocks' attention to some modalities, by their number in
     * {@link #rows}; at least one.
     */
    List<Integer> lookingMost(final Set<Modality> modalities, final double share) {
        final Set<Integer> columns = columns(modalities);
        final double[] mass = rows.stream()
                .mapToDouble(row -> columns.stream().mapToDouble(column -> row[column]).sum())
                .toArray();
        final double wanted = share * Arrays.stream(mass).sum();
        final List<Integer> most = IntStream.range(0, mass.length)
                .boxed()
                .sorted(Comparator.comparingDouble((Integer block) -> -mass[block]))
                .toList();
        double held = 0;
        int count = 0;
        while (count < most.size() && (count == 0 || held < wanted)) {
            held += mass[most.get(count++)];
        }
        return most.subList(0, count);
    }

    /** A quantile, between neighbours in proportion, as torch has it. */
    static double quantile(final double[] values, final double at) {
        final double[] sorted = Arrays.stream(values).sorted().toArray();
        final double place = at * (sorted.length - 1);
        final int below = (int) Math.floor(place);
        final int above = Math.min(below + 1, sorted.length - 1);
        return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
    }
}
