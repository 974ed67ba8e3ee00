package dev.equipoise.runtime.picture;

import java.util.Arrays;
import java.util.List;

/** Pixels moved about, and taken out. */
final class Geometry {
    // Pillow's places in a source are 16.16 fixed point.
    private static final int POINT = 16;
    private static final int HALF_TURN = 180;

    private Geometry() {}

    static Pixels mirrored(final Pixels picture, final boolean leftToRight) {
        final int width = picture.width();
        final int height = picture.height();
        final byte[] to = new byte[picture.array().length];
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                final int from = leftToRight
                        ? picture.index(width - 1 - x, y)
                        : picture.index(x, height - 1 - y);
                picture.copy(from, to, picture.index(x, y));
            }
        }
        return new Pixels(width, height, to);
    }

    /** Pillow's {@code rotate} without expansion, of the nearest pixels, on black. */
    static Pixels rotated(final Pixels picture, final double degrees) {
        final int width = picture.width();
        final int height = picture.height();
        final double turn = Math.floorMod((long) Math.floor(degrees), 2 * HALF_TURN) + degrees - Math.floor(degrees);
        if (turn == 0) {
            return picture;
        }
        if (turn == HALF_TURN) {
            return mirrored(mirrored(picture, true), false);
        }
        final double angle = -Math.toRadians(turn);
        final double cos = Math.cos(angle);
        final double sin = Math.sin(angle);
        final double originX = width / 2.0 - cos * (width / 2.0) - sin * (height / 2.0);
        final double originY = height / 2.0 + sin * (width / 2.0) - cos * (height / 2.0);
        final long stepX = fixed(cos);
        final long stepY = fixed(-sin);
        // The middle of the first pixel of the row in hand.
        long rowX = fixed(originX + cos * 0.5 + sin * 0.5);
        long rowY = fixed(originY - sin * 0.5 + cos * 0.5);
        final byte[] to = new byte[picture.array().length];
        for (int y = 0; y < height; y++) {
            long placeX = rowX;
            long placeY = rowY;
            for (int x = 0; x < width; x++) {
                final long fromX = placeX >> POINT;
                final long fromY = placeY >> POINT;
                if (fromX >= 0 && fromX < width && fromY >= 0 && fromY < height) {
                    picture.copy(picture.index((int) fromX, (int) fromY), to, picture.index(x, y));
                }
                placeX += stepX;
                placeY += stepY;
            }
            rowX += fixed(sin);
            rowY += fixed(cos);
        }
        return new Pixels(width, height, to);
    }

    private static long fixed(final double value) {
        return (long) Math.floor(value * (1 << POINT) + 0.5);
    }

    static Pixels cropped(final Pixels picture, final Box box) {
        final int row = Pixels.CHANNELS * box.width();
        final byte[] to = new byte[row * box.height()];
        for (int y = 0; y < box.height(); y++) {
            System.arraycopy(picture.array(), picture.index(box.left(), box.top() + y), to, y * row, row);
        }
        return new Pixels(box.width(), box.height(), to);
    }

    static Pixels blackened(final Pixels picture, final List<Box> boxes) {
        final byte[] to = picture.rgb();
        for (final Box box : boxes) {
            for (int y = box.top(); y < box.bottom(); y++) {
                Arrays.fill(to, picture.index(box.left(), y), picture.index(box.right(), y), (byte) 0);
            }
        }
        return new Pixels(picture.width(), picture.height(), to);
    }
}
