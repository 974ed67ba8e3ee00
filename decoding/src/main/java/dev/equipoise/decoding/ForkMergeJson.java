package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.node.ObjectNode;

/** The section {@code forkMerge} of strategy files, from JSON and back. */
final class ForkMergeJson {
    private static final Range WEIGHT = Range.of(0, 1);
    private static final Range LAYER = Range.of(0, 10_000);
    private static final Pattern PERCENT = Pattern.compile("(\\d{1,3}(?:\\.\\d+)?)%");

    private ForkMergeJson() {}

    /** The section {@code forkMerge}. */
    static ForkMerge read(final Section section) {
        final List<String> silence = section.choices("silence", ContrastJson.MODALITIES).orElse(List.of());
        if (silence.size() != 2 || silence.get(0).equals(silence.get(1))) {
            throw new BadInputException(
                    "fork-merge silences two different modalities", section.where("silence"), "name two");
        }
        final ForkMerge.How how = section.choice("by", List.of("zeros", "mask"))
                .map(label -> EditJson.constant(ForkMerge.How.class, label))
                .orElse(ForkMerge.How.ZEROS);
        final Map<Modality, Double> alpha = new EnumMap<>(Modality.class);
        section.section("alpha").ifPresent(weights -> {
            for (final Modality modality : Modality.values()) {
                if (weights.has(modality.label())) {
                    alpha.put(modality, weights.number(modality.label(), WEIGHT, 0));
                }
            }
            weights.end();
        });
        final ForkMerge made = new ForkMerge(
                silence.stream().map(label -> EditJson.constant(Modality.class, label)).toList(),
                how,
                place(section),
                alpha);
        section.end();
        return made;
    }

    private static ForkMerge.Place place(final Section section) {
        final Optional<String> share = section.has("layer") && section.isText("layer")
                ? section.text("layer")
                : Optional.empty();
        if (share.isEmpty()) {
            if (!section.has("layer")) {
                throw new BadInputException(
                        "fork-merge without a layer",
                        section.where("layer"),
                        "name a block, or a share such as \"18%\"");
            }
            return new ForkMerge.Place.Block(section.integer("layer", LAYER, 0));
        }
        final String text = share.get();
        final Matcher percent = PERCENT.matcher(text);
        if (percent.matches() && Double.parseDouble(percent.group(1)) <= 100) {
            return new ForkMerge.Place.Share(Double.parseDouble(percent.group(1)));
        }
        throw new BadInputException("no layer", section.where("layer") + " \"" + text + "\"", "write 5 or \"18%\"");
    }

    static void write(final ForkMerge fork, final ObjectNode node) {
        EditJson.labels(node.putArray("silence"), fork.silence().stream().map(Modality::label).toList());
        node.put("by", fork.how().label());
        switch (fork.place()) {
            case ForkMerge.Place.Block block -> node.put("layer", block.layer());
            case ForkMerge.Place.Share share -> node.put("layer", share.toString());
        }
        final ObjectNode alpha = node.putObject("alpha");
        fork.alpha().forEach((modality, weight) -> alpha.put(modality.label(), weight));
    }
}
