package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Gated requests against ungated ones, against plain ones, and against the oracle's own gate. */
class GateTest {
    private static final int TOKENS = 24;
    private static final String NOTE = "the note says that the square is green";
    private static final String QUESTION = "which colour has the square";
    // A contrast this strong changes tokens of a random model often enough for a gate to matter.
    private static final float[] WEIGHTS = {3, -2};
    private static final double BETA = 0.05;
    private static final EngineOptions EXACT = Tolerance.exact(512).withGatePatience(0);
    private static final int NEVER_BEHIND = Integer.MAX_VALUE;

    @TempDir
    static Path directory;

    private static Path file;

    @BeforeAll
    static void writeModel() {
        file = TinyModels.llama(directory.resolve("tiny.gguf"), 3);
    }

    private static Model load() {
        return Model.load(file, Placement.options());
    }

    private static Prompt base() {
        return Prompt.builder().context(NOTE).text(QUESTION).build();
    }

    private static Prompt words(final String text) {
        return Prompt.builder().text(text).build();
    }

    private static Request plain(final Prompt prompt, final int tokens) {
        return request(List.of(new Branch("base", prompt)), Optional.empty(), Sampling.greedy(), tokens);
    }

    private static Request request(
            final List<Branch> branches,
            final Optional<Combination> combination,
            final Sampling sampling,
            final int tokens) {
        return new Request(
                branches, combination, sampling, new Limits(tokens, List.of()), 0, new StrategyLabel("test", "test"));
    }

    private static Request contrast(final Sampling sampling) {
        return request(
                List.of(new Branch("base", base()), new Branch("without", base().without(Modality.CONTEXT))),
                Optional.of(new Combination(CoefficientSchedule.fixed(WEIGHTS), false, BETA)),
                sampling,
                TOKENS);
    }

    private static Request contrast() {
        return contrast(Sampling.greedy());
    }

    private static TraceEntry gateOf(final Answer answer) {
        return answer.trace().stream()
                .filter(entry -> entry.intervention().startsWith("gate:"))
                .findFirst()
                .orElseThrow();
    }

    private static List<Gate> open() {
        return List.of(new Gate.Entropy(-1), new Gate.Confidence(2), new Gate.Disagreement(1));
    }

    @ParameterizedTest
    @ValueSource(ints = {0, NEVER_BEHIND})
    void aGateThatNeverShutsAnswersAsNone(final int patience) {
        final Sampling drawn = new Sampling(1.2, 40, 0.95, 0, 1.1, 32, 11, Optional.empty());
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withGatePatience(patience))) {
            for (final Sampling sampling : List.of(Sampling.greedy(), drawn)) {
                final Answer ungated = engine.run(contrast(sampling));
                assertFalse(ungated.tokens().equals(engine.run(request(
                                List.of(new Branch("base", base())), Optional.empty(), sampling, TOKENS))
                        .tokens()), "the contrast changes nothing: this test would not see a gate");
                for (final Gate gate : open()) {
                    final Answer gated = engine.run(contrast(sampling).withGate(gate));
                    assertEquals(ungated.tokens(), gated.tokens(), gate::toString);
                    assertEquals(gated.tokens().size(), gateOf(gated).tokens(), gate::toString);
                    assertEquals("gate:" + gate.kind(), gateOf(gated).intervention());
                }
            }
        }
    }

    @Test
    void branchesThatDifferInTheirLastTokenAloneHaveNothingToFetch() {
        final Request request = request(
                List.of(new Branch("base", words(NOTE + " square")), new Branch("other", words(NOTE + " green"))),
                Optional.of(new Combination(CoefficientSchedule.fixed(WEIGHTS), false, BETA)),
                Sampling.greedy(),
                TOKENS);
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT)) {
            final Answer ungated = engine.run(request);
            // Those that are open by what they see wait with the prompts behind them until they have seen it.
            for (final Gate gate : List.of(new Gate.Entropy(-1), new Gate.Entropy(1e-9), new Gate.Confidence(1))) {
                final Answer gated = engine.run(request.withGate(gate));
                assertEquals(ungated.tokens(), gated.tokens(), gate::toString);
                assertEquals(gated.tokens().size(), gateOf(gated).tokens(), gate::toString);
            }
        }
    }

    @Test
    void openLogitsAreThoseOfNoGate() {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT)) {
            final double[] expected = doubles(engine.logits(contrast()).logits());
            final double[] finite =
                    Arrays.stream(expected).filter(Double::isFinite).toArray();
            for (final Gate gate : open()) {
                final float[] gated = engine.logits(contrast().withGate(gate)).logits();
                final double difference = Tolerance.largestDifference(expected, gated);
                // The weights' absolute sum is five, and either row may be off by a row's tolerance.
                final double tolerance = 2 * 5 * Tolerance.f32(finite);
                assertTrue(difference <= tolerance, () -> gate + ": " + difference);
            }
        }
    }

    private static double[] doubles(final float[] row) {
        return IntStream.range(0, row.length).mapToDouble(y -> row[y]).toArray();
    }

    @Test
    void aGateThatNeverOpensAnswersAsPlain() {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT)) {
            final Answer plain = engine.run(plain(base(), TOKENS));
            for (final Gate gate : List.of(new Gate.Entropy(1e6), new Gate.Confidence(0))) {
                final Answer gated = engine.run(contrast().withGate(gate));
                assertEquals(plain.tokens(), gated.tokens(), gate::toString);
                assertEquals(0, gateOf(gated).tokens());
                // Its prompt went in beside the other branch's: a batch of another shape.
                final double[] expected = doubles(engine.logits(plain(base(), 1)).logits());
                final double difference = Tolerance.largestDifference(
                        expected, engine.logits(contrast().withGate(gate)).logits());
                assertTrue(difference <= 2 * Tolerance.f32(expected), () -> gate + ": " + difference);
            }
        }
    }

    /**
     * The combined rows of a gate that opens after several tokens, the first time with the other branch's prompt still
     * to come and again when only tokens were missed, against rows of the same text without a gate.
     */
    @ParameterizedTest
    @ValueSource(ints = {2, 7, 512})
    void logitsAfterMissedTokensAreThoseOfNoGate(final int microBatch) {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch).withMaxBranches(2))) {
            final Request asked = new Request(
                    contrast().branches(),
                    Optional.of(new Combination(CoefficientSchedule.fixed(WEIGHTS), false, 0)),
                    Sampling.greedy(),
                    new Limits(TOKENS, List.of()),
                    Request.MAX_LOG_PROBABILITIES,
                    new StrategyLabel("test", "test"));
            final double threshold = opensLate(engine, asked);
            final Answer gated = engine.run(asked.withGate(new Gate.Entropy(threshold)));
            final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(file));
            final List<Input> first = inputs(engine, base());
            final List<Input> second = inputs(engine, base().without(Modality.CONTEXT));
            int missed = 0;
            int compared = 0;
            for (int t = 0; t < gated.tokens().size(); t++) {
                final double[] row = oracle.run(first).last();
                final double[] logs = ContrastOracle.logSoftmax(row);
                if (-Arrays.stream(logs).map(z -> z * Math.exp(z)).sum() > threshold) {
                    final double[][] rows = {row, oracle.run(second).last()};
                    final double[] expected =
                            ContrastOracle.logSoftmax(ContrastOracle.weightedSum(rows, WEIGHTS[0], WEIGHTS[1]));
                    // Each row may be off by its tolerance, the weights' absolute sum is five, and the logarithm of the
                    // sum is off by no more than a logit: twice, in all.
                    final double tolerance = 2 * 5 * Math.max(Tolerance.f32(rows[0]), Tolerance.f32(rows[1]));
                    for (final TokenLogProbabilities.Candidate candidate : gated.logProbabilities().get(t).top()) {
                        final double off = Math.abs(expected[candidate.token()] - candidate.logProbability());
                        assertTrue(off <= tolerance, "token " + t + ": " + off + " > " + tolerance);
                    }
                    compared += missed >= 2 ? 1 : 0;
                    missed = 0;
                } else {
                    missed++;
                }
                first.add(new Input.Token(gated.tokens().get(t)));
                second.add(new Input.Token(gated.tokens().get(t)));
            }
            assertTrue(compared >= 2, "it opened after missed tokens " + compared + " times only");
        }
    }

    // A threshold at which the gate is shut for two tokens or more, at the start and once again, and open in between.
    private static double opensLate(final Engine engine, final Request asked) {
        final Answer probe = engine.run(asked.withGate(new Gate.Entropy(1e6)));
        assertEquals(TOKENS, probe.tokens().size());
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(file));
        final List<Input> inputs = inputs(engine, base());
        final double[] values = new double[TOKENS];
        for (int t = 0; t < TOKENS; t++) {
            final double[] logs = ContrastOracle.logSoftmax(oracle.run(inputs).last());
            values[t] = -Arrays.stream(logs).map(z -> z * Math.exp(z)).sum();
            inputs.add(new Input.Token(probe.tokens().get(t)));
        }
        Arrays.sort(values);
        return (values[TOKENS * 3 / 4] + values[TOKENS * 3 / 4 - 1]) / 2;
    }

    @Test
    void whatAGateNeverNeedsIsNeverRead() {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withMicroBatch(8).withMaxBranches(3))) {
            final Request gated = contrast().withGate(new Gate.Entropy(1e6));
            final PreparedRequest prepared = PreparedRequest.of(model, engine.options(), gated);
            final long cells = prepared.cells();
            final PlanDescription.BranchPlan other = engine.describe(gated).branches().getLast();
            final int decodes = (other.tokens() - other.sharedTokens() - 1) / 8;
            assertTrue(decodes >= 2, "the other prompt is too short to be missed");
            final long opening = callsToFirstToken(engine, contrast().withGate(new Gate.Entropy(1e-9)));
            assertTrue(callsToFirstToken(engine, gated) + decodes <= opening);
            final Generation generation = engine.submit(prepared, TokenListener.NONE);
            assertEquals(EXACT.context() - cells, engine.room().freeCells(), "its cells are taken from the start");
            assertEquals(1, engine.room().freeBranches());
            while (engine.step()) {
                // To the end.
            }
            assertEquals(engine.run(plain(base(), TOKENS)).tokens(), generation.answer().tokens());
            assertEquals(EXACT.context(), engine.room().freeCells());
        }
    }

    private static long callsToFirstToken(final Engine engine, final Request request) {
        final long before = engine.nativeCalls();
        engine.logits(request);
        return engine.nativeCalls() - before;
    }

    /** Others go on while the prompt of a branch comes in; the gate's request may be cancelled meanwhile. */
    @Test
    void othersGoOnWhileABranchIsFetched() {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withMicroBatch(4).withMaxBranches(4))) {
            final Request gated = contrast().withGate(new Gate.Entropy(1e-9));
            assertFalse(gated.gate().orElseThrow().startsOpen());
            final List<Integer> alone = engine.run(gated).tokens();
            assertEquals(engine.run(contrast()).tokens(), alone);
            final List<Integer> heard = new ArrayList<>();
            final List<Integer> slow = new ArrayList<>();
            engine.submit(plain(words("another"), 60), TokenListener.ids(heard::add));
            engine.step();
            final Generation fetched = engine.submit(gated, TokenListener.ids(slow::add));
            int steps = 0;
            while (slow.isEmpty()) {
                final int before = heard.size();
                engine.step();
                assertEquals(before + 1, heard.size(), "every step is a token of the other's");
                steps++;
            }
            // Two prompts of which the longer has the note, at most four columns a step beside the other's token.
            assertTrue(steps > (NOTE.length() + 2 * QUESTION.length()) / 8, "read in " + steps + " steps");
            while (!fetched.isDone()) {
                engine.step();
            }
            assertEquals(alone, fetched.answer().tokens());
            final Generation goes = engine.submit(gated);
            for (int i = 0; i < steps - 2; i++) {
                engine.step();
            }
            goes.cancel();
            while (engine.step()) {
                // To the end.
            }
            assertEquals(FinishReason.CANCELLED, goes.answer().finish());
            assertEquals(60, heard.size());
            assertEquals(EXACT.context(), engine.room().freeCells());
            assertEquals(4, engine.room().freeBranches());
        }
    }

    private record Gated(List<Integer> tokens, List<Boolean> open) {
        int opened() {
            return Math.toIntExact(open.stream().filter(each -> each).count());
        }
    }

    // The engine's generation, the slow way: both rows anew for every token, a gate that reads one of them.
    private static Gated oracle(final Engine engine, final Gate gate) {
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(file));
        final List<Input> first = inputs(engine, base());
        final List<Input> second = inputs(engine, base().without(Modality.CONTEXT));
        final List<Integer> tokens = new ArrayList<>();
        final List<Boolean> opened = new ArrayList<>();
        boolean disagreed = false;
        for (int t = 0; t < TOKENS; t++) {
            final double[] row = oracle.run(first).last();
            final double[] logs = ContrastOracle.logSoftmax(row);
            final boolean open = switch (gate) {
                case Gate.Entropy entropy -> -Arrays.stream(logs).map(z -> z * Math.exp(z)).sum() > entropy.above();
                case Gate.Confidence confidence ->
                        Math.exp(Arrays.stream(logs).max().orElseThrow()) < confidence.below();
                case Gate.Disagreement looking -> disagreed || t % looking.every() == 0;
            };
            int token = best(row);
            if (open) {
                final double[] combined = ContrastOracle.cutOff(
                        row,
                        ContrastOracle.weightedSum(
                                new double[][] {row, oracle.run(second).last()}, WEIGHTS[0], WEIGHTS[1]),
                        BETA);
                disagreed = best(combined) != token;
                token = best(combined);
            }
            opened.add(open);
            tokens.add(token);
            first.add(new Input.Token(token));
            second.add(new Input.Token(token));
        }
        return new Gated(tokens, opened);
    }

    private static List<Input> inputs(final Engine engine, final Prompt prompt) {
        return new ArrayList<>(
                Input.tokens(engine.logits(plain(prompt, 1)).promptTokens()));
    }

    private static int best(final double[] row) {
        int best = 0;
        for (int y = 1; y < row.length; y++) {
            best = row[y] > row[best] ? y : best;
        }
        return best;
    }

    @ParameterizedTest
    @CsvSource({
        "entropy,512,0", "entropy,2,0", "confidence,512,0", "confidence,3,0", "disagreement,512,0", "disagreement,2,0",
        "entropy,512,1", "entropy,2,2", "confidence,512,1000", "confidence,3,1", "disagreement,512,2",
        "disagreement,2,1000"
    })
    void opensOnTheOraclesTokens(final String kind, final int microBatch, final int patience) {
        final EngineOptions options =
                EXACT.withMicroBatch(microBatch).withMaxBranches(2).withGatePatience(patience);
        try (Model model = load();
                Engine engine = Engine.open(model, options)) {
            final Gate gate = switch (kind) {
                case "entropy" -> new Gate.Entropy(middle(engine, true));
                case "confidence" -> new Gate.Confidence(middle(engine, false));
                default -> new Gate.Disagreement(5);
            };
            final Gated expected = oracle(engine, gate);
            final Answer answer = engine.run(contrast().withGate(gate));
            assertTrue(expected.opened() > 0 && expected.opened() < TOKENS, () -> "opened " + expected.opened());
            assertEquals(expected.tokens(), answer.tokens());
            assertEquals(expected.opened(), gateOf(answer).tokens());
        }
    }

    // A threshold on which some tokens of the plain answer are on either side, half way between two of them.
    private static double middle(final Engine engine, final boolean entropy) {
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(file));
        final List<Input> inputs = inputs(engine, base());
        final double[] values = new double[TOKENS];
        for (int t = 0; t < TOKENS; t++) {
            final double[] row = oracle.run(inputs).last();
            final double[] logs = ContrastOracle.logSoftmax(row);
            values[t] = entropy
                    ? -Arrays.stream(logs).map(z -> z * Math.exp(z)).sum()
                    : Math.exp(Arrays.stream(logs).max().orElseThrow());
            inputs.add(new Input.Token(best(row)));
        }
        Arrays.sort(values);
        return (values[TOKENS / 2 - 1] + values[TOKENS / 2]) / 2;
    }

    /** Branches come along until a gate has been shut for longer than patience; opening then costs no second decode. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 3, NEVER_BEHIND})
    void anOpenGateNeedsASecondDecodeOnlyWithBranchesLeftBehind(final int patience) {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withGatePatience(patience))) {
            final Gate gate = new Gate.Entropy(middle(engine, true));
            final Gated expected = oracle(engine, gate);
            final List<Integer> heard = new ArrayList<>();
            engine.submit(contrast().withGate(gate), TokenListener.ids(heard::add));
            int last = -1;
            int seconds = 0;
            for (int t = 0; t < TOKENS; t++) {
                final long before = engine.nativeCalls();
                while (heard.size() == t) {
                    engine.step();
                }
                final boolean open = expected.open().get(t);
                final boolean behind = t - last - 1 >= patience;
                // The first opening fetches prompts, too, and the last token gives everything back.
                if (last >= 0 && t < TOKENS - 1) {
                    assertEquals(open && behind ? 2 : 1, engine.nativeCalls() - before, "token " + t);
                    seconds += open && behind ? 1 : 0;
                }
                last = open ? t : last;
            }
            assertEquals(expected.tokens(), heard);
            assertEquals(patience < NEVER_BEHIND, seconds > 0, "second decodes: " + seconds);
        }
    }

    /** What would weigh rows of a token that a shut gate takes from the base row matters to nobody. */
    @ParameterizedTest
    @ValueSource(ints = {0, NEVER_BEHIND})
    void aShutGateUsesNoCoefficients(final int patience) {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withGatePatience(patience))) {
            final Gate gate = new Gate.Entropy(middle(engine, true));
            final Gated expected = oracle(engine, gate);
            final CoefficientSchedule where = (index, out) -> {
                if (!expected.open().get(index - 1)) {
                    throw new IllegalStateException("token " + index);
                }
                System.arraycopy(WEIGHTS, 0, out, 0, out.length);
            };
            final Request request = request(
                    contrast().branches(),
                    Optional.of(new Combination(where, false, BETA)),
                    Sampling.greedy(),
                    TOKENS);
            assertEquals(expected.tokens(), engine.run(request.withGate(gate)).tokens());
            // Those of an open one do.
            final BadInputException fault = assertThrows(
                    BadInputException.class, () -> engine.run(request.withGate(new Gate.Entropy(-1))));
            assertEquals("strategy test, token " + (expected.open().indexOf(false) + 1), fault.where());
        }
    }

    private record Undefined(boolean readsEntropies) implements CoefficientSchedule {
        @Override
        public void at(final int index, final float[] out) {
            Arrays.fill(out, Float.NaN);
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aRowWhoseCoefficientsAreNoNumbersIsRefused(final boolean entropies) {
        final Class<? extends RuntimeException> kind = entropies ? InternalException.class : BadInputException.class;
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT)) {
            final Request request = request(
                    contrast().branches(),
                    Optional.of(new Combination(new Undefined(entropies), false, BETA)),
                    Sampling.greedy(),
                    TOKENS);
            for (final Request one : List.of(request, request.withGate(new Gate.Entropy(-1)))) {
                assertThrows(kind, () -> engine.logits(one));
                final Generation reading =
                        engine.submit(PreparedRequest.forLogits(model, engine.options(), one), TokenListener.NONE);
                assertThrows(kind, () -> {
                    while (!reading.isDone()) {
                        engine.step();
                    }
                });
            }
            assertEquals(EXACT.context(), engine.room().freeCells());
        }
    }

    @Test
    void branchesComeAlongWhereColumnsAreCheap() {
        try (Model model = load()) {
            final EngineOptions options = Tolerance.exact(512);
            assertEquals(Placement.onGpu() ? 32 : 0, options.gatePatience(model));
            assertEquals(7, options.withGatePatience(7).gatePatience(model));
            assertThrows(BadInputException.class, () -> options.withGatePatience(-1));
        }
    }

    @ParameterizedTest
    @CsvSource({"ON,0", "OFF,0", "ON,2", "OFF,1000"})
    void gatedAndUngatedTogetherAnswerAsAlone(final PadSteps pad, final int patience) {
        Placement.requireCpu("the number of columns chooses the kernels there, and near ties other tokens");
        try (Model model = load();
                Engine engine = Engine.open(
                        model, EXACT.withMaxBranches(8).withPadSteps(pad).withGatePatience(patience))) {
            final List<Request> requests = List.of(
                    contrast().withGate(new Gate.Entropy(middle(engine, true))),
                    plain(words("quite another question"), TOKENS),
                    contrast().withGate(new Gate.Disagreement(4)),
                    contrast(),
                    plain(words("and one more"), 7));
            final List<List<Integer>> alone =
                    requests.stream().map(request -> engine.run(request).tokens()).toList();
            final List<Generation> together = requests.stream().map(engine::submit).toList();
            while (engine.step()) {
                // Every step advances all of them.
            }
            assertEquals(alone, together.stream().map(g -> g.answer().tokens()).toList());
        }
    }

    @Test
    void aCancelledGateLeavesTheOthersAlone() {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withMaxBranches(4))) {
            final List<Integer> alone = engine.run(contrast().withGate(new Gate.Disagreement(3))).tokens();
            final Generation stays = engine.submit(contrast().withGate(new Gate.Disagreement(3)));
            final Generation goes = engine.submit(contrast().withGate(new Gate.Entropy(middle(engine, true))));
            for (int i = 0; i < 5; i++) {
                engine.step();
            }
            goes.cancel();
            final Generation next = engine.submit(contrastOnceRoomIsThere(engine, goes));
            while (engine.step()) {
                // To the end.
            }
            assertEquals(FinishReason.CANCELLED, goes.answer().finish());
            assertEquals(alone, stays.answer().tokens());
            assertEquals(alone, next.answer().tokens());
            assertEquals(EXACT.context(), engine.room().freeCells());
            assertEquals(4, engine.room().freeBranches());
        }
    }

    private static Request contrastOnceRoomIsThere(final Engine engine, final Generation goes) {
        engine.step();
        assertTrue(goes.isDone());
        return contrast().withGate(new Gate.Disagreement(3));
    }

    @Test
    void aStepIsAtMostThreeNativeCalls() {
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT)) {
            final List<Gate> gates = List.of(
                    new Gate.Entropy(-1), new Gate.Entropy(1e6), new Gate.Disagreement(1), new Gate.Disagreement(3));
            for (final Gate gate : gates) {
                final Generation generation = engine.submit(contrast().withGate(gate));
                engine.submit(plain(words("another"), TOKENS));
                engine.step();
                for (int t = 1; t < TOKENS - 1; t++) {
                    final long before = engine.nativeCalls();
                    engine.step();
                    final long calls = engine.nativeCalls() - before;
                    final long most = gate instanceof Gate.Entropy entropy && entropy.above() < 0 ? 2 : 1;
                    assertEquals(most, calls, gate + ", token " + t);
                    assertFalse(generation.isDone());
                }
                engine.step();
                assertTrue(generation.isDone());
                engine.step();
            }
        }
    }

    @Test
    void refusesWhatItCannotSave() {
        final Gate gate = new Gate.Entropy(1);
        assertThrows(BadInputException.class, () -> plain(base(), 1).withGate(gate));
        final BadInputException merged = assertThrows(BadInputException.class, () -> new Request(
                List.of(new Branch("a", base()), new Branch("b", base())),
                Optional.empty(),
                Sampling.greedy(),
                Limits.defaults(),
                0,
                StrategyLabel.PLAIN,
                Optional.of(new Merge(1, Map.of())),
                Optional.of(gate)));
        assertTrue(merged.getMessage().contains("without a branch behind it"), merged::getMessage);
        assertThrows(BadInputException.class, () -> new Gate.Disagreement(0));
        assertThrows(BadInputException.class, () -> new Gate.Entropy(Double.NaN));
        assertThrows(BadInputException.class, () -> new Gate.Confidence(Double.POSITIVE_INFINITY));
    }
}
