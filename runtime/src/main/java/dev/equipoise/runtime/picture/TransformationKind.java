package dev.equipoise.runtime.picture;

import dev.equipoise.runtime.picture.Transformation.Adjustment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.random.RandomGenerator;

/** What RITUAL (arXiv 2405.17821) draws one of for a picture, each with the ranges of its official code. */
public enum TransformationKind {
    /** Left becomes right. */
    HORIZONTAL_FLIP,
    /** Top becomes bottom. */
    VERTICAL_FLIP,
    /** Turned by any angle. */
    ROTATION,
    /** Brightness, contrast, saturation of 0..2 times what they were, any other hue, in any order. */
    COLOUR_JITTER,
    /** Blurred with a sigma of 1.5..2 pixels. */
    GAUSSIAN_BLUR,
    /** A part of 0.08..1 of the area and a ratio of 3:4 to 4:3, made 336 pixels square. */
    CROP;

    private static final double TURN = 180;
    private static final double BRIGHTEST = 2;
    private static final double HUE = 0.5;
    private static final double[] SIGMA = {1.5, 2};
    private static final double[] AREA = {0.08, 1};
    private static final double[] RATIO = {3.0 / 4, 4.0 / 3};
    private static final int TRIES = 10;

    /** Strategy files call it so. */
    public String label() {
        return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /** Whether there is anything to draw about it. */
    public boolean isDrawn() {
        return this != HORIZONTAL_FLIP && this != VERTICAL_FLIP;
    }

    /** Whether what it makes may have another size. */
    public boolean resizes() {
        return this == CROP;
    }

    /**
     * One of these with its numbers.
     *
     * @param random where they come from; advanced by what is drawn
     * @param width of the picture
     * @param height of the picture
     */
    public Transformation draw(final RandomGenerator random, final int width, final int height) {
        return switch (this) {
            case HORIZONTAL_FLIP -> new Transformation.HorizontalFlip();
            case VERTICAL_FLIP -> new Transformation.VerticalFlip();
            case ROTATION -> new Transformation.Rotation(random.nextDouble(-TURN, TURN));
            case COLOUR_JITTER -> {
                final List<Adjustment> order = shuffled(random);
                yield new Transformation.ColourJitter(
                        order,
                        (float) random.nextDouble(0, BRIGHTEST),
                        (float) random.nextDouble(0, BRIGHTEST),
                        (float) random.nextDouble(0, BRIGHTEST),
                        random.nextDouble(-HUE, HUE));
            }
            case GAUSSIAN_BLUR -> new Transformation.GaussianBlur(random.nextDouble(SIGMA[0], SIGMA[1]));
            case CROP -> new Transformation.ResizedCrop(crop(random, width, height));
        };
    }

    private static List<Adjustment> shuffled(final RandomGenerator random) {
        final List<Adjustment> left = new ArrayList<>(Arrays.asList(Adjustment.values()));
        final List<Adjustment> order = new ArrayList<>();
        while (!left.isEmpty()) {
            order.add(left.remove(random.nextInt(left.size())));
        }
        return order;
    }

    // Halves go to the even number, as Python's round has it.
    private static Box crop(final RandomGenerator random, final int width, final int height) {
        for (int i = 0; i < TRIES; i++) {
            final double area = (double) width * height * random.nextDouble(AREA[0], AREA[1]);
            final double ratio = Math.exp(random.nextDouble(Math.log(RATIO[0]), Math.log(RATIO[1])));
            final int w = (int) Math.rint(Math.sqrt(area * ratio));
            final int h = (int) Math.rint(Math.sqrt(area / ratio));
            if (0 < w && w <= width && 0 < h && h <= height) {
                final int top = random.nextInt(height - h + 1);
                final int left = random.nextInt(width - w + 1);
                return new Box(left, top, left + w, top + h);
            }
        }
        return middle(width, height);
    }

    /** As much as the ratio allows, from the middle. */
    static Box middle(final int width, final int height) {
        final double ratio = (double) width / height;
        int w = width;
        int h = height;
        if (ratio < RATIO[0]) {
            h = (int) Math.rint(w / RATIO[0]);
        } else if (ratio > RATIO[1]) {
            w = (int) Math.rint(h * RATIO[1]);
        }
        final int top = (height - h) / 2;
        final int left = (width - w) / 2;
        return new Box(left, top, left + w, top + h);
    }
}
