package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.picture.Pixels;
import dev.equipoise.runtime.picture.Transformation;
import java.nio.file.Path;
import java.util.Objects;

/**
 * A picture: an encoded file (PNG, JPEG, GIF, BMP) or raw RGB pixels. Immutable; equal when the bytes are.
 */
public final class Image {
    /** Longest side accepted, in pixels: the decoder below allocates width x height x 3 bytes before it checks. */
    public static final int MAX_SIDE = 16_384;

    private final MediaBytes bytes;
    private final int width;
    private final int height;

    private Image(final MediaBytes bytes, final int width, final int height) {
        this.bytes = bytes;
        this.width = width;
        this.height = height;
    }

    /**
     * Reads an encoded picture.
     *
     * @throws BadInputException if the file cannot be read or is not a picture of a known format
     */
    public static Image read(final Path file) {
        return encoded(MediaBytes.read(file), file.toString());
    }

    /**
     * An encoded picture in memory.
     *
     * @param data the file's bytes, copied
     * @param name what to call it in errors
     */
    public static Image encoded(final byte[] data, final String name) {
        return encoded(new MediaBytes(data.clone(), name), name);
    }

    private static Image encoded(final MediaBytes bytes, final String name) {
        final MediaSniffer.Size size = MediaSniffer.picture(bytes.array(), name);
        if (size.width() > MAX_SIDE || size.height() > MAX_SIDE) {
            throw new BadInputException(
                    "picture too large", name, "use at most " + MAX_SIDE + " pixels a side, it is " + size);
        }
        return new Image(bytes, 0, 0);
    }

    /**
     * Raw pixels.
     *
     * @param width pixels a row, 1..{@value #MAX_SIDE}
     * @param height rows, 1..{@value #MAX_SIDE}
     * @param rgb {@code [height][width][3]}, 8 bits a channel, copied
     */
    public static Image rgb(final int width, final int height, final byte[] rgb) {
        Objects.requireNonNull(rgb);
        if (width < 1 || height < 1 || width > MAX_SIDE || height > MAX_SIDE || rgb.length != 3L * width * height) {
            throw new BadInputException(
                    "pixels do not fit their size",
                    width + " x " + height + " with " + rgb.length + " bytes",
                    "pass width * height * 3 bytes, sides 1.." + MAX_SIDE);
        }
        return new Image(new MediaBytes(rgb.clone(), width + "x" + height + " pixels"), width, height);
    }

    /** What errors and explanations call it: a file's name, a size, or either with what was done to it. */
    public String name() {
        return bytes.name();
    }

    /**
     * Its pixels; an encoded one is decoded for it, each time. Colours are those that the file has, whatever profile
     * goes with them, and transparency is left out, as the encoders below read pictures.
     *
     * @throws BadInputException where the picture is cut or damaged, or of a kind that Java does not read
     */
    public Pixels pixels() {
        return isRaw() ? Pixels.of(width, height, bytes.array()) : PictureDecoder.decode(bytes.array(), name());
    }

    /**
     * This picture, transformed: raw pixels.
     *
     * @param pixels this picture's
     */
    public Image transformed(final Pixels pixels, final Transformation transformation) {
        final Pixels made = transformation.apply(pixels);
        return new Image(
                new MediaBytes(made.rgb(), name() + ", " + transformation.words()), made.width(), made.height());
    }

    /** True when the bytes are pixels rather than an encoded file. */
    boolean isRaw() {
        return width > 0;
    }

    int width() {
        return width;
    }

    int height() {
        return height;
    }

    MediaBytes bytes() {
        return bytes;
    }

    @Override
    public boolean equals(final Object other) {
        return other instanceof Image that
                && width == that.width
                && height == that.height
                && bytes.equals(that.bytes);
    }

    @Override
    public int hashCode() {
        return bytes.hashCode();
    }

    @Override
    public String toString() {
        return "Image[" + bytes.name() + "]";
    }
}
