package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Intervention.Divergence;
import dev.equipoise.steering.Exits;
import dev.equipoise.steering.edit.AttentionEdit;
import dev.equipoise.steering.edit.Edit;
import dev.equipoise.steering.edit.ExitEdit;
import dev.equipoise.steering.edit.PromptSteeringEdit;
import dev.equipoise.steering.edit.SteeringEdit;
import dev.equipoise.steering.edit.VisionEdit;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Collectors;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** What acts inside the network, in strategy files: which section says it. Exits are read and written here. */
final class EditJson {
    private static final Range SHARE = Range.of(0, 1);

    private EditJson() {}

    /** The edits of a strategy file: {@code steer}, then {@code attention}, then {@code exits}, each in its order. */
    static List<Edit> read(final Section root, final Path folder) {
        final List<Edit> edits = new ArrayList<>();
        root.sections("steer").forEach(section -> edits.add(SteerJson.read(section, folder)));
        root.sections("attention").forEach(section -> edits.add(AttentionJson.read(section)));
        root.sections("exits").forEach(section -> edits.add(exits(section)));
        return edits;
    }

    private static ExitEdit exits(final Section section) {
        final String method = section.choice("method", List.of(ExitEdit.Average.METHOD, ExitEdit.Contrast.METHOD))
                .orElseThrow(() -> new BadInputException(
                        "early exits without a method", section.where("method"), "choose average or contrast"));
        final Exits layers = Exits.parse(
                section.list("layers").orElseThrow(() -> new BadInputException(
                        "early exits without layers",
                        section.where("layers"),
                        "name blocks below the last, embedding, low or high")),
                section.where("layers"));
        final boolean normed = section.flag("normed");
        final ExitEdit made = method.equals(ExitEdit.Average.METHOD)
                ? new ExitEdit.Average(layers, required("early exits", section, "weight", SHARE), normed)
                : new ExitEdit.Contrast(
                        layers, section.number("relativeTop", SHARE, 0.1), normed, divergence(section));
        section.end();
        return made;
    }

    private static Divergence divergence(final Section section) {
        return section.choice(
                        "divergence",
                        Arrays.stream(Divergence.values()).map(Divergence::label).toList())
                .map(label -> constant(Divergence.class, label))
                .orElse(Divergence.JENSEN_SHANNON);
    }

    static void write(final Strategy strategy, final ObjectNode root) {
        write(strategy.edits(), root);
        strategy.forkMerge().ifPresent(fork -> ForkMergeJson.write(fork, root.putObject("forkMerge")));
    }

    static void write(final List<Edit> edits, final ObjectNode root) {
        final List<Edit> steering = edits.stream()
                .filter(edit -> edit instanceof SteeringEdit
                        || edit instanceof PromptSteeringEdit
                        || edit instanceof VisionEdit)
                .toList();
        if (!steering.isEmpty()) {
            final ArrayNode array = root.putArray("steer");
            steering.forEach(edit -> {
                switch (edit) {
                    case SteeringEdit steer -> SteerJson.write(steer, array.addObject());
                    case PromptSteeringEdit steer -> SteerJson.write(steer, array.addObject());
                    case VisionEdit steer -> SteerJson.write(steer, array.addObject());
                    default -> throw new IllegalArgumentException(edit.name());
                }
            });
        }
        final List<AttentionEdit> attention = edits.stream()
                .filter(AttentionEdit.class::isInstance)
                .map(AttentionEdit.class::cast)
                .toList();
        if (!attention.isEmpty()) {
            final ArrayNode array = root.putArray("attention");
            attention.forEach(edit -> AttentionJson.write(edit, array.addObject()));
        }
        final List<ExitEdit> exits = edits.stream()
                .filter(ExitEdit.class::isInstance)
                .map(ExitEdit.class::cast)
                .toList();
        if (!exits.isEmpty()) {
            final ArrayNode array = root.putArray("exits");
            exits.forEach(edit -> write(edit, array.addObject()));
        }
    }

    private static void write(final ExitEdit edit, final ObjectNode node) {
        node.put("method", edit.method()).put("layers", edit.layers().toString());
        switch (edit) {
            case ExitEdit.Average average -> node.put("weight", average.weight()).put("normed", average.normed());
            case ExitEdit.Contrast contrast ->
                node.put("relativeTop", contrast.relativeTop())
                        .put("normed", contrast.normed())
                        .put("divergence", contrast.divergence().label());
        }
    }

    static double required(final Section section, final String key, final Range range) {
        return required("attention edit", section, key, range);
    }

    private static double required(final String kind, final Section section, final String key, final Range range) {
        if (!section.has(key)) {
            throw new BadInputException(kind + " without " + article(key), section.where(key), range.remedy());
        }
        return section.number(key, range, 1);
    }

    /** A key with its article. */
    static String article(final String key) {
        return ("aeiou".indexOf(key.charAt(0)) < 0 ? "a " : "an ") + key;
    }

    /** The constant that files call {@code label}. */
    static <E extends Enum<E>> E constant(final Class<E> type, final String label) {
        return Enum.valueOf(type, label.toUpperCase(Locale.ROOT).replace('-', '_'));
    }

    static <E extends Enum<E>> Set<E> constants(final Class<E> type, final List<String> labels) {
        return labels.stream().map(label -> constant(type, label)).collect(Collectors.toCollection(
                () -> EnumSet.noneOf(type)));
    }

    static void labels(final ArrayNode array, final List<String> labels) {
        labels.forEach(array::add);
    }
}
