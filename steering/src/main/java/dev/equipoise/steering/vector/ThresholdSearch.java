package dev.equipoise.steering.vector;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Condition;
import dev.equipoise.runtime.intervention.Condition.Pooling;
import dev.equipoise.runtime.intervention.Condition.Side;
import dev.equipoise.runtime.intervention.LayerVectors;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.IntStream;

/**
 * Looks for the condition that tells the two sides of pairs apart best: CAST's search (arXiv 2409.05907) over layers,
 * thresholds 0, 0.01 .. 1 and the side on which the similarity must lie, by F1, the positives being those for which it
 * is to hold.
 */
public final class ThresholdSearch {
    private static final int STEPS = 100;

    private ThresholdSearch() {}

    /**
     * A condition, and how well it does on the pairs.
     *
     * @param layer the block whose output it is about
     * @param threshold 0..1
     * @param side where the similarity must lie
     * @param f1 harmonic mean of precision and recall, 0 where no positive is found
     * @param hits positives for which it holds
     * @param falseAlarms negatives for which it holds
     */
    public record Found(int layer, double threshold, Side side, double f1, int hits, int falseAlarms) {}

    /**
     * The best of all. Of equal ones the lowest layer, then {@link Side#ABOVE}, then the threshold in the middle of
     * those that stand side by side from the first on: the one that is farthest from where the outcome changes.
     *
     * @param states pooled as the condition will be
     * @param directions of conditions; every layer of both is tried
     * @throws BadInputException if the two have no layer in common or differ in width
     */
    public static Found best(final PairedStates states, final LayerVectors directions) {
        final SortedSet<Integer> layers = new TreeSet<>(states.layers());
        layers.retainAll(directions.layers());
        if (layers.isEmpty() || states.width() != directions.width()) {
            throw new BadInputException(
                    layers.isEmpty() ? "no layer in common" : "vectors of another width",
                    "states of " + states.layers() + ", " + states.width() + " wide; " + directions,
                    "use a file that was extracted from this model, at these layers");
        }
        return layers.stream()
                .flatMap(layer -> Arrays.stream(Side.values()).map(side -> best(states, directions, layer, side)))
                .max(Comparator.comparingDouble(Found::f1)
                        .thenComparing(found -> -found.layer())
                        .thenComparing(Found::side, Comparator.reverseOrder()))
                .orElseThrow();
    }

    private static Found best(
            final PairedStates states, final LayerVectors directions, final int layer, final Side side) {
        final Condition like = condition(directions, layer, side, 0);
        final double[] positives = similarities(like, states.positives(layer));
        final double[] negatives = similarities(like, states.negatives(layer));
        final List<Found> all = IntStream.rangeClosed(0, STEPS)
                .mapToObj(step -> {
                    final double threshold = (double) step / STEPS;
                    final Condition condition = condition(directions, layer, side, threshold);
                    final int hits = count(condition, positives);
                    final int falseAlarms = count(condition, negatives);
                    // Precision is hits of all for which it holds, recall hits of all positives.
                    final double f1 = 2.0 * hits / (hits + falseAlarms + positives.length);
                    return new Found(layer, threshold, side, f1, hits, falseAlarms);
                })
                .toList();
        int first = 0;
        for (int step = 1; step <= STEPS; step++) {
            first = all.get(step).f1() > all.get(first).f1() ? step : first;
        }
        int last = first;
        while (last < STEPS && all.get(last + 1).f1() == all.get(first).f1()) {
            last++;
        }
        return all.get((first + last) / 2);
    }

    private static Condition condition(
            final LayerVectors directions, final int layer, final Side side, final double threshold) {
        // Pooling is done: what is compared are states.
        return new Condition("search", directions.only(Set.of(layer)), Pooling.MEAN, side, threshold);
    }

    private static double[] similarities(final Condition condition, final float[][] states) {
        final double[] similarities = new double[states.length];
        for (int i = 0; i < states.length; i++) {
            similarities[i] = condition.similarity(states[i]);
        }
        return similarities;
    }

    private static int count(final Condition condition, final double[] similarities) {
        int count = 0;
        for (final double similarity : similarities) {
            count += condition.holds(similarity) ? 1 : 0;
        }
        return count;
    }
}
