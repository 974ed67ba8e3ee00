package dev.equipoise.decoding;

import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.ModelInfo;
import dev.equipoise.runtime.intervention.LayerVectors;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedSet;

/**
 * What was found before the answer is begun.
 *
 * @param texts what passes wrote, by name
 * @param weights what passes weighed, 0..1, by name; those of one pass sum to 1
 * @param directions what the prompt's states showed, by the modality that makes the difference
 * @param taken columns that choices of tokens take away, perhaps none; no value where that is not known yet
 */
public record Preparation(
        Map<String, String> texts,
        Map<String, Double> weights,
        Map<Modality, LayerVectors> directions,
        Map<TokenChoice, Optional<SortedSet<Integer>>> taken) {
    /** Nothing: enough for a strategy without passes whose vectors are in files. */
    public static final Preparation NONE = new Preparation(Map.of(), Map.of());

    public Preparation {
        texts = Map.copyOf(texts);
        weights = Map.copyOf(weights);
        directions = Map.copyOf(directions);
        taken = Map.copyOf(taken);
    }

    /** Findings of passes alone. */
    public Preparation(final Map<String, String> texts, final Map<String, Double> weights) {
        this(texts, weights, Map.of(), Map.of());
    }

    /** These findings, and the columns that choices of tokens take away. */
    public Preparation taking(final Map<TokenChoice, Optional<SortedSet<Integer>>> columns) {
        return new Preparation(texts, weights, directions, columns);
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
        return new Preparation(texts, weights);
    }

    /** The same where the model is known: directions are axes, one for each modality. */
    public static Preparation unknown(final Strategy strategy, final ModelInfo model) {
        final Map<Modality, LayerVectors> directions = new EnumMap<>(Modality.class);
        for (final Modality modality : strategy.resolved().observed()) {
            final Map<Integer, float[]> axes = new HashMap<>();
            for (int layer = 0; layer < model.layers(); layer++) {
                final float[] axis = new float[model.width()];
                axis[modality.ordinal() % axis.length] = 1;
                axes.put(layer, axis);
            }
            directions.put(modality, new LayerVectors(axes));
        }
        return unknown(strategy).pointing(directions);
    }

    /** These findings with directions. */
    public Preparation pointing(final Map<Modality, LayerVectors> found) {
        return new Preparation(texts, weights, found, taken);
    }

    /** These findings, and stand-ins for those of passes that were left out because nothing uses them. */
    public Preparation completed(final List<Pass> passes) {
        final Preparation all = unknown(passes);
        final Map<String, String> allTexts = new HashMap<>(all.texts());
        final Map<String, Double> allWeights = new HashMap<>(all.weights());
        allTexts.putAll(texts);
        allWeights.putAll(weights);
        return new Preparation(allTexts, allWeights, directions, taken);
    }
}
