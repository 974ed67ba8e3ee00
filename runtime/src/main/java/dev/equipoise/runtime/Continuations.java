package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.StepBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * How likely token sequences are behind a request's prompts, which have just been decoded. Each lies in sequences of
 * its own, one a branch, which share the prompts' cells; all go into one decode as far as its rows and free sequences
 * and cells allow. The rows of a token combine when the graph has ended.
 */
final class Continuations {
    private final ContextHandle context;
    private final Admission admission;
    private final Generation generation;
    private final List<BranchState> branches;
    // Those of them that have a row of their own.
    private final List<BranchState> withRows;
    private final Combining combining;
    // Rows of a decode: a context has as many as it has sequences.
    private final int most;
    // For each the branches' sequences: the prompts' own, which need no sharing, and those taken beside them.
    private final List<int[]> lanes = new ArrayList<>();

    Continuations(
            final ContextHandle context,
            final Admission admission,
            final Generation generation,
            final Combining combining,
            final int most) {
        this.context = context;
        this.admission = admission;
        this.generation = generation;
        this.branches = generation.branches;
        this.withRows = generation.withRows();
        this.combining = combining;
        this.most = most;
    }

    /**
     * The log-probability of every token, given the prompts and those before it.
     *
     * @param continuations at least one token each, within the vocabulary
     * @throws BadInputException if one alone does not fit into what is free
     */
    List<double[]> score(final List<int[]> continuations, final int vocabulary) {
        final float[] row = combining.next(rows(
                withRows.stream().mapToInt(branch -> branch.column).toArray(), vocabulary));
        final double normaliser = logSumExp(row);
        final List<Scored> scored = new ArrayList<>();
        for (final int[] continuation : continuations) {
            final Scored one = new Scored(continuation, new double[continuation.length], combining.copy());
            one.scores[0] = row[continuation[0]] - normaliser;
            scored.add(one);
        }
        try {
            openLanes(continuations.size());
            for (int next = 0; next < scored.size(); ) {
                next = wave(next, scored, vocabulary);
            }
        } finally {
            closeLanes();
        }
        return scored.stream().map(Scored::scores).toList();
    }

    // One of them, with what its rows are made by.
    private record Scored(int[] tokens, double[] scores, Combining combining) {
        // All tokens but the last are read, behind which nothing is asked.
        int reads() {
            return tokens.length - 1;
        }
    }

    private float[] rows(final int[] columns, final int vocabulary) {
        final float[] rows = new float[columns.length * vocabulary];
        for (int b = 0; b < columns.length; b++) {
            System.arraycopy(context.logits(columns[b], vocabulary), 0, rows, b * vocabulary, vocabulary);
        }
        return rows;
    }

    private void openLanes(final int wanted) {
        lanes.add(branches.stream().mapToInt(branch -> branch.sequence).toArray());
        while (lanes.size() < wanted && admission.freeSequences() >= branches.size()) {
            final int[] lane = new int[branches.size()];
            for (int b = 0; b < lane.length; b++) {
                lane[b] = admission.takeSequence();
            }
            lanes.add(lane);
            // While they are empty.
            generation.request().merge().ifPresent(merge -> context.merge(lane[0], lane[1], merge.layer()));
            for (int b = 0; b < lane.length; b++) {
                final BranchState branch = branches.get(b);
                context.share(branch.sequence, lane[b], end(branch));
                if (!branch.edits.isEmpty()) {
                    context.interventions(lane[b], branch.edits);
                }
            }
        }
    }

    private void closeLanes() {
        for (final int[] lane : lanes.subList(1, lanes.size())) {
            for (int b = 0; b < lane.length; b++) {
                context.remove(lane[b], 0);
                if (!branches.get(b).edits.isEmpty()) {
                    context.interventions(lane[b], List.of());
                }
                admission.freeSequence(lane[b]);
            }
            if (generation.isMerged()) {
                context.merge(lane[0], -1, 0);
            }
        }
    }

    // The position behind a branch's prompt.
    private static int end(final BranchState branch) {
        return branch.position(branch.prompt.size());
    }

    // Scores as many continuations, from number `from` on, as there are lanes and cells; returns the next one's number.
    private int wave(final int from, final List<Scored> scored, final int vocabulary) {
        int next = from;
        int cells = 0;
        while (next < scored.size()
                && next - from < lanes.size()
                && cells + cells(scored.get(next)) <= admission.freeCells()) {
            cells += cells(scored.get(next++));
        }
        if (next == from) {
            throw new BadInputException(
                    "a continuation longer than there is room for",
                    cells(scored.get(from)) + " cells wanted, " + admission.freeCells() + " free",
                    "shorten it, or open the engine with a larger context (--ctx)");
        }
        final StepBuffer buffer = context.buffer();
        buffer.clear();
        final List<Runnable> reads = new ArrayList<>();
        for (int i = from; i < next; i++) {
            for (int at = 0; at < scored.get(i).reads(); at++) {
                if ((reads.size() + 1) * withRows.size() > most
                        || buffer.columns() + branches.size() > buffer.capacity()) {
                    decode(reads);
                }
                reads.add(add(buffer, lanes.get(i - from), scored.get(i), at, vocabulary));
            }
        }
        if (!reads.isEmpty()) {
            decode(reads);
        }
        for (final int[] lane : lanes) {
            for (int b = 0; b < lane.length; b++) {
                context.remove(lane[b], end(branches.get(b)));
            }
        }
        return next;
    }

    private int cells(final Scored one) {
        return one.reads() * branches.size();
    }

    private void decode(final List<Runnable> reads) {
        context.decode();
        reads.forEach(Runnable::run);
        reads.clear();
        context.buffer().clear();
    }

    // Adds a token's column on every branch; what is returned reads the rows behind it, in the order of the tokens.
    private Runnable add(
            final StepBuffer buffer, final int[] lane, final Scored one, final int at, final int vocabulary) {
        final int[] columns = new int[withRows.size()];
        int rows = 0;
        for (int b = 0; b < lane.length; b++) {
            final BranchState branch = branches.get(b);
            final int column = branch.prompt.size() + at;
            final boolean output = withRows.contains(branch);
            final int added = buffer.token(one.tokens[at], branch.position(column), lane[b], output);
            branch.mark(buffer, added, column, generation.mergeWeight(branch, column));
            if (output) {
                columns[rows++] = added;
            }
        }
        return () -> {
            final float[] row = one.combining.next(rows(columns, vocabulary));
            one.scores[at + 1] = row[one.tokens[at + 1]] - logSumExp(row);
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
