package dev.equipoise.runtime.picture;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * What is done to a picture, all of its numbers known: what torchvision's transforms (v2) do to a Pillow image of mode
 * RGB, whose arithmetic on bytes is followed. {@link TransformationKind} draws the numbers.
 */
public sealed interface Transformation {
    /** Another picture; the one given stays as it is. */
    Pixels apply(Pixels picture);

    /** What it does, in words that follow a picture's name. */
    String words();

    /** Left becomes right. */
    record HorizontalFlip() implements Transformation {
        @Override
        public Pixels apply(final Pixels picture) {
            return Geometry.mirrored(picture, true);
        }

        @Override
        public String words() {
            return "mirrored left to right";
        }
    }

    /** Top becomes bottom. */
    record VerticalFlip() implements Transformation {
        @Override
        public Pixels apply(final Pixels picture) {
            return Geometry.mirrored(picture, false);
        }

        @Override
        public String words() {
            return "mirrored top to bottom";
        }
    }

    /**
     * Turned about its middle, each pixel taking the nearest one; corners that leave the picture are lost, what comes
     * in is black.
     *
     * @param degrees counter-clockwise
     */
    record Rotation(double degrees) implements Transformation {
        @Override
        public Pixels apply(final Pixels picture) {
            return Geometry.rotated(picture, degrees);
        }

        @Override
        public String words() {
            return String.format(Locale.ROOT, "rotated by %.1f degrees", degrees);
        }
    }

    /** One of the parts of {@link ColourJitter}. */
    enum Adjustment {
        /** Between black and the picture, or beyond. */
        BRIGHTNESS,
        /** Between the mean grey and the picture, or beyond. */
        CONTRAST,
        /** Between the picture's own greys and it, or beyond. */
        SATURATION,
        /** Colours turned round their circle. */
        HUE;

        private String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /**
     * Other colours.
     *
     * @param order which of the four comes first, and so on
     * @param brightness 0 black, 1 as it is
     * @param contrast 0 grey, 1 as it is
     * @param saturation 0 without colours, 1 as it is
     * @param hue share of the circle of colours, -0.5..0.5
     */
    record ColourJitter(List<Adjustment> order, float brightness, float contrast, float saturation, double hue)
            implements Transformation {
        public ColourJitter {
            order = List.copyOf(order);
            if (order.size() != Adjustment.values().length || !order.containsAll(Arrays.asList(Adjustment.values()))) {
                throw new IllegalArgumentException("each adjustment once, not " + order);
            }
        }

        @Override
        public Pixels apply(final Pixels picture) {
            Pixels coloured = picture;
            for (final Adjustment next : order) {
                coloured = switch (next) {
                    case BRIGHTNESS -> Colours.brightness(coloured, brightness);
                    case CONTRAST -> Colours.contrast(coloured, contrast);
                    case SATURATION -> Colours.saturation(coloured, saturation);
                    case HUE -> Colours.hue(coloured, hue);
                };
            }
            return coloured;
        }

        @Override
        public String words() {
            return "recoloured: " + order.stream()
                    .map(next -> next.label() + switch (next) {
                        case BRIGHTNESS -> number(" x %.2f", brightness);
                        case CONTRAST -> number(" x %.2f", contrast);
                        case SATURATION -> number(" x %.2f", saturation);
                        case HUE -> number(" %+.2f", hue);
                    })
                    .collect(Collectors.joining(", "));
        }

        private static String number(final String format, final double value) {
            return String.format(Locale.ROOT, format, value);
        }
    }

    /**
     * Blurred by a Gaussian of 13 x 13 pixels, the picture being mirrored about its outermost pixels.
     *
     * @param sigma standard deviation in pixels, above 0
     */
    record GaussianBlur(double sigma) implements Transformation {
        @Override
        public Pixels apply(final Pixels picture) {
            return Filters.blurred(picture, Filters.gaussian(Filters.BLUR, sigma));
        }

        @Override
        public String words() {
            return String.format(Locale.ROOT, "blurred with sigma %.2f", sigma);
        }
    }

    /**
     * A part of it, made as large as {@link #SIDE} pixels square.
     *
     * @param box the part, which must be within the picture
     */
    record ResizedCrop(Box box) implements Transformation {
        /** Pixels of a side of what it makes. */
        public static final int SIDE = 336;

        @Override
        public Pixels apply(final Pixels picture) {
            return Filters.resized(Geometry.cropped(picture, box), SIDE, SIDE);
        }

        @Override
        public String words() {
            return "cropped to " + box + " and resized";
        }
    }

    /**
     * Black in places.
     *
     * @param boxes the places, which must be within the picture
     */
    record Blackout(List<Box> boxes) implements Transformation {
        public Blackout {
            boxes = List.copyOf(boxes);
        }

        @Override
        public Pixels apply(final Pixels picture) {
            return Geometry.blackened(picture, boxes);
        }

        @Override
        public String words() {
            return "black in " + boxes.stream().map(Box::toString).collect(Collectors.joining("; "));
        }
    }
}
