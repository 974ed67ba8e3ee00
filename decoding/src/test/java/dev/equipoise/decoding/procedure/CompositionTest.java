package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Controls;
import dev.equipoise.decoding.Plan;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.CoefficientSchedule;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Rechoice;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.TokenLogProbabilities;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What holds for all strategies, and the order in which their parts act, on the real engine. */
class CompositionTest {
    private static final Limits LIMITS = new Limits(5, List.of());

    @TempDir
    static Path directory;

    private static TinyRig rig;
    private static float[] plain;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(directory, 47);
        plain = logits(Strategy.plain());
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    static Stream<String> names() {
        return Strategies.names().stream();
    }

    private static float[] logits(final Strategy strategy) {
        final Plan plan = Decoding.prepare(rig.engine, strategy, rig.prompt).plan();
        return rig.engine.logits(plan.request(LIMITS, 0)).logits();
    }

    private static Answer answer(final Strategy strategy) {
        return Decoding.run(rig.engine, strategy, rig.prompt, LIMITS, 0, TokenListener.NONE);
    }

    private static Strategy read(final String json) {
        return Strategies.parse(json.replace('\'', '"'), "test");
    }

    private static double[] wide(final float[] row) {
        return IntStream.range(0, row.length).mapToDouble(y -> row[y]).toArray();
    }

    private static int best(final float[] row) {
        int best = 0;
        for (int y = 1; y < row.length; y++) {
            best = row[y] > row[best] ? y : best;
        }
        return best;
    }

    @ParameterizedTest
    @MethodSource("names")
    void zeroStrengthIsPlainDecoding(final String name) {
        final Strategy zero = Controls.zeroScale(Strategies.named(name));
        assertEquals(answer(Strategy.plain()).tokens(), answer(zero).tokens(), name);
        final double[] expected = ContrastOracle.logSoftmax(wide(plain));
        final float[] row = logits(zero);
        // A cut-off leaves less, with the same ratios between what is left; one sum of exponentials in float32 may
        // stand between a logit and its log-probability; on a GPU, kernels for another number of columns.
        final double tolerance = Placement.onGpu() ? Tolerance.f32(wide(plain)) : 1e-5;
        final double shift = expected[best(plain)] - row[best(plain)];
        for (int y = 0; y < row.length; y++) {
            if (row[y] != Float.NEGATIVE_INFINITY) {
                assertTrue(Math.abs(row[y] + shift - expected[y]) <= tolerance, name + ", token " + y);
            }
        }
    }

    /** What the engine reports of a token is its share of the whole row, which sums to 1. */
    @ParameterizedTest
    @MethodSource("names")
    void whatIsCombinedIsADistribution(final String name) {
        final Plan plan = Decoding.prepare(rig.engine, Strategies.named(name), rig.prompt).plan();
        final double[] row = wide(rig.engine.logits(plan.request(LIMITS, 0)).logits());
        for (final double logit : row) {
            assertTrue(logit < Double.POSITIVE_INFINITY, name);
        }
        final double[] expected = ContrastOracle.logSoftmax(row);
        final Answer answer = rig.engine.run(plan.request(LIMITS, Request.MAX_LOG_PROBABILITIES));
        assertFalse(answer.logProbabilities().isEmpty(), name);
        // The two rows may have come in batches of two shapes: of no preset do the weights' sizes sum to more than 20.
        final double tolerance = 2 * 20 * Tolerance.f32(Arrays.stream(row).filter(Double::isFinite).toArray());
        for (final TokenLogProbabilities.Candidate one : answer.logProbabilities().getFirst().top()) {
            final double difference = Math.abs(expected[one.token()] - one.logProbability());
            assertTrue(
                    expected[one.token()] == one.logProbability() || difference <= tolerance,
                    name + ", token " + one.token() + ": " + difference);
        }
        assertEquals(answer.tokens(), rig.engine.run(plan.request(LIMITS, 0)).tokens(), name);
    }

    private static float[] of(
            final List<Branch> branches,
            final Optional<Combination> combination,
            final Optional<Rechoice> rechoice) {
        final Request request = new Request(
                branches,
                combination,
                Sampling.greedy(),
                LIMITS,
                0,
                StrategyLabel.PLAIN,
                Optional.empty(),
                Optional.empty(),
                rechoice);
        return rig.engine.logits(request).logits();
    }

    /** Branches that are there and weigh nothing: the row is that of the base by itself, whatever acts on it. */
    @ParameterizedTest
    @MethodSource("names")
    void branchesOfWeightZeroChangeNothing(final String name) {
        final Plan plan = Decoding.prepare(rig.engine, Strategies.named(name), rig.prompt).plan();
        final Request whole = plan.request(LIMITS, 0);
        if (whole.combination().isEmpty() || whole.merge().isPresent() || whole.branches().size() == 1) {
            return;
        }
        final float[] weights = new float[whole.branches().size()];
        weights[0] = 1;
        final double[] alone = wide(of(whole.branches().subList(0, 1), Optional.empty(), Optional.empty()));
        final Combination base = new Combination(CoefficientSchedule.fixed(weights), false, 0);
        final double largest = Tolerance.largestDifference(
                alone, of(whole.branches(), Optional.of(base), whole.rechoice()));
        assertTrue(largest <= 2 * Tolerance.f32(alone), name + ": " + largest);
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5, 6})
    void branchesMayStandInAnyOrder(final long seed) {
        final List<String> kinds = new ArrayList<>(List.of(
                "{'without':['image']}|-0.3", "{'without':['audio']}|-0.7", "{'only':[]}|'0.9/t'",
                "{'system':'be odd'}|-0.11", "{'silence':['image']}|0.2"));
        final Strategy first = several(kinds);
        Collections.shuffle(kinds, new Random(seed));
        final Strategy second = several(kinds);
        assertNotEquals(first, second);
        assertArrayEquals(logits(first), logits(second));
        assertEquals(answer(first).tokens(), answer(second).tokens());
    }

    private static Strategy several(final List<String> kinds) {
        final List<String> branches = new ArrayList<>();
        final List<String> coefficients = new ArrayList<>(List.of("'base':1.7"));
        for (final String kind : kinds) {
            final String name = "'b" + branches.size() + "':";
            branches.add(name + kind.substring(0, kind.indexOf('|')));
            coefficients.add(name + kind.substring(kind.indexOf('|') + 1));
        }
        return read("{'contrast':{'branches':{" + String.join(",", branches) + "},'coefficients':{"
                + String.join(",", coefficients) + "}}}");
    }

    @ParameterizedTest
    @ValueSource(doubles = {0.5, 1, 7.5})
    void aContrastWithItselfIsPlain(final double alpha) {
        final Combination combination = new Combination(
                CoefficientSchedule.fixed((float) (1 + alpha), (float) -alpha), false, 0);
        final float[] row = rig.engine
                .logits(new Request(
                        List.of(new Branch("base", rig.prompt), new Branch("twin", rig.prompt)),
                        Optional.of(combination),
                        Sampling.greedy(),
                        LIMITS,
                        0,
                        StrategyLabel.PLAIN))
                .logits();
        // The twin's own last column is computed beside the base's: two rows, each with a forward pass's error.
        final double tolerance = (1 + 2 * alpha) * Tolerance.f32(wide(plain));
        final double largest = Tolerance.largestDifference(wide(plain), row);
        assertTrue(largest <= tolerance, alpha + ": " + largest);
        final Strategy spelledOut = read("{'contrast':{'parameters':{'a':" + alpha
                + "},'branches':{'twin':{}},'coefficients':{'base':'1 + a','twin':'-a'}}}");
        assertEquals(Strategy.plain().fingerprint(), spelledOut.fingerprint());
    }

    @Test
    void theCutOffIsAboutTheBaseRowAndComesBeforeTheTemperature() {
        final Strategy warm = read("{'contrast':{'method':'cad','without':'image','alpha':3,'beta':0.6},"
                + "'sampling':{'temperature':50}}");
        final double least = plain[best(plain)] + Math.log(0.6);
        for (long seed = 0; seed < 20; seed++) {
            final Sampling drawn = new Sampling(50, 0, 1, 0, 1, 64, seed, Optional.empty());
            final Answer answer = Decoding.run(
                    rig.engine, warm.withSampling(drawn), rig.prompt, new Limits(1, List.of()), 0, TokenListener.NONE);
            if (!answer.tokens().isEmpty()) {
                // Logits of two shapes of a batch may differ by an error each.
                assertTrue(plain[answer.tokens().getFirst()] >= least - 2 * Tolerance.f32(wide(plain)));
            }
        }
    }

    @Test
    void grammarAndPenaltiesSeeTheCombinedRow() {
        final Strategy contrast = read("{'contrast':{'method':'cad','without':'image','alpha':4}}");
        final float[] row = logits(contrast);
        // Single letters are tokens of their own; two on which the rows disagree tell which of them was asked.
        char one = 0;
        char other = 0;
        for (char a = 'a'; a <= 'z'; a++) {
            for (char b = 'a'; b <= 'z'; b++) {
                final int first = rig.model.tokenize(String.valueOf(a), false)[0];
                final int second = rig.model.tokenize(String.valueOf(b), false)[0];
                if (row[first] > row[second] && plain[first] < plain[second]) {
                    one = a;
                    other = b;
                }
            }
        }
        assertNotEquals(0, one);
        final Sampling grammar = new Sampling(
                0, 0, 1, 0, 1, 64, 0, Optional.of("root ::= \"" + one + "\" | \"" + other + "\""));
        assertEquals(String.valueOf(one), answer(contrast.withSampling(grammar)).text());
        assertEquals(String.valueOf(other), answer(Strategy.plain().withSampling(grammar)).text());
        // A penalty acts on what was drawn from the combined row: its best token comes first, and not again.
        final Sampling penalty = new Sampling(0, 0, 1, 0, 1e6, 64, 0, Optional.empty());
        final List<Integer> tokens = answer(contrast.withSampling(penalty)).tokens();
        assertEquals(best(row), tokens.getFirst());
        assertEquals(tokens.size(), tokens.stream().distinct().count());
    }

    @Test
    void aShiftIsAddedToWhatTheCutOffLeft() {
        final int token = rig.model.tokenize("q", false)[0];
        final double gap = plain[best(plain)] - plain[token];
        assertTrue(gap > 0.2, "this model's best token is another, and not by a rounding");
        assertEquals(token, first(Strategy.plain(), Map.of("q", gap + 0.1)));
        assertEquals(best(plain), first(Strategy.plain(), Map.of("q", gap - 0.1)));
        // Words that begin alike and are shifted apart leave their token alone; those shifted alike count once.
        assertEquals(best(plain), first(Strategy.plain(), Map.of("q", gap + 0.1, "qu", gap - 3)));
        assertEquals(best(plain), first(Strategy.plain(), Map.of("q", gap - 0.1, "qu", gap - 0.1)));
        final Strategy cut = read("{'contrast':{'method':'plausibility','beta':1}}");
        assertEquals(best(plain), first(cut, Map.of("q", 1000.0)));
        assertEquals(
                Strategy.plain().fingerprint(),
                Strategy.plain().withSampling(Sampling.greedy().withBias(Map.of("q", 0.0))).fingerprint());
        assertNotEquals(Strategy.plain().fingerprint(), Strategies.named("yes-shift").fingerprint());
        assertThrows(BadInputException.class, () -> Sampling.greedy().withBias(Map.of("", 1.0)));
        assertThrows(BadInputException.class, () -> Sampling.greedy().withBias(Map.of("q", Double.NaN)));
        assertThrows(BadInputException.class, () -> read("{'sampling':{'bias':{'q':2000}}}"));
    }

    private static int first(final Strategy strategy, final Map<String, Double> bias) {
        return answer(strategy.withSampling(Sampling.greedy().withBias(bias))).tokens().getFirst();
    }

    @Test
    void whatDoesNotGoTogetherIsRefused() {
        final Strategy both = read("{'forkMerge':{'silence':['audio','image'],'layer':0},'contrast':{'branches':"
                + "{'blind':{'without':['image']}},'coefficients':{'base':2,'blind':-1},'beta':0.1,'cutOff':'blind'}}");
        assertThrows(BadInputException.class, () -> answer(both));
        final Strategy nothingLeft = read("{'contrast':{'method':'plausibility','beta':1},"
                + "'sampling':{'grammar':'root ::= [A-Z]+ [A-Z]+'}}");
        final int capital = rig.model.tokenize("A", false)[0];
        assertTrue(best(plain) < capital || best(plain) > capital + 25, "this model's best token is no capital");
        final BadInputException fault = assertThrows(BadInputException.class, () -> answer(nothingLeft));
        assertTrue(fault.what().contains("leave no token"), fault.what());
    }

    @Test
    void promptPassesAndContrastCompose() {
        final Strategy composed = read("""
                {'name': 'all', 'prompt': {'method': 'recognise-then-reason'},
                 'contrast': {'branches': {'told': {'without': ['context'], 'text': '{facts} {question}'}},
                              'coefficients': {'base': 2, 'told': -1}, 'beta': 0.1},
                 'attention': [{'edit': 'multiply', 'span': 'context', 'factor': 0.5}]}""");
        final Decoding.Prepared prepared = Decoding.prepare(rig.engine, composed, rig.prompt);
        assertEquals("prepare:facts", prepared.trace().getFirst().intervention());
        assertTrue(prepared.trace().getFirst().tokens() > 0);
        final List<Branch> branches = prepared.plan().branches();
        assertEquals(Set.of(Modality.CONTEXT, Modality.TEXT), branches.get(0).prompt().modalities());
        assertEquals(1, branches.get(0).interventions().size());
        // The edit is about the note, which this branch lacks.
        assertEquals(0, branches.get(1).interventions().size());
        final Answer answer = Decoding.run(rig.engine, prepared, LIMITS, 0, TokenListener.NONE);
        assertEquals(composed.fingerprint(rig.model.info().layers()), answer.strategy().fingerprint());
        assertEquals("prepare:facts", answer.trace().getFirst().intervention());
        assertTrue(answer.timings().ttftMillis() >= prepared.millis());
    }
}
