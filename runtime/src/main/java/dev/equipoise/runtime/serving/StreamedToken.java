package dev.equipoise.runtime.serving;

/**
 * One token of an answer.
 *
 * @param id its number in the vocabulary; {@link #REST} for text that became final when the answer ended
 * @param text text that became final with it; empty while a character or a possible stop text is incomplete. The texts
 *     of all tokens one after another are the answer's.
 */
public record StreamedToken(int id, String text) {
    /** No token: the rest of the text. */
    public static final int REST = -1;
}
