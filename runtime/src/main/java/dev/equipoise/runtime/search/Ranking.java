package dev.equipoise.runtime.search;

import dev.equipoise.runtime.TokenLogProbabilities;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.PriorityQueue;
import java.util.function.IntToDoubleFunction;

/** Rows of several beams side by side, and the best tokens among all of them. */
final class Ranking {
    // What the official code fills the places of other tokens with: below any candidate.
    private static final double NO_CANDIDATE = -999;

    /**
     * A token behind a beam.
     *
     * @param beam number of the beam
     * @param score sum of the answer's log-probabilities, the token's included
     */
    record Next(int beam, int token, double score) {
        // Of equal ones the first in the rows laid one behind another.
        static final Comparator<Next> BEST_FIRST = Comparator.comparingDouble(Next::score)
                .reversed()
                .thenComparingInt(Next::beam)
                .thenComparingInt(Next::token);
    }

    private final int most;
    private final List<Next> all = new ArrayList<>();

    /** The best {@code most} are wanted. */
    Ranking(final int most) {
        this.most = most;
    }

    /** Adds the tokens of a row. */
    void add(final int beam, final double score, final float[] row) {
        final double normaliser = logSumExp(row);
        for (final int token : best(row, most)) {
            all.add(new Next(beam, token, score + row[token] - normaliser));
        }
    }

    /**
     * Adds candidates alone, and below them others, so that there are enough.
     *
     * @param tokens the candidates
     * @param scores their logits, less what counts against them
     * @param vocabulary how many tokens there are
     */
    void add(final int beam, final double score, final int[] tokens, final double[] scores, final int vocabulary) {
        final double normaliser = logSumExp(scores.length, i -> scores[i]);
        double other = score + NO_CANDIDATE - normaliser;
        for (int i = 0; i < tokens.length; i++) {
            final Next next = new Next(beam, tokens[i], score + scores[i] - normaliser);
            all.add(next);
            // Where a penalty is larger than what the code puts there, a candidate still comes first.
            other = Math.min(other, next.score() + NO_CANDIDATE / 2);
        }
        for (int token = 0, added = tokens.length; token < vocabulary && added < most; token++) {
            if (!contains(tokens, token)) {
                all.add(new Next(beam, token, other));
                added++;
            }
        }
    }

    /** The best of all that were added. */
    List<Next> best() {
        return all.stream().sorted(Next.BEST_FIRST).limit(most).toList();
    }

    private static boolean contains(final int[] tokens, final int token) {
        for (final int each : tokens) {
            if (each == token) {
                return true;
            }
        }
        return false;
    }

    /** The {@code most} tokens of a row with the largest logits, best first, of equal ones the first. */
    static int[] best(final float[] row, final int most) {
        final Comparator<Integer> worstFirst = Comparator.<Integer>comparingDouble(token -> row[token])
                .thenComparing(Comparator.reverseOrder());
        final PriorityQueue<Integer> kept = new PriorityQueue<>(most + 1, worstFirst);
        for (int token = 0; token < row.length; token++) {
            if (kept.size() < most || row[token] > row[kept.peek()]) {
                kept.add(token);
                if (kept.size() > most) {
                    kept.poll();
                }
            }
        }
        return kept.stream()
                .sorted(worstFirst.reversed())
                .mapToInt(Integer::intValue)
                .toArray();
    }

    /** The best {@code most} tokens of a row, and one that was taken. */
    static TokenLogProbabilities competition(final float[] row, final int token, final int most) {
        final double normaliser = logSumExp(row);
        return new TokenLogProbabilities(
                token,
                row[token] - normaliser,
                Arrays.stream(best(row, most))
                        .mapToObj(id -> new TokenLogProbabilities.Candidate(id, row[id] - normaliser))
                        .toList());
    }

    private static double logSumExp(final float[] row) {
        return logSumExp(row.length, token -> row[token]);
    }

    private static double logSumExp(final int count, final IntToDoubleFunction logits) {
        double largest = Double.NEGATIVE_INFINITY;
        for (int i = 0; i < count; i++) {
            largest = Math.max(largest, logits.applyAsDouble(i));
        }
        double sum = 0;
        for (int i = 0; i < count; i++) {
            sum += Math.exp(logits.applyAsDouble(i) - largest);
        }
        return largest + Math.log(sum);
    }
}
