package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.LifetimeException;
import dev.equipoise.runtime.Generation.BranchState;
import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.SamplerHandle;
import dev.equipoise.runtime.ffm.StepBuffer;
import dev.equipoise.runtime.intervention.Merge;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Predicate;

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
    private final BitSet sequences = new BitSet();
    private final Queue<Generation> waiting = new ArrayDeque<>();
    private final List<Generation> running = new ArrayList<>();
    private int usedCells;
    private boolean closed;

    private Engine(final Model model, final EngineOptions options, final int cells, final ContextHandle context) {
        this.model = model;
        this.options = options;
        this.cells = cells;
        this.context = context;
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
        final int cells =
                options.context() == 0 ? model.info().trainedContext() : options.context();
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
     * Takes a request in; the next {@link #step} begins with it.
     *
     * @throws BadInputException if its prompts do not fit into what is free, with the numbers
     */
    public Generation submit(final Request request, final TokenListener listener) {
        final long arrival = System.nanoTime();
        requireOpen();
        Objects.requireNonNull(listener);
        final Generation generation = new Generation(request, context, listener, arrival, encode(request));
        admit(generation);
        waiting.add(generation);
        return generation;
    }

    /** Submits a request without a listener. */
    public Generation submit(final Request request) {
        return submit(request, TokenListener.NONE);
    }

    /**
     * Brings new requests into the cache and advances all by one token.
     *
     * @return whether there is more to do
     */
    public boolean step() {
        requireOpen();
        prefillWaiting();
        dropCancelled();
        if (!running.isEmpty()) {
            makeRoom();
        }
        if (!running.isEmpty()) {
            advance();
        }
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
        final List<BranchState> branches = encode(request);
        final int column = decodeFirst(request, branches);
        final EncodedPrompt prompt = branches.getFirst().prompt;
        return new NextLogits(
                prompt.tokens(), prompt.spans(), context.logits(column, model.info().vocabulary()));
    }

    // Decodes prompts to their ends and forgets them; returns the base branch's column of the last decode.
    private int decodeFirst(final Request request, final List<BranchState> branches) {
        return decodeFirst(request, branches, () -> { });
    }

    private int decodeFirst(final Request request, final List<BranchState> branches, final Runnable before) {
        final Generation generation = new Generation(request, context, TokenListener.NONE, System.nanoTime(), branches);
        admit(generation);
        try {
            new Prefill(context, options.microBatch(), generation).run();
            final StepBuffer buffer = context.buffer();
            buffer.clear();
            addColumns(generation, buffer);
            generation.ask(buffer);
            context.decode();
            before.run();
            return generation.column;
        } finally {
            release(generation);
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
        decodeFirst(Request.plain(prompt), List.of(plainState(whole.head(column + 1))));
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
        final List<BranchState> branches = encode(request);
        final Observation[] seen = new Observation[1];
        decodeFirst(request, branches, () -> seen[0] =
                Readings.of(context, branches.getFirst(), branch, model.info().width()));
        return seen[0];
    }

    private static BranchState plainState(final EncodedPrompt prompt) {
        return new BranchState(prompt, prompt.size(), ActiveColumns.none(prompt), List.of());
    }

    /** What would be done for a request. Nothing is decoded; media are encoded. */
    public PlanDescription describe(final Request request) {
        requireOpen();
        final List<BranchState> branches = encode(request);
        final List<PlanDescription.BranchPlan> plans = new ArrayList<>();
        for (int b = 0; b < branches.size(); b++) {
            final EncodedPrompt prompt = branches.get(b).prompt;
            plans.add(new PlanDescription.BranchPlan(
                    request.branches().get(b).name(), prompt.spans(), prompt.size(), branches.get(b).shared));
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

    @Override
    public void close() {
        if (closed) {
            return;
        }
        requireOwner();
        closed = true;
        running.forEach(this::endAsCancelled);
        waiting.forEach(this::endAsCancelled);
        context.close();
    }

    private void endAsCancelled(final Generation generation) {
        closeSampler(generation);
        generation.finish(FinishReason.CANCELLED);
    }

    private List<BranchState> encode(final Request request) {
        final List<BranchState> branches = new ArrayList<>();
        for (final Branch branch : request.branches()) {
            final EncodedPrompt prompt = model.encode(branch.prompt());
            if (prompt.size() == 0 || prompt.token(prompt.size() - 1) < 0) {
                throw new BadInputException(
                        prompt.size() == 0 ? "empty prompt" : "prompt that ends with a medium",
                        "branch " + branch.name(),
                        "end it with a question");
            }
            final ActiveColumns active = ActiveColumns.of(branch, prompt);
            final List<ContextHandle.Edit> edits =
                    InterventionLowering.edits(branch, prompt, active, model.info());
            final int shared = branches.isEmpty() ? prompt.size() : shared(branches.getFirst(), prompt, active);
            branches.add(new BranchState(prompt, shared, active, edits));
        }
        request.merge().ifPresent(merge -> requireMergeable(merge, branches));
        return branches;
    }

    // Leading columns that two branches can have in common: read alike, and acted on alike.
    private static int shared(final BranchState base, final EncodedPrompt prompt, final ActiveColumns active) {
        final int alike = Math.min(base.prompt.commonPrefix(prompt), base.active.agreeing(active));
        // The last column is each branch's own: its row is wanted.
        return Math.min(alike, Math.min(prompt.size(), base.prompt.size()) - 1);
    }

    private void requireMergeable(final Merge merge, final List<BranchState> branches) {
        final EncodedPrompt first = branches.getFirst().prompt;
        final EncodedPrompt second = branches.getLast().prompt;
        if (first.size() != second.size() || first.commonPrefix(second) != first.size()) {
            throw new BadInputException(
                    "a merge of branches that read different prompts",
                    first.size() + " and " + second.size() + " tokens",
                    "silence or hide what a branch should not see, and leave its prompt alone");
        }
        if (merge.layer() >= model.info().layers() - 1) {
            throw new BadInputException(
                    "a merge at or beyond the last layer",
                    "layer " + merge.layer() + " of 0.." + (model.info().layers() - 1),
                    "choose a layer below " + (model.info().layers() - 1));
        }
        if (options.microBatch() < 2) {
            throw new BadInputException(
                    "a merge with micro-batches of one token",
                    "micro-batch " + options.microBatch(),
                    "open the engine with micro-batches of at least 2");
        }
    }

    // Takes sequences and cells for a request, or refuses it with the numbers.
    private void admit(final Generation generation) {
        final int branches = generation.branches.size();
        final int free = options.maxBranches() - sequences.cardinality();
        if (branches > free) {
            throw new BadInputException(
                    "more branches than there is room for",
                    branches + " wanted, " + free + " of " + options.maxBranches() + " free",
                    "open the engine with more branches, or wait for others to end");
        }
        final int needed = cellsOf(generation);
        if (needed > cells - usedCells) {
            final boolean alone = needed > cells;
            throw new BadInputException(
                    alone ? "prompt longer than the context" : "no room in the context for the prompt",
                    needed + " cells wanted, " + (cells - usedCells) + " of " + cells + " free",
                    alone ? "shorten it, or open the engine with a larger context" : "wait for others to end");
        }
        for (final BranchState branch : generation.branches) {
            if (branch.prompt.size() > cells) {
                throw new BadInputException("prompt longer than the context", cells + " cells", "shorten it");
            }
            requireChunksFit(
                    branch.prompt, options.microBatch() / (generation.request().merge().isPresent() ? 2 : 1));
        }
        if (!generation.request().sampling().isArgmax()) {
            generation.sampler = openSampler(generation.request().sampling());
        }
        usedCells += needed;
        for (final BranchState branch : generation.branches) {
            branch.sequence = sequences.nextClearBit(0);
            sequences.set(branch.sequence);
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

    // Media whose tokens see each other in both directions cannot be split.
    private static void requireChunksFit(final EncodedPrompt prompt, final int room) {
        for (int column = 0; column < prompt.size(); column++) {
            final var chunk = prompt.chunk(column);
            if (chunk != null && chunk.nonCausal() && chunk.count() > room) {
                throw new BadInputException(
                        "picture larger than a micro-batch",
                        chunk.count() + " tokens, room for " + room,
                        "open the engine with larger micro-batches");
            }
        }
    }

    private static int cellsOf(final Generation generation) {
        int needed = generation.branches.getFirst().prompt.size();
        for (final BranchState branch :
                generation.branches.subList(1, generation.branches.size())) {
            needed += branch.prompt.size() - branch.shared;
        }
        return needed + generation.generatedCells();
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
        while (!waiting.isEmpty()) {
            final Generation generation = waiting.remove();
            try {
                if (new Prefill(context, options.microBatch(), generation).run()) {
                    running.add(generation);
                } else {
                    end(generation, FinishReason.CANCELLED);
                }
            } catch (final RuntimeException | Error e) {
                end(generation, FinishReason.CANCELLED);
                throw e;
            }
        }
    }

    private void dropCancelled() {
        endWhere(Generation::isCancelled, FinishReason.CANCELLED);
    }

    // A request that has no cell for its next token ends where it is; the others go on.
    private void makeRoom() {
        for (int i = 0; i < running.size(); ) {
            final Generation generation = running.get(i);
            final boolean first = generation.generatedCells() == 0 && !generation.hasTokens();
            if (first || usedCells + generation.branches.size() <= cells) {
                if (!first) {
                    usedCells += generation.branches.size();
                    generation.grow();
                }
                i++;
            } else {
                end(generation, FinishReason.LENGTH);
                running.remove(i);
            }
        }
    }

    private void endWhere(final Predicate<Generation> when, final FinishReason reason) {
        for (int i = 0; i < running.size(); ) {
            final Generation generation = running.get(i);
            if (when.test(generation)) {
                end(generation, reason);
                running.remove(i);
            } else {
                i++;
            }
        }
    }

    private void advance() {
        final StepBuffer buffer = context.buffer();
        buffer.clear();
        for (int i = 0; i < running.size(); i++) {
            addColumns(running.get(i), buffer);
        }
        for (int i = 0; i < running.size(); i++) {
            running.get(i).ask(buffer);
        }
        try {
            context.decode();
        } catch (final RuntimeException | Error e) {
            // The cache no longer holds what the requests believe: none of them can go on.
            running.forEach(generation -> end(generation, FinishReason.CANCELLED));
            running.clear();
            throw e;
        }
        takeTokens(buffer);
    }

    private void takeTokens(final StepBuffer buffer) {
        RuntimeException failure = null;
        for (int i = 0; i < running.size(); ) {
            final Generation generation = running.get(i);
            boolean ended;
            try {
                ended = generation.take(buffer);
            } catch (final RuntimeException e) {
                failure = e;
                generation.finish(FinishReason.CANCELLED);
                ended = true;
            }
            if (ended) {
                release(generation);
                running.remove(i);
            } else {
                i++;
            }
        }
        if (failure != null) {
            throw failure;
        }
    }

    private static void addColumns(final Generation generation, final StepBuffer buffer) {
        for (int b = 0; b < generation.branches.size(); b++) {
            final BranchState branch = generation.branches.get(b);
            // Of merged branches one row says it all.
            final boolean output = b == 0 || generation.request().combination().isPresent();
            final int column = buffer.token(branch.next, branch.position++, branch.sequence, output);
            branch.mark(buffer, column, branch.column, generation.mergeWeight(branch, branch.column));
            branch.column++;
            if (b == 0) {
                generation.column = column;
            }
        }
        generation.merged += generation.request().merge().isPresent() ? 1 : 0;
    }

    private void end(final Generation generation, final FinishReason reason) {
        generation.finish(reason);
        release(generation);
    }

    private void release(final Generation generation) {
        usedCells -= cellsOf(generation);
        for (final BranchState branch : generation.branches) {
            context.remove(branch.sequence, 0);
            if (!branch.edits.isEmpty()) {
                context.interventions(branch.sequence, List.of());
            }
            sequences.clear(branch.sequence);
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
