package dev.equipoise.decoding.procedure;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.TraceEntry;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.serving.Steps;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.IntStream;

/** What a modality changes in the states of a prompt: the visual steering vectors of VISTA (arXiv 2502.03628). */
final class PromptDirections {
    private PromptDirections() {}

    /** What was found, and how. */
    record Found(LayerVectors directions, TraceEntry trace) {}

    /**
     * The state of the last prompt token behind every block, less that of the same prompt without a modality; nothing
     * else acts. Two prompts are read and forgotten.
     *
     * @throws BadInputException if nothing is left without the modality, or it changes nothing
     */
    static Found of(final Steps steps, final Prompt prompt, final Modality modality) {
        final SortedSet<Integer> layers = new TreeSet<>(
                IntStream.range(0, steps.model().info().layers()).boxed().toList());
        final List<float[]> with = states(steps, prompt, layers);
        final List<float[]> without = states(steps, prompt.without(modality), layers);
        final Map<Integer, float[]> differences = new HashMap<>();
        double norms = 0;
        for (final int layer : layers) {
            final float[] difference = with.get(layer).clone();
            double squares = 0;
            for (int i = 0; i < difference.length; i++) {
                difference[i] -= without.get(layer)[i];
                squares += (double) difference[i] * difference[i];
            }
            if (squares == 0) {
                throw new BadInputException(
                        "no direction to steer along: the answer's state is the same without " + modality.label(),
                        "block " + layer,
                        "give another one, or choose a strategy that needs none");
            }
            norms += Math.sqrt(squares);
            differences.put(layer, difference);
        }
        return new Found(
                new LayerVectors(differences),
                new TraceEntry(
                        "observe:without-" + modality.label(),
                        List.copyOf(layers),
                        2,
                        norms / layers.size()));
    }

    private static List<float[]> states(final Steps steps, final Prompt prompt, final SortedSet<Integer> layers) {
        final Intervention.ReadStates last = new Intervention.ReadStates(
                "states", Intervention.Place.LAYER, layers, Scope.all().within(Reach.LAST));
        return steps.observe(new Branch("observation", prompt, List.of(last))).states().getFirst();
    }
}
