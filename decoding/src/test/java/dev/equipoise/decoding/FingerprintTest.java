package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Sampling;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.AlphaChars;
import net.jqwik.api.constraints.StringLength;
import org.junit.jupiter.api.Test;

class FingerprintTest {
    private static String of(final String json) {
        return Strategies.parse(json, "test").fingerprint();
    }

    private static Strategy with(final Contrast contrast) {
        return new Strategy("x", Optional.empty(), Optional.of(contrast), Sampling.greedy());
    }

    @Provide
    Arbitrary<Contrast> contrasts() {
        final Arbitrary<Double> alpha = Arbitraries.doubles().between(0.01, 100);
        final Arbitrary<Double> beta = Arbitraries.doubles().between(0, 1);
        final Arbitrary<Modality> modality = Arbitraries.of(Modality.class);
        return Arbitraries.oneOf(
                beta.map(Contrast.Plausibility::new),
                Combinators.combine(
                                alpha, beta, Arbitraries.integers().between(0, 999),
                                Arbitraries.longs().optional())
                        .as(Contrast.Vcd::new),
                Combinators.combine(alpha, beta, Arbitraries.strings().alpha().ofMinLength(1))
                        .as(Contrast.Icd::new),
                Combinators.combine(alpha, beta, Arbitraries.doubles().between(0, 50), modality)
                        .as(Contrast.M3id::new),
                Combinators.combine(alpha, beta, modality.optional()).as(Contrast.Cad::new));
    }

    @Property(tries = 300)
    void writingAndReadingKeepsTheStrategy(@ForAll("contrasts") final Contrast contrast) {
        final Strategy strategy = with(contrast);
        final Strategy again = Strategies.parse(strategy.toJson(), "round");
        assertEquals(strategy, again);
        assertEquals(strategy.fingerprint(), again.fingerprint());
    }

    @Property(tries = 300)
    void differentContrastsDiffer(
            @ForAll("contrasts") final Contrast one, @ForAll("contrasts") final Contrast other) {
        final boolean same = with(one).resolved().contrast().equals(with(other).resolved().contrast());
        assertEquals(same, with(one).fingerprint().equals(with(other).fingerprint()));
    }

    @Property(tries = 100)
    void neitherNameNorSourceCounts(
            @ForAll("contrasts") final Contrast contrast,
            @ForAll @AlphaChars @StringLength(min = 1) final String name) {
        final Strategy named = new Strategy(
                name, Optional.of(new Source(name, "", "", "")), Optional.of(contrast), Sampling.greedy());
        assertEquals(with(contrast).fingerprint(), named.fingerprint());
    }

    @Property(tries = 50)
    void orderOfKeysAndSpelledOutDefaultsDoNotCount(@ForAll final long shuffle) {
        final List<String> keys = new ArrayList<>(List.of(
                "\"method\":\"vcd\"", "\"alpha\":1", "\"beta\":0.10", "\"noiseStep\":500"));
        Collections.shuffle(keys, new Random(shuffle));
        assertEquals(
                of("{\"contrast\":{\"method\":\"vcd\"}}"),
                of("{\"sampling\":{\"temperature\":0.0,\"topK\":0},\"contrast\":{" + String.join(",", keys) + "}}"));
    }

    @Test
    void whatHasNoEffectDoesNotCount() {
        final String plain = Strategy.plain().fingerprint();
        assertEquals(plain, Strategies.named("greedy").fingerprint());
        assertEquals(plain, of("{\"contrast\":{\"method\":\"vcd\",\"alpha\":0,\"beta\":0}}"));
        assertEquals(plain, of("{\"contrast\":{\"method\":\"cad\",\"alpha\":-0.0,\"without\":\"image\"}}"));
        assertEquals(plain, of("{\"contrast\":{\"method\":\"plausibility\",\"beta\":0}}"));
        assertEquals(
                Strategies.named("plausibility-only").fingerprint(),
                of("{\"contrast\":{\"method\":\"icd\",\"alpha\":0}}"));
        // A draw that never happens, a penalty that sees nothing.
        assertEquals(plain, of("{\"sampling\":{\"topK\":40,\"topP\":0.9,\"minP\":0.1,\"seed\":7}}"));
        assertEquals(
                of("{\"contrast\":{\"method\":\"vcd\",\"seed\":0}}"),
                of("{\"contrast\":{\"method\":\"vcd\",\"seed\":0},\"sampling\":{\"seed\":7}}"));
        assertEquals(plain, of("{\"sampling\":{\"repeatWindow\":3}}"));
        assertEquals(plain, of("{\"sampling\":{\"repeatPenalty\":2,\"repeatWindow\":0}}"));
        assertEquals(plain, of("{\"sampling\":{\"frequencyPenalty\":2,\"repeatWindow\":0}}"));
    }

    @Test
    void whatHasAnEffectCounts() {
        final List<String> different = List.of(
                "{}",
                "{\"contrast\":{\"method\":\"plausibility\"}}",
                "{\"contrast\":{\"method\":\"vcd\"}}",
                "{\"contrast\":{\"method\":\"vcd\",\"seed\":0}}",
                "{\"contrast\":{\"method\":\"vcd\"},\"sampling\":{\"seed\":1}}",
                "{\"contrast\":{\"branches\":{\"n\":{\"noise\":{},\"without\":[\"audio\"]}},"
                        + "\"coefficients\":{\"base\":2,\"n\":-1}}}",
                "{\"contrast\":{\"branches\":{\"n\":{\"noise\":{},\"without\":[\"audio\"]}},"
                        + "\"coefficients\":{\"base\":2,\"n\":-1}},\"sampling\":{\"seed\":1}}",
                "{\"prompt\":{\"method\":\"verbalised-sampling\"}}",
                "{\"prompt\":{\"method\":\"verbalised-sampling\"},\"sampling\":{\"seed\":1}}",
                "{\"contrast\":{\"method\":\"vcd\",\"noiseStep\":499}}",
                "{\"contrast\":{\"method\":\"icd\"}}",
                "{\"contrast\":{\"method\":\"icd\",\"instruction\":\"x\"}}",
                "{\"contrast\":{\"method\":\"cad\"}}",
                "{\"contrast\":{\"method\":\"cad\",\"without\":\"context\"}}",
                "{\"contrast\":{\"method\":\"m3id\",\"lambda\":0}}",
                "{\"sampling\":{\"temperature\":1}}",
                "{\"sampling\":{\"temperature\":1,\"seed\":1}}",
                "{\"sampling\":{\"repeatPenalty\":1.1}}",
                "{\"sampling\":{\"frequencyPenalty\":1.1}}",
                "{\"sampling\":{\"presencePenalty\":1.1}}",
                "{\"sampling\":{\"grammar\":\"root ::= [a-z]\"}}");
        final Set<String> fingerprints = new HashSet<>();
        different.forEach(json -> fingerprints.add(of(json)));
        assertEquals(different.size(), fingerprints.size());
    }

    /** Fingerprints are kept in reports: one that changes without need breaks comparisons with older ones. */
    @Test
    void theFormatStays() {
        assertEquals(
                "bffc5e3501b1657e9b393c22a5a820e4b23f3f6ca3bae51e8ec533c51ced6d68",
                Strategy.plain().fingerprint());
        assertEquals(
                "d1f57270d9760ceaaf4414a3bc3c0872874078dd1a9ee9a65af32fc09ac22795",
                Strategies.named("vcd").fingerprint());
    }
}
