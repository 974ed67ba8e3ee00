package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Gate;
import java.util.List;
import tools.jackson.databind.node.ObjectNode;

/** The section {@code gate} of strategy files; nothing in it has a default. */
final class GateJson {
    private static final String ENTROPY = "entropy";
    private static final String CONFIDENCE = "confidence";
    private static final String DISAGREEMENT = "disagreement";
    private static final List<String> KINDS = List.of(ENTROPY, CONFIDENCE, DISAGREEMENT);
    private static final Range NATS = Range.of(0, 1e6);
    private static final Range PROBABILITY = Range.of(0, 1);
    private static final Range TOKENS = Range.of(1, Integer.MAX_VALUE);

    private GateJson() {}

    static Gate read(final Section section) {
        final String kind = section.choice("kind", KINDS).orElseThrow(() -> {
            List.of("above", "below", "every").forEach(section::has);
            return missing(section, "gate without a kind", "kind", "choose " + String.join(", ", KINDS));
        });
        final Gate gate = switch (kind) {
            case ENTROPY -> new Gate.Entropy(section.number(required(section, "above"), NATS, 0));
            case CONFIDENCE -> new Gate.Confidence(section.number(required(section, "below"), PROBABILITY, 0));
            default -> new Gate.Disagreement(section.integer(required(section, "every"), TOKENS, 1));
        };
        section.end();
        return gate;
    }

    private static String required(final Section section, final String key) {
        if (!section.has(key)) {
            throw missing(section, "gate without \"" + key + "\"", key, "give it a value");
        }
        return key;
    }

    // A key that is misspelt explains the one that is missing, so it is named first.
    private static BadInputException missing(
            final Section section, final String what, final String key, final String remedy) {
        section.end();
        return new BadInputException(what, section.where(key), remedy);
    }

    static void write(final Gate gate, final ObjectNode node) {
        node.put("kind", gate.kind());
        switch (gate) {
            case Gate.Entropy entropy -> node.put("above", entropy.above());
            case Gate.Confidence confidence -> node.put("below", confidence.below());
            case Gate.Disagreement looking -> node.put("every", looking.every());
        }
    }
}
