package dev.equipoise.decoding;

import dev.equipoise.decoding.Explanation.BranchLine;
import dev.equipoise.decoding.Explanation.Step;
import dev.equipoise.decoding.expression.Expression;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Compression;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.PictureSteering;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.steering.edit.VisionEdit;
import java.math.BigDecimal;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** What {@link Explanation} says of a plan before an engine was asked: its branches and its steps, in words. */
final class PlanWords {
    /** The step that draws tokens. */
    static final String SAMPLER = "sampler";
    /** The step that joins two branches. */
    static final String MERGE = "merge";
    /** The step that cuts tokens off. */
    static final String PLAUSIBILITY = "plausibility";
    /** What the step that combines rows is called, before the method's name. */
    static final String CONTRAST = "contrast:";
    /** What a gate's step is called, before its kind. */
    static final String GATE = "gate:";
    /** How a combination outside the graph begins. */
    static final String AFTER_GRAPH = "op on the logits, after the graph: ";

    private PlanWords() {}

    /** The branches in the order in which they are read, and what sets each apart from the base. */
    static List<BranchLine> branches(final Plan plan) {
        // The first branch is the one whose row the cut-off is about, usually the base.
        final Prompt base = plan.branches().stream()
                .filter(branch -> branch.name().equals(LinearContrast.BASE))
                .findFirst()
                .orElse(plan.branches().getFirst())
                .prompt();
        final Map<String, Variation> variations = variations(plan);
        return plan.branches().stream()
                .map(branch -> new BranchLine(
                        branch.name(),
                        difference(base, branch, Optional.ofNullable(variations.get(branch.name()))
                                .flatMap(Variation::tokens)),
                        OptionalInt.empty()))
                .toList();
    }

    private static Map<String, Variation> variations(final Plan plan) {
        return plan.strategy()
                .contrast()
                .filter(LinearContrast.class::isInstance)
                .map(contrast -> ((LinearContrast) contrast).branches())
                .orElse(Map.of());
    }

    private static String difference(
            final Prompt base, final Branch branch, final Optional<TokenChoice> tokens) {
        final Prompt prompt = branch.prompt();
        final List<String> differences = new ArrayList<>();
        for (final Modality modality : Modality.values()) {
            final List<Part> before = parts(base, modality);
            final List<Part> after = parts(prompt, modality);
            if (!before.equals(after)) {
                differences.add(modality.label() + ": " + change(before, after));
            }
        }
        tokens.ifPresent(choice -> differences.add("tokens chosen: " + choice.by() + ", " + choice.words()));
        branch.interventions().stream()
                .filter(intervention -> intervention.name().startsWith("silence:"))
                .forEach(intervention -> differences.add(intervention.name().replace("silence:", "") + ": silenced"));
        return differences.isEmpty() ? "nothing: the request as it is" : String.join("; ", differences);
    }

    private static List<Part> parts(final Prompt prompt, final Modality modality) {
        return prompt.parts().stream().filter(part -> part.modality() == modality).toList();
    }

    private static String change(final List<Part> before, final List<Part> after) {
        if (after.isEmpty()) {
            return "left out";
        }
        if (!images(before).equals(images(after))) {
            final String shown = images(after).stream()
                    .filter(image -> !images(before).contains(image))
                    .map(Image::name)
                    .collect(Collectors.joining("; "));
            final List<Part> treated = showing(before, after);
            return treated.equals(after) ? shown : shown + ", " + change(treated, after);
        }
        if (after.getFirst() instanceof Part.Picture picture
                && before.getFirst() instanceof Part.Picture other
                && !picture.compression().equals(other.compression())) {
            return "keeps " + picture.compression().map(Compression::keep).orElse(1.0) + " of its rows"
                    + picture.noise().map(noise -> ", noised at step " + noise.step()).orElse("");
        }
        if (after.getFirst() instanceof Part.Picture picture
                && before.getFirst() instanceof Part.Picture other
                && !picture.steering().equals(other.steering())) {
            return "steered in the encoder"
                    + picture.noise().map(noise -> ", noised at step " + noise.step()).orElse("");
        }
        if (after.getFirst() instanceof Part.Picture picture && picture.noise().isPresent()) {
            return "noised at step " + picture.noise().get().step() + " with seed "
                    + picture.noise().get().seed();
        }
        final String words = after.stream()
                .filter(Part.Words.class::isInstance)
                .map(part -> ((Part.Words) part).text())
                .collect(Collectors.joining(" "));
        return (before.isEmpty() ? "added \"" : "replaced by \"") + words + "\"";
    }

    private static List<Image> images(final List<Part> parts) {
        return parts.stream()
                .filter(Part.Picture.class::isInstance)
                .map(part -> ((Part.Picture) part).image())
                .toList();
    }

    // The same parts with the images of others, one for one.
    private static List<Part> showing(final List<Part> parts, final List<Part> others) {
        final List<Part> showing = new ArrayList<>();
        for (int i = 0; i < parts.size(); i++) {
            showing.add(parts.get(i) instanceof Part.Picture picture && others.get(i) instanceof Part.Picture other
                    ? picture.showing(other.image())
                    : parts.get(i));
        }
        return showing;
    }

    /** What acts, in the order in which it acts. */
    static List<Step> steps(final Plan plan) {
        final List<Step> steps = new ArrayList<>();
        final Strategy resolved = plan.strategy().resolved();
        resolved.passes().forEach(pass -> steps.add(step(pass)));
        resolved.prompting().ifPresent(prompting -> steps.add(step(prompting)));
        if (!resolved.choices().isEmpty()) {
            steps.add(step(resolved.choices()));
        }
        if (!resolved.rechoices().isEmpty()) {
            steps.add(stepOf(resolved.rechoices()));
        }
        resolved.observed().forEach(modality -> steps.add(new Step(
                "observe:without-" + modality.label(),
                "v: the state of the last prompt token behind each block, less that without " + modality.label(),
                List.of(),
                "once, before the answer is begun",
                "two more prompts, one of them without " + modality.label())));
        steps.addAll(pictures(plan));
        noise(plan).ifPresent(steps::add);
        steps.addAll(steerings(plan));
        steps.addAll(compressions(plan));
        plan.branches().forEach(branch -> branch.interventions().stream()
                .filter(intervention -> branch == plan.branches().getFirst()
                        || !plan.branches().getFirst().interventions().contains(intervention))
                .forEach(intervention -> steps.add(
                        InterventionWords.step(intervention).of(branch, plan.branches().size()))));
        plan.merge().ifPresent(merge -> steps.add(new Step(
                MERGE,
                "op on the output of block " + merge.layer() + ", where the second branch ends: w "
                        + plan.branches().get(0).name() + " + (1 - w) " + plan.branches().get(1).name() + ", w "
                        + merge.allWeights().entrySet().stream()
                                // 1 - 0.8 is nearly 0.2.
                                .map(entry -> entry.getKey().label() + " " + entry.getValue().floatValue())
                                .collect(Collectors.joining(", ")),
                List.of(merge.layer()),
                "every token from the first silenced one on",
                "one more branch, in blocks 0 to " + merge.layer()
                        + " only: the prompt from the first silenced token, and one more column in every step")));
        if (others(plan) > 0) {
            plan.gate().ifPresent(gate -> steps.add(step(gate, plan.rechoice().isPresent())));
            steps.add(contrast(plan, resolved.contrast().orElseThrow()));
        }
        plan.combination().filter(combination -> combination.plausibility() > 0).ifPresent(combination -> steps.add(
                new Step(
                        PLAUSIBILITY,
                        "in-graph op on the logits: cuts off tokens whose " + plan.branches().getFirst().name()
                                + " logit is below the largest + ln(" + combination.plausibility() + ")"
                                + (combination.cutOffValue().isPresent()
                                        ? ", leaving them " + combination.cutOffValue().getAsDouble()
                                        : ""),
                        List.of(),
                        combined(plan),
                        "none to speak of")));
        steps.add(plan.search().map(SearchWords::step).orElseGet(() -> sampler(plan.strategy().sampling())));
        return steps;
    }

    private static Step step(final Pass pass) {
        final String asked = "asks \"" + pass.ask() + "\""
                + (pass.without().isEmpty() ? "" : " without " + InterventionWords.labels(pass.without()))
                + pass.after().map(PlanWords::turn).orElse("");
        return switch (pass) {
            case Pass.Generate generate -> new Step(
                    "prepare:" + generate.name(),
                    asked + " and keeps the answer as {" + generate.name() + "}",
                    List.of(),
                    "once, before the answer is begun",
                    "one more prompt, and up to " + generate.maxTokens() + " tokens");
            case Pass.Assess assess -> new Step(
                    "prepare:assess",
                    asked + " and takes the softmax over the first tokens of "
                            + assess.words().entrySet().stream()
                                    .map(word -> "\"" + word.getValue() + "\" as " + word.getKey())
                                    .collect(Collectors.joining(", ")),
                    List.of(),
                    "once, before the answer is begun",
                    "one more prompt");
        };
    }

    private static String turn(final String after) {
        return " in the turn behind {" + after + "}, a turn of the model's";
    }

    private static Step step(final List<TokenChoice> choices) {
        return new Step(
                "prepare:tokens",
                "reads the attention of the request's last token: "
                        + choices.stream().map(TokenChoice::words).collect(Collectors.joining("; ")),
                List.of(),
                "once, before the answer is begun; " + (choices.stream().anyMatch(PlanWords::isRefreshed)
                        ? "generated tokens choose for themselves where it says so"
                        : "the choice stays for all of its tokens"),
                "the request is read once more; the blocks looked at leave the flash path, from then on for every"
                        + " request of the engine");
    }

    private static Step stepOf(final List<TokenChoice> rechoices) {
        return new Step(
                "tokens",
                "the base branch reads each token first, and its attention then chooses for the other branches: "
                        + rechoices.stream().map(TokenChoice::words).collect(Collectors.joining("; ")),
                List.of(),
                "every generated token whose rows combine",
                "for each of them the branches that miss tokens read their prompts and all tokens so far again"
                        + (rechoices.stream().anyMatch(PlanWords::isByHead)
                                ? ", each other branch all that it reads in one micro-batch"
                                : ""));
    }

    private static boolean isByHead(final TokenChoice choice) {
        return choice instanceof TokenChoice.Dominated dominated && dominated.mask() == TokenChoice.Mask.HEADS;
    }

    private static boolean isRefreshed(final TokenChoice choice) {
        return choice instanceof TokenChoice.LeastAttended least && least.refresh() == TokenChoice.Refresh.STEP;
    }

    private static Step step(final Prompting prompting) {
        final List<String> said = new ArrayList<>();
        if (!prompting.without().isEmpty()) {
            said.add("leaves out " + InterventionWords.labels(prompting.without()));
        }
        prompting.system().ifPresent(text -> said.add("system text \"" + text + "\""));
        final String turn = prompting.after().map(PlanWords::turn).orElse("");
        prompting.text().ifPresent(text -> said.add("asks \"" + text + "\"" + turn));
        if (prompting.responses() > 0) {
            said.add("draws one of " + prompting.responses() + " written-down answers by their probabilities");
        }
        return new Step(
                "prompt",
                String.join("; ", said),
                List.of(),
                "the request, before it is read",
                "the words' own tokens");
    }

    private static List<Step> pictures(final Plan plan) {
        final List<String> read = plan.branches().stream().map(Branch::name).toList();
        final Map<PictureChange, List<String>> branches = new LinkedHashMap<>();
        variations(plan).forEach((name, variation) -> variation.picture()
                .filter(change -> read.contains(name))
                .ifPresent(change ->
                        branches.computeIfAbsent(change, any -> new ArrayList<>()).add(name)));
        return branches.entrySet().stream()
                .map(entry -> new Step(
                        "picture:" + entry.getKey().label(),
                        "pixels of the file, before they are preprocessed: " + entry.getKey().words(),
                        List.of(),
                        "the pictures of branch " + String.join(", ", entry.getValue())
                                + ", once, before the prompt is read",
                        "each picture is decoded, and encoded, once more"))
                .toList();
    }

    private static Optional<Step> noise(final Plan plan) {
        final List<String> noised = plan.branches().stream()
                .filter(branch -> branch.prompt().parts().stream()
                        .anyMatch(part -> part instanceof Part.Picture picture && picture.noise().isPresent()))
                .map(Branch::name)
                .toList();
        return noised.isEmpty()
                ? Optional.empty()
                : Optional.of(new Step(
                        "pixel-noise",
                        "forward diffusion of the normalised pixels, before the encoder",
                        List.of(),
                        "the pictures of branch " + String.join(", ", noised) + ", once, while the prompt is read",
                        "each picture is encoded once more"));
    }

    private static List<Step> steerings(final Plan plan) {
        final Map<PictureSteering, List<String>> branches = new LinkedHashMap<>();
        for (final Branch branch : plan.branches()) {
            branch.prompt().parts().stream()
                    .filter(Part.Picture.class::isInstance)
                    .flatMap(part -> ((Part.Picture) part).steering().stream())
                    .findFirst()
                    .ifPresent(steering ->
                            branches.computeIfAbsent(steering, any -> new ArrayList<>()).add(branch.name()));
        }
        return branches.entrySet().stream()
                .map(entry -> new Step(
                        VisionEdit.NAME,
                        "op in the picture encoder's graph, on the CPU: what the feed-forward part m of a block adds"
                                + " becomes |m| unit(unit(m) + " + entry.getKey().amount()
                                + " unit(d)), d being the direction of block and position",
                        List.copyOf(entry.getKey().directions().layers()),
                        "every position of the pictures of branch " + String.join(", ", entry.getValue())
                                + "; layers are the encoder's",
                        "each picture is encoded for it once, and then kept as others are"))
                .toList();
    }

    private static List<Step> compressions(final Plan plan) {
        final Map<Compression, List<String>> branches = new LinkedHashMap<>();
        for (final Branch branch : plan.branches()) {
            compression(branch.prompt()).ifPresent(compression ->
                    branches.computeIfAbsent(compression, any -> new ArrayList<>()).add(branch.name()));
        }
        return branches.entrySet().stream()
                .map(entry -> new Step(
                        "compress:" + entry.getKey().saliency().label(),
                        "keeps " + entry.getKey().keep() + " of each run of rows that the encoder gives, those "
                                + switch (entry.getKey().saliency()) {
                                    case NORM -> "of the largest norm";
                                    case ATTENTION -> "to which its last block attends most";
                                }
                                + ", in their order; positions are renumbered, under M-RoPE kept",
                        List.of(),
                        "the pictures of branch " + String.join(", ", entry.getValue()),
                        "none: fewer tokens are read and attended to"))
                .toList();
    }

    private static Optional<Compression> compression(final Prompt prompt) {
        return prompt.parts().stream()
                .filter(Part.Picture.class::isInstance)
                .flatMap(part -> ((Part.Picture) part).compression().stream())
                .findFirst();
    }

    // Branches beside the base, which is two where they are merged.
    private static int others(final Plan plan) {
        return plan.branches().size() - (plan.merge().isPresent() ? 2 : 1);
    }

    private static Step contrast(final Plan plan, final Contrast contrast) {
        final int more = others(plan);
        return new Step(
                CONTRAST + contrast.method(),
                (isAfterGraph(plan) ? AFTER_GRAPH : "in-graph op on the logits: ")
                        + formula(plan, contrast),
                List.of(),
                combined(plan),
                (more == 1 ? "one more branch: the prompt" : more + " more branches: their prompts")
                        + " from where " + (more == 1 ? "it differs" : "they differ")
                        + (plan.rechoice().isPresent()
                                ? ", and all tokens so far, again for every token whose rows combine"
                                : (more == 1 ? ", and one more column" : ", and " + more + " more columns")
                                        + (plan.gate().isPresent()
                                                ? " for every token up to the last open step"
                                                : " in every step")));
    }

    // Where rows of two decodes meet, or the rows themselves say how they are weighed.
    private static boolean isAfterGraph(final Plan plan) {
        return plan.gate().isPresent()
                || plan.rechoice().isPresent()
                || plan.combination().map(it -> it.coefficients().readsEntropies()).orElse(false);
    }

    // The tokens whose rows combine.
    private static String combined(final Plan plan) {
        return plan.gate().isPresent() ? "generated tokens whose gate is open" : "every generated token";
    }

    private static Step step(final Gate gate, final boolean rechosen) {
        final String opens = switch (gate) {
            case Gate.Entropy entropy -> "open when the entropy of the base row is above " + entropy.above() + " nats";
            case Gate.Confidence confidence ->
                "open when the largest probability of the base row is below " + confidence.below();
            case Gate.Disagreement looking -> "open at every token whose number is 1 more than a multiple of "
                    + looking.every() + ", and as long as the combination last changed the best token";
        };
        final boolean foreseen = gate instanceof Gate.Disagreement;
        return new Step(
                GATE + gate.kind(),
                opens + "; shut, the token is drawn from the base row as it stands and the other branches"
                        + (rechosen
                                ? " stay behind; open, they are read anew"
                                : " come along as columns, or stay behind; open, branches that stayed behind catch up"
                                        + " with all tokens that they missed")
                        + (foreseen && !rechosen
                                ? " in the decode of the step, or before it where a micro-batch does not hold them"
                                : (rechosen ? ", and their rows" : " in a second decode, whose rows")
                                        + " combine with the kept base row"),
                List.of(),
                "every generated token",
                foreseen
                        ? "nothing beside the branches"
                        : "reading one row"
                                + (rechosen ? "" : "; a second decode when it opens after branches stayed behind"));
    }

    private static String formula(final Plan plan, final Contrast contrast) {
        final Set<Modality> present = EnumSet.allOf(Modality.class);
        // Some branch lacks what the base has, so the base's own modalities are those of all branches.
        present.removeIf(modality -> plan.branches().stream()
                .noneMatch(branch -> branch.prompt().modalities().contains(modality)));
        final LinearContrast linear = contrast.linear(present);
        final StringBuilder formula = new StringBuilder(linear.logProbabilities() ? "with log-probabilities, " : "");
        final List<String> names = new ArrayList<>(List.of(LinearContrast.BASE));
        names.addAll(linear.branches().keySet());
        for (final String name : names) {
            final Expression weight = linear.coefficients().get(name);
            final boolean first = name.equals(LinearContrast.BASE);
            final Optional<Double> number = weight.constant();
            if (number.isPresent()) {
                final double value = number.get();
                formula.append(first ? "" : value < 0 ? " - " : " + ").append(plain(first ? value : Math.abs(value)));
            } else {
                formula.append(first ? "" : " + ").append('(').append(weight).append(')');
            }
            formula.append(' ').append(name);
        }
        final boolean growing = linear.coefficients().values().stream().anyMatch(Expression::growing);
        return formula + (growing ? ", for generated token t = 1, 2, ..." : "");
    }

    // Without the last bits that arithmetic leaves: 0.1, not 0.10000000000000009.
    private static String plain(final double value) {
        return new BigDecimal(value).round(new MathContext(12)).stripTrailingZeros().toPlainString();
    }

    private static Step sampler(final Sampling sampling) {
        return new Step(
                SAMPLER,
                sampling.isArgmax()
                        ? "the best token of the row"
                        : "llama.cpp's sampler chain on the row, at temperature " + sampling.temperature()
                                + (sampling.bias().isEmpty()
                                        ? ""
                                        : ", first adding to the first token of "
                                                + new TreeMap<>(sampling.bias()).entrySet().stream()
                                                        .map(shift -> "\"" + shift.getKey() + "\" " + shift.getValue())
                                                        .collect(Collectors.joining(", "))),
                List.of(),
                "every generated token",
                sampling.isArgmax() ? "none" : "the chain's own");
    }
}
