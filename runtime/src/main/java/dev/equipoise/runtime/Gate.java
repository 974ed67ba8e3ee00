package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Locale;

/**
 * Decides token by token whether a request's extra branches are needed. Shut: the token is drawn from the base row as
 * it stands, without combination and cut-off. Open: the rows combine as without a gate, within the rounding of a
 * batch of another shape. Branches come along as columns of every decode while the gate has been open within an
 * engine's {@link EngineOptions#gatePatience}; else they are left behind until it opens, and then catch up with every
 * token that they missed, in one batch. A gate reads the base row before penalties, temperature and grammar. The
 * prompts of the other branches are prefilled when it first opens, as any prompt is: at most a micro-batch of it
 * between two tokens of other requests. Their cells are taken from the start.
 */
public sealed interface Gate {
    /** What strategy files and traces call it. */
    default String kind() {
        return getClass().getSimpleName().toLowerCase(Locale.ROOT);
    }

    /** Whether it is sure to be open at the first token, whatever the base row says. */
    default boolean startsOpen() {
        return switch (this) {
            case Entropy entropy -> entropy.above() < 0;
            case Confidence confidence -> confidence.below() > 1;
            case Disagreement looking -> true;
        };
    }

    /**
     * Open while the base row is undecided.
     *
     * @param above entropy of its softmax in nats, 0 to ln of the vocabulary; the gate is open beyond. Below 0 it never
     *     shuts.
     */
    record Entropy(double above) implements Gate {
        public Entropy {
            requireFinite("above", above);
        }
    }

    /**
     * Open while the base row's best token is unlikely.
     *
     * @param below probability, 0..1; the gate is open when the largest is less. 0 never opens it, more than 1 never
     *     shuts it.
     */
    record Confidence(double below) implements Gate {
        public Confidence {
            requireFinite("below", below);
        }
    }

    /**
     * Open at every n-th token from the first on, and after that for as long as the combined row's best token was
     * another than the base row's when it was open last.
     *
     * @param every n, at least 1; 1 never shuts it
     */
    record Disagreement(int every) implements Gate {
        public Disagreement {
            if (every < 1) {
                throw new BadInputException("gate out of range", "every " + every, "choose at least 1");
            }
        }
    }

    private static void requireFinite(final String name, final double value) {
        if (!Double.isFinite(value)) {
            throw new BadInputException("gate out of range", name + " " + value, "choose a finite number");
        }
    }
}
