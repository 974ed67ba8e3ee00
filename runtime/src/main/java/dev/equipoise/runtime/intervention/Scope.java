package dev.equipoise.runtime.intervention;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import java.util.EnumSet;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;

/**
 * Which tokens an intervention acts on: those that satisfy every part.
 *
 * @param phases prompt, generated, or both
 * @param modalities whose tokens; generated tokens are {@link Modality#TEXT}
 * @param medium number of a picture or sound in the order of the prompt, counted from 0; empty: not restricted
 * @param positions indices of tokens, the prompt's first being 0, generated ones counting on; empty: not restricted
 * @param reach by where they stand
 */
public record Scope(
        Set<Phase> phases,
        Set<Modality> modalities,
        OptionalInt medium,
        Optional<Positions> positions,
        Reach reach) {
    private static final Scope ALL = new Scope(
            EnumSet.allOf(Phase.class),
            EnumSet.allOf(Modality.class),
            OptionalInt.empty(),
            Optional.empty(),
            Reach.ALL);

    public Scope {
        phases = Set.copyOf(phases);
        modalities = Set.copyOf(modalities);
        if (phases.isEmpty() || modalities.isEmpty() || medium.isPresent() && medium.getAsInt() < 0) {
            throw new BadInputException(
                    "a scope that holds no token",
                    "phases " + phases + ", modalities " + modalities + ", medium " + medium,
                    "name at least one phase and one modality, and count media from 0");
        }
    }

    /** Every token. */
    public static Scope all() {
        return ALL;
    }

    /** This scope in other phases. */
    public Scope during(final Set<Phase> other) {
        return new Scope(other, modalities, medium, positions, reach);
    }

    /** This scope for tokens of other modalities. */
    public Scope of(final Set<Modality> other) {
        return new Scope(phases, other, medium, positions, reach);
    }

    /** This scope with another reach. */
    public Scope within(final Reach other) {
        return new Scope(phases, modalities, medium, positions, other);
    }

    /** This scope for one medium. */
    public Scope ofMedium(final int number) {
        return new Scope(phases, modalities, OptionalInt.of(number), positions, reach);
    }

    /** This scope for a run of tokens. */
    public Scope at(final Positions other) {
        return new Scope(phases, modalities, medium, Optional.of(other), reach);
    }

    /**
     * A run of tokens.
     *
     * @param first index of the first, at least 0
     * @param last index of the last, inclusive
     */
    public record Positions(int first, int last) {
        public Positions {
            if (first < 0 || last < first) {
                throw new BadInputException(
                        "positions out of order", first + "-" + last, "give \"first-last\", counted from 0");
            }
        }
    }
}
