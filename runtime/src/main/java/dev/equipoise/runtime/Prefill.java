package dev.equipoise.runtime;

import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.EncoderHandle;
import dev.equipoise.runtime.ffm.StepBuffer;
import java.util.List;

/**
 * Brings a request's prompts into the KV cache one decode at a time, until what is left can come with the first token.
 * What a branch has in common with an earlier one is computed once, in that one's sequence, and shared, with a decode
 * that goes on with what differs where there is room; that goes in together, tokens of all branches in one decode and
 * rows of their media in another. Branches that wait for a
 * gate come in when it opens, with the tokens that were drawn meanwhile. Those that are read whole come one after
 * another, each with its last column, but for the last of them, which is a step's; prompts that are read whole come
 * with the first step altogether.
 */
final class Prefill {
    private final ContextHandle context;
    private final int microBatch;
    private final Generation generation;
    private final List<BranchState> branches;
    private final boolean merged;

    Prefill(final ContextHandle context, final int microBatch, final Generation generation) {
        this.context = context;
        this.microBatch = microBatch;
        this.generation = generation;
        if (generation.wholePrompts) {
            this.branches = generation.inPieces();
        } else {
            this.branches =
                    generation.deferred ? generation.branches.subList(0, generation.base) : generation.branches;
        }
        this.merged = generation.request().merge().isPresent();
    }

    /** Whose prompts it brings in. */
    Generation generation() {
        return generation;
    }

    /** Whether nothing is left but what a step must bring in: the last column of each branch. */
    boolean isAtLast() {
        // A branch that shares all columns but its last has nothing of its own to wait for.
        attach();
        if (isWhole()) {
            return nextWhole() == null;
        }
        return branches.stream().allMatch(branch -> branch.attached && branch.done >= generation.before(branch));
    }

    private boolean isWhole() {
        return generation.readsWhole() && branches.size() > generation.base;
    }

    // The next branch to be read whole, but for the last one; null if there is none.
    private BranchState nextWhole() {
        for (final BranchState branch : branches.subList(generation.base, branches.size() - 1)) {
            if (generation.missing(branch) > 0) {
                return branch;
            }
        }
        return null;
    }

    // Reads it and keeps its row.
    private int readWhole(final BranchState branch, final int most) {
        final StepBuffer buffer = context.buffer();
        if (generation.missing(branch) > most) {
            return 0;
        }
        final int kept = buffer.pick(null, WholeReading.add(generation, branch, buffer), -1, 0);
        buffer.keep(kept);
        context.decode();
        if (!buffer.succeeded(kept)) {
            throw generation.next.notFinite();
        }
        return buffer.columns();
    }

    /**
     * Whether the first step can bring in what is left: tokens that differ between the branches, at most so many.
     * Behind a gate nothing but the last ones is left to steps, which may leave branches behind.
     */
    boolean fitsStep(final int most) {
        attach();
        int columns = 0;
        for (final BranchState branch : branches) {
            if (merged && !branch.attached || generation.next.isGated() || generation.wholePrompts) {
                return false;
            }
            final int missing = generation.missing(branch);
            for (int column = branch.prompt.size() - missing; column < branch.prompt.size(); column++) {
                if (branch.prompt.token(column) < 0) {
                    return false;
                }
            }
            columns += missing;
        }
        return columns <= most;
    }

    /**
     * Decodes once.
     *
     * @param most columns, up to a micro-batch
     * @return how many columns were decoded; 0 if what is next cannot be split to fit
     */
    int advance(final int most) {
        attach();
        if (isWhole()) {
            return readWhole(nextWhole(), most);
        }
        if (inStep() && most < 2) {
            return 0;
        }
        final StepBuffer buffer = context.buffer();
        buffer.clear();
        final boolean tokens = addTokens(buffer, most);
        if (!tokens && !addRows(buffer, most)) {
            return 0;
        }
        context.decode();
        attach();
        return buffer.columns();
    }

    // Those behind a gate too, while the cells are there: what a sliding window has left behind is given to others
    // where one sequence alone has it.
    private void attach() {
        for (final BranchState branch : generation.branches) {
            branch.attach(context);
        }
    }

    // How far a branch goes for now: to where the last of those that share with it parts from it.
    private int limit(final BranchState branch) {
        int limit = -1;
        for (final BranchState other : branches) {
            if (!other.attached && other.parent == branch) {
                limit = Math.max(limit, other.shared);
            }
        }
        return limit < 0 ? generation.before(branch) : limit;
    }

    private boolean inStep() {
        return merged && branches.get(1).attached;
    }

    // As many token columns as fit, branch after branch; false when no branch has one next. Once more where branches
    // have parted within the decode.
    private boolean addTokens(final StepBuffer buffer, final int most) {
        final int each = each(most);
        int before;
        do {
            before = buffer.columns();
            for (final BranchState branch : branches) {
                if (!merged) {
                    branch.attach(context, buffer);
                }
                if (branch.attached) {
                    addTokens(buffer, branch, Math.min(most, buffer.columns() + each));
                }
            }
        } while (!merged && buffer.columns() > before);
        return buffer.columns() > 0;
    }

    private void addTokens(final StepBuffer buffer, final BranchState branch, final int full) {
        final int limit = limit(branch);
        while (branch.done < limit && buffer.columns() < full && generation.token(branch, branch.done) >= 0) {
            final int column = buffer.token(
                    generation.token(branch, branch.done), branch.position(branch.done), branch.sequence, false);
            mark(branch, column, branch.done);
            branch.done++;
        }
    }

    // Merged branches go in step: every batch holds the same columns of both, which come first in it.
    private int each(final int most) {
        return inStep() ? Math.max(1, most / branches.size()) : most;
    }

    private void mark(final BranchState branch, final int bufferColumn, final int column) {
        branch.mark(context.buffer(), bufferColumn, column, generation.mergeWeight(branch, column));
    }

    // Rows of the media that are next, of as many branches as fit: a micro-batch is all tokens or all rows.
    private boolean addRows(final StepBuffer buffer, final int most) {
        final int each = each(most);
        final int[] counts = new int[branches.size()];
        int total = 0;
        boolean nonCausal = false;
        for (int b = 0; b < counts.length; b++) {
            final EncoderHandle.Chunk chunk = next(branches.get(b));
            if (chunk == null || total > 0 && chunk.nonCausal() != nonCausal) {
                continue;
            }
            final int left = chunk.count() - branches.get(b).prompt.row(branches.get(b).done);
            final int room = Math.min(each, most - total);
            if (left > room && chunk.nonCausal()) {
                continue;
            }
            counts[b] = Math.min(left, room);
            total += counts[b];
            nonCausal = chunk.nonCausal();
        }
        if (total == 0) {
            return false;
        }
        buffer.beginRows(total, nonCausal);
        for (int b = 0; b < counts.length; b++) {
            addRows(buffer, branches.get(b), counts[b]);
        }
        return true;
    }

    private EncoderHandle.Chunk next(final BranchState branch) {
        final boolean isNext = branch.attached && branch.done < Math.min(limit(branch), branch.prompt.size());
        return isNext ? branch.prompt.chunk(branch.done) : null;
    }

    private void addRows(final StepBuffer buffer, final BranchState branch, final int count) {
        if (count == 0) {
            return;
        }
        final EncoderHandle.Chunk chunk = branch.prompt.chunk(branch.done);
        final int from = branch.prompt.row(branch.done);
        // Position of the chunk's first row: relative positions are added to it.
        final int first = branch.prompt.position(branch.done) - chunk.positions()[from];
        final int column = buffer.rows(chunk, from, from + count, first, branch.sequence);
        for (int row = 0; row < count; row++) {
            mark(branch, column + row, branch.done + row);
        }
        branch.done += count;
    }
}
