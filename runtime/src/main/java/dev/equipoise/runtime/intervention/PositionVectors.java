package dev.equipoise.runtime.intervention;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * One direction per block and position of a picture encoder. Immutable; equal when positions, layers and values are.
 *
 * <p>Layer n is block n of the encoder, counted from 0. A position is a column of its graph: the class token first,
 * where the encoder has one, then the patches, row by row. A direction of zeros stands for none.
 */
public final class PositionVectors {
    private final int positions;
    private final int width;
    private final SortedMap<Integer, float[]> vectors;
    // Tens of millions of values may be in it, and it is the key of a cache.
    private final int hash;

    /**
     * Copies vectors.
     *
     * @param positions of the encoder
     * @param vectors layer to {@code [positions][width]}
     * @throws BadInputException if there is none, sizes differ or are not whole rows, a layer is negative, a value is
     *     not finite, or all of them are zeros
     */
    public PositionVectors(final int positions, final Map<Integer, float[]> vectors) {
        require(!vectors.isEmpty(), "visual directions for no layer", "vectors", "give at least one layer directions");
        final int length = vectors.values().iterator().next().length;
        require(positions > 0 && length > 0 && length % positions == 0,
                "visual directions that are not one for each position", length + " values, " + positions + " positions",
                "give [positions][width]");
        this.positions = positions;
        this.width = length / positions;
        final SortedMap<Integer, float[]> copies = new TreeMap<>();
        boolean some = false;
        for (final Map.Entry<Integer, float[]> entry : vectors.entrySet()) {
            final String where = "layer " + entry.getKey();
            require(entry.getKey() >= 0, "a negative layer", where, "count layers from 0");
            require(entry.getValue().length == length, "visual directions of different sizes", where,
                    "use one encoder's");
            for (final float value : entry.getValue()) {
                require(Float.isFinite(value), "a visual direction that is not finite", where, "extract it again");
                some |= value != 0;
            }
            copies.put(entry.getKey(), entry.getValue().clone());
        }
        require(some, "visual directions that are all zeros", "layers " + copies.keySet(), "extract them again");
        this.vectors = Collections.unmodifiableSortedMap(copies);
        int sum = positions;
        for (final Map.Entry<Integer, float[]> entry : copies.entrySet()) {
            sum = 31 * (31 * sum + entry.getKey()) + Arrays.hashCode(entry.getValue());
        }
        this.hash = sum;
    }

    private static void require(final boolean ok, final String what, final String where, final String remedy) {
        if (!ok) {
            throw new BadInputException(what, where, remedy);
        }
    }

    /** Positions of the encoder. */
    public int positions() {
        return positions;
    }

    /** Entries of each direction: the encoder's hidden width. */
    public int width() {
        return width;
    }

    /** The layers that have directions, ascending. */
    public SortedSet<Integer> layers() {
        return Collections.unmodifiableSortedSet(new TreeSet<>(vectors.keySet()));
    }

    /** A copy of a layer's directions, {@code [positions][width]}. */
    public float[] at(final int layer) {
        final float[] values = vectors.get(layer);
        require(values != null, "no directions for layer " + layer, "layers " + vectors.keySet(),
                "choose one of those");
        return values.clone();
    }

    /** L2 norms of a layer's directions, {@code [positions]}, accumulated in double. */
    public double[] norms(final int layer) {
        final float[] values = at(layer);
        final double[] norms = new double[positions];
        for (int p = 0; p < positions; p++) {
            double sum = 0;
            for (int i = p * width; i < (p + 1) * width; i++) {
                sum += (double) values[i] * values[i];
            }
            norms[p] = Math.sqrt(sum);
        }
        return norms;
    }

    @Override
    public boolean equals(final Object other) {
        if (this == other) {
            return true;
        }
        return other instanceof PositionVectors that
                && hash == that.hash
                && positions == that.positions
                && vectors.keySet().equals(that.vectors.keySet())
                && vectors.entrySet().stream()
                        .allMatch(entry -> Arrays.equals(entry.getValue(), that.vectors.get(entry.getKey())));
    }

    @Override
    public int hashCode() {
        return hash;
    }

    @Override
    public String toString() {
        return "visual directions of " + width + " at " + positions + " positions of layers " + vectors.keySet();
    }
}
