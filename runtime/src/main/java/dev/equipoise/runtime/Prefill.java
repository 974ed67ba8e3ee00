package dev.equipoise.runtime;

import dev.equipoise.runtime.Generation.BranchState;
import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.EncoderHandle;
import dev.equipoise.runtime.ffm.StepBuffer;
import java.util.List;

/**
 * Brings a request's prompts into the KV cache, all but their last columns. What branches have in common is computed
 * once in the base branch's sequence and shared; then all branches advance together, tokens of several in one decode.
 */
final class Prefill {
    private final ContextHandle context;
    private final int microBatch;
    private final Generation generation;

    Prefill(final ContextHandle context, final int microBatch, final Generation generation) {
        this.context = context;
        this.microBatch = microBatch;
        this.generation = generation;
    }

    /** Runs to the end, or until the generation is cancelled; returns whether it came to the end. */
    boolean run() {
        final List<BranchState> branches = generation.branches;
        final BranchState base = branches.getFirst();
        final int common = branches.stream()
                .skip(1)
                .mapToInt(branch -> branch.shared)
                .max()
                .orElse(0);
        if (!advance(List.of(base), common)) {
            return false;
        }
        for (final BranchState branch : branches.subList(1, branches.size())) {
            if (branch.shared > 0) {
                context.share(base.sequence, branch.sequence, branch.prompt.position(branch.shared));
            }
            branch.done = branch.shared;
        }
        return advance(branches, Integer.MAX_VALUE);
    }

    // Decodes until every branch has all of its columns before `end` in the cache.
    private boolean advance(final List<BranchState> branches, final int end) {
        while (true) {
            if (generation.isCancelled()) {
                return false;
            }
            if (decodeTokens(branches, end)) {
                continue;
            }
            boolean rows = false;
            if (isMerged(branches)) {
                rows = decodeRows(branches, end);
            } else {
                for (final BranchState branch : branches) {
                    rows |= decodeRows(List.of(branch), end);
                }
            }
            if (!rows) {
                return true;
            }
        }
    }

    // As many token columns as fit, branch after branch; false when no branch has one next.
    private boolean decodeTokens(final List<BranchState> branches, final int end) {
        final StepBuffer buffer = context.buffer();
        buffer.clear();
        // Merged branches go in step: every batch holds the same columns of both.
        final int each = isMerged(branches) ? microBatch / branches.size() : microBatch;
        for (final BranchState branch : branches) {
            final int limit = Math.min(end, branch.prefill());
            final int full = Math.min(microBatch, buffer.columns() + each);
            while (branch.done < limit && buffer.columns() < full && branch.prompt.token(branch.done) >= 0) {
                final int column = buffer.token(
                        branch.prompt.token(branch.done), branch.prompt.position(branch.done), branch.sequence, false);
                mark(branch, column, branch.done);
                branch.done++;
            }
        }
        if (buffer.columns() == 0) {
            return false;
        }
        context.decode();
        if (isMerged(branches)) {
            generation.merged += buffer.columns() / branches.size();
        }
        return true;
    }

    private boolean isMerged(final List<BranchState> branches) {
        return generation.request().merge().isPresent() && branches.size() > 1;
    }

    private void mark(final BranchState branch, final int bufferColumn, final int column) {
        branch.mark(context.buffer(), bufferColumn, column, generation.mergeWeight(branch, column));
    }

    // A micro-batch is all tokens or all rows, so media are decoded by themselves.
    private boolean decodeRows(final List<BranchState> branches, final int end) {
        final BranchState branch = branches.getFirst();
        if (branch.done >= Math.min(end, branch.prefill())) {
            return false;
        }
        final EncoderHandle.Chunk chunk = branch.prompt.chunk(branch.done);
        if (chunk == null) {
            return false;
        }
        final int from = branch.prompt.row(branch.done);
        final int most = microBatch / branches.size();
        final int to = chunk.nonCausal() ? chunk.count() : Math.min(chunk.count(), from + most);
        // Position of the chunk's first row: relative positions are added to it.
        final int first = branch.prompt.position(branch.done) - chunk.positions()[from];
        final StepBuffer buffer = context.buffer();
        buffer.clear();
        buffer.rows(
                chunk,
                from,
                to,
                first,
                branches.stream().mapToInt(reader -> reader.sequence).toArray());
        for (int b = 0; b < branches.size(); b++) {
            for (int row = from; row < to; row++) {
                mark(branches.get(b), b * (to - from) + row - from, branches.get(b).done + row - from);
            }
        }
        context.decode();
        branches.forEach(reader -> reader.done += to - from);
        if (branches.size() > 1) {
            generation.merged += to - from;
        }
        return true;
    }
}
