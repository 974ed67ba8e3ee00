package dev.equipoise.kernels;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Arrays;

/**
 * How branches combine into one row: {@code out[y] = sum of coefficient[b] * v_b[y]} over the tokens that are plausible
 * in the base row, negative infinity elsewhere.
 *
 * <p>A token is plausible if {@code z_0[y] >= max(z_0) + ln(plausibility)}, that is, if its probability in the base row
 * is at least that share of the largest. A coefficient of 0 takes its branch out of the sum. Arrays are copied.
 *
 * @param rows the branches' rows, the base row first, at least one; a row may appear twice
 * @param coefficients one finite factor per branch
 * @param logProbabilities true: {@code v_b} is the branch's log-softmax; false: its logits
 * @param plausibility from 0 (every token the base row does not mask) to 1 (its maxima alone)
 */
public record BranchSum(int[] rows, float[] coefficients, boolean logProbabilities, float plausibility) {
    /**
     * @throws BadInputException if counts differ or a value is out of range
     */
    public BranchSum {
        rows = rows.clone();
        coefficients = coefficients.clone();
        if (rows.length == 0 || rows.length != coefficients.length) {
            throw new BadInputException("branches and coefficients do not match",
                    rows.length + " rows, " + coefficients.length + " coefficients",
                    "give one coefficient per branch, and at least one branch");
        }
        for (final float coefficient : coefficients) {
            if (!Float.isFinite(coefficient)) {
                throw new BadInputException("a coefficient is not finite", Arrays.toString(coefficients),
                        "give finite numbers");
            }
        }
        if (!(plausibility >= 0 && plausibility <= 1)) {
            throw new BadInputException("plausibility out of range", Float.toString(plausibility),
                    "give a number from 0 (off) to 1");
        }
    }

    /** Number of branches. */
    public int branches() {
        return rows.length;
    }

    /**
     * Refuses what this sum cannot be made of or written to.
     *
     * @throws BadInputException if the matrix lacks one of the rows, or {@code out} is too short or the matrix itself
     */
    public void requireFits(final LogitRows matrix, final float[] out) {
        for (final int row : rows) {
            matrix.start(row);
        }
        if (out.length < matrix.vocabulary() || out == matrix.values()) {
            throw new BadInputException("the combined row has no place", out.length + " values for a vocabulary of "
                    + matrix.vocabulary(), "give an array of its own for every token of the vocabulary");
        }
    }

    /** A copy. */
    @Override
    public int[] rows() {
        return rows.clone();
    }

    /** A copy. */
    @Override
    public float[] coefficients() {
        return coefficients.clone();
    }

    @Override
    public boolean equals(final Object other) {
        return other instanceof final BranchSum that
                && Arrays.equals(rows, that.rows)
                && Arrays.equals(coefficients, that.coefficients)
                && logProbabilities == that.logProbabilities
                && plausibility == that.plausibility;
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(rows) * 31 + Arrays.hashCode(coefficients);
    }

    @Override
    public String toString() {
        return "BranchSum[rows=" + Arrays.toString(rows) + ", coefficients=" + Arrays.toString(coefficients)
                + ", logProbabilities=" + logProbabilities + ", plausibility=" + plausibility + "]";
    }
}
