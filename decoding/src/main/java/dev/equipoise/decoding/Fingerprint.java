package dev.equipoise.decoding;

import dev.equipoise.decoding.expression.Expression;
import dev.equipoise.runtime.Compression;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.intervention.Condition;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.intervention.When;
import dev.equipoise.steering.edit.AttentionEdit;
import dev.equipoise.steering.edit.Edit;
import dev.equipoise.steering.edit.ExitEdit;
import dev.equipoise.steering.edit.PromptSteeringEdit;
import dev.equipoise.steering.edit.SteeringEdit;
import dev.equipoise.steering.edit.VisionEdit;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.TreeSet;

/** The canonical text of a resolved strategy, and its digest. The text never changes for what it can already say. */
final class Fingerprint {
    private static final String FORMAT = "equipoise-strategy-1";

    private final Map<String, String> entries = new TreeMap<>();

    private Fingerprint() {}

    static String of(final Strategy resolved) {
        final Fingerprint fingerprint = new Fingerprint();
        for (int i = 0; i < resolved.edits().size(); i++) {
            fingerprint.edit("edit." + i + ".", resolved.edits().get(i));
        }
        resolved.forkMerge().ifPresent(fingerprint::forkMerge);
        for (int i = 0; i < resolved.passes().size(); i++) {
            fingerprint.pass("prepare." + i + ".", resolved.passes().get(i));
        }
        resolved.prompting().ifPresent(fingerprint::prompting);
        resolved.contrast().ifPresent(fingerprint::contrast);
        resolved.gate().ifPresent(fingerprint::gate);
        resolved.choosing().ifPresent(rule -> fingerprint.put("choose", rule));
        resolved.compression().ifPresent(compression -> fingerprint.compression("compress.", compression));
        fingerprint.sampling(resolved.sampling());
        return digest((FORMAT + fingerprint.text()).getBytes(StandardCharsets.UTF_8));
    }

    private static byte[] bytes(final float[] values) {
        final ByteBuffer bytes = ByteBuffer.allocate(values.length * Float.BYTES);
        bytes.asFloatBuffer().put(values);
        return bytes.array();
    }

    private static String digest(final byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (final NoSuchAlgorithmException e) {
            throw new AssertionError("every Java platform has SHA-256", e);
        }
    }

    private void put(final String key, final Object value) {
        entries.put(key, value.toString());
    }

    private void edit(final String key, final Edit edit) {
        switch (edit) {
            case SteeringEdit steer -> {
                put(key + "operation", steer.operation());
                if (steer.place() != Intervention.Place.LAYER) {
                    put(key + "place", steer.place());
                }
                if (steer.operation() != Intervention.Operation.ABLATE) {
                    put(key + "amount", (float) steer.amount() + 0f);
                }
                put(key + "layers", steer.layers().map(Object::toString).orElse("the vectors'"));
                vectors(key + "vector.", steer.vectors());
                steer.second().ifPresent(second -> vectors(key + "second.", second));
                scope(key, steer.scope());
                steer.when().ifPresent(when -> when(key + "when.", when.when()));
            }
            case PromptSteeringEdit steer -> {
                put(key + "operation", steer.operation());
                put(key + "place", steer.place());
                put(key + "amount", (float) steer.amount() + 0f);
                put(key + "layers", steer.layers().map(Object::toString).orElse("all"));
                put(key + "without", steer.without().label());
                steer.seed().ifPresent(seed -> put(key + "seed", seed));
                scope(key, steer.scope());
                steer.when().ifPresent(when -> when(key + "when.", when.when()));
            }
            case VisionEdit steer -> {
                put(key + "vision", "turn");
                put(key + "amount", (float) steer.amount() + 0f);
                put(key + "positions", steer.directions().positions());
                // Too many to be spelled out.
                for (final int layer : steer.directions().layers()) {
                    put(key + "vector." + layer, digest(bytes(steer.directions().at(layer))));
                }
            }
            case AttentionEdit.Multiply multiply -> {
                put(key + "attention", multiply.edit());
                span(key, multiply.span(), multiply.medium());
                put(key + "factor", (float) Math.log(multiply.factor()));
                put(key + "layers", multiply.layers());
                scope(key, multiply.queries());
            }
            case AttentionEdit.Mask mask -> {
                // What it does is what a factor of 0 does.
                put(key + "attention", AttentionEdit.Multiply.EDIT);
                span(key, mask.span(), mask.medium());
                put(key + "factor", (float) Math.log(0));
                put(key + "layers", mask.layers());
                scope(key, mask.queries());
            }
            case AttentionEdit.Temperature temperature -> {
                put(key + "attention", temperature.edit());
                put(key + "tau", (float) (1 / temperature.tau()));
                put(key + "layers", temperature.layers());
                scope(key, temperature.queries());
            }
            case AttentionEdit rows -> {
                rows(key, rows);
                put(key + "layers", rows.layers());
                scope(key, rows.queries());
            }
            case ExitEdit.Average average -> {
                put(key + "exits", average.method());
                put(key + "weight", (float) average.weight());
                put(key + "normed", average.normed());
                put(key + "layers", average.layers());
            }
            case ExitEdit.Contrast exits -> {
                put(key + "exits", exits.method());
                put(key + "relativeTop", (float) exits.relativeTop());
                put(key + "layers", exits.layers());
            }
        }
        if (edit instanceof AttentionEdit attention && !attention.heads().isAll()) {
            put(key + "heads", attention.heads().numbers());
        }
    }

    // Names are of no consequence.
    private void when(final String key, final When when) {
        put(key + "rule", when.conditions().size() == 1 ? When.Rule.ANY : when.rule());
        for (int i = 0; i < when.conditions().size(); i++) {
            final Condition condition = when.conditions().get(i);
            put(key + i + ".pooling", condition.pooling());
            put(key + i + ".side", condition.side());
            put(key + i + ".threshold", condition.threshold() + 0.0);
            vectors(key + i + ".vector.", condition.direction());
        }
    }

    // What needs scores or weights. The engine works in single precision.
    private void rows(final String key, final AttentionEdit edit) {
        put(key + "attention", edit.edit());
        switch (edit) {
            case AttentionEdit.Pai pai -> {
                put(key + "span", pai.span().label());
                put(key + "alpha", (float) pai.alpha());
            }
            case AttentionEdit.Vaf vaf -> {
                put(key + "span", vaf.span().label());
                put(key + "spanFactor", (float) vaf.spanFactor());
                put(key + "systemFactor", (float) vaf.systemFactor());
            }
            case AttentionEdit.Var var -> {
                put(key + "span", var.span().label());
                put(key + "sinks", new TreeSet<>(var.sinkDimensions()));
                put(key + "tau", (float) var.tau());
                put(key + "rho", (float) var.rho());
                put(key + "mass", (float) var.mass());
                put(key + "keep", (float) var.sinkWeight());
            }
            case AttentionEdit.Reallocate move -> {
                put(key + "span", move.from().label());
                put(key + "to", move.to().label());
                put(key + "threshold", (float) move.threshold());
                put(key + "fraction", (float) move.fraction());
            }
            default -> throw new IllegalArgumentException(edit.edit());
        }
    }

    private void span(final String key, final Modality span, final OptionalInt medium) {
        put(key + "span", span.label());
        medium.ifPresent(number -> put(key + "medium", number));
    }

    private void vectors(final String key, final LayerVectors vectors) {
        for (final int layer : vectors.layers()) {
            put(key + layer, Arrays.toString(vectors.at(layer)));
        }
    }

    private void scope(final String key, final Scope scope) {
        put(key + "scope.phases", new TreeSet<>(scope.phases()));
        put(key + "scope.modalities", new TreeSet<>(scope.modalities()));
        scope.medium().ifPresent(number -> put(key + "scope.medium", number));
        scope.positions().ifPresent(positions -> put(key + "scope.positions", positions));
        put(key + "scope.reach", scope.reach());
    }

    private void forkMerge(final ForkMerge fork) {
        put("forkMerge.silence", fork.silence());
        put("forkMerge.how", fork.how());
        put("forkMerge.place", fork.place());
        put("forkMerge.weights", fork.weights());
    }

    private void compression(final String key, final Compression compression) {
        put(key + "keep", compression.keep());
        put(key + "saliency", compression.saliency());
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
        put("contrast.0.coefficient", coefficient(linear.coefficients().get(LinearContrast.BASE)));
        put("contrast.cutOff", 0);
        for (final Map.Entry<String, Variation> branch : linear.branches().entrySet()) {
            row++;
            put("contrast." + row + ".coefficient", coefficient(linear.coefficients().get(branch.getKey())));
            put("contrast." + row + ".variation", key(branch.getValue()));
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

    /** A text that two variations share exactly when they do the same. */
    static String key(final Variation variation) {
        final Fingerprint key = new Fingerprint();
        key.put("without", new TreeSet<>(variation.without()));
        variation.only().ifPresent(only -> key.put("only", new TreeSet<>(only)));
        variation.noise().ifPresent(noise -> {
            key.put("noise.step", noise.step());
            key.put("noise.seed", noise.seed().map(String::valueOf).orElse("request"));
        });
        variation.words().forEach((modality, text) -> key.put("words." + modality.label(), text));
        key.put("silence", new TreeSet<>(variation.silence()));
        for (int i = 0; i < variation.edits().size(); i++) {
            key.edit("edit." + i + ".", variation.edits().get(i));
        }
        variation.tokens().ifPresent(key::tokens);
        variation.compression().ifPresent(compression -> key.compression("compress.", compression));
        return key.text();
    }

    private void tokens(final TokenChoice choice) {
        put("tokens.by", choice.by());
        switch (choice) {
            case TokenChoice.LeastAttended least -> {
                put("tokens.span", least.span().label());
                put("tokens.kept", least.share().isPresent() ? least.share().getAsDouble() : least.keep());
                put("tokens.layer", least.layer());
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
            }
        }
    }

    // Lengths keep a value with line breaks from posing as further entries.
    private String text() {
        final StringBuilder text = new StringBuilder();
        entries.forEach((key, value) ->
                text.append('\n').append(key).append('=').append(value.length()).append(':').append(value));
        return text.toString();
    }

    private void pass(final String key, final Pass pass) {
        put(key + "ask", pass.ask());
        put(key + "without", new TreeSet<>(pass.without()));
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
