package dev.equipoise.steering.vector;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import dev.equipoise.steering.Layers;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SortedSet;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Vectors of a tiny random model against those that the oracle's hidden states give. */
class ExtractionTest {
    private static final EngineOptions EXACT = Tolerance.exact(256);
    private static final List<String> QUESTIONS = List.of("which colour", "what shape has it", "who speaks");

    @TempDir
    static Path directory;

    private static LlamaOracle oracle;
    private static Model model;
    private static Engine engine;

    @BeforeAll
    static void open() {
        final Path file = TinyModels.llama(directory.resolve("tiny.gguf"), 11);
        oracle = LlamaOracle.of(GgufFile.read(file));
        model = Model.load(file, Placement.options());
        engine = Engine.openForCapture(model, EXACT);
    }

    @AfterAll
    static void close() {
        engine.close();
        model.close();
    }

    private static List<PromptPair> pairs() {
        return QUESTIONS.stream()
                .map(question -> new PromptPair(
                        Prompt.builder().system("follow the picture").text(question).build(),
                        Prompt.builder().system("follow the note, please").text(question).build()))
                .toList();
    }

    private static double[] oracleState(final Prompt prompt, final int layer, final int position) {
        final int[] tokens = engine.logits(Request.plain(prompt)).promptTokens();
        return oracle.run(tokens).hidden()[layer][tokens.length + position];
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, -2})
    void meanDirectionsAreTheOracles(final int position) {
        final List<Integer> told = new ArrayList<>();
        final PairedStates states = PairedStates.read(
                engine, pairs(), Layers.parse("1-3", "layers").resolve(4), position, told::add);
        assertEquals(List.of(1, 2, 3), told);
        assertEquals(new TreeSet<>(List.of(1, 2, 3)), states.layers());
        assertEquals(64, states.width());
        final LayerVectors vectors = states.directions(DirectionMethod.MEAN);
        for (final int layer : vectors.layers()) {
            final double[] expected = new double[64];
            double tolerance = 0;
            for (final PromptPair pair : pairs()) {
                final double[] positive = oracleState(pair.positive(), layer, position);
                final double[] negative = oracleState(pair.negative(), layer, position);
                for (int j = 0; j < expected.length; j++) {
                    expected[j] += (positive[j] - negative[j]) / QUESTIONS.size();
                }
                // The mean of the pairs' errors is at most that of their bounds.
                tolerance += (Tolerance.f32(positive) + Tolerance.f32(negative)) / QUESTIONS.size();
            }
            final double difference = Tolerance.largestDifference(expected, vectors.at(layer));
            assertTrue(difference <= tolerance, "layer " + layer + ": " + difference + " > " + tolerance);
        }
    }

    @Test
    void meansAreThoseOfAllTokens() {
        final PairedStates states =
                PairedStates.readMeans(engine, pairs(), new Layers.AllButLast().resolve(4), false, done -> { });
        assertEquals(new TreeSet<>(List.of(0, 1, 2)), states.layers());
        final LayerVectors vectors = states.directions(DirectionMethod.MEAN);
        for (int layer = 0; layer < 3; layer++) {
            final double[] expected = new double[vectors.width()];
            for (final PromptPair pair : pairs()) {
                final double[] positive = mean(pair.positive(), layer);
                final double[] negative = mean(pair.negative(), layer);
                for (int j = 0; j < expected.length; j++) {
                    expected[j] += (positive[j] - negative[j]) / pairs().size();
                }
            }
            // Twice what a state may err by: the difference is of two.
            final double tolerance = 2 * Tolerance.f32(mean(pairs().getFirst().positive(), layer));
            final double difference = Tolerance.largestDifference(expected, vectors.at(layer));
            assertTrue(difference <= tolerance, () -> "largest difference " + difference);
        }
        assertThrows(BadInputException.class, () -> PairedStates.readMeans(
                engine, pairs(), Layers.all().resolve(4), false, done -> { }));
    }

    /** An answer that is begun stands behind everything else, and can be read alone. */
    @Test
    void answersAreReadBehindThePrompt() {
        final List<PromptPair> answered = pairs().stream()
                .map(pair -> new PromptPair(
                        pair.positive().answered("the picture"), pair.positive().answered("what the note says")))
                .toList();
        final SortedSet<Integer> layers = new TreeSet<>(List.of(0, 2));
        final PairedStates last = PairedStates.read(engine, answered, layers, -1, done -> { });
        final PairedStates means = PairedStates.readMeans(engine, answered, layers, true, done -> { });
        for (int i = 0; i < answered.size(); i++) {
            for (final int layer : layers) {
                assertState(answered.get(i).positive(), layer, last.positives(layer)[i], means.positives(layer)[i]);
                assertState(answered.get(i).negative(), layer, last.negatives(layer)[i], means.negatives(layer)[i]);
            }
        }
        assertThrows(BadInputException.class, () -> PairedStates.readMeans(engine, pairs(), layers, true, done -> { }));
    }

    private static void assertState(
            final Prompt prompt, final int layer, final float[] last, final float[] mean) {
        final int[] before = engine.logits(Request.plain(prompt.answered(""))).promptTokens();
        final int[] tokens = engine.logits(Request.plain(prompt)).promptTokens();
        assertArrayEquals(before, Arrays.copyOf(tokens, before.length));
        assertArrayEquals(
                engine.model().tokenize(prompt.answer(), false),
                Arrays.copyOfRange(tokens, before.length, tokens.length));
        final double[][] states = oracle.run(tokens).hidden()[layer];
        final double[] expected = new double[mean.length];
        for (int t = before.length; t < tokens.length; t++) {
            for (int j = 0; j < expected.length; j++) {
                expected[j] += states[t][j] / (tokens.length - before.length);
            }
        }
        assertTrue(Tolerance.largestDifference(expected, mean) <= Tolerance.f32(expected));
        final double[] end = states[tokens.length - 1];
        assertTrue(Tolerance.largestDifference(end, last) <= Tolerance.f32(end));
    }

    private static double[] mean(final Prompt prompt, final int layer) {
        final double[][] states =
                oracle.run(engine.logits(Request.plain(prompt)).promptTokens()).hidden()[layer];
        final double[] mean = new double[states[0].length];
        for (final double[] state : states) {
            for (int j = 0; j < mean.length; j++) {
                mean[j] += state[j] / states.length;
            }
        }
        return mean;
    }

    @Test
    void readingTwiceGivesTheSame() {
        final PairedStates once = PairedStates.read(engine, pairs(), Layers.all().resolve(4), -1, done -> { });
        final PairedStates twice = PairedStates.read(engine, pairs(), Layers.all().resolve(4), -1, done -> { });
        for (final DirectionMethod method : DirectionMethod.values()) {
            assertEquals(once.directions(method), twice.directions(method));
        }
    }

    @Test
    void whatCannotBeReadIsNamed() {
        final TreeSet<Integer> layers = new TreeSet<>(List.of(4));
        assertThrows(BadInputException.class, () -> PairedStates.read(engine, pairs(), layers, -1, done -> { }));
        assertThrows(BadInputException.class, () -> PairedStates.read(
                engine, pairs(), new TreeSet<>(), -1, done -> { }));
        assertThrows(BadInputException.class, () -> PairedStates.read(
                engine, List.of(), Layers.all().resolve(4), -1, done -> { }));
        for (final int position : new int[] {0, 3, -1000}) {
            final BadInputException e = assertThrows(BadInputException.class, () -> PairedStates.read(
                    engine, pairs(), Layers.all().resolve(4), position, done -> { }));
            assertTrue(e.where().startsWith("pair 1, "), e.getMessage());
        }
    }

    @Test
    void pairsMustDiffer() {
        final Prompt prompt = Prompt.builder().text("x").build();
        assertThrows(BadInputException.class, () -> new PromptPair(prompt, Prompt.builder().text("x").build()));
    }
}
