package dev.equipoise.runtime.intervention;

import java.util.Locale;

/** Which tokens of a branch lie within reach, by where they stand. Generated tokens always do. */
public enum Reach {
    /** All of them. */
    ALL,
    /** The last prompt token. */
    LAST,
    /** Prompt tokens behind the last picture or sound. */
    AFTER_MEDIA,
    /** What the chat template puts behind the user's last word, or the last prompt token if it puts nothing there. */
    AFTER_INSTRUCTION,
    /** The answer, as far as the prompt begins it. */
    ANSWER;

    /** The lower-case name used in strategy files. */
    public String label() {
        return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
}
