package dev.equipoise.runtime;

/**
 * Wall time of one generation, from one monotonic clock.
 *
 * @param ttftMillis arrival (before tokenisation) to the first token
 * @param decodeMillis first token to the last
 * @param tokensPerSecond tokens after the first per second of decoding; NaN with fewer than two tokens, between
 *     which no time passes
 */
public record Timings(double ttftMillis, double decodeMillis, double tokensPerSecond) {}
