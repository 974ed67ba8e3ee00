package dev.equipoise.bench.speed;

import java.util.Arrays;
import java.util.Optional;
import org.apache.commons.statistics.distribution.BinomialDistribution;

/**
 * What repeated measurements say of one quantity.
 *
 * @param median middle value, the mean of the two middle ones for an even count
 * @param min smallest
 * @param max largest
 * @param ci95 interval that holds the true median with at least 95 % confidence; empty below 6 values, which cannot
 *     give one
 * @param n values
 */
public record Spread(double median, double min, double max, Optional<Interval> ci95, int n) {
    private static final double CONFIDENCE = 0.95;

    /**
     * A closed interval.
     *
     * @param low lower end
     * @param high upper end, not below it
     */
    public record Interval(double low, double high) {}

    /**
     * The spread of some values, finite and at least one.
     *
     * <p>The interval runs from the k-th smallest to the k-th largest value, k as large as exact binomial odds allow.
     * It assumes nothing of the distribution but that rounds are independent.
     */
    public static Spread of(final double... values) {
        final double[] sorted = values.clone();
        Arrays.sort(sorted);
        final int n = sorted.length;
        if (n == 0 || !Double.isFinite(sorted[0]) || !Double.isFinite(sorted[n - 1])) {
            throw new IllegalArgumentException("no finite values: " + Arrays.toString(values));
        }
        final double median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
        final int k = rank(n);
        final Optional<Interval> interval =
                k == 0 ? Optional.empty() : Optional.of(new Interval(sorted[k - 1], sorted[n - k]));
        return new Spread(median, sorted[0], sorted[n - 1], interval, n);
    }

    // The largest k for which the true median lies below the k-th smallest of n values in at most 2.5 % of cases, that
    // is, for which fewer than k heads in n fair tosses are that rare; 0 when even k = 1 is not.
    private static int rank(final int n) {
        final BinomialDistribution heads = BinomialDistribution.of(n, 0.5);
        int k = 0;
        while (heads.cumulativeProbability(k) <= (1 - CONFIDENCE) / 2) {
            k++;
        }
        return k;
    }
}
