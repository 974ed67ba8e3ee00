package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.runtime.TokenLogProbabilities.Candidate;
import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.SamplerHandle;
import dev.equipoise.runtime.ffm.StepBuffer;
import dev.equipoise.runtime.intervention.Intervention;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A request on its way through an engine. Everything but {@link #cancel} and {@link #isDone} belongs to the engine's
 * thread.
 */
public final class Generation {
    private static final double NANOS_PER_MILLI = 1e6;
    private static final int MAX_TOKEN_BYTES = 256;

    private final Request request;
    private final ContextHandle context;
    private final TokenListener listener;
    private final long arrival;
    private final AnswerText text;
    private final List<Integer> tokens = new ArrayList<>();
    private final List<TokenLogProbabilities> logProbabilities = new ArrayList<>();
    private final byte[] piece = new byte[MAX_TOKEN_BYTES];
    private final float[] coefficients;

    /** The branches' prompts; filled by the engine. */
    final List<BranchState> branches;
    /** The chain, or null for the best token. */
    SamplerHandle sampler;
    /** Column of the base branch in the step being prepared. */
    int column;
    /** Pick in the step being prepared. */
    int pick;

    private volatile boolean cancelled;
    private volatile Answer answer;
    private long firstToken;
    private long lastToken;
    private int grown;
    private int combined;
    private double deltaSum;
    /** Columns in which two branches were merged. */
    int merged;

    Generation(
            final Request request,
            final ContextHandle context,
            final TokenListener listener,
            final long arrival,
            final List<BranchState> branches) {
        this.request = request;
        this.context = context;
        this.listener = listener;
        this.arrival = arrival;
        this.branches = branches;
        this.text = new AnswerText(request.limits().stop());
        this.coefficients = new float[branches.size()];
    }

    /** What was asked. */
    public Request request() {
        return request;
    }

    /** Asks it to end at the next step; may be called from any thread, any number of times. */
    public void cancel() {
        cancelled = true;
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

    /** Cells taken for tokens decoded beyond the prompts. */
    int generatedCells() {
        return grown * branches.size();
    }

    /** Notes that every branch takes one more cell. */
    void grow() {
        grown++;
    }

    boolean hasTokens() {
        return !tokens.isEmpty();
    }

    boolean isCancelled() {
        return cancelled;
    }

    /** The first branch's weight in a merge, at one of its columns; of no consequence elsewhere. */
    float mergeWeight(final BranchState branch, final int column) {
        if (request.merge().isEmpty() || branch != branches.getFirst()) {
            return 0;
        }
        final boolean given = column < branch.prompt.size();
        return (float) request.merge().get().weight(given ? branch.prompt.modality(column) : Modality.TEXT);
    }

    /** Adds this request's group and pick to a step whose columns are there. */
    void ask(final StepBuffer buffer) {
        final int group = addGroup(buffer);
        pick = buffer.pick(sampler, column, group, request.logProbabilities());
    }

    /** Adds this request's group to a step; -1 if its base row stands as it is. */
    private int addGroup(final StepBuffer buffer) {
        if (request.combination().isEmpty()) {
            return -1;
        }
        final Combination combination = request.combination().get();
        combination.coefficients().at(tokens.size() + 1, coefficients);
        final int group = buffer.group(combination.logProbabilities(), (float) combination.plausibility());
        for (int b = 0; b < coefficients.length; b++) {
            buffer.member(branches.get(b).sequence, coefficients[b]);
        }
        return group;
    }

    /** Takes the token that a step drew; true when the generation has ended with it. */
    boolean take(final StepBuffer buffer) {
        requireToken(buffer);
        if (request.combination().isPresent()) {
            combined++;
            deltaSum += buffer.deltaNorm(pick);
        }
        lastToken = System.nanoTime();
        if (firstToken == 0) {
            firstToken = lastToken;
        }
        if (buffer.ends(pick)) {
            finish(FinishReason.STOP);
            return true;
        }
        final int token = buffer.tokenOf(pick);
        tokens.add(token);
        branches.forEach(branch -> branch.next = token);
        if (request.logProbabilities() > 0) {
            logProbabilities.add(competition(buffer, token));
        }
        final boolean stopped = text.append(piece, buffer.bytes(pick, piece, 0));
        if (stopped || tokens.size() == request.limits().maxTokens()) {
            listener.onToken(token, text.release(false));
            finish(stopped ? FinishReason.STOP : FinishReason.LENGTH);
            return true;
        }
        listener.onToken(token, text.release(false));
        return false;
    }

    private void requireToken(final StepBuffer buffer) {
        if (buffer.succeeded(pick)) {
            return;
        }
        final String where = "strategy " + request.strategy().name() + ", token " + (tokens.size() + 1);
        if (buffer.exhausted(pick)) {
            throw new BadInputException(
                    "grammar and plausibility cut-off together leave no token",
                    where,
                    "lower beta, or loosen the grammar");
        }
        throw new InternalException("logits that are not finite", where, "check the model's weights and coefficients");
    }

    private TokenLogProbabilities competition(final StepBuffer buffer, final int token) {
        final List<Candidate> top = new ArrayList<>();
        for (int k = 0; k < request.logProbabilities() && buffer.topToken(pick, k) >= 0; k++) {
            top.add(new Candidate(buffer.topToken(pick, k), buffer.topLogProbability(pick, k)));
        }
        return new TokenLogProbabilities(token, buffer.logProbability(pick), top);
    }

    /** Ends the generation with what there is. */
    void finish(final FinishReason reason) {
        text.finish();
        final String rest = text.release(true);
        if (!rest.isEmpty() && !tokens.isEmpty()) {
            listener.onToken(tokens.getLast(), rest);
        }
        final double decodeMillis = (lastToken - firstToken) / NANOS_PER_MILLI;
        final boolean rated = tokens.size() > 1 && decodeMillis > 0;
        answer = new Answer(
                text.toString(),
                tokens,
                reason,
                new Timings(
                        firstToken == 0 ? 0 : (firstToken - arrival) / NANOS_PER_MILLI,
                        decodeMillis,
                        rated ? (tokens.size() - 1) * 1000 / decodeMillis : 0),
                request.strategy(),
                trace(),
                logProbabilities);
    }

    private List<TraceEntry> trace() {
        final List<TraceEntry> trace = new ArrayList<>();
        for (int b = 0; b < branches.size(); b++) {
            final Branch branch = request.branches().get(b);
            final List<Intervention> interventions = branch.interventions();
            if (!interventions.isEmpty()) {
                final List<ContextHandle.Done> done = context.done(branches.get(b).sequence, interventions.size());
                for (int k = 0; k < interventions.size(); k++) {
                    trace.add(entry(b, k, done.get(k)));
                }
            }
        }
        request.merge()
                .ifPresent(merge -> trace.add(new TraceEntry("merge", List.of(merge.layer()), merged, 0)));
        if (request.combination().isPresent()) {
            final double mean = combined == 0 ? 0 : deltaSum / combined;
            trace.add(new TraceEntry("contrast:" + request.strategy().name(), List.of(), combined, mean));
        }
        return trace;
    }

    private TraceEntry entry(final int branch, final int index, final ContextHandle.Done done) {
        final Branch of = request.branches().get(branch);
        final Intervention intervention = of.interventions().get(index);
        return new TraceEntry(
                (branch == 0 ? "" : of.name() + "/") + intervention.name(),
                List.copyOf(intervention.layers()),
                Math.toIntExact(done.columns()),
                done.applications() == 0 ? 0 : done.delta() / done.applications(),
                intervention instanceof Intervention.ReadAttention read
                        ? Optional.of(Readings.attention(context, branches.get(branch), index, read))
                        : Optional.empty());
    }

    /** Where one branch stands. */
    static final class BranchState {
        final EncodedPrompt prompt;
        /** Leading columns whose cells are the base branch's. */
        final int shared;
        /** What acts on which column. */
        final ActiveColumns active;
        /** What acts, as the native side takes it. */
        final List<ContextHandle.Edit> edits;
        /** Its sequence in the KV cache. */
        int sequence;
        /** Columns that are in the cache. */
        int done;
        /** The token to decode next. */
        int next;
        /** Its position. */
        int position;
        /** Its number among the branch's columns. */
        int column;

        BranchState(
                final EncodedPrompt prompt,
                final int shared,
                final ActiveColumns active,
                final List<ContextHandle.Edit> edits) {
            this.prompt = prompt;
            this.shared = shared;
            this.active = active;
            this.edits = edits;
            final int last = prompt.size() - 1;
            this.column = last;
            this.next = prompt.token(last);
            this.position = prompt.position(last);
        }

        /** Tells a step what acts on one of its columns. */
        void mark(final StepBuffer buffer, final int bufferColumn, final int column, final float mergeWeight) {
            final int label = column < prompt.size()
                    ? InterventionLowering.label(prompt, column)
                    : InterventionLowering.generatedLabel();
            buffer.mark(bufferColumn, active.at(column), label, mergeWeight, column);
        }

        /** Columns before the last, which is decoded by the first step. */
        int prefill() {
            return prompt.size() - 1;
        }
    }
}
