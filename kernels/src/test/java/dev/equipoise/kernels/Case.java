package dev.equipoise.kernels;

import java.util.Arrays;
import java.util.Random;

/** A matrix of logits and a sum over its rows, made from a seed: every size that has a tail of its own. */
record Case(LogitRows rows, BranchSum sum) {
    /** Lane counts are 4, 8 and 16, slices multiples of 16, four vectors are unrolled. */
    static final int[] SIZES = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 95, 127, 128, 129, 255,
        257, 1000, 1025, 4099, 32001};

    enum Kind {
        /** Like a model's logits. */
        USUAL,
        /** Most exponentials underflow. */
        WIDE,
        /** All equal. */
        FLAT,
        /** A third of the tokens masked in every row, one more in the base row. */
        MASKED
    }

    static Case of(final long seed, final int vocabulary, final int branches, final Kind kind,
            final boolean logProbabilities, final float plausibility) {
        final Random random = new Random(seed);
        final int stride = vocabulary + random.nextInt(9);
        final float[] values = new float[(branches - 1) * stride + vocabulary];
        Arrays.fill(values, Float.NaN); // between rows: nobody may look
        final int[] index = new int[branches];
        final float[] coefficients = new float[branches];
        float rest = 1;
        for (int b = 0; b < branches; b++) {
            index[b] = branches - 1 - b;
            coefficients[b] = b == 0 ? 0 : -1.5f + 2 * random.nextFloat();
            rest -= coefficients[b];
            fill(values, index[b] * stride, vocabulary, kind, random);
        }
        coefficients[0] = rest;
        if (kind == Kind.MASKED && vocabulary > 1) {
            values[index[0] * stride + vocabulary - 1] = Float.NEGATIVE_INFINITY;
        }
        return new Case(new LogitRows(values, stride, vocabulary),
                new BranchSum(index, coefficients, logProbabilities, plausibility));
    }

    private static void fill(
            final float[] values, final int start, final int vocabulary, final Kind kind, final Random random) {
        final float offset = 40 * random.nextFloat() - 20;
        for (int y = 0; y < vocabulary; y++) {
            values[start + y] = offset + switch (kind) {
                case USUAL -> 24 * random.nextFloat() - 12;
                case WIDE -> 600 * random.nextFloat() - 300;
                case FLAT -> 0;
                case MASKED -> y % 3 == 1 ? Float.NEGATIVE_INFINITY : 24 * random.nextFloat() - 12;
            };
        }
    }

    float[] row(final int branch) {
        final int start = rows.start(sum.rows()[branch]);
        return Arrays.copyOfRange(rows.values(), start, start + rows.vocabulary());
    }

    Case with(final BranchSum other) {
        return new Case(rows, other);
    }
}
