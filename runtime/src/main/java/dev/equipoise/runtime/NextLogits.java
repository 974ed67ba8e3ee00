package dev.equipoise.runtime;

import java.util.List;

/**
 * The row from which the first token would be drawn.
 *
 * @param promptTokens ids of the base branch's prompt, -1 where a medium's embedding stands
 * @param spans its modality spans, in order, covering every token
 * @param logits {@code [n_vocab]}; -infinity where the cut-off acted
 * @param trace what acted on the request's prompts and on the row, as the trace of an {@link Answer}
 */
public record NextLogits(int[] promptTokens, List<Span> spans, float[] logits, List<TraceEntry> trace) {
    public NextLogits {
        spans = List.copyOf(spans);
        trace = List.copyOf(trace);
    }
}
