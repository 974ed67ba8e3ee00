package dev.equipoise.runtime.picture;

import java.util.Arrays;

/** A picture's pixels: red, green and blue of each, 8 bits a channel, row by row. Immutable; equal if the bytes are. */
public final class Pixels {
    /** Channels of a pixel. */
    static final int CHANNELS = 3;

    private final int width;
    private final int height;
    private final byte[] rgb;

    // Takes the array over: whoever hands it in keeps no reference.
    Pixels(final int width, final int height, final byte[] rgb) {
        if (width < 1 || height < 1 || rgb.length != (long) CHANNELS * width * height) {
            throw new IllegalArgumentException(width + " x " + height + " pixels in " + rgb.length + " bytes");
        }
        this.width = width;
        this.height = height;
        this.rgb = rgb;
    }

    /**
     * Pixels.
     *
     * @param width pixels a row, at least 1
     * @param height rows, at least 1
     * @param rgb {@code [height][width][3]}, copied
     * @throws IllegalArgumentException where the bytes are not so many
     */
    public static Pixels of(final int width, final int height, final byte[] rgb) {
        return new Pixels(width, height, rgb.clone());
    }

    /** Pixels a row. */
    public int width() {
        return width;
    }

    /** Rows. */
    public int height() {
        return height;
    }

    /** {@code [height][width][3]}, a copy. */
    public byte[] rgb() {
        return rgb.clone();
    }

    /** The bytes themselves, which nobody writes to. */
    byte[] array() {
        return rgb;
    }

    /** Where the first channel of a pixel stands. */
    int index(final int x, final int y) {
        return CHANNELS * (y * width + x);
    }

    /**
     * A channel's value, 0..255.
     *
     * @param channel 0 red, 1 green, 2 blue
     */
    public int at(final int x, final int y, final int channel) {
        return rgb[index(x, y) + channel] & 0xFF;
    }

    /** One pixel of this picture to another place of another one of its size, or of its own. */
    void copy(final int from, final byte[] to, final int at) {
        to[at] = rgb[from];
        to[at + 1] = rgb[from + 1];
        to[at + 2] = rgb[from + 2];
    }

    @Override
    public boolean equals(final Object other) {
        return other instanceof Pixels that && width == that.width && Arrays.equals(rgb, that.rgb);
    }

    @Override
    public int hashCode() {
        return 31 * width + Arrays.hashCode(rgb);
    }

    @Override
    public String toString() {
        return "Pixels[" + width + " x " + height + "]";
    }
}
