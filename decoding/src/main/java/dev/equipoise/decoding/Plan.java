package dev.equipoise.decoding;

import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Rechoice;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.search.BeamSearch;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * A strategy applied to a prompt.
 *
 * @param strategy the strategy as it was given
 * @param branches base first
 * @param combination how their rows become one, empty when the base row is sampled as it is
 * @param merge how they become one inside the network, if they do
 * @param gate when those behind the base are needed, if not for every token
 * @param rechoice what chooses for each token anew which tokens branches miss, if something does
 * @param search how the answer is searched for, if it is
 * @param label the strategy's name and its fingerprint for the model
 */
public record Plan(
        Strategy strategy,
        List<Branch> branches,
        Optional<Combination> combination,
        Optional<Merge> merge,
        Optional<Gate> gate,
        Optional<Rechoice> rechoice,
        Optional<BeamSearch> search,
        StrategyLabel label) {
    public Plan {
        Objects.requireNonNull(merge);
        Objects.requireNonNull(strategy);
        branches = List.copyOf(branches);
        Objects.requireNonNull(combination);
        Objects.requireNonNull(gate);
        Objects.requireNonNull(rechoice);
        Objects.requireNonNull(search);
        Objects.requireNonNull(label);
    }

    /** Sequences that it takes of an engine: its branches, and a search's beams with their candidates. */
    public int sequences() {
        return branches.size() + search.map(BeamSearch::sequences).orElse(0);
    }

    /** How many of them may become as long as an answer. */
    public int answers() {
        return search.map(BeamSearch::beams).orElse(branches.size());
    }

    /** This plan with something that only looks, behind all that acts on the first branch. */
    public Plan reading(final Intervention.ReadAttention look) {
        final Branch first = branches.getFirst();
        final List<Intervention> interventions = new ArrayList<>(first.interventions());
        interventions.add(look);
        final List<Branch> others = new ArrayList<>(branches);
        others.set(0, new Branch(first.name(), first.prompt(), interventions));
        return new Plan(strategy, others, combination, merge, gate, rechoice, search, label);
    }

    /**
     * The request that carries the plan out, with the strategy's sampling and label.
     *
     * @param logProbabilities how many top log-probabilities to report per token, 0 for none
     */
    public Request request(final Limits limits, final int logProbabilities) {
        return new Request(
                branches,
                combination,
                strategy.sampling(),
                limits,
                logProbabilities,
                label,
                merge,
                gate,
                rechoice,
                search);
    }
}
