package dev.equipoise.runtime.oracle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** Worked by hand on rows of three tokens. */
class ContrastOracleTest {
    private static final double[] BASE = {2, 1, -3};
    private static final double[] OTHER = {1, 2, 0};
    private static final double EXACT = 1e-12;

    @Test
    void logSoftmaxSumsToOne() {
        final double[] row = ContrastOracle.logSoftmax(new double[] {1000, 1001, Double.NEGATIVE_INFINITY});

        assertEquals(1, Arrays.stream(row).map(Math::exp).sum(), EXACT);
        assertEquals(1, row[1] - row[0], EXACT);
    }

    @Test
    void linearMethodsSubtractTheOtherBranch() {
        // (1 + a) base - a other with a = 1: 3, 0, -6.
        assertArrayEquals(new double[] {3, 0, -6}, ContrastOracle.vcd(BASE, OTHER, 1, 0), EXACT);
        assertArrayEquals(new double[] {3, 0, -6}, ContrastOracle.icd(BASE, OTHER, 1, 0), EXACT);
        assertArrayEquals(new double[] {2.5, 0.5, -4.5}, ContrastOracle.cad(BASE, OTHER, 0.5, 0), EXACT);
    }

    @Test
    void theCutOffLooksAtTheBaseRow() {
        // ln 0.1 = -2.3: the second token is 1 below the first and stays, the third is 5 below and goes.
        final double[] cut = ContrastOracle.vcd(BASE, OTHER, 1, 0.1);

        assertEquals(Double.NEGATIVE_INFINITY, cut[2]);
        assertArrayEquals(new double[] {3, 0}, Arrays.copyOf(cut, 2), EXACT);
        assertEquals(Double.NEGATIVE_INFINITY, ContrastOracle.cutOff(BASE, BASE, 1)[1]);
    }

    @Test
    void m3idGrowsWithLengthUpToItsCeiling() {
        final double[] first = ContrastOracle.m3id(BASE, OTHER, 0.02, 1, 10, 0);
        final double[] conditional = ContrastOracle.logSoftmax(BASE);
        final double[] unconditional = ContrastOracle.logSoftmax(OTHER);
        final double weight = Math.exp(0.02) - 1;

        for (int y = 0; y < 3; y++) {
            assertEquals(conditional[y] + weight * (conditional[y] - unconditional[y]), first[y], EXACT);
        }
        assertArrayEquals(ContrastOracle.m3id(BASE, OTHER, 0.02, 500, 3, 0),
                ContrastOracle.m3id(BASE, OTHER, 0.02, 5000, 3, 0), EXACT);
        assertTrue(ContrastOracle.m3id(BASE, OTHER, 0.02, 200, 10, 0)[0] > first[0]);
    }

    @Test
    void weightedSumTakesAnyNumberOfBranches() {
        assertArrayEquals(new double[] {2.5, 2, 0},
                ContrastOracle.weightedSum(new double[][] {BASE, OTHER, {0.5, 1, 3}}, 1, 0, 1), EXACT);
    }
}
