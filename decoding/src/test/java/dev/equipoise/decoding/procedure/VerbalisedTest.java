package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Explanation;
import dev.equipoise.decoding.Pass;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.serving.Steps;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class VerbalisedTest {
    private static final String THREE = "{\"responses\": [{\"text\": \"red\", \"probability\": 0.5}, "
            + "{\"text\": \"blue\", \"probability\": 0.3}, {\"text\": \"green\", \"probability\": 0}]}";

    private static Set<String> drawn(final String written) {
        return LongStream.range(0, 200)
                .mapToObj(seed -> Verbalised.draw(List.of(written), seed).text().orElseThrow())
                .collect(Collectors.toSet());
    }

    @Test
    void drawsByTheStatedProbabilities() {
        assertEquals(Set.of("red", "blue"), drawn("Here you are: " + THREE + " I hope it helps."));
        final long red = LongStream.range(0, 20_000)
                .filter(seed -> Verbalised.draw(List.of(THREE), seed).text().orElseThrow().equals("red"))
                .count();
        // 0.5 of 0.8; a share of 20,000 has a standard deviation of 0.0035, of which this is six.
        assertTrue(Math.abs(red / 20_000.0 - 0.625) <= 0.021, red + " of 20000");
        assertEquals(Verbalised.draw(List.of(THREE), 5), Verbalised.draw(List.of(THREE), 5));
        assertEquals(Set.of("a", "b"), drawn("{\"responses\":[{\"text\":\"a\"},{\"text\":\"b\",\"probability\":0}]}"));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "", "red", "}{", "{\"responses\": []}", "{\"responses\": 3}", "{\"responses\": [{\"text\": 1}]}",
        "{\"responses\": [{\"text\": \"a\", \"probability\": 2}]}", "{\"responses\": [{\"text\": \"a\"",
    })
    void anythingElseIsTakenAsItIs(final String written) {
        final Verbalised.Drawn none = Verbalised.draw(List.of(written), 1);
        assertEquals(Optional.empty(), none.text());
        assertEquals("draw:unparsed", none.trace().intervention());
    }

    @Test
    void answersOfSeveralBatchesAreDrawnFromTogether() {
        final String reasoned =
                "{\"reasoning\": \"as it is\", \"responses\": [{\"text\": \"a\", \"probability\": 0.1}]}";
        final String broken = "I would rather not";
        final Set<String> all = LongStream.range(0, 200)
                .mapToObj(seed -> Verbalised.draw(List.of(THREE, broken, reasoned), seed).text().orElseThrow())
                .collect(Collectors.toSet());
        assertEquals(Set.of("red", "blue", "a"), all);
        final Verbalised.Drawn one = Verbalised.draw(List.of(broken, reasoned), 3);
        assertEquals("draw:1-of-1", one.trace().intervention());
    }

    @ParameterizedTest
    @CsvSource({
        "verbalised-sampling, 0", "verbalised-sampling-cot, 0", "verbalised-sampling-tails, 0",
        "verbalised-sampling-multi, 1"
    })
    void everyVariantIsAskedForAndTraced(final String name, final int passes, @TempDir final Path directory) {
        final Strategy strategy = Strategies.named(name);
        assertEquals(passes, strategy.passes().size());
        final String asked = strategy.prompting().orElseThrow().text().orElseThrow();
        assertEquals(name.endsWith("cot"), asked.contains("reasoning"));
        assertEquals(name.endsWith("tails"), asked.contains("below 0.1"));
        assertEquals(name.endsWith("multi"), asked.contains("further") && !asked.contains("{question}"));
        assertEquals(strategy, Strategies.parse(strategy.toJson(), "round"));
        try (TinyRig rig = new TinyRig(directory, 53)) {
            final Answer answer = Decoding.run(
                    rig.engine, strategy, rig.prompt, new Limits(8, List.of()), 0, TokenListener.NONE);
            // What a random model writes is no JSON: the answer is what it wrote, and the trace says so.
            assertEquals("draw:unparsed", answer.trace().getLast().intervention());
            assertEquals(
                    passes,
                    answer.trace().stream()
                            .filter(entry -> entry.intervention().equals("prepare:batch_1"))
                            .count());
        }
    }

    @Test
    void batchesAreTurnsOfOneConversation(@TempDir final Path directory) {
        final Strategy strategy = Strategies.parse(
                "{\"prompt\":{\"method\":\"verbalised-sampling\",\"variant\":\"multi\",\"batches\":3,\"maxTokens\":4},"
                        + "\"contrast\":{\"branches\":{\"doubting\":{\"text\":\"Are you sure?\"}},"
                        + "\"coefficients\":{\"base\":2,\"doubting\":-1}}}",
                "three");
        assertEquals(strategy.fingerprint(), Strategies.parse(strategy.toJson(), "again").fingerprint());
        try (TinyRig rig = new TinyRig(directory, 59)) {
            final Decoding.Prepared prepared = Decoding.prepare(rig.engine, strategy, rig.prompt);
            final String first = prepared.texts().get("batch_1");
            final String second = prepared.texts().get("batch_2");
            final Prompt plain = Decoding.prepare(
                            rig.engine, Strategies.named("verbalised-sampling"), rig.prompt)
                    .plan()
                    .branches()
                    .getFirst()
                    .prompt();
            final String further = strategy.prompting().orElseThrow().text().orElseThrow();
            final Prompt expected = plain.then(first, further).then(second, further);
            final List<Branch> branches = prepared.plan().branches();
            assertEquals(expected, branches.getFirst().prompt());
            assertEquals(plain.then(first, further).then(second, "Are you sure?"), branches.getLast().prompt());
            // Each batch is what the model answers in its turn.
            assertEquals(first, written(rig, plain));
            assertEquals(second, written(rig, plain.then(first, further)));
            final double[] base = rig.row(expected);
            final double[] doubting = rig.row(branches.getLast().prompt());
            final float[] row = rig.engine
                    .logits(prepared.plan().request(new Limits(1, List.of()), 0))
                    .logits();
            for (int token = 0; token < row.length; token++) {
                assertEquals(2 * base[token] - doubting[token], row[token], 3 * Tolerance.f32(base));
            }
            final List<String> explained = Explanation.of(Decoding.outline(strategy, rig.prompt, rig.model.info()))
                    .steps()
                    .stream()
                    .map(Explanation.Step::mechanism)
                    .toList();
            assertTrue(explained.stream().anyMatch(words -> words.contains("behind {batch_2}")), explained.toString());
        }
    }

    private static String written(final TinyRig rig, final Prompt prompt) {
        return Decoding.write(
                Steps.on(rig.engine, TokenListener.NONE), new Pass.Generate("one", "", Set.of(), 4), prompt);
    }

    @Test
    void aTurnFollowsWhatAPassWrote() {
        for (final String broken : List.of(
                "{\"prompt\":{\"text\":\"more\",\"after\":\"b\"}}",
                "{\"prepare\":[{\"name\":\"b\",\"ask\":\"x\"}],\"prompt\":{\"after\":\"b\"}}",
                "{\"prepare\":[{\"name\":\"b\",\"ask\":\"x\",\"after\":\"b\"}],\"prompt\":{\"text\":\"{b}\"}}")) {
            final BadInputException why =
                    assertThrows(BadInputException.class, () -> Strategies.parse(broken, "broken"));
            assertTrue(why.where().contains("after"), why.getMessage());
        }
    }

    @Test
    void batchesMustBeWritten() {
        assertThrows(
                BadInputException.class,
                () -> Strategies.parse(
                        "{\"prompt\":{\"text\":\"{question}\",\"responses\":2,\"batches\":[\"b\"]}}", "s"));
        assertThrows(
                BadInputException.class,
                () -> Strategies.parse(
                        "{\"prompt\":{\"method\":\"verbalised-sampling\",\"batches\":2}}", "s"));
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
                assertEquals(Verbalised.draw(List.of(THREE), seed).text().orElseThrow(), answer.text());
                assertEquals(answer.text(), heard.toString());
                assertTrue(answer.trace().getLast().intervention().matches("draw:[12]-of-3"));
                assertTrue(answer.tokens().size() > 20);
            }
        }
    }
}
