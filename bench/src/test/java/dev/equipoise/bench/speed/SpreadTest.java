package dev.equipoise.bench.speed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Optional;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SpreadTest {
    /** Ranks from published tables of the sign test's interval for the median (two-sided, at least 95 %). */
    @ParameterizedTest
    @CsvSource({"6,1", "8,1", "9,2", "10,2", "15,4", "20,6", "21,6", "25,8", "30,10", "50,18", "100,40"})
    void intervalRunsBetweenTheRanksOfTheSignTest(final int n, final int rank) {
        final Spread spread = Spread.of(IntStream.rangeClosed(1, n).asDoubleStream().toArray());
        assertEquals(Optional.of(new Spread.Interval(rank, n + 1 - rank)), spread.ci95());
        assertEquals((n + 1) / 2.0, spread.median());
        assertEquals(1, spread.min());
        assertEquals(n, spread.max());
        assertEquals(n, spread.n());
    }

    @Test
    void fewerThanSixValuesHaveNoInterval() {
        // The median of 5 values lies outside all of them in 1 case of 16, which is more than 5 %.
        assertEquals(Optional.empty(), Spread.of(5, 1, 4, 2, 3).ci95());
        assertEquals(3, Spread.of(5, 1, 4, 2, 3).median());
        assertEquals(2.5, Spread.of(4, 1, 2, 3).median());
        assertEquals(7, Spread.of(7).median());
    }

    @Test
    void oneWildValueMovesNothingButTheExtreme() {
        final double[] calm = DoubleStream.iterate(1, x -> x + 0.01).limit(21).toArray();
        final double[] disturbed = calm.clone();
        disturbed[20] = 1000;
        assertEquals(Spread.of(calm).median(), Spread.of(disturbed).median());
        assertEquals(Spread.of(calm).ci95(), Spread.of(disturbed).ci95());
        assertEquals(1000, Spread.of(disturbed).max());
    }

    @Test
    void whatIsNotFiniteIsRefused() {
        assertThrows(IllegalArgumentException.class, Spread::of);
        assertThrows(IllegalArgumentException.class, () -> Spread.of(1, Double.NaN));
        assertThrows(IllegalArgumentException.class, () -> Spread.of(Double.NEGATIVE_INFINITY, 1));
    }
}
