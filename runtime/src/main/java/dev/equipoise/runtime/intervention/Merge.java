package dev.equipoise.runtime.intervention;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import java.util.EnumMap;
import java.util.Map;

/**
 * Joins the first two branches of a request at the output of a block: a token's column of the first becomes
 * {@code w h_0 + (1 - w) h_1}, and the second ends there (fork-merge, arXiv 2505.20873). What acts on the second does
 * so up to that block.
 *
 * @param layer block after whose output the branches are joined, below the last
 * @param weights w by the token's modality, 0..1; 0.5 for what is not named
 */
public record Merge(int layer, Map<Modality, Double> weights) {
    /** Weight of a token whose modality has none. */
    public static final double EVEN = 0.5;

    public Merge {
        weights = Map.copyOf(weights);
        weights.forEach((modality, weight) -> {
            if (!(weight >= 0 && weight <= 1)) {
                throw new BadInputException(
                        "merge weight out of range", modality.label() + " " + weight, "choose 0..1");
            }
        });
        if (layer < 0) {
            throw new BadInputException("a negative merge layer", String.valueOf(layer), "count layers from 0");
        }
    }

    /** The weight of the first branch for tokens of a modality. */
    public double weight(final Modality modality) {
        return weights.getOrDefault(modality, EVEN);
    }

    /** All weights, spelled out. */
    public Map<Modality, Double> allWeights() {
        final Map<Modality, Double> all = new EnumMap<>(Modality.class);
        for (final Modality modality : Modality.values()) {
            all.put(modality, weight(modality));
        }
        return all;
    }
}
