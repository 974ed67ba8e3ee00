package dev.equipoise.steering.vector;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.intervention.LayerVectors;
import java.util.Map;
import java.util.Random;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;

class DirectionPropertyTest {
    // Directions leave as float32: 2^-24 of each entry, entries of at most 1.
    private static final double TOLERANCE = 1e-6;

    @Property(tries = 100)
    void noDirectionSpreadsThePairsMore(
            @ForAll @IntRange(min = 2, max = 12) final int n,
            @ForAll @IntRange(min = 2, max = 12) final int width,
            @ForAll final long seed) {
        final Random random = new Random(seed);
        final float[][] differences = states(random, n, width);
        final PairedStates states = PairedStates.of(Map.of(0, differences), Map.of(0, new float[n][width]));
        final LayerVectors best = states.directions(DirectionMethod.PCA_DIFF_UNCENTRED);
        assertEquals(1, best.norm(0), TOLERANCE);
        assertTrue(states.agreement(best).get(0) >= 0.5);
        for (final float[] other : states(random, 20, width)) {
            assertTrue(spread(differences, other) <= spread(differences, best.at(0)) * (1 + TOLERANCE));
        }
    }

    private static float[][] states(final Random random, final int n, final int width) {
        final float[][] rows = new float[n][width];
        for (final float[] row : rows) {
            for (int j = 0; j < width; j++) {
                row[j] = (float) random.nextGaussian();
            }
        }
        return rows;
    }

    private static double spread(final float[][] rows, final float[] v) {
        double squaresOfV = 0;
        for (final float value : v) {
            squaresOfV += (double) value * value;
        }
        double squares = 0;
        for (final float[] row : rows) {
            double projection = 0;
            for (int j = 0; j < v.length; j++) {
                projection += (double) row[j] * v[j];
            }
            squares += projection * projection;
        }
        return Math.sqrt(squares / squaresOfV);
    }
}
