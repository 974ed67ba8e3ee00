package dev.equipoise.runtime;

import java.util.List;

/**
 * The row from which the first token would be drawn.
 *
 * @param promptTokens ids of the base branch's prompt, -1 where a medium's embedding stands
 * @param spans its modality spans, in order, covering every token
 * @param logits {@code [n_vocab]}; -infinity where the cut-off acted
 */
public record NextLogits(int[] promptTokens, List<Span> spans, float[] logits) {
    public NextLogits {
        spans = List.copyOf(spans);
    }
}
