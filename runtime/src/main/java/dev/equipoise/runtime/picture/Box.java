package dev.equipoise.runtime.picture;

import dev.equipoise.kernels.error.BadInputException;

/**
 * A part of a picture, in its pixels.
 *
 * @param left first column
 * @param top first row
 * @param right first column behind it
 * @param bottom first row below it
 */
public record Box(int left, int top, int right, int bottom) {
    public Box {
        if (left < 0 || top < 0 || right <= left || bottom <= top) {
            throw new BadInputException(
                    left < 0 || top < 0 ? "a box that begins outside the picture" : "a box that holds nothing",
                    "box " + left + "," + top + "," + right + "," + bottom,
                    "give left,top,right,bottom in pixels of the picture, from 0, right and bottom being the first"
                            + " ones behind it");
        }
    }

    /** Columns. */
    public int width() {
        return right - left;
    }

    /** Rows. */
    public int height() {
        return bottom - top;
    }

    @Override
    public String toString() {
        return left + "," + top + "," + right + "," + bottom;
    }
}
