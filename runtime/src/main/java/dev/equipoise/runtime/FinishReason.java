package dev.equipoise.runtime;

import java.util.Locale;

/** Why a generation ended. */
public enum FinishReason {
    /** The model ended its turn, or a stop text appeared. */
    STOP,
    /** The token limit or the end of the context was reached. */
    LENGTH,
    /** {@code Generation.cancel()} was called. */
    CANCELLED,
    /** Its reader took no token for longer than the service waits ({@code ServiceOptions.patience}). */
    ABANDONED;

    /** The lower-case name used in JSON documents. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
