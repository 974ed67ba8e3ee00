package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Tokens found in the graph against those that the host takes. Both engines run the same batches, whose logits are the
 * same to the last bit: so must everything be that comes of them.
 */
class DrawInTest {
    private static final int TOKENS = 16;
    private static final EngineOptions OPTIONS =
            EngineOptions.defaults().withContext(512).withThreads(1).withMaxBranches(16);

    @TempDir
    private Path directory;

    private Model load(final long seed) {
        return Model.load(
                TinyModels.llama(directory.resolve("tiny" + seed + ".gguf"), seed),
                Placement.options());
    }

    private static Branch branch(final String name, final String text) {
        return new Branch(name, Prompt.builder().text(text).build());
    }

    private static Request plain(final Sampling sampling, final int logProbabilities) {
        return new Request(
                List.of(branch("base", "what is it")),
                Optional.empty(),
                sampling,
                new Limits(TOKENS, List.of()),
                logProbabilities,
                new StrategyLabel("test", "test"));
    }

    private static Request contrast(final Sampling sampling, final float... weights) {
        final List<Branch> branches = List.of(
                branch("base", "what is it then"), branch("other", "what was it"), branch("third", "who was it"));
        return new Request(
                branches.subList(0, weights.length),
                Optional.of(new Combination(CoefficientSchedule.fixed(weights), weights.length == 3, 0.05)),
                sampling,
                new Limits(TOKENS, List.of()),
                0,
                new StrategyLabel("test", "test"));
    }

    private static Sampling warm() {
        return new Sampling(1.2, 40, 0.95, 0, 1.1, 32, 11, Optional.empty());
    }

    private static Request greedyContrast() {
        return contrast(Sampling.greedy(), 3, -2);
    }

    private static List<Request> mixed() {
        return List.of(
                plain(Sampling.greedy(), 0),
                greedyContrast(),
                plain(warm(), 0),
                contrast(Sampling.greedy(), 2, -0.5f, -0.5f),
                contrast(warm(), 3, -2),
                greedyContrast().withGate(new Gate.Disagreement(3)),
                greedyContrast().withGate(new Gate.Entropy(5)),
                plain(Sampling.greedy(), 3));
    }

    private static Engine open(final Model model, final DrawIn where) {
        return open(model, where, 0);
    }

    private static Engine open(final Model model, final DrawIn where, final int patience) {
        return Engine.open(model, OPTIONS.withDrawIn(where).withGatePatience(patience));
    }

    // What is said of an answer, but for the time that it took.
    private static List<Object> outcome(final Answer answer) {
        return List.of(
                answer.tokens(), answer.text(), answer.finish(), answer.trace(), answer.logProbabilities());
    }

    // All in one batch, and one more that is cancelled on its way.
    private static List<List<Object>> together(final Engine engine) {
        final List<Generation> generations =
                new ArrayList<>(mixed().stream().map(engine::submit).toList());
        final Generation left = engine.submit(greedyContrast());
        generations.add(left);
        for (int step = 0; engine.step(); step++) {
            if (step == TOKENS / 3) {
                left.cancel();
            }
        }
        return generations.stream().map(one -> outcome(one.answer())).toList();
    }

    @ParameterizedTest
    @CsvSource({"3,0", "7,0", "11,0", "3,1000", "11,2"})
    void tokensAndTracesAreThoseOfTheHost(final long seed, final int patience) {
        try (Model model = load(seed);
                Engine host = open(model, DrawIn.HOST, patience);
                Engine graph = open(model, DrawIn.GRAPH, patience)) {
            final List<List<Object>> expected = together(host);
            final List<List<Object>> actual = together(graph);
            for (int i = 0; i < expected.size(); i++) {
                assertEquals(expected.get(i), actual.get(i), "request " + i);
            }
            assertEquals(FinishReason.CANCELLED, actual.getLast().get(2));
            assertTrue(graph.rowsRead() < host.rowsRead());
            for (final Request request : mixed()) {
                assertEquals(outcome(host.run(request)), outcome(graph.run(request)), "alone");
            }
        }
    }

    @Test
    void onlyIdsLeaveTheGraph() {
        try (Model model = load(3);
                Engine engine = open(model, DrawIn.GRAPH)) {
            final List<Generation> greedy = List.of(
                    engine.submit(plain(Sampling.greedy(), 0)),
                    engine.submit(greedyContrast()),
                    engine.submit(contrast(Sampling.greedy(), 2, -0.5f, -0.5f)));
            while (engine.step()) {
                // Every step advances all of them.
            }
            assertTrue(greedy.stream().allMatch(one -> one.answer().tokens().size() > 1));
            assertEquals(0, engine.rowsRead());

            // In company a chain reads its own row and no other.
            final Generation chain = engine.submit(plain(warm(), 0));
            engine.submit(greedyContrast());
            while (engine.step()) {
                // Every step advances both.
            }
            final Answer drawn = chain.answer();
            assertEquals(
                    drawn.tokens().size() + (drawn.finish() == FinishReason.STOP ? 1 : 0), engine.rowsRead());
        }
    }

    @Test
    void theHostReadsRowsWhereItDraws() {
        Placement.requireCpu("there the graph draws unless told otherwise");
        try (Model model = load(3);
                Engine byHand = open(model, DrawIn.HOST);
                Engine onCpu = open(model, DrawIn.AUTO)) {
            for (final Engine engine : List.of(byHand, onCpu)) {
                assertFalse(engine.run(greedyContrast()).tokens().isEmpty());
                assertTrue(engine.rowsRead() > 0);
            }
        }
    }

    @Test
    void rowsAreThereForThoseWhoAsk() {
        try (Model model = load(3);
                Engine host = open(model, DrawIn.HOST);
                Engine graph = open(model, DrawIn.GRAPH)) {
            assertArrayEquals(
                    host.logits(greedyContrast()).logits(), graph.logits(greedyContrast()).logits());
            assertEquals(1, graph.rowsRead());
        }
    }

    @Test
    void aRowThatIsNotFiniteEndsItsRequestAlone() {
        try (Model model = load(3);
                Engine engine = open(model, DrawIn.GRAPH)) {
            final Generation beside = engine.submit(plain(Sampling.greedy(), 0));
            engine.submit(contrast(Sampling.greedy(), Float.MAX_VALUE, Float.MAX_VALUE));
            assertThrows(InternalException.class, engine::step);
            while (engine.step()) {
                // The other goes on.
            }
            assertEquals(TOKENS, beside.answer().tokens().size());
        }
    }

    @Test
    void plansSayWhereAndWhy() {
        Placement.requireCpu("there the graph draws unless told otherwise");
        try (Model model = load(3);
                Engine graph = open(model, DrawIn.GRAPH);
                Engine host = open(model, DrawIn.HOST);
                Engine auto = open(model, DrawIn.AUTO)) {
            assertTrue(graph.describe(greedyContrast()).draw().inGraph());
            assertFalse(host.describe(greedyContrast()).draw().inGraph());
            assertEquals("the engine was opened so", host.describe(greedyContrast()).draw().because());
            assertTrue(auto.describe(greedyContrast()).draw().because().contains("GPU"));
            assertTrue(graph.describe(greedyContrast().withGate(new Gate.Disagreement(3)))
                    .draw()
                    .because()
                    .contains("but where the gate looks"));
            for (final Request request : List.of(
                    plain(warm(), 0), plain(Sampling.greedy(), 3), greedyContrast().withGate(new Gate.Entropy(1)))) {
                assertFalse(graph.describe(request).draw().inGraph(), request.toString());
            }
        }
    }
}
