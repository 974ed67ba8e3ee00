package dev.equipoise.decoding;

import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Keep;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.intervention.When;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SortedSet;
import java.util.stream.Collectors;

/** What an intervention does, in the words of explanations. */
final class InterventionWords {
    private static final String OFF_FLASH = offFlash("these layers");

    private InterventionWords() {}

    /** The step that an intervention is. */
    static Explanation.Step step(final Intervention intervention) {
        final String mechanism = switch (intervention) {
            case Intervention.Steer steer -> "op on " + words(steer.place()) + ": " + switch (steer.operation()) {
                case ADD -> "h + " + steer.amount() + " v";
                case ADD_NORM_CAPPED -> "h + " + steer.amount() + " v, no longer than h";
                case ADD_SIGNED -> "h + " + steer.amount() + " v to the side of v that it is on";
                case ADD_NORM_PRESERVING -> "h + " + steer.amount() + " v, at the norm of h";
                case ABLATE -> "h without its component along v";
                case CLAMP -> "the component of h along v becomes " + steer.amount();
                case TURN -> "h turned towards v by " + steer.amount() + ", at its norm";
                case TURN_AWARE -> "h turned towards v by " + steer.amount() + " and more where it points away";
                case ROTATE_TOWARD -> "where h points along v, rotated in the plane to "
                        + Math.toDegrees(steer.amount()) + " degrees";
                case ROTATE -> "h rotated in the plane to " + Math.toDegrees(steer.amount()) + " degrees";
            };
            case Intervention.Reweigh reweigh when reweigh.factor() == 0 ->
                "mask: the keys of " + labels(reweigh.span()) + " are hidden; flash attention stays as it is";
            case Intervention.Reweigh reweigh -> "mask bias ln " + reweigh.factor() + " on the keys of "
                    + labels(reweigh.span()) + "; flash attention stays as it is";
            case Intervention.Soften soften -> "queries divided by " + soften.tau();
            case Intervention.RaiseScores raise -> "scores of " + labels(raise.span()) + " become s + " + raise.alpha()
                    + " |s|; these layers leave the flash path, which shows no scores";
            case Intervention.ScaleScores scale -> "scores of " + labels(scale.span()) + " times " + scale.factor()
                    + "; these layers leave the flash path, which shows no scores";
            case Intervention.MoveWeights move -> move.fraction() + " of the weight on " + labels(move.from())
                    + " goes to " + labels(move.to()) + " where its share passes " + move.threshold()
                    + "; these layers leave the flash path, which shows no weights";
            case Intervention.DrainSinks drain -> "sinks keep " + drain.keep() + " of their weight, the rest goes to "
                    + labels(drain.span()) + "; these layers leave the flash path, which shows no weights";
            case Intervention.TurnToSinks turn -> words(turn);
            case Intervention.Hide hide -> "mask: the keys of " + some(hide.name(), hide.tokens(), hide.span())
                    + " are hidden; flash attention stays as it is";
            case Intervention.HideAttended hide -> "mask: the keys of " + labels(hide.span())
                    + " are hidden but for the " + words(hide.keep()) + " that the token attends to least in block "
                    + hide.looked() + ", found in the same pass; that block leaves the flash path, these stay on it";
            case Intervention.ReadAttention read -> "attention is read, nothing changes";
            case Intervention.ReadStates read -> "states are read, nothing changes";
            case Intervention.AverageExits exits -> "logits of these blocks' outputs are mixed in with weight "
                    + exits.weight() + norm(exits.normed());
            case Intervention.ContrastExits exits -> "log-probabilities less those of the "
                    + (exits.layers().size() == 1 ? "block" : "block that differs most by " + words(exits.divergence()))
                    + norm(exits.normed())
                    + (exits.relativeTop() == 0 ? "" : "; cut-off at " + exits.relativeTop() + " of the likeliest");
            case Intervention.Mute mute -> "what attention adds at "
                    + some(mute.name(), mute.tokens(), mute.modalities()) + " is zero; their keys and values stay";
            case Intervention.MuteAttended mute -> "in each head, those of "
                    + some(mute.name(), mute.tokens(), mute.modalities())
                    + " to which the latest token attends there with more than a threshold, in the same pass, attend"
                    + " to nothing; their keys and values stay; these layers leave the flash path, which shows no"
                    + " weights";
            case Intervention.Silence silence -> "input embeddings of "
                    + some(silence.name(), silence.tokens(), silence.modalities()) + " are zero";
        };
        return new Explanation.Step(
                intervention.name(),
                mechanism,
                List.copyOf(intervention.layers()),
                words(intervention.scope())
                        + intervention.when().map(when -> ", when " + words(when)).orElse(""),
                cost(intervention)
                        + (intervention.when().isEmpty()
                                ? ""
                                : intervention.scope().phases().contains(Phase.PROMPT)
                                        ? "; the prompt is read once more before, to decide"
                                        : "; states of the prompt are read on the way, to decide"),
                Optional.of(intervention),
                Optional.empty());
    }

    private static String words(final Intervention.TurnToSinks turn) {
        final String gather = "get what they find in all of the prompt in every "
                + (turn.every() == 1 ? "block, once" : turn.every() + ". block, once");
        final String turned = "what heads give other tokens is turned to the sinks' mean value, "
                + turn.gamma() + " tanh(cos / " + turn.temperature() + ") of its part along it, at its norm";
        return "prompt tokens with an element of at least " + turn.threshold() + " and " + turn.medianFactor()
                + " medians as they enter a block are its sinks: "
                + (turn.every() == 0 ? "" : "they " + gather + (turn.gamma() == 0 ? "" : "; "))
                + (turn.gamma() == 0 ? "" : turned)
                + "; the prompt is read in one micro-batch; these layers leave the flash path, which shows no weights";
    }

    private static String offFlash(final String which) {
        return "attention of " + which + " without flash, for every request of the engine: with flash attention on"
                + " elsewhere, values there are copied in every step";
    }

    private static String norm(final boolean normed) {
        return normed ? ", after the final norm" : ", without the final norm";
    }

    private static String cost(final Intervention intervention) {
        return switch (intervention) {
            case Intervention.Silence silence -> "one small op on the input, no copy of the cache";
            case Intervention.RaiseScores raise -> OFF_FLASH;
            case Intervention.ScaleScores scale -> OFF_FLASH;
            case Intervention.MoveWeights move -> OFF_FLASH;
            case Intervention.DrainSinks drain -> OFF_FLASH;
            case Intervention.TurnToSinks turn ->
                "values are summed once more where something is turned, on the CPU; " + OFF_FLASH;
            case Intervention.ReadAttention read -> OFF_FLASH;
            case Intervention.MuteAttended mute -> OFF_FLASH;
            case Intervention.HideAttended hide -> "one small op per layer; " + offFlash("block " + hide.looked());
            case Intervention.AverageExits exits -> "logits of " + exits.layers().size() + " more rows per output";
            case Intervention.ContrastExits exits -> "logits of " + exits.layers().size() + " more rows per output";
            default -> "one small op per layer, no copy of the cache";
        };
    }

    private static String words(final Intervention.Divergence divergence) {
        return switch (divergence) {
            case JENSEN_SHANNON -> "Jensen-Shannon divergence";
            case ARITHMETIC_GEOMETRIC -> "arithmetic-geometric divergence";
        };
    }

    private static String words(final Keep keep) {
        return keep.share().isPresent() ? keep.share().getAsDouble() + " of them" : String.valueOf(keep.count());
    }

    private static String words(final Intervention.Place place) {
        return switch (place) {
            case LAYER -> "block outputs";
            case MLP -> "what feed-forward adds to the residual";
            case ATTENTION -> "what attention adds to the residual";
            case NORM -> "the outputs of both norms";
            case EMBEDDING -> "what enters the first block";
        };
    }

    private static String words(final When when) {
        return when.conditions().stream()
                .map(condition -> "the " + condition.pooling().label() + " prompt state "
                        + (condition.place() == Intervention.Place.EMBEDDING ? "before block " : "behind block ")
                        + condition.readAt() + " is like " + condition.name() + " (" + condition.side().label() + " "
                        + condition.threshold() + ")")
                .collect(Collectors.joining(when.rule() == When.Rule.ANY ? " or " : " and "));
    }

    private static String words(final Scope scope) {
        final List<String> words = new ArrayList<>();
        words.add(scope.phases().stream().sorted().map(Phase::label).collect(Collectors.joining(" and ")) + " tokens");
        if (scope.modalities().size() < Modality.values().length) {
            words.add("of " + labels(scope.modalities()));
        }
        scope.medium().ifPresent(number -> words.add("of medium " + number));
        scope.positions().ifPresent(range -> words.add("at " + range.first() + "-" + range.last()));
        if (scope.reach() != Reach.ALL) {
            words.add(scope.reach().label());
        }
        return String.join(", ", words);
    }

    // A choice that is still to be made has no tokens yet.
    private static String some(
            final String name, final Optional<SortedSet<Integer>> tokens, final Set<Modality> span) {
        return tokens.map(chosen -> chosen.size() + " tokens of ")
                .orElse(name.startsWith("tokens:") ? "the tokens to be chosen of " : "")
                + labels(span);
    }

    /** Modalities by name. */
    static String labels(final Set<Modality> modalities) {
        return modalities.stream().sorted().map(Modality::label).collect(Collectors.joining(", "));
    }
}
