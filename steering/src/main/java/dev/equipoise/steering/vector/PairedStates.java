package dev.equipoise.steering.vector;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.function.IntConsumer;
import java.util.function.IntFunction;

/**
 * The hidden states of both sides of n pairs, at one token each or as the mean of all, at some layers: what steering
 * vectors and the directions of conditions are extracted from. Immutable and safe for any thread.
 */
public final class PairedStates {
    // Each stage of a layer rounds a float32 state by a few 2^-24 of its norm. What is not well above that is not what
    // the pairs differ in.
    static final double ROUNDING = 0x1p-20;

    private final int pairs;
    private final int width;
    private final SortedMap<Integer, Sides> layers = new TreeMap<>();

    // Both [n][width].
    private record Sides(float[][] positives, float[][] negatives) {
        double[][] differences() {
            final double[][] differences = new double[positives.length][];
            for (int i = 0; i < positives.length; i++) {
                differences[i] = widened(positives[i]);
                for (int j = 0; j < negatives[i].length; j++) {
                    differences[i][j] -= negatives[i][j];
                }
            }
            return differences;
        }

        double largestNorm() {
            double largest = 0;
            for (int i = 0; i < positives.length; i++) {
                largest = Math.max(largest, Math.max(norm(widened(positives[i])), norm(widened(negatives[i]))));
            }
            return largest;
        }
    }

    private PairedStates(final int pairs, final int width) {
        this.pairs = pairs;
        this.width = width;
    }

    /**
     * Copies states that were read elsewhere.
     *
     * @param positives layer to {@code [n][width]}
     * @param negatives the same for the other side, row i belonging to row i
     * @throws BadInputException if a side is empty, the two differ in shape or a value is not finite
     */
    public static PairedStates of(final Map<Integer, float[][]> positives, final Map<Integer, float[][]> negatives) {
        require(!positives.isEmpty() && positives.keySet().equals(negatives.keySet()),
                "hidden states of different layers", positives.keySet() + " and " + negatives.keySet(),
                "give both sides the same layers, at least one");
        final float[][] some = positives.values().iterator().next();
        require(some.length > 0 && some[0].length > 0, "no hidden states", "pairs", "give at least one pair");
        final PairedStates states = new PairedStates(some.length, some[0].length);
        positives.forEach((layer, rows) -> states.layers.put(
                layer, new Sides(states.copy(layer, rows), states.copy(layer, negatives.get(layer)))));
        return states;
    }

    /**
     * Reads the states of pairs, one prefill for each side.
     *
     * @param engine opened by {@link Engine#openForCapture}; belongs to the calling thread
     * @param pairs at least one
     * @param layers whose outputs to keep, all below the model's depth
     * @param position which token of each prompt, counted from the end: -1 the last, -2 the one before it
     * @param done told the number of pairs read, after each
     * @throws BadInputException as {@link Engine#hiddenStates}, naming the pair
     */
    public static PairedStates read(
            final Engine engine,
            final List<PromptPair> pairs,
            final SortedSet<Integer> layers,
            final int position,
            final IntConsumer done) {
        require(!pairs.isEmpty(), "no pairs to extract from", "pairs", "give at least one");
        require(!layers.isEmpty() && layers.first() >= 0 && layers.last() < engine.model().info().layers(),
                "layers that the model does not have", "layers " + layers,
                "choose among 0-" + (engine.model().info().layers() - 1));
        return read(engine, pairs, layers, prompt -> engine.hiddenStates(prompt, position)::at, done);
    }

    /**
     * Reads the mean states of tokens of pairs' prompts, one prefill for each side: of all of them what directions of
     * conditions are made of, of the answers' what those of behaviours are (CAST, arXiv 2409.05907).
     *
     * @param engine belongs to the calling thread
     * @param pairs at least one
     * @param answers whether the tokens are those of the answer that each prompt begins
     * @param layers whose outputs to keep, all below the model's last, which most models do not compute for every token
     * @param done told the number of pairs read, after each
     * @throws BadInputException as {@link Engine#observe}, naming the pair
     */
    public static PairedStates readMeans(
            final Engine engine,
            final List<PromptPair> pairs,
            final SortedSet<Integer> layers,
            final boolean answers,
            final IntConsumer done) {
        require(!pairs.isEmpty(), "no pairs to extract from", "pairs", "give at least one");
        require(!answers || pairs.stream().noneMatch(pair ->
                        pair.positive().answer().isEmpty() || pair.negative().answer().isEmpty()),
                "a mean over answers where one is missing", "pairs", "give both sides of every pair an answer");
        require(!layers.isEmpty() && layers.first() >= 0 && layers.last() < engine.model().info().layers() - 1,
                "layers without a mean of the prompt", "layers " + layers,
                "choose among 0-" + (engine.model().info().layers() - 2));
        final Intervention.ReadStates means =
                new Intervention.ReadStates(
                "means", Intervention.Place.LAYER, layers, answers ? Scope.all().within(Reach.ANSWER) : Scope.all());
        final List<Integer> order = List.copyOf(layers);
        return read(
                engine,
                pairs,
                layers,
                prompt -> {
                    final List<float[]> found = engine.observe(new Branch("pair", prompt, List.of(means)))
                            .states()
                            .getFirst();
                    return layer -> found.get(order.indexOf(layer));
                },
                done);
    }

    private static PairedStates read(
            final Engine engine,
            final List<PromptPair> pairs,
            final SortedSet<Integer> layers,
            final Function<Prompt, IntFunction<float[]>> reader,
            final IntConsumer done) {
        final PairedStates states = new PairedStates(pairs.size(), engine.model().info().width());
        layers.forEach(layer -> states.layers.put(
                layer, new Sides(new float[pairs.size()][], new float[pairs.size()][])));
        for (int i = 0; i < pairs.size(); i++) {
            try {
                final IntFunction<float[]> positive = reader.apply(pairs.get(i).positive());
                final IntFunction<float[]> negative = reader.apply(pairs.get(i).negative());
                for (final Map.Entry<Integer, Sides> layer : states.layers.entrySet()) {
                    layer.getValue().positives[i] = finite(layer.getKey(), positive.apply(layer.getKey()));
                    layer.getValue().negatives[i] = finite(layer.getKey(), negative.apply(layer.getKey()));
                }
            } catch (final BadInputException e) {
                throw new BadInputException(e.what(), "pair " + (i + 1) + ", " + e.where(), e.remedy(), e);
            }
            done.accept(i + 1);
        }
        return states;
    }

    /** The states of a layer's positives, {@code [n][width]}, row i belonging to pair i. */
    float[][] positives(final int layer) {
        return layers.get(layer).positives;
    }

    /** The same of its negatives. */
    float[][] negatives(final int layer) {
        return layers.get(layer).negatives;
    }

    /** Number of pairs. */
    public int pairs() {
        return pairs;
    }

    /** Entries of each state. */
    public int width() {
        return width;
    }

    /** The layers that were read, ascending. */
    public SortedSet<Integer> layers() {
        return Collections.unmodifiableSortedSet(new TreeSet<>(layers.keySet()));
    }

    /**
     * One direction per layer. Deterministic.
     *
     * @throws BadInputException if the states of a layer hold no such direction: a component about the mean of a single
     *     pair, or differences that are nothing but rounding
     */
    public LayerVectors directions(final DirectionMethod method) {
        require(pairs > 1 || method != DirectionMethod.PCA_DIFF, "one pair has no component about its mean",
                method.label(), "give more pairs, or choose mean");
        if (method == DirectionMethod.VTI) {
            return joined();
        }
        final SortedMap<Integer, float[]> directions = new TreeMap<>();
        layers.forEach((layer, sides) -> directions.put(layer, direction(method, layer, sides)));
        return new LayerVectors(directions);
    }

    /**
     * How well directions tell the sides apart: per layer the share of pairs whose positive projects higher, 0..1. Near
     * one half for a direction that has nothing to do with the pairs.
     *
     * @throws BadInputException if the vectors have another width, or a layer that was not read
     */
    public SortedMap<Integer, Double> agreement(final LayerVectors vectors) {
        require(vectors.width() == width, "vectors of another width", vectors.width() + " instead of " + width,
                "use vectors of the model that was read");
        final SortedMap<Integer, Double> shares = new TreeMap<>();
        for (final int layer : vectors.layers()) {
            require(layers.containsKey(layer), "no states of layer " + layer, "layers " + layers.keySet(),
                    "choose vectors of those");
            final double[] direction = widened(vectors.at(layer));
            int higher = 0;
            for (final double[] difference : layers.get(layer).differences()) {
                higher += PrincipalComponent.dot(difference, direction) > 0 ? 1 : 0;
            }
            shares.put(layer, (double) higher / pairs);
        }
        return shares;
    }

    // The differences of all layers side by side are one row a pair.
    private LayerVectors joined() {
        final double[][] rows = new double[pairs][layers.size() * width];
        double largest = 0;
        int at = 0;
        for (final Sides sides : layers.values()) {
            final double[][] differences = sides.differences();
            for (int i = 0; i < pairs; i++) {
                System.arraycopy(differences[i], 0, rows[i], at, width);
            }
            largest = Math.max(largest, sides.largestNorm());
            at += width;
        }
        final double[] mean = mean(rows);
        final double floor = ROUNDING * largest;
        final PrincipalComponent component = PrincipalComponent.of(about(mean, rows));
        final boolean spread = component.spread() > floor * Math.sqrt(pairs);
        final float[] unit = spread
                ? component(about(mean, rows), rows, floor, DirectionMethod.VTI, layers.firstKey())
                : new float[mean.length];
        final SortedMap<Integer, float[]> directions = new TreeMap<>();
        at = 0;
        for (final int layer : layers.keySet()) {
            final double[] direction = new double[width];
            for (int j = 0; j < width; j++) {
                direction[j] = mean[at + j] + unit[at + j];
            }
            requireDirection(norm(direction) > floor, DirectionMethod.VTI, layer);
            directions.put(layer, narrowed(direction));
            at += width;
        }
        return new LayerVectors(directions);
    }

    private float[] direction(final DirectionMethod method, final int layer, final Sides sides) {
        final double[][] differences = sides.differences();
        final double[] mean = mean(differences);
        final double floor = ROUNDING * sides.largestNorm();
        return switch (method) {
            case MEAN, MEAN_L2 -> {
                final double length = norm(mean);
                requireDirection(length > floor, method, layer);
                if (method == DirectionMethod.MEAN_L2) {
                    Arrays.setAll(mean, j -> mean[j] / length);
                }
                yield narrowed(mean);
            }
            case PCA_DIFF -> component(about(mean, differences), differences, floor, method, layer);
            case PCA_DIFF_UNCENTRED, PCA_CENTER -> component(differences, differences, floor, method, layer);
            case VTI -> throw new IllegalArgumentException("made of all layers at once");
        };
    }

    private static float[] component(
            final double[][] rows,
            final double[][] differences,
            final double floor,
            final DirectionMethod method,
            final int layer) {
        final PrincipalComponent component = PrincipalComponent.of(rows);
        requireDirection(component.spread() > floor * Math.sqrt(rows.length), method, layer);
        final double[] direction = component.direction();
        orient(direction, differences);
        return narrowed(direction);
    }

    /** Points to the side where more differences project; on a tie to where the largest entry is positive. */
    static void orient(final double[] direction, final double[][] differences) {
        int balance = 0;
        for (final double[] difference : differences) {
            balance += (int) Math.signum(PrincipalComponent.dot(difference, direction));
        }
        if (balance < 0 || balance == 0 && largestMagnitude(direction) < 0) {
            for (int j = 0; j < direction.length; j++) {
                direction[j] = -direction[j];
            }
        }
    }

    private static double largestMagnitude(final double[] direction) {
        double largest = 0;
        for (final double value : direction) {
            largest = Math.abs(value) > Math.abs(largest) ? value : largest;
        }
        return largest;
    }

    static double[] mean(final double[][] rows) {
        final double[] mean = new double[rows[0].length];
        for (final double[] row : rows) {
            for (int j = 0; j < mean.length; j++) {
                mean[j] += row[j] / rows.length;
            }
        }
        return mean;
    }

    static double[][] about(final double[] mean, final double[][] rows) {
        final double[][] centred = new double[rows.length][mean.length];
        for (int i = 0; i < rows.length; i++) {
            for (int j = 0; j < mean.length; j++) {
                centred[i][j] = rows[i][j] - mean[j];
            }
        }
        return centred;
    }

    private static double norm(final double[] row) {
        return Math.sqrt(PrincipalComponent.dot(row, row));
    }

    private static double[] widened(final float[] row) {
        final double[] wide = new double[row.length];
        for (int j = 0; j < row.length; j++) {
            wide[j] = row[j];
        }
        return wide;
    }

    private static float[] narrowed(final double[] row) {
        final float[] narrow = new float[row.length];
        for (int j = 0; j < row.length; j++) {
            narrow[j] = (float) row[j];
        }
        return narrow;
    }

    private float[][] copy(final int layer, final float[][] rows) {
        require(rows.length == pairs, "sides of different size", "layer " + layer,
                "give as many positives as negatives, in every layer");
        final float[][] copies = new float[pairs][];
        for (int i = 0; i < pairs; i++) {
            require(rows[i].length == width, "hidden states of different widths",
                    "layer " + layer + ", pair " + (i + 1), "use one model's");
            copies[i] = finite(layer, rows[i].clone());
        }
        return copies;
    }

    private static float[] finite(final int layer, final float[] state) {
        for (final float value : state) {
            require(Float.isFinite(value), "a hidden state that is not finite", "layer " + layer,
                    "leave out the layer, or the pair");
        }
        return state;
    }

    private static void requireDirection(final boolean found, final DirectionMethod method, final int layer) {
        require(found, "pairs without a direction by " + method.label(), "layer " + layer,
                "choose another method or token, leave out the layer, or give pairs that differ");
    }

    private static void require(final boolean ok, final String what, final String where, final String remedy) {
        if (!ok) {
            throw new BadInputException(what, where, remedy);
        }
    }
}
