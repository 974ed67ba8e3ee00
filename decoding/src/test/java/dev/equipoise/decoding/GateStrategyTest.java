package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.PlanDescription;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The section {@code gate}: from its file to the engine, in words, and where it is refused. */
class GateStrategyTest {
    private static final Prompt PROMPT =
            Prompt.builder().context("It is red.").text("Which colour?").build();

    @TempDir
    static Path directory;

    private static Strategy cad(final String gate) {
        return Strategies.parse(
                "{\"contrast\": {\"method\": \"cad\", \"alpha\": 2}, \"gate\": " + gate + "}", "test");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "{\"kind\": \"entropy\", \"above\": 0.6}|entropy|entropy of the base row is above 0.6 nats|second decode",
        "{\"kind\": \"confidence\", \"below\": 0.9}|confidence|largest probability of the base row is below 0.9|second",
        "{\"kind\": \"disagreement\", \"every\": 4}|disagreement|multiple of 4|in the decode of the step"})
    void isReadWrittenAndExplained(
            final String json, final String kind, final String opens, final String how) {
        final Strategy strategy = cad(json);
        assertEquals(kind, strategy.gate().orElseThrow().kind());
        assertEquals(strategy, Strategies.parse(strategy.toJson(), "again"));
        assertNotEquals(Strategies.parse("{\"contrast\": {\"method\": \"cad\", \"alpha\": 2}}", "test").fingerprint(),
                strategy.fingerprint());

        final Plan plan = Lowering.lower(strategy, PROMPT, 1, 8);
        assertEquals(strategy.gate(), plan.gate());
        assertEquals(strategy.gate(), plan.request(Limits.defaults(), 0).gate());
        final Explanation.Step step = Explanation.of(plan).steps().stream()
                .filter(line -> line.intervention().equals("gate:" + kind))
                .findFirst()
                .orElseThrow();
        assertTrue(step.mechanism().contains(opens), step::mechanism);
        assertTrue(step.mechanism().contains(how), step::mechanism);
        assertTrue(Explanation.of(plan).toJson().contains("generated tokens whose gate is open"));
    }

    @ParameterizedTest
    @CsvSource({"0,stay behind from the first shut step", "2147483647,at every token", "32,shut for 32 tokens"})
    void anEngineSaysHowLongBranchesComeAlong(final int patience, final String words) {
        final Plan plan = Lowering.lower(cad("{\"kind\": \"entropy\", \"above\": 0.6}"), PROMPT, 1, 8);
        final Explanation known = Explanation.of(plan).with(new PlanDescription(
                List.of(), new PlanDescription.Draw(false, "so it is"), patience, Optional.empty()));
        assertEquals(
                List.of("gate:entropy"),
                known.steps().stream()
                        .filter(step -> step.mechanism().contains(words))
                        .map(Explanation.Step::intervention)
                        .toList());
    }

    @Test
    void thresholdsTellStrategiesApart() {
        assertNotEquals(
                cad("{\"kind\": \"entropy\", \"above\": 0.6}").fingerprint(),
                cad("{\"kind\": \"entropy\", \"above\": 0.7}").fingerprint());
        assertNotEquals(
                cad("{\"kind\": \"entropy\", \"above\": 0.5}").fingerprint(),
                cad("{\"kind\": \"confidence\", \"below\": 0.5}").fingerprint());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{\"gate\": {\"kind\": \"entropy\", \"above\": 1}}",
        "{\"gate\": {\"kind\": \"entropy\", \"above\": 1}, \"contrast\": {\"method\": \"plausibility\"}}",
        "{\"gate\": {\"kind\": \"entropy\", \"above\": 1},"
            + "\"forkMerge\": {\"layer\": 1, \"silence\": [\"image\", \"audio\"]}}",
        "{\"gate\": {\"kind\": \"entropy\"}, \"contrast\": {\"method\": \"cad\"}}",
        "{\"gate\": {\"above\": 1}, \"contrast\": {\"method\": \"cad\"}}",
        "{\"gate\": {\"kind\": \"confidence\", \"below\": 1.5}, \"contrast\": {\"method\": \"cad\"}}",
        "{\"gate\": {\"kind\": \"disagreement\", \"every\": 0}, \"contrast\": {\"method\": \"cad\"}}",
        "{\"gate\": {\"kind\": \"disagreement\", \"above\": 1, \"every\": 2}, \"contrast\": {\"method\": \"cad\"}}"})
    void isRefused(final String json) {
        final BadInputException refused =
                assertThrows(BadInputException.class, () -> Strategies.parse(json, "file.json"));
        assertTrue(refused.where().contains("gate"), refused::getMessage);
    }

    @Test
    void aContrastOfStrengthZeroNeedsNoGate() {
        final Strategy idle = Strategies.parse(
                "{\"contrast\": {\"method\": \"cad\", \"alpha\": 0}, \"gate\": {\"kind\": \"entropy\", \"above\": 1}}",
                "test");
        assertEquals(Optional.empty(), idle.resolved().gate());
        assertEquals(Strategy.plain().fingerprint(), idle.fingerprint());
        assertEquals(1, Lowering.lower(idle, PROMPT, 1, 8).branches().size());
    }

    @Test
    void opensForSomeTokensInTheEngine() {
        final Path file = TinyModels.llama(directory.resolve("tiny.gguf"), 3);
        final EngineOptions options = Tolerance.exact(256);
        try (Model model = Model.load(file, Placement.options());
                Engine engine = Engine.open(model, options)) {
            final Limits limits = new Limits(20, List.of());
            final Strategy strategy = cad("{\"kind\": \"disagreement\", \"every\": 7}");
            final Plan plan = Lowering.lower(strategy, PROMPT, 1, model.info().layers());
            final Answer gated = engine.run(plan.request(limits, 0));
            final int opened = gated.trace().stream()
                    .filter(entry -> entry.intervention().equals("gate:disagreement"))
                    .mapToInt(entry -> entry.tokens())
                    .sum();
            assertTrue(opened >= 3 && opened < 20, "opened " + opened);
            final Strategy always = strategy.withGate(new Gate.Disagreement(1));
            final Strategy never = Strategies.parse("{\"contrast\": {\"method\": \"cad\", \"alpha\": 2}}", "test");
            assertEquals(
                    engine.run(Lowering.lower(never, PROMPT, 1, model.info().layers()).request(limits, 0)).tokens(),
                    engine.run(Lowering.lower(always, PROMPT, 1, model.info().layers()).request(limits, 0)).tokens());
        }
    }
}
