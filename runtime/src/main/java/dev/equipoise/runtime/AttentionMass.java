package dev.equipoise.runtime;

import java.util.Collection;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * How attention was shared out: mean over the queries that were read, after every edit but turns to sinks.
 *
 * @param layers the blocks, ascending
 * @param shares {@code [layers][heads]}: weight on the prompt's tokens of each modality; with the weight on generated
 *     tokens they sum to 1
 * @param generated {@code [layers][heads]}: weight on generated tokens
 * @param tokens how many tokens of each modality the prompt has
 * @param queries how many queries were read
 */
public record AttentionMass(
        List<Integer> layers,
        List<List<Map<Modality, Double>>> shares,
        List<List<Double>> generated,
        Map<Modality, Integer> tokens,
        long queries) {
    private static final Set<Modality> NOT_TEXT = EnumSet.of(Modality.IMAGE, Modality.AUDIO);

    public AttentionMass {
        layers = List.copyOf(layers);
        shares = shares.stream().map(List::copyOf).toList();
        generated = generated.stream().map(List::copyOf).toList();
        tokens = Map.copyOf(tokens);
    }

    /** Weight on a modality at one of the layers by number in {@link #layers}, the mean of the heads. */
    public double share(final int index, final Modality modality) {
        return shares.get(index).stream()
                .mapToDouble(head -> head.getOrDefault(modality, 0.0))
                .average()
                .orElse(0);
    }

    /**
     * Modality dominance index (arXiv 2508.10552): weight per token on the words of the input over weight per token on
     * pictures and sounds, heads averaged, then the given layers. Above 1 words dominate; not a number where the prompt
     * lacks one of the two.
     *
     * @param of numbers of blocks that were read
     */
    public double mdi(final Collection<Integer> of) {
        return of.stream()
                .mapToDouble(layer -> density(layer, true) / density(layer, false))
                .average()
                .orElse(Double.NaN);
    }

    /**
     * Attention efficiency index (arXiv 2508.10552) of the words of the input, or of pictures and sounds: their share
     * of the weight on the input over their share of its tokens, heads averaged, then the given layers.
     *
     * @param words whose
     * @param of numbers of blocks that were read
     */
    public double aei(final boolean words, final Collection<Integer> of) {
        final double mine = count(words);
        final double all = mine + count(!words);
        return of.stream()
                .mapToDouble(layer -> weight(layer, words)
                        / (weight(layer, true) + weight(layer, false))
                        / (mine / all))
                .average()
                .orElse(Double.NaN);
    }

    /** The first two, the middle two and the last two of a model's blocks, which the two indices are given for. */
    public static List<List<Integer>> layerGroups(final int depth) {
        final int middle = Math.max(0, depth / 2 - 1);
        return List.of(
                List.of(0, Math.min(1, depth - 1)),
                List.of(middle, Math.min(middle + 1, depth - 1)),
                List.of(Math.max(0, depth - 2), depth - 1));
    }

    private double density(final int layer, final boolean words) {
        return weight(layer, words) / count(words);
    }

    private double weight(final int layer, final boolean words) {
        final int index = layers.indexOf(layer);
        if (index < 0) {
            throw new IllegalArgumentException("layer " + layer + " was not read: " + layers);
        }
        double sum = 0;
        for (final Modality modality : Modality.values()) {
            sum += NOT_TEXT.contains(modality) == words ? 0 : share(index, modality);
        }
        return sum;
    }

    private double count(final boolean words) {
        return tokens.entrySet().stream()
                .filter(entry -> NOT_TEXT.contains(entry.getKey()) != words)
                .mapToInt(Map.Entry::getValue)
                .sum();
    }
}
