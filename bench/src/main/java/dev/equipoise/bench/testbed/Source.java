package dev.equipoise.bench.testbed;

/** Who says something about the world: the picture, the sound or the written note. */
public enum Source {
    /** The image. */
    PICTURE,
    /** The audio clip. */
    SOUND,
    /** The text handed over as context. */
    NOTE
}
