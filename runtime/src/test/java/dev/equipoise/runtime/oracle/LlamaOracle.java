package dev.equipoise.runtime.oracle;

import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufTensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The {@code llama} architecture on one sequence: float32 weights as stored (quantised ones dequantised), everything
 * else in double precision.
 *
 * <p>Positions count from 0 and are causal. Each position takes a token or a given embedding row, as a picture or a
 * sound gives it. Biases, experts and rope scaling other than linear are refused, since no test model has them.
 *
 * <p>{@link Tolerance} says how near llama.cpp must come.
 */
public final class LlamaOracle {
    private final int width;
    private final int layers;
    private final int heads;
    private final int kvHeads;
    private final int headSize;
    private final double epsilon;
    private final double ropeBase;
    private final double ropeScale;
    private final float[] ropeFactors;
    private final boolean roundActivations;
    private final Matrix embeddings;
    private final float[] outputNorm;
    private final Matrix head;
    private final List<Block> blocks = new ArrayList<>();

    /** What a position takes in. */
    public sealed interface Input {
        /** A token of the vocabulary. */
        record Token(int id) implements Input {
        }

        /** A row of {@code width} elements that stands in for a token's embedding. */
        record Embedding(float[] row) implements Input {
        }

        /** Tokens as inputs. */
        static List<Input> tokens(final int... ids) {
            return Arrays.stream(ids).<Input>mapToObj(Token::new).toList();
        }
    }

    /**
     * What a pass gives.
     *
     * @param logits {@code [positions][vocabulary]}
     * @param hidden {@code [layers][positions][width]}, the output of each block
     */
    public record Result(double[][] logits, double[][][] hidden) {
        /** The logits that follow the last position. */
        public double[] last() {
            return logits[logits.length - 1];
        }
    }

    /** What acts inside the network, the slow way; by default nothing does. Positions and layers count from 0. */
    public interface Inside {
        /** Nothing acts. */
        Inside NOTHING = new Inside() {
        };

        /** The input embedding of a position. */
        default double[] input(final int position, final double[] embedding) {
            return embedding;
        }

        /** The rotated queries of a position, {@code [heads][head size]} one after another. */
        default double[] query(final int layer, final int position, final double[] queries) {
            return queries;
        }

        /** The state that enters a block, which its keys are made of. */
        default void entering(final int layer, final int position, final double[] state) {
        }

        /** The output of a block's first (0) or second (1) norm. */
        default double[] norm(final int layer, final int position, final double[] normed) {
            return normed;
        }

        /** What is added to a score before the softmax. */
        default double bias(final int layer, final int head, final int queryPosition, final int keyPosition) {
            return 0;
        }

        /** The scaled scores of a query before any bias, {@code [position + 1]}. */
        default double[] scores(final int layer, final int head, final int position, final double[] scores) {
            return scores;
        }

        /** The weights of a query, {@code [position + 1]}. */
        default double[] weights(final int layer, final int head, final int position, final double[] weights) {
            return weights;
        }

        /** Whether earlier positions depend on the weights of the latest one in a layer. */
        default boolean looksAhead(final int layer) {
            return false;
        }

        /** Those weights, {@code [heads][positions]}, as edited, told before any others of the layer. */
        default void latest(final int layer, final double[][] weights) {
        }

        /**
         * What the heads of all positions give before they are projected.
         *
         * @param mixed {@code [positions][heads * head size]}
         */
        default double[][] mixed(final int layer, final Attention from, final double[][] mixed) {
            return mixed;
        }

        /** What attention adds to the residual. */
        default double[] attention(final int layer, final int position, final double[] state) {
            return state;
        }

        /** What the feed-forward part adds to the residual. */
        default double[] mlp(final int layer, final int position, final double[] state) {
            return state;
        }

        /** The logits of a position, given those of the outputs of earlier blocks. */
        default double[] logits(final int position, final double[] logits, final Exits exits) {
            return logits;
        }

        /** The output of a block. */
        default double[] output(final int layer, final int position, final double[] state) {
            return state;
        }
    }

    /**
     * What a block attends with.
     *
     * @param queries rotated, {@code [positions][heads * head size]}
     * @param keys rotated, {@code [positions][kvHeads * head size]}
     * @param values {@code [positions][kvHeads * head size]}
     */
    public record Attention(double[][] queries, double[][] keys, double[][] values, int heads, int kvHeads) {
        /** Elements of a head. */
        public int headSize() {
            return queries[0].length / heads;
        }

        /** Where the keys and values of a head begin. */
        public int shared(final int head) {
            return head / (heads / kvHeads) * headSize();
        }
    }

    /** Logits of the output of a block, or of the input (layer -1), with or without the final norm. */
    public interface Exits {
        double[] at(int layer, boolean normed);
    }

    private record Matrix(float[] values, int in, int out, boolean quantised) {
    }

    private record Block(
            float[] attentionNorm, Matrix query, Matrix key, Matrix value, Matrix output,
            float[] feedForwardNorm, Matrix gate, Matrix up, Matrix down) {
    }

    private LlamaOracle(final GgufFile file, final boolean roundActivations) {
        require(file.architecture().equals("llama"), "architecture " + file.architecture());
        this.roundActivations = roundActivations;
        width = (int) file.u32("llama.embedding_length");
        layers = (int) file.u32("llama.block_count");
        heads = (int) file.u32("llama.attention.head_count");
        kvHeads = (int) file.u32("llama.attention.head_count_kv", heads);
        headSize = (int) file.u32("llama.attention.key_length", width / heads);
        epsilon = file.f32("llama.attention.layer_norm_rms_epsilon");
        ropeBase = file.f32("llama.rope.freq_base", 10000);
        final String scaling = file.string("llama.rope.scaling.type", "linear");
        require(scaling.equals("linear") || scaling.equals("none"), "rope scaling " + scaling);
        final float factor = scaling.equals("linear") ? file.f32("llama.rope.scaling.factor", 1) : 1;
        ropeScale = factor == 0 ? 1 : 1.0 / factor;
        ropeFactors = file.find("rope_freqs.weight").map(file::floats).orElse(null);
        embeddings = matrix(file, "token_embd.weight");
        outputNorm = file.floats(file.tensor("output_norm.weight"));
        head = file.find("output.weight").isPresent() ? matrix(file, "output.weight") : embeddings;
        for (int i = 0; i < layers; i++) {
            final String block = "blk." + i + ".";
            blocks.add(new Block(
                    file.floats(file.tensor(block + "attn_norm.weight")),
                    matrix(file, block + "attn_q.weight"), matrix(file, block + "attn_k.weight"),
                    matrix(file, block + "attn_v.weight"), matrix(file, block + "attn_output.weight"),
                    file.floats(file.tensor(block + "ffn_norm.weight")),
                    matrix(file, block + "ffn_gate.weight"), matrix(file, block + "ffn_up.weight"),
                    matrix(file, block + "ffn_down.weight")));
        }
        for (final GgufTensor tensor : file.tensors()) {
            require(!tensor.name().endsWith(".bias"), "bias " + tensor.name());
        }
    }

    /** The model as mathematics has it. */
    public static LlamaOracle of(final GgufFile file) {
        return new LlamaOracle(file, false);
    }

    /**
     * The same, but each input of a product with a Q8_0 or Q4_0 matrix is rounded to Q8_0, as llama.cpp's CPU does.
     *
     * <p>Then a few positions agree as closely as float32 models do (measured 4e-7), until somewhere an input lies on
     * the edge between two steps and the two sides step differently; from there on {@link Tolerance#q8} holds.
     */
    public static LlamaOracle llamaCppActivations(final GgufFile file) {
        return new LlamaOracle(file, true);
    }

    /** Elements of a hidden state. */
    public int width() {
        return width;
    }

    /** The embedding of a token, {@code [width]}. */
    public float[] embedding(final int token) {
        return Arrays.copyOfRange(embeddings.values, token * width, (token + 1) * width);
    }

    /** Runs the model over a whole sequence from position 0. */
    public Result run(final List<Input> inputs) {
        return run(inputs, Inside.NOTHING);
    }

    /** The same with something acting inside. */
    public Result run(final List<Input> inputs, final Inside inside) {
        return run(inputs, List.of(inside), -1, new double[0]);
    }

    /**
     * Two passes that become one at the output of a block: {@code w h_0 + (1 - w) h_1} at each position.
     *
     * @param layer the block
     * @param weights w, {@code [positions]}
     * @return what the first pass gives, which from there on is what the second gives
     */
    public Result runMerged(
            final List<Input> inputs,
            final Inside first,
            final Inside second,
            final int layer,
            final double[] weights) {
        return run(inputs, List.of(first, second), layer, weights);
    }

    private Result run(
            final List<Input> inputs, final List<Inside> passes, final int mergeLayer, final double[] weights) {
        final int n = inputs.size();
        final double[][][] states = new double[passes.size()][n][];
        for (int pass = 0; pass < passes.size(); pass++) {
            for (int t = 0; t < n; t++) {
                final double[] embedding = switch (inputs.get(t)) {
                    case Input.Token(int id) -> widen(embedding(id));
                    case Input.Embedding(float[] row) -> widen(row);
                };
                states[pass][t] = passes.get(pass).input(t, embedding);
            }
        }
        final double[][] entered = states[0];
        final double[][][] hidden = new double[layers][][];
        for (int i = 0; i < layers; i++) {
            for (int pass = 0; pass < passes.size(); pass++) {
                states[pass] = block(i, states[pass], passes.get(pass));
            }
            if (i == mergeLayer) {
                for (int t = 0; t < n; t++) {
                    states[0][t] = add(scaled(weights[t], states[0][t]), scaled(1 - weights[t], states[1][t]));
                    states[1][t] = states[0][t];
                }
            }
            hidden[i] = states[0];
        }
        final double[][] logits = new double[n][];
        for (int t = 0; t < n; t++) {
            final int position = t;
            final Exits exits = (layer, normed) -> {
                final double[] state = (layer < 0 ? entered : hidden[layer])[position];
                return multiply(head, normed ? norm(state, outputNorm) : state);
            };
            logits[t] = passes.getFirst().logits(t, multiply(head, norm(states[0][t], outputNorm)), exits);
        }
        return new Result(logits, hidden);
    }

    /** {@link #run} on tokens. */
    public Result run(final int... tokens) {
        return run(Input.tokens(tokens));
    }

    private double[][] block(final int layer, final double[][] states, final Inside inside) {
        final Block block = blocks.get(layer);
        final int n = states.length;
        final double[][] queries = new double[n][];
        final double[][] keys = new double[n][];
        final double[][] values = new double[n][];
        for (int t = 0; t < n; t++) {
            inside.entering(layer, t, states[t]);
            final double[] normed = inside.norm(layer, t, norm(states[t], block.attentionNorm));
            queries[t] = inside.query(layer, t, rotate(multiply(block.query, normed), t));
            keys[t] = rotate(multiply(block.key, normed), t);
            values[t] = multiply(block.value, normed);
        }
        if (inside.looksAhead(layer)) {
            final double[][] latest = new double[heads][];
            for (int h = 0; h < heads; h++) {
                latest[h] = weights(layer, h, inside, queries[n - 1], keys, n - 1);
            }
            inside.latest(layer, latest);
        }
        double[][] mixed = new double[n][];
        for (int t = 0; t < n; t++) {
            mixed[t] = attend(layer, inside, queries[t], keys, values, t);
        }
        mixed = inside.mixed(layer, new Attention(queries, keys, values, heads, kvHeads), mixed);
        final double[][] out = new double[n][];
        for (int t = 0; t < n; t++) {
            final double[] attended =
                    add(states[t], inside.attention(layer, t, multiply(block.output, mixed[t])));
            final double[] normed = inside.norm(layer, t, norm(attended, block.feedForwardNorm));
            final double[] gate = multiply(block.gate, normed);
            final double[] up = multiply(block.up, normed);
            final double[] inner = new double[gate.length];
            for (int i = 0; i < inner.length; i++) {
                inner[i] = gate[i] / (1 + Math.exp(-gate[i])) * up[i];
            }
            out[t] = inside.output(layer, t, add(attended, inside.mlp(layer, t, multiply(block.down, inner))));
        }
        return out;
    }

    private double[] attend(
            final int layer,
            final Inside inside,
            final double[] query,
            final double[][] keys,
            final double[][] values,
            final int t) {
        final double[] out = new double[heads * headSize];
        for (int h = 0; h < heads; h++) {
            final int kv = h / (heads / kvHeads) * headSize;
            final double[] weights = weights(layer, h, inside, query, keys, t);
            for (int s = 0; s <= t; s++) {
                for (int i = 0; i < headSize; i++) {
                    out[h * headSize + i] += weights[s] * values[s][kv + i];
                }
            }
        }
        return out;
    }

    private double[] weights(
            final int layer,
            final int h,
            final Inside inside,
            final double[] query,
            final double[][] keys,
            final int t) {
        final int kv = h / (heads / kvHeads) * headSize;
        final double[] raw = new double[t + 1];
        for (int s = 0; s <= t; s++) {
            for (int i = 0; i < headSize; i++) {
                raw[s] += query[h * headSize + i] * keys[s][kv + i];
            }
            raw[s] /= Math.sqrt(headSize);
        }
        final double[] scores = inside.scores(layer, h, t, raw).clone();
        for (int s = 0; s <= t; s++) {
            scores[s] += inside.bias(layer, h, t, s);
        }
        final double[] logs = ContrastOracle.logSoftmax(scores);
        return inside.weights(layer, h, t, Arrays.stream(logs).map(Math::exp).toArray());
    }

    /** Rotates neighbouring pairs: what ggml calls normal mode, the one of this architecture. */
    private double[] rotate(final double[] x, final int position) {
        final double[] out = new double[x.length];
        for (int i = 0; i < x.length; i += 2) {
            final int pair = i % headSize / 2;
            final double factor = ropeFactors == null ? 1 : ropeFactors[pair];
            final double angle = position * ropeScale * Math.pow(ropeBase, -2.0 * pair / headSize) / factor;
            out[i] = x[i] * Math.cos(angle) - x[i + 1] * Math.sin(angle);
            out[i + 1] = x[i] * Math.sin(angle) + x[i + 1] * Math.cos(angle);
        }
        return out;
    }

    private double[] norm(final double[] x, final float[] weight) {
        double squares = 0;
        for (final double element : x) {
            squares += element * element;
        }
        final double scale = 1 / Math.sqrt(squares / x.length + epsilon);
        final double[] out = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            out[i] = x[i] * scale * weight[i];
        }
        return out;
    }

    private double[] multiply(final Matrix matrix, final double[] input) {
        final double[] x = roundActivations && matrix.quantised ? rounded(input) : input;
        final double[] out = new double[matrix.out];
        for (int row = 0; row < matrix.out; row++) {
            for (int i = 0; i < matrix.in; i++) {
                out[row] += matrix.values[row * matrix.in + i] * x[i];
            }
        }
        return out;
    }

    private static double[] rounded(final double[] x) {
        final float[] narrow = new float[x.length];
        for (int i = 0; i < x.length; i++) {
            narrow[i] = (float) x[i];
        }
        return widen(ActivationRounding.q8(narrow));
    }

    private static double[] add(final double[] a, final double[] b) {
        final double[] sum = new double[a.length];
        for (int i = 0; i < a.length; i++) {
            sum[i] = a[i] + b[i];
        }
        return sum;
    }

    private static double[] scaled(final double factor, final double[] x) {
        return Arrays.stream(x).map(element -> factor * element).toArray();
    }

    private static double[] widen(final float[] x) {
        final double[] wide = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            wide[i] = x[i];
        }
        return wide;
    }

    private static Matrix matrix(final GgufFile file, final String name) {
        final GgufTensor tensor = file.tensor(name);
        return new Matrix(file.floats(tensor), (int) tensor.extent(0), (int) tensor.extent(1),
                tensor.type().blockSize() > 1);
    }

    private static void require(final boolean condition, final String what) {
        if (!condition) {
            throw new IllegalArgumentException("the oracle does not know " + what);
        }
    }
}
