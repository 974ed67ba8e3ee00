package dev.equipoise.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/** The native kernels against the scalar reference, and both against what must hold whatever the numbers are. */
class KernelParityTest {
    private static final ContrastKernels SCALAR = Kernels.scalar();
    private static final ContrastKernels NATIVE = Kernels.nativeCpu();

    @Provide
    Arbitrary<Case> cases() {
        return Combinators.combine(
                Arbitraries.longs(),
                Arbitraries.of(Arrays.stream(Case.SIZES).boxed().toList()),
                Arbitraries.integers().between(1, 6),
                Arbitraries.of(Case.Kind.class),
                Arbitraries.of(true, false),
                Arbitraries.of(0f, 0.1f, 0.5f, 1f)).as(Case::of);
    }

    private static void assertClose(final float[] expected, final float[] found, final Case c) {
        final double[] bounds = Bounds.combined(c);
        for (int y = 0; y < found.length; y++) {
            if (expected[y] == Float.NEGATIVE_INFINITY || found[y] == Float.NEGATIVE_INFINITY) {
                assertEquals(expected[y], found[y], "token " + y);
            } else {
                final double difference = Math.abs((double) expected[y] - found[y]);
                final double bound = bounds[y];
                assertTrue(difference <= bound, () -> difference + " > " + bound + ", " + c.sum());
            }
        }
    }

    @Property(tries = 200)
    void combiningAgrees(@ForAll("cases") final Case c) {
        final float[] expected = new float[c.rows().vocabulary()];
        final float[] found = new float[c.rows().vocabulary()];
        final Combined reference = SCALAR.combine(c.rows(), c.sum(), expected);
        final Combined combined = NATIVE.combine(c.rows(), c.sum(), found);

        assertClose(expected, found, c);
        assertEquals(reference.kept(), combined.kept());
        // A difference d known to within e gives d^2 within 2 |d| e + e^2; by Cauchy and Schwarz the sum over k tokens
        // is within 2 sqrt(delta k) e + k e^2, e the largest bound.
        final double error = 4 * Arrays.stream(Bounds.combined(c)).max().orElseThrow();
        final double bound = 2 * Math.sqrt(reference.deltaSquared() * reference.kept()) * error
                + reference.kept() * error * error;
        assertTrue(Math.abs(reference.deltaSquared() - combined.deltaSquared()) <= bound,
                reference + " " + combined + " bound " + bound);
    }

    @Property(tries = 200)
    void readingARowAgrees(@ForAll("cases") final Case c) {
        for (int b = 0; b < c.sum().branches(); b++) {
            final int row = c.sum().rows()[b];
            final RowSummary expected = SCALAR.summary(c.rows(), row);
            final RowSummary found = NATIVE.summary(c.rows(), row);
            assertEquals(expected.max(), found.max());
            assertTrue(Math.abs((double) expected.logSumExp() - found.logSumExp())
                    <= Bounds.logSumExp(c.row(b), expected), expected + " " + found);

            assertEquals(SCALAR.argmax(c.rows(), row), NATIVE.argmax(c.rows(), row));

            final double entropy = SCALAR.entropy(c.rows(), row);
            assertTrue(Math.abs(entropy - NATIVE.entropy(c.rows(), row))
                    <= Bounds.entropy(c.row(b), expected, entropy), "entropy " + entropy);
        }
    }

    @Property(tries = 100)
    void orderOfTheOtherBranchesDoesNotMatter(@ForAll("cases") final Case c) {
        final int[] rows = c.sum().rows();
        final float[] coefficients = c.sum().coefficients();
        for (int i = 1, j = rows.length - 1; i < j; i++, j--) {
            final int row = rows[i];
            rows[i] = rows[j];
            rows[j] = row;
            final float coefficient = coefficients[i];
            coefficients[i] = coefficients[j];
            coefficients[j] = coefficient;
        }
        final BranchSum reversed =
                new BranchSum(rows, coefficients, c.sum().logProbabilities(), c.sum().plausibility());
        for (final ContrastKernels kernels : new ContrastKernels[] {SCALAR, NATIVE}) {
            final float[] forward = new float[c.rows().vocabulary()];
            final float[] backward = new float[c.rows().vocabulary()];
            assertEquals(kernels.combine(c.rows(), c.sum(), forward).kept(),
                    kernels.combine(c.rows(), reversed, backward).kept());
            assertClose(forward, backward, c);
        }
    }

    @Property(tries = 100)
    void aBranchAgainstItselfIsPlain(@ForAll("cases") final Case c) {
        final int base = c.sum().rows()[0];
        final BranchSum plain = new BranchSum(
                new int[] {base}, new float[] {1}, c.sum().logProbabilities(), c.sum().plausibility());
        // 2 and -1, 1.5 and -0.5 sum to 1 without rounding.
        for (final float alpha : new float[] {1, 0.5f}) {
            final Case twice = c.with(new BranchSum(new int[] {base, base}, new float[] {1 + alpha, -alpha},
                    c.sum().logProbabilities(), c.sum().plausibility()));
            for (final ContrastKernels kernels : new ContrastKernels[] {SCALAR, NATIVE}) {
                final float[] expected = new float[c.rows().vocabulary()];
                final float[] found = new float[c.rows().vocabulary()];
                assertEquals(0.0, kernels.combine(c.rows(), plain, expected).deltaSquared());
                kernels.combine(c.rows(), twice.sum(), found);
                assertClose(expected, found, twice);
            }
        }
    }

    @Property(tries = 100)
    void plainLogitsComeBackAsTheyWere(@ForAll("cases") final Case c) {
        for (final ContrastKernels kernels : new ContrastKernels[] {SCALAR, NATIVE}) {
            final float[] out = new float[c.rows().vocabulary()];
            final Combined combined = kernels.combine(c.rows(),
                    new BranchSum(new int[] {c.sum().rows()[0]}, new float[] {1}, false, 0), out);
            final float[] row = c.row(0);
            long unmasked = 0;
            for (int y = 0; y < out.length; y++) {
                assertEquals(row[y], out[y], 0f, "token " + y);
                unmasked += row[y] > Float.NEGATIVE_INFINITY ? 1 : 0;
            }
            assertEquals(new Combined(unmasked, 0), combined);
        }
    }

    @Property(tries = 100)
    void fullPlausibilityKeepsTheMaxima(@ForAll("cases") final Case c) {
        final BranchSum strict = new BranchSum(
                c.sum().rows(), c.sum().coefficients(), c.sum().logProbabilities(), 1);
        final float max = SCALAR.summary(c.rows(), c.sum().rows()[0]).max();
        final float[] row = c.row(0);
        for (final ContrastKernels kernels : new ContrastKernels[] {SCALAR, NATIVE}) {
            final float[] out = new float[row.length];
            kernels.combine(c.rows(), strict, out);
            for (int y = 0; y < row.length; y++) {
                assertEquals(row[y] == max, out[y] > Float.NEGATIVE_INFINITY, "token " + y);
            }
        }
    }

    @Property(tries = 60)
    void aCommonShiftComesOutTimesTheSumOfCoefficients(@ForAll("cases") final Case c) {
        final float shift = 64; // a power of two, far enough to be seen
        final float[] moved = c.rows().values().clone();
        for (int i = 0; i < moved.length; i++) {
            moved[i] += shift;
        }
        final BranchSum sum = new BranchSum(c.sum().rows(), c.sum().coefficients(), false, 0);
        final Case there = new Case(new LogitRows(moved, c.rows().stride(), c.rows().vocabulary()), sum);
        double total = 0;
        for (final float coefficient : sum.coefficients()) {
            total += coefficient;
        }
        final float[] before = new float[c.rows().vocabulary()];
        final float[] after = new float[c.rows().vocabulary()];
        NATIVE.combine(c.rows(), sum, before);
        NATIVE.combine(there.rows(), sum, after);
        final double[] boundsHere = Bounds.combined(c.with(sum));
        final double[] boundsThere = Bounds.combined(there);
        for (int y = 0; y < before.length; y++) {
            if (before[y] > Float.NEGATIVE_INFINITY) {
                // Moving a logit rounds it once: one more rounding of the magnitude there, and one of it here.
                final double bound = 2 * (boundsHere[y] + boundsThere[y]);
                final double difference = Math.abs(before[y] + shift * total - after[y]);
                assertTrue(difference <= bound, "token " + y + ": " + difference + " > " + bound);
            }
        }
    }
}
