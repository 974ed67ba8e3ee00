package dev.equipoise.runtime;

import java.util.function.IntConsumer;

/**
 * Hears of a generation's tokens as they come, on the engine's thread. What it throws ends its request as cancelled and
 * is thrown by the step, when all other requests have advanced.
 */
@FunctionalInterface
public interface TokenListener {
    /** Hears nothing. */
    TokenListener NONE = ids(token -> { });

    /**
     * One token was drawn.
     *
     * @param token its id
     * @param text text that became final with it; empty while a character or a possible stop text is incomplete, and
     *     for a listener that hears no text
     */
    void onToken(int token, String text);

    /**
     * The answer has ended, and text that was held back became final with that.
     *
     * @param token the last one
     */
    default void onRest(final int token, final String text) {
        onToken(token, text);
    }

    /** Whether text is made for it, token by token; if not, a token costs no object. */
    default boolean hearsText() {
        return true;
    }

    /** Hears of ids alone. */
    static TokenListener ids(final IntConsumer consumer) {
        return new TokenListener() {
            @Override
            public void onToken(final int token, final String text) {
                consumer.accept(token);
            }

            @Override
            public boolean hearsText() {
                return false;
            }
        };
    }
}
