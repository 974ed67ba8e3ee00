package dev.equipoise.runtime;

/**
 * Wall time of one generation, from one monotonic clock.
 *
 * @param ttftMillis arrival (before tokenisation) to the first token
 * @param decodeMillis first token to the last
 * @param tokensPerSecond tokens after the first per second of decoding; 0 with fewer than two tokens
 */
public record Timings(double ttftMillis, double decodeMillis, double tokensPerSecond) {}
