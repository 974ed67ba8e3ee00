package dev.equipoise.steering.vector;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.LayerVectors;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Directions against power iteration on the covariance matrix, and in cases whose answer is known. */
class DirectionTest {
    private static final int LAYER = 3;
    // Directions leave as float32: 2^-24 of each entry, entries of at most 1.
    private static final double TOLERANCE = 1e-6;

    private static float[] direction(
            final DirectionMethod method, final float[][] positives, final float[][] negatives) {
        return PairedStates.of(Map.of(LAYER, positives), Map.of(LAYER, negatives)).directions(method).at(LAYER);
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

    /** Adds to each row its own multiple of an axis, so that one component stands out. */
    private static float[][] along(final float[][] rows, final float[] axis, final double offset, final Random random) {
        for (final float[] row : rows) {
            final double amount = offset + 4 * random.nextGaussian();
            for (int j = 0; j < row.length; j++) {
                row[j] += (float) (amount * axis[j]);
            }
        }
        return rows;
    }

    private static double[][] differences(final float[][] positives, final float[][] negatives, final double factor) {
        final double[][] rows = new double[positives.length][positives[0].length];
        for (int i = 0; i < rows.length; i++) {
            for (int j = 0; j < rows[i].length; j++) {
                rows[i][j] = factor * ((double) positives[i][j] - negatives[i][j]);
            }
        }
        return rows;
    }

    /** What scikit-learn's PCA fits, from its definition. */
    private static double[] firstComponent(final double[][] rows, final boolean centred) {
        final int width = rows[0].length;
        final double[] mean = new double[width];
        for (final double[] row : rows) {
            for (int j = 0; centred && j < width; j++) {
                mean[j] += row[j] / rows.length;
            }
        }
        double[] v = new double[width];
        for (int j = 0; j < width; j++) {
            v[j] = 1 + 0.1 * j;
        }
        for (int round = 0; round < 3000; round++) {
            final double[] next = new double[width];
            for (final double[] row : rows) {
                double projection = 0;
                for (int j = 0; j < width; j++) {
                    projection += (row[j] - mean[j]) * v[j];
                }
                for (int j = 0; j < width; j++) {
                    next[j] += projection * (row[j] - mean[j]);
                }
            }
            v = unit(next);
        }
        return v;
    }

    private static double[] unit(final double[] v) {
        double squares = 0;
        for (final double value : v) {
            squares += value * value;
        }
        final double[] unit = new double[v.length];
        for (int j = 0; j < v.length; j++) {
            unit[j] = v[j] / Math.sqrt(squares);
        }
        return unit;
    }

    /** The sign of most pairs, from its definition. */
    private static double[] oriented(final double[] v, final double[][] differences) {
        int higher = 0;
        for (final double[] difference : differences) {
            double projection = 0;
            for (int j = 0; j < v.length; j++) {
                projection += difference[j] * v[j];
            }
            higher += projection > 0 ? 1 : -1;
        }
        final double[] oriented = v.clone();
        for (int j = 0; j < v.length && higher < 0; j++) {
            oriented[j] = -v[j];
        }
        return oriented;
    }

    private static void assertClose(final double[] expected, final float[] actual) {
        assertEquals(expected.length, actual.length);
        for (int j = 0; j < expected.length; j++) {
            assertTrue(Math.abs(expected[j] - actual[j]) <= TOLERANCE, "entry " + j + ": " + expected[j] + ", "
                    + actual[j]);
        }
    }

    @ParameterizedTest
    // An odd number of pairs leaves no tie of signs; fewer and more than the width take different ways.
    @CsvSource({"5, 33, 1", "9, 9, 2", "41, 17, 3", "3, 2, 4", "65, 64, 5"})
    void componentsAgreeWithPowerIteration(final int n, final int width, final long seed) {
        final Random random = new Random(seed);
        final float[] axis = states(random, 1, width)[0];
        final float[][] positives = along(states(random, n, width), axis, 1, random);
        final float[][] negatives = states(random, n, width);
        final double[][] differences = differences(positives, negatives, 1);
        assertClose(
                oriented(firstComponent(differences, true), differences),
                direction(DirectionMethod.PCA_DIFF, positives, negatives));
        assertClose(
                oriented(firstComponent(differences, false), differences),
                direction(DirectionMethod.PCA_DIFF_UNCENTRED, positives, negatives));
        // Each side less the pair's midpoint is half the difference, and its negative.
        final List<double[]> both = new ArrayList<>(List.of(differences(positives, negatives, 0.5)));
        both.addAll(List.of(differences(negatives, positives, 0.5)));
        assertClose(
                oriented(firstComponent(both.toArray(double[][]::new), true), differences),
                direction(DirectionMethod.PCA_CENTER, positives, negatives));
    }

    @Test
    void theMeanIsTheMeanDifferenceAsLongAsItIs() {
        final float[][] positives = {{3, 1, 0}, {5, -1, 0.5f}};
        final float[][] negatives = {{1, 1, 0}, {1, 1, 0}};
        assertArrayEquals(new float[] {3, -1, 0.25f}, direction(DirectionMethod.MEAN, positives, negatives));
        assertArrayEquals(new float[] {-3, 1, -0.25f}, direction(DirectionMethod.MEAN, negatives, positives));
        final double length = Math.sqrt(9 + 1 + 0.0625);
        assertArrayEquals(
                new float[] {(float) (3 / length), (float) (-1 / length), (float) (0.25 / length)},
                direction(DirectionMethod.MEAN_L2, positives, negatives));
    }

    @Test
    void centringLosesWhatAllPairsHaveInCommon() {
        final Random random = new Random(8);
        final int n = 31;
        final int width = 16;
        final float[][] negatives = states(random, n, width);
        final float[][] positives = new float[n][];
        for (int i = 0; i < n; i++) {
            positives[i] = negatives[i].clone();
            // In common: 5 along axis 2. By chance: normal along axis 9, and a little everywhere.
            positives[i][2] += 5;
            positives[i][9] += (float) random.nextGaussian();
            for (int j = 0; j < width; j++) {
                positives[i][j] += (float) (0.01 * random.nextGaussian());
            }
        }
        final float[] centred = direction(DirectionMethod.PCA_DIFF, positives, negatives);
        assertTrue(Math.abs(centred[9]) >= 0.99 && Math.abs(centred[2]) <= 0.1);
        final float[] uncentred = direction(DirectionMethod.PCA_DIFF_UNCENTRED, positives, negatives);
        assertTrue(uncentred[2] >= 0.99);
        final float[] mean = direction(DirectionMethod.MEAN, positives, negatives);
        assertEquals(5, mean[2], 0.1);
        final PairedStates states = PairedStates.of(Map.of(LAYER, positives), Map.of(LAYER, negatives));
        assertEquals(1.0, states.agreement(states.directions(DirectionMethod.MEAN)).get(LAYER));
        assertTrue(states.agreement(states.directions(DirectionMethod.PCA_DIFF)).get(LAYER) < 0.9);
    }

    @Test
    void mostPairsDecideTheSign() {
        // Along one axis, most upwards although the sum is down.
        final float[][] positives = {{1, 0}, {2, 0}, {-9, 0}};
        final float[][] negatives = new float[3][2];
        assertArrayEquals(
                new float[] {1, 0}, direction(DirectionMethod.PCA_DIFF_UNCENTRED, positives, negatives), 1e-6f);
        assertArrayEquals(new float[] {1, 0}, direction(DirectionMethod.PCA_DIFF, positives, negatives), 1e-6f);
        assertArrayEquals(new float[] {-1, 0}, direction(DirectionMethod.PCA_DIFF, negatives, positives), 1e-6f);
        // One against one: the largest entry is positive.
        assertArrayEquals(
                new float[] {0, 1},
                direction(DirectionMethod.PCA_DIFF, new float[][] {{0, -2}, {0, 1}}, new float[2][2]),
                1e-6f);
    }

    @ParameterizedTest
    // VTI's is of no one degree in the states: its component stays as long as it is.
    @EnumSource(value = DirectionMethod.class, mode = EnumSource.Mode.EXCLUDE, names = "VTI")
    void largeStatesAndManyPairsDoNoHarm(final DirectionMethod method) {
        final Random random = new Random(12);
        final float[][] positives = along(states(random, 150, 40), states(random, 1, 40)[0], 2, random);
        final float[][] negatives = states(random, 150, 40);
        final float[] expected = direction(method, positives, negatives);
        for (final float[][] side : List.of(positives, negatives)) {
            for (final float[] row : side) {
                for (int j = 0; j < row.length; j++) {
                    row[j] *= 0x1p17f;
                }
            }
        }
        final float[] large = direction(method, positives, negatives);
        final float factor = method == DirectionMethod.MEAN ? 0x1p17f : 1;
        for (int j = 0; j < large.length; j++) {
            assertEquals(expected[j] * factor, large[j], 1e-5 * factor);
        }
        assertArrayEquals(large, direction(method, positives, negatives));
    }

    @ParameterizedTest
    @EnumSource(DirectionMethod.class)
    void pairsThatDoNotDifferHaveNoDirection(final DirectionMethod method) {
        final float[][] states = states(new Random(3), 4, 8);
        final BadInputException e =
                assertThrows(BadInputException.class, () -> direction(method, states, states));
        assertTrue(e.getMessage().contains("layer " + LAYER), e.getMessage());
    }

    @ParameterizedTest
    @CsvSource({"5, 9, 21", "17, 4, 22"})
    void vtiAddsTheComponentOfAllLayersToTheMean(final int n, final int width, final long seed) {
        final Random random = new Random(seed);
        final float[] axis = states(random, 1, 2 * width)[0];
        final float[][] long1 = along(states(random, n, 2 * width), axis, 1, random);
        final float[][] long2 = states(random, n, 2 * width);
        final LayerVectors found = PairedStates.of(
                        Map.of(1, halves(long1, 0, width), 4, halves(long1, width, width)),
                        Map.of(1, halves(long2, 0, width), 4, halves(long2, width, width)))
                .directions(DirectionMethod.VTI);
        final double[][] differences = differences(long1, long2, 1);
        final double[] expected = oriented(firstComponent(differences, true), differences);
        for (final double[] difference : differences) {
            for (int j = 0; j < expected.length; j++) {
                expected[j] += difference[j] / n;
            }
        }
        for (int j = 0; j < width; j++) {
            // Entries of a few units leave as float32: 2^-24 of each.
            assertEquals(expected[j], found.at(1)[j], 4 * TOLERANCE);
            assertEquals(expected[width + j], found.at(4)[j], 4 * TOLERANCE);
        }
    }

    private static float[][] halves(final float[][] rows, final int from, final int width) {
        final float[][] halves = new float[rows.length][];
        for (int i = 0; i < rows.length; i++) {
            halves[i] = Arrays.copyOfRange(rows[i], from, from + width);
        }
        return halves;
    }

    @Test
    void vtiOfASinglePairIsItsDifference() {
        assertArrayEquals(
                new float[] {1, -2}, direction(DirectionMethod.VTI, new float[][] {{2, 0}}, new float[][] {{1, 2}}));
    }

    @Test
    void alikePairsHaveNoComponentAboutTheirMean() {
        final float[][] negatives = states(new Random(3), 4, 8);
        final float[][] positives = new float[4][];
        for (int i = 0; i < 4; i++) {
            positives[i] = negatives[i].clone();
            positives[i][0] += 1;
        }
        assertThrows(BadInputException.class, () -> direction(DirectionMethod.PCA_DIFF, positives, negatives));
        assertEquals(1, direction(DirectionMethod.PCA_CENTER, positives, negatives)[0], 1e-6);
        final BadInputException single = assertThrows(BadInputException.class, () -> direction(
                DirectionMethod.PCA_DIFF, new float[][] {{1, 2}}, new float[][] {{0, 0}}));
        assertTrue(single.getMessage().contains("one pair"), single.getMessage());
    }

    @Test
    void statesMustFitEachOther() {
        final float[][] two = {{1, 2}, {3, 4}};
        assertThrows(BadInputException.class, () -> PairedStates.of(Map.of(), Map.of()));
        assertThrows(BadInputException.class, () -> PairedStates.of(Map.of(1, two), Map.of(2, two)));
        assertThrows(BadInputException.class, () -> PairedStates.of(Map.of(1, two), Map.of(1, new float[1][2])));
        assertThrows(BadInputException.class, () -> PairedStates.of(Map.of(1, two), Map.of(1, new float[2][3])));
        assertThrows(BadInputException.class, () -> PairedStates.of(
                Map.of(1, two), Map.of(1, new float[][] {{0, 0}, {Float.NaN, 0}})));
        final PairedStates states = PairedStates.of(Map.of(1, two), Map.of(1, new float[2][2]));
        assertEquals(2, states.pairs());
        assertEquals(2, states.width());
        two[0][0] = 100;
        assertEquals(2, states.directions(DirectionMethod.MEAN).at(1)[0]);
    }

    @Test
    void methodsHaveNames() {
        for (final DirectionMethod method : DirectionMethod.values()) {
            assertEquals(method, DirectionMethod.named(method.label()));
        }
        assertEquals(DirectionMethod.PCA_DIFF, DirectionMethod.named("pca"));
        final BadInputException e = assertThrows(BadInputException.class, () -> DirectionMethod.named("umap"));
        assertTrue(e.remedy().contains("pca-center"), e.getMessage());
    }
}
