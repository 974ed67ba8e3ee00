package dev.equipoise.kernels;

import dev.equipoise.kernels.ffm.Status;
import java.util.Objects;

/** The reference in plain Java: the formulas of {@code equipoise_kernels.h} in doubles, one loop each. */
final class ScalarKernels implements ContrastKernels {
    @Override
    public String description() {
        return "scalar, Java";
    }

    @Override
    public Combined combine(final LogitRows rows, final BranchSum sum, final float[] out) {
        sum.requireFits(rows, out);
        final int[] starts = sum.rows();
        final float[] coefficients = sum.coefficients();
        final double[] offsets = new double[starts.length];
        float max = 0;
        for (int b = 0; b < starts.length; b++) {
            final RowSummary summary = summary(rows, starts[b]);
            max = b == 0 ? summary.max() : max;
            offsets[b] = sum.logProbabilities() ? summary.logSumExp() : 0;
            starts[b] = rows.start(starts[b]);
        }
        final float cutOff = (float) (max + Math.log(sum.plausibility()));

        final float[] z = rows.values();
        long kept = 0;
        double deltaSquared = 0;
        for (int y = 0; y < rows.vocabulary(); y++) {
            final float base = z[starts[0] + y];
            out[y] = Float.NEGATIVE_INFINITY;
            if (base == Float.NEGATIVE_INFINITY || base < cutOff) {
                continue;
            }
            double combined = 0;
            for (int b = 0; b < starts.length; b++) {
                if (coefficients[b] != 0) { // 0 times a masked logit would be NaN
                    combined += coefficients[b] * (z[starts[b] + y] - offsets[b]);
                }
            }
            out[y] = (float) combined;
            if (!(out[y] < Float.POSITIVE_INFINITY)) {
                throw Status.NOT_FINITE.failure("combining " + starts.length + " rows, token " + y);
            }
            if (out[y] > Float.NEGATIVE_INFINITY) {
                final double delta = combined - (base - offsets[0]);
                deltaSquared += delta * delta;
                kept++;
            }
        }
        if (kept == 0) {
            throw Status.EMPTY_ROW.failure("combining " + starts.length + " rows");
        }
        return new Combined(kept, deltaSquared);
    }

    @Override
    public RowSummary summary(final LogitRows rows, final int row) {
        final int start = rows.start(row);
        final float[] z = rows.values();
        final float max = max(rows, row);
        double sum = 0;
        for (int y = 0; y < rows.vocabulary(); y++) {
            sum += Math.exp((double) z[start + y] - max);
        }
        return new RowSummary(max, (float) (max + Math.log(sum)));
    }

    @Override
    public int argmax(final LogitRows rows, final int row) {
        final int start = rows.start(row);
        final float max = max(rows, row);
        int y = 0;
        while (rows.values()[start + y] != max) {
            y++;
        }
        return y;
    }

    @Override
    public float entropy(final LogitRows rows, final int row) {
        final int start = rows.start(row);
        final float max = max(rows, row);
        double sum = 0;
        double weighted = 0;
        for (int y = 0; y < rows.vocabulary(); y++) {
            final double d = (double) rows.values()[start + y] - max;
            if (d != Double.NEGATIVE_INFINITY) { // 0 times infinity would be NaN
                sum += Math.exp(d);
                weighted -= Math.exp(d) * d;
            }
        }
        return (float) (Math.log(sum) + weighted / sum);
    }

    @Override
    public void diffuse(final float[] pixels, final PixelDiffusion diffusion) {
        Objects.requireNonNull(diffusion);
        for (int i = 0; i < pixels.length; i++) {
            if (!Float.isFinite(pixels[i])) {
                throw Status.NOT_FINITE.failure("pixel " + i);
            }
        }
        diffusion.apply(pixels);
    }

    private static float max(final LogitRows rows, final int row) {
        final int start = rows.start(row);
        float max = Float.NEGATIVE_INFINITY;
        for (int y = 0; y < rows.vocabulary(); y++) {
            final float z = rows.values()[start + y];
            if (!(z < Float.POSITIVE_INFINITY)) {
                throw Status.NOT_FINITE.failure("row " + row + ", token " + y);
            }
            max = Math.max(max, z);
        }
        if (max == Float.NEGATIVE_INFINITY) {
            throw Status.EMPTY_ROW.failure("row " + row);
        }
        return max;
    }
}
