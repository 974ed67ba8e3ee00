package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.StepBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * How likely token sequences are behind a prompt that has just been decoded. They lie in sequences of their own, which
 * share the prompt's cells, and go into one decode as far as its rows and the free sequences and cells allow.
 */
final class Continuations {
    private final ContextHandle context;
    private final Admission admission;
    private final BranchState branch;
    private final int vocabulary;
    // Columns of a decode: a context has rows for as many as it has sequences.
    private final int most;
    // The prompt's own sequence, which needs no sharing, and those taken beside it.
    private final List<Integer> lanes = new ArrayList<>();

    Continuations(
            final ContextHandle context,
            final Admission admission,
            final BranchState branch,
            final int vocabulary,
            final int most) {
        this.context = context;
        this.admission = admission;
        this.branch = branch;
        this.vocabulary = vocabulary;
        this.most = most;
    }

    /**
     * The log-probability of every token, given the prompt and those before it.
     *
     * @param column whose row of the last decode follows the prompt
     * @param continuations at least one token each, within the vocabulary
     * @throws BadInputException if one alone does not fit into what is free
     */
    List<double[]> score(final int column, final List<int[]> continuations) {
        final float[] row = context.logits(column, vocabulary);
        final double normaliser = logSumExp(row);
        final List<double[]> scores = new ArrayList<>();
        for (final int[] continuation : continuations) {
            final double[] score = new double[continuation.length];
            score[0] = row[continuation[0]] - normaliser;
            scores.add(score);
        }
        openLanes(continuations.size());
        try {
            for (int next = 0; next < continuations.size(); ) {
                next = wave(next, continuations, scores);
            }
        } finally {
            closeLanes();
        }
        return scores;
    }

    private void openLanes(final int wanted) {
        lanes.add(branch.sequence);
        while (lanes.size() < wanted && admission.freeSequences() > 0) {
            final int sequence = admission.takeSequence();
            lanes.add(sequence);
            context.share(branch.sequence, sequence, end());
            if (!branch.edits.isEmpty()) {
                context.interventions(sequence, branch.edits);
            }
        }
    }

    private void closeLanes() {
        for (final int lane : lanes.subList(1, lanes.size())) {
            context.remove(lane, 0);
            if (!branch.edits.isEmpty()) {
                context.interventions(lane, List.of());
            }
            admission.freeSequence(lane);
        }
    }

    // The position behind the prompt.
    private int end() {
        return branch.position(branch.prompt.size());
    }

    // Scores as many continuations, from number `from` on, as there are lanes and cells; returns the next one's number.
    private int wave(final int from, final List<int[]> continuations, final List<double[]> scores) {
        int next = from;
        int cells = 0;
        while (next < continuations.size()
                && next - from < lanes.size()
                && cells + continuations.get(next).length - 1 <= admission.freeCells()) {
            cells += continuations.get(next++).length - 1;
        }
        if (next == from) {
            throw new BadInputException(
                    "a continuation longer than there is room for",
                    continuations.get(from).length - 1 + " cells wanted, " + admission.freeCells() + " free",
                    "shorten it, or open the engine with a larger context (--ctx)");
        }
        final StepBuffer buffer = context.buffer();
        buffer.clear();
        final List<Runnable> reads = new ArrayList<>();
        for (int i = from; i < next; i++) {
            // All but the last token, behind which nothing is asked.
            for (int at = 0; at < continuations.get(i).length - 1; at++) {
                if (reads.size() == most) {
                    decode(reads);
                }
                reads.add(add(buffer, lanes.get(i - from), continuations.get(i), at, scores.get(i)));
            }
        }
        if (!reads.isEmpty()) {
            decode(reads);
        }
        for (final int lane : lanes) {
            context.remove(lane, end());
        }
        return next;
    }

    private void decode(final List<Runnable> reads) {
        context.decode();
        reads.forEach(Runnable::run);
        reads.clear();
        context.buffer().clear();
    }

    // Adds a column; what is returned reads the row behind it.
    private Runnable add(
            final StepBuffer buffer, final int lane, final int[] continuation, final int at, final double[] score) {
        final int column = branch.prompt.size() + at;
        final int added = buffer.token(continuation[at], branch.position(column), lane, true);
        branch.mark(buffer, added, column, 0);
        return () -> {
            final float[] row = context.logits(added, vocabulary);
            score[at + 1] = row[continuation[at + 1]] - logSumExp(row);
        };
    }

    private static double logSumExp(final float[] row) {
        double largest = Double.NEGATIVE_INFINITY;
        for (final float logit : row) {
            largest = Math.max(largest, logit);
        }
        double sum = 0;
        for (final float logit : row) {
            sum += Math.exp(logit - largest);
        }
        if (!(sum >= 1)) {
            throw new InternalException("logits that are not finite", "a continuation", "check the model's weights");
        }
        return largest + Math.log(sum);
    }
}
