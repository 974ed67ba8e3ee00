package dev.equipoise.runtime.intervention;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.intervention.Condition.Pooling;
import dev.equipoise.runtime.intervention.Condition.Side;
import java.util.List;
import java.util.Map;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.FloatRange;
import net.jqwik.api.constraints.Size;

/** The similarity of conditional activation steering against its formula, matrix and all. */
class ConditionPropertyTest {
    // cos(h, tanh(C h)) with the whole projection matrix C = c c^T / c.c.
    private static double byMatrix(final float[] c, final float[] h) {
        double squares = 0;
        for (final float value : c) {
            squares += (double) value * value;
        }
        double dot = 0;
        double left = 0;
        double right = 0;
        for (int i = 0; i < c.length; i++) {
            double row = 0;
            for (int j = 0; j < c.length; j++) {
                row += (double) c[i] * c[j] / squares * h[j];
            }
            final double bounded = Math.tanh(row);
            dot += bounded * h[i];
            left += bounded * bounded;
            right += (double) h[i] * h[i];
        }
        return dot / Math.sqrt(left * right);
    }

    @Property
    void similarityIsTheCosineWithTheBoundedProjection(
            @ForAll @Size(7) final List<@FloatRange(min = 0.25f, max = 9) Float> direction,
            @ForAll @Size(7) final List<@FloatRange(min = 0.25f, max = 9) Float> state,
            @ForAll final boolean turned) {
        final float[] c = new float[7];
        final float[] h = new float[7];
        for (int i = 0; i < c.length; i++) {
            // One entry of the other sign, so that the cosine is not near 1.
            c[i] = i == 2 ? -direction.get(i) : direction.get(i);
            h[i] = turned ? -state.get(i) : state.get(i);
        }
        final Condition condition =
                new Condition("c", new LayerVectors(Map.of(3, c)), Pooling.MEAN, Side.ABOVE, 0);
        final double expected = byMatrix(c, h);
        // A dot product that cancels to 0 on one side only has no direction to compare.
        if (!Double.isNaN(expected)) {
            final double difference = Math.abs(expected - condition.similarity(h));
            // Some twenty double operations, each of relative error 2^-53, on sums that may cancel a hundredfold.
            assertTrue(difference <= 1e-9, () -> "difference " + difference);
        }
    }
}
