package dev.equipoise.decoding;

import dev.equipoise.decoding.expression.Expression;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Compression;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.runtime.search.OverTrust;
import dev.equipoise.steering.edit.Edit;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.UnaryOperator;

/** The canonical text of a resolved strategy, and its digest. The text never changes for what it can already say. */
final class Fingerprint {
    private static final String FORMAT = "equipoise-strategy-1";

    private final Map<String, String> entries = new TreeMap<>();

    // Number of blocks of the model, if there is one.
    private final OptionalInt depth;

    Fingerprint() {
        this(OptionalInt.empty());
    }

    private Fingerprint(final OptionalInt depth) {
        this.depth = depth;
    }

    Fingerprint copy() {
        final Fingerprint copy = new Fingerprint(depth);
        copy.entries.putAll(entries);
        return copy;
    }

    static String of(final Strategy resolved, final OptionalInt depth) {
        final Fingerprint fingerprint = new Fingerprint(depth);
        fingerprint.edits(resolved.edits());
        resolved.forkMerge().ifPresent(fingerprint::forkMerge);
        for (int i = 0; i < resolved.passes().size(); i++) {
            fingerprint.pass("prepare." + i + ".", resolved.passes().get(i));
        }
        resolved.prompting().ifPresent(fingerprint::prompting);
        resolved.contrast().ifPresent(fingerprint::contrast);
        resolved.gate().ifPresent(fingerprint::gate);
        resolved.choosing().ifPresent(rule -> fingerprint.put("choose", rule));
        resolved.search().ifPresent(fingerprint::search);
        resolved.compression().ifPresent(compression -> fingerprint.compression("compress.", compression));
        fingerprint.sampling(resolved.sampling());
        if (drawsOtherwise(resolved) && resolved.sampling().seed() != Sampling.greedy().seed()) {
            fingerprint.put("sampling.seed", resolved.sampling().seed());
        }
        return digest((FORMAT + fingerprint.text()).getBytes(StandardCharsets.UTF_8));
    }

    // Noise and transformations without a seed of their own, and which of several written answers is taken, come of the
    // sampling's seed at any temperature.
    private static boolean drawsOtherwise(final Strategy resolved) {
        final boolean pictures = resolved.contrast().isPresent() && switch (resolved.contrast().get()) {
            case Contrast.Vcd vcd -> vcd.seed().isEmpty();
            case LinearContrast linear -> linear.branches().values().stream()
                    .anyMatch(Fingerprint::drawsOtherwise);
            default -> false;
        };
        return pictures || resolved.prompting().filter(words -> words.responses() > 0).isPresent();
    }

    private static boolean drawsOtherwise(final Variation branch) {
        return branch.noise().filter(noise -> noise.seed().isEmpty()).isPresent()
                || branch.picture().filter(PictureChange::isSeededByRequest).isPresent();
    }

    /** SHA-256, in hexadecimal. */
    static String digest(final byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (final NoSuchAlgorithmException e) {
            throw new AssertionError("every Java platform has SHA-256", e);
        }
    }

    /** Notes a value. */
    void put(final String key, final Object value) {
        entries.put(key, value.toString());
    }

    /** Notes which tokens something acts on. */
    void scope(final Scope scope) {
        put("scope.phases", new TreeSet<>(scope.phases()));
        put("scope.modalities", new TreeSet<>(scope.modalities()));
        scope.medium().ifPresent(number -> put("scope.medium", number));
        scope.positions().ifPresent(positions -> put("scope.positions", positions));
        put("scope.reach", scope.reach());
    }

    private void edits(final List<Edit> edits) {
        final List<String> form = EditForm.of(edits, depth);
        for (int i = 0; i < form.size(); i++) {
            put("edit." + i, form.get(i));
        }
    }

    private void forkMerge(final ForkMerge fork) {
        put("forkMerge.silence", fork.silence());
        put("forkMerge.how", fork.how());
        put("forkMerge.place", place(fork));
        put("forkMerge.weights", fork.weights());
    }

    private Object place(final ForkMerge fork) {
        try {
            return depth.isPresent() ? fork.place().resolve(depth.getAsInt()) : fork.place();
        } catch (final BadInputException e) {
            return fork.place(); // not for this model; refused when it is to be carried out
        }
    }

    private void compression(final String key, final Compression compression) {
        put(key + "keep", compression.keep());
        put(key + "saliency", compression.saliency());
    }

    private void search(final BeamSearch search) {
        put("search.beams", search.beams());
        if (search.beams() > 1) {
            put("search.lengthPenalty", search.lengthPenalty() + 0.0);
            // Of length 0 all are alike.
            put("search.countsPrompt", search.countsPrompt() && search.lengthPenalty() != 0);
        }
        search.overTrust().ifPresent(this::overTrust);
    }

    private void overTrust(final OverTrust trust) {
        put("search.candidates", trust.candidates());
        if (trust.isIdle()) {
            return;
        }
        put("search.scale", trust.scale());
        put("search.factor", trust.factor() + 0.0);
        put("search.weight", trust.weight() + 0.0);
        put("search.opening", trust.opening());
        if (trust.rewardsSpan()) {
            put("search.span", trust.span());
        }
        trust.threshold().ifPresent(threshold -> put("search.threshold", threshold));
    }

    private void gate(final Gate gate) {
        put("gate.kind", gate.kind());
        put("gate.threshold", switch (gate) {
            // The engine compares in single precision.
            case Gate.Entropy entropy -> (float) entropy.above() + 0f;
            case Gate.Confidence confidence -> (float) confidence.below() + 0f;
            case Gate.Disagreement looking -> looking.every();
        });
    }

    private void contrast(final Contrast contrast) {
        put("contrast.method", contrast.method());
        put("contrast.beta", contrast.beta());
        switch (contrast) {
            case Contrast.Plausibility alone -> { }
            case Contrast.Vcd vcd -> {
                put("contrast.alpha", vcd.alpha());
                put("contrast.noiseStep", vcd.noiseStep());
                put("contrast.seed", vcd.seed().map(String::valueOf).orElse("request"));
            }
            case Contrast.Icd icd -> {
                put("contrast.alpha", icd.alpha());
                put("contrast.instruction", icd.instruction());
            }
            case Contrast.M3id m3id -> {
                put("contrast.lambda", m3id.lambda());
                put("contrast.maxWeight", m3id.maxWeight());
                put("contrast.without", m3id.without().label());
            }
            case Contrast.Cad cad -> {
                put("contrast.alpha", cad.alpha());
                put("contrast.without", cad.without().map(Modality::label).orElse("context, else image"));
            }
            case LinearContrast linear -> linear(linear);
        }
    }

    // Of a canonical contrast, whose branches have an order but no names.
    private void linear(final LinearContrast linear) {
        put("contrast.logProbabilities", linear.logProbabilities());
        int row = 0;
        linear.cutOffValue().ifPresent(value -> put("contrast.cutOffValue", (float) value));
        final List<String> names = List.copyOf(linear.branches().keySet());
        final UnaryOperator<String> numbered =
                name -> names.contains(name) ? String.valueOf(names.indexOf(name) + 1) : name;
        put("contrast.0.coefficient",
                coefficient(linear.coefficients().get(LinearContrast.BASE).withRows(numbered)));
        put("contrast.cutOff", 0);
        for (final Map.Entry<String, Variation> branch : linear.branches().entrySet()) {
            row++;
            put("contrast." + row + ".coefficient",
                    coefficient(linear.coefficients().get(branch.getKey()).withRows(numbered)));
            put("contrast." + row + ".variation", key(branch.getValue(), depth));
            if (branch.getKey().equals(linear.cutOff())) {
                put("contrast.cutOff", row);
            }
        }
    }

    /** A coefficient as the engine takes it. */
    static String coefficient(final Expression expression) {
        return expression.constant()
                .map(value -> Float.toString(value.floatValue()))
                .orElseGet(expression::toString);
    }

    /** A text that two variations share exactly when they do the same, whatever the model. */
    static String key(final Variation variation) {
        return key(variation, OptionalInt.empty());
    }

    private static String key(final Variation variation, final OptionalInt depth) {
        final Fingerprint key = new Fingerprint(depth);
        key.put("without", new TreeSet<>(variation.without()));
        variation.only().ifPresent(only -> key.put("only", new TreeSet<>(only)));
        variation.picture().ifPresent(key::picture);
        variation.noise().ifPresent(noise -> {
            key.put("noise.step", noise.step());
            key.put("noise.seed", noise.seed().map(String::valueOf).orElse("request"));
        });
        variation.words().forEach((modality, text) -> key.put("words." + modality.label(), text));
        key.put("silence", new TreeSet<>(variation.silence()));
        key.edits(variation.edits());
        variation.tokens().ifPresent(key::tokens);
        variation.compression().ifPresent(compression -> key.compression("compress.", compression));
        return key.text();
    }

    private void picture(final PictureChange change) {
        switch (change) {
            case PictureChange.Drawn drawn -> {
                put("picture.draw", drawn.from());
                if (drawn.isDrawn()) {
                    put("picture.seed", drawn.seed().map(String::valueOf).orElse("request"));
                }
            }
            case PictureChange.Blackout black -> {
                put("picture.blackout", black.region());
                black.medium().ifPresent(number -> put("picture.media", number));
            }
        }
    }

    private void tokens(final TokenChoice choice) {
        put("tokens.by", choice.by());
        switch (choice) {
            case TokenChoice.LeastAttended least -> {
                put("tokens.span", least.span().label());
                put("tokens.kept", least.share().isPresent() ? least.share().getAsDouble() : least.keep());
                put("tokens.layer", least.layer());
                if (least.refresh() != TokenChoice.Refresh.REQUEST) {
                    put("tokens.refresh", least.refresh());
                }
            }
            case TokenChoice.Blind blind -> {
                put("tokens.span", blind.span().label());
                put("tokens.gamma", blind.gamma());
                put("tokens.lambda", blind.lambda());
            }
            case TokenChoice.Dominated dominated -> {
                put("tokens.weaker", dominated.weaker());
                put("tokens.share", dominated.share());
                put("tokens.within", dominated.within());
                put("tokens.perToken", dominated.perToken());
                if (dominated.behind()) {
                    put("tokens.behind", true);
                }
                if (dominated.mask() != TokenChoice.Mask.COLUMNS) {
                    put("tokens.mask", dominated.mask());
                }
                if (dominated.refresh() != TokenChoice.Refresh.REQUEST) {
                    put("tokens.refresh", dominated.refresh());
                }
            }
        }
    }

    /** All that was noted; lengths keep a value with line breaks from posing as further entries. */
    String text() {
        final StringBuilder text = new StringBuilder();
        entries.forEach((key, value) ->
                text.append('\n').append(key).append('=').append(value.length()).append(':').append(value));
        return text.toString();
    }

    private void pass(final String key, final Pass pass) {
        put(key + "ask", pass.ask());
        put(key + "without", new TreeSet<>(pass.without()));
        pass.after().ifPresent(name -> put(key + "after", name));
        switch (pass) {
            case Pass.Generate generate -> {
                put(key + "name", generate.name());
                put(key + "maxTokens", generate.maxTokens());
            }
            case Pass.Assess assess -> put(key + "words", new TreeMap<>(assess.words()));
        }
    }

    private void prompting(final Prompting prompting) {
        put("prompt.without", new TreeSet<>(prompting.without()));
        prompting.system().ifPresent(text -> put("prompt.system", text));
        prompting.text().ifPresent(text -> put("prompt.text", text));
        put("prompt.responses", prompting.responses());
        if (!prompting.batches().isEmpty()) {
            put("prompt.batches", prompting.batches());
        }
        prompting.after().ifPresent(name -> put("prompt.after", name));
    }

    // Left out: filters and seed of a draw that never happens, and the window of a penalty that does nothing.
    private void sampling(final Sampling sampling) {
        put("sampling.temperature", sampling.temperature() + 0.0);
        if (sampling.temperature() > 0) {
            put("sampling.topK", sampling.topK());
            put("sampling.topP", sampling.topP());
            put("sampling.minP", sampling.minP() + 0.0);
            put("sampling.seed", sampling.seed());
        }
        if (sampling.isPenalised()) {
            put("sampling.repeatPenalty", sampling.repeatPenalty());
            put("sampling.repeatWindow", sampling.repeatWindow());
            if (sampling.frequencyPenalty() != 0) {
                put("sampling.frequencyPenalty", sampling.frequencyPenalty());
            }
            if (sampling.presencePenalty() != 0) {
                put("sampling.presencePenalty", sampling.presencePenalty());
            }
        }
        sampling.grammar().ifPresent(grammar -> put("sampling.grammar", grammar));
        sampling.bias().forEach((word, shift) -> {
            // A shift of 0 shifts nothing.
            if (shift.floatValue() != 0) {
                put("sampling.bias." + word, shift.floatValue());
            }
        });
    }
}
