package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.search.BeamSearch;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * One generation: the branches, how their rows combine, how tokens are drawn and when to stop.
 *
 * @param branches base first, at least one
 * @param combination present exactly when the row that is sampled is not the base row as it stands; of merged branches
 *     the first stands for both, and the second has no coefficient
 * @param sampling the sampler chain
 * @param limits when to stop
 * @param logProbabilities how many top log-probabilities to report per token, 0 for none
 * @param strategy whose plan this is
 * @param merge how the first two branches become one inside the network, if they do: the base
 * @param gate when the branches behind the base are needed; always, if there is none
 * @param rechoice what chooses for each token anew which tokens branches miss, if they do not miss the same ones always
 * @param search how an answer is searched for instead of drawn token by token, if it is; its tokens come at its end
 */
public record Request(
        List<Branch> branches,
        Optional<Combination> combination,
        Sampling sampling,
        Limits limits,
        int logProbabilities,
        StrategyLabel strategy,
        Optional<Merge> merge,
        Optional<Gate> gate,
        Optional<Rechoice> rechoice,
        Optional<BeamSearch> search) {
    /** Most log-probabilities a token can report. */
    public static final int MAX_LOG_PROBABILITIES = 100;

    public Request {
        branches = List.copyOf(branches);
        Objects.requireNonNull(sampling);
        Objects.requireNonNull(limits);
        Objects.requireNonNull(strategy);
        if (branches.isEmpty()) {
            throw new BadInputException("no branch", "request", "give at least the base branch");
        }
        Objects.requireNonNull(merge);
        final int base = merge.isPresent() ? 2 : 1;
        if (branches.size() < base) {
            throw new BadInputException("a merge of one branch", "request " + strategy.name(), "give it two");
        }
        if (branches.size() > base && combination.isEmpty()) {
            throw new BadInputException(
                    "branches without a combination", "request " + strategy.name(), "say how their rows combine");
        }
        Objects.requireNonNull(gate);
        if (gate.isPresent() && branches.size() == base) {
            throw new BadInputException(
                    "a gate without a branch behind it",
                    "request " + strategy.name(),
                    "leave it out: there is nothing that it could save");
        }
        Objects.requireNonNull(rechoice);
        if (rechoice.isPresent() && merge.isPresent()) {
            throw new BadInputException(
                    "a choice of tokens for each token anew, by the attention of branches that are merged",
                    "request " + strategy.name(),
                    "let the choice stay, or leave the merge out");
        }
        if (rechoice.isPresent()) {
            rechoice.get().require(branches, "request " + strategy.name());
        }
        Rechoice.requireChosen(branches, rechoice, "request " + strategy.name());
        requireSearchable(search, branches, combination, sampling, strategy.name());
        if (logProbabilities < 0 || logProbabilities > MAX_LOG_PROBABILITIES) {
            throw new BadInputException(
                    "log-probabilities out of range",
                    String.valueOf(logProbabilities),
                    "choose 0.." + MAX_LOG_PROBABILITIES);
        }
    }

    private static void requireSearchable(
            final Optional<BeamSearch> search,
            final List<Branch> branches,
            final Optional<Combination> combination,
            final Sampling sampling,
            final String name) {
        if (search.isEmpty()) {
            return;
        }
        if (branches.size() > 1 || combination.isPresent()) {
            throw new BadInputException(
                    "a search over rows that combine", "request " + name, "search on one branch, and cut nothing off");
        }
        if (!sampling.isArgmax()) {
            throw new BadInputException(
                    "a search with temperature, penalties, a grammar or shifts of logits",
                    "request " + name,
                    "leave them out: a search ranks whole answers by the model's own rows");
        }
    }

    /** A request that draws its tokens. */
    public Request(
            final List<Branch> branches,
            final Optional<Combination> combination,
            final Sampling sampling,
            final Limits limits,
            final int logProbabilities,
            final StrategyLabel strategy,
            final Optional<Merge> merge,
            final Optional<Gate> gate,
            final Optional<Rechoice> rechoice) {
        this(
                branches,
                combination,
                sampling,
                limits,
                logProbabilities,
                strategy,
                merge,
                gate,
                rechoice,
                Optional.empty());
    }

    /** A request whose branches stay apart inside the network. */
    public Request(
            final List<Branch> branches,
            final Optional<Combination> combination,
            final Sampling sampling,
            final Limits limits,
            final int logProbabilities,
            final StrategyLabel strategy) {
        this(branches, combination, sampling, limits, logProbabilities, strategy, Optional.empty());
    }

    /** A request all of whose branches are always needed. */
    public Request(
            final List<Branch> branches,
            final Optional<Combination> combination,
            final Sampling sampling,
            final Limits limits,
            final int logProbabilities,
            final StrategyLabel strategy,
            final Optional<Merge> merge) {
        this(branches, combination, sampling, limits, logProbabilities, strategy, merge, Optional.empty());
    }

    /** A request whose branches miss the same tokens always. */
    public Request(
            final List<Branch> branches,
            final Optional<Combination> combination,
            final Sampling sampling,
            final Limits limits,
            final int logProbabilities,
            final StrategyLabel strategy,
            final Optional<Merge> merge,
            final Optional<Gate> gate) {
        this(branches, combination, sampling, limits, logProbabilities, strategy, merge, gate, Optional.empty());
    }

    /** How many branches make the base row: two, where they are merged. */
    int baseBranches() {
        return merge.isPresent() ? 2 : 1;
    }

    /** This request with a gate. */
    public Request withGate(final Gate other) {
        return new Request(
                branches,
                combination,
                sampling,
                limits,
                logProbabilities,
                strategy,
                merge,
                Optional.of(other),
                rechoice,
                search);
    }

    /** Plain greedy decoding of a prompt. */
    public static Request plain(final Prompt prompt) {
        return plain(new Branch("base", prompt));
    }

    /** Readings of which each is wanted for itself ({@link Engine#rows}): a token would be drawn from the first. */
    public static Request apart(final List<Branch> branches) {
        final float[] first = new float[branches.size()];
        if (first.length > 0) {
            first[0] = 1;
        }
        return new Request(
                branches,
                Optional.of(new Combination(CoefficientSchedule.fixed(first), false, 0)),
                Sampling.greedy(),
                new Limits(1, List.of()),
                0,
                StrategyLabel.PLAIN);
    }

    /** Greedy decoding of a branch alone. */
    static Request plain(final Branch branch) {
        return new Request(
                List.of(branch),
                Optional.empty(),
                Sampling.greedy(),
                Limits.defaults(),
                0,
                StrategyLabel.PLAIN);
    }
}
