package dev.equipoise.decoding;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.CoefficientSchedule;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.PixelNoise;
import dev.equipoise.runtime.Prompt;
import java.util.List;
import java.util.Optional;

/** Turns a strategy and a prompt into branches and the way in which their rows combine. */
public final class Lowering {
    private static final String BASE = "base";

    private Lowering() {}

    /**
     * The plan of a strategy for a prompt. What has no effect ({@link Strategy#resolved}) costs nothing: it makes no
     * branch and no combination.
     *
     * @param requestSeed seed of a noise that the strategy gives no seed of its own
     * @throws BadInputException when the second branch would be the first again, or would have nothing to read
     */
    public static Plan lower(final Strategy strategy, final Prompt prompt, final long requestSeed) {
        if (strategy.resolved().contrast().isEmpty()) {
            return new Plan(strategy, List.of(new Branch(BASE, prompt)), Optional.empty());
        }
        final Contrast contrast = strategy.resolved().contrast().get();
        return switch (contrast) {
            case Contrast.Plausibility alone -> new Plan(
                    strategy,
                    List.of(new Branch(BASE, prompt)),
                    Optional.of(new Combination(CoefficientSchedule.fixed(1), false, alone.beta())));
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
        return new Plan(strategy, List.of(new Branch(BASE, prompt), second), Optional.of(combination));
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
