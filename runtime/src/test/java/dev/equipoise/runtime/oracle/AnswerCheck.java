package dev.equipoise.runtime.oracle;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.TokenLogProbabilities;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.ToDoubleFunction;

/**
 * What the tokens of an answer competed with, held against the oracle's rows. Log-probabilities are compared less that
 * of the best token: their common sum then plays no part, nor does a token at the cut-off's edge that one side keeps.
 */
public final class AnswerCheck {
    private final List<List<Integer>> before = new ArrayList<>();
    private final List<TokenLogProbabilities> reported;
    private double largestTolerance;

    private AnswerCheck(final List<TokenLogProbabilities> reported) {
        this.reported = reported;
    }

    /**
     * Checks every token of a greedy answer that reports log-probabilities.
     *
     * @param tolerance of one row of logits
     */
    public static AnswerCheck of(
            final RequestOracle oracle,
            final Request request,
            final Answer answer,
            final ToDoubleFunction<double[]> tolerance) {
        assertTrue(!answer.logProbabilities().isEmpty(), "an answer that reports nothing");
        final AnswerCheck check = new AnswerCheck(answer.logProbabilities());
        final List<Integer> generated = new ArrayList<>();
        for (final TokenLogProbabilities one : answer.logProbabilities()) {
            check.before.add(List.copyOf(generated));
            final RequestOracle.Row row = oracle.row(request, generated);
            // Two tokens' errors.
            final double allowed = 2 * row.weight() * tolerance.applyAsDouble(row.base());
            check.largestTolerance = Math.max(check.largestTolerance, allowed);
            compare(request.strategy().name() + ", token " + generated.size(), row, one, allowed);
            generated.add(one.token());
        }
        return check;
    }

    private static void compare(
            final String where, final RequestOracle.Row row, final TokenLogProbabilities one, final double allowed) {
        final TokenLogProbabilities.Candidate best = one.top().getFirst();
        final double most = Arrays.stream(row.logits()).max().orElseThrow();
        final double lead = most - row.logits()[best.token()];
        assertTrue(lead <= allowed, () -> where + ": the best token is " + lead + " below the oracle's");
        int compared = 0;
        for (final TokenLogProbabilities.Candidate other : one.top()) {
            final double expected = row.logits()[other.token()] - row.logits()[best.token()];
            final double actual = other.logProbability() - best.logProbability();
            final boolean edge = Math.abs(row.margin()[other.token()]) <= allowed;
            if (Double.isInfinite(expected) || Double.isInfinite(actual)) {
                assertTrue(edge || expected == actual,
                        () -> where + ": token " + other.token() + " is " + actual + ", not " + expected + ", "
                                + row.margin()[other.token()] + " above the cut-off");
            } else {
                compared++;
                final double difference = Math.abs(expected - actual);
                assertTrue(difference <= allowed, () -> where + ": token " + other.token() + " is " + difference
                        + " off, tolerance " + allowed);
            }
        }
        assertTrue(compared > 0, where);
    }

    /** Rows that were compared. */
    public int rows() {
        return before.size();
    }

    /** The largest tolerance that was allowed. */
    public double largestTolerance() {
        return largestTolerance;
    }

    /** How far what was reported is from another request's rows, at most. */
    public double differenceFrom(final RequestOracle oracle, final Request other) {
        double most = 0;
        for (int at = 0; at < before.size(); at++) {
            final double[] row = oracle.row(other, before.get(at)).logits();
            final TokenLogProbabilities one = reported.get(at);
            final TokenLogProbabilities.Candidate best = one.top().getFirst();
            for (final TokenLogProbabilities.Candidate each : one.top()) {
                if (Double.isFinite(each.logProbability())) {
                    most = Math.max(most, Math.abs(row[each.token()] - row[best.token()]
                            - each.logProbability() + best.logProbability()));
                }
            }
        }
        return most;
    }
}
