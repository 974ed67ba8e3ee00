package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyArchitectures;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** How prompts enter the cache: what is shared, what goes together, and who waits for it. */
class PrefillTest {
    private static final EngineOptions EXACT = Tolerance.exact(512);

    @TempDir
    static Path directory;

    private static Path file;
    private static Path mmproj;
    private static Image picture;

    @BeforeAll
    static void writeModels() {
        file = TinyModels.llama(directory.resolve("tiny.gguf"), 3);
        mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 4, 64);
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(5).nextBytes(pixels);
        picture = Image.rgb(32, 32, pixels);
    }

    private static Model load() {
        return Model.load(file, Placement.options().withMmproj(mmproj));
    }

    private static Prompt words(final String text) {
        return Prompt.builder().text(text).build();
    }

    private static Request request(final float[] weights, final int tokens, final Prompt... prompts) {
        final List<Branch> branches = new ArrayList<>();
        for (final Prompt prompt : prompts) {
            branches.add(new Branch("branch " + branches.size(), prompt));
        }
        return new Request(
                branches,
                prompts.length == 1
                        ? Optional.empty()
                        : Optional.of(new Combination(CoefficientSchedule.fixed(weights), false, 0)),
                Sampling.greedy(),
                new Limits(tokens, List.of()),
                0,
                new StrategyLabel("test", "test"));
    }

    private static Request plain(final String text, final int tokens) {
        return request(new float[0], tokens, words(text));
    }

    @Test
    void differentHeadsGoInTogether() {
        final Prompt[] prompts = {
            words("what all of them read, then one"),
            words("what all of them read, then another"),
            words("what all of them read, then yet another")
        };
        final Request request = request(new float[] {2, -0.5f, -0.5f}, 2, prompts);
        try (Model model = load()) {
            // What they have in common has room once.
            final int cells = PreparedRequest.of(model, EXACT, request).promptCells();
            for (final int microBatch : new int[] {512, cells, cells - 1}) {
                try (Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch))) {
                    engine.submit(request);
                    final long before = engine.nativeCalls();
                    engine.step();
                    // One decode of the common prefix, and of what they differ in with the first token.
                    assertEquals(microBatch >= cells, engine.nativeCalls() - before == 1);
                }
            }
        }
    }

    /** Branches part in the middle of a micro-batch, one from another that has just parted, one in the next. */
    @ParameterizedTest
    @ValueSource(ints = {512, 40, 33, 32, 31, 16, 5, 1})
    void branchesPartWithinADecode(final int microBatch) {
        final String all = "what all of them read at first, ";
        final Prompt[] prompts = {
            words(all + "then one"),
            words(all + "or some of them, then another"),
            words(all + "or some of them, then yet another, which goes on for a while"),
            words("what nobody else reads"),
            words(all + "or some of them, then another one")
        };
        final float[] weights = {2.5f, -0.75f, -0.25f, 0.5f, -1};
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch).withMaxBranches(12))) {
            final double[] expected = new double[model.info().vocabulary()];
            for (int b = 0; b < prompts.length; b++) {
                final float[] row = engine.logits(request(new float[0], 1, prompts[b])).logits();
                for (int y = 0; y < expected.length; y++) {
                    expected[y] += weights[b] * row[y];
                }
            }
            final Engine.Room whole = engine.room();
            // Alone, beside one that generates, and beside another that is read.
            final float[] row = engine.logits(request(weights, 1, prompts)).logits();
            final double difference = Tolerance.largestDifference(expected, row);
            assertTrue(difference <= 2 * 5 * Tolerance.f32(expected), () -> "off by " + difference);
            final List<Integer> alone = engine.run(request(weights, 6, prompts)).tokens();
            final Generation generates = engine.submit(plain("short", 40));
            engine.step();
            final Generation one = engine.submit(request(weights, 6, prompts));
            final Generation other = engine.submit(request(weights, 6, prompts));
            while (!one.isDone() || !other.isDone() || !generates.isDone()) {
                engine.step();
            }
            assertEquals(alone, one.answer().tokens());
            assertEquals(alone, other.answer().tokens());
            assertEquals(whole, engine.room());
        }
    }

    /**
     * Cells that a sliding window has passed are given to others as long as one sequence alone has them: not where a
     * branch behind a gate goes on from there.
     */
    @Test
    void whatABranchBehindAGateGoesOnFromIsKept() {
        final Path windowed = TinyArchitectures.write(directory.resolve("window.gguf"), "gemma3", 21);
        final Prompt base = words("what both of them read, " + "and then much that is the base's alone ".repeat(2));
        final Prompt other = words("what both of them read, but little");
        try (Model model = Model.load(windowed, Placement.options());
                Engine engine = Engine.open(model, EXACT)) {
            final Request gated = new Request(
                    List.of(new Branch("base", base), new Branch("other", other)),
                    Optional.of(new Combination(CoefficientSchedule.fixed(0, 1), false, 0)),
                    Sampling.greedy(),
                    new Limits(1, List.of()),
                    1,
                    new StrategyLabel("test", "test"),
                    Optional.empty(),
                    Optional.of(new Gate.Entropy(0)),
                    Optional.empty());
            final Answer alone = engine.run(gated);
            // The first cells are somebody's who then goes, so that the next who comes begins there.
            final Generation before = engine.submit(plain("some words", 40));
            engine.step();
            final Generation waits = engine.submit(gated);
            waits.pause();
            engine.step();
            before.cancel();
            engine.step();
            engine.run(plain("a text as long as all that was there ".repeat(3), 2));
            waits.resume();
            while (!waits.isDone()) {
                engine.step();
            }
            assertEquals(alone.tokens(), waits.answer().tokens());
            final double difference = Math.abs(alone.logProbabilities().getFirst().logProbability()
                    - waits.answer().logProbabilities().getFirst().logProbability());
            // A logit and the sum of all, each of two rows; of this model the activation is looked up at 11 bits, and
            // nothing else.
            assertTrue(difference <= 2 * 2 * 0.1 * Tolerance.f16(new double[1]), () -> "off by " + difference);
        }
    }

    /** So is what a branch keeps whose tokens are chosen anew, from one reading to the next. */
    @Test
    void whatABranchThatIsReadAgainGoesOnFromIsKept() {
        final Path windowed = TinyArchitectures.write(directory.resolve("window.gguf"), "gemma3", 21);
        final Path encoders = TinyModels.mmproj(directory.resolve("window-mmproj.gguf"), 4, 32);
        final Prompt prompt = Prompt.builder()
                .system("much that is said to it before and that a window leaves behind")
                .image(picture)
                .text("which colour has the square")
                .build();
        final SortedSet<Integer> layers = new TreeSet<>(Set.of(0, 1));
        final Request request = new Request(
                List.of(
                        new Branch("base", prompt, List.of(new Intervention.ReadAttention(
                                "look", layers, Scope.all().within(Reach.LAST)))),
                        new Branch("other", prompt, List.of(new Intervention.Hide(
                                "hide", Set.of(Modality.IMAGE), Optional.empty(), layers)))),
                Optional.of(new Combination(CoefficientSchedule.fixed(0, 1), false, 0)),
                Sampling.greedy(),
                new Limits(5, List.of()),
                1,
                new StrategyLabel("test", "test"),
                Optional.empty(),
                Optional.empty(),
                Optional.of(new Rechoice(0, List.of(OptionalInt.empty(), OptionalInt.of(0)), seen -> {
                    final int first = seen.spans().stream()
                            .filter(span -> span.modality() == Modality.IMAGE)
                            .findFirst()
                            .orElseThrow()
                            .start();
                    final Rechoice.Taken taken = Rechoice.Taken.of(new TreeSet<>(Set.of(first, first + 2)));
                    return List.of(taken, taken);
                })));
        try (Model model = Model.load(windowed, Placement.options().withMmproj(encoders));
                Engine engine = Engine.open(model, EXACT)) {
            final Answer alone = engine.run(request);
            final Generation before = engine.submit(plain("some words", 60));
            engine.step();
            final Generation read = engine.submit(request);
            engine.step();
            before.cancel();
            while (!read.isDone()) {
                engine.submit(plain("a text that takes what is free ", 1));
                engine.step();
            }
            assertEquals(alone.tokens(), read.answer().tokens());
            for (int at = 0; at < alone.tokens().size(); at++) {
                final double difference = Math.abs(alone.logProbabilities().get(at).logProbability()
                        - read.answer().logProbabilities().get(at).logProbability());
                assertTrue(difference <= 2 * 2 * 0.1 * Tolerance.f16(new double[1]), () -> "off by " + difference);
            }
        }
    }

    @Test
    void aPromptThatFitsComesWithTheFirstToken() {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT)) {
            engine.submit(plain("a prompt of a few words", 2));
            final long before = engine.nativeCalls();
            engine.step();
            assertEquals(1, engine.nativeCalls() - before);
        }
    }

    @Test
    void aPausedPromptGivesWayToOthersAndGoesOn() {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withMicroBatch(16).withMaxBranches(8))) {
            final String text = "twelve words";
            assertTrue(model.encode(words(text)).size() > 12, "most of a step's columns");
            assertTrue(model.encode(words(text)).size() <= 16, "all of it fits into a step");
            final List<Integer> alone = engine.run(plain(text, 5)).tokens();
            final List<Integer> first = engine.run(plain("other 0", 30)).tokens();
            final Generation paused = engine.submit(plain(text, 5));
            paused.pause();
            engine.step();
            final List<Generation> others = new ArrayList<>();
            for (int i = 0; i < 7; i++) {
                others.add(engine.submit(plain("other " + i, 30)));
            }
            for (int i = 0; i < 4; i++) {
                engine.step();
            }
            paused.resume();
            while (!paused.isDone()) {
                engine.step();
            }
            assertEquals(alone, paused.answer().tokens());
            while (!others.getFirst().isDone()) {
                engine.step();
            }
            assertEquals(first, others.getFirst().answer().tokens());
        }
    }

    @Test
    void branchesShareWithTheirNearest() {
        try (Model model = load()) {
            final String own = "quite another beginning, but a long one ";
            final PreparedRequest prepared = PreparedRequest.of(
                    model, EXACT, request(new float[] {2, -0.5f, -0.5f}, 1, words("the base"), words(own + "a"),
                            words(own + "b")));
            final List<BranchState> states = prepared.states();
            assertEquals(states.get(0), states.get(1).parent);
            assertEquals(states.get(1), states.get(2).parent);
            assertTrue(states.get(2).shared > states.get(2).sharedWithBase);
            assertEquals(
                    states.get(0).prompt.size()
                            + states.get(1).prompt.size() - states.get(1).shared
                            + states.get(2).prompt.size() - states.get(2).shared,
                    prepared.promptCells());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {512, 24, 7, 2})
    void threeBranchesCombineAsTheirRowsAlone(final int microBatch) {
        final Prompt base = Prompt.builder()
                .system("look")
                .context("a note")
                .image(picture)
                .text("which colour")
                .build();
        final Prompt[] prompts = {
            base, base.withPixelNoise(new PixelNoise(700, 3)), base.withSystem("you are confused")
        };
        final float[] weights = {2.5f, -0.75f, -0.75f};
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch).withMaxBranches(4))) {
            final double[] expected = new double[model.info().vocabulary()];
            for (int b = 0; b < prompts.length; b++) {
                final float[] row = engine.logits(request(new float[0], 1, prompts[b])).logits();
                for (int y = 0; y < expected.length; y++) {
                    expected[y] += weights[b] * row[y];
                }
            }
            for (final PadSteps pad : List.of(PadSteps.OFF, PadSteps.ON)) {
                try (Engine padded = Engine.open(
                        model, EXACT.withMicroBatch(microBatch).withMaxBranches(4).withPadSteps(pad))) {
                    final float[] row = padded.logits(request(weights, 1, prompts)).logits();
                    final double difference = Tolerance.largestDifference(expected, row);
                    // Each of four rows may be off by a row's tolerance, weighted.
                    assertTrue(difference <= 2 * 4 * Tolerance.f32(expected), () -> "off by " + difference);
                }
            }
        }
    }

    @Test
    void aMediumIsEncodedOnce() {
        final Prompt base =
                Prompt.builder().image(picture).audio(Audio.pcm(new float[8000])).text("what").build();
        final Request request = request(
                new float[] {2, -0.5f, -0.5f},
                3,
                base,
                base.withPixelNoise(new PixelNoise(700, 3)),
                base.withSystem("you are confused"));
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT)) {
            engine.run(request);
            assertEquals(3, model.encodings(), "the picture, the picture with noise, the sound");
            engine.run(request);
            engine.logits(request);
            assertEquals(3, model.encodings(), "and never again");
        }
    }

    @Test
    void aLongPromptDoesNotHoldUpThoseWhoGenerate() {
        final String text = "a long prompt ".repeat(10);
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withMicroBatch(8))) {
            final List<Integer> alone = engine.run(plain(text, 5)).tokens();
            final int[] heard = new int[1];
            final Generation generates =
                    engine.submit(plain("short", 60), TokenListener.ids(token -> heard[0]++));
            engine.step();
            assertEquals(1, heard[0]);
            final int size = model.encode(words(text)).size();
            final int[] first = {0};
            final Generation reads = engine.submit(plain(text, 5), TokenListener.ids(token -> first[0]++));
            int steps = 0;
            while (first[0] == 0) {
                final long before = engine.nativeCalls();
                engine.step();
                steps++;
                assertEquals(1 + steps, heard[0], "a token in every step");
                assertTrue(engine.nativeCalls() - before <= 2, "a micro-batch of the prompt and a step");
            }
            assertEquals((size - 1 + 7) / 8, steps, "eight columns in a step, the last is the first token's");
            while (!reads.isDone()) {
                engine.step();
            }
            assertEquals(alone, reads.answer().tokens());
            assertFalse(generates.isDone());
        }
    }

    @Test
    void whatIsCancelledInTheQueueGivesItsRoomBack() {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withMicroBatch(4))) {
            engine.submit(plain("runs", 50));
            engine.step();
            engine.submit(plain("a prompt that takes more than one step to read", 3));
            final Generation gone = engine.submit(plain("gone", 3));
            final int free = engine.room().freeCells();
            gone.cancel();
            engine.step();
            assertTrue(gone.isDone());
            assertEquals(FinishReason.CANCELLED, gone.answer().finish());
            // What runs took a cell for its next token.
            assertEquals(free + gone.promptCells - 1, engine.room().freeCells());
        }
    }

    @Test
    void aPauseKeepsThePlace() {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT)) {
            final List<Integer> alone = engine.run(plain("to be interrupted", 10)).tokens();
            final Generation paused = engine.submit(plain("to be interrupted", 10));
            engine.step();
            paused.pause();
            assertFalse(engine.canAdvance());
            engine.run(plain("in between", 20));
            assertFalse(paused.isDone());
            paused.resume();
            assertTrue(engine.canAdvance());
            IntStream.range(0, 9).forEach(i -> engine.step());
            assertEquals(alone, paused.answer().tokens());
        }
    }
}
