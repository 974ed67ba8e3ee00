package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.Condition;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Reweigh;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.intervention.When;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.InterventionOracle;
import dev.equipoise.runtime.oracle.InterventionOracle.Act;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.LlamaOracle.Inside;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Log-probabilities of continuations, all behind one prompt, against one forward pass for each. */
class ContinuationsTest {
    private static final List<int[]> CONTINUATIONS = List.of(
            new int[] {7, 300, 12}, new int[] {5}, new int[] {7, 300, 13, 500, 0}, new int[] {7, 8}, new int[] {511});
    private static final EngineOptions EXACT = Tolerance.exact(256);

    @TempDir
    static Path directory;

    private static Model model;
    private static LlamaOracle oracle;
    private static Prompt prompt;
    private static int[] promptTokens;
    private static Span note;

    @BeforeAll
    static void writeModel() {
        final Path file = TinyModels.llama(directory.resolve("tiny.gguf"), 17);
        model = Model.load(file, Placement.options());
        oracle = LlamaOracle.of(GgufFile.read(file));
        prompt = Prompt.builder().context("the square is green").text("which colour has it").build();
        try (Engine engine = Engine.open(model, EXACT)) {
            final NextLogits next = engine.logits(Request.plain(prompt));
            promptTokens = next.promptTokens();
            note = next.spans().stream()
                    .filter(span -> span.modality() == Modality.CONTEXT)
                    .findFirst()
                    .orElseThrow();
        }
    }

    @AfterAll
    static void closeModel() {
        model.close();
    }

    private static double[] expected(final int[] continuation, final Inside inside) {
        final int[] all = IntStream.concat(IntStream.of(promptTokens), IntStream.of(continuation)).toArray();
        final double[][] rows = oracle.run(Input.tokens(all), inside).logits();
        return IntStream.range(0, continuation.length)
                .mapToDouble(at -> ContrastOracle.logSoftmax(rows[promptTokens.length - 1 + at])[continuation[at]])
                .toArray();
    }

    private static void assertAgree(final List<double[]> scores, final Inside inside) {
        assertEquals(CONTINUATIONS.size(), scores.size());
        for (int i = 0; i < scores.size(); i++) {
            final double[] expected = expected(CONTINUATIONS.get(i), inside);
            assertEquals(expected.length, scores.get(i).length);
            final double[] row = oracle.run(Input.tokens(promptTokens), inside).last();
            for (int at = 0; at < expected.length; at++) {
                final double difference = Math.abs(expected[at] - scores.get(i)[at]);
                // A logit's error, and that of the common sum, which is at most as large.
                assertTrue(difference <= 2 * Tolerance.f32(row), i + ", token " + at + ": " + difference);
            }
        }
    }

    // Eight rows hold them all; three and five take several decodes, and with one sequence they come one by one.
    @ParameterizedTest
    @CsvSource({"8,512", "3,512", "1,512", "5,5", "4,4"})
    void allAtOnceAsOneByOne(final int branches, final int microBatch) {
        final Branch plain = new Branch("base", prompt);
        try (Engine engine = Engine.open(model, EXACT.withMaxBranches(branches).withMicroBatch(microBatch))) {
            final long before = engine.nativeCalls();
            final List<double[]> together = engine.logProbabilities(plain, CONTINUATIONS);
            if (branches == 8) {
                // Decodes: the prompt, all continuations. Four sequences take the prompt's cells; all five
                // give back first the continuations', then the rest.
                assertEquals(2 + 4 + 5 + 5, engine.nativeCalls() - before);
            }
            assertAgree(together, Inside.NOTHING);
            final double[] row = oracle.run(Input.tokens(promptTokens)).last();
            for (int i = 0; i < CONTINUATIONS.size(); i++) {
                final double[] alone = engine.logProbabilities(plain, List.of(CONTINUATIONS.get(i))).getFirst();
                // The same sums in batches of other shapes: twice the error of one.
                assertArrayEquals(alone, together.get(i), 4 * Tolerance.f32(row));
            }
            assertEquals(new Engine.Room(256, 256, branches, branches), engine.room(), "all is given back");
        }
    }

    @Test
    void whatActsOnGeneratedTokensActsOnThem() {
        final Intervention louder = new Reweigh(
                "louder", EnumSet.of(Modality.CONTEXT), OptionalInt.empty(), 8, new TreeSet<>(List.of(0, 1, 2, 3)),
                Scope.all());
        final Inside inside = new InterventionOracle(new Act(
                louder, t -> true, key -> key >= note.start() && key < note.start() + note.length()));
        try (Engine engine = Engine.open(model, EXACT.withMaxBranches(4))) {
            assertAgree(engine.logProbabilities(new Branch("base", prompt, List.of(louder)), CONTINUATIONS), inside);
            // A request that was there before is not disturbed, and what acted is gone.
            final Generation company = engine.submit(Request.plain(prompt));
            engine.step();
            assertAgree(engine.logProbabilities(new Branch("base", prompt), CONTINUATIONS), Inside.NOTHING);
            while (!company.isDone()) {
                engine.step();
            }
            assertEquals(engine.run(Request.plain(prompt)).tokens(), company.answer().tokens());
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void conditionsAreDecidedByThePrompt(final boolean met) {
        final float[] direction = new float[64];
        Arrays.fill(direction, 1);
        final LayerVectors vectors = new LayerVectors(Map.of(1, direction));
        // No cosine is above 1, and none of a state that is not the direction's very opposite is -1.
        final When when = new When(When.Rule.ALL, List.of(new Condition(
                "looks", vectors, Condition.Pooling.MEAN, Condition.Side.ABOVE, met ? -1 : 1)));
        final Intervention steer = new Intervention.Steer(
                "steer", Intervention.Operation.ADD, Intervention.Place.LAYER, vectors, Optional.empty(), 2,
                Scope.all().during(EnumSet.of(Phase.GENERATED)), Optional.of(when));
        final Inside inside =
                met ? new InterventionOracle(new Act(steer, t -> t >= promptTokens.length)) : Inside.NOTHING;
        try (Engine engine = Engine.open(model, EXACT.withMaxBranches(4))) {
            assertAgree(engine.logProbabilities(new Branch("base", prompt, List.of(steer)), CONTINUATIONS), inside);
        }
        if (met) {
            final double[] plain = expected(CONTINUATIONS.get(2), Inside.NOTHING);
            assertNotEquals(plain[2], expected(CONTINUATIONS.get(2), inside)[2], 0.01, "an effect is needed");
        }
    }

    @Test
    void refusesWhatIsNoContinuation() {
        final Branch plain = new Branch("base", prompt);
        try (Engine engine = Engine.open(model, EXACT.withContext(256).withMicroBatch(8).withMaxBranches(2))) {
            assertTrue(engine.logProbabilities(plain, List.of()).isEmpty());
            for (final int[] wrong : List.of(new int[0], new int[] {-1}, new int[] {512}, new int[250])) {
                assertThrows(BadInputException.class, () -> engine.logProbabilities(plain, List.of(wrong)));
            }
            assertEquals(new Engine.Room(256, 256, 2, 2), engine.room());
            assertAgree(engine.logProbabilities(plain, CONTINUATIONS), Inside.NOTHING);
        }
    }
}
