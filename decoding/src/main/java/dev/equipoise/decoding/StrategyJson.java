package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.JsonReader;
import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Compression;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.steering.edit.Edit;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** Strategies from JSON and back. */
final class StrategyJson {
    private static final List<String> SECTIONS = List.of("prepare", "prompt.", "contrast.", "gate", "steer", "search");
    private static final JsonMapper MAPPER = JsonMapper.shared();
    private static final Range POSITIVE = Range.above(0, 1e6);
    private static final Range PENALTY = Range.of(-Sampling.MOST_PENALTY, Sampling.MOST_PENALTY);
    private static final Range COUNT = Range.of(0, Integer.MAX_VALUE);

    private static final List<String> RULES =
            Arrays.stream(OptionRule.values()).map(OptionRule::label).toList();

    private StrategyJson() {}

    /** Reads a strategy whose files lie in {@code folder} unless they say otherwise. */
    static Strategy read(final String json, final String origin, final String defaultName, final Path folder) {
        final Section root = JsonReader.read(json, origin);
        try {
            return read(root, defaultName, folder);
        } catch (final BadInputException e) {
            // What the values themselves refuse names the section alone.
            throw SECTIONS.stream().anyMatch(e.where()::startsWith)
                    ? new BadInputException(e.what(), origin + " $." + e.where(), e.remedy(), e)
                    : e;
        }
    }

    private static Strategy read(final Section root, final String defaultName, final Path folder) {
        final String name = root.text("name").orElse(defaultName);
        final Optional<Source> source = root.section("source").map(StrategyJson::source);
        final List<Edit> edits = EditJson.read(root, folder);
        final Optional<ForkMerge> forkMerge = root.section("forkMerge").map(ForkMergeJson::read);
        final PromptJson asked = PromptJson.read(root);
        final Optional<Contrast> contrast =
                root.section("contrast").map(section -> ContrastJson.read(section, asked.passes(), folder));
        final Sampling sampling = root.section("sampling").map(StrategyJson::sampling).orElse(Sampling.greedy());
        final Optional<Gate> gate = root.section("gate").map(GateJson::read);
        final Optional<OptionRule> choosing =
                root.choice("choose", RULES).map(label -> OptionRule.valueOf(label.toUpperCase(Locale.ROOT)));
        final Optional<Compression> compression = root.section("compress").map(CompressJson::read);
        final Optional<BeamSearch> search = root.section("search").map(SearchJson::read);
        root.end();
        return new Strategy(
                name,
                source,
                asked.passes(),
                asked.prompting(),
                edits,
                forkMerge,
                contrast,
                sampling,
                gate,
                choosing,
                compression,
                search);
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
                section.number("frequencyPenalty", PENALTY, otherwise.frequencyPenalty()),
                section.number("presencePenalty", PENALTY, otherwise.presencePenalty()),
                section.seed("seed").orElse(otherwise.seed()),
                section.text("grammar"),
                bias(section));
        section.end();
        return sampling;
    }

    private static Map<String, Double> bias(final Section section) {
        final Map<String, Double> bias = new TreeMap<>();
        section.section("bias").ifPresent(words -> words.keys().forEach(word -> {
            if (word.isEmpty()) {
                throw new BadInputException("a shift of no word", words.where(word), "write a word");
            }
            bias.put(word, words.number(word, Range.of(-Sampling.MOST_BIAS, Sampling.MOST_BIAS), 0));
        }));
        return bias;
    }

    static String write(final Strategy strategy) {
        final ObjectNode root = JsonNodeFactory.instance.objectNode();
        root.put("name", strategy.name());
        strategy.source().ifPresent(source -> write(source, root.putObject("source")));
        PromptJson.write(strategy, root);
        EditJson.write(strategy, root);
        strategy.compression()
                .ifPresent(compression -> CompressJson.write(compression, root.putObject("compress")));
        strategy.contrast().ifPresent(contrast -> ContrastJson.write(contrast, root.putObject("contrast")));
        strategy.gate().ifPresent(gate -> GateJson.write(gate, root.putObject("gate")));
        strategy.search().ifPresent(search -> SearchJson.write(search, root.putObject("search")));
        strategy.choosing().ifPresent(rule -> root.put("choose", rule.label()));
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

    private static void write(final Sampling sampling, final ObjectNode node) {
        node.put("temperature", sampling.temperature())
                .put("topK", sampling.topK())
                .put("topP", sampling.topP())
                .put("minP", sampling.minP())
                .put("repeatPenalty", sampling.repeatPenalty())
                .put("repeatWindow", sampling.repeatWindow())
                .put("frequencyPenalty", sampling.frequencyPenalty())
                .put("presencePenalty", sampling.presencePenalty())
                .put("seed", sampling.seed());
        sampling.grammar().ifPresent(grammar -> node.put("grammar", grammar));
        if (!sampling.bias().isEmpty()) {
            final ObjectNode bias = node.putObject("bias");
            new TreeMap<>(sampling.bias()).forEach(bias::put);
        }
    }
}
