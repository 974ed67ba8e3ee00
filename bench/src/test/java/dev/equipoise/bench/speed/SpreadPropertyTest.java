package dev.equipoise.bench.speed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.Size;

class SpreadPropertyTest {
    @Property(tries = 200)
    void orderDoesNotMatterAndTheIntervalHoldsTheMedian(
            @ForAll @Size(min = 1, max = 60) final List<@DoubleRange(min = 0.1, max = 10) Double> values) {
        final Spread spread = spread(values);
        assertEquals(spread, spread(values.reversed()));
        assertTrue(spread.min() <= spread.median() && spread.median() <= spread.max());
        spread.ci95().ifPresent(ci -> assertTrue(ci.low() <= spread.median() && spread.median() <= ci.high()));
        assertEquals(values.size() >= 6, spread.ci95().isPresent());
    }

    private static Spread spread(final List<Double> values) {
        return Spread.of(values.stream().mapToDouble(Double::doubleValue).toArray());
    }
}
