package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.stream.Stream;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * The sections {@code prepare} and {@code prompt} of strategy files, from JSON and back.
 *
 * @param passes those of {@code prepare}, then those of the prompt's method
 * @param prompting what {@code prompt} says
 */
record PromptJson(List<Pass> passes, Optional<Prompting> prompting) {
    private static final int MAX_TOKENS = 128;
    private static final int RESPONSES = 5;
    private static final int MOST_PASSES = 16;
    private static final List<String> VARIANTS = Arrays.stream(PromptMethod.Variant.values())
            .map(PromptMethod.Variant::label)
            .toList();

    static PromptJson read(final Section root) {
        final List<Pass> passes = new ArrayList<>();
        root.sections("prepare").forEach(section -> passes.add(pass(section)));
        final Optional<Prompting> prompting = root.section("prompt").map(section -> prompting(section, passes));
        if (passes.size() > MOST_PASSES) {
            throw new BadInputException("too many passes", root.where("prepare"), "keep to " + MOST_PASSES);
        }
        return new PromptJson(List.copyOf(passes), prompting);
    }

    private static Pass pass(final Section section) {
        final String ask = section.text("ask").orElseThrow(() -> new BadInputException(
                "a pass that asks nothing", section.where("ask"), "write what it asks, such as {question}"));
        final var without = ContrastJson.modalities(section, "without", ContrastJson.MODALITIES);
        final Optional<Section> words = section.section("words");
        final Pass pass;
        if (words.isPresent()) {
            final Map<String, String> weighed = new LinkedHashMap<>();
            words.get().keys().forEach(name -> weighed.put(name, words.get().text(name).orElseThrow()));
            pass = new Pass.Assess(ask, without, weighed);
        } else {
            final String name = section.text("name").orElseThrow(() -> new BadInputException(
                    "a pass without a name", section.where("name"), "name what it finds, or give words to weigh"));
            pass = new Pass.Generate(
                    name,
                    ask,
                    without,
                    section.integer("maxTokens", Pass.MAX_TOKENS, MAX_TOKENS),
                    section.text("after"));
        }
        section.end();
        return pass;
    }

    private static Prompting prompting(final Section section, final List<Pass> passes) {
        final Optional<String> method = section.choice("method", PromptMethod.labels());
        final Prompting prompting;
        if (method.isPresent()) {
            final PromptMethod chosen = PromptMethod.labelled(method.get());
            final Modality modality = chosen.takesModality()
                    ? section.choice("modality", ContrastJson.MODALITIES)
                            .map(label -> Modality.valueOf(label.toUpperCase(Locale.ROOT)))
                            .orElse(Modality.IMAGE)
                    : Modality.IMAGE;
            final PromptMethod.Verbalising verbalising = chosen == PromptMethod.VERBALISED_SAMPLING
                    ? verbalising(section)
                    : PromptMethod.Verbalising.NONE;
            passes.addAll(chosen.passes(verbalising));
            prompting = chosen.prompting(modality, verbalising);
        } else {
            final boolean said = Stream.of("without", "system", "text", "responses", "batches", "after")
                    .map(section::has)
                    .reduce(false, Boolean::logicalOr);
            if (!said) {
                throw new BadInputException(
                        "prompt without a method",
                        section.where("method"),
                        "choose " + String.join(", ", PromptMethod.labels()) + ", or give a text");
            }
            prompting = new Prompting(
                    ContrastJson.modalities(section, "without", ContrastJson.MODALITIES),
                    section.text("system"),
                    section.text("text"),
                    section.integer("responses", Prompting.RESPONSES, 0),
                    section.list("batches").map(names -> List.of(names.split(","))).orElse(List.of()),
                    section.text("after"));
        }
        section.end();
        return prompting;
    }

    private static PromptMethod.Verbalising verbalising(final Section section) {
        final PromptMethod.Variant variant = section.choice("variant", VARIANTS)
                .map(label -> EditJson.constant(PromptMethod.Variant.class, label))
                .orElse(PromptMethod.Variant.STANDARD);
        final boolean several = variant == PromptMethod.Variant.MULTI;
        return new PromptMethod.Verbalising(
                variant,
                section.integer("responses", Range.of(2, Prompting.RESPONSES.most()), RESPONSES),
                section.has("below")
                        ? OptionalDouble.of(section.number("below", Range.above(0, 1), 1))
                        : OptionalDouble.empty(),
                several ? section.integer("batches", Range.of(2, 8), 2) : 1,
                several ? section.integer("maxTokens", Pass.MAX_TOKENS, MAX_TOKENS) : MAX_TOKENS);
    }

    static void write(final Strategy strategy, final ObjectNode root) {
        if (!strategy.passes().isEmpty()) {
            final ArrayNode array = root.putArray("prepare");
            strategy.passes().forEach(pass -> write(pass, array.addObject()));
        }
        strategy.prompting().ifPresent(prompting -> {
            final ObjectNode node = root.putObject("prompt");
            ContrastJson.put(node, "without", prompting.without());
            prompting.system().ifPresent(text -> node.put("system", text));
            prompting.text().ifPresent(text -> node.put("text", text));
            node.put("responses", prompting.responses());
            if (!prompting.batches().isEmpty()) {
                EditJson.labels(node.putArray("batches"), prompting.batches());
            }
            prompting.after().ifPresent(name -> node.put("after", name));
        });
    }

    private static void write(final Pass pass, final ObjectNode node) {
        node.put("ask", pass.ask());
        ContrastJson.put(node, "without", pass.without());
        pass.after().ifPresent(name -> node.put("after", name));
        switch (pass) {
            case Pass.Generate generate -> node.put("name", generate.name()).put("maxTokens", generate.maxTokens());
            case Pass.Assess assess -> {
                final ObjectNode words = node.putObject("words");
                assess.words().forEach(words::put);
            }
        }
    }
}
