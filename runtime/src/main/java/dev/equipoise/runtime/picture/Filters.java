package dev.equipoise.runtime.picture;

import java.util.Arrays;

/** Pixels that are sums of their neighbours. */
final class Filters {
    /** Pixels of a side of the blur's kernel. */
    static final int BLUR = 13;
    // Pillow's weights are 32 bits less the byte and two for what overshoots.
    private static final int PRECISION = 22;
    private static final int FULL = 255;

    private Filters() {}

    /** Weights of a Gaussian, their sum 1. */
    static double[] gaussian(final int size, final double sigma) {
        final double[] weights = new double[size];
        double sum = 0;
        for (int i = 0; i < size; i++) {
            final double away = (i - size / 2) / sigma;
            weights[i] = Math.exp(-away * away / 2);
            sum += weights[i];
        }
        for (int i = 0; i < size; i++) {
            weights[i] /= sum;
        }
        return weights;
    }

    /** Rows, then columns: the square kernel is the product of both. Halves go to the even number. */
    static Pixels blurred(final Pixels picture, final double[] weights) {
        final int width = picture.width();
        final int height = picture.height();
        final int reach = weights.length / 2;
        // Of large pictures all lines at once would take eight times the picture.
        final double[][] lines = new double[height][];
        final byte[] to = new byte[picture.array().length];
        final double[] sums = new double[Pixels.CHANNELS * width];
        for (int y = 0; y < height; y++) {
            Arrays.fill(sums, 0);
            for (int k = 0; k < weights.length; k++) {
                final int from = mirror(y + k - reach, height);
                if (lines[from] == null) {
                    lines[from] = line(picture, from, weights);
                }
                for (int i = 0; i < sums.length; i++) {
                    sums[i] += weights[k] * lines[from][i];
                }
            }
            for (int i = 0; i < sums.length; i++) {
                to[y * sums.length + i] = (byte) Math.clamp((int) Math.rint(sums[i]), 0, FULL);
            }
            if (y >= reach) {
                lines[y - reach] = null;
            }
        }
        return new Pixels(width, height, to);
    }

    private static double[] line(final Pixels picture, final int y, final double[] weights) {
        final double[] line = new double[Pixels.CHANNELS * picture.width()];
        for (int x = 0; x < picture.width(); x++) {
            for (int k = 0; k < weights.length; k++) {
                final int from = picture.index(mirror(x + k - weights.length / 2, picture.width()), y);
                for (int c = 0; c < Pixels.CHANNELS; c++) {
                    line[Pixels.CHANNELS * x + c] += weights[k] * (picture.array()[from + c] & FULL);
                }
            }
        }
        return line;
    }

    // About the outermost pixels, which are there once; in pictures smaller than the kernel to and fro.
    private static int mirror(final int at, final int size) {
        if (size == 1) {
            return 0;
        }
        final int place = Math.floorMod(at, 2 * size - 2);
        return place < size ? place : 2 * size - 2 - place;
    }

    /** Pillow's bilinear resize, which covers all source pixels where it makes a picture smaller. */
    static Pixels resized(final Pixels picture, final int width, final int height) {
        return heightened(widened(picture, width), height);
    }

    private static Pixels widened(final Pixels picture, final int width) {
        if (width == picture.width()) {
            return picture;
        }
        final Taps[] taps = taps(picture.width(), width);
        final byte[] to = new byte[Pixels.CHANNELS * width * picture.height()];
        int at = 0;
        for (int y = 0; y < picture.height(); y++) {
            for (final Taps tap : taps) {
                final int from = picture.index(tap.first, y);
                for (int c = 0; c < Pixels.CHANNELS; c++) {
                    to[at++] = tap.sum(picture.array(), from + c, Pixels.CHANNELS);
                }
            }
        }
        return new Pixels(width, picture.height(), to);
    }

    private static Pixels heightened(final Pixels picture, final int height) {
        if (height == picture.height()) {
            return picture;
        }
        final int row = Pixels.CHANNELS * picture.width();
        final byte[] to = new byte[row * height];
        int at = 0;
        for (final Taps tap : taps(picture.height(), height)) {
            final int from = picture.index(0, tap.first);
            for (int i = 0; i < row; i++) {
                to[at++] = tap.sum(picture.array(), from + i, row);
            }
        }
        return new Pixels(picture.width(), height, to);
    }

    // The source pixels of one pixel along one side, and what they weigh.
    private record Taps(int first, int[] weights) {
        byte sum(final byte[] from, final int at, final int step) {
            int sum = 1 << (PRECISION - 1);
            for (int k = 0; k < weights.length; k++) {
                sum += weights[k] * (from[at + k * step] & FULL);
            }
            return (byte) Math.clamp(sum >> PRECISION, 0, FULL);
        }
    }

    private static Taps[] taps(final int from, final int to) {
        final double scale = (double) from / to;
        final double reach = Math.max(1, scale);
        final Taps[] taps = new Taps[to];
        for (int i = 0; i < to; i++) {
            final double middle = (i + 0.5) * scale;
            final int first = Math.max(0, (int) (middle - reach + 0.5));
            final int behind = Math.min(from, (int) (middle + reach + 0.5));
            final double[] weights = new double[behind - first];
            double sum = 0;
            for (int k = 0; k < weights.length; k++) {
                weights[k] = Math.max(0, 1 - Math.abs((k + first - middle + 0.5) * (1 / reach)));
                sum += weights[k];
            }
            final int[] fixed = new int[weights.length];
            for (int k = 0; k < fixed.length; k++) {
                fixed[k] = (int) (0.5 + weights[k] / sum * (1 << PRECISION));
            }
            taps[i] = new Taps(first, fixed);
        }
        return taps;
    }
}
