package dev.equipoise.kernels;

/** How far two correct implementations may be apart, each of them within half of that from the exact value. */
final class Bounds {
    /** Unit roundoff of a float. */
    static final double U = 0x1p-24;

    private Bounds() {
    }

    // What the exponent's rounding (|d| u) and the vector exponential (2.1 u, see rows_simd.h) do to a sum of e^d,
    // relative to it: the mean of those errors under the softmax.
    private static double relativeSum(final float[] row, final float max) {
        double sum = 0;
        double error = 0;
        for (final float z : row) {
            final double d = (double) z - max;
            if (d != Double.NEGATIVE_INFINITY) {
                sum += Math.exp(d);
                error += Math.exp(d) * (2.1 - d) * U + 2e-38; // below -87 an exponential may be lost
            }
        }
        return error / sum + 1e-12; // the doubles' own
    }

    static double logSumExp(final float[] row, final RowSummary summary) {
        return 2 * (relativeSum(row, summary.max()) + U + U * Math.abs(summary.logSumExp()));
    }

    // -sum p ln p is ln S + W / S; W's terms carry two more roundings, and a relative error of S or W enters W / S.
    static double entropy(final float[] row, final RowSummary summary, final double entropy) {
        return 2 * ((relativeSum(row, summary.max()) * 60 + 3 * U) * (1 + entropy));
    }

    // For each token. No term passes through more than n + 2 roundings of something no larger than the sum of
    // magnitudes; with log-probabilities the branches' log-sum-exps may differ as well.
    static double[] combined(final Case c) {
        final double[] bounds = new double[c.rows().vocabulary()];
        final double roundings = 2 * (c.sum().branches() + 2) * U * 1.001;
        for (int b = 0; b < c.sum().branches(); b++) {
            final double factor = Math.abs(c.sum().coefficients()[b]);
            final float[] row = c.row(b);
            final RowSummary summary = Kernels.scalar().summary(LogitRows.of(row), 0);
            final double offset = c.sum().logProbabilities() ? summary.logSumExp() : 0;
            final double shift = c.sum().logProbabilities() ? logSumExp(row, summary) : 0;
            for (int y = 0; y < row.length; y++) {
                if (row[y] > Float.NEGATIVE_INFINITY) {
                    bounds[y] += factor * (roundings * Math.abs(row[y] - offset) + shift) + Float.MIN_NORMAL;
                }
            }
        }
        return bounds;
    }
}
