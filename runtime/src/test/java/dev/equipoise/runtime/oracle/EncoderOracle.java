package dev.equipoise.runtime.oracle;

import dev.equipoise.runtime.gguf.GgufFile;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;

/**
 * A picture encoder of LLaVA's kind in double precision: a class token if the file has one and behind it the patches,
 * row by row, position n of which has the n-th position embedding; every block but the last; the patches alone through
 * the projector.
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
    private final int blocks;
    private final boolean classToken;

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
        this.blocks = Math.toIntExact(file.u32("clip.vision.block_count") - 1);
        this.classToken = file.find("v.class_embd").isPresent();
    }

    /**
     * What it makes of a picture.
     *
     * @param embeddings {@code [patches][text width]}
     * @param states what each block that runs gives, {@code [blocks][positions][width]}
     * @param attention the weight on each patch in the last of them, the mean of heads: what the class token pays, or
     *     the mean of all queries where there is none
     */
    public record Encoding(double[][] embeddings, List<double[][]> states, double[] attention) {
    }

    /**
     * Encodes a picture.
     *
     * @param rgb {@code [side][side][3]}
     */
    public Encoding encode(final byte[] rgb) {
        final int first = classToken ? 1 : 0;
        double[][] states = embedded(rgb);
        final List<double[][]> all = new ArrayList<>();
        double[][] weights = {};
        for (int block = 0; block < blocks; block++) {
            final String name = "v.blk." + block + ".";
            final double[][] normed = each(states, state -> normed(name + "ln1", state));
            weights = weights(name, normed);
            final double[][] between = sum(states, attended(name, weights, normed));
            states = sum(
                    between,
                    each(between, state -> linear(
                            name + "ffn_down", gelu(linear(name + "ffn_up", normed(name + "ln2", state))))));
            all.add(states);
        }
        final double[][] patches = Arrays.copyOfRange(states, first, states.length);
        return new Encoding(
                each(patches, state -> linear("mm.2", gelu(linear("mm.0", state)))), all, attention(weights));
    }

    private double[] attention(final double[][] weights) {
        final int first = classToken ? 1 : 0;
        final int queries = classToken ? 1 : weights.length;
        final double[] mean = new double[Math.max(0, weights.length - first)];
        for (int query = 0; query < queries && query < weights.length; query++) {
            for (int row = 0; row < mean.length; row++) {
                for (int head = 0; head < heads; head++) {
                    mean[row] += weights[query][head * weights.length + first + row] / queries / heads;
                }
            }
        }
        return mean;
    }

    private static double[][] each(final double[][] rows, final UnaryOperator<double[]> what) {
        return Arrays.stream(rows).map(what).toArray(double[][]::new);
    }

    private static double[][] sum(final double[][] one, final double[][] other) {
        final double[][] sum = new double[one.length][one[0].length];
        for (int row = 0; row < sum.length; row++) {
            for (int i = 0; i < sum[row].length; i++) {
                sum[row][i] = one[row][i] + other[row][i];
            }
        }
        return sum;
    }

    private float[] floats(final String tensor) {
        return file.floats(file.tensor(tensor));
    }

    // [queries][heads * keys]
    private double[][] weights(final String block, final double[][] normed) {
        final int n = normed.length;
        final double[][] queries = each(normed, state -> linear(block + "attn_q", state));
        final double[][] keys = each(normed, state -> times(block + "attn_k", state));
        final int size = width / heads;
        final double[][] weights = new double[n][heads * n];
        for (int q = 0; q < n; q++) {
            for (int head = 0; head < heads; head++) {
                double sum = 0;
                for (int key = 0; key < n; key++) {
                    double dot = 0;
                    for (int i = head * size; i < (head + 1) * size; i++) {
                        dot += queries[q][i] * keys[key][i];
                    }
                    weights[q][head * n + key] = Math.exp(dot / Math.sqrt(size));
                    sum += weights[q][head * n + key];
                }
                for (int key = 0; key < n; key++) {
                    weights[q][head * n + key] /= sum;
                }
            }
        }
        return weights;
    }

    private double[][] attended(final String block, final double[][] weights, final double[][] normed) {
        final double[][] values = each(normed, state -> linear(block + "attn_v", state));
        final int size = width / heads;
        return each(weights, query -> {
            final double[] mixed = new double[width];
            for (int i = 0; i < width; i++) {
                for (int key = 0; key < values.length; key++) {
                    mixed[i] += query[i / size * values.length + key] * values[key][i];
                }
            }
            return linear(block + "attn_out", mixed);
        });
    }

    private double[][] embedded(final byte[] rgb) {
        final float[] positions = floats("v.position_embd.weight");
        final int patches = side / patch * (side / patch);
        final int first = classToken ? 1 : 0;
        final double[][] states = new double[first + patches][];
        for (int p = 0; p < states.length; p++) {
            states[p] = p < first ? classEmbedding() : embedded(rgb, p - first);
            for (int i = 0; i < width; i++) {
                states[p][i] += positions[p * width + i];
            }
        }
        return states;
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

    private double[] normed(final String norm, final double[] state) {
        double mean = 0;
        for (final double value : state) {
            mean += value / width;
        }
        double variance = 0;
        for (final double value : state) {
            variance += (value - mean) * (value - mean) / width;
        }
        final float[] weight = floats(norm + ".weight");
        final float[] bias = floats(norm + ".bias");
        final double[] normed = new double[width];
        for (int i = 0; i < width; i++) {
            normed[i] = (state[i] - mean) / Math.sqrt(variance + EPSILON) * weight[i] + bias[i];
        }
        return normed;
    }

    // The form with the hyperbolic tangent, as ggml's.
    private static double[] gelu(final double[] x) {
        final double[] y = new double[x.length];
        for (int i = 0; i < y.length; i++) {
            y[i] = x[i] / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x[i] + 0.044715 * x[i] * x[i] * x[i])));
        }
        return y;
    }

    private double[] linear(final String layer, final double[] x) {
        final double[] product = times(layer, x);
        final float[] bias = floats(layer + ".bias");
        for (int o = 0; o < product.length; o++) {
            product[o] += bias[o];
        }
        return product;
    }

    private double[] times(final String layer, final double[] x) {
        final float[] matrix = floats(layer + ".weight");
        final double[] product = new double[matrix.length / x.length];
        for (int o = 0; o < product.length; o++) {
            for (int i = 0; i < x.length; i++) {
                product[o] += (double) matrix[o * x.length + i] * x[i];
            }
        }
        return product;
    }
}
