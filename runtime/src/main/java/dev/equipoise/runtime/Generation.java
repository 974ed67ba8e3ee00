package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.TokenLogProbabilities.Candidate;
import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.SamplerHandle;
import dev.equipoise.runtime.ffm.StepBuffer;
import dev.equipoise.runtime.search.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;

/**
 * A request on its way through an engine. Everything but {@link #cancel} and {@link #isDone} belongs to the engine's
 * thread.
 */
public final class Generation {
    private static final double NANOS_PER_MILLI = 1e6;
    private static final int MAX_TOKEN_BYTES = 256;

    // Bytes of answer that a token has room for; longer ones make the buffer grow.
    private static final int TOKEN_BYTES = 8;

    private final Request request;
    private final ContextHandle context;
    private final TokenListener listener;
    private final long arrival;
    private final AnswerText text;
    private final int[] tokens;
    private int count;
    private final List<TokenLogProbabilities> logProbabilities = new ArrayList<>();
    private final byte[] piece = new byte[MAX_TOKEN_BYTES];
    private final Rechoice rechoice;
    private final boolean readsWhole;
    private final PreparedRequest prepared;

    /** The branches' prompts; filled by the engine. */
    final List<BranchState> branches;
    /** How many of them, the first, make the base row. */
    final int base;
    /** The chain, or null for the best token. */
    SamplerHandle sampler;
    /** The row that its next token is drawn from. */
    final NextRow next;
    /** Whether the first decode of the step being prepared has the rows of all its branches. */
    boolean combines;
    /** Whether the step being prepared is to advance it. */
    boolean advancing;
    /** Whether the prompts of all branches but the base are still to come: none of them was needed yet. */
    boolean deferred;
    /** Whether its first step reads whole prompts: {@link WholeReading#readsPrompt}. */
    boolean wholePrompts;
    /** Whether the base row of its next token was read and kept, and the other branches are to join it. */
    boolean joining;
    /** The request whose conditions this one is there to decide; null for all others. */
    Generation behalf;

    private volatile boolean cancelled;
    private volatile boolean paused;
    private volatile Answer answer;
    private List<NextLogits> rows;
    private Observation observation;
    private long firstToken;
    private long lastToken;
    private int grown;
    /** Cells of the prompts; filled by the engine. */
    int promptCells;
    /** Whether its cells and sequences are others' again. */
    boolean released;
    /** How its answer is searched for; null where its tokens are drawn. */
    final Searching search;

    /** A generation of at most {@code room} tokens. */
    Generation(
            final PreparedRequest from, final ContextHandle context, final TokenListener listener, final int room) {
        this.request = from.request();
        this.prepared = from;
        this.context = context;
        this.listener = listener;
        this.arrival = from.arrival();
        this.branches = from.states();
        this.tokens = new int[Math.min(from.maxTokens(), room)];
        this.text = new AnswerText(request.limits().stop(), TOKEN_BYTES * tokens.length);
        this.base = request.baseBranches();
        // Where each row is wanted as it is, nothing combines them.
        final boolean apart = from.purpose() == Purpose.ROWS;
        this.rechoice = apart ? null : request.rechoice().orElse(null);
        this.readsWhole = rechoice != null && Rechoice.readsWhole(request.branches());
        this.search = from.search().map(how -> new Searching(from, how, tokens.length)).orElse(null);
        this.next = new NextRow(request, branches, apart, () -> count);
        this.deferred = next.startsWithBase();
        this.wholePrompts = request.branches().stream().anyMatch(WholeReading::readsPrompt);
    }

    /** What was asked. */
    public Request request() {
        return request;
    }

    /** Asks it to end at the next step; may be called from any thread, any number of times. */
    public void cancel() {
        cancelled = true;
    }

    /**
     * Lets it rest: it keeps its place and its cells, and steps go on without it until {@link #resume}. May be called
     * from any thread, and by its listener; a step in progress may still bring a token.
     */
    public void pause() {
        paused = true;
    }

    /** Ends a pause; may be called from any thread. */
    public void resume() {
        paused = false;
    }

    /** True when there is an answer; may be called from any thread. */
    public boolean isDone() {
        return answer != null;
    }

    /**
     * The answer.
     *
     * @throws IllegalStateException before {@link #isDone}
     */
    public Answer answer() {
        if (answer == null) {
            throw new IllegalStateException("the generation goes on: call Engine.step until it is done");
        }
        return answer;
    }

    /**
     * The row from which the first token would be drawn.
     *
     * @throws IllegalStateException unless it was prepared for that and has ended by itself
     */
    public NextLogits logits() {
        return requireRead(rows).getFirst();
    }

    /**
     * The rows behind the prompts of its branches, in their order; of merged ones the first has both's.
     *
     * @throws IllegalStateException unless it was prepared for that and has ended by itself
     */
    public List<NextLogits> rows() {
        return requireRead(rows);
    }

    /**
     * What its interventions that only look saw of its prompt.
     *
     * @throws IllegalStateException unless it was prepared for that and has ended by itself
     */
    public Observation observation() {
        return requireRead(observation);
    }

    private static <T> T requireRead(final T value) {
        if (value == null) {
            throw new IllegalStateException("nothing was read: prepare the request for it, and step until it is done");
        }
        return value;
    }

    /** Cells taken for tokens decoded beyond the prompts. */
    int generatedCells() {
        return grown * branches.size();
    }

    /** Notes that every branch takes more cells. */
    void grow(final int columns) {
        grown += columns;
    }

    /** Whether its next column has a cell on every branch. */
    boolean hasCell() {
        return grown >= count || search != null;
    }

    /** Whether it searches, and its prompt has been read. */
    boolean isSearching() {
        return search != null && firstToken != 0;
    }

    boolean isPaused() {
        return behalf == null ? paused : behalf.paused;
    }

    boolean isCancelled() {
        return behalf == null ? cancelled : behalf.cancelled;
    }

    /** The first branch's weight in a merge, at one of its columns; of no consequence elsewhere. */
    float mergeWeight(final BranchState branch, final int column) {
        if (request.merge().isEmpty() || branch != branches.getFirst()) {
            return 0;
        }
        final boolean given = column < branch.prompt.size();
        return (float) request.merge().get().weight(given ? branch.prompt.modality(column) : Modality.TEXT);
    }

    /** Its branches without those that end in another: of merged ones the first stands for both. */
    List<BranchState> withRows() {
        return IntStream.range(0, branches.size())
                .filter(b -> b == 0 || b >= base)
                .mapToObj(branches::get)
                .toList();
    }

    /** The token at a column of one of its branches: of the prompt, or generated. */
    int token(final BranchState branch, final int at) {
        return at < branch.prompt.size() ? branch.prompt.token(at) : tokens[at - branch.prompt.size()];
    }

    /**
     * Columns of a branch that the next step brings into its cache: 1, or more where a gate left it behind or the end
     * of its prompt is still to come.
     */
    int missing(final BranchState branch) {
        return branch.missing(branch.prompt.size() + count);
    }

    /** Columns of a branch that can come before the step that brings the next token, which brings the last one. */
    int before(final BranchState branch) {
        return branch.prompt.size() + count - 1;
    }

    /** Branches whose prompts come in pieces. */
    List<BranchState> inPieces() {
        return IntStream.range(0, branches.size())
                .filter(b -> !WholeReading.readsPrompt(request.branches().get(b)))
                .mapToObj(branches::get)
                .toList();
    }

    /** Columns that the next step must have room for. */
    int columns() {
        if (isSearching()) {
            return search.columns();
        }
        if (next.isGated() || wholePrompts) {
            return branches.size();
        }
        int columns = 0;
        for (int b = 0; b < branches.size(); b++) {
            columns += missing(branches.get(b));
        }
        return columns;
    }

    /** Columns that its first step reads in a decode of its own. */
    int wholeColumns() {
        int columns = 0;
        for (int b = 0; wholePrompts && b < branches.size(); b++) {
            columns += missing(branches.get(b));
        }
        return columns;
    }

    /** Whether the other branches are read anew for every token that takes them. */
    boolean isRechosen() {
        return rechoice != null;
    }

    /** Whether each of the branches that are read anew is read in one micro-batch of its own. */
    boolean readsWhole() {
        return readsWhole;
    }

    /** Chooses the tokens that the other branches miss at the next one, by what the base has just read. */
    void rechoose() {
        final List<Rechoice.Taken> taken =
                rechoice.choice().choose(Readings.seen(context, branches.getFirst(), request, count));
        if (taken.size() != branches.size()) {
            throw new BadInputException(
                    "a choice of tokens for " + taken.size() + " branches of " + branches.size(),
                    next.where(),
                    "give columns for each branch, base first");
        }
        for (int b = base; b < branches.size(); b++) {
            final OptionalInt chosen = rechoice.chosen().get(b);
            if (chosen.isPresent()) {
                branches.get(b).choose(
                        context,
                        request.branches().get(b),
                        chosen.getAsInt(),
                        taken.get(b),
                        count,
                        prepared.model().info());
            }
        }
    }

    boolean isMerged() {
        return request.merge().isPresent();
    }

    /** Takes the token that a step drew; true when the generation has ended with it. */
    boolean take(final StepBuffer buffer) {
        next.requireWeights(buffer);
        if (prepared.purpose() != Purpose.TOKENS) {
            read();
            return true;
        }
        if (search != null) {
            return takeSearched();
        }
        next.requireToken(buffer);
        next.note(buffer);
        noteToken();
        if (buffer.ends(next.pick())) {
            finish(FinishReason.STOP);
            return true;
        }
        final int token = buffer.tokenOf(next.pick());
        tokens[count++] = token;
        if (request.logProbabilities() > 0) {
            logProbabilities.add(competition(buffer, token));
        }
        final boolean stopped = text.append(piece, buffer.bytes(next.pick(), piece, 0));
        listener.onToken(token, listener.hearsText() ? text.release(false) : "");
        if (stopped || count == tokens.length) {
            finish(stopped ? FinishReason.STOP : FinishReason.LENGTH);
            return true;
        }
        return false;
    }

    private void noteToken() {
        if (prepared.conditions().arePending()) {
            // The step that brought the first token brought the prompt's last column.
            decide(branches.getFirst());
        }
        lastToken = System.nanoTime();
        if (firstToken == 0) {
            firstToken = lastToken;
        }
    }

    private boolean takeSearched() {
        if (isSearching()) {
            search.read();
        } else {
            search.readPrompt(next.column);
        }
        noteToken();
        if (!search.isDone()) {
            return false;
        }
        finish(search.isWhole() ? FinishReason.STOP : FinishReason.LENGTH);
        return true;
    }

    // The tokens of a search are known when it ends.
    private boolean takeAnswer() {
        final Path answer = search.answer();
        while (count < answer.length()) {
            final Path next = answer.head(count + 1);
            final int token = next.token();
            tokens[count++] = token;
            if (request.logProbabilities() > 0) {
                logProbabilities.add(next.competition());
            }
            final boolean stopped = text.append(model().handle().bytes(token, false));
            listener.onToken(token, listener.hearsText() ? text.release(false) : "");
            if (stopped) {
                return true;
            }
        }
        return false;
    }

    // What is wanted of the prompt, all of which has now been read. The token is of no consequence, if there is one.
    private void read() {
        final BranchState base = branches.getFirst();
        final ModelInfo model = prepared.model().info();
        switch (prepared.purpose()) {
            case LOGITS ->
                rows = List.of(Readings.logits(context, base, next.column, model.vocabulary(), traceOfRow()));
            case ROWS -> rows = readRows();
            case OBSERVATION ->
                observation = Readings.of(context, base, request.branches().getFirst(), model.width());
            default -> {
                behalf.decide(base);
                return;
            }
        }
        finish(FinishReason.STOP);
    }

    /** The rows behind the prompts of {@link #withRows}, of the decode that was the last. */
    List<NextLogits> readRows() {
        final List<TraceEntry> trace = traceOfRow();
        final int vocabulary = prepared.model().info().vocabulary();
        return withRows().stream()
                .map(branch -> Readings.logits(context, branch, branch.column, vocabulary, trace))
                .toList();
    }

    /** What acted on the prompts, and on the row behind them, of the decode that was the last. */
    List<TraceEntry> traceOfRow() {
        return next.tracedOfStep(new Tracing(context, prepared), context.buffer());
    }

    private void decide(final BranchState seen) {
        prepared.conditions().decide(context, seen);
        prepared.shut();
    }

    /** Where its cells are. */
    ContextHandle context() {
        return context;
    }

    /** What it runs on. */
    Model model() {
        return prepared.model();
    }

    private TokenLogProbabilities competition(final StepBuffer buffer, final int token) {
        final List<Candidate> top = new ArrayList<>();
        for (int k = 0; k < request.logProbabilities() && buffer.topToken(next.pick(), k) >= 0; k++) {
            top.add(new Candidate(buffer.topToken(next.pick(), k), buffer.topLogProbability(next.pick(), k)));
        }
        return new TokenLogProbabilities(token, buffer.logProbability(next.pick()), top);
    }

    /** Ends the generation with what there is; it has ended even where its listener throws, which is passed on. */
    void finish(final FinishReason reason) {
        FinishReason why = reason;
        try {
            if (isSearching() && count == 0 && takeAnswer()) {
                why = FinishReason.STOP;
            }
            text.finish();
            final String rest = listener.hearsText() ? text.release(true) : "";
            if (!rest.isEmpty() && count > 0) {
                listener.onRest(tokens[count - 1], rest);
            }
        } finally {
            end(why);
        }
    }

    private void end(final FinishReason reason) {
        final double decodeMillis = (lastToken - firstToken) / NANOS_PER_MILLI;
        final boolean rated = count > 1 && decodeMillis > 0;
        // What a search began with may be no part of its answer.
        final long first = search == null ? firstToken : lastToken;
        if (search != null && answer == null) {
            search.done().forEach(branches.getFirst()::addDone);
        }
        final List<TraceEntry> trace = new ArrayList<>(next.traced(new Tracing(context, prepared)));
        prepared.search().ifPresent(how -> trace.addAll(search.trace(how)));
        answer = new Answer(
                text.toString(),
                Arrays.stream(tokens, 0, count).boxed().toList(),
                reason,
                new Timings(
                        first == 0 ? 0 : (first - arrival) / NANOS_PER_MILLI,
                        decodeMillis,
                        rated ? (count - 1) * 1000 / decodeMillis : Double.NaN),
                request.strategy(),
                trace,
                logProbabilities);
    }
}
