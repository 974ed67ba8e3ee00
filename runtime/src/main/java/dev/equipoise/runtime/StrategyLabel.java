package dev.equipoise.runtime;

import java.util.Objects;

/**
 * Whose plan a request carries out; travels with the answer.
 *
 * @param name the strategy's name
 * @param fingerprint digest of the resolved strategy; equal for equal behaviour
 */
public record StrategyLabel(String name, String fingerprint) {
    /** Plain decoding. */
    public static final StrategyLabel PLAIN = new StrategyLabel("plain", "plain");

    public StrategyLabel {
        Objects.requireNonNull(name);
        Objects.requireNonNull(fingerprint);
    }
}
