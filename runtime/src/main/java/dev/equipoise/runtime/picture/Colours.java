package dev.equipoise.runtime.picture;

import java.util.Arrays;

/** Other colours, in Pillow's arithmetic: single precision, cut and not rounded where Pillow cuts. */
final class Colours {
    private static final int FULL = 255;
    // Shares of red, green and blue in grey (ITU-R 601-2), of 65536.
    private static final int RED = 19_595;
    private static final int GREEN = 38_470;
    private static final int BLUE = 7471;
    private static final int SIXTHS = 6;

    private Colours() {}

    static Pixels brightness(final Pixels picture, final float factor) {
        return blended(new byte[picture.array().length], picture, factor);
    }

    static Pixels contrast(final Pixels picture, final float factor) {
        final byte[] from = picture.array();
        long sum = 0;
        for (int i = 0; i < from.length; i += Pixels.CHANNELS) {
            sum += grey(from, i);
        }
        final byte[] mean = new byte[from.length];
        Arrays.fill(mean, (byte) (int) ((double) sum / (from.length / Pixels.CHANNELS) + 0.5));
        return blended(mean, picture, factor);
    }

    static Pixels saturation(final Pixels picture, final float factor) {
        final byte[] from = picture.array();
        final byte[] grey = new byte[from.length];
        for (int i = 0; i < from.length; i += Pixels.CHANNELS) {
            Arrays.fill(grey, i, i + Pixels.CHANNELS, (byte) grey(from, i));
        }
        return blended(grey, picture, factor);
    }

    private static int grey(final byte[] rgb, final int at) {
        return (RED * (rgb[at] & FULL) + GREEN * (rgb[at + 1] & FULL) + BLUE * (rgb[at + 2] & FULL) + (1 << 15)) >> 16;
    }

    // From what it would be without (0) to the picture (1) and beyond.
    private static Pixels blended(final byte[] without, final Pixels picture, final float factor) {
        final byte[] from = picture.array();
        final byte[] to = new byte[from.length];
        for (int i = 0; i < to.length; i++) {
            final int start = without[i] & FULL;
            final float value = start + factor * ((from[i] & FULL) - start);
            to[i] = (byte) clip((int) value);
        }
        return new Pixels(picture.width(), picture.height(), to);
    }

    private static int clip(final int value) {
        return Math.clamp(value, 0, FULL);
    }

    /** Hue turned by a share of its circle, of 256 steps for 255 of them: as torchvision lets the byte run over. */
    static Pixels hue(final Pixels picture, final double share) {
        final int turn = (int) (share * FULL);
        final byte[] from = picture.array();
        final byte[] to = new byte[from.length];
        for (int i = 0; i < to.length; i += Pixels.CHANNELS) {
            turned(from[i] & FULL, from[i + 1] & FULL, from[i + 2] & FULL, turn, to, i);
        }
        return new Pixels(picture.width(), picture.height(), to);
    }

    // To hue and saturation of 8 bits each, as Pillow has them, and back.
    private static void turned(
            final int red, final int green, final int blue, final int turn, final byte[] to, final int at) {
        final int most = Math.max(red, Math.max(green, blue));
        final float range = most - Math.min(red, Math.min(green, blue));
        int hue = 0;
        int saturation = 0;
        if (range > 0) {
            final float missingRed = (most - red) / range;
            final float missingGreen = (most - green) / range;
            final float missingBlue = (most - blue) / range;
            final float place;
            if (red == most) {
                place = missingBlue - missingGreen;
            } else if (green == most) {
                place = (float) (2.0 + missingRed - missingBlue);
            } else {
                place = (float) (4.0 + missingGreen - missingRed);
            }
            final float circle = (float) ((place / 6.0 + 1.0) % 1.0);
            hue = clip((int) (circle * 255.0));
            saturation = clip((int) (range / most * 255.0));
        }
        coloured((hue + turn) & FULL, saturation, most, to, at);
    }

    private static void coloured(
            final int hue, final int saturation, final int value, final byte[] to, final int at) {
        final double place = hue * 6.0 / 255.0;
        final int sixth = (int) Math.floor(place);
        final float within = (float) (place - sixth);
        final float strength = (float) (saturation / 255.0);
        final int low = rounded(value * (1.0 - strength));
        final int falling = rounded(value * (1.0 - strength * within));
        final int rising = rounded(value * (1.0 - strength * (1.0 - within)));
        switch (sixth % SIXTHS) {
            case 0 -> put(to, at, value, rising, low);
            case 1 -> put(to, at, falling, value, low);
            case 2 -> put(to, at, low, value, rising);
            case 3 -> put(to, at, low, falling, value);
            case 4 -> put(to, at, rising, low, value);
            default -> put(to, at, value, low, falling);
        }
    }

    // Nothing here is negative.
    private static int rounded(final double value) {
        return clip((int) Math.floor(value + 0.5));
    }

    private static void put(final byte[] to, final int at, final int red, final int green, final int blue) {
        to[at] = (byte) red;
        to[at + 1] = (byte) green;
        to[at + 2] = (byte) blue;
    }
}
