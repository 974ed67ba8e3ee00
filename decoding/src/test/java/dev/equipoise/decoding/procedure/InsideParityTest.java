package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Controls;
import dev.equipoise.decoding.Explanation;
import dev.equipoise.decoding.Lowering;
import dev.equipoise.decoding.Plan;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.TraceEntry;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.InterventionOracle;
import dev.equipoise.runtime.oracle.InterventionOracle.Act;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.steering.vector.ControlVectorFile;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.function.IntPredicate;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The presets that act inside the network, from their files to the engine's logits, against the published formulas in a
 * plain forward pass. Factors and layers are written out here a second time, so that a change of a preset is noticed.
 */
class InsideParityTest {
    private static final int LAYERS = 4;
    private static final int WIDTH = 64;
    private static final IntPredicate EVERYWHERE = t -> true;

    @TempDir
    static Path directory;

    private static TinyRig rig;
    private static Prompt prompt;
    private static Modality[] whose;
    private static double[] plain;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(directory, 83);
        prompt = rig.prompt.withSystem("look closely");
        whose = rig.whose(prompt);
        plain = rig.row(prompt);
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static IntPredicate in(final Modality modality) {
        return t -> whose[t] == modality;
    }

    private static SortedSet<Integer> layers(final Integer... numbers) {
        return new TreeSet<>(List.of(numbers));
    }

    // Behind the picture and the sound.
    private static boolean isBehindMedia(final int position) {
        for (int t = position; t < whose.length; t++) {
            if (whose[t] == Modality.IMAGE || whose[t] == Modality.AUDIO) {
                return false;
            }
        }
        return true;
    }

    private static void assertAgrees(final Strategy strategy, final double[] expected, final double weight) {
        final Plan plan = Decoding.prepare(rig.engine, strategy, prompt).plan();
        final float[] actual = rig.engine
                .logits(plan.request(new Limits(1, List.of()), 0))
                .logits();
        final double tolerance = weight * Tolerance.f32(plain);
        double effect = 0;
        int across = 0;
        for (int y = 0; y < expected.length; y++) {
            if (Placement.onGpu() && Double.isInfinite(expected[y]) != Float.isInfinite(actual[y])) {
                across++;
            } else if (Double.isInfinite(expected[y])) {
                assertEquals(expected[y], actual[y], strategy.name() + ", token " + y);
            } else {
                final double difference = Math.abs(expected[y] - actual[y]);
                assertTrue(difference <= tolerance, strategy.name() + ", token " + y + ": " + difference);
                effect = Math.max(effect, Math.abs(actual[y] - plain[y]));
            }
        }
        // So near the cut-off that the rounding there decides.
        assertTrue(across <= 2, strategy.name() + ": " + across + " tokens on the cut-off's other side");
        Placement.requireVisible(
                effect > 10 * tolerance, strategy.name() + ": an effect of " + effect + " proves nothing");
    }

    @Test
    void pai() {
        final Intervention raise = new Intervention.RaiseScores(
                "pai", EnumSet.of(Modality.IMAGE), 0.2, layers(0, 1, 2, 3), Heads.ALL, Scope.all());
        final double[] raised = rig.run(
                        prompt,
                        new InterventionOracle(new Act(raise, t -> t == whose.length - 1, in(Modality.IMAGE))))
                .last();
        final double[] guided = ContrastOracle.logSoftmax(raised);
        final double[] unguided = ContrastOracle.logSoftmax(rig.row(prompt.without(Modality.IMAGE)));
        final double[] combined = new double[guided.length];
        for (int y = 0; y < combined.length; y++) {
            combined[y] = 1.1 * (guided[y] - unguided[y]) + unguided[y];
        }
        // 1.1 and 0.1, of log-probabilities, which err as the logit does and as their common sum does.
        assertAgrees(Strategies.named("pai"), ContrastOracle.cutOff(raised, combined, 0.1), 2.4);
    }

    @Test
    void vaf() {
        // 28.125% and 46.875% of four blocks.
        final SortedSet<Integer> chosen = layers(1);
        final Act seen = new Act(
                new Intervention.ScaleScores(
                        "vaf", EnumSet.of(Modality.IMAGE), 1.15, chosen, Heads.ALL, Scope.all()),
                InsideParityTest::isBehindMedia,
                in(Modality.IMAGE));
        final Act told = new Act(
                new Intervention.ScaleScores(
                        "vaf", EnumSet.of(Modality.SYSTEM), 0.95, chosen, Heads.ALL, Scope.all()),
                InsideParityTest::isBehindMedia,
                in(Modality.SYSTEM));
        assertAgrees(Strategies.named("vaf"), rig.run(prompt, new InterventionOracle(seen, told)).last(), 1);
    }

    private static Act turn(final Intervention.Operation operation, final double amount, final LayerVectors along) {
        return new Act(
                new Intervention.Steer(
                        "turn", operation, Intervention.Place.MLP, along, Optional.empty(), amount, Scope.all()),
                EVERYWHERE);
    }

    // The oracle's own states with and without the picture.
    private static LayerVectors shown() {
        final Prompt blind = prompt.without(Modality.IMAGE);
        final double[][][] with = rig.run(prompt, new InterventionOracle()).hidden();
        final double[][][] without = rig.run(blind, new InterventionOracle()).hidden();
        final Map<Integer, float[]> differences = new HashMap<>();
        for (int layer = 0; layer < LAYERS; layer++) {
            final double[] seen = with[layer][with[layer].length - 1];
            final double[] unseen = without[layer][without[layer].length - 1];
            final float[] difference = new float[WIDTH];
            for (int i = 0; i < WIDTH; i++) {
                difference[i] = (float) (seen[i] - unseen[i]);
            }
            differences.put(layer, difference);
        }
        return new LayerVectors(differences);
    }

    @Test
    void vista() {
        final Act exits = new Act(new Intervention.AverageExits("exits", layers(3), 0.3, false), EVERYWHERE);
        final double[] expected = rig.run(
                        prompt,
                        new InterventionOracle(turn(Intervention.Operation.TURN_AWARE, 0.1, shown()), exits))
                .last();
        // The difference of two states errs as both do while being about as long as either; turned by a tenth of it in
        // each of four blocks that adds less than the states' own error once more.
        assertAgrees(Strategies.named("vista"), expected, 2);
    }

    @Test
    void vti() {
        final Random random = new Random(84);
        final Map<Integer, float[]> vectors = new HashMap<>();
        for (int layer = 0; layer < LAYERS; layer++) {
            final float[] vector = new float[WIDTH];
            for (int i = 0; i < WIDTH; i++) {
                vector[i] = (float) random.nextGaussian();
            }
            vectors.put(layer, vector);
        }
        final Path file = directory.resolve("vti.gguf");
        final LayerVectors along = new LayerVectors(vectors);
        new ControlVectorFile("llama", along).write(file);
        assertAgrees(
                Strategies.find("vti:" + file),
                rig.run(prompt, new InterventionOracle(turn(Intervention.Operation.TURN, 0.09, along))).last(),
                1);
    }

    @ParameterizedTest
    @CsvSource({
        "dola, -1, JENSEN_SHANNON", "dola-high, 1, JENSEN_SHANNON", "dola-code, -1, ARITHMETIC_GEOMETRIC",
        "dola-high-code, 1, ARITHMETIC_GEOMETRIC"
    })
    void dola(final String name, final int exit, final Intervention.Divergence by) {
        // Of four blocks the low bucket is the embeddings, the high one the output of block 1.
        final Act exits = new Act(
                new Intervention.ContrastExits("exits", layers(exit), 0.1, false, by), EVERYWHERE);
        final double[] expected = rig.run(prompt, new InterventionOracle(exits)).last();
        assertTrue(Arrays.stream(expected).anyMatch(Double::isInfinite), "the cut-off takes something");
        // The logits' and the early logits' errors, each once more in a logarithm of a sum.
        assertAgrees(Strategies.named(name), expected, 4);
    }

    @Test
    void exitsByListAndByArray() {
        final Act exits = new Act(
                new Intervention.ContrastExits(
                        "exits", layers(-1, 0, 2), 0.1, true, Intervention.Divergence.JENSEN_SHANNON),
                EVERYWHERE);
        final double[] expected = rig.run(prompt, new InterventionOracle(exits)).last();
        for (final String named : List.of("\"embedding,0-2/2\"", "[\"embedding\", 0, 2]", "\"embedding,2,0\"")) {
            final Strategy strategy = Strategies.parse(
                    "{\"exits\": [{\"method\": \"contrast\", \"layers\": " + named
                            + ", \"relativeTop\": 0.1, \"normed\": true}]}",
                    "s");
            assertAgrees(strategy, expected, 4);
            assertEquals(strategy, Strategies.parse(strategy.toJson(), "s"));
        }
    }

    @Test
    void soften() {
        final Act soften = new Act(
                new Intervention.Soften("soften", 1.4, layers(0, 1, 2, 3), Scope.all()), EVERYWHERE);
        assertAgrees(Strategies.named("soften"), rig.run(prompt, new InterventionOracle(soften)).last(), 1);
    }

    @Test
    void reallocate() {
        final Act move = new Act(
                new Intervention.MoveWeights(
                        "move", EnumSet.of(Modality.AUDIO), EnumSet.of(Modality.IMAGE), 0.5, 0.5,
                        layers(0, 1, 2, 3), Heads.ALL, Scope.all()),
                EVERYWHERE, in(Modality.AUDIO), in(Modality.IMAGE));
        assertAgrees(Strategies.named("reallocate-style"), rig.run(prompt, new InterventionOracle(move)).last(), 1);
    }

    private static LayerVectors gaussian(final long seed, final Integer... numbers) {
        final Random random = new Random(seed);
        final Map<Integer, float[]> vectors = new HashMap<>();
        for (final int layer : numbers) {
            final float[] vector = new float[WIDTH];
            for (int i = 0; i < WIDTH; i++) {
                vector[i] = (float) random.nextGaussian();
            }
            vectors.put(layer, vector);
        }
        return new LayerVectors(vectors);
    }

    private static Path file(final String name, final LayerVectors vectors) {
        final Path file = directory.resolve(name + ".gguf");
        new ControlVectorFile("llama", vectors).write(file);
        return file;
    }

    private static Act steer(
            final Intervention.Operation operation,
            final Intervention.Place place,
            final LayerVectors along,
            final Optional<LayerVectors> second,
            final double amount,
            final IntPredicate on) {
        return new Act(
                new Intervention.Steer("steer", operation, place, along, second, amount, Scope.all()), on);
    }

    private static double[] acted(final Act... acts) {
        return rig.run(prompt, new InterventionOracle(acts)).last();
    }

    @Test
    void presetsOfVectorsDoAsTheirPapersSay() {
        final LayerVectors all = gaussian(85, 0, 1, 2, 3);
        final LayerVectors other = gaussian(86, 0, 1, 2, 3);
        final Path file = file("all", all);
        final Path second = file("other", other);
        final Intervention.Place out = Intervention.Place.LAYER;
        // A model without a chat template: the instruction ends with the prompt.
        assertAgrees(
                Strategies.find("caa:" + file),
                acted(steer(Intervention.Operation.ADD, out, all, Optional.empty(), 1,
                        t -> t >= whose.length - 1)),
                1);
        // 71.43% to 85.71% of four blocks.
        final LayerVectors window = all.only(Set.of(2, 3));
        assertAgrees(
                Strategies.find("mc2:" + file),
                acted(steer(Intervention.Operation.ADD, out, window, Optional.empty(), 1, EVERYWHERE)),
                1);
        assertAgrees(
                Strategies.find("ablate:" + file),
                acted(
                        steer(Intervention.Operation.ABLATE, Intervention.Place.ATTENTION, all, Optional.empty(), 0,
                                EVERYWHERE),
                        steer(Intervention.Operation.ABLATE, Intervention.Place.MLP, all, Optional.empty(), 0,
                                EVERYWHERE),
                        steer(Intervention.Operation.ABLATE, out, all, Optional.empty(), 0, EVERYWHERE)),
                1);
        assertAgrees(
                Strategies.find("angular:" + file + "," + second),
                acted(steer(Intervention.Operation.ROTATE, Intervention.Place.NORM, all, Optional.of(other),
                        Math.PI / 2, EVERYWHERE)),
                1);
    }

    @Test
    void castSteersWhereItsConditionHolds() {
        final double[][] states = rig.run(prompt, new InterventionOracle()).hidden()[1];
        final float[] mean = new float[WIDTH];
        for (final double[] state : states) {
            for (int i = 0; i < WIDTH; i++) {
                mean[i] += (float) (state[i] / states.length);
            }
        }
        final float[] against = new float[WIDTH];
        against[0] = mean[1];
        against[1] = -mean[0];
        final LayerVectors behaviour = gaussian(87, 0, 1, 2, 3);
        final Path behave = file("behaviour", behaviour);
        final Path like = file("like", new LayerVectors(Map.of(1, mean)));
        final Path unlike = file("unlike", new LayerVectors(Map.of(1, against)));
        // 43.75% to 71.875% of four blocks.
        assertAgrees(
                Strategies.find("cast:" + like + "," + behave),
                acted(steer(Intervention.Operation.ADD, Intervention.Place.LAYER, behaviour.only(Set.of(1, 2)),
                        Optional.empty(), 1.5, EVERYWHERE)),
                1);
        final Plan idle = Decoding.prepare(
                rig.engine, Strategies.find("cast:" + unlike + "," + behave), prompt).plan();
        final float[] actual = rig.engine.logits(idle.request(new Limits(1, List.of()), 0)).logits();
        assertTrue(Tolerance.largestDifference(plain, actual) <= Tolerance.f32(plain));
    }

    @Test
    void whatWasObservedIsTraced() {
        final Answer answer = Decoding.run(
                rig.engine, Strategies.named("vista"), prompt, new Limits(3, List.of()), 0, TokenListener.NONE);
        final TraceEntry observed = answer.trace().getFirst();
        assertEquals("observe:without-image", observed.intervention());
        assertEquals(List.of(0, 1, 2, 3), observed.layers());
        double norms = 0;
        for (int layer = 0; layer < LAYERS; layer++) {
            double squares = 0;
            for (final float value : shown().at(layer)) {
                squares += value * value;
            }
            norms += Math.sqrt(squares) / LAYERS;
        }
        // Norms of differences of states, each right to f32's share of a state's norm.
        assertEquals(norms, observed.meanDeltaNorm(), (Placement.onGpu() ? 3e-2 : 1e-3) * norms);
        final TraceEntry turned = answer.trace().get(1);
        assertEquals("steer:turn-aware", turned.intervention());
        assertEquals(whose.length + answer.tokens().size() - 1, turned.tokens());
        assertTrue(turned.meanDeltaNorm() > 0);
    }

    @Test
    void explanationsSayWhereTheVectorsComeFrom() {
        final Plan plan = Decoding.outline(Strategies.named("vista"), prompt, rig.model.info());
        final String words = Explanation.of(plan).toJson();
        assertTrue(words.contains("observe:without-image") && words.contains("two more prompts"), words);
        assertTrue(words.contains("steer:turn-aware") && words.contains("exits:average"), words);
    }

    @Test
    void promptsWithoutAPictureAreRefusedWithTheReason() {
        final Prompt blind = prompt.without(Modality.IMAGE);
        for (final String name : List.of("pai", "vista")) {
            final BadInputException refused = assertThrows(
                    BadInputException.class, () -> Lowering.check(Strategies.named(name), blind, 1));
            assertTrue(refused.what().contains("the prompt has no picture"), refused.getMessage());
        }
        for (final String name : List.of("vaf", "var:3")) {
            final BadInputException refused = assertThrows(
                    BadInputException.class, () -> Decoding.prepare(rig.engine, Strategies.find(name), blind));
            assertTrue(refused.what().contains("the prompt lacks"), refused.getMessage());
        }
    }

    @Test
    void randomDirectionsAreAsLongAndGoRound() {
        final Strategy random = Controls.randomVector(Strategies.named("vista"), 9);
        assertTrue(random.toJson().contains("random:9:prompt:without-image"), random.toJson());
        assertEquals(random, Strategies.parse(random.toJson(), "round"));
        final Intervention.Steer found = (Intervention.Steer) base("vista");
        final Intervention.Steer other = (Intervention.Steer) Decoding.prepare(rig.engine, random, prompt)
                .plan().branches().getFirst().interventions().getFirst();
        for (int layer = 0; layer < LAYERS; layer++) {
            assertEquals(norm(found.vectors().at(layer)), norm(other.vectors().at(layer)), 1e-4);
        }
        assertTrue(!found.vectors().equals(other.vectors()));
        assertTrue(Controls.zeroScale(Strategies.named("vista")).resolved().observed().isEmpty());
    }

    private static Intervention base(final String name) {
        return Decoding.prepare(rig.engine, Strategies.named(name), prompt)
                .plan().branches().getFirst().interventions().getFirst();
    }

    private static double norm(final float[] vector) {
        double squares = 0;
        for (final float value : vector) {
            squares += (double) value * value;
        }
        return Math.sqrt(squares);
    }

    @Test
    void wrongPromptVectorsNameTheirPath() {
        for (final String steer : List.of(
                "{\"vector\": \"prompt:without-smell\"}",
                "{\"vector\": \"prompt:without-text\"}",
                "{\"vector\": \"prompt:without-image\", \"op\": \"rotate\"}")) {
            final BadInputException refused = assertThrows(
                    BadInputException.class, () -> Strategies.parse("{\"steer\": [" + steer + "]}", "s"));
            assertTrue(refused.where().startsWith("s $.steer[0]."), refused.getMessage());
        }
    }
}
