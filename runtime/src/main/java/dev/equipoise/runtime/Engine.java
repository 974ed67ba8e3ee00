package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.kernels.error.LifetimeException;
import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.SamplerHandle;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Runs requests on a model: all branches of all requests advance by one token in one decode.
 *
 * <p>Belongs to the thread that opened it, which alone may call its methods; {@link Generation#cancel} is for all.
 * Owns its KV cache; closing ends the generations in progress as cancelled.
 */
public final class Engine implements AutoCloseable {
    private final Thread owner = Thread.currentThread();
    private final Model model;
    private final EngineOptions options;
    private final ContextHandle context;
    private final int cells;
    private final Admission admission;
    private final Stepping stepping;
    private final ArrayDeque<Prefill> waiting = new ArrayDeque<>();
    private final List<Generation> running = new ArrayList<>();
    private boolean closed;

    private Engine(final Model model, final EngineOptions options, final int cells, final ContextHandle context) {
        this.model = model;
        this.options = options;
        this.cells = cells;
        this.context = context;
        this.admission = new Admission(cells, options.maxBranches());
        this.stepping = new Stepping(
                context, admission, options.padSteps() && model.isOnCpu(), options.maxBranches());
    }

    /**
     * Opens an engine for the calling thread.
     *
     * @throws dev.equipoise.kernels.error.UnavailableException if model or backend cannot do what the options say
     */
    public static Engine open(final Model model, final EngineOptions options) {
        return open(model, options, false);
    }

    /** Opens an engine that keeps hidden states, for {@link #hiddenStates}; it decodes slower than others. */
    public static Engine openForCapture(final Model model, final EngineOptions options) {
        return open(model, options, true);
    }

    /** As {@link #open(Model, EngineOptions)}, keeping hidden states of the last decode when {@code capture} is set. */
    static Engine open(final Model model, final EngineOptions options, final boolean capture) {
        if (options.kvType() == KvType.Q8_0 && options.flashAttention() == FlashAttention.OFF) {
            throw new BadInputException(
                    "a quantised value cache without flash attention",
                    "kvType q8_0",
                    "switch flash attention on, or use f16");
        }
        final int cells = options.cells(model.info());
        final ContextHandle context = ContextHandle.open(
                model.handle(),
                cells,
                Math.max(options.microBatch(), options.maxBranches()),
                options.maxBranches(),
                options.threads(),
                options.kvType().ordinal(),
                switch (options.flashAttention()) {
                    case ON -> 1;
                    case OFF -> 0;
                    case AUTO -> -1;
                },
                capture);
        return new Engine(model, options, cells, context);
    }

    /** The model it runs. */
    public Model model() {
        return model;
    }

    /** What it was opened with. */
    public EngineOptions options() {
        return options;
    }

    /**
     * Takes a request in; it is prefilled by the steps that follow, after those that were submitted before it. Its
     * tokens have no cells yet: when the cache is full it ends, with {@link FinishReason#LENGTH}.
     *
     * @throws BadInputException if its prompts do not fit into what is free, with the numbers
     */
    public Generation submit(final Request request, final TokenListener listener) {
        requireOpen();
        return submit(PreparedRequest.of(model, options, request), listener, false);
    }

    /**
     * Takes a request in with all the cells that it may ever need, so that it ends by itself.
     *
     * @throws BadInputException if there is no room for it ({@link #hasRoom}), with the numbers
     */
    public Generation submit(final PreparedRequest prepared, final TokenListener listener) {
        requireOpen();
        return submit(prepared, listener, true);
    }

    private Generation submit(
            final PreparedRequest prepared, final TokenListener listener, final boolean whole) {
        Objects.requireNonNull(listener);
        prepared.take(model);
        final Generation generation = new Generation(prepared, context, listener, cells);
        admit(generation, prepared, whole);
        waiting.add(new Prefill(context, options.microBatch(), generation));
        return generation;
    }

    /** Submits a request without a listener. */
    public Generation submit(final Request request) {
        return submit(request, TokenListener.NONE);
    }

    /** Whether a request would be taken in now with all the cells that it may ever need. */
    public boolean hasRoom(final PreparedRequest prepared) {
        requireOpen();
        return admission.hasRoom(prepared.branches(), prepared.cells());
    }

    /** What is free. */
    public Room room() {
        requireOpen();
        return new Room(admission.freeCells(), cells, admission.freeSequences(), options.maxBranches());
    }

    /**
     * How much an engine has left.
     *
     * @param freeCells KV cells that no request has
     * @param cells all of them
     * @param freeBranches branches that no request has
     * @param branches all of them
     */
    public record Room(int freeCells, int cells, int freeBranches, int branches) {}

    /** Whether a step would do anything: something is to be prefilled, ended or advanced. Paused requests are not. */
    public boolean canAdvance() {
        requireOpen();
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

    /**
     * Advances every request that is generating by one token. Prompts enter the cache in the order in which they were
     * submitted, at most a micro-batch of columns in a step, unless nothing is generating yet: then until something is.
     *
     * @return whether there is more to do, now or after a pause
     */
    public boolean step() {
        requireOpen();
        dropCancelled();
        prefillWaiting();
        makeRoom();
        advance();
        return !running.isEmpty() || !waiting.isEmpty();
    }

    /** Submits a request and steps until it has ended; other requests advance with it. */
    public Answer run(final Request request, final TokenListener listener) {
        final Generation generation = submit(request, listener);
        while (!generation.isDone()) {
            step();
        }
        return generation.answer();
    }

    /** As {@link #run(Request, TokenListener)} without a listener. */
    public Answer run(final Request request) {
        return run(request, TokenListener.NONE);
    }

    /** The row from which a request's first token would be drawn. Other requests stay where they are. */
    public NextLogits logits(final Request request) {
        requireOpen();
        final PreparedRequest prepared = PreparedRequest.of(model, options, request);
        final int column = decodeFirst(prepared);
        final EncodedPrompt prompt = prepared.states().getFirst().prompt;
        return new NextLogits(
                prompt.tokens(), prompt.spans(), context.logits(column, model.info().vocabulary()));
    }

    // Decodes prompts to their ends and forgets them; returns the column of the last decode that holds the row.
    private int decodeFirst(final PreparedRequest prepared) {
        return decodeFirst(prepared, () -> { });
    }

    private int decodeFirst(final PreparedRequest prepared, final Runnable beforeItIsForgotten) {
        prepared.take(model);
        final Generation generation = new Generation(prepared, context, TokenListener.NONE, 1);
        admit(generation, prepared, false);
        try {
            final Prefill prefill = new Prefill(context, options.microBatch(), generation);
            while (!prefill.isDone()) {
                requireProgress(prefill.advance(options.microBatch()));
            }
            generation.advancing = true;
            stepping.first(List.of(generation));
            if (!stepping.open().isEmpty()) {
                stepping.second();
            }
            beforeItIsForgotten.run();
            return generation.column;
        } finally {
            release(generation);
        }
    }

    private static void requireProgress(final int columns) {
        if (columns == 0) {
            throw new InternalException(
                    "a prompt that does not go on", "prefill", "report this with the model and the prompt");
        }
    }

    /**
     * The outputs of all blocks at one token of a prompt.
     *
     * @param position which token, counted from the end: -1 the last, -2 the one before it
     * @throws BadInputException if the prompt has no such token, or the token is a picture's or a sound's
     */
    public HiddenStates hiddenStates(final Prompt prompt, final int position) {
        requireOpen();
        final EncodedPrompt whole = model.encode(prompt);
        final int column = whole.size() + position;
        if (position >= 0 || column < 0 || whole.token(column) < 0) {
            throw new BadInputException(
                    position >= 0 || column < 0 ? "no such token" : "a token of a picture or a sound",
                    "position " + position + " of " + whole.size() + " tokens",
                    "choose -1 for the last token, -2 for the one before it");
        }
        // What stands behind a token does not reach it.
        decodeFirst(PreparedRequest.plain(model, options, whole.head(column + 1), Request.plain(prompt)));
        final int width = model.info().width();
        final List<float[]> layers = new ArrayList<>();
        for (int layer = 0; layer < model.info().layers(); layer++) {
            final float[] rows = captured(layer);
            layers.add(Arrays.copyOfRange(rows, rows.length - width, rows.length));
        }
        return new HiddenStates(layers);
    }

    /**
     * Decodes a branch's prompt to its end, forgets it, and says what the interventions that only look saw. Others act
     * as they would while generating. Other requests stay where they are.
     */
    public Observation observe(final Branch branch) {
        requireOpen();
        final Request request = new Request(
                List.of(branch),
                Optional.empty(),
                Sampling.greedy(),
                Limits.defaults(),
                0,
                StrategyLabel.PLAIN);
        final PreparedRequest prepared = PreparedRequest.of(model, options, request);
        final Observation[] seen = new Observation[1];
        decodeFirst(prepared, () -> seen[0] =
                Readings.of(context, prepared.states().getFirst(), branch, model.info().width()));
        return seen[0];
    }

    /** What would be done for a request. Nothing is decoded; media are encoded. */
    public PlanDescription describe(final Request request) {
        requireOpen();
        final List<BranchState> branches =
                PreparedRequest.of(model, options, request).states();
        final List<PlanDescription.BranchPlan> plans = new ArrayList<>();
        for (int b = 0; b < branches.size(); b++) {
            final EncodedPrompt prompt = branches.get(b).prompt;
            plans.add(new PlanDescription.BranchPlan(
                    request.branches().get(b).name(), prompt.spans(), prompt.size(), branches.get(b).sharedWithBase));
        }
        return new PlanDescription(plans);
    }

    /** Whether attention is computed without materialising its weights, as resolved for model and backend. */
    public boolean flashAttention() {
        requireOpen();
        return context.flashAttention();
    }

    /** Hidden states of the last decode, {@code [rows][width]}; layer -1 is the input embedding. */
    float[] captured(final int layer) {
        requireOpen();
        return context.captured(layer, model.info().width());
    }

    /** Native calls so far of decodes and of what belongs to sequences. */
    long nativeCalls() {
        return context.calls();
    }

    @Override
    public void close() {
        if (closed) {
            return;
        }
        requireOwner();
        closed = true;
        running.forEach(this::endAsCancelled);
        waiting.forEach(prefill -> endAsCancelled(prefill.generation()));
        context.close();
    }

    private void endAsCancelled(final Generation generation) {
        closeSampler(generation);
        generation.finish(FinishReason.CANCELLED);
    }

    // Takes sequences and cells for a request, or refuses it with the numbers.
    private void admit(final Generation generation, final PreparedRequest prepared, final boolean whole) {
        final long wanted = whole ? prepared.cells() : prepared.promptCells();
        admission.require(generation.branches.size(), wanted);
        if (!generation.request().sampling().isArgmax()) {
            generation.sampler = openSampler(generation.request().sampling());
        }
        generation.promptCells = prepared.promptCells();
        admission.takeCells((int) wanted);
        if (whole) {
            generation.grow(prepared.request().limits().maxTokens() - 1);
        }
        for (final BranchState branch : generation.branches) {
            branch.sequence = admission.takeSequence();
        }
        try {
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
                generation.branches.getFirst().sequence, generation.branches.getLast().sequence, merge.layer()));
    }

    private SamplerHandle openSampler(final Sampling sampling) {
        final SortedMap<Integer, Float> biased = biased(sampling);
        return SamplerHandle.open(
                model.handle(),
                sampling.temperature(),
                sampling.topK(),
                sampling.topP(),
                sampling.minP(),
                sampling.repeatPenalty(),
                sampling.repeatWindow(),
                (int) sampling.seed(),
                sampling.grammar().orElse(null),
                biased.keySet().stream().mapToInt(token -> token).toArray(),
                floats(biased.values()));
    }

    // By token. One at which words of different shifts begin tells nothing of them, and stays as it is.
    private SortedMap<Integer, Float> biased(final Sampling sampling) {
        final SortedMap<Integer, Float> biased = new TreeMap<>();
        final Set<Integer> torn = new HashSet<>();
        sampling.bias().forEach((word, shift) -> {
            final int[] ids = model.tokenize(word, false);
            final Float other = ids.length == 0 ? null : biased.put(ids[0], shift.floatValue());
            if (other != null && other != shift.floatValue()) {
                torn.add(ids[0]);
            }
        });
        biased.keySet().removeAll(torn);
        return biased;
    }

    private static float[] floats(final Collection<Float> values) {
        final float[] floats = new float[values.size()];
        int at = 0;
        for (final float value : values) {
            floats[at++] = value;
        }
        return floats;
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
                } else if (prefill.isDone()) {
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
                end(generation, FinishReason.CANCELLED);
                throw e;
            }
        }
        if (!waiting.isEmpty() && waiting.peek().isDone()) {
            running.add(waiting.remove().generation());
        }
    }

    private void dropCancelled() {
        for (int i = 0; i < running.size(); ) {
            if (running.get(i).isCancelled()) {
                end(running.remove(i), FinishReason.CANCELLED);
            } else {
                i++;
            }
        }
    }

    // A request that has no cell for its next token ends where it is; the others go on.
    private void makeRoom() {
        for (int i = 0; i < running.size(); ) {
            final Generation generation = running.get(i);
            generation.advancing = !generation.isPaused();
            if (!generation.advancing || generation.hasCell()) {
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
            if (!stepping.open().isEmpty()) {
                stepping.second();
            }
        } catch (final RuntimeException | Error e) {
            // The cache no longer holds what the requests believe: none of them can go on.
            running.forEach(generation -> end(generation, FinishReason.CANCELLED));
            running.clear();
            throw e;
        }
        if (!stepping.open().isEmpty()) {
            final RuntimeException second = takeTokens(true);
            failure = failure == null ? second : failure;
        }
        if (failure != null) {
            throw failure;
        }
    }

    // Takes the tokens of those whose gate opened, or of all others; returns what went wrong with one of them.
    private RuntimeException takeTokens(final boolean opened) {
        RuntimeException failure = null;
        for (int i = 0; i < running.size(); ) {
            final Generation generation = running.get(i);
            boolean ended = false;
            if (generation.advancing && stepping.open().contains(generation) == opened) {
                try {
                    ended = generation.take(context.buffer());
                } catch (final RuntimeException e) {
                    failure = e;
                    generation.finish(FinishReason.CANCELLED);
                    ended = true;
                }
            }
            if (ended) {
                release(generation);
                running.remove(i);
            } else {
                i++;
            }
        }
        return failure;
    }

    private void end(final Generation generation, final FinishReason reason) {
        generation.finish(reason);
        release(generation);
    }

    private void release(final Generation generation) {
        admission.freeCells(generation.promptCells + generation.generatedCells());
        for (final BranchState branch : generation.branches) {
            context.remove(branch.sequence, 0);
            if (!branch.edits.isEmpty()) {
                context.interventions(branch.sequence, List.of());
            }
            admission.freeSequence(branch.sequence);
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

    private void requireOpen() {
        requireOwner();
        if (closed) {
            throw new LifetimeException("used after close", "engine", "keep it open for as long as it is needed");
        }
    }

    private void requireOwner() {
        if (Thread.currentThread() != owner) {
            throw new LifetimeException(
                    "used from a thread that does not own it",
                    "engine, from " + Thread.currentThread().getName(),
                    "call it from the thread that opened it, " + owner.getName());
        }
    }
}
