package dev.equipoise.runtime;

import java.util.List;

/**
 * Proof that an intervention acted.
 *
 * @param intervention what acted, for example {@code contrast:vcd}
 * @param layers blocks whose output it changed, empty for what acts on logits or pixels
 * @param tokens how many tokens it touched
 * @param meanDeltaNorm mean L2 norm of its change per token, over the entries it kept finite
 */
public record TraceEntry(String intervention, List<Integer> layers, int tokens, double meanDeltaNorm) {
    public TraceEntry {
        layers = List.copyOf(layers);
    }
}
