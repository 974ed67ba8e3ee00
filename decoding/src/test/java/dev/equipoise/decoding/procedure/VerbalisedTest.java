package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Sampling;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class VerbalisedTest {
    private static final String THREE = "{\"responses\": [{\"text\": \"red\", \"probability\": 0.5}, "
            + "{\"text\": \"blue\", \"probability\": 0.3}, {\"text\": \"green\", \"probability\": 0}]}";

    private static Set<String> drawn(final String written) {
        return LongStream.range(0, 200)
                .mapToObj(seed -> Verbalised.draw(written, seed).orElseThrow())
                .collect(Collectors.toSet());
    }

    @Test
    void drawsByTheStatedProbabilities() {
        assertEquals(Set.of("red", "blue"), drawn("Here you are: " + THREE + " I hope it helps."));
        final long red = LongStream.range(0, 20_000)
                .filter(seed -> Verbalised.draw(THREE, seed).orElseThrow().equals("red"))
                .count();
        // 0.5 of 0.8; a share of 20,000 has a standard deviation of 0.0035, of which this is six.
        assertTrue(Math.abs(red / 20_000.0 - 0.625) <= 0.021, red + " of 20000");
        assertEquals(Verbalised.draw(THREE, 5), Verbalised.draw(THREE, 5));
        assertEquals(Set.of("a", "b"), drawn("{\"responses\":[{\"text\":\"a\"},{\"text\":\"b\",\"probability\":0}]}"));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "", "red", "}{", "{\"responses\": []}", "{\"responses\": 3}", "{\"responses\": [{\"text\": 1}]}",
        "{\"responses\": [{\"text\": \"a\", \"probability\": 2}]}", "{\"responses\": [{\"text\": \"a\"",
    })
    void anythingElseIsTakenAsItIs(final String written) {
        assertEquals(Optional.empty(), Verbalised.draw(written, 1));
    }

    /** A grammar makes even a random model write the format down. */
    @Test
    void anAnswerIsDrawnFromWhatTheModelWrote(@TempDir final Path directory) {
        final String grammar = "root ::= \"" + THREE.replace("\"", "\\\"") + "\"";
        try (TinyRig rig = new TinyRig(directory, 53)) {
            final Strategy strategy = Strategies.named("verbalised-sampling");
            final StringBuilder heard = new StringBuilder();
            for (long seed = 0; seed < 4; seed++) {
                final Sampling sampling = new Sampling(0, 0, 1, 0, 1, 64, seed, Optional.of(grammar));
                heard.setLength(0);
                final Answer answer = Decoding.run(
                        rig.engine,
                        strategy.withSampling(sampling),
                        rig.prompt,
                        new Limits(400, List.of()),
                        0,
                        (token, text) -> heard.append(text));
                assertEquals(Verbalised.draw(THREE, seed).orElseThrow(), answer.text());
                assertEquals(answer.text(), heard.toString());
                assertTrue(answer.tokens().size() > 20);
            }
        }
    }
}
