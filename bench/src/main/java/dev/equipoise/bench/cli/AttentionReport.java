package dev.equipoise.bench.cli;

import dev.equipoise.runtime.AttentionMass;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.IntStream;

/**
 * Where the tokens look at which an answer's tokens are chosen: weight by modality and layer, and the indices of text
 * dominance (arXiv 2508.10552). The indices depend on how they are taken, and so the recipe stands beside them.
 *
 * @param mass what was seen
 * @param depth the model's number of blocks
 */
record AttentionReport(AttentionMass mass, int depth) {
    /** The recipe of the numbers. */
    static final String RECIPE = "queries: those that the answer's tokens were chosen at, of the first branch: the"
            + " prompt's last token, then each generated one but the last; after every edit but outro; heads averaged;"
            + " words: all tokens of the prompt but those of pictures and sounds, the template's too; weight on"
            + " generated tokens left out of the indices; groups: the first, middle and last two blocks, the mean of"
            + " their indices";

    private static final List<String> GROUPS = List.of("early", "middle", "late");

    /** What reads it, at the layers of the groups. */
    static Intervention.ReadAttention reader(final int depth) {
        final SortedSet<Integer> layers = new TreeSet<>();
        AttentionMass.layerGroups(depth).forEach(layers::addAll);
        return new Intervention.ReadAttention(
                "read:attention", layers, Scope.all().within(Reach.LAST));
    }

    /** Writes it as the object {@code attention}. */
    void write(final JsonDocument json) {
        json.object("attention", attention -> attention.put("recipe", RECIPE)
                .put("queries", mass.queries())
                .object("tokens", tokens -> new TreeSet<>(mass.tokens().keySet()).forEach(modality ->
                        tokens.put(modality.label(), (long) mass.tokens().get(modality))))
                .objects(
                        "layers",
                        IntStream.range(0, mass.layers().size()).boxed().toList(),
                        this::writeLayer)
                .objects("groups", IntStream.range(0, GROUPS.size()).boxed().toList(), this::writeGroup));
    }

    private void writeLayer(final JsonDocument layer, final int index) {
        layer.put("layer", (long) mass.layers().get(index))
                .object("mass", shares -> new TreeSet<>(mass.tokens().keySet()).forEach(modality ->
                        shares.put(modality.label(), mass.share(index, modality))))
                .put("generated", generated(index));
    }

    private void writeGroup(final JsonDocument group, final int number) {
        final List<Integer> layers = layers(number);
        group.put("name", GROUPS.get(number))
                .put("layers", layers)
                .put("mdi", index(mass.mdi(layers)))
                .put("aei_words", index(mass.aei(true, layers)))
                .put("aei_media", index(mass.aei(false, layers)));
    }

    // Without a query there was nothing to see.
    private double index(final double value) {
        return mass.queries() == 0 ? Double.NaN : value;
    }

    private double generated(final int index) {
        return mass.generated().get(index).stream().mapToDouble(Double::doubleValue).average().orElse(0);
    }

    private List<Integer> layers(final int number) {
        return List.copyOf(new TreeSet<>(AttentionMass.layerGroups(depth).get(number)));
    }

    /** Writes it for people. */
    void print(final PrintWriter out) {
        out.printf(Locale.ROOT, "attention, %d queries; %s%n", mass.queries(), RECIPE);
        for (int index = 0; index < mass.layers().size(); index++) {
            final StringBuilder line = new StringBuilder();
            for (final Modality modality : new TreeSet<>(mass.tokens().keySet())) {
                line.append(String.format(
                        Locale.ROOT, "  %s %.1f %%", modality.label(), 100 * mass.share(index, modality)));
            }
            out.printf(
                    Locale.ROOT,
                    "attention, layer %d:%s  generated %.1f %%%n",
                    mass.layers().get(index),
                    line,
                    100 * generated(index));
        }
        for (int number = 0; number < GROUPS.size(); number++) {
            final List<Integer> layers = layers(number);
            out.printf(
                    Locale.ROOT,
                    "%s layers %s: MDI %.3g, AEI of words %.3g, of pictures and sounds %.3g%n",
                    GROUPS.get(number),
                    layers,
                    index(mass.mdi(layers)),
                    index(mass.aei(true, layers)),
                    index(mass.aei(false, layers)));
        }
    }
}
