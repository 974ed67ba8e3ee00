package dev.equipoise.runtime.intervention;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Condition.Pooling;
import dev.equipoise.runtime.intervention.Condition.Side;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Thresholds and rules of conditional activation steering. */
class ConditionTest {
    private static Condition condition(final Side side, final double threshold, final float... direction) {
        return new Condition("c", new LayerVectors(Map.of(3, direction)), Pooling.MEAN, side, threshold);
    }

    @Test
    void aboveAndBelowAreSeenFromTheThreshold() {
        final Condition above = condition(Side.ABOVE, 0.25, 1, 0);
        final Condition below = condition(Side.BELOW, 0.25, 1, 0);
        assertTrue(above.holds(0.26));
        assertFalse(above.holds(0.24));
        assertTrue(below.holds(0.24));
        assertFalse(below.holds(0.26));
        assertFalse(above.holds(0.25));
        assertFalse(below.holds(0.25));
    }

    @Test
    void aStateThatHasNothingOfTheDirectionIsNotLikeIt() {
        assertEquals(0, condition(Side.ABOVE, 0, 1, 0).similarity(new float[] {0, 4}));
        assertEquals(0, condition(Side.ABOVE, 0, 1, 0).similarity(new float[] {0, 0}));
    }

    @Test
    void rulesTakeOneOrAll() {
        final Condition one = condition(Side.ABOVE, 0.1, 1, 0);
        final Condition other = condition(Side.BELOW, 0.1, 1, 0);
        final When any = new When(When.Rule.ANY, List.of(one, other));
        final When all = new When(When.Rule.ALL, List.of(one, other));
        assertTrue(any.holds(one::equals));
        assertFalse(all.holds(one::equals));
        assertTrue(all.holds(condition -> true));
        assertFalse(any.holds(condition -> false));
    }

    @Test
    void whatNoConditionCanBeIsRefused() {
        assertThrows(BadInputException.class, () -> condition(Side.ABOVE, 1.5, 1, 0));
        assertThrows(BadInputException.class, () -> condition(Side.ABOVE, Double.NaN, 1, 0));
        assertThrows(BadInputException.class, () -> condition(Side.ABOVE, 0, 0, 0));
        final LayerVectors two = new LayerVectors(Map.of(0, new float[] {1}, 1, new float[] {1}));
        assertThrows(BadInputException.class, () -> new Condition("c", two, Pooling.MEAN, Side.ABOVE, 0));
        assertThrows(BadInputException.class, () -> new When(When.Rule.ANY, List.of()));
    }
}
