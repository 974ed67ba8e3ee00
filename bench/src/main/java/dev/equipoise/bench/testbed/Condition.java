package dev.equipoise.bench.testbed;

import java.util.Locale;
import java.util.Optional;

/** How the sources of an item relate to each other; the name in data files is lower case with hyphens. */
public enum Condition {
    /** Picture, sound and note are there and agree. */
    CONSISTENT,
    /** The note says something else than the picture or the sound about what is asked. */
    CONFLICT,
    /** Only a picture. */
    IMAGE_ONLY,
    /** Only a sound. */
    AUDIO_ONLY,
    /** Only a note. */
    TEXT_ONLY,
    /** The question asks for the presence of something that picture and sound do not hold. */
    ABSENT;

    /** The name in data files, for example {@code image-only}. */
    public String label() {
        return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /** The condition of that name, or empty. */
    public static Optional<Condition> of(final String label) {
        for (final Condition condition : values()) {
            if (condition.label().equals(label)) {
                return Optional.of(condition);
            }
        }
        return Optional.empty();
    }
}
