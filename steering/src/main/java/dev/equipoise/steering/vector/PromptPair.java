package dev.equipoise.steering.vector;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Prompt;
import java.util.Objects;

/**
 * Two prompts that differ in what a steering vector is to carry, and best in nothing else.
 *
 * @param positive the side the vector points to
 * @param negative the side it points away from; not equal to {@code positive}
 */
public record PromptPair(Prompt positive, Prompt negative) {
    public PromptPair {
        Objects.requireNonNull(positive);
        Objects.requireNonNull(negative);
        if (positive.equals(negative)) {
            throw new BadInputException(
                    "a pair of equal prompts", "positive and negative", "let them differ in what is to be steered");
        }
    }
}
