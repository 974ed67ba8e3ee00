package dev.equipoise.runtime;

/**
 * Wall time of one generation, from one monotonic clock.
 *
 * @param ttftMillis arrival (before tokenisation) to the first token; of a search, whose tokens are known at its end,
 *     to that
 * @param decodeMillis first token to the last; of a search, its first step to its last
 * @param tokensPerSecond tokens after the first per second of decoding; NaN with fewer than two tokens, between
 *     which no time passes
 */
public record Timings(double ttftMillis, double decodeMillis, double tokensPerSecond) {}
