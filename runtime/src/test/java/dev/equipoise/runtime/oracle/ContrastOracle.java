package dev.equipoise.runtime.oracle;

import java.util.Arrays;

/**
 * Contrastive decoding on rows of logits, formula by formula.
 *
 * <p>Rows are {@code [vocabulary]}; a token that may not be drawn is negative infinity. The order is that of the
 * published codes: contrast, then the cut-off, then whatever the sampler does.
 */
public final class ContrastOracle {
    private ContrastOracle() {
    }

    /** Logarithms of the softmax of a row, in nats. */
    public static double[] logSoftmax(final double[] row) {
        final double max = Arrays.stream(row).max().orElseThrow();
        final double logSum = max + Math.log(Arrays.stream(row).map(z -> Math.exp(z - max)).sum());
        return Arrays.stream(row).map(z -> z - logSum).toArray();
    }

    /**
     * The sum of rows times coefficients.
     *
     * @param rows {@code [branches][vocabulary]}
     * @param coefficients one for each branch
     */
    public static double[] weightedSum(final double[][] rows, final double... coefficients) {
        final double[] sum = new double[rows[0].length];
        for (int branch = 0; branch < rows.length; branch++) {
            for (int y = 0; y < sum.length; y++) {
                sum[y] += coefficients[branch] * rows[branch][y];
            }
        }
        return sum;
    }

    /**
     * Adaptive plausibility: keeps a token whose probability in the base row is at least {@code beta} times the
     * largest.
     *
     * @param beta 0 keeps all, 1 only the most probable
     */
    public static double[] cutOff(final double[] base, final double[] combined, final double beta) {
        final double least = Arrays.stream(base).max().orElseThrow() + Math.log(beta);
        final double[] kept = new double[combined.length];
        for (int y = 0; y < kept.length; y++) {
            kept[y] = base[y] >= least ? combined[y] : Double.NEGATIVE_INFINITY;
        }
        return kept;
    }

    /** Visual contrastive decoding: {@code other} saw the noised picture. */
    public static double[] vcd(final double[] base, final double[] other, final double alpha, final double beta) {
        return cutOff(base, weightedSum(new double[][] {base, other}, 1 + alpha, -alpha), beta);
    }

    /** Instruction contrastive decoding: {@code other} got the disturbed instruction. */
    public static double[] icd(final double[] base, final double[] other, final double alpha, final double beta) {
        return cutOff(base, weightedSum(new double[][] {base, other}, 1 + alpha, -alpha), beta);
    }

    /** Context-aware decoding: {@code other} lacks the context. The paper has no cut-off: {@code beta} 0. */
    public static double[] cad(final double[] base, final double[] other, final double alpha, final double beta) {
        return cutOff(base, weightedSum(new double[][] {base, other}, 1 + alpha, -alpha), beta);
    }

    /**
     * Multi-modal mutual-information decoding on log-probabilities: {@code other} lacks the picture.
     *
     * @param lambda forgetting rate per token
     * @param generated index of the token to draw, from 1
     * @param maxWeight ceiling of the weight {@code e^(lambda generated) - 1}, which grows without bound
     */
    public static double[] m3id(final double[] base, final double[] other, final double lambda, final int generated,
            final double maxWeight, final double beta) {
        final double gamma = Math.exp(-lambda * generated);
        final double weight = Math.min((1 - gamma) / gamma, maxWeight);
        final double[] conditional = logSoftmax(base);
        final double[] unconditional = logSoftmax(other);
        final double[] combined = new double[base.length];
        for (int y = 0; y < combined.length; y++) {
            combined[y] = conditional[y] + weight * (conditional[y] - unconditional[y]);
        }
        return cutOff(base, combined, beta);
    }
}
