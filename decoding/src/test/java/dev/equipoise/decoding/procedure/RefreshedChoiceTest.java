package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.oracle.AnswerCheck;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.RequestOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Picture tokens that each generated token chooses for itself, token by token against plain forward passes. */
class RefreshedChoiceTest {
    private static final int TOKENS = 10;

    @TempDir
    static Path directory;

    private static TinyRig rig;
    private static RequestOracle oracle;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(directory, 83);
        oracle = rig.requests();
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static Strategy strategy(final String tokens, final String more) {
        return Strategies.parse(
                ("{'contrast':{'branches':{'x':{'tokens':{'by':'least-attended'," + tokens
                                + "}}},'coefficients':{'base':3,'x':-2}}" + more + "}")
                        .replace('\'', '"'),
                "refreshed");
    }

    private static Request request(final Strategy strategy) {
        return Decoding.prepare(rig.engine, strategy, rig.prompt)
                .plan()
                .request(new Limits(TOKENS, List.of()), Request.MAX_LOG_PROBABILITIES);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"'keep':5,'layer':1", "'keep':2,'layer':3", "'share':0.4,'layer':2", "'keep':3,'span':'audio'"})
    void everyTokenChooses(final String tokens) {
        final Request request = request(strategy(tokens, ""));
        final AnswerCheck check = AnswerCheck.of(oracle, request, rig.engine.run(request), Tolerance::f32);
        assertTrue(check.rows() > 2, "too short an answer proves nothing");
        // The same choice for all tokens is something else.
        final Request once = request(strategy(tokens + ",'refresh':'request'", ""));
        Placement.requireVisible(
                check.differenceFrom(oracle, once) > 10 * check.largestTolerance(),
                tokens + ": " + check.differenceFrom(oracle, once) + " from one choice for all");
        AnswerCheck.of(oracle, once, rig.engine.run(once), Tolerance::f32);
    }

    /** Others in the batch choose in other blocks, edit the attention of these, or do nothing of the kind. */
    @Test
    void inOneBatch() {
        final List<Request> requests = List.of(
                request(strategy("'keep':5,'layer':1", "")),
                request(strategy("'keep':2,'layer':3", "")),
                request(Strategies.named("sid")),
                request(strategy("'keep':4,'refresh':'request'", "")),
                request(Strategies.named("pai")),
                request(Strategies.named("greedy")));
        try (Engine engine = Engine.open(rig.model, Tolerance.exact(8192).withMaxBranches(16))) {
            final List<Generation> all = requests.stream().map(engine::submit).toList();
            while (!all.stream().allMatch(Generation::isDone)) {
                engine.step();
            }
            for (int i = 0; i < all.size(); i++) {
                AnswerCheck.of(oracle, requests.get(i), all.get(i).answer(), Tolerance::f32);
            }
        }
    }

    /** Tokens that a gate left behind come together, and each makes the choice that it would have made in its turn. */
    @Test
    void behindAGate() {
        int caughtUp = 0;
        for (final double above : thresholds()) {
            final Request request =
                    request(strategy("'keep':3,'layer':2", ",'gate':{'kind':'entropy','above':" + above + "}"));
            assertEquals(Optional.of(new Gate.Entropy(above)), request.gate());
            final Answer answer = rig.engine.run(request);
            AnswerCheck.of(oracle, request, answer, Tolerance::f32);
            int missed = 0;
            for (int at = 0; at < answer.tokens().size(); at++) {
                final boolean open = entropy(oracle.row(request, answer.tokens().subList(0, at)).base()) > above;
                // The first opening reads the branch's prompt, and what was generated since.
                caughtUp += open && missed > 1 ? 1 : 0;
                missed = open ? 0 : missed + 1;
            }
        }
        assertTrue(caughtUp > 0, "no gate left two tokens behind and opened then");
    }

    // Between the entropies of the rows of a plain answer, which tell how undecided the model is.
    private static List<Double> thresholds() {
        final Request plain = Request.plain(rig.prompt);
        final List<Integer> tokens = rig.engine
                .run(new Request(
                        plain.branches(), Optional.empty(), plain.sampling(), new Limits(TOKENS, List.of()), 0,
                        plain.strategy()))
                .tokens();
        final List<Double> entropies = new ArrayList<>();
        for (int at = 0; at < tokens.size(); at++) {
            entropies.add(entropy(oracle.row(plain, tokens.subList(0, at)).base()));
        }
        final double[] sorted = entropies.stream().mapToDouble(Double::doubleValue).sorted().toArray();
        final List<Double> between = new ArrayList<>();
        for (int i = 1; i < sorted.length; i++) {
            between.add((sorted[i - 1] + sorted[i]) / 2);
        }
        return between;
    }

    private static double entropy(final double[] row) {
        return -Arrays.stream(ContrastOracle.logSoftmax(row)).map(log -> Math.exp(log) * log).sum();
    }
}
