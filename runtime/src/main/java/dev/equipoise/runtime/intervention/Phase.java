package dev.equipoise.runtime.intervention;

import java.util.Locale;

/** When a token enters the network. */
public enum Phase {
    /** With the prompt. */
    PROMPT,
    /** As a token that was generated. */
    GENERATED;

    /** The lower-case name used in strategy files. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
