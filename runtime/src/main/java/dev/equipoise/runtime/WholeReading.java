package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.runtime.ffm.EncoderHandle;
import dev.equipoise.runtime.ffm.StepBuffer;
import dev.equipoise.runtime.intervention.Intervention;
import java.util.Arrays;
import java.util.List;

/**
 * The rest of a branch in one decode, whatever it is made of: rows of media, and words as rows among them, since a
 * micro-batch is all tokens or all rows. So earlier columns can depend on the latest one.
 */
final class WholeReading {
    private WholeReading() {}

    /**
     * Makes a decode of all columns that a branch misses.
     *
     * @return the number of the last one's column, whose row of logits is wanted
     */
    static int add(final Generation generation, final BranchState branch, final StepBuffer buffer) {
        buffer.clear();
        buffer.beginRows(generation.missing(branch), false);
        append(generation, branch, buffer);
        return branch.column;
    }

    /**
     * Makes the first step of a request that reads prompts whole: a decode of all columns that its branches miss, each
     * of which has its row of logits.
     *
     * @return the number of the base's last column
     */
    static int addPrompts(final Generation generation, final StepBuffer buffer) {
        int rows = 0;
        for (final BranchState branch : generation.branches) {
            branch.attach(generation.context());
            rows += generation.missing(branch);
        }
        buffer.clear();
        buffer.beginRows(rows, false);
        for (final BranchState branch : generation.branches) {
            append(generation, branch, buffer);
        }
        return generation.branches.getFirst().column;
    }

    private static void append(
            final Generation generation, final BranchState branch, final StepBuffer buffer) {
        final int end = branch.done + generation.missing(branch);
        while (branch.done < end) {
            final int from = branch.done;
            final int to = endOfRun(branch, end);
            final int first;
            if (generation.token(branch, from) >= 0) {
                final int[] words = new int[to - from];
                final int[] positions = new int[to - from];
                Arrays.setAll(words, i -> generation.token(branch, from + i));
                Arrays.setAll(positions, i -> branch.position(from + i));
                first = buffer.words(generation.model().handle(), words, positions, branch.sequence, to == end);
            } else {
                final EncoderHandle.Chunk chunk = branch.prompt.chunk(from);
                final int row = branch.prompt.row(from);
                first = buffer.rows(
                        chunk,
                        row,
                        row + to - from,
                        branch.prompt.position(from) - chunk.positions()[row],
                        branch.sequence);
            }
            for (int column = from; column < to; column++) {
                branch.mark(buffer, first + column - from, column, generation.mergeWeight(branch, column));
            }
            branch.done = to;
            branch.column = first + to - from - 1;
        }
    }

    // Where words end, or the rows of a medium, behind which the same one may stand again.
    private static int endOfRun(final BranchState branch, final int end) {
        final EncoderHandle.Chunk chunk = chunk(branch, branch.done);
        int to = branch.done + 1;
        while (to < end && chunk(branch, to) == chunk && (chunk == null || branch.prompt.row(to) > 0)) {
            to++;
        }
        return to;
    }

    private static EncoderHandle.Chunk chunk(final BranchState branch, final int column) {
        return column < branch.prompt.size() ? branch.prompt.chunk(column) : null;
    }

    /** Whether a branch's prompt is read whole: what its earlier tokens are depends on later ones. */
    static boolean readsPrompt(final Branch branch) {
        return branch.interventions().stream().anyMatch(Intervention.TurnToSinks.class::isInstance);
    }

    /** Refuses branches whose prompts are read whole, where one or another of them is read apart. */
    static void requireNoTurn(final List<Branch> branches, final String where) {
        for (final Branch branch : branches) {
            if (readsPrompt(branch)) {
                throw new BadInputException(
                        "a turn to sinks beside a merge, a gate or a choice of tokens for every token",
                        where + ", branch " + branch.name(),
                        "leave one of them out");
            }
        }
    }

    /**
     * Refuses a request whose prompts cannot be read so.
     *
     * @param states of its branches
     * @throws UnavailableException if the model does not take words as rows, or does not keep all of a prompt
     */
    static void requirePrompts(
            final Model model, final EngineOptions options, final Request request, final List<BranchState> states) {
        long columns = 0;
        for (int b = 0; b < states.size(); b++) {
            final boolean whole = readsPrompt(request.branches().get(b));
            columns += whole ? states.get(b).prompt.size() : 1;
            if (whole) {
                requireRows(model, states.get(b), request.branches().get(b).name(), 0);
            }
        }
        if (columns > options.microBatch()) {
            throw new BadInputException(
                    "a prompt that must be read in one micro-batch and does not fit",
                    "request " + request.strategy().name() + ": " + columns + " columns, of " + states.size()
                            + (states.size() == 1 ? " branch" : " branches") + "; a micro-batch holds "
                            + options.microBatch(),
                    "open the engine with larger micro-batches (--micro-batch), or shorten the prompt");
        }
        if (model.hasSlidingWindow()) {
            throw new UnavailableException(
                    "a turn to sinks under a sliding window, which leaves them behind",
                    "architecture " + model.info().architecture(),
                    "use a model whose blocks see all of the prompt");
        }
    }

    /**
     * Refuses a branch that cannot be read so.
     *
     * @param tokens most that will be generated and read
     * @throws UnavailableException if the model does not take words as rows
     */
    static void require(
            final Model model,
            final EngineOptions options,
            final BranchState branch,
            final String name,
            final int tokens) {
        final EncodedPrompt prompt = branch.prompt;
        final long columns = prompt.size() - branch.shared + (long) tokens;
        if (columns > options.microBatch()) {
            throw new BadInputException(
                    "a branch that must be read in one micro-batch and does not fit",
                    "branch " + name + ": " + columns + " columns from the first that may be muted, "
                            + tokens + " of them generated; a micro-batch holds " + options.microBatch(),
                    "open the engine with larger micro-batches (--micro-batch), or generate fewer tokens");
        }
        requireRows(model, branch, name, branch.shared);
    }

    private static void requireRows(
            final Model model, final BranchState branch, final String name, final int from) {
        final EncodedPrompt prompt = branch.prompt;
        for (int column = from; column < prompt.size(); column++) {
            if (prompt.chunk(column) != null && prompt.chunk(column).nonCausal()) {
                throw new BadInputException(
                        "a picture whose tokens see each other, among words that do not",
                        "branch " + name,
                        "choose a strategy that reads its prompts in pieces, or another model");
            }
        }
        model.handle().embeddings(prompt.token(prompt.size() - 1));
    }
}
