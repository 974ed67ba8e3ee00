package dev.equipoise.bench.testbed;

import java.util.random.RandomGenerator;

/**
 * One value for every attribute, as indices into {@link Attribute#words()}: the truth of a world, or what a note
 * claims.
 *
 * @param colour index of the colour
 * @param shape index of the shape
 * @param sound index of the sound
 */
public record Scene(int colour, int shape, int sound) {
    /** A scene drawn uniformly. */
    public static Scene draw(final RandomGenerator random) {
        return new Scene(
                random.nextInt(Attribute.COLOUR.words().size()),
                random.nextInt(Attribute.SHAPE.words().size()),
                random.nextInt(Attribute.SOUND.words().size()));
    }

    /** The index of this scene's value of {@code attribute}. */
    public int index(final Attribute attribute) {
        return switch (attribute) {
            case COLOUR -> colour;
            case SHAPE -> shape;
            case SOUND -> sound;
        };
    }

    /** The word for this scene's value of {@code attribute}. */
    public String word(final Attribute attribute) {
        return attribute.words().get(index(attribute));
    }

    /** This scene with another value of {@code attribute}, drawn uniformly from those that differ. */
    public Scene withOther(final Attribute attribute, final RandomGenerator random) {
        final int size = attribute.words().size();
        final int other = (index(attribute) + 1 + random.nextInt(size - 1)) % size;
        return switch (attribute) {
            case COLOUR -> new Scene(other, shape, sound);
            case SHAPE -> new Scene(colour, other, sound);
            case SOUND -> new Scene(colour, shape, other);
        };
    }
}
