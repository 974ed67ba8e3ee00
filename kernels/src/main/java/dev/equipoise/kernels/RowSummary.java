package dev.equipoise.kernels;

/**
 * What a softmax needs to know of a row.
 *
 * @param max the largest logit
 * @param logSumExp ln of the sum of exp(logit), in nats; {@code logit - logSumExp} is a log-probability
 */
public record RowSummary(float max, float logSumExp) {
}
