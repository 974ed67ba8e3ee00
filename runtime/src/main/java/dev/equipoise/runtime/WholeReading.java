package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.ffm.EncoderHandle;
import dev.equipoise.runtime.ffm.StepBuffer;
import java.util.Arrays;

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
        final int end = branch.done + generation.missing(branch);
        buffer.beginRows(end - branch.done, false);
        int last = -1;
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
            last = first + to - from - 1;
        }
        branch.column = last;
        return last;
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

    /**
     * Refuses a branch that cannot be read so.
     *
     * @param tokens most that will be generated and read
     * @throws dev.equipoise.kernels.error.UnavailableException if the model does not take words as rows
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
        for (int column = branch.shared; column < prompt.size(); column++) {
            if (prompt.chunk(column) != null && prompt.chunk(column).nonCausal()) {
                throw new BadInputException(
                        "a picture whose tokens see each other, among words that do not",
                        "branch " + name,
                        "choose a strategy that mutes the same tokens in all heads, or another model");
            }
        }
        model.handle().embeddings(prompt.token(prompt.size() - 1));
    }
}
