package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.runtime.search.OverTrust;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyArchitectures;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.SortedMap;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/** Searches on an engine: what they read, beside whom, and how they end. That they find the right answer others say. */
class SearchTest {
    static final List<String> ARCHITECTURES = TinyArchitectures.NAMES;

    private static final int WIDTH = 64;
    private static final EngineOptions EXACT = Tolerance.exact(2048).withMaxBranches(40);
    // Its places come up again soon, so that it goes back often.
    private static final BeamSearch RESTLESS = new BeamSearch(
            3, 1, true, Optional.of(new OverTrust(3, 50, 1e-3, 0.5, 1, Modality.IMAGE, OptionalInt.of(2))));

    @TempDir
    static Path directory;

    private static Model model;

    @BeforeAll
    static void writeModels() {
        final Path mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 4, WIDTH);
        model = Model.load(
                TinyModels.llama(directory.resolve("tiny.gguf"), 3), Placement.options().withMmproj(mmproj));
    }

    @AfterAll
    static void close() {
        model.close();
    }

    private static Prompt prompt() {
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(5).nextBytes(pixels);
        return Prompt.builder().text("look").image(Image.rgb(32, 32, pixels)).text("what is it").build();
    }

    private static Request request(
            final BeamSearch search, final int tokens, final Intervention... acting) {
        return new Request(
                List.of(new Branch("base", prompt(), List.of(acting))),
                Optional.empty(),
                Sampling.greedy(),
                new Limits(tokens, List.of()),
                3,
                new StrategyLabel("search", "test"),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.of(search));
    }

    private static Request drawing(final int tokens, final Intervention... acting) {
        return new Request(
                List.of(new Branch("base", prompt(), List.of(acting))),
                Optional.empty(),
                Sampling.greedy(),
                new Limits(tokens, List.of()),
                0,
                StrategyLabel.PLAIN);
    }

    private static BeamSearch plain(final int beams) {
        return new BeamSearch(beams, 1, false, Optional.empty());
    }

    private static TraceEntry traced(final Answer answer, final String name) {
        return answer.trace().stream()
                .filter(entry -> entry.intervention().equals(name))
                .findFirst()
                .orElseThrow();
    }

    // What the answer's tokens competed with, read once more by another way: all of them behind the prompt at once.
    private static void requireRows(final Engine engine, final Answer answer, final Intervention... acting) {
        assertEquals(answer.tokens().size(), answer.logProbabilities().size());
        final double[] expected = engine.logProbabilities(
                        drawing(64, acting),
                        List.of(answer.tokens().stream().mapToInt(Integer::intValue).toArray()))
                .getFirst();
        for (int i = 0; i < expected.length; i++) {
            final TokenLogProbabilities competition = answer.logProbabilities().get(i);
            assertEquals(answer.tokens().get(i), competition.token());
            assertEquals(expected[i], competition.logProbability(), 2 * Tolerance.f32(new double[] {4}), "token " + i);
        }
    }

    private static List<Answer> run(final Engine engine, final List<Request> requests) {
        final Engine.Room whole = engine.room();
        final List<Generation> all = requests.stream().map(engine::submit).toList();
        while (!all.stream().allMatch(Generation::isDone)) {
            engine.step();
        }
        assertEquals(whole, engine.room());
        return all.stream().map(Generation::answer).toList();
    }

    /** On every architecture, with sliding windows and places in three axes among them, in pieces and in company. */
    @ParameterizedTest
    @FieldSource("ARCHITECTURES")
    void rowsAreThoseOfTheAnswer(final String architecture) {
        final Path mmproj = TinyModels.mmproj(directory.resolve(architecture + "-mmproj.gguf"), 7, 32);
        final Path file = TinyArchitectures.write(directory.resolve(architecture + ".gguf"), architecture, 11);
        int returns = 0;
        try (Model other = Model.load(file, Placement.options().withMmproj(mmproj))) {
            for (final BeamSearch search : List.of(plain(4), RESTLESS)) {
                final List<List<Integer>> found = new ArrayList<>();
                for (final int microBatch : new int[] {512, 5}) {
                    try (Engine engine = Engine.open(
                            other, Tolerance.exact(2048).withMaxBranches(12).withMicroBatch(microBatch))) {
                        final Answer answer = run(engine, List.of(request(search, 24))).getFirst();
                        requireRows(engine, answer);
                        found.add(answer.tokens());
                        returns += search == RESTLESS ? traced(answer, "search:roll-back").tokens() : 0;
                    }
                }
                try (Engine engine = Engine.open(other, EXACT)) {
                    final List<Answer> all = run(
                            engine,
                            List.of(request(search, 24), drawing(40), request(RESTLESS, 20), request(search, 24)));
                    all.stream().filter(answer -> !answer.logProbabilities().isEmpty())
                            .forEach(answer -> requireRows(engine, answer));
                    found.add(all.getFirst().tokens());
                    found.add(all.getLast().tokens());
                    assertEquals(engine.run(drawing(40)).tokens(), all.get(1).tokens());
                }
                assertEquals(1, found.stream().distinct().count(), architecture + found);
            }
        }
        assertTrue(returns > 1, architecture + " never goes back");
    }

    @Test
    void oneBeamIsGreedyDecoding() {
        try (Engine engine = Engine.open(model, EXACT)) {
            final Answer greedy = engine.run(drawing(30));
            final Optional<OverTrust> idle =
                    Optional.of(new OverTrust(3, 50, 1e-7, 0, 10, Modality.IMAGE, OptionalInt.empty()));
            for (final BeamSearch search : List.of(plain(1), new BeamSearch(1, 1, true, idle))) {
                assertTrue(search.isGreedy());
                final Answer answer = engine.run(request(search, 30));
                assertEquals(greedy.tokens(), answer.tokens());
                assertEquals(greedy.text(), answer.text());
                assertEquals(greedy.finish(), answer.finish());
            }
        }
    }

    /** What acts on generated tokens acts on every beam, and is counted. */
    @Test
    void interventionsActOnBeams() {
        final SortedMap<Integer, float[]> directions = new TreeMap<>();
        final float[] direction = new float[model.info().width()];
        Arrays.fill(direction, 0.4f);
        directions.put(0, direction);
        final Intervention steer = new Intervention.Steer(
                "steer:test",
                Intervention.Operation.ADD,
                new LayerVectors(directions),
                Optional.empty(),
                1,
                Scope.all().during(EnumSet.of(Phase.GENERATED)));
        try (Engine engine = Engine.open(model, EXACT)) {
            final Answer without = engine.run(request(RESTLESS, 16));
            final Answer answer = engine.run(request(RESTLESS, 16, steer));
            requireRows(engine, answer, steer);
            assertTrue(!without.tokens().equals(answer.tokens()), "the direction changes nothing");
            final TraceEntry trace = traced(answer, "steer:test");
            assertTrue(trace.tokens() >= 3 * (answer.tokens().size() - 1), trace.toString());
            assertEquals(0.4 * Math.sqrt(model.info().width()), trace.meanDeltaNorm(), 1e-4);
        }
    }

    @Test
    void tokensComeAtTheEndUpToAStopText() {
        try (Engine engine = Engine.open(model, EXACT)) {
            final Request request = request(plain(3), 12);
            final Answer whole = engine.run(request);
            final String middle = model.text(whole.tokens().subList(3, 5));
            final int at = whole.text().indexOf(middle);
            final List<Integer> heard = new ArrayList<>();
            final StringBuilder text = new StringBuilder();
            final Generation generation = engine.submit(
                    new Request(
                            request.branches(),
                            Optional.empty(),
                            request.sampling(),
                            new Limits(12, List.of(middle)),
                            0,
                            request.strategy(),
                            Optional.empty(),
                            Optional.empty(),
                            Optional.empty(),
                            request.search()),
                    new TokenListener() {
                        @Override
                        public void onToken(final int token, final String more) {
                            heard.add(token);
                            text.append(more);
                        }

                        @Override
                        public void onRest(final int token, final String more) {
                            text.append(more);
                        }
                    });
            while (!generation.isDone()) {
                assertTrue(heard.isEmpty());
                engine.step();
            }
            final Answer answer = generation.answer();
            assertEquals(whole.text().substring(0, at), answer.text());
            assertEquals(answer.text(), text.toString());
            assertEquals(answer.tokens(), heard);
            assertEquals(FinishReason.STOP, answer.finish());
            assertTrue(answer.tokens().size() < 12);
            assertEquals(whole.tokens().subList(0, heard.size()), heard);
        }
    }

    @Test
    void oneIsCancelledOrRestsAtAnyStep() {
        try (Engine engine = Engine.open(model, EXACT)) {
            final Engine.Room whole = engine.room();
            final List<Integer> tokens = engine.run(request(RESTLESS, 10)).tokens();
            for (int steps = 0; steps < 12; steps++) {
                final Generation cancelled = engine.submit(request(RESTLESS, 10));
                final Generation rests = engine.submit(request(RESTLESS, 10));
                for (int i = 0; i < steps; i++) {
                    engine.step();
                }
                rests.pause();
                final Generation late = engine.submit(drawing(4));
                while (!late.isDone()) {
                    engine.step();
                }
                cancelled.cancel();
                rests.resume();
                while (!rests.isDone()) {
                    engine.step();
                }
                assertEquals(tokens, rests.answer().tokens());
                assertTrue(cancelled.isDone());
                if (cancelled.answer().finish() == FinishReason.CANCELLED) {
                    assertTrue(cancelled.answer().tokens().size() < 10 + 1);
                } else {
                    assertEquals(tokens, cancelled.answer().tokens());
                }
                assertEquals(whole, engine.room());
            }
        }
    }

    /** Its cells are taken from the start: it cannot end where they do. */
    @Test
    void takesAllItsCellsAndNoMore() {
        final Request request = request(RESTLESS, 20);
        final PreparedRequest prepared = PreparedRequest.of(model, EXACT, request);
        assertEquals(10, prepared.branches());
        assertEquals(prepared.promptCells() + 19 * 3 + 9, prepared.cells());
        final int cells = (int) prepared.cells();
        try (Engine engine = Engine.open(model, Tolerance.exact(cells).withMaxBranches(10))) {
            final Engine.Room whole = engine.room();
            final Answer answer = engine.run(request);
            assertTrue(traced(answer, "search:roll-back").tokens() > 0);
            assertEquals(whole, engine.room());
            assertThrows(BadInputException.class, () -> engine.submit(request(RESTLESS, 21)));
            final Generation one = engine.submit(request);
            assertThrows(BadInputException.class, () -> engine.submit(drawing(1)));
            one.cancel();
            engine.step();
            assertEquals(whole, engine.room());
        }
        try (Engine few = Engine.open(model, Tolerance.exact(cells).withMaxBranches(9))) {
            final BadInputException refused =
                    assertThrows(BadInputException.class, () -> few.submit(request));
            assertTrue(refused.getMessage().contains("10"), refused.getMessage());
        }
    }

    /** It ends as cancelled, with what was heard so far; others go on, and nothing of it is left. */
    @Test
    void aListenerThrowsInTheMiddleOfAnAnswer() {
        try (Engine engine = Engine.open(model, EXACT)) {
            final Engine.Room whole = engine.room();
            final List<Integer> alone = engine.run(drawing(30)).tokens();
            final IllegalStateException thrown = new IllegalStateException("enough");
            final int[] heard = new int[1];
            final Generation other = engine.submit(drawing(30));
            final Generation generation = engine.submit(request(RESTLESS, 10), TokenListener.ids(token -> {
                if (++heard[0] == 2) {
                    throw thrown;
                }
            }));
            RuntimeException seen = null;
            while (seen == null) {
                try {
                    engine.step();
                } catch (final IllegalStateException e) {
                    seen = e;
                }
            }
            assertSame(thrown, seen);
            assertEquals(0, seen.getSuppressed().length);
            assertEquals(FinishReason.CANCELLED, generation.answer().finish());
            assertEquals(2, generation.answer().tokens().size());
            while (engine.step()) {
                // The other goes on.
            }
            assertEquals(alone, other.answer().tokens());
            assertEquals(whole, engine.room());
        }
    }

    /** An engine that closes ends it with the best there is so far. */
    @Test
    void anEngineClosesInTheMiddle() {
        final Generation generation;
        final List<Integer> heard = new ArrayList<>();
        try (Engine engine = Engine.open(model, EXACT)) {
            generation = engine.submit(request(RESTLESS, 20), TokenListener.ids(heard::add));
            for (int i = 0; i < 9; i++) {
                engine.step();
            }
            assertFalse(generation.isDone());
        }
        assertEquals(FinishReason.CANCELLED, generation.answer().finish());
        assertEquals(heard, generation.answer().tokens());
        assertFalse(heard.isEmpty());
    }

    /** More beams than candidates take tokens that were no candidates; the others' cells stay meanwhile. */
    @Test
    void cellsAreEnoughWhereCandidatesAreFew() {
        final BeamSearch wide = new BeamSearch(
                16, 1, true, Optional.of(new OverTrust(15, 50, 1e-3, 0.5, 1, Modality.IMAGE, OptionalInt.empty())));
        final Request request = request(wide, 2);
        // llama.cpp rounds a cache up to 256 cells, which a prompt takes here.
        final Request filling = new Request(
                List.of(new Branch("base", Prompt.builder().text("look ".repeat(60)).build())),
                Optional.empty(),
                Sampling.greedy(),
                new Limits(100, List.of()),
                0,
                StrategyLabel.PLAIN);
        final long own = PreparedRequest.of(model, EXACT.withMaxBranches(241), request).cells();
        final PreparedRequest filler = PreparedRequest.of(model, EXACT, filling);
        assertEquals(16 + 240, own - PreparedRequest.of(model, EXACT, drawing(1)).promptCells());
        final int cells = (int) (own + filler.cells());
        assertTrue((cells + 255) / 256 * 256 - cells < 224, cells + " cells");
        try (Engine engine = Engine.open(model, Tolerance.exact(cells).withMaxBranches(242))) {
            final Generation rests =
                    engine.submit(PreparedRequest.of(model, engine.options(), filling), TokenListener.NONE);
            for (int i = 0; i < 90 && !rests.isDone(); i++) {
                engine.step();
            }
            assertFalse(rests.isDone());
            rests.pause();
            final Answer answer = engine.run(request);
            assertFalse(answer.tokens().isEmpty());
            assertEquals(answer.tokens().size(), answer.logProbabilities().size());
        }
    }

    @Test
    void aSingleTokenIsSearchedFor() {
        try (Engine engine = Engine.open(model, EXACT)) {
            for (final BeamSearch search : List.of(plain(3), RESTLESS)) {
                final Answer answer = engine.run(request(search, 1));
                assertTrue(answer.tokens().size() <= 1);
                requireRowsIfAny(engine, answer);
            }
            // Nothing of a search concerns the row behind the prompt.
            assertEquals(
                    Arrays.toString(engine.logits(drawing(4)).logits()),
                    Arrays.toString(engine.logits(request(RESTLESS, 4)).logits()));
        }
    }

    private static void requireRowsIfAny(final Engine engine, final Answer answer) {
        if (!answer.tokens().isEmpty()) {
            requireRows(engine, answer);
        }
    }

    @Test
    void refusesWhatDoesNotGoTogether() {
        final Branch base = new Branch("base", prompt());
        final Branch other = new Branch("other", Prompt.builder().text("what is it").build());
        final Sampling warm = new Sampling(1, 0, 1, 0, 1, 64, 0, Optional.empty());
        for (final Runnable bad : List.<Runnable>of(
                () -> searching(List.of(base, other), contrast(), Sampling.greedy()),
                () -> searching(List.of(base), contrast(), Sampling.greedy()),
                () -> searching(List.of(base), Optional.empty(), warm))) {
            final BadInputException refused = assertThrows(BadInputException.class, bad::run);
            assertFalse(refused.remedy().isEmpty());
        }
        final BeamSearch wide = new BeamSearch(16, 1, false, Optional.empty());
        assertTrue(model.info().vocabulary() >= 32);
        assertEquals(17, PreparedRequest.of(model, EXACT, request(wide, 4)).branches());
    }

    private static Optional<Combination> contrast() {
        return Optional.of(new Combination(CoefficientSchedule.fixed(2, -1), false, 0));
    }

    private static Request searching(
            final List<Branch> branches, final Optional<Combination> combination, final Sampling sampling) {
        return new Request(
                branches,
                combination,
                sampling,
                Limits.defaults(),
                0,
                StrategyLabel.PLAIN,
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.of(plain(3)));
    }
}
