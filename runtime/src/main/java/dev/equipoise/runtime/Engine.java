package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.LifetimeException;
import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.gguf.GgmlType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

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
    private final Requests requests;
    private boolean closed;

    private Engine(final Model model, final EngineOptions options, final int cells, final ContextHandle context) {
        this.model = model;
        this.options = options;
        this.cells = cells;
        this.context = context;
        this.admission = new Admission(cells, options.maxBranches());
        this.requests = new Requests(model, options, context, admission, cells);
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
        if (options.kvType() == KvType.Q8_0 && model.headSize() % GgmlType.Q8_0.blockSize() != 0) {
            throw new BadInputException(
                    "a cache in blocks of " + GgmlType.Q8_0.blockSize() + " elements for heads of "
                            + model.headSize(),
                    "kvType q8_0, " + model.file(),
                    "use f16 or f32 with this model");
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
                capture,
                switch (options.drawIn()) {
                    case HOST -> 0;
                    case GRAPH -> 1;
                    case AUTO -> -1;
                });
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
        return requests.submit(PreparedRequest.of(model, options, request), listener, false);
    }

    /**
     * Takes a request in with all the cells that it may ever need, so that it ends by itself.
     *
     * @throws BadInputException if there is no room for it ({@link #hasRoom}), with the numbers
     */
    public Generation submit(final PreparedRequest prepared, final TokenListener listener) {
        requireOpen();
        return requests.submit(prepared, listener, true);
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
        return requests.canAdvance();
    }

    /**
     * Advances every request that is generating by one token, and every search by one step. Prompts enter the cache in
     * the order in which they were submitted, at most a micro-batch of columns in a step, unless nothing is generating
     * yet: then until something is.
     *
     * @return whether there is more to do, now or after a pause
     */
    public boolean step() {
        requireOpen();
        return requests.step();
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
        final PreparedRequest prepared = PreparedRequest.forLogits(model, options, request);
        final List<TraceEntry> trace = new ArrayList<>();
        final int column = requests.decodeFirst(prepared, generation -> trace.addAll(generation.traceOfRow()));
        return Readings.logits(
                context, prepared.states().getFirst(), column, model.info().vocabulary(), trace);
    }

    /**
     * The row behind the prompt of each of a request's branches, as it is: nothing combines them. All prompts are read
     * together, and what they have in common once. Other requests stay where they are.
     *
     * @return in the order of the branches; of merged ones the first has both's
     */
    public List<NextLogits> rows(final Request request) {
        requireOpen();
        final List<NextLogits> rows = new ArrayList<>();
        requests.decodeFirst(
                PreparedRequest.forRows(model, options, request), generation -> rows.addAll(generation.readRows()));
        return rows;
    }

    /** As {@link #logProbabilities(Request, List)}, of a branch alone. */
    public List<double[]> logProbabilities(final Branch branch, final List<int[]> continuations) {
        return logProbabilities(Request.plain(branch), continuations);
    }

    /**
     * How likely token sequences are as a request's answer, by the rows that its branches make token by token: gate,
     * coefficients, cut-off and shifts of logits are those of generating it, and the tokens' indices count from 1. What
     * only says how a token is drawn from such a row (temperature, top-k and the like) has no effect. The prompts are
     * decoded once, and all sequences together in one more decode over their cells, if they have no more tokens to
     * read, times the rows for each, than the engine has branches, and there are free branches and cells for them; in
     * several decodes otherwise. Other requests stay where they are.
     *
     * @param request whose answer it would be; all its branches are read at every token, whatever a gate says
     * @param continuations tokens, at least one each
     * @return for each continuation the natural logarithm of each token's probability, given all before it; -infinity
     *     where a cut-off takes the token
     * @throws BadInputException if a continuation is empty, has a token that the model does not, or does not fit into
     *     what is free; for penalties and a grammar, which make rows differ by what was drawn before
     */
    public List<double[]> logProbabilities(final Request request, final List<int[]> continuations) {
        return continued(request, continuations).logProbabilities();
    }

    /**
     * What {@link #continued} finds.
     *
     * @param logProbabilities for each continuation, of each of its tokens
     * @param trace what acted on the request's prompts and on the continuations' tokens
     */
    public record Continued(List<double[]> logProbabilities, List<TraceEntry> trace) {
        public Continued {
            logProbabilities = List.copyOf(logProbabilities);
            trace = List.copyOf(trace);
        }
    }

    /** As {@link #logProbabilities(Request, List)}, with what acted. */
    public Continued continued(final Request request, final List<int[]> continuations) {
        requireOpen();
        if (request.sampling().isPenalised() || request.sampling().grammar().isPresent()) {
            throw new BadInputException(
                    "likelihoods under " + (request.sampling().isPenalised() ? "penalties" : "a grammar"),
                    "strategy " + request.strategy().name(),
                    "leave it out of the sampling: it is about drawing tokens, and none is drawn");
        }
        for (final int[] continuation : continuations) {
            if (continuation.length == 0
                    || Arrays.stream(continuation).anyMatch(id -> id < 0 || id >= model.info().vocabulary())) {
                throw new BadInputException(
                        continuation.length == 0 ? "an empty continuation" : "a token that the model does not have",
                        Arrays.toString(continuation),
                        "give tokens 0.." + (model.info().vocabulary() - 1));
            }
        }
        final PreparedRequest prepared = PreparedRequest.forRows(model, options, request);
        final List<double[]> found = new ArrayList<>();
        final List<TraceEntry> trace = new ArrayList<>();
        final Combining combining =
                new Combining(request, Samplers.shifts(model, request.sampling()), model.info().vocabulary());
        requests.decodeFirst(prepared, generation -> {
            // What acts on generated tokens alone is decided when the prompt has been read, which is now.
            if (prepared.conditions().arePending()) {
                prepared.conditions().decide(context, generation.branches.getFirst());
                prepared.shut();
            }
            found.addAll(new Continuations(context, admission, generation, combining, options.maxBranches())
                    .score(continuations, model.info().vocabulary()));
            trace.addAll(generation.traceOfRow());
        });
        return new Continued(found, trace);
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
        requests.decodeFirst(PreparedRequest.plain(model, options, whole.head(column + 1), Request.plain(prompt)));
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
        final PreparedRequest prepared = PreparedRequest.of(model, options, Request.plain(branch));
        final Observation[] seen = new Observation[1];
        requests.decodeFirst(prepared, column -> seen[0] =
                Readings.of(context, prepared.states().getFirst(), branch, model.info().width()));
        return seen[0];
    }

    /**
     * What would be done for a request. Nothing is decoded; media are encoded. Of a model with blocks on a GPU the next
     * step builds its graph anew.
     */
    public PlanDescription describe(final Request request) {
        requireOpen();
        final PreparedRequest read = PreparedRequest.read(model, options, request, Purpose.TOKENS);
        final List<BranchState> branches = read.states();
        final List<PlanDescription.BranchPlan> plans = new ArrayList<>();
        for (int b = 0; b < branches.size(); b++) {
            final EncodedPrompt prompt = branches.get(b).prompt;
            plans.add(new PlanDescription.BranchPlan(
                    request.branches().get(b).name(), prompt.spans(), prompt.size(), branches.get(b).sharedWithBase));
        }
        return new PlanDescription(
                plans,
                PlanDescription.Draw.of(request, options.drawIn(), context.drawsInGraph()),
                // Branches that are read again do not come along.
                request.rechoice().isPresent() ? 0 : options.gatePatience(model),
                PlanDescription.Division.of(
                        context,
                        request,
                        branches,
                        read.conditions().reachPrompt()
                                ? read.looking().states().getFirst().edits
                                : List.of(),
                        model.info().layers()));
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

    /** Rows of logits so far that left the graph's memory for the host's eyes. */
    long rowsRead() {
        return context.rowsRead();
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
        try {
            requests.close();
        } finally {
            context.close();
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
