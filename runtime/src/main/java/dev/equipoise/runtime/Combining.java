package dev.equipoise.runtime;

import dev.equipoise.kernels.BranchSum;
import dev.equipoise.kernels.ContrastKernels;
import dev.equipoise.kernels.Kernels;
import dev.equipoise.kernels.LogitRows;
import dev.equipoise.kernels.RowSummary;
import java.util.SortedMap;
import java.util.stream.IntStream;

/**
 * Makes one row of those of a request's branches, token by token, when no step does it: the same gate, coefficients and
 * cut-off by the same kernels, then the sampler's shifts of logits. It goes along one continuation; {@link #copy} parts
 * another from it.
 */
final class Combining {
    private final Combination combination;
    private final Gate gate;
    private final SortedMap<Integer, Float> shifts;
    private final int vocabulary;
    // Loaded for the first rows that combine: one branch needs none.
    private ContrastKernels kernels;
    private int count;
    private boolean disagreed;

    Combining(final Request request, final SortedMap<Integer, Float> shifts, final int vocabulary) {
        this(request.combination().orElse(null), request.gate().orElse(null), shifts, vocabulary);
    }

    private Combining(
            final Combination combination,
            final Gate gate,
            final SortedMap<Integer, Float> shifts,
            final int vocabulary) {
        this.combination = combination;
        this.gate = gate;
        this.shifts = shifts;
        this.vocabulary = vocabulary;
    }

    /** Another that has come as far. */
    Combining copy() {
        final Combining other = new Combining(combination, gate, shifts, vocabulary);
        other.kernels = kernels;
        other.count = count;
        other.disagreed = disagreed;
        return other;
    }

    /**
     * The row from which the next token would be drawn.
     *
     * @param rows {@code [branches][vocabulary]}, base first, one after another
     * @return {@code [vocabulary]}, the caller's to keep
     */
    float[] next(final float[] rows) {
        final float[] row = combination == null ? rows.clone() : combine(rows);
        count++;
        shifts.forEach((token, shift) -> row[token] += shift);
        return row;
    }

    private float[] combine(final float[] values) {
        final LogitRows rows = new LogitRows(values, vocabulary, vocabulary);
        if (kernels == null) {
            kernels = Kernels.nativeCpu();
        }
        final float[] row = new float[vocabulary];
        if (!isOpen(rows)) {
            System.arraycopy(values, 0, row, 0, vocabulary);
            return row;
        }
        final float[] coefficients = new float[rows.rows()];
        if (combination.coefficients().readsEntropies()) {
            final float[] entropies = new float[coefficients.length];
            for (int b = 0; b < entropies.length; b++) {
                entropies[b] = kernels.entropy(rows, b);
            }
            combination.coefficients().at(count + 1, entropies, coefficients);
        } else {
            combination.coefficients().at(count + 1, coefficients);
        }
        final int[] members = IntStream.range(0, coefficients.length).toArray();
        final float plausibility = (float) combination.plausibility();
        kernels.combine(
                rows, new BranchSum(members, coefficients, combination.logProbabilities(), plausibility), row);
        combination.cutOffValue().ifPresent(value -> cut(row, (float) value));
        disagreed = kernels.argmax(LogitRows.of(row), 0) != kernels.argmax(rows, 0);
        return row;
    }

    private static void cut(final float[] row, final float value) {
        for (int token = 0; token < row.length; token++) {
            row[token] = row[token] == Float.NEGATIVE_INFINITY ? value : row[token];
        }
    }

    private boolean isOpen(final LogitRows rows) {
        return switch (gate) {
            case null -> true;
            case Gate.Entropy entropy -> kernels.entropy(rows, 0) > (float) entropy.above();
            case Gate.Confidence confidence -> {
                final RowSummary base = kernels.summary(rows, 0);
                yield (float) Math.exp(base.max() - base.logSumExp()) < (float) confidence.below();
            }
            case Gate.Disagreement looking -> disagreed || count % looking.every() == 0;
        };
    }
}
