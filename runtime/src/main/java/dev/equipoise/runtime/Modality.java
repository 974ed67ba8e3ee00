package dev.equipoise.runtime;

import java.util.Locale;

/** What a part of a prompt is to the model: the vocabulary of spans, scopes and branches. */
public enum Modality {
    /** The system instruction. */
    SYSTEM,
    /** The user's words, template text around them, and every generated token. */
    TEXT,
    /** Picture tokens. */
    IMAGE,
    /** Sound tokens. */
    AUDIO,
    /** A note handed over as evidence, apart from the question. */
    CONTEXT;

    /** The lower-case name used in strategy files and JSON documents. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
