package dev.equipoise.runtime;

import java.util.List;
import java.util.Optional;

/**
 * Proof that an intervention acted.
 *
 * @param intervention what acted, for example {@code contrast:vcd}
 * @param layers blocks whose output it changed, empty for what acts on logits or pixels
 * @param tokens how many tokens it touched
 * @param meanDeltaNorm mean L2 norm of its change per token, over the entries it kept finite
 * @param attention what it saw, if it was there to read attention
 */
public record TraceEntry(
        String intervention,
        List<Integer> layers,
        int tokens,
        double meanDeltaNorm,
        Optional<AttentionMass> attention) {
    public TraceEntry {
        layers = List.copyOf(layers);
    }

    /** Of what did not read attention. */
    public TraceEntry(
            final String intervention, final List<Integer> layers, final int tokens, final double meanDeltaNorm) {
        this(intervention, layers, tokens, meanDeltaNorm, Optional.empty());
    }
}
