package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.procedure.Decoding;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.TraceEntry;
import dev.equipoise.runtime.intervention.Condition;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.When;
import dev.equipoise.steering.vector.ControlVectorFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Conditional steering from strategy files to the answer's trace. */
class ConditionStrategyTest {
    private static final int WIDTH = 64;
    private static final String STRATEGY = """
            {"steer": [{"vector": "v.gguf", "scale": 3%s, "when": %s}]}""";
    private static final String LIKE = "{\"vector\": \"like.gguf\", \"layer\": 0, \"above\": %s}";

    @TempDir
    static Path folder;

    private static TinyRig rig;

    @BeforeAll
    static void writeFiles() {
        rig = new TinyRig(folder, 71);
        final Random random = new Random(72);
        for (final String name : List.of("v.gguf", "like.gguf", "other.gguf")) {
            new ControlVectorFile("llama", new LayerVectors(Map.of(0, gaussian(random), 1, gaussian(random))))
                    .write(folder.resolve(name));
        }
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static float[] gaussian(final Random random) {
        final float[] vector = new float[WIDTH];
        for (int i = 0; i < WIDTH; i++) {
            vector[i] = (float) random.nextGaussian();
        }
        return vector;
    }

    private static Strategy read(final String scope, final String when) {
        final Path file = folder.resolve("strategy.json");
        try {
            Files.writeString(file, STRATEGY.formatted(scope, when));
        } catch (final IOException e) {
            throw new AssertionError(e);
        }
        return Strategies.read(file);
    }

    private static Strategy read(final String when) {
        return read("", when);
    }

    private static final String TWO = """
            {"any": [{"vector": "like.gguf", "layer": 0, "above": 0.3},
                     {"vector": "other.gguf", "layer": 1, "below": -0.1, "pooling": "last"}]}""";

    @Test
    void aConditionMayBeAboutWhatEntersTheFirstBlock() {
        final Strategy strategy = read("""
                {"vector": "like.gguf", "at": "embedding", "layer": 1, "above": 0.3}""");
        final Intervention.Steer steer = (Intervention.Steer) Lowering.lower(strategy, rig.prompt, 1, 8)
                .branches()
                .getFirst()
                .interventions()
                .getFirst();
        final Condition condition = steer.when().orElseThrow().conditions().getFirst();
        assertEquals(Intervention.Place.EMBEDDING, condition.place());
        assertEquals(0, condition.readAt());
        assertEquals(Set.of(1), condition.direction().layers());
        assertEquals(strategy, Strategies.parse(strategy.toJson(), "round"));
        assertNotEquals(
                strategy.fingerprint(),
                read("{\"vector\": \"like.gguf\", \"layer\": 1, \"above\": 0.3}").fingerprint());
    }

    @Test
    void conditionsBecomeTheOnesMeant() {
        final Intervention.Steer steer = (Intervention.Steer) Lowering.lower(read(TWO), rig.prompt, 1, 8)
                .branches()
                .getFirst()
                .interventions()
                .getFirst();
        final When when = steer.when().orElseThrow();
        assertEquals(When.Rule.ANY, when.rule());
        final Condition first = when.conditions().getFirst();
        assertEquals("like", first.name());
        assertEquals(
                ControlVectorFile.read(folder.resolve("like.gguf")).vectors().only(Set.of(0)), first.direction());
        assertEquals(Condition.Pooling.MEAN, first.pooling());
        assertEquals(Condition.Side.ABOVE, first.side());
        assertEquals(0.3, first.threshold());
        final Condition second = when.conditions().getLast();
        assertEquals(1, second.layer());
        assertEquals(Condition.Pooling.LAST, second.pooling());
        assertEquals(Condition.Side.BELOW, second.side());
        assertEquals(-0.1, second.threshold());
    }

    @Test
    void whatIsWrittenIsReadAgain() {
        for (final String when : List.of(TWO, TWO.replace("any", "all"), LIKE.formatted("0.5"))) {
            final Strategy strategy = read(when);
            final Strategy again = Strategies.parse(strategy.toJson(), "round");
            assertEquals(strategy, again);
            assertEquals(strategy.fingerprint(), again.fingerprint());
        }
        assertNotEquals(read(TWO).fingerprint(), read(TWO.replace("any", "all")).fingerprint());
        assertNotEquals(read(LIKE.formatted("0.5")).fingerprint(), read(LIKE.formatted("0.4")).fingerprint());
        assertNotEquals(
                read(LIKE.formatted("0.5")).fingerprint(),
                read(LIKE.formatted("0.5").replace("above", "below")).fingerprint());
    }

    @Test
    void controlsKeepTheCondition() {
        final Strategy random = Controls.randomVector(read(TWO), 5);
        assertTrue(random.toJson().contains("\"any\""), random.toJson());
        assertEquals(random, Strategies.parse(random.toJson(), "round"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "{\"layer\": 0, \"above\": 0}                              | $.steer[0].when.vector  | without a vector",
        "{\"vector\": \"like.gguf\", \"above\": 0}                 | $.steer[0].when.layer   | without a layer",
        "{\"vector\": \"like.gguf\", \"layer\": 7, \"above\": 0}   | $.steer[0].when.layer   | no direction",
        "{\"vector\": \"like.gguf\", \"layer\": 0}                 | $.steer[0].when.above   | one threshold",
        "{\"vector\": \"like.gguf\", \"layer\": 0, \"above\": 2}   | $.steer[0].when.above   | out of range",
        "{\"any\": []}                                             | $.steer[0].when.any     | no condition",
        "{\"all\": [{}], \"any\": [{}]}                            | when.any[0].vector      | without a vector",
        "{\"vector\": \"like.gguf\", \"layer\": 0, \"above\": 0, \"below\": 0} | when.above  | one threshold",
        "{\"vector\": \"like.gguf\", \"layer\": 0, \"smaller\": 0} | $.steer[0].when.above   | one threshold",
        "{\"vector\": \"like.gguf\", \"layer\": 0, \"above\": 0, \"x\": 0} | when.x          | unknown key",
        "{\"vector\": \"like.gguf\", \"layer\": 0, \"above\": 0, \"pooling\": \"max\"} | pooling | unknown pooling",
    })
    void faultsNameTheirPath(final String when, final String path, final String what) {
        final BadInputException fault = assertThrows(BadInputException.class, () -> read(when));
        assertTrue(fault.where().contains(path), fault.getMessage());
        assertTrue(fault.what().contains(what), fault.getMessage());
    }

    @Test
    void whatHasNoPlainPromptToReadIsRefused() {
        final String fork = "{\"forkMerge\": {\"silence\": [\"audio\", \"image\"], \"layer\": 0}, ";
        final String like = folder.resolve("like.gguf").toString();
        final String steer = "\"steer\": [{\"vector\": \"" + like + "\", \"when\": {\"vector\": \"" + like
                + "\", \"layer\": 0, \"above\": 0}}]}";
        final BadInputException fault =
                assertThrows(BadInputException.class, () -> Strategies.parse(fork + steer, "s"));
        assertTrue(fault.where().contains("$.steer"), fault.where());
        final String contrast = "{\"contrast\": {\"branches\": {\"b\": {\"without\": \"image\"}}, \"beta\": 0.1,"
                + " \"coefficients\": {\"base\": 2, \"b\": -1}, \"cutOff\": \"b\"}, ";
        assertThrows(BadInputException.class, () -> Strategies.parse(contrast + steer, "s"));
    }

    private static TraceEntry outcome(final Strategy strategy, final Prompt prompt) {
        final Answer answer = Decoding.run(
                rig.engine, strategy, prompt, new Limits(4, List.of()), 0, TokenListener.NONE);
        return answer.trace().getFirst();
    }

    @Test
    void firesBothWaysWithAndWithoutAPicture() {
        for (final String scope : List.of("", ", \"scope\": {\"phase\": \"generated\"}")) {
            for (final Prompt prompt : List.of(
                    rig.prompt, rig.prompt.without(Modality.IMAGE).without(Modality.AUDIO))) {
                final double similarity = outcome(read(scope, LIKE.formatted("1")), prompt)
                        .outcome()
                        .orElseThrow()
                        .similarity();
                final Strategy fires = read(scope, LIKE.formatted(similarity - 1e-3));
                final Strategy rests = read(scope, LIKE.formatted(similarity + 1e-3));
                assertTrue(outcome(fires, prompt).outcome().orElseThrow().fired());
                assertFalse(outcome(rests, prompt).outcome().orElseThrow().fired());
                assertEquals("condition:like", outcome(fires, prompt).intervention());
                // A condition that does not hold leaves every token as it would be.
                assertEquals(
                        Decoding.run(
                                        rig.engine, Strategy.plain(), prompt, new Limits(4, List.of()), 0,
                                        TokenListener.NONE)
                                .tokens(),
                        Decoding.run(rig.engine, rests, prompt, new Limits(4, List.of()), 0, TokenListener.NONE)
                                .tokens());
            }
        }
    }

    @Test
    void explanationsSayWhenAndWhatDecidingCosts() {
        final String before = Explanation.of(Lowering.lower(read(LIKE.formatted("0.5")), rig.prompt, 1, 2)).toJson();
        assertTrue(before.contains("the mean prompt state behind block 0 is like like (above 0.5)"), before);
        assertTrue(before.contains("read once more"), before);
        final String onTheWay = Explanation.of(Lowering.lower(
                        read(", \"scope\": {\"phase\": \"generated\"}", TWO), rig.prompt, 1, 2))
                .toJson();
        assertTrue(onTheWay.contains(" or the last prompt state behind block 1"), onTheWay);
        assertTrue(onTheWay.contains("read on the way"), onTheWay);
    }
}
