package dev.equipoise.runtime;

import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.NativeEdit;
import dev.equipoise.runtime.ffm.StepBuffer;
import dev.equipoise.runtime.intervention.Intervention;
import java.util.ArrayList;
import java.util.List;

/** Where one branch of a generation stands. Its columns are the prompt's and, counting on, the generated tokens'. */
final class BranchState {
    EncodedPrompt prompt;
    /** What acts on which column. */
    ActiveColumns active;
    /** What acts, as the native side takes it. */
    List<NativeEdit> edits;
    /** Leading columns that are the base branch's too. */
    final int sharedWithBase;
    /** The branch before this one with which it has most columns in common; null for the base. */
    final BranchState parent;
    /** Leading columns whose cells are the parent's. */
    final int shared;
    /** Leading columns whose cells other branches can share. */
    int own = Integer.MAX_VALUE;
    /** What acts on none of its columns although in scope: bit k of the mask is intervention k. */
    long shut;
    /** Its sequence in the KV cache. */
    int sequence;
    /** Columns that are in the cache. */
    int done;
    /** The column of the latest step that has its row, if it was asked for. */
    int column;
    /** Whether the cells that it shares are its own too. */
    boolean attached;
    // What its interventions did in readings that were given up, or are elsewhere; empty if there were none.
    private List<ContextHandle.Done> earlier = List.of();

    /**
     * A branch that stands behind {@code before}, the base first.
     *
     * @param shares whether it may share cells with one of them
     */
    BranchState(
            final EncodedPrompt prompt,
            final ActiveColumns active,
            final List<NativeEdit> edits,
            final List<BranchState> before,
            final boolean shares) {
        this.prompt = prompt;
        this.active = active;
        this.edits = edits;
        BranchState nearest = null;
        int most = 0;
        for (final BranchState other : before) {
            final int alike = shares ? other.alike(this) : 0;
            if (nearest == null || alike > most) {
                nearest = other;
                most = alike;
            }
        }
        parent = nearest;
        shared = most;
        sharedWithBase = before.isEmpty() ? prompt.size() : before.getFirst().alike(this);
        attached = before.isEmpty();
    }

    // Leading columns that two branches can have in common: read alike, and acted on alike.
    private int alike(final BranchState other) {
        final int same =
                Math.min(own, Math.min(prompt.commonPrefix(other.prompt), active.agreeing(other.active)));
        // The last column is each branch's own: its row is wanted.
        int columns = Math.min(same, Math.min(prompt.size(), other.prompt.size()) - 1);
        // Cells are shared by position, and under M-RoPE all of a picture has one.
        while (columns > 0 && prompt.position(columns) == prompt.position(columns - 1)) {
            columns--;
        }
        return columns;
    }

    /** Columns of its own that are still to come, given how many there are in all. */
    int missing(final int all) {
        return all - (attached ? done : shared);
    }

    /** Shares the cells that its parent has in the cache, if those are all that it shares. */
    void attach(final ContextHandle context) {
        if (!attached && parent.attached && parent.done >= shared) {
            share(context, parent.done);
        }
    }

    /** The same where some of them come with the decode being prepared. */
    void attach(final ContextHandle context, final StepBuffer buffer) {
        if (!attached && parent.attached && parent.done >= shared) {
            final int cached = parent.done - buffer.columnsOf(parent.sequence);
            share(context, cached);
            if (cached < shared) {
                buffer.share(parent.sequence, sequence, shared);
            }
        }
    }

    private void share(final ContextHandle context, final int cached) {
        final int columns = Math.min(cached, shared);
        if (columns > 0) {
            context.share(parent.sequence, sequence, prompt.position(columns));
        }
        done = shared;
        attached = true;
    }

    /** Columns that an intervention acts on in the cells that this branch shares, which another one computed. */
    int touchedByOthers(final int intervention) {
        int count = 0;
        for (int column = 0; parent != null && done > shared && column < shared; column++) {
            count += (int) ((active.at(column) & ~shut) >> intervention & 1);
        }
        return count;
    }

    /** The position of a column. */
    int position(final int column) {
        final int last = prompt.size() - 1;
        return column <= last ? prompt.position(column) : prompt.position(last) + column - last;
    }

    /** Tells a decode what acts on one of its columns. */
    void mark(final StepBuffer buffer, final int bufferColumn, final int column, final float mergeWeight) {
        buffer.mark(
                bufferColumn,
                active.at(column) & ~shut,
                InterventionLowering.label(prompt, column),
                mergeWeight,
                column);
    }

    /**
     * Forgets what was read but for what stays in its parent's cells, and lets one intervention act on other columns
     * when it is read again.
     *
     * @param branch what it was made of
     * @param index which intervention: one that names no tokens
     * @param taken columns of the prompt and of the tokens behind it; none: it does not act
     * @param generated tokens that there are behind the prompt
     */
    void choose(
            final ContextHandle context,
            final Branch branch,
            final int index,
            final Rechoice.Taken taken,
            final int generated,
            final ModelInfo model) {
        final List<Intervention> interventions = new ArrayList<>(branch.interventions());
        final List<Intervention> acting = new ArrayList<>(interventions);
        acting.remove(index);
        final boolean idle = taken.columns().isEmpty();
        if (!idle) {
            interventions.set(index, Rechoice.with(interventions.get(index), taken));
            acting.add(interventions.get(index));
        }
        final EncodedPrompt read = prompt.behind(generated).as(acting);
        final ActiveColumns acts = ActiveColumns.chosen(interventions, read, idle ? 1L << index : 0);
        final List<NativeEdit> edits = InterventionLowering.edits(
                new Branch(branch.name(), branch.prompt(), interventions), read, acts, model);
        earlier = done(context);
        // A parent without a choice keeps its cells; one that is read again itself has others then.
        attached &= parent.own == Integer.MAX_VALUE;
        done = attached ? shared : 0;
        context.remove(sequence, attached ? prompt.position(shared) : 0);
        context.interventions(sequence, edits);
        this.prompt = read;
        this.active = acts;
        this.edits = edits;
    }

    /** What its interventions have done, in all readings of its prompt together. */
    List<ContextHandle.Done> done(final ContextHandle context) {
        return together(context.done(sequence, edits.size()));
    }

    /** Adds what they have done in another sequence. */
    void addDone(final List<ContextHandle.Done> elsewhere) {
        earlier = together(elsewhere);
    }

    private List<ContextHandle.Done> together(final List<ContextHandle.Done> latest) {
        final List<ContextHandle.Done> all = new ArrayList<>();
        for (int k = 0; k < latest.size(); k++) {
            all.add(earlier.isEmpty() ? latest.get(k) : latest.get(k).plus(earlier.get(k)));
        }
        return all;
    }
}
