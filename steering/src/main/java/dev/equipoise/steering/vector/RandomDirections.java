package dev.equipoise.steering.vector;

import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.PositionVectors;
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
            vectors.put(layer, vector(random, reference.width(), reference.norm(layer)));
        }
        return new LayerVectors(vectors);
    }

    /**
     * Directions of the same blocks, positions and width, at each position uniform in direction and as long as the
     * reference is there.
     *
     * @param seed equal seeds give equal directions, on any JDK
     */
    public static PositionVectors like(final PositionVectors reference, final long seed) {
        final Random random = new Random(seed);
        final SortedMap<Integer, float[]> vectors = new TreeMap<>();
        for (final int layer : reference.layers()) {
            final double[] norms = reference.norms(layer);
            final float[] made = new float[norms.length * reference.width()];
            for (int p = 0; p < norms.length; p++) {
                final float[] vector = vector(random, reference.width(), norms[p]);
                System.arraycopy(vector, 0, made, p * vector.length, vector.length);
            }
            vectors.put(layer, made);
        }
        return new PositionVectors(reference.positions(), vectors);
    }

    private static float[] vector(final Random random, final int width, final double norm) {
        final double[] normal = new double[width];
        double squares = 0;
        for (int i = 0; i < normal.length; i++) {
            normal[i] = random.nextGaussian();
            squares += normal[i] * normal[i];
        }
        final double scale = norm / Math.sqrt(squares);
        final float[] vector = new float[normal.length];
        for (int i = 0; i < normal.length; i++) {
            vector[i] = (float) (scale * normal[i]);
        }
        return vector;
    }
}
