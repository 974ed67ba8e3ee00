package dev.equipoise.decoding;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.CoefficientSchedule;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.PixelNoise;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.steering.edit.Edit;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeSet;
import java.util.stream.IntStream;

/** Turns a strategy and a prompt into branches and the way in which their rows combine. */
public final class Lowering {
    private static final String BASE = "base";

    private Lowering() {}

    /**
     * The plan of a strategy for a prompt. What has no effect ({@link Strategy#resolved}) costs nothing: it makes no
     * branch, no intervention and no combination.
     *
     * @param requestSeed seed of a noise that the strategy gives no seed of its own
     * @param depth number of blocks of the model that will carry it out
     * @throws BadInputException when the second branch would be the first again, or would have nothing to read, or the
     *     model lacks a layer
     */
    public static Plan lower(
            final Strategy strategy, final Prompt prompt, final long requestSeed, final int depth) {
        final Strategy resolved = strategy.resolved();
        if (resolved.forkMerge().isPresent()) {
            return forkMerge(strategy, resolved.forkMerge().get(), prompt, depth);
        }
        final Plan plan = contrast(strategy, prompt, requestSeed);
        final List<Branch> branches = new ArrayList<>();
        for (final Branch branch : plan.branches()) {
            final List<Intervention> interventions = new ArrayList<>();
            for (final Edit edit : resolved.edits()) {
                final Intervention intervention = edit.resolve(depth);
                // A branch that lacks what an edit is about has nothing to edit; the base must have it.
                if (branches.isEmpty() || concerns(intervention, branch.prompt())) {
                    interventions.add(intervention);
                }
            }
            branches.add(new Branch(branch.name(), branch.prompt(), interventions));
        }
        return new Plan(strategy, branches, plan.combination(), Optional.empty());
    }

    /**
     * Refuses what {@link #lower} would refuse of any model, before one is loaded.
     *
     * @param requestSeed as there
     */
    public static void check(final Strategy strategy, final Prompt prompt, final long requestSeed) {
        final Strategy resolved = strategy.resolved();
        if (resolved.forkMerge().isPresent()) {
            requireForkable(strategy, resolved.forkMerge().get(), prompt);
        } else {
            contrast(strategy, prompt, requestSeed);
        }
    }

    private static void requireForkable(final Strategy strategy, final ForkMerge fork, final Prompt prompt) {
        if (strategy.resolved().contrast().isPresent()) {
            throw new BadInputException(
                    "fork-merge together with a contrast",
                    "strategy " + strategy.name(),
                    "use one of them; their composition is not supported in this version");
        }
        for (final Modality modality : fork.silence()) {
            if (!prompt.modalities().contains(modality)) {
                throw new BadInputException(
                        "nothing to silence: the prompt has no " + modality.label(),
                        "strategy " + strategy.name() + ", forkMerge.silence",
                        "add one, or silence another modality");
            }
        }
    }

    private static boolean concerns(final Intervention intervention, final Prompt prompt) {
        final boolean spoken = intervention.scope().modalities().contains(Modality.TEXT)
                || !Collections.disjoint(intervention.scope().modalities(), prompt.modalities());
        return spoken
                && (!(intervention instanceof Intervention.Reweigh reweigh)
                        || !Collections.disjoint(reweigh.span(), prompt.modalities()));
    }

    private static Plan forkMerge(
            final Strategy strategy, final ForkMerge fork, final Prompt prompt, final int depth) {
        requireForkable(strategy, fork, prompt);
        final int layer = fork.place().resolve(depth);
        final List<Intervention> edits = strategy.resolved().edits().stream()
                .map(edit -> edit.resolve(depth))
                .toList();
        final List<Branch> branches = new ArrayList<>();
        for (final Modality modality : fork.silence()) {
            final List<Intervention> interventions = new ArrayList<>(edits);
            interventions.add(silence(fork.how(), modality, layer));
            branches.add(new Branch("without-" + modality.label(), prompt, interventions));
        }
        return new Plan(strategy, branches, Optional.empty(), Optional.of(new Merge(layer, fork.weights())));
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

    private static Plan contrast(final Strategy strategy, final Prompt prompt, final long requestSeed) {
        if (strategy.resolved().contrast().isEmpty()) {
            return new Plan(
                    strategy, List.of(new Branch(BASE, prompt)), Optional.empty(), Optional.empty());
        }
        final Contrast contrast = strategy.resolved().contrast().get();
        return switch (contrast) {
            case Contrast.Plausibility alone -> new Plan(
                    strategy,
                    List.of(new Branch(BASE, prompt)),
                    Optional.of(new Combination(CoefficientSchedule.fixed(1), false, alone.beta())),
                    Optional.empty());
            case Contrast.Vcd vcd -> linear(strategy, prompt, noised(vcd, prompt, requestSeed), vcd.alpha());
            case Contrast.Icd icd -> linear(strategy, prompt, disturbed(icd, prompt), icd.alpha());
            case Contrast.Cad cad -> {
                final Modality evidence = cad.without().orElse(
                        prompt.modalities().contains(Modality.CONTEXT) ? Modality.CONTEXT : Modality.IMAGE);
                yield linear(strategy, prompt, without(cad, prompt, evidence), cad.alpha());
            }
            case Contrast.M3id m3id -> plan(
                    strategy,
                    prompt,
                    without(m3id, prompt, m3id.without()),
                    new Combination(new GrowingWeight(m3id.lambda(), m3id.maxWeight()), true, m3id.beta()));
        };
    }

    private static Plan linear(
            final Strategy strategy, final Prompt prompt, final Branch second, final double alpha) {
        final double beta = strategy.contrast().orElseThrow().beta();
        final CoefficientSchedule weights = CoefficientSchedule.fixed((float) (1 + alpha), (float) -alpha);
        return plan(strategy, prompt, second, new Combination(weights, false, beta));
    }

    private static Plan plan(
            final Strategy strategy, final Prompt prompt, final Branch second, final Combination combination) {
        return new Plan(
                strategy, List.of(new Branch(BASE, prompt), second), Optional.of(combination), Optional.empty());
    }

    private static Branch noised(final Contrast.Vcd vcd, final Prompt prompt, final long requestSeed) {
        requirePart(vcd, prompt, Modality.IMAGE);
        final PixelNoise noise = new PixelNoise(vcd.noiseStep(), vcd.seed().orElse(requestSeed));
        return new Branch("noised", prompt.withPixelNoise(noise));
    }

    private static Branch disturbed(final Contrast.Icd icd, final Prompt prompt) {
        final Prompt disturbed = prompt.withSystem(icd.instruction());
        if (disturbed.equals(prompt)) {
            throw new BadInputException(
                    "nothing to contrast: the disturbed instruction is the prompt's own",
                    where(icd),
                    "give another instruction or another system text");
        }
        return new Branch("disturbed", disturbed);
    }

    private static Branch without(final Contrast contrast, final Prompt prompt, final Modality modality) {
        requirePart(contrast, prompt, modality);
        final Prompt rest = prompt.without(modality);
        if (rest.parts().isEmpty()) {
            throw new BadInputException(
                    "the branch without " + modality.label() + " has nothing to read",
                    where(contrast),
                    "add a question");
        }
        return new Branch("without-" + modality.label(), rest);
    }

    private static void requirePart(final Contrast contrast, final Prompt prompt, final Modality modality) {
        if (!prompt.modalities().contains(modality)) {
            final String thing = switch (modality) {
                case SYSTEM -> "system text";
                case TEXT -> "text";
                case IMAGE -> "picture";
                case AUDIO -> "sound";
                case CONTEXT -> "note";
            };
            final boolean unsaid = contrast instanceof Contrast.Cad cad && cad.without().isEmpty();
            throw new BadInputException(
                    "nothing to contrast: the prompt has no " + (unsaid ? "note and no " : "") + thing,
                    where(contrast),
                    "add a " + (unsaid ? "note or a " : "") + thing + ", or choose a strategy that needs none");
        }
    }

    private static String where(final Contrast contrast) {
        return "strategy " + contrast.method();
    }

    /** M3ID's weights: base {@code 1 + w(t)}, second branch {@code -w(t)}. */
    record GrowingWeight(double lambda, double maxWeight) implements CoefficientSchedule {
        @Override
        public void at(final int index, final float[] out) {
            final double weight = Math.min(maxWeight, Math.expm1(lambda * index));
            out[0] = (float) (1 + weight);
            out[1] = (float) -weight;
        }
    }
}
