package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.ffm.EncoderHandle;
import java.util.Collections;
import java.util.List;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

/** The outputs of a picture encoder's blocks for one picture, at each position. Immutable. */
public final class PictureStates {
    private final int positions;
    private final int width;
    private final SortedMap<Integer, float[]> layers;

    private PictureStates(final int positions, final int width, final SortedMap<Integer, float[]> layers) {
        this.positions = positions;
        this.width = width;
        this.layers = layers;
    }

    static PictureStates of(final List<EncoderHandle.Chunk> chunks, final String picture) {
        final List<EncoderHandle.States> seen =
                chunks.stream().flatMap(chunk -> chunk.states().stream()).toList();
        if (seen.isEmpty()) {
            throw new BadInputException(
                    "a picture encoder without block states", picture, "use one with at least two blocks");
        }
        final SortedMap<Integer, float[]> layers = new TreeMap<>();
        for (final EncoderHandle.States states : seen) {
            if (layers.put(states.layer(), states.values()) != null) {
                throw new BadInputException(
                        "a picture that is encoded in several pieces", picture, "use an encoder that takes it whole");
            }
        }
        return new PictureStates(seen.getFirst().positions(), seen.getFirst().width(), layers);
    }

    /** Positions of the encoder: the class token where it has one, and behind it the patches, row by row. */
    public int positions() {
        return positions;
    }

    /** Entries of each state. */
    public int width() {
        return width;
    }

    /** The blocks that run, ascending. */
    public SortedSet<Integer> layers() {
        return Collections.unmodifiableSortedSet(new TreeSet<>(layers.keySet()));
    }

    /** A copy of a block's output, {@code [positions][width]}. */
    public float[] at(final int layer) {
        final float[] states = layers.get(layer);
        if (states == null) {
            throw new BadInputException(
                    "no states of block " + layer, "blocks " + layers.keySet(), "choose one of those");
        }
        return states.clone();
    }
}
