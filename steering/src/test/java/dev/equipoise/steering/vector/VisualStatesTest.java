package dev.equipoise.steering.vector;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.PatchMask;
import dev.equipoise.runtime.PictureStates;
import dev.equipoise.runtime.intervention.PositionVectors;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import dev.equipoise.steering.vector.VisualStates.Masking;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Visual directions of a tiny random encoder with a class token, against those computed here from its states. */
class VisualStatesTest {
    private static final int WIDTH = 32;
    private static final int POSITIONS = TinyModels.IMAGE_TOKENS + 1;
    private static final int PICTURES = 5;

    @TempDir
    static Path directory;

    private static Model model;

    @BeforeAll
    static void open() {
        model = Model.load(
                TinyModels.llama(directory.resolve("tiny.gguf"), 201),
                Placement.options()
                        .withMmproj(TinyModels.mmproj(directory.resolve("m.gguf"), 202, WIDTH, 3, true, 0, 64)));
    }

    @AfterAll
    static void close() {
        model.close();
    }

    private static List<Image> pictures(final int count) {
        return IntStream.range(0, count)
                .mapToObj(i -> {
                    final byte[] pixels = new byte[3 * 32 * 32];
                    new Random(300 + i).nextBytes(pixels);
                    return Image.rgb(32, 32, pixels);
                })
                .toList();
    }

    // [pictures][positions * width], the slow way, of one block.
    private static double[][] differences(final Masking masking, final int block) {
        final Random random = new Random(masking.seed());
        final List<double[]> differences = new ArrayList<>();
        for (final Image picture : pictures(PICTURES)) {
            final double[] difference = new double[POSITIONS * WIDTH];
            for (int trial = 0; trial < masking.trials(); trial++) {
                final List<Integer> order = new ArrayList<>(IntStream.range(0, 16).boxed().toList());
                Collections.shuffle(order, random);
                final boolean[] marked = new boolean[16];
                order.subList(0, (int) (16 * masking.ratio())).forEach(patch -> marked[patch] = true);
                final PictureStates masked = model.pictureStates(picture, Optional.of(new PatchMask(4, marked)));
                for (int i = 0; i < difference.length; i++) {
                    difference[i] += masked.at(block)[i] / (double) masking.trials();
                }
            }
            final float[] clean = model.pictureStates(picture, Optional.empty()).at(block);
            for (int i = 0; i < difference.length; i++) {
                difference[i] -= clean[i];
            }
            differences.add(difference);
        }
        return differences.toArray(double[][]::new);
    }

    private static double variance(final double[][] rows, final double[] mean, final double[] along) {
        double variance = 0;
        for (final double[] row : rows) {
            double dot = 0;
            for (int i = 0; i < WIDTH; i++) {
                dot += (row[i] - mean[i]) * along[i];
            }
            variance += dot * dot;
        }
        return variance;
    }

    // By power iteration on the centred rows.
    private static double largestVariance(final double[][] rows, final double[] mean) {
        double[] v = new double[WIDTH];
        final Random random = new Random(4);
        for (int i = 0; i < WIDTH; i++) {
            v[i] = random.nextGaussian();
        }
        for (int round = 0; round < 2000; round++) {
            final double[] next = new double[WIDTH];
            for (final double[] row : rows) {
                double dot = 0;
                for (int i = 0; i < WIDTH; i++) {
                    dot += (row[i] - mean[i]) * v[i];
                }
                for (int i = 0; i < WIDTH; i++) {
                    next[i] += dot * (row[i] - mean[i]);
                }
            }
            double norm = 0;
            for (final double value : next) {
                norm += value * value;
            }
            for (int i = 0; i < WIDTH; i++) {
                next[i] /= Math.sqrt(norm);
            }
            v = next;
        }
        return variance(rows, mean, v);
    }

    @Test
    void directionsAreTheMeanAndTheFirstComponent() {
        final Masking masking = new Masking(3, 0.7, 9);
        final List<Integer> told = new ArrayList<>();
        final VisualStates states =
                VisualStates.read(model, pictures(PICTURES), Optional.empty(), masking, told::add);
        assertEquals(List.of(1, 2, 3, 4, 5), told);
        assertEquals(List.of(0, 1), List.copyOf(states.layers()));
        final PositionVectors directions = states.directions();
        assertEquals(POSITIONS, directions.positions());
        for (final int block : states.layers()) {
            final double[][] all = differences(masking, block);
            final float[][] read = states.differences(block);
            for (int p = 0; p < POSITIONS; p++) {
                final double[][] rows = new double[PICTURES][WIDTH];
                final double[] mean = new double[WIDTH];
                for (int k = 0; k < PICTURES; k++) {
                    for (int i = 0; i < WIDTH; i++) {
                        rows[k][i] = all[k][p * WIDTH + i];
                        mean[i] += rows[k][i] / PICTURES;
                        // Summed in another order and stored as float32: states of order one, 3 of them.
                        assertEquals(rows[k][i], read[k][p * WIDTH + i], 0x1p-20);
                    }
                }
                assertComponent(rows, mean, directions.at(block), p);
            }
        }
    }

    // What the direction has beyond the mean is of unit length, has the most variance, and the sign of most pictures.
    private static void assertComponent(
            final double[][] rows, final double[] mean, final float[] directions, final int p) {
        final double[] unit = new double[WIDTH];
        double squares = 0;
        for (int i = 0; i < WIDTH; i++) {
            unit[i] = directions[p * WIDTH + i] - mean[i];
            squares += unit[i] * unit[i];
        }
        // Direction and differences are stored as float32, of order one in 32 entries.
        assertEquals(1, Math.sqrt(squares), 0x1p-18, "position " + p);
        final double largest = largestVariance(rows, mean);
        // Variance is flat at its largest: an error of e in the direction loses e^2 of it; the rest is rounding.
        assertTrue(variance(rows, mean, unit) >= largest * (1 - 1e-6), "position " + p);
        int balance = 0;
        for (final double[] row : rows) {
            double dot = 0;
            for (int i = 0; i < WIDTH; i++) {
                dot += row[i] * unit[i];
            }
            balance += dot > 0 ? 1 : -1;
        }
        assertTrue(balance > 0, "position " + p);
    }

    @Test
    void oneSeedMakesOneFile() {
        final Masking masking = new Masking(2, 0.99, 1);
        final Optional<SortedSet<Integer>> block = Optional.of(new TreeSet<>(List.of(1)));
        final PositionVectors first =
                VisualStates.read(model, pictures(2), block, masking, done -> { }).directions();
        assertEquals(first, VisualStates.read(model, pictures(2), block, masking, done -> { }).directions());
        assertEquals(List.of(1), List.copyOf(first.layers()));
        assertNotEquals(
                first,
                VisualStates.read(model, pictures(2), block, new Masking(2, 0.99, 2), done -> { }).directions());
    }

    @Test
    void onePictureHasTheMeanAlone() {
        final VisualStates states = VisualStates.read(
                model, pictures(1), Optional.empty(), new Masking(2, 0.5, 1), done -> { });
        final float[] difference = states.differences(0)[0];
        final float[] direction = states.directions().at(0);
        for (int i = 0; i < direction.length; i++) {
            assertEquals(difference[i], direction[i]);
        }
    }

    @Test
    void whatCannotBeExtractedIsRefused() {
        for (final double ratio : new double[] {0, -0.1, 1.1, Double.NaN}) {
            assertThrows(BadInputException.class, () -> new Masking(1, ratio, 0));
        }
        assertThrows(BadInputException.class, () -> new Masking(0, 0.5, 0));
        final Masking little = new Masking(1, 0.01, 0);
        final BadInputException none = assertThrows(
                BadInputException.class,
                () -> VisualStates.read(model, pictures(1), Optional.empty(), little, done -> { }));
        assertTrue(none.what().contains("less than one"), none.getMessage());
        final Masking some = new Masking(1, 0.5, 0);
        assertThrows(
                BadInputException.class,
                () -> VisualStates.read(model, List.of(), Optional.empty(), some, done -> { }));
        final BadInputException block = assertThrows(
                BadInputException.class,
                () -> VisualStates.read(
                        model, pictures(1), Optional.of(new TreeSet<>(List.of(2))), some, done -> { }));
        assertTrue(block.remedy().contains("runs 2"), block.getMessage());
        // A picture of one colour is its own masked copy, but for the rounding of a mean.
        final byte[] grey = new byte[3 * 32 * 32];
        Arrays.fill(grey, (byte) 128);
        assertThrows(
                BadInputException.class,
                () -> VisualStates.read(model, List.of(Image.rgb(32, 32, grey)), Optional.empty(), some, done -> { })
                        .directions());
        final Path shallow = TinyModels.mmproj(directory.resolve("s.gguf"), 203, WIDTH, 1, false, 0, 64);
        try (Model bare = Model.load(
                directory.resolve("tiny.gguf"), Placement.options().withMmproj(shallow))) {
            final BadInputException blocks = assertThrows(
                    BadInputException.class,
                    () -> VisualStates.read(bare, pictures(1), Optional.empty(), some, done -> { }));
            assertTrue(blocks.what().contains("runs no block"), blocks.getMessage());
        }
        try (Model blind = Model.load(directory.resolve("tiny.gguf"), Placement.options())) {
            final BadInputException eyes = assertThrows(
                    BadInputException.class,
                    () -> VisualStates.read(blind, pictures(1), Optional.empty(), some, done -> { }));
            assertTrue(eyes.what().contains("without a picture encoder"), eyes.getMessage());
        }
    }
}
