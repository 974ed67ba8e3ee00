package dev.equipoise.steering.vector;

import dev.equipoise.runtime.intervention.LayerVectors;
import java.util.Random;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Vectors of no meaning, as the control arm of every claim: what a steering vector does beyond a random one of the same
 * length is what its direction does.
 */
public final class RandomDirections {
    private RandomDirections() {}

    /**
     * A vector of the same layers and width, in each layer uniform in direction and as long as the reference is there.
     *
     * @param seed equal seeds give equal vectors, on any JDK
     */
    public static LayerVectors like(final LayerVectors reference, final long seed) {
        // Of the JDK's generators the one whose normal numbers are specified to the bit.
        final Random random = new Random(seed);
        final SortedMap<Integer, float[]> vectors = new TreeMap<>();
        for (final int layer : reference.layers()) {
            final double[] normal = new double[reference.width()];
            double squares = 0;
            for (int i = 0; i < normal.length; i++) {
                normal[i] = random.nextGaussian();
                squares += normal[i] * normal[i];
            }
            final double scale = reference.norm(layer) / Math.sqrt(squares);
            final float[] vector = new float[normal.length];
            for (int i = 0; i < normal.length; i++) {
                vector[i] = (float) (scale * normal[i]);
            }
            vectors.put(layer, vector);
        }
        return new LayerVectors(vectors);
    }
}
