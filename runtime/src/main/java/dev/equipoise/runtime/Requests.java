package dev.equipoise.runtime;

import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.runtime.ffm.ContextHandle;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import java.util.function.Consumer;

/** The requests of an engine, from admission over prefill and steps to their end. Used by its thread only. */
final class Requests {
    private final Model model;
    private final EngineOptions options;
    private final ContextHandle context;
    private final Admission admission;
    private final int cells;
    private final Stepping stepping;
    private final ArrayDeque<Prefill> waiting = new ArrayDeque<>();
    private final List<Generation> running = new ArrayList<>();

    Requests(
            final Model model,
            final EngineOptions options,
            final ContextHandle context,
            final Admission admission,
            final int cells) {
        this.model = model;
        this.options = options;
        this.context = context;
        this.admission = admission;
        this.cells = cells;
        this.stepping = new Stepping(
                context,
                admission,
                options.padSteps().on(model),
                options.maxBranches(),
                options.gatePatience(model));
    }

    /** Takes a request in, with the cells of its prompts or, {@code whole}, all that it may ever need. */
    Generation submit(final PreparedRequest prepared, final TokenListener listener, final boolean whole) {
        Objects.requireNonNull(listener);
        prepared.take(model);
        final Generation generation = new Generation(prepared, context, listener, cells);
        admit(generation, prepared, whole);
        final Conditions conditions = prepared.conditions();
        try {
            waiting.add(prefill(
                    conditions.arePending() && conditions.reachPrompt() ? look(generation, prepared) : generation));
        } catch (final RuntimeException | Error e) {
            release(generation);
            throw e;
        }
        return generation;
    }

    /** Whether {@link #step} would do anything. */
    boolean canAdvance() {
        if (!waiting.isEmpty()) {
            return true;
        }
        for (int i = 0; i < running.size(); i++) {
            if (running.get(i).isCancelled() || !running.get(i).isPaused()) {
                return true;
            }
        }
        return false;
    }

    /** Prefills what waits, as far as its turn goes, and advances what generates; returns whether any is left. */
    boolean step() {
        dropCancelled();
        prefillWaiting();
        makeRoom();
        advance();
        return !running.isEmpty() || !waiting.isEmpty();
    }

    /** Ends all as cancelled, before their context closes; what a listener throws is passed on when all have ended. */
    void close() {
        final List<Generation> all = new ArrayList<>(running);
        waiting.forEach(prefill -> all.add(prefill.generation()));
        RuntimeException failure = null;
        for (final Generation asked : all) {
            try {
                endAsCancelled(asked);
            } catch (final RuntimeException e) {
                failure = with(failure, e);
            }
        }
        if (failure != null) {
            throw failure;
        }
    }

    private static RuntimeException with(final RuntimeException first, final RuntimeException next) {
        if (first == null) {
            return next;
        }
        if (next != null && next != first) {
            first.addSuppressed(next);
        }
        return first;
    }

    /** Decodes prompts to their ends and forgets them; returns the column of the last decode that holds the row. */
    int decodeFirst(final PreparedRequest prepared) {
        return decodeFirst(prepared, generation -> { });
    }

    /** As {@link #decodeFirst(PreparedRequest)}; {@code before} it forgets them, the request is handed over. */
    int decodeFirst(final PreparedRequest prepared, final Consumer<Generation> before) {
        prepared.take(model);
        decide(prepared);
        final Generation generation = new Generation(prepared, context, TokenListener.NONE, 1);
        admit(generation, prepared, false);
        try {
            readPrompts(generation);
            generation.advancing = true;
            stepping.first(List.of(generation));
            if (!stepping.open().isEmpty()) {
                generation.deferred = false;
                if (generation.isRechosen()) {
                    generation.rechoose();
                }
                readPrompts(generation);
                generation.joining = generation.readsWhole();
                if (stepping.whole() == null) {
                    stepping.second();
                }
            }
            generation.next.requireWeights(context.buffer());
            before.accept(generation);
            return generation.next.column;
        } finally {
            release(generation);
        }
    }

    private void readPrompts(final Generation generation) {
        final Prefill prefill = prefill(generation);
        while (!prefill.isAtLast() && !prefill.fitsStep(options.microBatch())) {
            requireProgress(prefill.advance(options.microBatch()));
        }
    }

    private Prefill prefill(final Generation generation) {
        return new Prefill(context, options.microBatch(), generation);
    }

    // A reading of the first branch's prompt, in its sequence, that decides the conditions of a request. The cells of
    // the prompt are enough for it.
    private Generation look(final Generation generation, final PreparedRequest prepared) {
        final PreparedRequest looking = prepared.looking();
        final Generation look = new Generation(looking, context, TokenListener.NONE, 1);
        final BranchState state = look.branches.getFirst();
        look.behalf = generation;
        state.sequence = generation.branches.getFirst().sequence;
        context.interventions(state.sequence, state.edits);
        return look;
    }

    // The reading is forgotten, and what acts is what was asked for.
    private void forget(final Generation look) {
        final BranchState base = look.behalf.branches.getFirst();
        context.remove(base.sequence, 0);
        context.interventions(base.sequence, base.edits);
    }

    // Conditions on what reaches the prompt are decided before it is read for good.
    private void decide(final PreparedRequest prepared) {
        final Conditions conditions = prepared.conditions();
        if (conditions.arePending() && conditions.reachPrompt()) {
            final PreparedRequest looking = prepared.looking();
            decodeFirst(looking, look -> conditions.decide(context, looking.states().getFirst()));
            prepared.shut();
        }
    }

    private static void requireProgress(final int columns) {
        if (columns == 0) {
            throw new InternalException(
                    "a prompt that does not go on", "prefill", "report this with the model and the prompt");
        }
    }

    private void endAsCancelled(final Generation asked) {
        final Generation generation = whose(asked);
        closeSampler(generation);
        generation.finish(FinishReason.CANCELLED);
    }

    // The request itself, where one of its readings is meant.
    private static Generation whose(final Generation generation) {
        return generation.behalf == null ? generation : generation.behalf;
    }

    // Takes sequences and cells for a request, or refuses it with the numbers.
    private void admit(final Generation generation, final PreparedRequest prepared, final boolean whole) {
        // A search cannot end where its cells do: which of its tokens are the answer is not known then.
        final boolean all = whole || generation.search != null;
        final long wanted = all ? prepared.cells() : prepared.promptCells();
        admission.require(prepared.branches(), wanted);
        if (!generation.request().sampling().isArgmax()) {
            generation.sampler = Samplers.open(model, generation.request().sampling());
        }
        generation.promptCells = prepared.promptCells();
        admission.takeCells((int) wanted);
        if (generation.search != null) {
            generation.promptCells = (int) wanted;
        } else if (whole) {
            generation.grow(prepared.maxTokens() - 1);
        }
        for (final BranchState branch : generation.branches) {
            branch.sequence = admission.takeSequence();
        }
        try {
            if (generation.search != null) {
                generation.search.open(context, admission);
            }
            intervene(generation);
        } catch (final RuntimeException | Error e) {
            release(generation);
            throw e;
        }
    }

    private void intervene(final Generation generation) {
        for (final BranchState branch : generation.branches) {
            if (!branch.edits.isEmpty()) {
                context.interventions(branch.sequence, branch.edits);
            }
        }
        generation.request().merge().ifPresent(merge -> context.merge(
                generation.branches.getFirst().sequence, generation.branches.get(1).sequence, merge.layer()));
    }

    private void prefillWaiting() {
        int room = options.microBatch();
        while (!waiting.isEmpty() && (room > 0 || running.isEmpty())) {
            final Prefill prefill = waiting.peek();
            final Generation generation = prefill.generation();
            if (running.isEmpty()) {
                room = options.microBatch();
            }
            try {
                if (generation.isCancelled()) {
                    waiting.remove();
                    end(generation, FinishReason.CANCELLED);
                } else if (generation.wholeColumns() > room && room < options.microBatch()) {
                    return;
                } else if (prefill.isAtLast() || prefill.fitsStep(Math.min(room, freeColumns()))) {
                    room -= tail(generation) + generation.wholeColumns();
                    waiting.remove();
                    running.add(generation);
                } else {
                    final int columns = prefill.advance(room);
                    if (columns == 0 && room < options.microBatch()) {
                        return;
                    }
                    requireProgress(columns);
                    room -= columns;
                }
            } catch (final RuntimeException | Error e) {
                waiting.remove(prefill);
                endAfter(e, generation);
                throw e;
            }
        }
        if (!waiting.isEmpty()
                && waiting.peek().isAtLast()
                && waiting.peek().generation().wholeColumns() == 0) {
            running.add(waiting.remove().generation());
        }
    }

    // What a step that all requests take part in leaves of a decode.
    private int freeColumns() {
        int columns = context.buffer().capacity();
        for (int i = 0; i < running.size(); i++) {
            columns -= running.get(i).columns();
        }
        return columns;
    }

    // Columns that a request brings into its next step beside one a branch: the end of its prompt.
    private static int tail(final Generation generation) {
        return generation.isSearching() ? 0 : generation.columns() - generation.branches.size();
    }

    private void dropCancelled() {
        for (int i = 0; i < running.size(); ) {
            if (running.get(i).isCancelled()) {
                end(running.remove(i), FinishReason.CANCELLED);
            } else {
                i++;
            }
        }
        if (!waiting.isEmpty()) {
            for (final Iterator<Prefill> each = waiting.iterator(); each.hasNext(); ) {
                final Generation generation = each.next().generation();
                if (generation.isCancelled()) {
                    each.remove();
                    end(generation, FinishReason.CANCELLED);
                }
            }
        }
    }

    // A request that has no cell for its next token ends where it is; the others go on. Branches that a gate leaves
    // behind have their cells too, so that they can always catch up.
    private void makeRoom() {
        boolean crowded = freeColumns() < 0;
        for (int i = 0; i < running.size(); ) {
            final Generation generation = running.get(i);
            generation.advancing = !generation.isPaused();
            if (crowded && tail(generation) > 0) {
                // Others came while it was paused: its prompt goes on where it stopped.
                waiting.addFirst(prefill(running.remove(i)));
                crowded = freeColumns() < 0;
            } else if (!generation.advancing || generation.hasCell()) {
                i++;
            } else if (admission.takeCells(generation.branches.size())) {
                generation.grow(1);
                i++;
            } else {
                end(running.remove(i), FinishReason.LENGTH);
            }
        }
    }

    private void advance() {
        boolean any = false;
        for (int i = 0; i < running.size(); i++) {
            any |= running.get(i).advancing;
        }
        if (!any) {
            return;
        }
        RuntimeException failure = null;
        try {
            stepping.first(running);
            failure = takeTokens(false);
            failure = with(failure, fetch());
            failure = with(failure, finishWhole());
            if (!stepping.open().isEmpty()) {
                stepping.second();
            }
        } catch (final RuntimeException | Error e) {
            // The cache no longer holds what the requests believe: none of them can go on.
            running.forEach(generation -> endAfter(e, generation));
            running.clear();
            throw e;
        }
        if (!stepping.open().isEmpty()) {
            final RuntimeException second = takeTokens(true);
            failure = with(failure, second);
        }
        if (failure != null) {
            throw failure;
        }
    }

    // Where a gate has opened for the first time, the prompts of the other branches come first; the base row is kept.
    // So it is whenever their tokens have been chosen anew, and then all others that wait are served before: else two
    // such requests would keep everybody from beginning. Returns what went wrong with one of them.
    private RuntimeException fetch() {
        RuntimeException failure = null;
        for (int i = 0; i < stepping.open().size(); ) {
            final Generation generation = stepping.open().get(i);
            if (generation.joining || !generation.deferred && !generation.isRechosen()) {
                i++;
                continue;
            }
            stepping.open().remove(i);
            try {
                if (generation.isRechosen()) {
                    generation.rechoose();
                }
            } catch (final RuntimeException e) {
                running.remove(generation);
                endAfter(e, generation);
                failure = with(failure, e);
                continue;
            }
            running.remove(generation);
            generation.deferred = false;
            generation.joining = true;
            if (generation.isRechosen()) {
                waiting.addLast(prefill(generation));
            } else {
                waiting.addFirst(prefill(generation));
            }
        }
        return failure;
    }

    // Those whose last branch is read whole have a decode each, and then a token.
    private RuntimeException finishWhole() {
        RuntimeException failure = null;
        for (Generation whole = stepping.whole(); whole != null; whole = stepping.whole()) {
            failure = with(failure, takeToken(whole));
        }
        return failure;
    }

    // Takes the tokens of those whose gate opened, or of all others; returns what went wrong with one of them.
    private RuntimeException takeTokens(final boolean opened) {
        RuntimeException failure = null;
        for (int i = 0; i < running.size(); ) {
            final Generation generation = running.get(i);
            if (!generation.advancing || stepping.open().contains(generation) != opened) {
                i++;
                continue;
            }
            final int before = running.size();
            failure = with(failure, takeToken(generation));
            i += running.size() == before ? 1 : 0;
        }
        return failure;
    }

    private RuntimeException takeToken(final Generation generation) {
        try {
            if (generation.take(context.buffer())) {
                running.remove(generation);
                leave(generation);
            }
        } catch (final RuntimeException e) {
            running.remove(generation);
            endAfter(e, generation);
            return e;
        }
        return null;
    }

    // What has ended gives its place up: to the request itself, if it was a reading for one.
    private void leave(final Generation generation) {
        if (generation.behalf == null) {
            release(generation);
        } else {
            forget(generation);
            waiting.addFirst(prefill(generation.behalf));
        }
    }

    private void end(final Generation asked, final FinishReason reason) {
        if (asked.behalf != null) {
            forget(asked);
        }
        final Generation generation = whose(asked);
        try {
            generation.finish(reason);
        } finally {
            release(generation);
        }
    }

    // Ends one as cancelled for what went wrong; what goes wrong then is told with it.
    private void endAfter(final Throwable failure, final Generation generation) {
        try {
            end(generation, FinishReason.CANCELLED);
        } catch (final RuntimeException e) {
            if (e != failure) {
                failure.addSuppressed(e);
            }
        }
    }

    private void release(final Generation generation) {
        if (generation.released) {
            return;
        }
        generation.released = true;
        admission.freeCells(generation.promptCells + generation.generatedCells());
        for (final BranchState branch : generation.branches) {
            context.remove(branch.sequence, 0);
            if (!branch.edits.isEmpty()) {
                context.interventions(branch.sequence, List.of());
            }
            admission.freeSequence(branch.sequence);
        }
        if (generation.search != null) {
            generation.search.close(admission);
        }
        if (generation.request().merge().isPresent()) {
            context.merge(generation.branches.getFirst().sequence, -1, 0);
        }
        closeSampler(generation);
    }

    private static void closeSampler(final Generation generation) {
        if (generation.sampler != null) {
            generation.sampler.close();
            generation.sampler = null;
        }
    }
}
