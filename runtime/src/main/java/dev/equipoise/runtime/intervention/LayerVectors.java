package dev.equipoise.runtime.intervention;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import java.util.SortedMap;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.UnaryOperator;

/**
 * One direction per layer of the residual stream. Immutable; equal when layers and values are.
 *
 * <p>Layer n is the output of block n, counted from 0.
 */
public final class LayerVectors {
    private final int width;
    private final SortedMap<Integer, float[]> vectors;

    /**
     * Copies vectors.
     *
     * @param vectors layer to {@code [width]}
     * @throws BadInputException if there is none, widths differ, a layer is negative or a value is not finite
     */
    public LayerVectors(final Map<Integer, float[]> vectors) {
        require(!vectors.isEmpty(), "steering vectors for no layer", "vectors", "give at least one layer a vector");
        width = vectors.values().iterator().next().length;
        final SortedMap<Integer, float[]> copies = new TreeMap<>();
        vectors.forEach((layer, vector) -> {
            final String where = "layer " + layer;
            require(layer >= 0, "a negative layer", where, "count layers from 0");
            require(vector.length == width && width > 0, "vectors of different widths", where, "use one model's");
            for (final float value : vector) {
                require(Float.isFinite(value), "a vector that is not finite", where, "extract it again");
            }
            copies.put(layer, vector.clone());
        });
        this.vectors = Collections.unmodifiableSortedMap(copies);
    }

    private static void require(final boolean ok, final String what, final String where, final String remedy) {
        if (!ok) {
            throw new BadInputException(what, where, remedy);
        }
    }

    /** Entries of each vector: the model's hidden width. */
    public int width() {
        return width;
    }

    /** The layers that have a vector, ascending. */
    public SortedSet<Integer> layers() {
        return Collections.unmodifiableSortedSet(new TreeSet<>(vectors.keySet()));
    }

    /** A copy of a layer's vector, {@code [width]}. */
    public float[] at(final int layer) {
        final float[] vector = vectors.get(layer);
        require(vector != null, "no vector for layer " + layer, "layers " + vectors.keySet(), "choose one of those");
        return vector.clone();
    }

    /** L2 norm of a layer's vector, accumulated in double. */
    public double norm(final int layer) {
        double sum = 0;
        for (final float value : at(layer)) {
            sum += (double) value * value;
        }
        return Math.sqrt(sum);
    }

    /** These vectors times a factor. */
    public LayerVectors scaled(final double factor) {
        return map(vector -> {
            final float[] scaled = new float[width];
            for (int i = 0; i < width; i++) {
                scaled[i] = (float) (factor * vector[i]);
            }
            return scaled;
        });
    }

    /** These vectors pointing the other way. */
    public LayerVectors negated() {
        return scaled(-1);
    }

    /** The sum, over the layers of both; a layer that one lacks counts as zero there. */
    public LayerVectors plus(final LayerVectors other) {
        require(width == other.width, "vectors of different widths", width + " and " + other.width, "use one model's");
        final SortedMap<Integer, float[]> sums = new TreeMap<>();
        vectors.forEach((layer, vector) -> sums.put(layer, vector.clone()));
        other.vectors.forEach((layer, vector) -> {
            final float[] sum = sums.computeIfAbsent(layer, missing -> new float[width]);
            for (int i = 0; i < width; i++) {
                sum[i] += vector[i];
            }
        });
        return new LayerVectors(sums);
    }

    /** These vectors at some layers only. */
    public LayerVectors only(final Set<Integer> layers) {
        final SortedMap<Integer, float[]> kept = new TreeMap<>(vectors);
        kept.keySet().retainAll(layers);
        require(
                !kept.isEmpty(),
                "no vector at the chosen layers",
                "layers " + layers + " of " + vectors.keySet(),
                "choose layers that have a vector");
        return new LayerVectors(kept);
    }

    private LayerVectors map(final UnaryOperator<float[]> change) {
        final SortedMap<Integer, float[]> changed = new TreeMap<>();
        vectors.forEach((layer, vector) -> changed.put(layer, change.apply(vector)));
        return new LayerVectors(changed);
    }

    @Override
    public boolean equals(final Object other) {
        if (!(other instanceof LayerVectors that) || !vectors.keySet().equals(that.vectors.keySet())) {
            return false;
        }
        return vectors.entrySet().stream()
                .allMatch(entry -> Arrays.equals(entry.getValue(), that.vectors.get(entry.getKey())));
    }

    @Override
    public int hashCode() {
        int hash = vectors.keySet().hashCode();
        for (final float[] vector : vectors.values()) {
            hash = 31 * hash + Arrays.hashCode(vector);
        }
        return hash;
    }

    @Override
    public String toString() {
        return "vectors of " + width + " at layers " + vectors.keySet();
    }
}
