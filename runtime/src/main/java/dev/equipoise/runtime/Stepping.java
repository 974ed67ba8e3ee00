package dev.equipoise.runtime;

import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.StepBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * The decodes of a step: one for all generations, which also brings in the ends of new prompts, and one more for all
 * those together whose gates opened and had left branches behind. What was left behind longer ago than a micro-batch is
 * caught up in decodes of its own before. A branch that is read whole has a decode to itself.
 */
final class Stepping {
    // Bare llama.cpp steps three sequences slower than four: see EngineOptions.
    private static final int PADDED = 3;

    private final ContextHandle context;
    private final Admission admission;
    private final boolean pads;
    private final int paddingSequence;
    private final int patience;
    // Those whose gates opened in the first decode.
    private final List<Generation> open = new ArrayList<>();
    // Columns of the step being prepared that end where they are merged: they run before the others, not beside them.
    private int ending;

    /**
     * Decodes on a context.
     *
     * @param pads whether steps of three columns get a fourth
     * @param paddingSequence whose it is
     * @param patience tokens in a row for which a gate may be shut before its branches are left behind
     */
    Stepping(
            final ContextHandle context,
            final Admission admission,
            final boolean pads,
            final int paddingSequence,
            final int patience) {
        this.context = context;
        this.admission = admission;
        this.pads = pads;
        this.paddingSequence = paddingSequence;
        this.patience = patience;
    }

    /** Decodes the next column of all that are advancing. Afterwards those that are not {@link #open} have a token. */
    void first(final List<Generation> generations) {
        final StepBuffer buffer = context.buffer();
        for (int i = 0; i < generations.size(); i++) {
            if (generations.get(i).advancing && generations.get(i).isSearching()) {
                generations.get(i).search.prepare();
            }
        }
        buffer.clear();
        open.clear();
        ending = 0;
        int columns = 0;
        for (int i = 0; i < generations.size(); i++) {
            columns += generations.get(i).advancing ? generations.get(i).columns() : 0;
        }
        // What is left of a micro-batch for branches that come along and were left behind.
        int room = buffer.capacity() - columns;
        for (int i = 0; i < generations.size(); i++) {
            final Generation generation = generations.get(i);
            if (generation.advancing && generation.joining && generation.readsWhole()) {
                open.add(generation);
            } else if (generation.advancing && generation.isSearching()) {
                generation.search.add(buffer);
            } else if (generation.advancing && generation.joining) {
                addOthers(generation, buffer);
                generation.combines = true;
            } else if (generation.advancing) {
                final int behind = generation.next.isGated() ? behind(generation) : 0;
                final boolean all = generation.next.takesAlong(patience) && behind <= room;
                room -= all ? behind : 0;
                generation.combines = all && generation.next.mayCombine();
                addColumns(generation, buffer, all);
            }
        }
        for (int i = 0; i < generations.size(); i++) {
            final Generation generation = generations.get(i);
            if (open.contains(generation) || generation.search != null) {
                continue;
            }
            if (generation.advancing && generation.combines) {
                generation.next.ask(buffer, generation.sampler, !generation.joining);
            } else if (generation.advancing) {
                generation.next.askBase(buffer, generation.sampler);
            }
        }
        if (buffer.columns() == 0) {
            return;
        }
        pad(buffer);
        context.decode();
        for (int i = 0; i < generations.size(); i++) {
            final Generation generation = generations.get(i);
            if (generation.advancing && generation.search == null && !open.contains(generation)) {
                generation.joining = false;
                if (generation.next.isOpen(buffer)) {
                    open.add(generation);
                }
            }
        }
    }

    /** Those that have no token yet; the caller may take some out. */
    List<Generation> open() {
        return open;
    }

    /**
     * Reads the last branch of one that is open and reads its branches whole, after which it has a token.
     *
     * @return that one, which is no longer among the open; null if there is none
     */
    Generation whole() {
        for (int i = 0; i < open.size(); i++) {
            final Generation generation = open.get(i);
            if (generation.joining && generation.readsWhole()) {
                final StepBuffer buffer = context.buffer();
                generation.next.column = WholeReading.add(generation, generation.branches.getLast(), buffer);
                generation.combines = true;
                generation.joining = false;
                generation.next.ask(buffer, generation.sampler, false);
                context.decode();
                return open.remove(i);
            }
        }
        return null;
    }

    /** Steps the other branches of those that are open, after which each of them has a token. */
    void second() {
        final StepBuffer buffer = context.buffer();
        while (true) {
            int columns = 0;
            for (int i = 0; i < open.size(); i++) {
                columns += behind(open.get(i)) + open.get(i).branches.size() - open.get(i).base;
            }
            if (columns <= buffer.capacity()) {
                break;
            }
            catchUp(buffer);
        }
        buffer.clear();
        ending = 0;
        for (int i = 0; i < open.size(); i++) {
            addOthers(open.get(i), buffer);
        }
        for (int i = 0; i < open.size(); i++) {
            open.get(i).next.ask(buffer, open.get(i).sampler, false);
        }
        pad(buffer);
        context.decode();
    }

    // What the branches beside the base miss, where a gate kept the base row.
    private static void addOthers(final Generation generation, final StepBuffer buffer) {
        for (int b = generation.base; b < generation.branches.size(); b++) {
            // The base has no column here; any of the group's may hold the combined row.
            generation.next.column = addBranch(generation, generation.branches.get(b), buffer, true);
        }
    }

    // A full decode of columns whose rows nobody asks for.
    private void catchUp(final StepBuffer buffer) {
        buffer.clear();
        for (int i = 0; i < open.size(); i++) {
            final Generation generation = open.get(i);
            for (int b = generation.base; b < generation.branches.size(); b++) {
                final BranchState branch = generation.branches.get(b);
                while (generation.missing(branch) > 1 && buffer.columns() < buffer.capacity()) {
                    addColumn(generation, branch, buffer, false);
                }
            }
        }
        context.decode();
    }

    // Columns that a generation's branches miss beside the one that is next.
    private static int behind(final Generation generation) {
        int behind = 0;
        for (int b = generation.base; b < generation.branches.size(); b++) {
            behind += generation.missing(generation.branches.get(b)) - 1;
        }
        return behind;
    }

    // Branches that part from one before them within the decode share what that one brings.
    private void addColumns(final Generation generation, final StepBuffer buffer, final boolean all) {
        for (int b = 0; b < (all ? generation.branches.size() : generation.base); b++) {
            final BranchState branch = generation.branches.get(b);
            branch.attach(context, buffer);
            // Of merged branches the first goes on for both.
            ending += b > 0 && b < generation.base ? generation.missing(branch) : 0;
            final boolean wanted = b == 0 || b >= generation.base && generation.combines;
            final int column = addBranch(generation, branch, buffer, wanted);
            if (b == 0) {
                generation.next.column = column;
            }
        }
    }

    // All columns that a branch misses; returns the last one's number.
    private static int addBranch(
            final Generation generation, final BranchState branch, final StepBuffer buffer, final boolean output) {
        while (generation.missing(branch) > 1) {
            addColumn(generation, branch, buffer, false);
        }
        branch.column = addColumn(generation, branch, buffer, output);
        return branch.column;
    }

    private static int addColumn(
            final Generation generation, final BranchState branch, final StepBuffer buffer, final boolean output) {
        final int at = branch.done++;
        final int column =
                buffer.token(generation.token(branch, at), branch.position(at), branch.sequence, output);
        branch.mark(buffer, column, at, generation.mergeWeight(branch, at));
        return column;
    }

    private void pad(final StepBuffer buffer) {
        final boolean fits = buffer.capacity() > buffer.columns() && admission.hasCell();
        if (pads && fits && buffer.columns() - ending == PADDED) {
            buffer.padding(paddingSequence);
        }
    }
}
