package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.ffm.NativeEdit;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.LayerVectors;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SortedSet;
import java.util.stream.Collectors;

/** Turns a branch's interventions into what the native side takes, and refuses what it could not do. */
final class InterventionLowering {
    // eq_intervention_kind; steering operations have their ordinals.
    private static final int ATTENTION_BIAS = 16;
    private static final int QUERY_SCALE = 17;
    private static final int SILENCE = 18;
    private static final int SCORES_RAISE = 19;
    private static final int SCORES_SCALE = 20;
    private static final int WEIGHTS_MOVE = 21;
    private static final int WEIGHTS_SINKS = 22;
    private static final int WEIGHTS_READ = 23;
    private static final int STATES_READ = 24;
    private static final int EXITS_MEAN = 25;
    private static final int EXITS_CONTRAST = 26;
    private static final int MUTE = 27;
    private static final int ATTENDED_BIAS = 28;
    private static final int WEIGHTS_MUTE = 29;
    private static final int SINKS_TURN = 30;
    // Labels of keys: a modality's ordinal for words, two for hidden words, one for generated ones, then one for each
    // picture and sound, the last for those beyond. Hidden tokens of media have their modality's ordinal, which words
    // leave free.
    private static final int HIDDEN_TEXT = 5;
    private static final int HIDDEN_CONTEXT = 6;
    private static final int GENERATED = 7;
    private static final int FIRST_MEDIUM = 8;
    private static final int OTHER_MEDIA = 63;
    private static final int MEDIA = OTHER_MEDIA - FIRST_MEDIUM;

    // The largest bias that the native side takes: e^-1000 is 0 in single precision. Unlike -infinity it leaves a row
    // defined whose keys are all hidden.
    private static final float HIDDEN_BIAS = -1000;

    private InterventionLowering() {}

    /** What a column, of the prompt or generated, is to attention edits, as a key. */
    static int label(final EncodedPrompt prompt, final int column) {
        if (prompt.isHidden(column)) {
            return hiddenLabel(prompt.modality(column));
        }
        if (column >= prompt.size()) {
            return GENERATED;
        }
        return prompt.medium(column) < 0
                ? prompt.modality(column).ordinal()
                : label(prompt.medium(column));
    }

    private static int hiddenLabel(final Modality modality) {
        return switch (modality) {
            case IMAGE, AUDIO -> modality.ordinal();
            case CONTEXT -> HIDDEN_CONTEXT;
            // System texts are never hidden.
            case TEXT, SYSTEM -> HIDDEN_TEXT;
        };
    }

    /** Whose keys carry a label. */
    static Modality modalityOf(final int label, final EncodedPrompt prompt) {
        if (label < Modality.values().length) {
            return Modality.values()[label];
        }
        for (int column = 0; column < prompt.size(); column++) {
            if (label(prompt, column) == label) {
                return prompt.modality(column);
            }
        }
        return Modality.TEXT;
    }

    /** What a generated token is. */
    static int generatedLabel() {
        return GENERATED;
    }

    private static int label(final int medium) {
        return Math.min(FIRST_MEDIUM + medium, OTHER_MEDIA);
    }

    /**
     * The edits of a branch, in its order.
     *
     * @throws BadInputException for a layer or width that the model does not have, or a span that the prompt lacks
     */
    static List<NativeEdit> edits(
            final Branch branch, final EncodedPrompt prompt, final ActiveColumns active, final ModelInfo model) {
        final List<NativeEdit> edits = new ArrayList<>();
        requireOneChoice(branch);
        requireAlone(branch);
        for (int k = 0; k < branch.interventions().size(); k++) {
            final Intervention intervention = branch.interventions().get(k);
            requireLayers(intervention, model);
            edits.add(edit(intervention, k, prompt, active, model));
        }
        return edits;
    }

    private static NativeEdit edit(
            final Intervention intervention,
            final int k,
            final EncodedPrompt prompt,
            final ActiveColumns active,
            final ModelInfo model) {
        return switch (intervention) {
            case Intervention.Steer steer -> steering(steer, model);
            case Intervention.Reweigh reweigh -> bias(reweigh, k, prompt, active, model);
            case Intervention.Soften soften -> rows(
                    QUERY_SCALE, soften, 0, 0, model, new int[0], (float) (1 / soften.tau()));
            case Intervention.Silence silence -> {
                HiddenColumns.require(silence.name(), silence.modalities(), silence.tokens(), prompt);
                yield new NativeEdit(SILENCE, new int[0], new float[0], 0, 0);
            }
            case Intervention.Mute mute -> {
                HiddenColumns.require(mute.name(), mute.modalities(), mute.tokens(), prompt);
                yield new NativeEdit(
                        MUTE, ints(mute.layers()), new float[0], new byte[0], new int[0], 0, 0,
                        Intervention.Place.ATTENTION.ordinal(), 0);
            }
            case Intervention.MuteAttended mute -> {
                HiddenColumns.require(mute.name(), mute.modalities(), mute.tokens(), prompt);
                yield rows(WEIGHTS_MUTE, mute, 0, 0, model, new int[0], (float) mute.above());
            }
            case Intervention.Hide hide -> {
                HiddenColumns.require(hide.name(), hide.span(), hide.tokens(), prompt);
                yield rows(ATTENTION_BIAS, hide, hiddenLabels(hide, prompt), 0, model, new int[0], HIDDEN_BIAS);
            }
            case Intervention.HideAttended hide -> {
                final long labels = span(hide, hide.span(), prompt);
                final int kept = hide.keep().in(prompt.count(hide.span()));
                yield rows(
                        ATTENDED_BIAS, hide, labels, 0, model, new int[0], HIDDEN_BIAS, kept, hide.looked());
            }
            case Intervention.RaiseScores raise -> rows(
                    SCORES_RAISE, raise, span(raise, raise.span(), prompt), 0, model, new int[0],
                    (float) raise.alpha());
            case Intervention.ScaleScores scale -> rows(
                    SCORES_SCALE, scale, span(scale, scale.span(), prompt), 0, model, new int[0],
                    (float) scale.factor());
            case Intervention.MoveWeights move -> rows(
                    WEIGHTS_MOVE, move, span(move, move.from(), prompt), span(move, move.to(), prompt), model,
                    new int[0], (float) move.threshold(), (float) move.fraction());
            case Intervention.DrainSinks drain -> rows(
                    WEIGHTS_SINKS, drain, span(drain, drain.span(), prompt), 0, model, dimensions(drain, model),
                    (float) drain.tau(), (float) drain.rho(), (float) drain.mass(), (float) drain.keep());
            case Intervention.TurnToSinks turn -> rows(
                    SINKS_TURN, turn, 0, 0, model, new int[0], (float) turn.gamma(), (float) turn.temperature(),
                    (float) turn.threshold(), (float) turn.medianFactor(), turn.every());
            case Intervention.ReadAttention read -> rows(WEIGHTS_READ, read, 0, 0, model, new int[0], 0);
            case Intervention.ReadStates read -> new NativeEdit(
                    STATES_READ, ints(read.layers()), new float[0], new byte[0], new int[0], 0, 0,
                    read.place().ordinal(), 0);
            case Intervention.AverageExits exits -> rows(
                    EXITS_MEAN, exits, 0, 0, model, new int[0], (float) exits.weight(), exits.normed() ? 1 : 0);
            case Intervention.ContrastExits exits -> rows(
                    EXITS_CONTRAST, exits, 0, 0, model, new int[0], (float) exits.relativeTop(),
                    exits.normed() ? 1 : 0, exits.divergence().ordinal());
        };
    }

    private static NativeEdit rows(
            final int kind,
            final Intervention intervention,
            final long labels,
            final long otherLabels,
            final ModelInfo model,
            final int[] dimensions,
            final float amount,
            final float... parameters) {
        return new NativeEdit(
                kind,
                ints(intervention.layers()),
                new float[0],
                heads(intervention, model),
                dimensions,
                labels,
                otherLabels,
                0,
                amount,
                parameters);
    }

    private static byte[] heads(final Intervention intervention, final ModelInfo model) {
        if (intervention.heads().isAll()) {
            return new byte[0];
        }
        final int there = model.heads();
        final int last = intervention.heads().numbers().last();
        if (last >= there) {
            throw new BadInputException(
                    "a head that the model does not have",
                    intervention.name() + ": head " + last + " of 0.." + (there - 1),
                    "choose heads below " + there);
        }
        final byte[] flags = new byte[there];
        intervention.heads().numbers().forEach(head -> flags[head] = 1);
        return flags;
    }

    private static int[] dimensions(final Intervention.DrainSinks drain, final ModelInfo model) {
        final int[] dimensions = drain.dimensions().stream().mapToInt(Integer::intValue).toArray();
        for (final int dimension : dimensions) {
            if (dimension >= model.width()) {
                throw new BadInputException(
                        "a dimension that the model does not have",
                        drain.name() + ": " + dimension + " of 0.." + (model.width() - 1),
                        "name those of this model's massive activations");
            }
        }
        return dimensions;
    }

    private static long hiddenLabels(final Intervention.Hide hide, final EncodedPrompt prompt) {
        long labels = 0;
        for (final Modality modality : hide.span()) {
            labels |= 1L << hiddenLabel(modality);
        }
        span(hide, hide.span(), prompt);
        return labels;
    }

    // The labels of a span's keys, which the prompt must have.
    private static long span(final Intervention of, final Set<Modality> span, final EncodedPrompt prompt) {
        return span(of, span, OptionalInt.empty(), prompt);
    }

    private static long span(
            final Intervention of, final Set<Modality> span, final OptionalInt medium, final EncodedPrompt prompt) {
        long labels = span.contains(Modality.TEXT) && medium.isEmpty() ? 1L << GENERATED : 0;
        labels |= labels != 0 && prompt.hidesGenerated() ? 1L << HIDDEN_TEXT : 0;
        boolean there = false;
        for (int column = 0; column < prompt.size(); column++) {
            if (span.contains(prompt.modality(column)) && isOf(medium, prompt.medium(column))) {
                if (prompt.medium(column) >= MEDIA) {
                    throw new BadInputException(
                            "more pictures and sounds than attention edits can tell apart",
                            of.name(),
                            "use at most " + MEDIA);
                }
                if (medium.isPresent() && prompt.isHidden(column)) {
                    throw new BadInputException(
                            "attention to one medium in a branch that hides some of its tokens",
                            of.name() + ", medium " + medium.getAsInt(),
                            "name the whole span");
                }
                labels |= 1L << label(prompt, column);
                there = true;
            }
        }
        if (!there) {
            throw new BadInputException(
                    "attention to what the prompt does not have",
                    of.name() + ": " + span,
                    "add it to the prompt, or name another span");
        }
        return labels;
    }

    private static NativeEdit steering(final Intervention.Steer steer, final ModelInfo model) {
        final LayerVectors vectors = steer.vectors();
        if (vectors.width() != model.width()) {
            throw new BadInputException(
                    "a vector of another width",
                    steer.name() + ": " + vectors.width() + ", the model has " + model.width(),
                    "use vectors extracted from this model");
        }
        final int each = model.width() * (steer.second().isPresent() ? 2 : 1);
        final float[] flat = new float[each * vectors.layers().size()];
        int at = 0;
        for (final int layer : vectors.layers()) {
            System.arraycopy(vectors.at(layer), 0, flat, at, model.width());
            final int second = at + model.width();
            steer.second().ifPresent(other -> System.arraycopy(other.at(layer), 0, flat, second, model.width()));
            at += each;
        }
        return new NativeEdit(
                steer.operation().ordinal(),
                ints(vectors.layers()),
                flat,
                new byte[0],
                new int[0],
                0,
                0,
                steer.place().ordinal(),
                (float) steer.amount());
    }

    private static NativeEdit bias(
            final Intervention.Reweigh reweigh,
            final int k,
            final EncodedPrompt prompt,
            final ActiveColumns active,
            final ModelInfo model) {
        final long labels = span(reweigh, reweigh.span(), reweigh.medium(), prompt);
        if (reweigh.factor() == 0) {
            requireSomethingLeft(reweigh, labels, k, prompt, active);
        }
        // ln 0 is -infinity, which hides.
        return rows(ATTENTION_BIAS, reweigh, labels, 0, model, new int[0], (float) Math.log(reweigh.factor()));
    }

    private static boolean isOf(final OptionalInt wanted, final int medium) {
        return wanted.isEmpty() || wanted.getAsInt() == medium;
    }

    // A token that may not even see itself may have nothing to attend to, and softmax has no value then.
    private static void requireSomethingLeft(
            final Intervention.Reweigh reweigh,
            final long labels,
            final int k,
            final EncodedPrompt prompt,
            final ActiveColumns active) {
        boolean blind = (labels >> generatedLabel() & 1) != 0 && active.touchesGenerated(k);
        for (int column = 0; column < prompt.size() && !blind; column++) {
            blind = (labels >> label(prompt, column) & 1) != 0 && (active.at(column) >> k & 1) != 0;
        }
        if (blind) {
            throw new BadInputException(
                    "tokens hidden from themselves",
                    reweigh.name() + ", "
                            + reweigh.span().stream().map(Modality::label).sorted().collect(Collectors.joining(", ")),
                    "leave the span's own tokens out of the queries");
        }
    }

    private static void requireOneChoice(final Branch branch) {
        final List<String> choices = branch.interventions().stream()
                .filter(Intervention.HideAttended.class::isInstance)
                .map(Intervention::name)
                .toList();
        if (choices.size() > 1) {
            throw new BadInputException(
                    "two choices of the keys that one token does not see",
                    String.join(", ", choices) + ", branch " + branch.name(),
                    "leave one out");
        }
    }

    // A turn takes the weights for what the model itself attends to.
    private static void requireAlone(final Branch branch) {
        final List<Intervention> edits = branch.interventions().stream()
                .filter(Intervention::editsAttention)
                .toList();
        if (edits.size() > 1 && edits.stream().anyMatch(Intervention.TurnToSinks.class::isInstance)) {
            throw new BadInputException(
                    "another change of attention beside a turn to sinks",
                    edits.stream().map(Intervention::name).collect(Collectors.joining(", ")) + ", branch "
                            + branch.name(),
                    "leave one out");
        }
    }

    private static void requireLayers(final Intervention intervention, final ModelInfo model) {
        final Set<Integer> layers = intervention.layers();
        if (!layers.isEmpty() && intervention.layers().last() >= model.layers()) {
            throw new BadInputException(
                    "a layer that the model does not have",
                    intervention.name() + ": layer " + intervention.layers().last() + " of 0.." + (model.layers() - 1),
                    "choose layers below " + model.layers());
        }
    }

    private static int[] ints(final SortedSet<Integer> layers) {
        return layers.stream().mapToInt(Integer::intValue).toArray();
    }
}
