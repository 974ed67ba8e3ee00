package dev.equipoise.decoding;

import dev.equipoise.decoding.expression.Expression;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Observation;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.runtime.search.OverTrust;
import dev.equipoise.steering.edit.Edit;
import dev.equipoise.steering.edit.PromptSteeringEdit;
import dev.equipoise.steering.edit.VisionEdit;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.IntStream;

/** Turns a strategy and a prompt into branches and the way in which their rows combine. */
public final class Lowering {
    private static final String BASE = LinearContrast.BASE;

    private Lowering() {}

    /** A branch before a model is known. */
    private record Outline(String name, Prompt prompt, Variation variation) {}

    /**
     * The plan of a strategy for a prompt. What has no effect ({@link Strategy#resolved}) costs nothing: it makes no
     * branch, no intervention and no combination.
     *
     * @param requestSeed seed of noise and draws that the strategy gives no seed of their own
     * @param depth number of blocks of the model that will carry it out
     * @throws BadInputException when another branch would be the first again, or would have nothing to read, or the
     *     model lacks a layer, or two edits conflict, or the strategy has passes, whose findings {@link
     *     dev.equipoise.decoding.procedure.Decoding} provides
     */
    public static Plan lower(
            final Strategy strategy, final Prompt prompt, final long requestSeed, final int depth) {
        return lower(strategy, prompt, requestSeed, depth, Preparation.NONE);
    }

    /** As {@link #lower(Strategy, Prompt, long, int)}, with what the strategy's passes found. */
    public static Plan lower(
            final Strategy strategy,
            final Prompt request,
            final long requestSeed,
            final int depth,
            final Preparation found) {
        requireFound(strategy, found);
        final Strategy resolved = strategy.prepared(found).resolved();
        final Prompt prompt = worded(strategy, request, found);
        requireObservable(resolved, prompt);
        requireRewardable(resolved, prompt);
        requireForkable(resolved, prompt);
        requireChoosable(resolved, prompt);
        final Optional<ForkMerge> fork = resolved.forkMerge();
        final List<Intervention> shared = resolve(resolved.edits(), prompt, depth, found);
        Conflicts.require(shared, "strategy " + resolved.name());
        final List<Branch> branches = new ArrayList<>();
        final List<Optional<TokenChoice>> rechoices = new ArrayList<>();
        for (final Outline outline : outlines(resolved, prompt, requestSeed, found)) {
            final boolean base = outline.variation().equals(Variation.NONE);
            final boolean first = branches.isEmpty();
            final List<Intervention> interventions = new ArrayList<>();
            for (final Modality modality : outline.variation().silence()) {
                interventions.add(new Intervention.Silence("silence:" + modality.label(), EnumSet.of(modality)));
            }
            for (final Intervention intervention : shared) {
                // A branch that lacks what an edit is about has nothing to edit; the base must have it.
                if (concerns(intervention, outline.prompt())) {
                    interventions.add(first ? intervention : whole(intervention));
                } else if (base) {
                    throw new BadInputException(
                            "nothing to act on: the prompt lacks what an edit is about",
                            "strategy " + resolved.name() + ", " + intervention.name(),
                            "add it, or choose a strategy that needs none");
                }
            }
            final List<Intervention> own = resolve(outline.variation().edits(), outline.prompt(), depth, found);
            Conflicts.require(own, "strategy " + resolved.name() + ", branch " + outline.name());
            if (!first) {
                requireWhole(own, "strategy " + resolved.name() + ", branch " + outline.name());
            }
            interventions.addAll(own);
            final Optional<TokenChoice> choice = outline.variation().tokens();
            choice.ifPresent(chosen -> interventions.addAll(missing(chosen, found, depth)));
            rechoices.add(choice.filter(TokenChoice::isPerToken));
            if (base && !resolved.rechoices().isEmpty()) {
                interventions.add(TokenRechoice.look(resolved.rechoices(), depth));
            }
            if (base && fork.isPresent()) {
                branches.addAll(forked(fork.get(), prompt, interventions, depth));
            } else {
                branches.add(new Branch(outline.name(), outline.prompt(), interventions));
            }
        }
        final JoinedBranches joined = joined(resolved, prompt, branches, found);
        return new Plan(
                strategy,
                joined.branches(),
                combination(resolved, prompt, branches, joined),
                fork.map(it -> new Merge(it.place().resolve(depth), it.weights())),
                gate(resolved, prompt, joined.branches()),
                resolved.rechoices().isEmpty()
                        ? Optional.empty()
                        : Optional.of(TokenRechoice.of(branches, rechoices, depth)),
                resolved.search(),
                strategy.label(depth));
    }

    // What is cut off is for the first row to say: tokens that another row lacks would be infinitely far from the sum.
    private static Intervention whole(final Intervention intervention) {
        return intervention instanceof Intervention.ContrastExits exits ? exits.whole() : intervention;
    }

    private static void requireWhole(final List<Intervention> own, final String where) {
        for (final Intervention intervention : own) {
            if (!whole(intervention).equals(intervention)) {
                throw new BadInputException(
                        "a cut-off of exits on a branch that the cut-off is not about",
                        where + ", exits.relativeTop",
                        "set it to 0, or let contrast.cutOff name the branch, with a beta above 0");
            }
        }
    }

    // Choices of tokens that turn out to take the same, or nothing, make one branch of several. Which row an entropy is
    // of stays as it was asked for. Those of every token may be the same for one and differ for the next.
    private static JoinedBranches joined(
            final Strategy resolved, final Prompt prompt, final List<Branch> branches, final Preparation found) {
        final boolean chosen = resolved.forkMerge().isEmpty()
                && resolved.rechoices().isEmpty()
                && !resolved.choices().isEmpty()
                && resolved.choices().stream().allMatch(choice -> found.taken().get(choice).isPresent());
        return chosen && !resolved.contrast().orElseThrow().linear(prompt.modalities()).readsEntropy()
                ? JoinedBranches.of(branches)
                : JoinedBranches.none(branches);
    }

    private static Optional<Gate> gate(
            final Strategy resolved, final Prompt prompt, final List<Branch> branches) {
        final boolean reads = resolved.contrast().isPresent()
                && resolved.contrast().get().linear(prompt.modalities()).readsEntropy();
        final int rows = rows(resolved, branches).size();
        if (reads && rows == 1) {
            throw new BadInputException(
                    "an entropy that weighs the base row alone",
                    "strategy " + resolved.name() + ", contrast.coefficients",
                    "give another branch a weight");
        }
        return resolved.gate().filter(gate -> rows > 1);
    }

    // What a branch does not see; a choice that takes nothing away needs nothing.
    private static List<Intervention> missing(
            final TokenChoice choice, final Preparation found, final int depth) {
        final Optional<SortedSet<Integer>> taken =
                choice.isPerToken() ? Optional.empty() : found.taken().get(choice);
        return taken.isPresent() && taken.get().isEmpty() ? List.of() : choice.interventions(taken, depth);
    }

    /**
     * The branch whose attention the strategy's choices of tokens look at, which reads the request as it is and is
     * acted on as the base is; empty if there is nothing to choose. Its last intervention is the one that looks, at the
     * blocks that any of them asks for.
     *
     * @param depth number of blocks of the model
     * @throws BadInputException when the model has not enough blocks
     */
    public static Optional<Branch> looking(
            final Strategy strategy, final Prompt request, final int depth, final Preparation found) {
        final Strategy resolved = strategy.resolved();
        if (resolved.choices().isEmpty()) {
            return Optional.empty();
        }
        final SortedSet<Integer> blocks = new TreeSet<>();
        resolved.choices().forEach(choice -> blocks.addAll(choice.looksAt(depth)));
        final Prompt prompt = worded(strategy, request, found);
        final List<Intervention> interventions = new ArrayList<>(resolve(resolved.edits(), prompt, depth, found));
        interventions.add(
                new Intervention.ReadAttention("prepare:tokens", blocks, Scope.all().within(Reach.LAST)));
        return Optional.of(new Branch(BASE, prompt, interventions));
    }

    /**
     * The columns that each choice of tokens takes away, given what {@link #looking}'s branch saw.
     *
     * @param seen by that branch
     * @param depth number of blocks of the model
     */
    public static Map<TokenChoice, Optional<SortedSet<Integer>>> taken(
            final Strategy strategy, final Observation seen, final int depth) {
        final List<Integer> blocks = seen.attention().getFirst().layers();
        final Map<TokenChoice, Optional<SortedSet<Integer>>> taken = new HashMap<>();
        for (final TokenChoice choice : strategy.resolved().choices()) {
            final List<float[]> rows = choice.looksAt(depth).stream()
                    .map(block -> seen.rows().getFirst().get(blocks.indexOf(block)))
                    .toList();
            taken.put(choice, Optional.of(choice.taken(new PromptAttention(seen.spans(), rows))));
        }
        return taken;
    }

    /**
     * Refuses what {@link #lower} would refuse of any model and whatever passes find, before a model is loaded.
     *
     * @param requestSeed as there
     */
    public static void check(final Strategy strategy, final Prompt request, final long requestSeed) {
        requireGenerating(strategy);
        final Preparation unknown = Preparation.unknown(strategy);
        final Strategy resolved = strategy.prepared(unknown).resolved();
        final Prompt prompt = worded(strategy, request, unknown);
        requireObservable(resolved, prompt);
        requireRewardable(resolved, prompt);
        requireForkable(resolved, prompt);
        requireChoosable(resolved, prompt);
        outlines(resolved, prompt, requestSeed, unknown);
    }

    private static void requireGenerating(final Strategy strategy) {
        strategy.choosing().ifPresent(rule -> {
            throw new BadInputException(
                    "a rule for given options, where an answer is to be written",
                    "strategy " + strategy.name() + ", choose " + rule.label(),
                    "give the options: run --option, testbed eval, or MultipleChoice.choose");
        });
    }

    private static void requireFound(final Strategy strategy, final Preparation found) {
        requireGenerating(strategy);
        for (final Pass pass : strategy.passes()) {
            for (final String name : pass.names()) {
                if (!found.texts().containsKey(name) && !found.weights().containsKey(name)) {
                    throw new BadInputException(
                            "a pass that was not made: " + name,
                            "strategy " + strategy.name(),
                            "let Decoding prepare the plan");
                }
            }
        }
        for (final TokenChoice choice : strategy.resolved().choices()) {
            if (!found.taken().containsKey(choice)) {
                throw new BadInputException(
                        "a choice of tokens that was not made: " + choice.by(),
                        "strategy " + strategy.name(),
                        "let Decoding prepare the plan");
            }
        }
    }

    // What a modality changes can only be seen where it is there.
    private static void requireObservable(final Strategy resolved, final Prompt prompt) {
        for (final Modality modality : resolved.observed()) {
            if (!prompt.modalities().contains(modality)) {
                final String thing = Variation.thing(modality);
                throw new BadInputException(
                        "no direction to steer along: the prompt has no " + thing,
                        "strategy " + resolved.name() + ", steer",
                        "add a " + thing + ", or choose a strategy that needs none");
            }
        }
    }

    // Weight on a medium can only be rewarded where there is one.
    private static void requireRewardable(final Strategy resolved, final Prompt prompt) {
        resolved.search().flatMap(BeamSearch::overTrust).filter(OverTrust::rewardsSpan).ifPresent(trust -> {
            if (!prompt.modalities().contains(trust.span())) {
                final String thing = Variation.thing(trust.span());
                throw new BadInputException(
                        "no weight to reward: the prompt has no " + thing,
                        "strategy " + resolved.name() + ", search.overTrust",
                        "add a " + thing + ", or set opening to 0");
            }
        });
    }

    /** The request as the strategy words it, its pictures compressed and encoded as its edits say. */
    public static Prompt worded(final Strategy strategy, final Prompt request, final Preparation found) {
        final Prompt said = strategy.prompting()
                .map(words -> words.apply(request, strategy.passes(), found.texts()))
                .orElse(request);
        final String where = "strategy " + strategy.name() + ", steer";
        return steered(compressed(strategy, said), strategy.edits(), where);
    }

    /**
     * A prompt as edits of the picture encoder have it encoded.
     *
     * @throws BadInputException where it has no picture, or its pictures are steered already
     */
    static Prompt steered(final Prompt prompt, final List<Edit> edits, final String where) {
        Prompt steered = prompt;
        for (final Edit edit : edits) {
            if (!(edit instanceof VisionEdit vision) || vision.isIdle()) {
                continue;
            }
            if (!prompt.modalities().contains(Modality.IMAGE)) {
                throw new BadInputException(
                        "nothing to act on: the prompt has no picture",
                        where + ", " + edit.name(),
                        "add a picture, or choose a strategy that needs none");
            }
            if (steered.parts().stream().anyMatch(part ->
                    part instanceof Part.Picture picture && picture.steering().isPresent())) {
                throw new BadInputException(
                        "two edits of the picture encoder on one branch",
                        where + ", " + edit.name(),
                        "keep one of them");
            }
            steered = steered.withPictureSteering(vision.steering());
        }
        return steered;
    }

    private static Prompt compressed(final Strategy strategy, final Prompt said) {
        if (strategy.compression().isEmpty()) {
            return said;
        }
        if (!said.modalities().contains(Modality.IMAGE)) {
            throw new BadInputException(
                    "nothing to compress: the prompt has no picture",
                    "strategy " + strategy.name() + ", compress",
                    "add a picture, or leave the key out");
        }
        return said.withCompression(strategy.compression().get());
    }

    private static void requireForkable(final Strategy strategy, final Prompt prompt) {
        if (strategy.forkMerge().isEmpty()) {
            return;
        }
        if (strategy.contrast().isPresent()) {
            final String about = strategy.contrast().get().linear(prompt.modalities()).cutOff();
            if (!about.equals(BASE)) {
                throw new BadInputException(
                        "a cut-off about branch " + about + " beside a fork-merge",
                        "strategy " + strategy.name() + ", contrast.cutOff",
                        "let it be about " + BASE + ", the merged row, which comes first");
            }
        }
        for (final Modality modality : strategy.forkMerge().orElseThrow().silence()) {
            if (!prompt.modalities().contains(modality)) {
                throw new BadInputException(
                        "nothing to silence: the prompt has no " + modality.label(),
                        "strategy " + strategy.name() + ", forkMerge.silence",
                        "add one, or silence another modality");
            }
        }
    }

    // A choice for every token looks at the base's attention, token by token.
    private static void requireChoosable(final Strategy strategy, final Prompt prompt) {
        if (strategy.rechoices().isEmpty()) {
            return;
        }
        final String about = strategy.contrast().orElseThrow().linear(prompt.modalities()).cutOff();
        if (strategy.forkMerge().isEmpty() && about.equals(BASE)) {
            return;
        }
        throw new BadInputException(
                strategy.forkMerge().isPresent()
                        ? "a choice of tokens for every token, of a fork-merge"
                        : "a cut-off about branch " + about + " beside a choice of tokens for every token",
                "strategy " + strategy.name() + ", tokens.refresh",
                strategy.forkMerge().isPresent()
                        ? "set it to request, or leave the fork-merge out: which tokens dominate is read from one"
                                + " base branch"
                        : "set it to request, or let the cut-off be about " + BASE + ", which is read first");
    }

    private static List<Intervention> resolve(
            final List<Edit> edits, final Prompt prompt, final int depth, final Preparation found) {
        return edits.stream()
                .map(edit -> edit instanceof PromptSteeringEdit open && found.directions().containsKey(open.without())
                        ? open.along(found.directions().get(open.without()))
                        : edit)
                .flatMap(edit -> edit.resolve(depth, prompt.modalities()).stream())
                .toList();
    }

    private static boolean concerns(final Intervention intervention, final Prompt prompt) {
        final boolean spoken = intervention.scope().modalities().contains(Modality.TEXT)
                || !Collections.disjoint(intervention.scope().modalities(), prompt.modalities());
        final boolean there = switch (intervention) {
            case Intervention.Reweigh reweigh -> has(prompt, reweigh.span());
            case Intervention.RaiseScores raise -> has(prompt, raise.span());
            case Intervention.ScaleScores scale -> has(prompt, scale.span());
            case Intervention.MoveWeights move -> has(prompt, move.from()) && has(prompt, move.to());
            case Intervention.DrainSinks drain -> has(prompt, drain.span());
            default -> true;
        };
        return spoken && there;
    }

    private static boolean has(final Prompt prompt, final Set<Modality> span) {
        return !Collections.disjoint(span, prompt.modalities());
    }

    // The two branches that become the base inside the network.
    private static List<Branch> forked(
            final ForkMerge fork, final Prompt prompt, final List<Intervention> edits, final int depth) {
        return fork.silence().stream()
                .map(modality -> {
                    final List<Intervention> interventions = new ArrayList<>(edits);
                    interventions.add(silence(fork.how(), modality, fork.place().resolve(depth)));
                    return new Branch("without-" + modality.label(), prompt, interventions);
                })
                .toList();
    }

    // The names that a contrast has for the rows of branches: merged ones have one row, the base's.
    private static List<String> rows(final Strategy resolved, final List<Branch> branches) {
        final List<String> names = new ArrayList<>(branches.stream().map(Branch::name).toList());
        if (resolved.forkMerge().isPresent()) {
            names.subList(0, 2).clear();
            names.addFirst(BASE);
        }
        return names;
    }

    private static Intervention silence(final ForkMerge.How how, final Modality modality, final int layer) {
        final String name = "silence:" + modality.label();
        return switch (how) {
            case ZEROS -> new Intervention.Silence(name, EnumSet.of(modality));
            case MASK -> new Intervention.Reweigh(
                    name,
                    EnumSet.of(modality),
                    OptionalInt.empty(),
                    0,
                    // Above the merge both branches are one and see everything.
                    new TreeSet<>(IntStream.rangeClosed(0, layer).boxed().toList()),
                    Scope.all().of(EnumSet.complementOf(EnumSet.of(modality))));
        };
    }

    // The branches of a resolved strategy, the one whose row the cut-off is about first.
    private static List<Outline> outlines(
            final Strategy resolved, final Prompt prompt, final long requestSeed, final Preparation found) {
        final List<Outline> outlines = new ArrayList<>();
        outlines.add(new Outline(BASE, prompt, Variation.NONE));
        if (resolved.contrast().isEmpty()) {
            return outlines;
        }
        final Contrast contrast = resolved.contrast().get();
        final LinearContrast linear = contrast.linear(prompt.modalities());
        linear.branches().forEach((name, variation) -> {
            final String where = contrast instanceof LinearContrast
                    ? "strategy " + resolved.name() + ", branch " + name
                    : "strategy " + contrast.method();
            final Prompt read = variation.apply(prompt, where, requestSeed, found.texts());
            final Outline outline = new Outline(name, read, variation);
            if (name.equals(linear.cutOff())) {
                outlines.addFirst(outline);
            } else {
                outlines.add(outline);
            }
        });
        return outlines;
    }

    private static Optional<Combination> combination(
            final Strategy resolved, final Prompt prompt, final List<Branch> branches, final JoinedBranches joined) {
        return resolved.contrast().map(contrast -> {
            final LinearContrast linear = contrast.linear(prompt.modalities());
            final List<String> rows = rows(resolved, branches);
            final List<Expression> weights = rows.stream().map(linear.coefficients()::get).toList();
            // Branches that become one inside the network stay apart until then: none are joined here.
            final List<Expression> left = resolved.forkMerge().isPresent() ? weights : joined.weights(weights);
            return new Combination(
                    ExpressionSchedule.of(left, rows), linear.logProbabilities(), linear.beta(), linear.cutOffValue());
        });
    }
}
