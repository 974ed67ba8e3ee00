package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.Condition;
import dev.equipoise.runtime.intervention.Condition.Pooling;
import dev.equipoise.runtime.intervention.Condition.Side;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Steer;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.intervention.When;
import dev.equipoise.runtime.oracle.InterventionOracle;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.PromptColumns;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Conditional steering against the oracle, which decides from its own states and steers or does not. */
class ConditionParityTest {
    private static final int LAYERS = 4;
    private static final int WIDTH = 64;
    private static final int CONDITION_LAYER = 1;
    private static final int TOKENS = 5;
    private static final EngineOptions EXACT = Tolerance.exact(1024);

    @TempDir
    static Path directory;

    private static Model model;
    private static LlamaOracle oracle;
    private static Prompt words;
    private static Prompt everything;

    @BeforeAll
    static void writeModel() {
        final Path file = TinyModels.llama(directory.resolve("tiny.gguf"), 41, LAYERS, WIDTH, 4, 2, 96, 512);
        final Path mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 42, WIDTH);
        model = Model.load(file, Placement.options().withMmproj(mmproj));
        oracle = LlamaOracle.of(GgufFile.read(file));
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(43).nextBytes(pixels);
        words = Prompt.builder().context("the note says green").text("which colour").build();
        everything = Prompt.builder()
                .context("the note says green")
                .image(Image.rgb(32, 32, pixels))
                .audio(Audio.pcm(new float[8000]))
                .text("which colour")
                .build();
    }

    @AfterAll
    static void closeModel() {
        model.close();
    }

    private static List<Input> inputs(final Engine engine, final Prompt prompt) {
        return PromptColumns.of(engine, prompt).inputs(List.of());
    }

    private static float[] gaussian(final long seed) {
        final Random random = new Random(seed);
        final float[] vector = new float[WIDTH];
        for (int i = 0; i < WIDTH; i++) {
            vector[i] = (float) random.nextGaussian();
        }
        return vector;
    }

    // What the condition is about, by its formula on the oracle's states.
    private static double[] state(final List<Input> inputs, final Pooling pooling) {
        final double[][] states = oracle.run(inputs).hidden()[CONDITION_LAYER];
        if (pooling == Pooling.LAST) {
            return states[states.length - 1];
        }
        final double[] mean = new double[WIDTH];
        for (final double[] state : states) {
            for (int i = 0; i < WIDTH; i++) {
                mean[i] += state[i] / states.length;
            }
        }
        return mean;
    }

    private static double similarity(final float[] direction, final double[] h) {
        double along = 0;
        double squares = 0;
        for (int i = 0; i < WIDTH; i++) {
            along += direction[i] * h[i];
            squares += (double) direction[i] * direction[i];
        }
        double dot = 0;
        double left = 0;
        double right = 0;
        for (int i = 0; i < WIDTH; i++) {
            final double bounded = Math.tanh(along / squares * direction[i]);
            dot += bounded * h[i];
            left += bounded * bounded;
            right += h[i] * h[i];
        }
        return dot / Math.sqrt(left * right);
    }

    // A state errs by Tolerance.f32 of its norm, so the cosine by about twice that: once for each of the two it is of.
    // The direction of the projection, which is nearly c's own, errs far less; ten times leaves room for a small one.
    private static final double SIMILARITY_TOLERANCE = 10 * 2 * 2e-5;

    private static Steer steer(final Scope scope, final When when) {
        return new Steer(
                "steer",
                Intervention.Operation.ADD,
                Intervention.Place.LAYER,
                new LayerVectors(Map.of(0, gaussian(51), 2, gaussian(52))),
                Optional.empty(),
                3,
                scope,
                Optional.of(when));
    }

    private static When when(final float[] direction, final Pooling pooling, final Side side, final double threshold) {
        return new When(
                When.Rule.ALL,
                List.of(new Condition(
                        "looks",
                        new LayerVectors(Map.of(CONDITION_LAYER, direction)),
                        pooling,
                        side,
                        threshold)));
    }

    private static Request request(final Prompt prompt, final Intervention... interventions) {
        return new Request(
                List.of(new Branch("base", prompt, List.of(interventions))),
                Optional.empty(),
                Sampling.greedy(),
                new Limits(TOKENS, List.of()),
                0,
                new StrategyLabel("test", "test"));
    }

    /** CAST reads what enters a block; of the first that is the embeddings. */
    @ParameterizedTest
    @CsvSource({"false,512", "true,512", "true,5"})
    void conditionsOnWhatEntersTheFirstBlock(final boolean pictures, final int microBatch) {
        final Prompt prompt = pictures ? everything : words;
        try (Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch))) {
            final List<Input> inputs = inputs(engine, prompt);
            final double[] mean = new double[WIDTH];
            oracle.run(inputs, new LlamaOracle.Inside() {
                @Override
                public double[] input(final int position, final double[] embedding) {
                    for (int i = 0; i < WIDTH; i++) {
                        mean[i] += embedding[i] / inputs.size();
                    }
                    return embedding;
                }
            });
            final float[] direction = gaussian(63);
            final double similarity = similarity(direction, mean);
            for (final Side side : Side.values()) {
                final Condition condition = new Condition(
                        "enters",
                        Intervention.Place.EMBEDDING,
                        new LayerVectors(Map.of(CONDITION_LAYER, direction)),
                        Pooling.MEAN,
                        side,
                        similarity - 0.01);
                final When when = new When(When.Rule.ALL, List.of(condition));
                final TraceEntry entry = engine.run(request(prompt, steer(Scope.all(), when))).trace().getFirst();
                assertEquals("condition:enters", entry.intervention());
                assertEquals(List.of(0), entry.layers());
                final double difference = Math.abs(similarity - entry.outcome().orElseThrow().similarity());
                assertTrue(difference <= SIMILARITY_TOLERANCE, () -> "similarity off by " + difference);
                assertEquals(side == Side.ABOVE, entry.outcome().orElseThrow().fired());
            }
        }
    }

    private static void assertOutcome(final Answer answer, final double similarity, final boolean fired, final int of) {
        final TraceEntry entry = answer.trace().getFirst();
        assertEquals("condition:looks", entry.intervention());
        assertEquals(List.of(CONDITION_LAYER), entry.layers());
        assertEquals(of, entry.tokens());
        final double difference = Math.abs(similarity - entry.outcome().orElseThrow().similarity());
        assertTrue(difference <= SIMILARITY_TOLERANCE, () -> "similarity off by " + difference);
        assertEquals(fired, entry.outcome().orElseThrow().fired());
    }

    @ParameterizedTest
    @CsvSource({
        "false,MEAN,true,512", "false,LAST,false,512", "false,MEAN,false,3",
        "true,MEAN,true,512", "true,MEAN,false,512", "true,LAST,true,7", "true,MEAN,true,5"
    })
    void decidedBeforeThePromptIsReadForGood(
            final boolean pictures, final Pooling pooling, final boolean fires, final int microBatch) {
        final Prompt prompt = pictures ? everything : words;
        try (Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch))) {
            final List<Input> inputs = inputs(engine, prompt);
            final float[] direction = gaussian(61);
            final double similarity = similarity(direction, state(inputs, pooling));
            for (final Side side : Side.values()) {
                final double threshold = similarity + ((side == Side.ABOVE) == fires ? -0.01 : 0.01);
                final Steer steer = steer(Scope.all(), when(direction, pooling, side, threshold));
                final double[] plain = oracle.run(inputs).last();
                final double[] steered = oracle.run(
                                inputs, new InterventionOracle(new InterventionOracle.Act(steer, t -> true)))
                        .last();
                final double[] expected = fires ? steered : plain;
                final Request request = request(prompt, steer);
                final float[] actual = engine.logits(request).logits();
                final double tolerance = Tolerance.f32(expected);
                final double difference = Tolerance.largestDifference(expected, actual);
                assertTrue(difference <= tolerance, () -> "largest difference " + difference);
                final double effect = Tolerance.largestDifference(fires ? plain : steered, actual);
                Placement.requireVisible(effect > 100 * tolerance, "an effect of " + effect + " proves nothing");

                final Answer answer = engine.run(request);
                assertOutcome(answer, similarity, fires, pooling == Pooling.MEAN ? inputs.size() : 1);
                final TraceEntry acted = answer.trace().get(1);
                // Every column, at both layers: the prompt's and those of all generated tokens but the last.
                assertEquals(fires ? inputs.size() + answer.tokens().size() - 1 : 0, acted.tokens());
                assertEquals(fires, acted.meanDeltaNorm() > 0);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "false,MEAN,true,512", "false,MEAN,false,512", "false,LAST,true,3",
        "true,MEAN,true,512", "true,MEAN,false,7", "true,LAST,true,512"
    })
    void decidedOnTheWayForGeneratedTokens(
            final boolean pictures, final Pooling pooling, final boolean fires, final int microBatch) {
        final Prompt prompt = pictures ? everything : words;
        try (Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch))) {
            final List<Input> inputs = inputs(engine, prompt);
            final int given = inputs.size();
            final float[] direction = gaussian(61);
            final double similarity = similarity(direction, state(inputs, pooling));
            final Scope generated = Scope.all().during(EnumSet.of(Phase.GENERATED));
            final Steer steer = steer(
                    generated, when(direction, pooling, Side.ABOVE, similarity + (fires ? -0.01 : 0.01)));
            final Request request = request(prompt, steer);
            final long before = engine.nativeCalls();
            final Answer plain = engine.run(request(prompt));
            final long between = engine.nativeCalls();
            final Answer answer = engine.run(request);
            // Interventions are set, reported and taken back, and one state is read: no decode more than without.
            final long more = engine.nativeCalls() - between - (between - before);
            assertTrue(more <= 4, () -> more + " native calls more");

            boolean differs = false;
            for (int i = 0; i < answer.tokens().size(); i++) {
                final double[] expected = oracle.run(
                                inputs,
                                fires
                                        ? new InterventionOracle(
                                                new InterventionOracle.Act(steer, t -> t >= given))
                                        : new InterventionOracle())
                        .last();
                final double best = Arrays.stream(expected).max().orElseThrow();
                final int token = answer.tokens().get(i);
                assertTrue(expected[token] >= best - 2 * Tolerance.f32(expected), "token " + i);
                final double[] other = oracle.run(inputs).last();
                differs |= other[token] < Arrays.stream(other).max().orElseThrow() - 2 * Tolerance.f32(other);
                inputs.add(new Input.Token(token));
            }
            assertEquals(fires, differs, "steering changes what is drawn");
            assertEquals(plain.tokens().getFirst(), answer.tokens().getFirst(), "the first token is not steered");
            assertOutcome(answer, similarity, fires, pooling == Pooling.MEAN ? given : 1);
            assertEquals(fires ? answer.tokens().size() - 1 : 0, answer.trace().get(1).tokens());
        }
    }

    @Test
    void allBranchesFollowTheBaseAndShareItsCells() {
        try (Engine engine = Engine.open(model, EXACT)) {
            final List<Input> inputs = inputs(engine, everything);
            final float[] direction = gaussian(61);
            final double similarity = similarity(direction, state(inputs, Pooling.MEAN));
            final Scope generated = Scope.all().during(EnumSet.of(Phase.GENERATED));
            for (final boolean fires : new boolean[] {true, false}) {
                final Steer steer = steer(
                        generated, when(direction, Pooling.MEAN, Side.ABOVE, similarity + (fires ? -0.01 : 0.01)));
                final Prompt other = everything.without(Modality.AUDIO);
                final Request request = new Request(
                        List.of(
                                new Branch("base", everything, List.of(steer)),
                                new Branch("deaf", other, List.of(steer))),
                        Optional.of(new Combination(CoefficientSchedule.fixed(2, -1), false, 0)),
                        Sampling.greedy(),
                        new Limits(TOKENS, List.of()),
                        0,
                        new StrategyLabel("test", "test"));
                final Request unsteered = new Request(
                        List.of(new Branch("base", everything), new Branch("deaf", other)),
                        request.combination(),
                        Sampling.greedy(),
                        new Limits(TOKENS, List.of()),
                        0,
                        new StrategyLabel("test", "test"));
                assertEquals(
                        engine.describe(unsteered).branches().getLast().sharedTokens(),
                        engine.describe(request).branches().getLast().sharedTokens());
                final Answer answer = engine.run(request);
                final int touched = fires ? answer.tokens().size() - 1 : 0;
                assertEquals(
                        List.of(inputs.size(), touched, touched),
                        answer.trace().stream().limit(3).map(TraceEntry::tokens).toList());
                assertEquals("deaf/steer", answer.trace().get(2).intervention());
                assertEquals(!fires, engine.run(unsteered).tokens().equals(answer.tokens()));
            }
        }
    }

    @Test
    void requestsThatRunTogetherAreDecidedEachForItself() {
        try (Engine engine = Engine.open(model, EXACT.withMicroBatch(16))) {
            final float[] direction = gaussian(61);
            final List<Request> requests = new ArrayList<>();
            for (final Prompt prompt : List.of(everything, words)) {
                final double similarity = similarity(direction, state(inputs(engine, prompt), Pooling.MEAN));
                for (final Phase phase : Phase.values()) {
                    // What acts on the prompt is decided before it, what acts behind it on the way.
                    final Scope scope = Scope.all().during(EnumSet.of(phase, Phase.GENERATED));
                    for (final double margin : new double[] {-0.01, 0.01}) {
                        requests.add(request(
                                prompt,
                                steer(scope, when(direction, Pooling.MEAN, Side.ABOVE, similarity + margin))));
                    }
                }
            }
            final List<Answer> alone = requests.stream().map(engine::run).toList();
            final List<Generation> together = requests.stream().map(engine::submit).toList();
            while (engine.step()) {
                // All of them advance.
            }
            for (int i = 0; i < requests.size(); i++) {
                final Answer answer = together.get(i).answer();
                assertEquals(i % 2 == 0, answer.trace().getFirst().outcome().orElseThrow().fired(), "request " + i);
                assertEquals(alone.get(i).tokens(), answer.tokens(), "request " + i);
                assertEquals(
                        alone.get(i).trace().get(1).tokens(), answer.trace().get(1).tokens(), "request " + i);
            }
        }
    }

    @Test
    void conditionsThatTheModelCannotAnswerAreRefused() {
        try (Engine engine = Engine.open(model, EXACT)) {
            for (final LayerVectors direction : List.of(
                    new LayerVectors(Map.of(LAYERS - 1, gaussian(1))), new LayerVectors(Map.of(1, new float[] {1})))) {
                final When when = new When(
                        When.Rule.ANY, List.of(new Condition("c", direction, Pooling.MEAN, Side.ABOVE, 0)));
                final BadInputException error = assertThrows(
                        BadInputException.class, () -> engine.submit(request(words, steer(Scope.all(), when))));
                assertTrue(error.where().contains("condition c"), error.where());
            }
        }
    }

    /** One more than a branch may have, where its conditions are to be read: known when the request is in. */
    @Test
    void aReadingThatCannotBeMadeLeavesNothingBehind() {
        final List<Intervention> edits = new ArrayList<>();
        for (int i = 0; i < Branch.MOST - 1; i++) {
            edits.add(new Intervention.Soften("soften", 1.01, new TreeSet<>(Set.of(0)), Scope.all()));
        }
        final List<Condition> conditions = new ArrayList<>();
        for (final double threshold : new double[] {0.25, 0.5}) {
            conditions.add(new Condition(
                    "c" + threshold, new LayerVectors(Map.of(1, gaussian(1))), Pooling.MEAN, Side.ABOVE, threshold));
        }
        edits.add(steer(Scope.all(), new When(When.Rule.ANY, conditions)));
        try (Engine engine = Engine.open(model, EXACT)) {
            final Engine.Room whole = engine.room();
            final Request request = request(words, edits.toArray(Intervention[]::new));
            assertThrows(BadInputException.class, () -> engine.submit(request));
            assertEquals(whole, engine.room());
            assertThrows(BadInputException.class, () -> engine.logits(request));
            assertEquals(whole, engine.room());
            assertTrue(!engine.step());
        }
    }
}
