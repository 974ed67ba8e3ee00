package dev.equipoise.runtime;

import dev.equipoise.runtime.ffm.SamplerHandle;
import java.util.Collection;
import java.util.HashSet;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/** llama.cpp's sampler chains, as requests ask for them. */
final class Samplers {
    private Samplers() {}

    /** The chain of a request; the caller closes it. */
    static SamplerHandle open(final Model model, final Sampling sampling) {
        final SortedMap<Integer, Float> biased = shifts(model, sampling);
        return SamplerHandle.open(
                model.handle(),
                sampling.temperature(),
                sampling.topK(),
                sampling.topP(),
                sampling.minP(),
                sampling.repeatPenalty(),
                sampling.repeatWindow(),
                sampling.frequencyPenalty(),
                sampling.presencePenalty(),
                (int) sampling.seed(),
                sampling.grammar().orElse(null),
                biased.keySet().stream().mapToInt(token -> token).toArray(),
                floats(biased.values()));
    }

    /** Shifts of logits by token. One at which words of different shifts begin tells nothing of them: it has none. */
    static SortedMap<Integer, Float> shifts(final Model model, final Sampling sampling) {
        final SortedMap<Integer, Float> biased = new TreeMap<>();
        final Set<Integer> torn = new HashSet<>();
        sampling.bias().forEach((word, shift) -> {
            final int[] ids = model.tokenize(word, false);
            final Float other = ids.length == 0 ? null : biased.put(ids[0], shift.floatValue());
            if (other != null && other != shift.floatValue()) {
                torn.add(ids[0]);
            }
        });
        biased.keySet().removeAll(torn);
        return biased;
    }

    private static float[] floats(final Collection<Float> values) {
        final float[] floats = new float[values.size()];
        int at = 0;
        for (final float value : values) {
            floats[at++] = value;
        }
        return floats;
    }
}
