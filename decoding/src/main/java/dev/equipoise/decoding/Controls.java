package dev.equipoise.decoding;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.steering.edit.AttentionEdit;
import dev.equipoise.steering.edit.Edit;
import dev.equipoise.steering.edit.ExitEdit;
import dev.equipoise.steering.edit.PromptSteeringEdit;
import dev.equipoise.steering.edit.SteeringEdit;
import dev.equipoise.steering.edit.VisionEdit;
import dev.equipoise.steering.vector.RandomDirections;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Strategies to stand beside another one, so that its effect can be told from that of its parts. */
public final class Controls {
    private Controls() {}

    /**
     * A strategy with all strengths 0: contrasts at none of their weight, their cut-off left as it is, scales 0,
     * factors 1, no shifts of logits, whole pictures. What has no strength to set (fork-merge, masks, ablations,
     * passes, prompts, searches) is left out. It decodes plainly behind the cut-off, which leaves nothing of what it
     * takes.
     */
    public static Strategy zeroScale(final Strategy strategy) {
        final Optional<Contrast> idle = strategy.contrast().map(contrast -> switch (contrast) {
            case Contrast.Plausibility alone -> alone;
            case Contrast.Vcd vcd -> new Contrast.Vcd(0, vcd.beta(), vcd.noiseStep(), vcd.seed());
            case Contrast.Icd icd -> new Contrast.Icd(0, icd.beta(), icd.instruction());
            case Contrast.M3id m3id -> new Contrast.M3id(0, m3id.beta(), m3id.maxWeight(), m3id.without());
            case Contrast.Cad cad -> new Contrast.Cad(0, cad.beta(), cad.without());
            case LinearContrast linear -> withoutPasses(linear).scaled(0);
        });
        return new Strategy(
                "zero-scale:" + strategy.name(),
                strategy.source(),
                List.of(),
                Optional.empty(),
                strategy.edits().stream().flatMap(edit -> zero(edit).stream()).toList(),
                Optional.empty(),
                idle,
                strategy.sampling().withBias(Map.of()));
    }

    // Words of passes that are not made cannot be read, weights that nobody finds cannot be multiplied by 0.
    private static LinearContrast withoutPasses(final LinearContrast linear) {
        final Map<String, Double> weights = new LinkedHashMap<>();
        linear.weights().forEach(name -> weights.put(name, 0.0));
        final LinearContrast bound = linear.prepared(weights);
        final Map<String, Variation> branches = new LinkedHashMap<>();
        bound.branches().forEach((name, variation) -> branches.put(
                name,
                // The row that a cut-off is about is read at any strength.
                name.equals(bound.cutOff()) && bound.beta() > 0 ? variation : Variation.NONE));
        return new LinearContrast(
                Map.of(), branches, bound.coefficients(), bound.logProbabilities(), bound.beta(), bound.cutOff());
    }

    private static Optional<Edit> zero(final Edit edit) {
        return switch (edit) {
            case SteeringEdit steer ->
                steer.operation().isIdleAtZero() ? Optional.of(steer.withAmount(0)) : Optional.empty();
            case PromptSteeringEdit steer ->
                steer.operation().isIdleAtZero() ? Optional.of(steer.withAmount(0)) : Optional.empty();
            case VisionEdit steer -> Optional.of(steer.withAmount(0));
            case AttentionEdit.Multiply it -> Optional.of(
                    new AttentionEdit.Multiply(it.span(), it.medium(), 1, it.layers(), it.heads(), it.queries()));
            case AttentionEdit other -> Optional.empty();
            case ExitEdit exits -> Optional.empty();
        };
    }

    /**
     * A strategy whose steering vectors, on all branches, are random ones of the same lengths, layer by layer.
     *
     * @param seed equal seeds give equal vectors
     * @throws BadInputException when it has no vector
     */
    public static Strategy randomVector(final Strategy strategy, final long seed) {
        if (!hasVectors(strategy)) {
            throw new BadInputException(
                    "random vectors for a strategy that has none",
                    "strategy " + strategy.name(),
                    "name one that steers, such as random-vector:" + seed + ":vista, or zero-scale:" + strategy.name());
        }
        Strategy random = strategy.withEdits(random(strategy.edits(), seed));
        if (strategy.contrast().isPresent() && strategy.contrast().get() instanceof LinearContrast linear) {
            final Map<String, Variation> branches = new LinkedHashMap<>();
            linear.branches().forEach((name, it) -> branches.put(name, it.withEdits(random(it.edits(), seed))));
            random = random.withContrast(linear.withBranches(branches));
        }
        return random.named("random-vector:" + seed + ":" + strategy.name());
    }

    private static boolean hasVectors(final Strategy strategy) {
        final List<Edit> edits = new ArrayList<>(strategy.edits());
        if (strategy.contrast().orElse(null) instanceof LinearContrast linear) {
            linear.branches().values().forEach(branch -> edits.addAll(branch.edits()));
        }
        return edits.stream()
                .anyMatch(edit -> switch (edit) {
                    case SteeringEdit steer -> true;
                    case PromptSteeringEdit steer -> true;
                    case VisionEdit steer -> true;
                    case AttentionEdit other -> false;
                    case ExitEdit exits -> false;
                });
    }

    private static List<Edit> random(final List<Edit> edits, final long seed) {
        return edits.stream()
                .map(edit -> switch (edit) {
                    case SteeringEdit steer -> random(steer, seed);
                    case PromptSteeringEdit steer -> steer.random(seed);
                    case VisionEdit steer -> new VisionEdit(
                            SteerJson.RANDOM + seed + ":" + steer.source(),
                            RandomDirections.like(steer.directions(), seed),
                            steer.amount());
                    case AttentionEdit attention -> attention;
                    case ExitEdit exits -> exits;
                })
                .toList();
    }

    private static Edit random(final SteeringEdit steer, final long seed) {
        final String second = steer.source().second();
        return steer.along(
                new SteeringEdit.Source(
                        SteerJson.RANDOM + seed + ":" + steer.source().vector(),
                        second.isEmpty() ? "" : SteerJson.RANDOM + (seed + 1) + ":" + second),
                RandomDirections.like(steer.vectors(), seed),
                steer.second().map(other -> RandomDirections.like(other, seed + 1)));
    }
}
