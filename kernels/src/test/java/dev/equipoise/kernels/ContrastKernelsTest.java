package dev.equipoise.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Values worked out by hand, and what is refused; the same for every provider. */
class ContrastKernelsTest {
    private static final float MASKED = Float.NEGATIVE_INFINITY;

    static Stream<ContrastKernels> providers() {
        final Stream<ContrastKernels> everywhere = Stream.of(Kernels.scalar(), Kernels.nativeCpu());
        return CudaDevice.probe() instanceof CudaDevice.Available
                ? Stream.concat(everywhere, Stream.of(Kernels.cuda())) : everywhere;
    }

    @ParameterizedTest
    @MethodSource("providers")
    void contrastOfTwoRows(final ContrastKernels kernels) {
        final LogitRows rows = new LogitRows(new float[] {2, 1, 0, -3, 99, 0, 1, 2, 9}, 5, 4);
        final float[] out = new float[4];
        // ln 0.1 = -2.30: tokens from -0.30 on are plausible. (1 + 1) z - 1 z'.
        final Combined combined = kernels.combine(rows, new BranchSum(new int[] {0, 1}, new float[] {2, -1}, false,
                0.1f), out);
        assertArrayEquals(new float[] {4, 1, -2, MASKED}, out);
        assertEquals(new Combined(3, 4 + 0 + 4), combined);
    }

    @ParameterizedTest
    @MethodSource("providers")
    void contrastOfLogProbabilities(final ContrastKernels kernels) {
        // Probabilities 1/4, 3/4 and 1/2, 1/2, the second row shifted: 2 ln p - ln q.
        final float shift = 5;
        final LogitRows rows = new LogitRows(new float[] {0, (float) Math.log(3), shift, shift}, 2, 2);
        final float[] out = new float[2];
        kernels.combine(rows, new BranchSum(new int[] {0, 1}, new float[] {2, -1}, true, 0), out);
        assertEquals(2 * Math.log(0.25) - Math.log(0.5), out[0], 2e-6); // a dozen roundings of numbers up to 6
        assertEquals(2 * Math.log(0.75) - Math.log(0.5), out[1], 2e-6);
    }

    @ParameterizedTest
    @MethodSource("providers")
    void entropyAndLogSumExpOfKnownRows(final ContrastKernels kernels) {
        final float[] flat = new float[1000];
        Arrays.fill(flat, -3);
        assertEquals(Math.log(1000), kernels.entropy(LogitRows.of(flat), 0), 4 * Bounds.U * Math.log(1000));
        assertEquals(Math.log(1000) - 3, kernels.summary(LogitRows.of(flat), 0).logSumExp(), 8 * Bounds.U * 4);

        final LogitRows certain = LogitRows.of(MASKED, 7, MASKED);
        assertEquals(0, kernels.entropy(certain, 0), 2 * Bounds.U);
        assertEquals(new RowSummary(7, 7), kernels.summary(certain, 0));
        assertEquals(1, kernels.argmax(certain, 0));
        assertEquals(1, kernels.argmax(LogitRows.of(1, 4, 4, 4), 0));
    }

    @ParameterizedTest
    @MethodSource("providers")
    void maskedLogits(final ContrastKernels kernels) {
        final LogitRows rows = new LogitRows(new float[] {1, MASKED, 3, 1, MASKED, MASKED}, 3, 3);
        final float[] out = new float[3];
        // The other branch masks token 2: dropped, unless it has no say there.
        final int[] both = {0, 1};
        assertEquals(1, kernels.combine(rows, new BranchSum(both, new float[] {1, 1}, false, 0), out).kept());
        assertArrayEquals(new float[] {2, MASKED, MASKED}, out);
        assertEquals(2, kernels.combine(rows, new BranchSum(both, new float[] {1, 0}, false, 0), out).kept());
        assertArrayEquals(new float[] {1, MASKED, 3}, out);
        assertThrows(BadInputException.class,
                () -> kernels.combine(rows, new BranchSum(both, new float[] {2, -1}, false, 0), out));
        // Plausible is token 2 alone, which the other branch forbids.
        assertThrows(BadInputException.class,
                () -> kernels.combine(rows, new BranchSum(both, new float[] {1, 1}, false, 1), out));
    }

    @ParameterizedTest
    @MethodSource("providers")
    void whatIsNotALogitIsRefusedEverywhere(final ContrastKernels kernels) {
        for (final int size : new int[] {1, 7, 16, 33, 257}) {
            for (int at = 0; at < size; at++) {
                for (final float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
                    final float[] values = new float[2 * size];
                    values[size + at] = bad;
                    final LogitRows rows = new LogitRows(values, size, size);
                    assertThrows(BadInputException.class, () -> kernels.argmax(rows, 1));
                    assertThrows(BadInputException.class, () -> kernels.entropy(rows, 1));
                    assertThrows(BadInputException.class, () -> kernels.summary(rows, 1));
                    final BranchSum sum = new BranchSum(new int[] {0, 1}, new float[] {1, 0}, false, 0.1f);
                    final String message = assertThrows(BadInputException.class,
                            () -> kernels.combine(rows, sum, new float[size])).getMessage();
                    assertTrue(message.contains("NaN or infinity"), message);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("providers")
    void emptyRowsAreRefused(final ContrastKernels kernels) {
        final float[] values = new float[66];
        Arrays.fill(values, 33, 66, MASKED);
        final LogitRows rows = new LogitRows(values, 33, 33);
        assertThrows(BadInputException.class, () -> kernels.argmax(rows, 1));
        assertThrows(BadInputException.class, () -> kernels.entropy(rows, 1));
        assertThrows(BadInputException.class, () -> kernels.summary(rows, 1));
        for (final boolean logProbabilities : new boolean[] {true, false}) {
            final BranchSum sum = new BranchSum(new int[] {0, 1}, new float[] {1, 1}, logProbabilities, 0);
            assertThrows(BadInputException.class, () -> kernels.combine(rows, sum, new float[33]));
        }
    }

    @ParameterizedTest
    @MethodSource("providers")
    void placesThatAreNotThereAreRefused(final ContrastKernels kernels) {
        final LogitRows rows = new LogitRows(new float[9], 5, 4);
        assertEquals(2, rows.rows());
        final BranchSum sum = new BranchSum(new int[] {0, 1}, new float[] {1, 1}, false, 0);
        for (final int row : new int[] {-1, 2, Integer.MAX_VALUE, Integer.MIN_VALUE}) {
            assertThrows(BadInputException.class, () -> kernels.argmax(rows, row));
            assertThrows(BadInputException.class, () -> kernels.entropy(rows, row));
            assertThrows(BadInputException.class, () -> kernels.summary(rows, row));
            assertThrows(BadInputException.class, () -> kernels.combine(rows,
                    new BranchSum(new int[] {0, row}, new float[] {1, 1}, false, 0), new float[4]));
        }
        assertThrows(BadInputException.class, () -> kernels.combine(rows, sum, new float[3]));
        assertThrows(BadInputException.class, () -> kernels.combine(rows, sum, rows.values()));
        final float[] longer = {0, 0, 0, 0, 42};
        kernels.combine(rows, sum, longer);
        assertEquals(42, longer[4]);
    }

    @ParameterizedTest
    @MethodSource("providers")
    void impossibleShapesAndSumsAreRefused(final ContrastKernels kernels) {
        assertThrows(BadInputException.class, () -> new LogitRows(new float[4], 4, 0));
        assertThrows(BadInputException.class, () -> new LogitRows(new float[4], 3, 4));
        assertThrows(BadInputException.class, () -> new LogitRows(new float[3], 4, 4));
        final int[] one = {0};
        assertThrows(BadInputException.class, () -> new BranchSum(new int[0], new float[0], false, 0));
        assertThrows(BadInputException.class, () -> new BranchSum(one, new float[2], false, 0));
        for (final float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
            assertThrows(BadInputException.class, () -> new BranchSum(one, new float[] {bad}, false, 0));
        }
        for (final float bad : new float[] {Float.NaN, -0.1f, 1.1f, Float.POSITIVE_INFINITY}) {
            assertThrows(BadInputException.class, () -> new BranchSum(one, new float[] {1}, false, bad));
        }
        final BranchSum overflow = new BranchSum(one, new float[] {3e38f}, false, 0);
        assertThrows(BadInputException.class, () -> kernels.combine(LogitRows.of(1, 10), overflow, new float[2]));
    }
}
