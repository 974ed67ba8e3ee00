package dev.equipoise.runtime.search;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import java.util.Objects;
import java.util.OptionalInt;

/**
 * The over-trust penalty and retrospection of OPERA (arXiv 2311.17911), as its official code has them. The best tokens
 * of each beam are read as candidates. In the attention of the last block, heads joined by their largest weight and
 * rows made to sum to 1 again, each answer token gets the product of the scaled weights that it and all after it lay on
 * it. The largest product, times a factor, is taken from the candidate's logit; within the opening of an answer its
 * weight on the prompt's pictures is added instead. When the place of the largest product has been the same one for
 * more than a threshold of steps on all beams, the search goes back behind that place and takes other tokens there.
 *
 * @param candidates read of each beam, 1..{@value #MAX_CANDIDATES}
 * @param scale of the attention weights, above 0
 * @param factor of the products, which are then rounded to half precision, at least 0
 * @param weight of the penalty, and of the weight on the span; 0: no logit changes
 * @param opening tokens, the candidate among them, for which weight on the span is rewarded; the search never goes back
 *     behind a place before that number either, counted from 0
 * @param span whose tokens of the prompt are meant
 * @param threshold steps, at least 2, beyond which the search goes back; empty: it never does
 */
public record OverTrust(
        int candidates, double scale, double factor, double weight, int opening, Modality span, OptionalInt threshold) {
    /** Most candidates of a beam. */
    public static final int MAX_CANDIDATES = 15;

    /** Fewest steps beyond which a search may go back. */
    public static final int LEAST_THRESHOLD = 2;

    public OverTrust {
        Objects.requireNonNull(span);
        Objects.requireNonNull(threshold);
        require(candidates >= 1 && candidates <= MAX_CANDIDATES, "candidates", candidates, "1.." + MAX_CANDIDATES);
        require(Double.isFinite(scale) && scale > 0, "scale", scale, "a number above 0");
        require(Double.isFinite(factor) && factor >= 0, "factor", factor, "a number from 0 on");
        require(Double.isFinite(weight), "weight", weight, "a finite number");
        require(opening >= 0, "opening", opening, "a number from 0 on");
        // A place comes up once a step, so that less would go back behind what is being written.
        require(
                threshold.orElse(LEAST_THRESHOLD) >= LEAST_THRESHOLD,
                "threshold",
                threshold.orElse(0),
                "a number from " + LEAST_THRESHOLD + " on");
    }

    private static void require(final boolean ok, final String name, final Number value, final String range) {
        if (!ok) {
            throw new BadInputException(
                    "over-trust value out of range", "search.overTrust, " + name + " " + value, "choose " + range);
        }
    }

    /** Whether weight on the span changes a logit. */
    public boolean rewardsSpan() {
        return weight != 0 && opening > 0;
    }

    /** Whether the candidates are those of plain beam search, each with its own logit. */
    public boolean isIdle() {
        return weight == 0 && threshold.isEmpty();
    }
}
