package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.util.List;

/**
 * When a generation ends besides the model's own end of turn.
 *
 * @param maxTokens at most this many generated tokens, at least 1
 * @param stop texts that end the answer and are not part of it; none empty
 */
public record Limits(int maxTokens, List<String> stop) {
    /** Tokens generated when nothing is said. */
    public static final int DEFAULT_MAX_TOKENS = 256;

    public Limits {
        stop = List.copyOf(stop);
        if (maxTokens < 1) {
            throw new BadInputException("no tokens to generate", "maxTokens " + maxTokens, "choose at least 1");
        }
        if (stop.stream().anyMatch(String::isEmpty)) {
            throw new BadInputException("empty stop text", "stop", "leave it out");
        }
    }

    /** {@value #DEFAULT_MAX_TOKENS} tokens, no stop texts. */
    public static Limits defaults() {
        return new Limits(DEFAULT_MAX_TOKENS, List.of());
    }
}
