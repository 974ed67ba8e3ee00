package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
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
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.oracle.AnswerCheck;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Coefficients that read the entropies of rows before these are combined. */
class EntropyStrategyTest {
    private static final Limits LIMITS = new Limits(6, List.of());
    // The undecided model is corrected more: an eighth of its entropy in nats.
    private static final String WEIGHED = "{'contrast':{'branches':{'x':{'without':['image']}},"
            + "'coefficients':{'base':'1 + entropy(base) / 8','x':'-entropy( base ) / 8'}}}";

    @TempDir
    static Path directory;

    private static TinyRig rig;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(directory, 61);
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static Strategy read(final String json) {
        return Strategies.parse(json.replace('\'', '"'), "test");
    }

    private static double entropy(final double[] row) {
        return Arrays.stream(ContrastOracle.logSoftmax(row)).map(log -> -log * Math.exp(log)).sum();
    }

    /** Each branch by the entropies of both, in an order that is not theirs, and without a part in the sum. */
    @Test
    void theRowIsWeighedByTheEntropiesOfOthers() {
        final double[] all = rig.row(rig.prompt);
        final double[] blind = rig.row(rig.prompt.without(Modality.IMAGE));
        final double[] deaf = rig.row(rig.prompt.without(Modality.AUDIO));
        final Strategy strategy = read("{'contrast':{'branches':{'blind':{'without':['image']},"
                + "'a deaf one':{'without':['audio']}},'coefficients':{"
                + "'base':'1 + entropy(blind) / 8','blind':'(entropy(a deaf one) - 2 * entropy(blind)) / 8',"
                + "'a deaf one':0}}}");
        final double[] expected = ContrastOracle.weightedSum(
                new double[][] {all, blind},
                1 + entropy(blind) / 8,
                (entropy(deaf) - 2 * entropy(blind)) / 8);
        final float[] actual = rig.engine.logits(plan(strategy).request(LIMITS, 0)).logits();
        // As for the base's alone, with four entropies that err, and ln 512 as the largest weight.
        final double largest = Arrays.stream(all).map(Math::abs).max().orElseThrow();
        final double tolerance = (1 + 3 * Math.log(512) / 8 + largest / 2) * Tolerance.f32(all);
        assertTrue(Tolerance.largestDifference(expected, actual) <= tolerance);
        assertTrue(Tolerance.largestDifference(all, actual) > 10 * tolerance, "an effect is needed to prove it");
        assertEquals(strategy.fingerprint(), Strategies.parse(strategy.toJson(), "again").fingerprint());
        assertEquals(
                strategy.fingerprint(),
                read(strategy.toJson().replace("a deaf one", "other").replace('"', '\'')).fingerprint(),
                "names are of no consequence");
        // An equal branch is one with it, and so is its entropy.
        final Strategy twice = read("{'contrast':{'branches':{'x':{'without':['image']},'y':{'without':['image']},"
                + "'z':{}},'coefficients':{'base':'entropy(z)','x':'entropy(y)','y':0,'z':1}}}");
        assertEquals(
                read("{'contrast':{'branches':{'x':{'without':['image']}},"
                        + "'coefficients':{'base':'entropy(base) + 1','x':'entropy(x)'}}}").fingerprint(),
                twice.fingerprint());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "'gate':{'kind':'confidence','below':1}", "'gate':{'kind':'entropy','above':0}",
        "'gate':{'kind':'disagreement','every':1}"
    })
    void anOpenGateOfAnyKindChangesNothing(final String gate) {
        final Strategy gated = read(WEIGHED.substring(0, WEIGHED.length() - 1) + "," + gate + "}");
        assertEquals(answer(read(WEIGHED)).tokens(), answer(gated).tokens());
    }

    /** Where a gate is open the rows weigh themselves, whether or not they were there when it opened. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, Integer.MAX_VALUE})
    void aGateThatOpensNowAndThen(final int patience) {
        int open = 0;
        int shut = 0;
        try (Engine engine = Engine.open(rig.model, Tolerance.exact(1024).withGatePatience(patience))) {
            for (final double above : new double[] {5.5, 5.7, 5.9}) {
                final Request request = plan(read(WEIGHED).withGate(new Gate.Entropy(above)))
                        .request(new Limits(10, List.of()), Request.MAX_LOG_PROBABILITIES);
                final Answer answer = engine.run(request);
                final int rows = AnswerCheck.of(rig.requests(), request, answer, Tolerance::f32).rows();
                final int combined = answer.trace().stream()
                        .filter(entry -> entry.intervention().equals("gate:entropy"))
                        .findFirst()
                        .orElseThrow()
                        .tokens();
                open += combined;
                shut += rows - combined;
            }
        }
        assertTrue(open > 2 && shut > 2, open + " open, " + shut + " shut");
    }

    @Test
    void theCutOffMayBeAboutAnotherRow() {
        final double[] all = rig.row(rig.prompt);
        final double[] blind = rig.row(rig.prompt.without(Modality.IMAGE));
        final Strategy strategy = read(WEIGHED.substring(0, WEIGHED.length() - 2) + ",'beta':0.3,'cutOff':'x'}}");
        final double[] expected = ContrastOracle.cutOff(
                blind,
                ContrastOracle.weightedSum(new double[][] {all, blind}, 1 + entropy(all) / 8, -entropy(all) / 8),
                0.3);
        final float[] actual = rig.engine.logits(plan(strategy).request(LIMITS, 0)).logits();
        final double largest = Arrays.stream(all).map(Math::abs).max().orElseThrow();
        final double tolerance = (1 + entropy(all) / 4 + largest / 4) * Tolerance.f32(all);
        for (int y = 0; y < expected.length; y++) {
            assertTrue(
                    Double.isInfinite(expected[y])
                            ? actual[y] == Float.NEGATIVE_INFINITY
                            : Math.abs(expected[y] - actual[y]) <= tolerance,
                    "token " + y);
        }
    }

    private static Plan plan(final Strategy strategy) {
        return Decoding.prepare(rig.engine, strategy, rig.prompt).plan();
    }

    private static Answer answer(final Strategy strategy) {
        return Decoding.run(rig.engine, strategy, rig.prompt, LIMITS, 0, TokenListener.NONE);
    }

    @Test
    void theRowIsWeighedByItsOwnEntropy() {
        final double[] all = rig.row(rig.prompt);
        final double[] blind = rig.row(rig.prompt.without(Modality.IMAGE));
        final double entropy =
                Arrays.stream(ContrastOracle.logSoftmax(all)).map(log -> -log * Math.exp(log)).sum();
        final double[] expected =
                ContrastOracle.weightedSum(new double[][] {all, blind}, 1 + entropy / 8, -entropy / 8);
        final float[] actual = rig.engine.logits(plan(read(WEIGHED)).request(LIMITS, 0)).logits();
        // Both rows' errors as they are weighed; the entropy of float32 logits errs by less than they do, times an
        // eighth of the two logits that it multiplies.
        final double largest = Arrays.stream(all).map(Math::abs).max().orElseThrow();
        final double tolerance = (1 + entropy / 4 + largest / 4) * Tolerance.f32(all);
        assertTrue(Tolerance.largestDifference(expected, actual) <= tolerance);
        assertTrue(Tolerance.largestDifference(all, actual) > 10 * tolerance, "an effect is needed to prove it");
    }

    @Test
    void everyTokenIsWeighedAnew() {
        // At any entropy, 2 and -1: as if they were written so.
        final Strategy same = read("{'contrast':{'branches':{'x':{'without':['image']}},'coefficients':"
                + "{'base':'min(2, 2 + entropy(base))','x':'max(-1, -1 - entropy(base))'}}}");
        final Strategy fixed = read(
                "{'contrast':{'branches':{'x':{'without':['image']}},'coefficients':{'base':2,'x':-1}}}");
        final Answer answer = answer(same);
        assertEquals(answer(fixed).tokens(), answer.tokens());
        // Nothing is gated: all rows come from the decode of the step.
        assertTrue(answer.trace().stream().noneMatch(entry -> entry.intervention().startsWith("gate:")));
        assertNotEquals(same.fingerprint(), fixed.fingerprint());
        assertEquals(answer(read(WEIGHED)).tokens(), answer(read(WEIGHED)).tokens());
    }

    @Test
    void aGateOfEntropyIsKept() {
        final Strategy shut = read(WEIGHED).withGate(new Gate.Entropy(1000));
        assertEquals(Optional.of(new Gate.Entropy(1000)), plan(shut).gate());
        assertEquals(answer(Strategy.plain()).tokens(), answer(shut).tokens());
        final Strategy zero = Controls.zeroScale(read(WEIGHED));
        assertEquals(Strategy.plain().fingerprint(), zero.fingerprint());
        assertTrue(plan(zero).gate().isEmpty());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{'contrast':{'branches':{'x':{'without':['image']}},'coefficients':{'base':1,'x':'entropy(y)'}}}",
        "{'contrast':{'branches':{'x':{'without':['image']}},'coefficients':{'base':1,'x':'entropy()'}}}",
        "{'contrast':{'branches':{'x':{'without':['image']}},'coefficients':{'base':1,'x':'entropy'}}}",
        "{'contrast':{'branches':{'x':{'without':['image']}},'coefficients':{'base':1,'x':'1 / entropy(base)'}}}"
    })
    void refusesWhatCannotBeRead(final String json) {
        final BadInputException fault = assertThrows(BadInputException.class, () -> read(json));
        assertTrue(fault.where().contains("contrast.coefficients"), fault.getMessage());
    }

    @Test
    void oneRowHasNothingToWeigh() {
        final Strategy alone = read("{'contrast':{'branches':{},'coefficients':{'base':'1 + entropy(base)'}}}");
        assertThrows(BadInputException.class, () -> Lowering.lower(alone, rig.prompt, 0, 4));
    }

    @Test
    void isExplained() {
        final List<Explanation.Step> steps = Explanation.of(plan(read(WEIGHED))).steps();
        assertTrue(steps.stream().anyMatch(step -> step.mechanism().startsWith("op on the logits, after the graph")));
        assertTrue(steps.stream().anyMatch(step -> step.mechanism().contains("entropy(base)")));
    }
}
