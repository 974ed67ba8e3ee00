package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Place;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.steering.Layers;
import dev.equipoise.steering.edit.AttentionEdit;
import dev.equipoise.steering.edit.Edit;
import dev.equipoise.steering.edit.ExitEdit;
import dev.equipoise.steering.edit.SteeringEdit;
import dev.equipoise.steering.vector.ControlVectorFile;
import dev.equipoise.steering.vector.RandomDirections;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** The sections {@code steer}, {@code attention} and {@code forkMerge} of strategy files, from JSON and back. */
final class EditJson {
    /** Begins the name of a random vector: {@code random:SEED:FILE}, as long in each layer as that of the file. */
    static final String RANDOM = "random:";

    // 18 digits fit into 64 bits.
    private static final Pattern RANDOM_NAME = Pattern.compile(RANDOM + "(-?[0-9]{1,18}):(.+)", Pattern.DOTALL);
    private static final Range AMOUNT = Range.of(-1e6, 1e6);
    private static final Range FACTOR = Range.of(0, 1e4);
    private static final Range TAU = Range.of(1e-3, 1e3);
    private static final Range MEDIUM = Range.of(0, 55);
    private static final Range WEIGHT = Range.of(0, 1);
    private static final Range LAYER = Range.of(0, 10_000);
    private static final List<String> MODALITIES =
            Arrays.stream(Modality.values()).map(Modality::label).toList();
    private static final List<String> PHASES =
            Arrays.stream(Phase.values()).map(Phase::label).toList();
    private static final List<String> OPERATIONS =
            Arrays.stream(Operation.values()).map(EditJson::label).toList();
    private static final List<String> PLACES =
            Arrays.stream(Place.values()).map(Place::label).toList();
    private static final List<String> EDITS = List.of(
            AttentionEdit.Multiply.EDIT,
            AttentionEdit.Mask.EDIT,
            AttentionEdit.Temperature.EDIT,
            AttentionEdit.Pai.EDIT,
            AttentionEdit.Vaf.EDIT,
            AttentionEdit.Var.EDIT,
            AttentionEdit.Reallocate.EDIT);
    private static final Range SCORE_FACTOR = Range.of(-100, 100);
    private static final Range SHARE = Range.of(0, 1);
    private static final Range SINK = Range.of(0, 1e6);
    // "0", "0,3" or "0-3,7": 5 digits always fit an int.
    private static final Pattern HEADS = Pattern.compile("\\d{1,5}(-\\d{1,5})?(,\\d{1,5}(-\\d{1,5})?)*");
    private static final String GENERATED = "generated";
    private static final List<String> QUERIES =
            List.of(Reach.ALL.label(), Reach.LAST.label(), GENERATED, Reach.AFTER_MEDIA.label());
    // A rotation is written in degrees, as the paper draws it.
    private static final Range DEGREES = Range.of(-360, 360);

    private EditJson() {}

    private static String label(final Operation operation) {
        return operation.name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    private static <E extends Enum<E>> E constant(final Class<E> type, final String label) {
        return Enum.valueOf(type, label.toUpperCase(Locale.ROOT).replace('-', '_'));
    }

    /** The edits of a strategy file: {@code steer}, then {@code attention}, then {@code exits}, each in its order. */
    static List<Edit> read(final Section root, final Path folder) {
        final List<Edit> edits = new ArrayList<>();
        root.sections("steer").forEach(section -> edits.add(steering(section, folder)));
        root.sections("attention").forEach(section -> edits.add(attention(section)));
        root.sections("exits").forEach(section -> edits.add(exits(section)));
        return edits;
    }

    private static SteeringEdit steering(final Section section, final Path folder) {
        section.notYet("when");
        final Place place = section.choice("at", PLACES)
                .map(label -> constant(Place.class, label))
                .orElse(Place.LAYER);
        final Operation operation = constant(Operation.class, section.choice("op", OPERATIONS).orElse("add"));
        final boolean plane = operation.isPlanar();
        final String file = file(section, "vector", folder);
        final Optional<String> second = plane ? Optional.of(file(section, "second", folder)) : Optional.empty();
        final double amount = switch (operation) {
            case ADD, ADD_NORM_PRESERVING, TURN, TURN_AWARE -> section.number("scale", AMOUNT, 1);
            case CLAMP -> section.number("target", AMOUNT, 0);
            case ROTATE, ROTATE_TOWARD -> Math.toRadians(section.number("angle", DEGREES, 0));
            case ABLATE -> 0;
        };
        final SteeringEdit edit = new SteeringEdit(
                new SteeringEdit.Source(file, second.orElse("")),
                operation,
                place,
                vectors(file),
                second.map(EditJson::vectors),
                amount,
                section.text("layers").map(text -> Layers.parse(text, section.where("layers"))),
                section.section("scope").map(EditJson::scope).orElse(Scope.all()));
        section.end();
        return edit;
    }

    private static LayerVectors vectors(final String name) {
        final Matcher random = RANDOM_NAME.matcher(name);
        return random.matches()
                ? RandomDirections.like(vectors(random.group(2)), Long.parseLong(random.group(1)))
                : ControlVectorFile.read(Path.of(name)).vectors();
    }

    // The name with an absolute path in it, whatever random vectors are made after that file.
    private static String file(final Section section, final String key, final Path folder) {
        final String name = section.text(key).orElseThrow(() -> new BadInputException(
                "steering without a " + key, section.where(key), "name a control-vector file (.gguf)"));
        try {
            String prefix = "";
            String rest = name;
            for (Matcher random = RANDOM_NAME.matcher(rest); random.matches(); random = RANDOM_NAME.matcher(rest)) {
                prefix += RANDOM + random.group(1) + ":";
                rest = random.group(2);
            }
            return prefix + folder.resolve(rest).toAbsolutePath().normalize();
        } catch (final InvalidPathException e) {
            throw new BadInputException("not a file name", section.where(key), "name a control-vector file", e);
        }
    }

    private static Scope scope(final Section section) {
        Scope scope = Scope.all();
        final Optional<List<String>> phases = section.choices("phase", PHASES);
        if (phases.isPresent()) {
            scope = scope.during(constants(Phase.class, phases.get()));
        }
        final Optional<List<String>> modalities = section.choices("modality", MODALITIES);
        if (modalities.isPresent()) {
            scope = scope.of(constants(Modality.class, modalities.get()));
        }
        if (section.has("media")) {
            scope = scope.ofMedium(section.integer("media", MEDIUM, 0));
        }
        final Optional<String> positions = section.text("positions");
        if (positions.isPresent()) {
            scope = scope.at(positions(positions.get(), section.where("positions")));
        }
        for (final Reach reach : List.of(Reach.LAST, Reach.AFTER_MEDIA, Reach.AFTER_INSTRUCTION)) {
            if (section.flag(reach.label())) {
                if (scope.reach() != Reach.ALL) {
                    throw new BadInputException(
                            "two reaches: " + scope.reach().label() + " and " + reach.label(),
                            section.where(reach.label()),
                            "keep one of them");
                }
                scope = scope.within(reach);
            }
        }
        section.end();
        return scope;
    }

    private static Scope.Positions positions(final String text, final String where) {
        try {
            final String[] ends = text.split("-", -1);
            if (ends.length == 2) {
                return new Scope.Positions(Integer.parseInt(ends[0]), Integer.parseInt(ends[1]));
            }
        } catch (final NumberFormatException | BadInputException e) {
            throw new BadInputException("no range of positions", where + " \"" + text + "\"", "write \"0-15\"", e);
        }
        throw new BadInputException("no range of positions", where + " \"" + text + "\"", "write \"0-15\"");
    }

    private static <E extends Enum<E>> Set<E> constants(final Class<E> type, final List<String> labels) {
        return labels.stream().map(label -> constant(type, label)).collect(Collectors.toCollection(
                () -> EnumSet.noneOf(type)));
    }

    private static AttentionEdit attention(final Section section) {
        final String edit = section.text("edit").orElseThrow(() -> new BadInputException(
                "attention edit without a kind", section.where("edit"), "choose " + String.join(", ", EDITS)));
        section.choice("edit", EDITS);
        final Layers layers = section.text("layers")
                .map(text -> Layers.parse(text, section.where("layers")))
                .orElse(Layers.all());
        final AttentionEdit made = switch (edit) {
            case AttentionEdit.Multiply.EDIT -> new AttentionEdit.Multiply(
                    span(section),
                    medium(section),
                    required(section, "factor", FACTOR),
                    layers,
                    heads(section),
                    queries(section));
            case AttentionEdit.Mask.EDIT -> mask(section, layers);
            case AttentionEdit.Temperature.EDIT -> new AttentionEdit.Temperature(
                    required(section, "tau", TAU), layers, heads(section), queries(section));
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
                    required(section, "alpha", SCORE_FACTOR),
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
                    required(section, "threshold", SHARE),
                    required(section, "fraction", SHARE),
                    layers,
                    heads(section),
                    queries(section));
        };
    }

    private static Heads heads(final Section section) {
        final String text = section.text("heads").orElse("all");
        return text.equals("all") ? Heads.ALL : new Heads(new TreeSet<>(numbers(text, section.where("heads"))));
    }

    private static List<Integer> numbers(final Section section, final String key) {
        return numbers(
                section.text(key).orElseThrow(() -> new BadInputException(
                        "attention edit without " + key, section.where(key), "write \"1415,2533\"")),
                section.where(key));
    }

    private static List<Integer> numbers(final String text, final String where) {
        if (!HEADS.matcher(text).matches()) {
            throw new BadInputException(
                    "no list of numbers", where + " \"" + text + "\"", "write \"0,3\" or \"0-3\"");
        }
        final List<Integer> numbers = new ArrayList<>();
        for (final String range : text.split(",")) {
            final String[] ends = range.split("-");
            final int first = Integer.parseInt(ends[0]);
            final int last = Integer.parseInt(ends[ends.length - 1]);
            if (last < first) {
                throw new BadInputException(
                        "numbers out of order", where + " \"" + range + "\"", "the lower one first");
            }
            for (int number = first; number <= last; number++) {
                numbers.add(number);
            }
        }
        return numbers;
    }

    private static ExitEdit exits(final Section section) {
        final String method = section.choice("method", List.of(ExitEdit.Average.METHOD, ExitEdit.Contrast.METHOD))
                .orElseThrow(() -> new BadInputException(
                        "early exits without a method", section.where("method"), "choose average or contrast"));
        final Layers layers = Layers.parse(
                section.text("layers").orElseThrow(() -> new BadInputException(
                        "early exits without layers", section.where("layers"), "name blocks below the last")),
                section.where("layers"));
        final ExitEdit made = method.equals(ExitEdit.Average.METHOD)
                ? new ExitEdit.Average(layers, required(section, "weight", SHARE), section.flag("normed"))
                : new ExitEdit.Contrast(layers, section.number("relativeTop", SHARE, 0.1));
        section.end();
        return made;
    }

    private static AttentionEdit.Mask mask(final Section section, final Layers layers) {
        final Modality span = span(section);
        final Set<Modality> from = section.choices("from", MODALITIES)
                .map(labels -> constants(Modality.class, labels))
                .orElseGet(() -> EnumSet.complementOf(EnumSet.of(span)));
        if (from.contains(span)) {
            throw new BadInputException(
                    "a span hidden from itself", section.where("from"), "leave " + span.label() + " out");
        }
        return new AttentionEdit.Mask(span, medium(section), from, layers);
    }

    private static double required(final Section section, final String key, final Range range) {
        if (!section.has(key)) {
            throw new BadInputException("attention edit without a " + key, section.where(key), range.remedy());
        }
        return section.number(key, range, 1);
    }

    private static Modality span(final Section section) {
        return modality(section, "span");
    }

    private static Modality modality(final Section section, final String key) {
        return section.choice(key, MODALITIES)
                .map(label -> constant(Modality.class, label))
                .orElseThrow(() -> new BadInputException(
                        "attention edit without a " + key,
                        section.where(key),
                        "choose " + String.join(", ", MODALITIES)));
    }

    private static OptionalInt medium(final Section section) {
        return section.has("media") ? OptionalInt.of(section.integer("media", MEDIUM, 0)) : OptionalInt.empty();
    }

    private static Scope queries(final Section section) {
        return switch (section.choice("queries", QUERIES).orElse(Reach.ALL.label())) {
            case GENERATED -> Scope.all().during(EnumSet.of(Phase.GENERATED));
            case String reach -> Scope.all().within(constant(Reach.class, reach));
        };
    }

    /** The section {@code forkMerge}. */
    static ForkMerge forkMerge(final Section section) {
        final List<String> silence = section.choices("silence", MODALITIES).orElse(List.of());
        if (silence.size() != 2 || silence.get(0).equals(silence.get(1))) {
            throw new BadInputException(
                    "fork-merge silences two different modalities", section.where("silence"), "name two");
        }
        final ForkMerge.How how = section.choice("by", List.of("zeros", "mask"))
                .map(label -> constant(ForkMerge.How.class, label))
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
                silence.stream().map(label -> constant(Modality.class, label)).toList(), how, place(section), alpha);
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
        try {
            final double percent = Double.parseDouble(text.substring(0, text.length() - 1));
            if (text.endsWith("%") && percent >= 0 && percent <= 100) {
                return new ForkMerge.Place.Share(percent);
            }
        } catch (final NumberFormatException e) {
            throw new BadInputException(
                    "no layer", section.where("layer") + " \"" + text + "\"", "write 5 or \"18%\"", e);
        }
        throw new BadInputException("no layer", section.where("layer") + " \"" + text + "\"", "write 5 or \"18%\"");
    }

    static void write(final Strategy strategy, final ObjectNode root) {
        write(strategy.edits(), root);
        strategy.forkMerge().ifPresent(fork -> write(fork, root.putObject("forkMerge")));
    }

    static void write(final List<Edit> edits, final ObjectNode root) {
        final List<SteeringEdit> steering = edits.stream()
                .filter(SteeringEdit.class::isInstance)
                .map(SteeringEdit.class::cast)
                .toList();
        if (!steering.isEmpty()) {
            final ArrayNode array = root.putArray("steer");
            steering.forEach(edit -> write(edit, array.addObject()));
        }
        final List<AttentionEdit> attention = edits.stream()
                .filter(AttentionEdit.class::isInstance)
                .map(AttentionEdit.class::cast)
                .toList();
        if (!attention.isEmpty()) {
            final ArrayNode array = root.putArray("attention");
            attention.forEach(edit -> write(edit, array.addObject()));
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
            case ExitEdit.Contrast contrast -> node.put("relativeTop", contrast.relativeTop());
        }
    }

    private static void write(final SteeringEdit edit, final ObjectNode node) {
        node.put("vector", edit.source().vector()).put("op", label(edit.operation()));
        switch (edit.operation()) {
            case ADD, ADD_NORM_PRESERVING, TURN, TURN_AWARE -> node.put("scale", edit.amount());
            case CLAMP -> node.put("target", edit.amount());
            case ROTATE, ROTATE_TOWARD ->
                node.put("second", edit.source().second()).put("angle", Math.toDegrees(edit.amount()));
            case ABLATE -> { }
        }
        if (edit.place() != Place.LAYER) {
            node.put("at", edit.place().label());
        }
        edit.layers().ifPresent(layers -> node.put("layers", layers.toString()));
        if (!edit.scope().equals(Scope.all())) {
            write(edit.scope(), node.putObject("scope"));
        }
    }

    private static void write(final Scope scope, final ObjectNode node) {
        labels(node.putArray("phase"), scope.phases().stream().sorted().map(Phase::label).toList());
        labels(node.putArray("modality"), scope.modalities().stream().sorted().map(Modality::label).toList());
        scope.medium().ifPresent(number -> node.put("media", number));
        scope.positions()
                .ifPresent(positions -> node.put("positions", positions.first() + "-" + positions.last()));
        if (scope.reach() != Reach.ALL) {
            node.put(scope.reach().label(), true);
        }
    }

    private static void labels(final ArrayNode array, final List<String> labels) {
        labels.forEach(array::add);
    }

    private static void write(final AttentionEdit edit, final ObjectNode node) {
        node.put("edit", edit.edit());
        switch (edit) {
            case AttentionEdit.Multiply multiply -> {
                write(node, multiply.span(), multiply.medium());
                node.put("factor", multiply.factor()).put("queries", queries(multiply.queries()));
            }
            case AttentionEdit.Mask mask -> {
                write(node, mask.span(), mask.medium());
                labels(node.putArray("from"), mask.from().stream().sorted().map(Modality::label).toList());
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

    private static void write(final ForkMerge fork, final ObjectNode node) {
        labels(node.putArray("silence"), fork.silence().stream().map(Modality::label).toList());
        node.put("by", fork.how().label());
        switch (fork.place()) {
            case ForkMerge.Place.Block block -> node.put("layer", block.layer());
            case ForkMerge.Place.Share share -> node.put("layer", share.toString());
        }
        final ObjectNode alpha = node.putObject("alpha");
        fork.alpha().forEach((modality, weight) -> alpha.put(modality.label(), weight));
    }
}
