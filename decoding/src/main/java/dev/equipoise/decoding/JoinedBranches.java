package dev.equipoise.decoding;

import dev.equipoise.decoding.expression.Expression;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Scope;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedSet;

/**
 * Branches that do the same, each of them decoded once: their rows are one, and it has the sum of their weights. Equal
 * ones of a strategy are joined when it is resolved; these turn out to be equal on a request, by what their choices of
 * tokens take away.
 *
 * @param branches those that are left, in order, the first as it was; others have the names of all that they are
 * @param members for each the indices of the branches that it stands for, ascending
 */
record JoinedBranches(List<Branch> branches, List<List<Integer>> members) {
    JoinedBranches {
        branches = List.copyOf(branches);
        members = members.stream().map(List::copyOf).toList();
    }

    // What a branch reads and what acts on it, without names.
    private record Doing(Prompt prompt, List<Object> acts) {
        static Doing of(final Branch branch) {
            return new Doing(
                    branch.prompt(), branch.interventions().stream().map(Doing::act).toList());
        }

        // Of tokens that are named, whose they are and who chose them is of no consequence. What exits cut off is for
        // the first row to say, whichever branch it is of.
        private static Object act(final Intervention intervention) {
            return switch (intervention) {
                case Intervention.Hide hide when hide.tokens().isPresent() ->
                    new Taken(false, hide.tokens().get(), hide.layers(), hide.scope());
                case Intervention.Silence silence when silence.tokens().isPresent() ->
                    new Taken(true, silence.tokens().get(), silence.layers(), silence.scope());
                case Intervention.ContrastExits exits -> exits.whole();
                default -> intervention;
            };
        }
    }

    private record Taken(boolean silent, SortedSet<Integer> tokens, SortedSet<Integer> layers, Scope scope) {}

    /** All as they are. */
    static JoinedBranches none(final List<Branch> branches) {
        final List<List<Integer>> members = new ArrayList<>();
        for (int b = 0; b < branches.size(); b++) {
            members.add(List.of(b));
        }
        return new JoinedBranches(branches, members);
    }

    /** Those that do the same joined. */
    static JoinedBranches of(final List<Branch> branches) {
        final List<Doing> kept = new ArrayList<>();
        final List<List<Integer>> members = new ArrayList<>();
        for (int b = 0; b < branches.size(); b++) {
            final Doing doing = Doing.of(branches.get(b));
            int at = kept.indexOf(doing);
            if (at < 0) {
                at = kept.size();
                kept.add(doing);
                members.add(new ArrayList<>());
            }
            members.get(at).add(b);
        }
        final List<Branch> left = new ArrayList<>();
        for (int k = 0; k < members.size(); k++) {
            final Branch first = branches.get(members.get(k).getFirst());
            final String name = k == 0
                    ? first.name()
                    : String.join("+", members.get(k).stream().map(b -> branches.get(b).name()).toList());
            left.add(new Branch(name, first.prompt(), first.interventions()));
        }
        return new JoinedBranches(left, members);
    }

    /**
     * What the branches that are left weigh.
     *
     * @param weights of all branches, before they were joined
     */
    List<Expression> weights(final List<Expression> weights) {
        return members.stream()
                .map(each -> each.stream().map(weights::get).reduce(Expression::sum).orElseThrow())
                .toList();
    }
}
