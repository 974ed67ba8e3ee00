package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Intervention;
import java.util.List;
import java.util.Objects;

/**
 * One way of asking: a prompt that is prefilled into its own sequence and fed the same generated tokens as its
 * siblings.
 *
 * @param name how traces and explanations call it; the first branch of a request is its base
 * @param prompt what this branch reads
 * @param interventions what acts inside the network while it is decoded, in this order; at most {@link #MOST}
 */
public record Branch(String name, Prompt prompt, List<Intervention> interventions) {
    /** Interventions that a branch can have. */
    public static final int MOST = 64;

    public Branch {
        Objects.requireNonNull(name);
        Objects.requireNonNull(prompt);
        interventions = List.copyOf(interventions);
        if (interventions.size() > MOST) {
            throw new BadInputException(
                    "too many interventions", "branch " + name + ": " + interventions.size(), "at most " + MOST);
        }
    }

    /** A branch that nothing acts on. */
    public Branch(final String name, final Prompt prompt) {
        this(name, prompt, List.of());
    }
}
