package dev.equipoise.decoding;

import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Sampling;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;

/** The canonical text of a resolved strategy, and its digest. The text never changes for what it can already say. */
final class Fingerprint {
    private static final String FORMAT = "equipoise-strategy-1";

    private final Map<String, String> entries = new TreeMap<>();

    private Fingerprint() {}

    static String of(final Strategy resolved) {
        final Fingerprint fingerprint = new Fingerprint();
        resolved.contrast().ifPresent(fingerprint::contrast);
        fingerprint.sampling(resolved.sampling());
        final StringBuilder text = new StringBuilder(FORMAT);
        // Lengths keep a value with line breaks from posing as further entries.
        fingerprint.entries.forEach((key, value) ->
                text.append('\n').append(key).append('=').append(value.length()).append(':').append(value));
        try {
            final MessageDigest digest = MessageDigest.getInstance("SHA-256");
            return HexFormat.of().formatHex(digest.digest(text.toString().getBytes(StandardCharsets.UTF_8)));
        } catch (final NoSuchAlgorithmException e) {
            throw new AssertionError("every Java platform has SHA-256", e);
        }
    }

    private void put(final String key, final Object value) {
        entries.put(key, value.toString());
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
        }
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
        if (sampling.repeatPenalty() != 1 && sampling.repeatWindow() > 0) {
            put("sampling.repeatPenalty", sampling.repeatPenalty());
            put("sampling.repeatWindow", sampling.repeatWindow());
        }
        sampling.grammar().ifPresent(grammar -> put("sampling.grammar", grammar));
    }
}
