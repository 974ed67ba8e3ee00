package dev.equipoise.steering.edit;

import dev.equipoise.runtime.intervention.When;
import java.util.List;
import java.util.Objects;

/**
 * Conditions as a strategy writes them.
 *
 * @param when the conditions
 * @param files that their directions were read from, in their order; of no consequence
 */
public record Conditional(When when, List<String> files) {
    public Conditional {
        Objects.requireNonNull(when);
        files = List.copyOf(files);
    }
}
