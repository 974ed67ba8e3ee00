package dev.equipoise.bench.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.Combined;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ContrastKernelBenchmarkTest {
    private static final double EPSILON = Math.ulp(1.0f);

    @ParameterizedTest
    @CsvSource({
        "scalar,32,2", "scalar,32,4", "scalar,32000,2", "scalar,32000,4", "scalar,151936,2", "scalar,151936,4",
        "native,32,2", "native,32,4", "native,32000,2", "native,32000,4", "native,151936,2", "native,151936,4"
    })
    void everyCombinationGivesWhatTheReferenceGives(final String provider, final int vocabulary, final int branches) {
        final ContrastKernelBenchmark reference = new ContrastKernelBenchmark("scalar", vocabulary, branches);
        final ContrastKernelBenchmark measured = new ContrastKernelBenchmark(provider, vocabulary, branches);
        reference.prepare();
        measured.prepare();
        final Combined wanted = reference.combine();
        final Combined got = measured.combine();

        final float[] expected = reference.result();
        final float[] actual = measured.result();
        assertEquals(vocabulary, actual.length);
        // Logits stay below 20; the coefficients' magnitudes add up to 2 n - 1. Every product and sum rounds once, the
        // result once more.
        final double tolerance = (branches + 1) * EPSILON * 20 * (2 * branches - 1);
        long kept = 0;
        for (int y = 0; y < vocabulary; y++) {
            if (expected[y] == Float.NEGATIVE_INFINITY) {
                assertEquals(Float.NEGATIVE_INFINITY, actual[y], "token " + y + " is cut off");
            } else {
                assertTrue(Math.abs(expected[y] - actual[y]) <= tolerance, expected[y] + " and " + actual[y]);
                kept++;
            }
        }
        assertTrue(kept >= 1 && kept < vocabulary, "the cut-off acts");
        assertEquals(wanted.kept(), got.kept());
        assertEquals(kept, got.kept());
        // Squares double the relative error of a difference, which the sum over the kept tokens keeps.
        assertTrue(Math.abs(wanted.deltaSquared() - got.deltaSquared())
                <= kept * 2 * tolerance * (20 * (2 * branches - 1)) + EPSILON * wanted.deltaSquared());
    }
}
