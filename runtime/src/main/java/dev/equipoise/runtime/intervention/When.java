package dev.equipoise.runtime.intervention;

import dev.equipoise.kernels.error.BadInputException;
import java.util.List;
import java.util.Objects;
import java.util.function.Predicate;

/**
 * When an intervention acts, decided once for a request from the prompt of its first branch. What may act on the prompt
 * has it read once more before, to decide; what acts on generated tokens alone is decided on the way, from the first of
 * them on.
 *
 * @param rule how many of the conditions must hold
 * @param conditions at least one
 */
public record When(Rule rule, List<Condition> conditions) {
    /** How many conditions must hold. */
    public enum Rule {
        /** One of them. */
        ANY,
        /** All of them. */
        ALL
    }

    public When {
        Objects.requireNonNull(rule);
        conditions = List.copyOf(conditions);
        if (conditions.isEmpty()) {
            throw new BadInputException("no condition", "when", "give one, or leave it out");
        }
    }

    /** Whether it acts, given which conditions hold. */
    public boolean holds(final Predicate<Condition> met) {
        return switch (rule) {
            case ANY -> conditions.stream().anyMatch(met);
            case ALL -> conditions.stream().allMatch(met);
        };
    }
}
