package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Objects;

/**
 * How the branches' next-token rows become one: {@code sum_b c_b z_b}, then the adaptive plausibility cut-off on the
 * base row (tokens with {@code z_0 < max z_0 + ln(plausibility)} become -infinity), before any sampler.
 *
 * @param coefficients weights of the branches
 * @param logProbabilities combine log-softmax rows instead of raw logits
 * @param plausibility beta in 0..1; 0 switches the cut-off off, 1 leaves only the base row's best token
 */
public record Combination(CoefficientSchedule coefficients, boolean logProbabilities, double plausibility) {
    public Combination {
        Objects.requireNonNull(coefficients);
        if (!(plausibility >= 0 && plausibility <= 1)) {
            throw new BadInputException("plausibility out of range", "beta " + plausibility, "choose 0..1");
        }
    }
}
