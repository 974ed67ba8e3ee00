package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Place;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.PositionVectors;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.steering.Layers;
import dev.equipoise.steering.edit.Conditional;
import dev.equipoise.steering.edit.Edit;
import dev.equipoise.steering.edit.PromptSteeringEdit;
import dev.equipoise.steering.edit.SteeringEdit;
import dev.equipoise.steering.edit.VisionEdit;
import dev.equipoise.steering.vector.ControlVectorFile;
import dev.equipoise.steering.vector.RandomDirections;
import dev.equipoise.steering.vector.VisualVectorFile;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import tools.jackson.databind.node.ObjectNode;

/** The objects of {@code steer} in strategy files, from JSON and back. */
final class SteerJson {
    /** Begins the name of a random vector: {@code random:SEED:FILE}, as long in each layer as that of the file. */
    static final String RANDOM = "random:";

    // 18 digits fit into 64 bits.
    private static final Pattern RANDOM_NAME = Pattern.compile(RANDOM + "(-?[0-9]{1,18}):(.+)", Pattern.DOTALL);
    // What the prompt shows: the states with a modality less those without it.
    private static final String FOUND = "prompt:without-";
    private static final Pattern FOUND_NAME = Pattern.compile("(?:" + RANDOM + "(-?[0-9]{1,18}):)?" + FOUND + "(.*)");
    private static final Range AMOUNT = Range.of(-1e6, 1e6);
    // A rotation is written in degrees, as the paper draws it.
    private static final Range DEGREES = Range.of(-360, 360);
    private static final Range MEDIUM = Range.of(0, 55);
    private static final List<String> PHASES =
            Arrays.stream(Phase.values()).map(Phase::label).toList();
    private static final List<String> OPERATIONS =
            Arrays.stream(Operation.values()).map(SteerJson::label).toList();
    // Not a place of a block of the language model: what is there is another kind of edit.
    private static final String VISION = "vision-mlp";
    private static final List<String> PLACES =
            Stream.concat(Arrays.stream(Place.values()).map(Place::label), Stream.of(VISION)).toList();

    private SteerJson() {}

    private static String label(final Operation operation) {
        return operation.name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    static Edit read(final Section section, final Path folder) {
        if (section.choice("at", PLACES).filter(VISION::equals).isPresent()) {
            return vision(section, folder);
        }
        final Place place = section.choice("at", PLACES)
                .map(label -> EditJson.constant(Place.class, label))
                .orElse(Place.LAYER);
        final Operation operation = EditJson.constant(Operation.class, section.choice("op", OPERATIONS).orElse("add"));
        final boolean plane = operation.isPlanar();
        final Matcher found = FOUND_NAME.matcher(section.isText("vector") ? section.text("vector").orElse("") : "");
        if (found.matches()) {
            return observing(section, folder, place, operation, found);
        }
        final String file = file(section, "vector", folder);
        final Optional<String> second = plane ? Optional.of(file(section, "second", folder)) : Optional.empty();
        final SteeringEdit edit = new SteeringEdit(
                new SteeringEdit.Source(file, second.orElse("")),
                operation,
                place,
                vectors(file),
                second.map(SteerJson::vectors),
                amount(section, operation),
                layers(section),
                section.section("scope").map(SteerJson::scope).orElse(Scope.all()),
                section.section("when").map(when -> WhenJson.read(when, folder)));
        section.end();
        return edit;
    }

    private static Edit vision(final Section section, final Path folder) {
        section.choice("op", List.of(label(Operation.TURN))).orElseThrow(() -> new BadInputException(
                "steering of the picture encoder without an op", section.where("op"), "choose turn"));
        final String file = file(section, "vector", folder);
        final VisionEdit edit =
                new VisionEdit(file, visual(file), section.number("scale", AMOUNT, 1));
        section.end();
        return edit;
    }

    // Along what the prompt itself shows.
    private static Edit observing(
            final Section section,
            final Path folder,
            final Place place,
            final Operation operation,
            final Matcher found) {
        final String without = found.group(2);
        final boolean known = ContrastJson.MODALITIES.contains(without) && !without.equals(Modality.TEXT.label());
        if (!known || operation.isPlanar()) {
            throw new BadInputException(
                    known ? "a rotation along one direction" : "unknown modality \"" + without + "\"",
                    section.where(known ? "op" : "vector"),
                    known ? "choose another operation" : "leave out image, audio, context or system");
        }
        final Edit edit = new PromptSteeringEdit(
                EditJson.constant(Modality.class, without),
                found.group(1) == null ? OptionalLong.empty() : OptionalLong.of(Long.parseLong(found.group(1))),
                operation,
                place,
                amount(section, operation),
                layers(section),
                section.section("scope").map(SteerJson::scope).orElse(Scope.all()),
                section.section("when").map(when -> WhenJson.read(when, folder)));
        section.end();
        return edit;
    }

    private static double amount(final Section section, final Operation operation) {
        return switch (operation) {
            case ADD, ADD_NORM_PRESERVING, ADD_NORM_CAPPED, ADD_SIGNED, TURN, TURN_AWARE ->
                section.number("scale", AMOUNT, 1);
            case CLAMP -> section.number("target", AMOUNT, 0);
            case ROTATE, ROTATE_TOWARD -> Math.toRadians(section.number("angle", DEGREES, 0));
            case ABLATE -> 0;
        };
    }

    private static Optional<Layers> layers(final Section section) {
        return section.list("layers").map(text -> Layers.parse(text, section.where("layers")));
    }

    /** The vectors of a name as {@link #file} gives it. */
    static LayerVectors vectors(final String name) {
        final Matcher random = RANDOM_NAME.matcher(name);
        return random.matches()
                ? RandomDirections.like(vectors(random.group(2)), Long.parseLong(random.group(1)))
                : ControlVectorFile.read(Path.of(name)).vectors();
    }

    private static PositionVectors visual(final String name) {
        final Matcher random = RANDOM_NAME.matcher(name);
        return random.matches()
                ? RandomDirections.like(visual(random.group(2)), Long.parseLong(random.group(1)))
                : VisualVectorFile.read(Path.of(name)).vectors();
    }

    /** The file at {@code key} with an absolute path in it, whatever random vectors are made after that file. */
    static String file(final Section section, final String key, final Path folder) {
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
            scope = scope.during(EditJson.constants(Phase.class, phases.get()));
        }
        final Optional<List<String>> modalities = section.choices("modality", ContrastJson.MODALITIES);
        if (modalities.isPresent()) {
            scope = scope.of(EditJson.constants(Modality.class, modalities.get()));
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

    static void write(final SteeringEdit edit, final ObjectNode node) {
        node.put("vector", edit.source().vector());
        if (edit.operation().isPlanar()) {
            node.put("second", edit.source().second());
        }
        write(edit.operation(), edit.amount(), edit.place(), edit.layers(), node);
        write(edit.scope(), edit.when(), node);
    }

    static void write(final VisionEdit edit, final ObjectNode node) {
        node.put("vector", edit.source())
                .put("op", label(Operation.TURN))
                .put("scale", edit.amount())
                .put("at", VISION);
    }

    static void write(final PromptSteeringEdit edit, final ObjectNode node) {
        final String random = edit.seed().isPresent() ? RANDOM + edit.seed().getAsLong() + ":" : "";
        node.put("vector", random + FOUND + edit.without().label());
        write(edit.operation(), edit.amount(), edit.place(), edit.layers(), node);
        write(edit.scope(), edit.when(), node);
    }

    private static void write(
            final Operation operation,
            final double amount,
            final Place place,
            final Optional<Layers> layers,
            final ObjectNode node) {
        node.put("op", label(operation));
        switch (operation) {
            case ADD, ADD_NORM_PRESERVING, ADD_NORM_CAPPED, ADD_SIGNED, TURN, TURN_AWARE -> node.put("scale", amount);
            case CLAMP -> node.put("target", amount);
            case ROTATE, ROTATE_TOWARD -> node.put("angle", Math.toDegrees(amount));
            case ABLATE -> { }
        }
        if (place != Place.LAYER) {
            node.put("at", place.label());
        }
        layers.ifPresent(chosen -> node.put("layers", chosen.toString()));
    }

    private static void write(final Scope scope, final Optional<Conditional> when, final ObjectNode node) {
        if (!scope.equals(Scope.all())) {
            write(scope, node.putObject("scope"));
        }
        when.ifPresent(conditions -> WhenJson.write(conditions, node.putObject("when")));
    }

    private static void write(final Scope scope, final ObjectNode node) {
        EditJson.labels(node.putArray("phase"), scope.phases().stream().sorted().map(Phase::label).toList());
        EditJson.labels(node.putArray("modality"), scope.modalities().stream().sorted().map(Modality::label).toList());
        scope.medium().ifPresent(number -> node.put("media", number));
        scope.positions()
                .ifPresent(positions -> node.put("positions", positions.first() + "-" + positions.last()));
        if (scope.reach() != Reach.ALL) {
            node.put(scope.reach().label(), true);
        }
    }
}
