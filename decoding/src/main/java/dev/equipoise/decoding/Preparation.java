package dev.equipoise.decoding;

import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What a strategy's passes found.
 *
 * @param texts what was written, by name
 * @param weights what was weighed, 0..1, by name; those of one pass sum to 1
 */
public record Preparation(Map<String, String> texts, Map<String, Double> weights) {
    /** Nothing: enough for a strategy without passes. */
    public static final Preparation NONE = new Preparation(Map.of(), Map.of());

    public Preparation {
        texts = Map.copyOf(texts);
        weights = Map.copyOf(weights);
    }

    /** What stands in for findings while nothing is decoded: texts are their names, weights are equal. */
    public static Preparation unknown(final List<Pass> passes) {
        final Map<String, String> texts = new HashMap<>();
        final Map<String, Double> weights = new HashMap<>();
        for (final Pass pass : passes) {
            switch (pass) {
                case Pass.Generate generate -> texts.put(generate.name(), "{" + generate.name() + "}");
                case Pass.Assess assess ->
                    assess.names().forEach(name -> weights.put(name, 1.0 / assess.words().size()));
            }
        }
        return new Preparation(texts, weights);
    }

    /** These findings, and stand-ins for those of passes that were left out because nothing uses them. */
    public Preparation completed(final List<Pass> passes) {
        final Preparation all = unknown(passes);
        final Map<String, String> allTexts = new HashMap<>(all.texts());
        final Map<String, Double> allWeights = new HashMap<>(all.weights());
        allTexts.putAll(texts);
        allWeights.putAll(weights);
        return new Preparation(allTexts, allWeights);
    }
}
