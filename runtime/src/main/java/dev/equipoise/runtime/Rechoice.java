package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Intervention;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SortedSet;
import java.util.TreeSet;

/**
 * A choice of tokens that is made anew for every token that is drawn from combined rows. Each time the base branch
 * alone reads its column first. What its latest query attended to then says which tokens the other branches are to
 * miss, and those read the whole prompt and all tokens so far again, under that very choice: keys and values of all but
 * the first block depend on it. Tokens that a gate takes from the base row alone cost nothing of this.
 *
 * <p>Where a branch has a {@link Intervention.MuteAttended}, each beside the base is read in one micro-batch by itself,
 * its words as rows among those of its media: what earlier tokens attend to depends on the latest one.
 *
 * @param look which intervention of the base branch, a {@link Intervention.ReadAttention}, sees what is chosen by
 * @param chosen by branch, base first, which of its interventions gets the tokens: a {@link Intervention.Hide}, {@link
 *     Intervention.Mute} or {@link Intervention.MuteAttended} that names none, and whose span says which may be chosen;
 *     empty where nothing is chosen, as of the base
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
         * @return what is chosen by branch, base first. Of branches without a choice it is of no consequence.
         */
        List<Taken> choose(Seen seen);
    }

    /**
     * What is chosen for a branch.
     *
     * @param columns that its intervention acts on, generated ones counting on behind the prompt's; none: it does not
     *     act
     * @param above the threshold of an {@link Intervention.MuteAttended}; of no consequence to others
     */
    public record Taken(SortedSet<Integer> columns, double above) {
        public Taken {
            columns = Collections.unmodifiableSortedSet(new TreeSet<>(columns));
        }

        /** Columns without a threshold. */
        public static Taken of(final SortedSet<Integer> columns) {
            return new Taken(columns, 0);
        }
    }

    /**
     * What the base branch's latest query attended to.
     *
     * @param spans what the columns so far are, the prompt's and, as text, the generated tokens', all of which are read
     * @param heads for each layer of the look, ascending, {@code [heads][columns]}: the weight on each
     */
    public record Seen(List<Span> spans, List<float[][]> heads) {
        public Seen {
            spans = List.copyOf(spans);
            heads = List.copyOf(heads);
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

    /** Refuses mutes whose tokens nothing chooses. */
    static void requireChosen(final List<Branch> branches, final Optional<Rechoice> rechoice, final String where) {
        for (int b = 0; b < branches.size(); b++) {
            final List<Intervention> of = branches.get(b).interventions();
            final int chosen = b;
            final int by = rechoice.flatMap(it -> it.chosenOf(chosen)).orElse(-1);
            for (int k = 0; k < of.size(); k++) {
                if (of.get(k) instanceof Intervention.MuteAttended && k != by) {
                    throw new BadInputException(
                            "a mute of tokens that nothing chooses",
                            where + ", branch " + branches.get(b).name() + ", " + of.get(k).name(),
                            "let a choice for every token name them and the threshold");
                }
            }
        }
    }

    // What takes no choice counts as one that is made.
    private static Optional<SortedSet<Integer>> named(final Intervention intervention) {
        return switch (intervention) {
            case Intervention.Hide hide -> hide.tokens();
            case Intervention.Mute mute -> mute.tokens();
            case Intervention.MuteAttended mute -> mute.tokens();
            default -> Optional.of(Collections.emptySortedSet());
        };
    }

    /** Whether the other branches are each read in one micro-batch. */
    static boolean readsWhole(final List<Branch> branches) {
        return branches.stream()
                .flatMap(branch -> branch.interventions().stream())
                .anyMatch(Intervention.MuteAttended.class::isInstance);
    }

    /** An intervention that names no tokens, with what was chosen. */
    static Intervention with(final Intervention open, final Taken taken) {
        final Optional<SortedSet<Integer>> tokens = Optional.of(taken.columns());
        return switch (open) {
            case Intervention.Hide hide -> new Intervention.Hide(
                    hide.name(), hide.span(), tokens, hide.layers(), hide.scope());
            case Intervention.Mute mute ->
                new Intervention.Mute(mute.name(), mute.modalities(), tokens, mute.layers());
            case Intervention.MuteAttended mute -> new Intervention.MuteAttended(
                    mute.name(), mute.modalities(), tokens, taken.above(), mute.layers());
            default -> throw new IllegalArgumentException(open.name());
        };
    }
}
