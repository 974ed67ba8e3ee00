package dev.equipoise.decoding;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedSet;

/**
 * What a strategy's passes found.
 *
 * @param texts what was written, by name
 * @param weights what was weighed, 0..1, by name; those of one pass sum to 1
 * @param taken columns that choices of tokens take away, perhaps none; no value where that is not known yet
 */
public record Preparation(
        Map<String, String> texts,
        Map<String, Double> weights,
        Map<TokenChoice, Optional<SortedSet<Integer>>> taken) {
    /** Nothing: enough for a strategy without passes. */
    public static final Preparation NONE = new Preparation(Map.of(), Map.of(), Map.of());

    public Preparation {
        texts = Map.copyOf(texts);
        weights = Map.copyOf(weights);
        taken = Map.copyOf(taken);
    }

    /** These findings, and the columns that choices of tokens take away. */
    public Preparation taking(final Map<TokenChoice, Optional<SortedSet<Integer>>> columns) {
        return new Preparation(texts, weights, columns);
    }

    /**
     * What stands in for findings while nothing is decoded: texts are their names, weights are equal, no choice of
     * tokens is made.
     */
    public static Preparation unknown(final Strategy strategy) {
        final Map<TokenChoice, Optional<SortedSet<Integer>>> open = new HashMap<>();
        strategy.resolved().choices().forEach(choice -> open.put(choice, Optional.empty()));
        return unknown(strategy.passes()).taking(open);
    }

    private static Preparation unknown(final List<Pass> passes) {
        final Map<String, String> texts = new HashMap<>();
        final Map<String, Double> weights = new HashMap<>();
        for (final Pass pass : passes) {
            switch (pass) {
                case Pass.Generate generate -> texts.put(generate.name(), "{" + generate.name() + "}");
                case Pass.Assess assess ->
                    assess.names().forEach(name -> weights.put(name, 1.0 / assess.words().size()));
            }
        }
        return new Preparation(texts, weights, Map.of());
    }

    /** These findings, and stand-ins for those of passes that were left out because nothing uses them. */
    public Preparation completed(final List<Pass> passes) {
        final Preparation all = unknown(passes);
        final Map<String, String> allTexts = new HashMap<>(all.texts());
        final Map<String, Double> allWeights = new HashMap<>(all.weights());
        allTexts.putAll(texts);
        allWeights.putAll(weights);
        return new Preparation(allTexts, allWeights, taken);
    }
}
