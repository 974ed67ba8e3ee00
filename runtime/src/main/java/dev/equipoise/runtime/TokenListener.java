package dev.equipoise.runtime;

/** Hears of a generation's tokens as they come, on the engine's thread. */
@FunctionalInterface
public interface TokenListener {
    /** Hears nothing. */
    TokenListener NONE = (token, text) -> {};

    /**
     * One token was drawn.
     *
     * @param token its id
     * @param text text that became final with it; empty while a character or a possible stop text is incomplete
     */
    void onToken(int token, String text);
}
