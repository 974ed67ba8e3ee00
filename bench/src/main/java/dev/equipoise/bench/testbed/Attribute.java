package dev.equipoise.bench.testbed;

import java.util.List;

/** What can be asked about a {@link Scene}: two things a picture shows and one that a sound tells. */
public enum Attribute {
    /** The colour of the figure in the picture. */
    COLOUR(Source.PICTURE, List.of("red", "green", "blue", "yellow", "orange", "purple", "black", "white")),
    /** The shape of the figure in the picture. */
    SHAPE(Source.PICTURE, List.of("circle", "square", "triangle", "cross", "ring")),
    /** The kind of sound that plays. */
    SOUND(Source.SOUND, List.of("beep", "siren", "hiss", "knock", "bell", "buzz"));

    private final Source medium;
    private final List<String> values;

    Attribute(final Source medium, final List<String> values) {
        this.medium = medium;
        this.values = values;
    }

    /** The medium that shows this attribute, besides the note; never {@link Source#NOTE}. */
    public Source medium() {
        return medium;
    }

    /** The answer words, in a fixed order; a value's index in this list is its number everywhere. */
    public List<String> words() {
        return values;
    }
}
