package dev.equipoise.runtime.search;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Objects;
import java.util.Optional;

/**
 * An answer found by beam search, as transformers 4.29 has it: of all ways to go on by one token the best few are kept,
 * those that end are set aside, and the best of them by log-probability per token is the answer. It is over when none
 * that is kept could still become better than those set aside, by their present length. Tokens are known when it is.
 *
 * <p>With one beam it is greedy decoding, which ends where the best token does.
 *
 * @param beams how many are kept, 1..{@value #MAX_BEAMS}
 * @param lengthPenalty exponent of the length by which a sum of log-probabilities is divided; above 0 favours length
 * @param countsPrompt whether the prompt is part of that length: its text tokens, and one for each medium
 * @param overTrust what keeps candidates from building on few tokens, if something does
 */
public record BeamSearch(int beams, double lengthPenalty, boolean countsPrompt, Optional<OverTrust> overTrust) {
    /** Most beams. */
    public static final int MAX_BEAMS = 16;

    public BeamSearch {
        Objects.requireNonNull(overTrust);
        if (beams < 1 || beams > MAX_BEAMS) {
            throw new BadInputException("beams out of range", "search, beams " + beams, "choose 1.." + MAX_BEAMS);
        }
        if (!Double.isFinite(lengthPenalty)) {
            throw new BadInputException(
                    "length penalty out of range", "search, lengthPenalty " + lengthPenalty, "choose a finite number");
        }
    }

    /** Sequences that it reads at once. */
    public int sequences() {
        return beams * overTrust.map(OverTrust::candidates).orElse(1);
    }

    /** Whether it gives the tokens that greedy decoding does. */
    public boolean isGreedy() {
        return beams == 1 && overTrust.map(OverTrust::isIdle).orElse(true);
    }

    /**
     * KV cells that it may need behind a prompt.
     *
     * @param tokens of the longest answer; the last one is never read but as a candidate
     */
    public long cells(final int tokens) {
        return (tokens - 1L) * beams + (overTrust.isPresent() ? sequences() : 0);
    }
}
