package dev.equipoise.kernels;

/**
 * What combining did to a row.
 *
 * @param kept tokens that can still be drawn, at least 1
 * @param deltaSquared squared L2 distance between combined and base row over the kept tokens; both are logits, or both
 *     log-probabilities, as the sum was asked for, and neither is centred
 */
public record Combined(long kept, double deltaSquared) {
}
