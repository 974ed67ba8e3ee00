package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Objects;
import java.util.OptionalDouble;

/**
 * How the branches' next-token rows become one: {@code sum_b c_b z_b}, then the adaptive plausibility cut-off on the
 * base row (tokens with {@code z_0 < max z_0 + ln(plausibility)} become -infinity, or a value), before any sampler.
 *
 * @param coefficients weights of the branches
 * @param logProbabilities combine log-softmax rows instead of raw logits
 * @param plausibility beta in 0..1; 0 switches the cut-off off, 1 leaves only the base row's best token
 * @param cutOffValue what tokens become that are cut off, not 0; empty: -infinity
 */
public record Combination(
        CoefficientSchedule coefficients, boolean logProbabilities, double plausibility, OptionalDouble cutOffValue) {
    public Combination {
        Objects.requireNonNull(coefficients);
        cutOffValue.ifPresent(value -> {
            if (!Float.isFinite((float) value) || (float) value == 0) {
                throw new BadInputException("cut-off value " + value, "cutOffValue", "choose a finite number, not 0");
            }
        });
        if (!(plausibility >= 0 && plausibility <= 1)) {
            throw new BadInputException("plausibility out of range", "beta " + plausibility, "choose 0..1");
        }
    }

    /** The same with a cut-off that leaves nothing of what it takes. */
    public Combination(
            final CoefficientSchedule coefficients, final boolean logProbabilities, final double plausibility) {
        this(coefficients, logProbabilities, plausibility, OptionalDouble.empty());
    }
}
