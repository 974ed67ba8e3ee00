package dev.equipoise.steering.vector;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.intervention.LayerVectors;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.Test;

class RandomDirectionsTest {
    private static final int WIDTH = 1024;

    private static LayerVectors reference() {
        final float[] small = new float[WIDTH];
        small[3] = 1e-3f;
        final float[] large = new float[WIDTH];
        Arrays.fill(large, 10);
        return new LayerVectors(Map.of(2, small, 5, large, 9, new float[WIDTH]));
    }

    private static double cosine(final float[] a, final float[] b) {
        double product = 0;
        double squaresOfA = 0;
        double squaresOfB = 0;
        for (int i = 0; i < a.length; i++) {
            product += (double) a[i] * b[i];
            squaresOfA += (double) a[i] * a[i];
            squaresOfB += (double) b[i] * b[i];
        }
        return product / Math.sqrt(squaresOfA * squaresOfB);
    }

    @Test
    void theyAreAsLongAsTheReference() {
        final LayerVectors random = RandomDirections.like(reference(), 1);
        assertEquals(reference().layers(), random.layers());
        assertEquals(WIDTH, random.width());
        for (final int layer : random.layers()) {
            // Each entry is rounded to 24 bits.
            final double tolerance = 0x1p-24 * reference().norm(layer);
            assertEquals(reference().norm(layer), random.norm(layer), tolerance);
        }
    }

    @Test
    void theyPointAnywhere() {
        final LayerVectors random = RandomDirections.like(reference(), 1);
        final LayerVectors other = RandomDirections.like(reference(), 2);
        // Cosines of random directions deviate by 1/sqrt(width) = 0.03.
        assertTrue(Math.abs(cosine(random.at(5), reference().at(5))) <= 0.15);
        assertTrue(Math.abs(cosine(random.at(2), random.at(5))) <= 0.15);
        assertTrue(Math.abs(cosine(random.at(5), other.at(5))) <= 0.15);
    }

    @Test
    void theSeedDecides() {
        assertEquals(RandomDirections.like(reference(), -7), RandomDirections.like(reference(), -7));
        assertNotEquals(RandomDirections.like(reference(), 7), RandomDirections.like(reference(), 8));
    }
}
