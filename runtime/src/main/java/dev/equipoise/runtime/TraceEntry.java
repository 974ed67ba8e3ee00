package dev.equipoise.runtime;

import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * Proof that an intervention acted.
 *
 * @param intervention what acted, for example {@code contrast:vcd}
 * @param layers blocks whose output it changed, empty for what acts on logits or pixels
 * @param tokens how many tokens it touched, those included whose cells its branch shares with another
 * @param meanDeltaNorm mean L2 norm of its change per token, over the entries it kept finite and the tokens that were
 *     computed for its branch; where there is none, those of the branch whose cells it shares; of a compression, mean
 *     L2 norm of a row that was left out
 * @param attention what it saw, if it was there to read attention
 * @param outcome how it came out, if it is a condition; its tokens are those whose states it was read from
 */
public record TraceEntry(
        String intervention,
        List<Integer> layers,
        int tokens,
        double meanDeltaNorm,
        Optional<AttentionMass> attention,
        Optional<Outcome> outcome) {
    /**
     * How a condition came out.
     *
     * @param similarity of the prompt's states with the condition's direction, -1..1
     * @param fired whether it held
     */
    public record Outcome(double similarity, boolean fired) {}

    public TraceEntry {
        layers = List.copyOf(layers);
        Objects.requireNonNull(attention);
        Objects.requireNonNull(outcome);
    }

    /** Of what changed something, or read attention. */
    public TraceEntry(
            final String intervention,
            final List<Integer> layers,
            final int tokens,
            final double meanDeltaNorm,
            final Optional<AttentionMass> attention) {
        this(intervention, layers, tokens, meanDeltaNorm, attention, Optional.empty());
    }

    /** Of a condition. */
    static TraceEntry of(final String condition, final int layer, final int tokens, final Outcome outcome) {
        return new TraceEntry(condition, List.of(layer), tokens, 0, Optional.empty(), Optional.of(outcome));
    }

    /** Of what did not read attention. */
    public TraceEntry(
            final String intervention, final List<Integer> layers, final int tokens, final double meanDeltaNorm) {
        this(intervention, layers, tokens, meanDeltaNorm, Optional.empty());
    }
}
