package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.JsonReader;
import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.steering.edit.Edit;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** Strategies from JSON and back. The defaults of every method stand here, once. */
final class StrategyJson {
    static final double ALPHA = 1;
    static final double BETA = 0.1;
    static final int NOISE_STEP = 500;
    static final double LAMBDA = 0.02;
    // Ours: the published weight has no bound and passes 50 at the 200th token.
    static final double MAX_WEIGHT = 10;
    static final String INSTRUCTION = "You are a confused object detector that gives a fuzzy overview of the image.";

    private static final JsonMapper MAPPER = JsonMapper.shared();
    private static final List<String> MODALITIES =
            Arrays.stream(Modality.values()).map(Modality::label).toList();
    private static final List<String> METHODS = List.of(
            Contrast.Plausibility.METHOD, Contrast.Vcd.METHOD, Contrast.Icd.METHOD, Contrast.M3id.METHOD,
            Contrast.Cad.METHOD);
    private static final List<String> METHODS_TO_COME =
            List.of("avcd", "avisc", "dcd", "dola", "ibd", "mad", "opera", "pai", "sid", "vcd-extended", "vista");
    private static final Range POSITIVE = Range.above(0, 1e6);
    private static final Range COUNT = Range.of(0, Integer.MAX_VALUE);

    private StrategyJson() {}

    /** Reads a strategy whose files lie in {@code folder} unless they say otherwise. */
    static Strategy read(final String json, final String origin, final String defaultName, final Path folder) {
        final Section root = JsonReader.read(json, origin);
        final String name = root.text("name").orElse(defaultName);
        final Optional<Source> source = root.section("source").map(StrategyJson::source);
        final List<Edit> edits = EditJson.read(root, folder);
        final Optional<ForkMerge> forkMerge = root.section("forkMerge").map(EditJson::forkMerge);
        final Optional<Contrast> contrast = root.section("contrast").map(StrategyJson::contrast);
        final Sampling sampling = root.section("sampling").map(StrategyJson::sampling).orElse(Sampling.greedy());
        for (final String section : List.of("gate", "prompt")) {
            root.notYet(section);
        }
        root.end();
        return new Strategy(name, source, edits, forkMerge, contrast, sampling);
    }

    private static Source source(final Section section) {
        final Source source = new Source(
                section.text("paper").orElse(""),
                section.text("exact").orElse(""),
                section.text("unknown").orElse(""),
                section.text("defaults").orElse(""));
        section.end();
        return source;
    }

    private static Contrast contrast(final Section section) {
        section.notYet("branches");
        section.notYet("coefficients");
        final String method = section.text("method").orElseThrow(() -> new BadInputException(
                "contrast without a method", section.where("method"), "choose " + String.join(", ", METHODS)));
        if (METHODS_TO_COME.contains(method)) {
            throw new BadInputException(
                    "contrast method \"" + method + "\" is not supported in this version",
                    section.where("method"),
                    "choose " + String.join(", ", METHODS));
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

    private static double alpha(final Section section) {
        return section.number("alpha", Contrast.ALPHA, ALPHA);
    }

    private static double beta(final Section section, final double otherwise) {
        return section.number("beta", Contrast.BETA, otherwise);
    }

    private static Optional<Modality> without(final Section section) {
        return section.choice("without", MODALITIES).map(label -> Modality.valueOf(label.toUpperCase(Locale.ROOT)));
    }

    private static Sampling sampling(final Section section) {
        final Sampling otherwise = Sampling.greedy();
        final double minP = section.number("minP", Range.of(0, 1), otherwise.minP());
        if (minP == 1) {
            throw new BadInputException("minP out of range", section.where("minP"), "choose 0 up to, not including, 1");
        }
        final Sampling sampling = new Sampling(
                section.number("temperature", Range.of(0, 1e6), otherwise.temperature()),
                section.integer("topK", COUNT, otherwise.topK()),
                section.number("topP", Range.above(0, 1), otherwise.topP()),
                minP,
                section.number("repeatPenalty", POSITIVE, otherwise.repeatPenalty()),
                section.integer("repeatWindow", COUNT, otherwise.repeatWindow()),
                section.seed("seed").orElse(otherwise.seed()),
                section.text("grammar"));
        section.end();
        return sampling;
    }

    static String write(final Strategy strategy) {
        final ObjectNode root = JsonNodeFactory.instance.objectNode();
        root.put("name", strategy.name());
        strategy.source().ifPresent(source -> write(source, root.putObject("source")));
        EditJson.write(strategy, root);
        strategy.contrast().ifPresent(contrast -> write(contrast, root.putObject("contrast")));
        write(strategy.sampling(), root.putObject("sampling"));
        return MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(root);
    }

    private static void write(final Source source, final ObjectNode node) {
        putText(node, "paper", source.paper());
        putText(node, "exact", source.exact());
        putText(node, "unknown", source.unknown());
        putText(node, "defaults", source.defaults());
    }

    private static void putText(final ObjectNode node, final String key, final String text) {
        if (!text.isEmpty()) {
            node.put(key, text);
        }
    }

    private static void write(final Contrast contrast, final ObjectNode node) {
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
        }
        node.put("beta", contrast.beta());
    }

    private static void write(final Sampling sampling, final ObjectNode node) {
        node.put("temperature", sampling.temperature())
                .put("topK", sampling.topK())
                .put("topP", sampling.topP())
                .put("minP", sampling.minP())
                .put("repeatPenalty", sampling.repeatPenalty())
                .put("repeatWindow", sampling.repeatWindow())
                .put("seed", sampling.seed());
        sampling.grammar().ifPresent(grammar -> node.put("grammar", grammar));
    }
}
