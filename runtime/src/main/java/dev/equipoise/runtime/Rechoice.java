package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Intervention;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SortedSet;

/**
 * A choice of tokens that is made anew for every token that is drawn from combined rows. Each time the base branch
 * alone reads its column first. What its latest query attended to then says which tokens the other branches are to
 * miss, and those read the whole prompt and all tokens so far again, under that very choice: keys and values of all but
 * the first block depend on it. Tokens that a gate takes from the base row alone cost nothing of this.
 *
 * @param look which intervention of the base branch, a {@link Intervention.ReadAttention}, sees what is chosen by
 * @param chosen by branch, base first, which of its interventions gets the tokens: a {@link Intervention.Hide} or
 *     {@link Intervention.Mute} that names none, and whose span says which may be chosen; empty where nothing is
 *     chosen, as of the base
 * @param choice what chooses
 */
public record Rechoice(int look, List<OptionalInt> chosen, Choice choice) {
    public Rechoice {
        chosen = List.copyOf(chosen);
        Objects.requireNonNull(choice);
    }

    /** Makes the choice. */
    @FunctionalInterface
    public interface Choice {
        /**
         * Called by the thread that owns the engine, between two decodes; what it throws ends its request.
         *
         * @return by branch, base first, the columns that it misses, generated ones counting on behind the prompt's;
         *     none: its intervention does not act. Of branches without a choice they are of no consequence.
         */
        List<SortedSet<Integer>> choose(Seen seen);
    }

    /**
     * What the base branch's latest query attended to.
     *
     * @param spans what the columns so far are, the prompt's and, as text, the generated tokens', all of which are read
     * @param rows for each layer of the look, ascending, {@code [columns]}: the weight on each, the mean of the heads
     */
    public record Seen(List<Span> spans, List<float[]> rows) {
        public Seen {
            spans = List.copyOf(spans);
            rows = List.copyOf(rows);
        }
    }

    /** What it looks with, in a request of these branches. */
    Intervention.ReadAttention look(final List<Branch> branches) {
        return (Intervention.ReadAttention) branches.getFirst().interventions().get(look);
    }

    /** Which intervention of a branch gets the tokens, if one does. */
    Optional<Integer> chosenOf(final int branch) {
        return chosen.get(branch).stream().boxed().findFirst();
    }

    /** Refuses branches that it does not fit. */
    void require(final List<Branch> branches, final String where) {
        final List<Intervention> base = branches.getFirst().interventions();
        if (look < 0 || look >= base.size() || !(base.get(look) instanceof Intervention.ReadAttention)) {
            throw new BadInputException(
                    "a choice of tokens that looks at nothing",
                    where + ", intervention " + look + " of the base",
                    "let it be one that reads attention");
        }
        final boolean some = chosen.stream().anyMatch(OptionalInt::isPresent);
        if (!some || chosen.size() != branches.size() || chosen.getFirst().isPresent()) {
            throw new BadInputException(
                    "a choice of tokens that is not about the other branches",
                    where + ", " + chosen.size() + " entries for " + branches.size() + " branches",
                    "give one for each branch, none for the base, and a number for one of them");
        }
        for (int b = 0; b < chosen.size(); b++) {
            final List<Intervention> of = branches.get(b).interventions();
            final int k = chosen.get(b).orElse(-1);
            if (chosen.get(b).isPresent() && (k < 0 || k >= of.size() || named(of.get(k)).isPresent())) {
                throw new BadInputException(
                        "nothing that takes the tokens that are chosen",
                        where + ", branch " + branches.get(b).name() + ", intervention " + k,
                        "let it hide or mute a span and name no tokens");
            }
        }
    }

    // What takes no choice counts as one that is made.
    private static Optional<SortedSet<Integer>> named(final Intervention intervention) {
        return switch (intervention) {
            case Intervention.Hide hide -> hide.tokens();
            case Intervention.Mute mute -> mute.tokens();
            default -> Optional.of(Collections.emptySortedSet());
        };
    }

    /** An intervention that names no tokens, with the tokens that were chosen. */
    static Intervention with(final Intervention open, final SortedSet<Integer> tokens) {
        return switch (open) {
            case Intervention.Hide hide -> new Intervention.Hide(
                    hide.name(), hide.span(), Optional.of(tokens), hide.layers(), hide.scope());
            case Intervention.Mute mute ->
                new Intervention.Mute(mute.name(), mute.modalities(), Optional.of(tokens), mute.layers());
            default -> throw new IllegalArgumentException(open.name());
        };
    }
}
