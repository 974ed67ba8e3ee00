package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Condition;
import dev.equipoise.runtime.intervention.Condition.Pooling;
import dev.equipoise.runtime.intervention.Condition.Side;
import dev.equipoise.runtime.intervention.Intervention.Place;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.When;
import dev.equipoise.steering.edit.Conditional;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * The objects {@code when} of strategy files, from JSON and back: one condition, or a list of them under {@code any} or
 * {@code all}.
 */
final class WhenJson {
    private static final Range LAYER = Range.of(0, 10_000);
    private static final Range SIMILARITY = Range.of(-1, 1);
    private static final List<String> POOLINGS =
            Arrays.stream(Pooling.values()).map(Pooling::label).toList();

    private static final String EMBEDDING = Place.EMBEDDING.label();
    private static final List<String> PLACES = List.of(Place.LAYER.label(), EMBEDDING);

    private WhenJson() {}

    static Conditional read(final Section section, final Path folder) {
        final List<String> files = new ArrayList<>();
        final List<Condition> conditions = new ArrayList<>();
        When.Rule rule = When.Rule.ALL;
        final boolean any = section.has(label(When.Rule.ANY));
        if (any || section.has(label(When.Rule.ALL))) {
            rule = any ? When.Rule.ANY : When.Rule.ALL;
            for (final Section each : section.sections(label(rule))) {
                conditions.add(condition(each, folder, files));
            }
            if (conditions.isEmpty()) {
                throw new BadInputException(
                        "no condition", section.where(label(rule)), "give one, or leave when out");
            }
            section.end();
        } else {
            conditions.add(condition(section, folder, files));
        }
        return new Conditional(new When(rule, conditions), files);
    }

    private static Condition condition(final Section section, final Path folder, final List<String> files) {
        final String file = SteerJson.file(section, "vector", folder);
        final LayerVectors vectors = SteerJson.vectors(file);
        if (!section.has("layer") && vectors.layers().size() > 1) {
            throw new BadInputException(
                    "a condition without a layer",
                    section.where("layer"),
                    "name the block whose output it is about, or give a file that has one");
        }
        final int layer = section.integer("layer", LAYER, vectors.layers().first());
        if (!vectors.layers().contains(layer)) {
            throw new BadInputException(
                    "no direction for layer " + layer,
                    section.where("layer"),
                    "choose one that the file has: " + vectors.layers());
        }
        final boolean above = section.has(Side.ABOVE.label());
        if (above == section.has(Side.BELOW.label())) {
            throw new BadInputException(
                    "a condition needs one threshold",
                    section.where(Side.ABOVE.label()),
                    "give the similarity above or below which it holds");
        }
        final Side side = above ? Side.ABOVE : Side.BELOW;
        final boolean enters = section.choice("at", PLACES).filter(EMBEDDING::equals).isPresent();
        final Condition condition = new Condition(
                Path.of(file).getFileName().toString().replaceFirst("\\.gguf$", ""),
                enters ? Place.EMBEDDING : Place.LAYER,
                vectors.only(Set.of(layer)),
                section.choice("pooling", POOLINGS)
                        .map(label -> EditJson.constant(Pooling.class, label))
                        .orElse(Pooling.MEAN),
                side,
                section.number(side.label(), SIMILARITY, 0));
        section.end();
        files.add(file);
        return condition;
    }

    static void write(final Conditional conditional, final ObjectNode node) {
        final List<Condition> conditions = conditional.when().conditions();
        final ArrayNode array = node.putArray(label(conditional.when().rule()));
        for (int i = 0; i < conditions.size(); i++) {
            final Condition condition = conditions.get(i);
            final ObjectNode one = array.addObject().put("vector", conditional.files().get(i));
            if (condition.place() != Place.LAYER) {
                one.put("at", condition.place().label());
            }
            one.put("layer", condition.layer())
                    .put("pooling", condition.pooling().label())
                    .put(condition.side().label(), condition.threshold());
        }
    }

    private static String label(final When.Rule rule) {
        return rule.name().toLowerCase(Locale.ROOT);
    }
}
