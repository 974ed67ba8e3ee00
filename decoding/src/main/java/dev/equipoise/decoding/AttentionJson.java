package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.steering.Layers;
import dev.equipoise.steering.edit.AttentionEdit;
import java.util.Collection;
import java.util.EnumSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import tools.jackson.databind.node.ObjectNode;

/** The objects of {@code attention} in strategy files, from JSON and back. */
final class AttentionJson {
    private static final Range FACTOR = Range.of(0, 1e4);
    private static final Range TAU = Range.of(1e-3, 1e3);
    private static final Range MEDIUM = Range.of(0, 55);
    private static final Range SCORE_FACTOR = Range.of(-100, 100);
    private static final Range SHARE = Range.of(0, 1);
    private static final Range SINK = Range.of(0, 1e6);
    private static final Range GAMMA = Range.of(0, 1000);
    private static final Range EVERY = Range.of(0, 1000);
    // No model has so many heads, or massive activations: a short text can name far more.
    private static final int MOST_NUMBERS = 1024;
    // "0", "0,3" or "0-3,7": 5 digits always fit an int.
    private static final Pattern HEADS = Pattern.compile("\\d{1,5}(-\\d{1,5})?(,\\d{1,5}(-\\d{1,5})?)*");
    private static final List<String> EDITS = List.of(
            AttentionEdit.Multiply.EDIT,
            AttentionEdit.Mask.EDIT,
            AttentionEdit.Temperature.EDIT,
            AttentionEdit.Pai.EDIT,
            AttentionEdit.Vaf.EDIT,
            AttentionEdit.Var.EDIT,
            AttentionEdit.Reallocate.EDIT,
            AttentionEdit.OutRo.EDIT);
    private static final String GENERATED = "generated";
    private static final List<String> QUERIES =
            List.of(Reach.ALL.label(), Reach.LAST.label(), GENERATED, Reach.AFTER_MEDIA.label());

    private AttentionJson() {}

    static AttentionEdit read(final Section section) {
        final String edit = section.text("edit").orElseThrow(() -> new BadInputException(
                "attention edit without a kind", section.where("edit"), "choose " + String.join(", ", EDITS)));
        section.choice("edit", EDITS);
        final Layers layers = section.list("layers")
                .map(text -> Layers.parse(text, section.where("layers")))
                .orElse(Layers.all());
        final AttentionEdit made = switch (edit) {
            case AttentionEdit.Multiply.EDIT -> new AttentionEdit.Multiply(
                    span(section),
                    medium(section),
                    EditJson.required(section, "factor", FACTOR),
                    layers,
                    heads(section),
                    queries(section));
            case AttentionEdit.Mask.EDIT -> mask(section, layers);
            case AttentionEdit.Temperature.EDIT -> new AttentionEdit.Temperature(
                    EditJson.required(section, "tau", TAU), layers, heads(section), queries(section));
            case AttentionEdit.OutRo.EDIT -> outro(section);
            default -> rows(edit, section, layers);
        };
        section.end();
        return made;
    }

    // Those that need scores or weights; their defaults are the published ones.
    private static AttentionEdit rows(final String edit, final Section section, final Layers layers) {
        return switch (edit) {
            case AttentionEdit.Pai.EDIT -> new AttentionEdit.Pai(
                    span(section),
                    section.number("alpha", SCORE_FACTOR, 0.2),
                    layers,
                    heads(section),
                    queries(section));
            case AttentionEdit.Vaf.EDIT -> new AttentionEdit.Vaf(
                    span(section),
                    section.number("spanFactor", SCORE_FACTOR, 1.15),
                    section.number("systemFactor", SCORE_FACTOR, 0.95),
                    layers,
                    heads(section),
                    queries(section));
            case AttentionEdit.Var.EDIT -> new AttentionEdit.Var(
                    span(section),
                    numbers(section, "sinkDimensions"),
                    section.number("tau", SINK, 20),
                    section.number("rho", SHARE, 0.5),
                    section.number("mass", SHARE, 0.2),
                    section.number("sinkWeight", SHARE, 0.6),
                    layers,
                    heads(section),
                    queries(section));
            default -> new AttentionEdit.Reallocate(
                    modality(section, "from"),
                    modality(section, "to"),
                    EditJson.required(section, "threshold", SHARE),
                    EditJson.required(section, "fraction", SHARE),
                    layers,
                    heads(section),
                    queries(section));
        };
    }

    // The defaults are the code's.
    private static AttentionEdit outro(final Section section) {
        return new AttentionEdit.OutRo(
                section.number("threshold", SINK, 100),
                section.number("medianFactor", SINK, 1000),
                section.number("gamma", GAMMA, 3),
                section.number("temperature", TAU, 0.1),
                section.has("every") ? OptionalInt.of(section.integer("every", EVERY, 1)) : OptionalInt.empty(),
                section.list("layers")
                        .map(text -> Layers.parse(text, section.where("layers")))
                        .orElse(Layers.allButLastTwo()));
    }

    private static Heads heads(final Section section) {
        final String text = section.list("heads").orElse("all");
        return text.equals("all") ? Heads.ALL : new Heads(new TreeSet<>(numbers(text, section.where("heads"))));
    }

    private static List<Integer> numbers(final Section section, final String key) {
        return numbers(
                section.list(key).orElseThrow(() -> new BadInputException(
                        "attention edit without " + key, section.where(key), "write \"1415,2533\" or [1415, 2533]")),
                section.where(key));
    }

    private static List<Integer> numbers(final String text, final String where) {
        if (!HEADS.matcher(text).matches()) {
            throw new BadInputException(
                    "no list of numbers", where + " \"" + text + "\"", "write \"0,3\", \"0-3\" or [0, 3]");
        }
        final Set<Integer> numbers = new LinkedHashSet<>();
        for (final String range : text.split(",")) {
            final String[] ends = range.split("-");
            final int first = Integer.parseInt(ends[0]);
            final int last = Integer.parseInt(ends[ends.length - 1]);
            if (last < first) {
                throw new BadInputException(
                        "numbers out of order", where + " \"" + range + "\"", "the lower one first");
            }
            if (last - first >= MOST_NUMBERS - numbers.size()) {
                throw new BadInputException(
                        "too many numbers", where + " \"" + range + "\"", "keep to " + MOST_NUMBERS);
            }
            for (int number = first; number <= last; number++) {
                numbers.add(number);
            }
        }
        return List.copyOf(numbers);
    }

    private static AttentionEdit.Mask mask(final Section section, final Layers layers) {
        final Modality span = span(section);
        final Set<Modality> from = section.choices("from", ContrastJson.MODALITIES)
                .map(labels -> EditJson.constants(Modality.class, labels))
                .orElseGet(() -> EnumSet.complementOf(EnumSet.of(span)));
        if (from.contains(span)) {
            throw new BadInputException(
                    "a span hidden from itself", section.where("from"), "leave " + span.label() + " out");
        }
        return new AttentionEdit.Mask(span, medium(section), from, layers);
    }

    private static Modality span(final Section section) {
        return modality(section, "span");
    }

    private static Modality modality(final Section section, final String key) {
        return section.choice(key, ContrastJson.MODALITIES)
                .map(label -> EditJson.constant(Modality.class, label))
                .orElseThrow(() -> new BadInputException(
                        "attention edit without " + EditJson.article(key),
                        section.where(key),
                        "choose " + String.join(", ", ContrastJson.MODALITIES)));
    }

    private static OptionalInt medium(final Section section) {
        return section.has("media") ? OptionalInt.of(section.integer("media", MEDIUM, 0)) : OptionalInt.empty();
    }

    private static Scope queries(final Section section) {
        return switch (section.choice("queries", QUERIES).orElse(Reach.ALL.label())) {
            case GENERATED -> Scope.all().during(EnumSet.of(Phase.GENERATED));
            case String reach -> Scope.all().within(EditJson.constant(Reach.class, reach));
        };
    }

    static void write(final AttentionEdit edit, final ObjectNode node) {
        node.put("edit", edit.edit());
        switch (edit) {
            case AttentionEdit.Multiply multiply -> {
                write(node, multiply.span(), multiply.medium());
                node.put("factor", multiply.factor()).put("queries", queries(multiply.queries()));
            }
            case AttentionEdit.Mask mask -> {
                write(node, mask.span(), mask.medium());
                EditJson.labels(node.putArray("from"), mask.from().stream().sorted().map(Modality::label).toList());
            }
            case AttentionEdit.Temperature temperature ->
                node.put("tau", temperature.tau()).put("queries", queries(temperature.queries()));
            case AttentionEdit.Pai pai -> node.put("span", pai.span().label())
                    .put("alpha", pai.alpha())
                    .put("queries", queries(pai.queries()));
            case AttentionEdit.Vaf vaf -> node.put("span", vaf.span().label())
                    .put("spanFactor", vaf.spanFactor())
                    .put("systemFactor", vaf.systemFactor())
                    .put("queries", queries(vaf.queries()));
            case AttentionEdit.Var var -> node.put("span", var.span().label())
                    .put("sinkDimensions", words(var.sinkDimensions()))
                    .put("tau", var.tau())
                    .put("rho", var.rho())
                    .put("mass", var.mass())
                    .put("sinkWeight", var.sinkWeight())
                    .put("queries", queries(var.queries()));
            case AttentionEdit.Reallocate move -> node.put("from", move.from().label())
                    .put("to", move.to().label())
                    .put("threshold", move.threshold())
                    .put("fraction", move.fraction())
                    .put("queries", queries(move.queries()));
            case AttentionEdit.OutRo outro -> {
                node.put("threshold", outro.threshold())
                        .put("medianFactor", outro.medianFactor())
                        .put("gamma", outro.gamma())
                        .put("temperature", outro.temperature());
                outro.every().ifPresent(every -> node.put("every", every));
            }
        }
        if (!edit.heads().isAll()) {
            node.put("heads", words(edit.heads().numbers()));
        }
        node.put("layers", edit.layers().toString());
    }

    private static String words(final Collection<Integer> numbers) {
        return numbers.stream().map(String::valueOf).collect(Collectors.joining(","));
    }

    private static void write(final ObjectNode node, final Modality span, final OptionalInt medium) {
        node.put("span", span.label());
        medium.ifPresent(number -> node.put("media", number));
    }

    private static String queries(final Scope scope) {
        return scope.phases().contains(Phase.PROMPT) ? scope.reach().label() : GENERATED;
    }
}
