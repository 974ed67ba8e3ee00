package dev.equipoise.bench.testbed;

/**
 * A share with its 95 % interval.
 *
 * @param hits how often it happened
 * @param n out of how many; 0 makes every number NaN
 * @param value the share, 0 to 1
 * @param low lower end of the Wilson score interval
 * @param high its upper end
 */
public record Proportion(int hits, int n, double value, double low, double high) {
    /** The 97.5 % point of the normal distribution. */
    private static final double Z = 1.959963984540054;

    /** The share {@code hits} of {@code n}. */
    public static Proportion of(final int hits, final int n) {
        if (n == 0) {
            return new Proportion(0, 0, Double.NaN, Double.NaN, Double.NaN);
        }
        final double share = (double) hits / n;
        final double square = Z * Z / n;
        final double centre = (share + square / 2) / (1 + square);
        final double half = Z / (1 + square) * Math.sqrt(share * (1 - share) / n + square / (4 * n));
        // The ends that rounding would only nearly reach.
        final double low = hits == 0 ? 0 : Math.max(0, centre - half);
        final double high = hits == n ? 1 : Math.min(1, centre + half);
        return new Proportion(hits, n, share, low, high);
    }
}
