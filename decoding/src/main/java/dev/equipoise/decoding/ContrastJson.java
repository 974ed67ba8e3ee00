package dev.equipoise.decoding;

import dev.equipoise.decoding.expression.Expression;
import dev.equipoise.decoding.expression.ExpressionReader;
import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Modality;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.TreeSet;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** The section {@code contrast} of strategy files, from JSON and back. Every method's defaults stand here, once. */
final class ContrastJson {
    static final double ALPHA = 1;
    static final double BETA = 0.1;
    static final int NOISE_STEP = 500;
    static final double LAMBDA = 0.02;
    // Ours: the published weight has no bound and passes 50 at the 200th token.
    static final double MAX_WEIGHT = 10;
    static final String INSTRUCTION = "You are a confused object detector that gives a fuzzy overview of the image.";

    /** Every modality, as files call it. */
    static final List<String> MODALITIES =
            Arrays.stream(Modality.values()).map(Modality::label).toList();

    private static final List<String> EVIDENCE =
            Variation.EVIDENCE.stream().map(Modality::label).toList();
    private static final Map<String, Modality> WORDS = new LinkedHashMap<>();

    static {
        WORDS.put("system", Modality.SYSTEM);
        WORDS.put("context", Modality.CONTEXT);
        WORDS.put("text", Modality.TEXT);
    }

    private static final List<String> METHODS = List.of(
            Contrast.Plausibility.METHOD, Contrast.Vcd.METHOD, Contrast.Icd.METHOD, Contrast.M3id.METHOD,
            Contrast.Cad.METHOD);
    private static final Range NUMBER = Range.of(-LinearContrast.LARGEST, LinearContrast.LARGEST);
    // The base takes one of the sequences that a context can tell apart.
    private static final int MOST_BRANCHES = EngineOptions.MAX_BRANCHES - 1;

    private ContrastJson() {}

    /**
     * The section {@code contrast}.
     *
     * @param passes whose findings it may name
     * @param folder where files of edits lie
     */
    static Contrast read(final Section section, final List<Pass> passes, final Path folder) {
        final Optional<String> named = section.text("method");
        final boolean spelledOut = section.mentions("branches") || section.mentions("coefficients");
        if (spelledOut && named.isEmpty() || named.filter(LinearContrast.METHOD::equals).isPresent()) {
            return linear(section, passes, folder);
        }
        if (spelledOut) {
            final String key = section.mentions("branches") ? "branches" : "coefficients";
            throw new BadInputException(
                    key + " beside a method are not supported",
                    section.where(key),
                    "leave the method out, or write \"linear\"");
        }
        final String method = named.orElseThrow(() -> new BadInputException(
                "contrast without a method",
                section.where("method"),
                "choose " + String.join(", ", METHODS) + ", or give branches and coefficients"));
        if (!METHODS.contains(method)) {
            Strategies.cure(method).ifPresent(cure -> {
                throw new BadInputException(
                        "contrast method \"" + method + "\" is not supported: it is "
                                + (Strategies.isPreset(method) ? "a preset" : "no shorthand of a contrast"),
                        section.where("method"),
                        cure);
            });
        }
        section.choice("method", METHODS);
        final Contrast contrast = switch (method) {
            case Contrast.Plausibility.METHOD -> new Contrast.Plausibility(beta(section, BETA));
            case Contrast.Vcd.METHOD -> new Contrast.Vcd(
                    alpha(section),
                    beta(section, BETA),
                    section.integer("noiseStep", Contrast.NOISE_STEP, NOISE_STEP),
                    section.seed("seed"));
            case Contrast.Icd.METHOD -> new Contrast.Icd(
                    alpha(section), beta(section, BETA), section.text("instruction").orElse(INSTRUCTION));
            case Contrast.M3id.METHOD -> new Contrast.M3id(
                    section.number("lambda", Contrast.LAMBDA, LAMBDA),
                    beta(section, BETA),
                    section.number("maxWeight", Contrast.MAX_WEIGHT, MAX_WEIGHT),
                    without(section).orElse(Modality.IMAGE));
            default -> new Contrast.Cad(alpha(section), beta(section, 0), without(section));
        };
        section.end();
        return contrast;
    }

    private static LinearContrast linear(final Section section, final List<Pass> passes, final Path folder) {
        final Map<String, Double> parameters = new LinkedHashMap<>();
        section.section("parameters").ifPresent(given -> given.keys().forEach(name -> {
            if (!ExpressionReader.isName(name)) {
                throw new BadInputException(
                        "not a name: \"" + name + "\"",
                        given.where(name),
                        "use letters, digits and underscores, but not t or a function");
            }
            parameters.put(name, given.number(name, NUMBER, 0));
        }));
        final Map<String, Variation> branches = new LinkedHashMap<>();
        section.section("branches").ifPresent(given -> given.keys().forEach(name -> {
            if (name.equals(LinearContrast.BASE) || name.isBlank()) {
                throw new BadInputException(
                        "an extra branch called \"" + name + "\"", given.where(name), "call it otherwise");
            }
            branches.put(name, variation(given.section(name).orElseThrow(), folder));
        }));
        if (branches.size() > MOST_BRANCHES) {
            throw new BadInputException(
                    "too many branches", section.where("branches"), "keep to " + MOST_BRANCHES);
        }
        final Map<String, Expression> coefficients = coefficients(section, parameters, passes, branches.keySet());
        final List<String> rows = List.copyOf(coefficients.keySet());
        final LinearContrast contrast = new LinearContrast(
                parameters,
                branches,
                coefficients,
                section.flag("logProbabilities"),
                beta(section, 0),
                section.choice("cutOff", rows).orElse(LinearContrast.BASE),
                cutOffValue(section));
        section.end();
        return contrast;
    }

    private static OptionalDouble cutOffValue(final Section section) {
        if (!section.has("cutOffValue")) {
            return OptionalDouble.empty();
        }
        final double value = section.number("cutOffValue", NUMBER, 0);
        if ((float) value == 0) {
            throw new BadInputException(
                    "cutOffValue is 0", section.where("cutOffValue"), "choose another number, or leave the key out");
        }
        return OptionalDouble.of(value);
    }

    private static Map<String, Expression> coefficients(
            final Section section,
            final Map<String, Double> parameters,
            final List<Pass> passes,
            final Set<String> branches) {
        final Set<String> names = new TreeSet<>(parameters.keySet());
        passes.stream().filter(Pass.Assess.class::isInstance).forEach(pass -> names.addAll(pass.names()));
        final Set<String> rows = new TreeSet<>(branches);
        rows.add(LinearContrast.BASE);
        final Section given = section.section("coefficients").orElseThrow(() -> new BadInputException(
                "branches without coefficients",
                section.where("coefficients"),
                "give one each for " + String.join(", ", rows)));
        final Map<String, Expression> coefficients = new LinkedHashMap<>();
        for (final String row : rows) {
            if (!given.has(row)) {
                throw new BadInputException(
                        "no coefficient for " + row, given.where(row), "give a number or an expression");
            }
            final Expression coefficient = given.isText(row)
                    ? ExpressionReader.read(given.text(row).orElseThrow(), given.where(row), names, rows)
                    : Expression.of(given.number(row, NUMBER, 0));
            LinearContrast.requireFinite(coefficient, parameters, given.where(row));
            coefficients.put(row, coefficient);
        }
        given.end();
        return coefficients;
    }

    private static Variation variation(final Section section, final Path folder) {
        final Map<Modality, String> words = new EnumMap<>(Modality.class);
        WORDS.forEach((key, modality) -> section.text(key).ifPresent(text -> words.put(modality, text)));
        final Variation variation = new Variation(
                modalities(section, "without", MODALITIES),
                section.someOf("only", EVIDENCE).map(ContrastJson::modalities),
                section.section("picture").map(PictureJson::read),
                section.section("noise").map(ContrastJson::noise),
                words,
                modalities(section, "silence", MODALITIES),
                EditJson.read(section, folder),
                section.section("tokens").map(TokenChoiceJson::read),
                section.section("compress").map(CompressJson::read));
        section.end();
        return variation;
    }

    private static Variation.Noise noise(final Section section) {
        final Variation.Noise noise = new Variation.Noise(
                section.integer("step", Variation.Noise.STEP, NOISE_STEP), section.seed("seed"));
        section.end();
        return noise;
    }

    /** The modalities at a key, none if it is not given. */
    static Set<Modality> modalities(final Section section, final String key, final List<String> choices) {
        return modalities(section.choices(key, choices).orElse(List.of()));
    }

    private static Set<Modality> modalities(final List<String> labels) {
        final Set<Modality> found = EnumSet.noneOf(Modality.class);
        labels.forEach(label -> found.add(modality(label)));
        return found;
    }

    private static Modality modality(final String label) {
        return Modality.valueOf(label.toUpperCase(Locale.ROOT));
    }

    private static double alpha(final Section section) {
        return section.number("alpha", Contrast.ALPHA, ALPHA);
    }

    private static double beta(final Section section, final double otherwise) {
        return section.number("beta", Contrast.BETA, otherwise);
    }

    private static Optional<Modality> without(final Section section) {
        return section.choice("without", MODALITIES).map(ContrastJson::modality);
    }

    static void write(final Contrast contrast, final ObjectNode node) {
        node.put("method", contrast.method());
        switch (contrast) {
            case Contrast.Plausibility alone -> { }
            case Contrast.Vcd vcd -> {
                node.put("alpha", vcd.alpha()).put("noiseStep", vcd.noiseStep());
                vcd.seed().ifPresent(seed -> node.put("seed", seed));
            }
            case Contrast.Icd icd -> node.put("alpha", icd.alpha()).put("instruction", icd.instruction());
            case Contrast.M3id m3id -> node.put("lambda", m3id.lambda())
                    .put("maxWeight", m3id.maxWeight())
                    .put("without", m3id.without().label());
            case Contrast.Cad cad -> {
                node.put("alpha", cad.alpha());
                cad.without().ifPresent(without -> node.put("without", without.label()));
            }
            case LinearContrast linear -> write(linear, node);
        }
        node.put("beta", contrast.beta());
    }

    private static void write(final LinearContrast linear, final ObjectNode node) {
        if (!linear.parameters().isEmpty()) {
            final ObjectNode parameters = node.putObject("parameters");
            linear.parameters().forEach(parameters::put);
        }
        final ObjectNode branches = node.putObject("branches");
        linear.branches().forEach((name, variation) -> write(variation, branches.putObject(name)));
        final ObjectNode coefficients = node.putObject("coefficients");
        linear.coefficients().forEach((name, coefficient) -> coefficient.constant().ifPresentOrElse(
                number -> coefficients.put(name, number), () -> coefficients.put(name, coefficient.toString())));
        node.put("logProbabilities", linear.logProbabilities()).put("cutOff", linear.cutOff());
        linear.cutOffValue().ifPresent(value -> node.put("cutOffValue", value));
    }

    private static void write(final Variation variation, final ObjectNode node) {
        put(node, "without", variation.without());
        variation.only().ifPresent(only -> {
            final ArrayNode array = node.putArray("only");
            only.stream().sorted().map(Modality::label).forEach(array::add);
        });
        variation.picture().ifPresent(change -> PictureJson.write(change, node.putObject("picture")));
        variation.noise().ifPresent(noise -> {
            final ObjectNode inner = node.putObject("noise").put("step", noise.step());
            noise.seed().ifPresent(seed -> inner.put("seed", seed));
        });
        WORDS.forEach((key, modality) -> {
            if (variation.words().containsKey(modality)) {
                node.put(key, variation.words().get(modality));
            }
        });
        put(node, "silence", variation.silence());
        EditJson.write(variation.edits(), node);
        variation.tokens().ifPresent(choice -> TokenChoiceJson.write(choice, node.putObject("tokens")));
        variation.compression()
                .ifPresent(compression -> CompressJson.write(compression, node.putObject("compress")));
    }

    /** Writes modalities, if there are any. */
    static void put(final ObjectNode node, final String key, final Set<Modality> modalities) {
        if (!modalities.isEmpty()) {
            final ArrayNode array = node.putArray(key);
            modalities.stream().sorted().map(Modality::label).forEach(array::add);
        }
    }
}
