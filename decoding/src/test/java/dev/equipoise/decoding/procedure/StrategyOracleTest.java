package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.FlashAttention;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.KvType;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.oracle.AnswerCheck;
import dev.equipoise.runtime.oracle.NotedChoice;
import dev.equipoise.runtime.oracle.RequestOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.runtime.tiny.Placement;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every preset on a random model, token by token: what each generated token competed with, against the plain forward
 * passes of its plan's branches. That plans say what the papers say is the business of the tests beside this one.
 */
class StrategyOracleTest {
    private static final int TOKENS = 4;
    // What leaves rows as they are, searches among them, and sinks, which no state of a random model is far enough out
    // to be.
    private static final Set<String> IDLE =
            Set.of(
                    "greedy",
                    "plausibility-only",
                    "zero-scale",
                    "yes-shift",
                    "outro", // no state of this model is that large
                    "beam-search",
                    "opera",
                    "opera-fast",
                    "var:3,17");

    @TempDir
    static Path directory;

    private static TinyRig rig;
    private static Prompt prompt;
    private static RequestOracle oracle;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(directory, 97);
        prompt = rig.prompt.withSystem("look closely");
        oracle = rig.requests();
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    static Stream<String> presets() {
        return Stream.concat(Strategies.names().stream(), Stream.of("var:3,17", "crg:4,2,20,30"));
    }

    private static Request request(final Strategy strategy) {
        return NotedChoice.onGpu(Decoding.prepare(rig.engine, strategy, prompt)
                .plan()
                .request(new Limits(TOKENS, List.of()), Request.MAX_LOG_PROBABILITIES));
    }

    @ParameterizedTest
    @MethodSource("presets")
    void everyTokenOfEveryPreset(final String name) {
        final Request request = request(Strategies.find(name));
        final Answer answer = rig.engine.run(request);
        final AnswerCheck check = AnswerCheck.of(oracle, request, answer, Tolerance::f32);
        assertEquals(Math.max(1, answer.tokens().size()), check.rows());
        if (!IDLE.contains(name)) {
            final Request plain = Request.plain(prompt);
            Placement.requireVisible(
                    check.differenceFrom(oracle, plain) > 10 * check.largestTolerance(),
                     name + ": an effect of " + check.differenceFrom(oracle, plain) + " proves nothing");
        }
    }

    @Test
    void allPresetsInOneBatch() {
        final Map<String, Request> requests = new LinkedHashMap<>();
        presets().forEach(name -> requests.put(name, request(Strategies.find(name))));
        final int branches = requests.values().stream()
                .mapToInt(one -> one.branches().size()
                        + one.search().map(BeamSearch::sequences).orElse(0))
                .sum();
        final EngineOptions options = EngineOptions.defaults()
                .withContext(32_768)
                .withMaxBranches(branches)
                .withThreads(1)
                .withKvType(KvType.F32)
                .withFlashAttention(FlashAttention.OFF);
        try (Engine engine = Engine.open(rig.model, options)) {
            final List<Generation> all = new ArrayList<>();
            requests.values().forEach(one -> all.add(engine.submit(one)));
            while (!all.stream().allMatch(Generation::isDone)) {
                engine.step();
            }
            int at = 0;
            for (final Request one : requests.values()) {
                AnswerCheck.of(oracle, one, all.get(at++).answer(), Tolerance::f32);
            }
        }
    }
}
