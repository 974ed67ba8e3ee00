package dev.equipoise.steering.vector;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Condition;
import dev.equipoise.runtime.intervention.Condition.Pooling;
import dev.equipoise.runtime.intervention.Condition.Side;
import dev.equipoise.runtime.intervention.LayerVectors;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.junit.jupiter.api.Test;

class ThresholdSearchTest {
    private static final int WIDTH = 5;
    private static final int PAIRS = 6;

    private static float[][] states(final Random random) {
        final float[][] states = new float[PAIRS][WIDTH];
        for (final float[] state : states) {
            for (int i = 0; i < WIDTH; i++) {
                state[i] = (float) random.nextGaussian();
            }
        }
        return states;
    }

    private static LayerVectors directions(final Random random) {
        return new LayerVectors(Map.of(0, states(random)[0], 1, states(random)[0]));
    }

    // F1 by its definition, from precision and recall.
    private static double f1(
            final float[][] positives, final float[][] negatives, final LayerVectors of, final int layer,
            final Side side, final double threshold) {
        final Condition condition = new Condition("c", of.only(Set.of(layer)), Pooling.MEAN, side, threshold);
        int hits = 0;
        int alarms = 0;
        for (int i = 0; i < PAIRS; i++) {
            hits += condition.holds(condition.similarity(positives[i])) ? 1 : 0;
            alarms += condition.holds(condition.similarity(negatives[i])) ? 1 : 0;
        }
        final double precision = hits == 0 ? 0 : (double) hits / (hits + alarms);
        final double recall = (double) hits / PAIRS;
        return hits == 0 ? 0 : 2 * precision * recall / (precision + recall);
    }

    @Property(tries = 50)
    void noOtherConditionOfTheGridIsBetter(@ForAll final long seed) {
        final Random random = new Random(seed);
        final LayerVectors directions = directions(random);
        final Map<Integer, float[][]> positives = Map.of(0, states(random), 1, states(random));
        final Map<Integer, float[][]> negatives = Map.of(0, states(random), 1, states(random));
        final ThresholdSearch.Found found =
                ThresholdSearch.best(PairedStates.of(positives, negatives), directions);
        double best = 0;
        for (final int layer : List.of(0, 1)) {
            for (final Side side : Side.values()) {
                for (int step = 0; step <= 100; step++) {
                    best = Math.max(best, f1(
                            positives.get(layer), negatives.get(layer), directions, layer, side, step / 100.0));
                }
            }
        }
        // Two ways of rounding one quotient of small integers.
        assertEquals(best, found.f1(), 1e-12);
        assertEquals(
                found.f1(),
                f1(positives.get(found.layer()), negatives.get(found.layer()), directions, found.layer(),
                        found.side(), found.threshold()),
                1e-12);
    }

    @Test
    void sidesThatAreApartAreToldApartInTheMiddle() {
        final LayerVectors axis = new LayerVectors(Map.of(3, new float[] {1, 0}));
        final float[][] along = {{2, 0.1f}, {3, 0.2f}};
        final float[][] across = {{0.01f, 2}, {0.02f, 3}};
        final ThresholdSearch.Found found =
                ThresholdSearch.best(PairedStates.of(Map.of(3, along), Map.of(3, across)), axis);
        assertEquals(1, found.f1());
        assertEquals(3, found.layer());
        assertEquals(Side.ABOVE, found.side());
        assertTrue(found.threshold() > 0.3 && found.threshold() < 0.7, "threshold " + found.threshold());
        final ThresholdSearch.Found other =
                ThresholdSearch.best(PairedStates.of(Map.of(3, across), Map.of(3, along)), axis);
        assertEquals(1, other.f1());
        assertEquals(Side.BELOW, other.side());
    }

    @Test
    void whatDoesNotFitIsRefused() {
        final PairedStates states = PairedStates.of(
                Map.of(0, new float[][] {{1, 2}}), Map.of(0, new float[][] {{2, 1}}));
        assertThrows(BadInputException.class, () -> ThresholdSearch.best(
                states, new LayerVectors(Map.of(1, new float[] {1, 0}))));
        assertThrows(BadInputException.class, () -> ThresholdSearch.best(
                states, new LayerVectors(Map.of(0, new float[] {1, 0, 0}))));
    }
}
