package dev.equipoise.decoding;

import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Rechoice;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SortedSet;
import java.util.TreeSet;

/**
 * The choices of tokens that branches make for every token anew.
 *
 * @param choices by branch, base first
 * @param blocks those that the base looks at, ascending
 * @param depth number of blocks of the model
 */
record TokenRechoice(List<Optional<TokenChoice>> choices, List<Integer> blocks, int depth)
        implements Rechoice.Choice {
    TokenRechoice {
        choices = List.copyOf(choices);
        blocks = List.copyOf(blocks);
    }

    /** What the base branch looks with, at the blocks that any of the choices asks for. */
    static Intervention.ReadAttention look(final List<TokenChoice> choices, final int depth) {
        final SortedSet<Integer> blocks = new TreeSet<>();
        choices.forEach(choice -> blocks.addAll(choice.looksAt(depth)));
        return new Intervention.ReadAttention("tokens:look", blocks, Scope.all().within(Reach.LAST));
    }

    /**
     * The choices of some branches, the base first, whose last intervention is the one that looks; that of others with
     * a choice is the one that takes what was chosen.
     */
    static Rechoice of(final List<Branch> branches, final List<Optional<TokenChoice>> choices, final int depth) {
        final List<OptionalInt> chosen = new ArrayList<>();
        for (int b = 0; b < branches.size(); b++) {
            chosen.add(choices.get(b).isPresent() ? OptionalInt.of(last(branches.get(b))) : OptionalInt.empty());
        }
        final Branch base = branches.getFirst();
        return new Rechoice(
                last(base),
                chosen,
                new TokenRechoice(choices, List.copyOf(base.interventions().getLast().layers()), depth));
    }

    private static int last(final Branch branch) {
        return branch.interventions().size() - 1;
    }

    @Override
    public List<Rechoice.Taken> choose(final Rechoice.Seen seen) {
        return choices.stream()
                .map(choice -> choice.map(one -> taken(one, seen))
                        .orElse(Rechoice.Taken.of(Collections.emptySortedSet())))
                .toList();
    }

    private Rechoice.Taken taken(final TokenChoice choice, final Rechoice.Seen seen) {
        final PromptAttention attention = PromptAttention.ofHeads(
                seen.spans(),
                choice.looksAt(depth).stream()
                        .map(block -> seen.heads().get(blocks.indexOf(block)))
                        .toList());
        return new Rechoice.Taken(choice.taken(attention), choice.above(attention));
    }
}
