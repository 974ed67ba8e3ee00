package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.TurnToSinks;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.AnswerCheck;
import dev.equipoise.runtime.oracle.InterventionOracle;
import dev.equipoise.runtime.oracle.InterventionOracle.Act;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.RequestOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A turn to sinks against the plain Java forward pass, where random states have sinks by lower thresholds. */
class TurnToSinksTest extends InterventionRig {
    private static final EngineOptions ROOMY = EXACT.withMaxBranches(12);

    private static TurnToSinks turn(
            final double threshold, final double factor, final double gamma, final int every, final Integer... layers) {
        return new TurnToSinks("turn", threshold, factor, gamma, 0.1, every, new TreeSet<>(List.of(layers)));
    }

    private static IntPredicate ofPrompt() {
        return t -> t < columns.size();
    }

    // What makes a number of prompt tokens sinks of the first block, between two of their largest elements.
    private static double threshold(final int sinks) {
        final List<Double> largest = new ArrayList<>();
        oracle.run(inputs, new LlamaOracle.Inside() {
            @Override
            public void entering(final int layer, final int position, final double[] state) {
                if (layer == 0) {
                    largest.add(Arrays.stream(state).map(Math::abs).max().orElseThrow());
                }
            }
        });
        final List<Double> sorted = largest.stream().sorted((a, b) -> Double.compare(b, a)).toList();
        return (sorted.get(sinks - 1) + sorted.get(sinks)) / 2;
    }

    private static List<Set<Integer>> sinks(final TurnToSinks turn) {
        final InterventionOracle inside = new InterventionOracle(new Act(turn, EVERYWHERE, ofPrompt()));
        oracle.run(inputs, inside);
        return IntStream.range(0, LAYERS).mapToObj(inside::sinks).toList();
    }

    @ParameterizedTest
    @CsvSource({"2, 3, 1", "5, 3, 2", "5, 0.5, 0", "9, 0, 1", "21, 0, 2", "21, 3, 2"})
    void whatTheHeadsGiveIsTurned(final int some, final double gamma, final int every) {
        final TurnToSinks turn = turn(threshold(some), 0, gamma, every, 0, 1, 2, 3);
        assertEquals(some, sinks(turn).getFirst().size());
        assertTrue(sinks(turn).stream().allMatch(of -> of.size() < inputs.size()), "all are sinks");
        assertParity(ROOMY, new Act(turn, EVERYWHERE, ofPrompt()));
        assertParity(ROOMY.withFlashAttention(FlashAttention.ON), new Act(turn, EVERYWHERE, ofPrompt()));
    }

    @Test
    void theMedianDecidesToo() {
        // The largest elements of random states are about three times their median.
        final TurnToSinks turn = turn(0, 4.5, 3, 2, 1, 2);
        final List<Set<Integer>> sinks = sinks(turn);
        assertTrue(sinks.get(1).size() > 0 && sinks.get(1).size() < inputs.size(), sinks::toString);
        assertEquals(Set.of(), sinks.get(3), "a block that is not named");
        assertParity(ROOMY, new Act(turn, EVERYWHERE, ofPrompt()));
        assertEquals(List.of(Set.of(), Set.of(), Set.of(), Set.of()), sinks(turn(0, 1000, 3, 1, 0, 1, 2, 3)));
    }

    @ParameterizedTest
    @CsvSource({"Q8_0,ON", "F16,OFF", "F16,ON"})
    void valuesOfOtherCaches(final KvType kvType, final FlashAttention flash) {
        final Path wide = TinyModels.llama(directory.resolve("wide-turn.gguf"), 6, LAYERS, WIDTH, 2, 1, 96, 512);
        final LlamaOracle other = LlamaOracle.of(GgufFile.read(wide));
        final Prompt words = Prompt.builder().text("which colour has the square that the note is about").build();
        final TurnToSinks turn = turn(2.6, 0, 3, 1, 0, 1, 2, 3);
        try (Model loaded = Model.load(wide, Placement.options());
                Engine engine = Engine.open(loaded, EXACT.withKvType(kvType).withFlashAttention(flash))) {
            final List<Input> read = Input.tokens(engine.logits(Request.plain(words)).promptTokens());
            final InterventionOracle inside = new InterventionOracle(new Act(turn, EVERYWHERE, EVERYWHERE));
            final double[] expected = other.run(read, inside).last();
            assertFalse(inside.sinks(0).isEmpty(), "no sink");
            final Request request = request(Optional.empty(), List.of(new Branch("base", words, List.of(turn))));
            final float[] actual = engine.logits(request).logits();
            final double tolerance =
                    kvType == KvType.Q8_0 ? Tolerance.q8(LAYERS, expected) : Tolerance.f16(expected);
            assertClose(expected, actual, tolerance);
            final double effect = Tolerance.largestDifference(other.run(read).last(), actual);
            Placement.requireVisible(effect > 3 * tolerance, "an effect of " + effect + " proves nothing");
        }
    }

    private static Request answering(final Intervention... interventions) {
        return answering(prompt, Optional.empty(), interventions);
    }

    private static Request answering(
            final Prompt asked, final Optional<BeamSearch> search, final Intervention... interventions) {
        return new Request(
                List.of(new Branch("base", asked, List.of(interventions))),
                Optional.empty(),
                Sampling.greedy(),
                new Limits(6, List.of()),
                Request.MAX_LOG_PROBABILITIES,
                new StrategyLabel("test", "test"),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                search);
    }

    // Of so many tokens the first is none, and of more it is one, in the first block.
    private static TurnToSinks of(final boolean first) {
        final int some = IntStream.range(2, inputs.size() - 1)
                .filter(n -> sinks(turn(threshold(n), 0, 3, 2, 0, 1, 2, 3)).getFirst().contains(0) == first)
                .findFirst()
                .orElseThrow();
        return turn(threshold(some), 0, 3, 2, 0, 1, 2, 3);
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void laterTokensAreTurnedWhereTheFirstIsNoSink(final boolean first) {
        final TurnToSinks turn = of(first);
        try (Engine engine = Engine.open(model, ROOMY)) {
            final RequestOracle requests = new RequestOracle(oracle, engine);
            final Request request = answering(turn);
            final Answer answer = engine.run(request);
            final AnswerCheck check = AnswerCheck.of(requests, request, answer, Tolerance::f32);
            assertTrue(check.rows() > 1, "one token");
            Placement.requireVisible(
                    check.differenceFrom(requests, answering()) > 10 * check.largestTolerance(), "it does nothing");
            final TraceEntry entry = answer.trace().getFirst();
            assertEquals(columns.size() + answer.tokens().size() - 1, entry.tokens());
            assertTrue(entry.meanDeltaNorm() > 0, entry::toString);
        }
    }

    @Test
    void everyOneHasSinksOfItsOwn() {
        final TurnToSinks turn = of(false);
        final TurnToSinks other = turn(threshold(12), 0, 2, 1, 0, 1, 2);
        final Prompt words = Prompt.builder().text("what is to be seen here, and what is to be heard").build();
        try (Engine engine = Engine.open(model, ROOMY)) {
            final RequestOracle requests = new RequestOracle(oracle, engine);
            final List<Request> all = List.of(
                    answering(),
                    answering(turn),
                    answering(words, Optional.empty(), other),
                    answering(words, Optional.empty()),
                    answering(other),
                    answering(new Intervention.RaiseScores(
                            "raise", Set.of(Modality.IMAGE), 3, ALL_LAYERS, Heads.ALL, Scope.all())));
            final Engine.Room whole = engine.room();
            for (int round = 0; round < 2; round++) {
                // A second time their cells are those of others.
                final List<Generation> running = new ArrayList<>();
                for (final Request request : round == 0 ? all : all.reversed()) {
                    running.add(engine.submit(request));
                    engine.step();
                }
                while (engine.step()) {
                    // All advance.
                }
                for (final Generation one : running) {
                    AnswerCheck.of(requests, one.request(), one.answer(), Tolerance::f32);
                }
                assertEquals(whole, engine.room());
            }
        }
    }

    /** Others wait for no more than a micro-batch of prompts between two of their tokens. */
    @Test
    void wholePromptsComeOneAStep() {
        final int size = columns.size();
        try (Engine engine = Engine.open(model, ROOMY.withMicroBatch(size + 3))) {
            final Generation first = engine.submit(answering());
            engine.step();
            final int[] heard = new int[3];
            final List<Generation> all = IntStream.range(0, 3)
                    .mapToObj(i -> engine.submit(answering(turn(2, 0, 3, 1, 0, 1)), TokenListener.ids(t -> heard[i]++)))
                    .toList();
            for (int begun = 1; begun <= 3; begun++) {
                engine.step();
                assertEquals(begun, Arrays.stream(heard).filter(count -> count > 0).count());
            }
            while (engine.step()) {
                // All advance.
            }
            assertTrue(first.isDone() && all.stream().allMatch(Generation::isDone));
        }
    }

    @Test
    void aBranchIsTurnedBesideOthers() {
        final TurnToSinks turn = of(false);
        try (Engine engine = Engine.open(model, ROOMY)) {
            final RequestOracle requests = new RequestOracle(oracle, engine);
            for (final List<List<Intervention>> acting : List.of(
                    List.<List<Intervention>>of(List.of(turn), List.of(), List.of()),
                    List.<List<Intervention>>of(List.of(), List.of(turn), List.of()),
                    List.<List<Intervention>>of(List.of(turn), List.of(turn), List.of()))) {
                final Request request = new Request(
                        List.of(
                                new Branch("base", prompt, acting.get(0)),
                                new Branch("blind", prompt.without(Modality.IMAGE), acting.get(1)),
                                new Branch("deaf", prompt.without(Modality.AUDIO), acting.get(2))),
                        Optional.of(new Combination(CoefficientSchedule.fixed(2, -0.5f, -0.5f), false, 0)),
                        Sampling.greedy(),
                        new Limits(4, List.of()),
                        Request.MAX_LOG_PROBABILITIES,
                        new StrategyLabel("test", "test"));
                AnswerCheck.of(requests, request, engine.run(request), Tolerance::f32);
                final List<NextLogits> rows = engine.rows(request);
                for (int b = 0; b < 3; b++) {
                    final double[] expected = requests.row(
                                    request(Optional.empty(), List.of(request.branches().get(b))), List.of())
                            .logits();
                    assertClose(expected, rows.get(b).logits(), Tolerance.f32(expected));
                }
            }
        }
    }

    private static double logProbability(final double[] row, final int token) {
        return row[token] - Math.log(Arrays.stream(row).map(Math::exp).sum());
    }

    @Test
    void aSearchGoesOnFromThePrompt() {
        final TurnToSinks turn = of(false);
        try (Engine engine = Engine.open(model, ROOMY)) {
            final RequestOracle requests = new RequestOracle(oracle, engine);
            final Request searching =
                    answering(prompt, Optional.of(new BeamSearch(3, 1, false, Optional.empty())), turn);
            final Answer found = engine.run(searching);
            final List<Integer> before = new ArrayList<>();
            for (final TokenLogProbabilities one : found.logProbabilities()) {
                final double[] row = requests.row(answering(turn), before).logits();
                final double apart = Math.abs(logProbability(row, one.token()) - one.logProbability());
                assertTrue(apart <= 2 * Tolerance.f32(row), before + ": " + apart);
                before.add(one.token());
            }
            assertEquals(found.tokens(), before);
            assertTrue(before.size() > 1, "one token");
        }
    }

    @Test
    void continuationsAreReadBehindIt() {
        final TurnToSinks turn = of(false);
        try (Engine engine = Engine.open(model, ROOMY)) {
            final RequestOracle requests = new RequestOracle(oracle, engine);
            final Request request = request(turn);
            final int[] tokens = {270, 281, 275};
            final double[] scores = engine.logProbabilities(request, List.of(tokens)).getFirst();
            final List<Integer> before = new ArrayList<>();
            for (int i = 0; i < tokens.length; i++) {
                final double[] row = requests.row(request, before).logits();
                final double apart = Math.abs(logProbability(row, tokens[i]) - scores[i]);
                assertTrue(apart <= 2 * Tolerance.f32(row), i + ": " + apart);
                before.add(tokens[i]);
            }
        }
    }

    @Test
    void whatItCannotDoIsRefused() {
        final TurnToSinks turn = turn(2, 0, 3, 1, 0, 1);
        assertThrows(BadInputException.class, () -> turn(-1, 0, 3, 1, 0));
        assertThrows(BadInputException.class, () -> turn(1, Double.NaN, 3, 1, 0));
        assertThrows(BadInputException.class, () -> turn(1, 0, 2000, 1, 0));
        assertThrows(BadInputException.class, () -> turn(1, 0, 3, -1, 0));
        final int size = columns.size();
        try (Engine engine = Engine.open(model, ROOMY.withMicroBatch(size - 1))) {
            final BadInputException narrow =
                    assertThrows(BadInputException.class, () -> engine.logits(request(turn)));
            assertTrue(
                    narrow.getMessage().contains(size + " columns")
                            && narrow.getMessage().contains("holds " + (size - 1)),
                    narrow::getMessage);
            for (final Intervention other : List.of(
                    turn,
                    reweigh(Modality.IMAGE, 2, Scope.all(), 0),
                    new Intervention.Soften("soften", 2, ALL_LAYERS, Scope.all()))) {
                final BadInputException two =
                        assertThrows(BadInputException.class, () -> engine.logits(request(turn, other)));
                assertTrue(two.getMessage().contains("another change of attention"), two::getMessage);
            }
        }
        try (Engine engine = Engine.open(model, ROOMY.withMicroBatch(size))) {
            assertTrue(Float.isFinite(engine.logits(request(turn)).logits()[0]), "what just fits");
        }
        final List<Branch> branches =
                List.of(new Branch("base", prompt, List.of(turn)), new Branch("other", prompt, List.of()));
        assertThrows(
                BadInputException.class,
                () -> request(Optional.of(new Merge(1, Map.of(Modality.IMAGE, 0.5))), branches));
        assertThrows(
                BadInputException.class,
                () -> new Request(
                        branches,
                        Optional.of(new Combination(CoefficientSchedule.fixed(2, -1), false, 0)),
                        Sampling.greedy(),
                        new Limits(2, List.of()),
                        0,
                        new StrategyLabel("test", "test"),
                        Optional.empty(),
                        Optional.of(new Gate.Entropy(1)),
                        Optional.empty()));
    }
}
