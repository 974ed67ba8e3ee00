package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.LayerVectors;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SortedSet;

/** Turns a branch's interventions into what the native side takes, and refuses what it could not do. */
final class InterventionLowering {
    // eq_intervention_kind; steering operations have their ordinals.
    private static final int ATTENTION_BIAS = 16;
    private static final int QUERY_SCALE = 17;
    private static final int SILENCE = 18;
    // Labels of keys: a modality's ordinal for words, then one for each picture and sound, the last for those beyond.
    private static final int FIRST_MEDIUM = 8;
    private static final int OTHER_MEDIA = 63;
    private static final int MEDIA = OTHER_MEDIA - FIRST_MEDIUM;

    private InterventionLowering() {}

    /** What a prompt column is to attention edits, as a key. */
    static int label(final EncodedPrompt prompt, final int column) {
        return prompt.medium(column) < 0
                ? prompt.modality(column).ordinal()
                : label(prompt.medium(column));
    }

    /** What a generated token is. */
    static int generatedLabel() {
        return Modality.TEXT.ordinal();
    }

    private static int label(final int medium) {
        return Math.min(FIRST_MEDIUM + medium, OTHER_MEDIA);
    }

    /**
     * The edits of a branch, in its order.
     *
     * @throws BadInputException for a layer or width that the model does not have, or a span that the prompt lacks
     */
    static List<ContextHandle.Edit> edits(
            final Branch branch, final EncodedPrompt prompt, final ActiveColumns active, final ModelInfo model) {
        final List<ContextHandle.Edit> edits = new ArrayList<>();
        for (int k = 0; k < branch.interventions().size(); k++) {
            final Intervention intervention = branch.interventions().get(k);
            requireLayers(intervention, model);
            edits.add(
                    switch (intervention) {
                        case Intervention.Steer steer -> steering(steer, model);
                        case Intervention.Reweigh reweigh -> bias(reweigh, k, prompt, active);
                        case Intervention.Soften soften -> new ContextHandle.Edit(
                                QUERY_SCALE, ints(soften.layers()), new float[0], 0, (float) (1 / soften.tau()));
                        case Intervention.Silence silence -> new ContextHandle.Edit(
                                SILENCE, new int[0], new float[0], 0, 0);
                    });
        }
        return edits;
    }

    private static ContextHandle.Edit steering(final Intervention.Steer steer, final ModelInfo model) {
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
        return new ContextHandle.Edit(
                steer.operation().ordinal(), ints(vectors.layers()), flat, 0, (float) steer.amount());
    }

    private static ContextHandle.Edit bias(
            final Intervention.Reweigh reweigh, final int k, final EncodedPrompt prompt, final ActiveColumns active) {
        long labels = 0;
        for (int column = 0; column < prompt.size(); column++) {
            if (reweigh.span().contains(prompt.modality(column)) && isOf(reweigh.medium(), prompt.medium(column))) {
                if (prompt.medium(column) >= MEDIA) {
                    throw new BadInputException(
                            "more pictures and sounds than attention edits can tell apart",
                            reweigh.name(),
                            "use at most " + MEDIA);
                }
                labels |= 1L << label(prompt, column);
            }
        }
        if (labels == 0) {
            throw new BadInputException(
                    "attention to what the prompt does not have",
                    reweigh.name() + ": " + reweigh.span(),
                    "add it to the prompt, or name another span");
        }
        if (reweigh.factor() == 0) {
            requireSomethingLeft(reweigh, labels, k, prompt, active);
        }
        // ln 0 is -infinity, which hides.
        return new ContextHandle.Edit(
                ATTENTION_BIAS, ints(reweigh.layers()), new float[0], labels, (float) Math.log(reweigh.factor()));
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
                    reweigh.name() + ": " + reweigh.span(),
                    "leave the span's own tokens out of the queries");
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
