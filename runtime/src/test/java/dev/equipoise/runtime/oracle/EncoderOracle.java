package dev.equipoise.runtime.oracle;

import dev.equipoise.runtime.gguf.GgufFile;

/**
 * Attention of the first block of a picture encoder, which is the last that libmtmd runs of two: patches, behind them a
 * class token if there is one, positions, the block's first norm, queries and keys, in double precision.
 */
public final class EncoderOracle {
    private static final double EPSILON = 1e-5;
    // Of the pixels' normalisation.
    private static final double MEAN = 0.5;
    private static final double DEVIATION = 0.25;

    private final GgufFile file;
    private final int side;
    private final int patch;
    private final int width;
    private final int heads;

    /**
     * Reads an encoder.
     *
     * @param side pixels of a picture's side
     * @param patch pixels of a patch's side
     */
    public EncoderOracle(final GgufFile file, final int side, final int patch, final int width, final int heads) {
        this.file = file;
        this.side = side;
        this.patch = patch;
        this.width = width;
        this.heads = heads;
    }

    private float[] floats(final String tensor) {
        return file.floats(file.tensor(tensor));
    }

    /**
     * The weight on each patch, the mean of heads and queries.
     *
     * @param rgb {@code [side][side][3]}
     */
    public double[] attention(final byte[] rgb) {
        final double[][] weights = weights(rgb, false);
        final double[] mean = new double[weights.length];
        for (final double[] query : weights) {
            for (int key = 0; key < mean.length; key++) {
                mean[key] += query[key] / weights.length;
            }
        }
        return mean;
    }

    /** What the class token pays to each position, patches first, itself last; the mean of heads. */
    public double[] classAttention(final byte[] rgb) {
        final double[][] weights = weights(rgb, true);
        return weights[weights.length - 1];
    }

    // [queries][keys], the mean of heads.
    private double[][] weights(final byte[] rgb, final boolean classToken) {
        final int patches = side / patch * (side / patch);
        final int n = patches + (classToken ? 1 : 0);
        final double[][] queries = new double[n][];
        final double[][] keys = new double[n][];
        final float[] positions = floats("v.position_embd.weight");
        for (int p = 0; p < n; p++) {
            final double[] state = p < patches ? embedded(rgb, p) : classEmbedding();
            for (int i = 0; i < width; i++) {
                state[i] += positions[p * width + i];
            }
            final double[] normed = normed(state);
            queries[p] = times(floats("v.blk.0.attn_q.weight"), normed);
            final float[] bias = floats("v.blk.0.attn_q.bias");
            for (int i = 0; i < width; i++) {
                queries[p][i] += bias[i];
            }
            keys[p] = times(floats("v.blk.0.attn_k.weight"), normed);
        }
        final int size = width / heads;
        final double[][] means = new double[n][n];
        for (int head = 0; head < heads; head++) {
            for (int q = 0; q < n; q++) {
                final double[] query = queries[q];
                final double[] weights = new double[n];
                double sum = 0;
                for (int key = 0; key < n; key++) {
                    double dot = 0;
                    for (int i = head * size; i < (head + 1) * size; i++) {
                        dot += query[i] * keys[key][i];
                    }
                    weights[key] = Math.exp(dot / Math.sqrt(size));
                    sum += weights[key];
                }
                for (int key = 0; key < n; key++) {
                    means[q][key] += weights[key] / sum / heads;
                }
            }
        }
        return means;
    }

    private double[] classEmbedding() {
        final float[] values = floats("v.class_embd");
        final double[] state = new double[width];
        for (int i = 0; i < width; i++) {
            state[i] = values[i];
        }
        return state;
    }

    private double[] embedded(final byte[] rgb, final int p) {
        final float[] kernel = floats("v.patch_embd.weight");
        final int perSide = side / patch;
        final double[] state = new double[width];
        for (int o = 0; o < width; o++) {
            for (int c = 0; c < 3; c++) {
                for (int y = 0; y < patch; y++) {
                    for (int x = 0; x < patch; x++) {
                        final int row = p / perSide * patch + y;
                        final int column = p % perSide * patch + x;
                        final double pixel = (rgb[(row * side + column) * 3 + c] & 0xff) / 255.0;
                        state[o] += kernel[((o * 3 + c) * patch + y) * patch + x] * (pixel - MEAN) / DEVIATION;
                    }
                }
            }
        }
        return state;
    }

    private double[] normed(final double[] state) {
        double mean = 0;
        for (final double value : state) {
            mean += value / width;
        }
        double variance = 0;
        for (final double value : state) {
            variance += (value - mean) * (value - mean) / width;
        }
        final float[] weight = floats("v.blk.0.ln1.weight");
        final float[] bias = floats("v.blk.0.ln1.bias");
        final double[] normed = new double[width];
        for (int i = 0; i < width; i++) {
            normed[i] = (state[i] - mean) / Math.sqrt(variance + EPSILON) * weight[i] + bias[i];
        }
        return normed;
    }

    private double[] times(final float[] matrix, final double[] x) {
        final double[] product = new double[width];
        for (int o = 0; o < width; o++) {
            for (int i = 0; i < width; i++) {
                product[o] += (double) matrix[o * width + i] * x[i];
            }
        }
        return product;
    }
}
