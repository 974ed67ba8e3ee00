package dev.equipoise.runtime;

import java.util.List;

/**
 * What the looking interventions of a branch saw of its prompt, each list in their order.
 *
 * @param spans what the prompt's columns are
 * @param attention shares of attention, one for each {@code ReadAttention}
 * @param rows for each {@code ReadAttention}, for each of its layers: weight of the last query that it reads on every
 *     column of the prompt, the mean of the heads
 * @param states for each {@code ReadStates}, for each of its layers: the mean state, {@code [width]}
 */
public record Observation(
        List<Span> spans,
        List<AttentionMass> attention,
        List<List<float[]>> rows,
        List<List<float[]>> states) {
    public Observation {
        spans = List.copyOf(spans);
        attention = List.copyOf(attention);
        rows = rows.stream().map(List::copyOf).toList();
        states = states.stream().map(List::copyOf).toList();
    }
}
