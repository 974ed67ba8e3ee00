package dev.equipoise.runtime;

import java.util.List;

/**
 * What a generated token competed with, on the row that was sampled (after contrast and cut-off, before the chain).
 *
 * @param token the token drawn
 * @param logProbability its natural log-probability
 * @param top the best tokens, best first
 */
public record TokenLogProbabilities(int token, double logProbability, List<Candidate> top) {
    public TokenLogProbabilities {
        top = List.copyOf(top);
    }

    /**
     * One competitor.
     *
     * @param token its id
     * @param logProbability its natural log-probability
     */
    public record Candidate(int token, double logProbability) {}
}
