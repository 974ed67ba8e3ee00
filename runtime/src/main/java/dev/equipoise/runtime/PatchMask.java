package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;

/**
 * Patches of a picture that are overwritten before the encoder, after preprocessing and normalisation: each of their
 * channels becomes the mean of that channel over the whole picture. Immutable.
 */
public final class PatchMask {
    private final int side;
    private final byte[] marks;

    /**
     * Copies marks.
     *
     * @param side patches a row of the encoder's square picture
     * @param marked {@code [side][side]}: whether the patch is overwritten
     */
    public PatchMask(final int side, final boolean[] marked) {
        if (side < 1 || marked.length != side * side) {
            throw new BadInputException(
                    "a mask that is not square",
                    marked.length + " marks, " + side + " a row",
                    "mark side x side patches");
        }
        this.side = side;
        this.marks = new byte[marked.length];
        for (int i = 0; i < marked.length; i++) {
            marks[i] = (byte) (marked[i] ? 1 : 0);
        }
    }

    /** Patches a row. */
    public int side() {
        return side;
    }

    byte[] marks() {
        return marks.clone();
    }
}
