package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.ffm.NativeEdit;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.search.BeamSearch;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A request that was read for a model and found to fit into an engine: tokenised, its media encoded, its edits
 * resolved. Made on any thread, so that an engine's thread need not do it; used once.
 */
public final class PreparedRequest {
    private final Request request;
    private final long arrival;
    private final Model model;
    private final List<BranchState> states;
    private final Conditions conditions;
    private final Purpose purpose;
    private final int promptCells;
    private boolean taken;

    private PreparedRequest(
            final Request request,
            final long arrival,
            final Model model,
            final List<BranchState> states,
            final Conditions conditions,
            final Purpose purpose) {
        this.conditions = conditions;
        this.purpose = purpose;
        this.request = request;
        this.arrival = arrival;
        this.model = model;
        this.states = states;
        int needed = 0;
        for (final BranchState branch : states) {
            needed += branch.prompt.size() - branch.shared;
        }
        this.promptCells = needed;
    }

    /**
     * Reads a request. Thread-safe.
     *
     * @param options of the engine that will run it
     * @throws BadInputException if a prompt is empty or ends with a medium, an edit does not fit model or prompt, or an
     *     engine with these options could never take the prompts in, with the numbers
     */
    public static PreparedRequest of(final Model model, final EngineOptions options, final Request request) {
        return of(model, options, request, Purpose.TOKENS);
    }

    /**
     * As {@link #of}, of a request that ends with its prompt: {@link Generation#logits} then has the row from which its
     * first token would be drawn. It needs no cells for tokens.
     */
    public static PreparedRequest forLogits(final Model model, final EngineOptions options, final Request request) {
        return of(model, options, request, Purpose.LOGITS);
    }

    /**
     * As {@link #forLogits}; {@link Generation#rows} then has the row of each branch as it is, whatever the request
     * says of gate and combination.
     *
     * @throws BadInputException as {@link #of}, and where branches miss tokens that are chosen by the row before
     */
    public static PreparedRequest forRows(final Model model, final EngineOptions options, final Request request) {
        return of(model, options, request, Purpose.ROWS);
    }

    /**
     * As {@link #of}, of a branch alone that ends with its prompt: {@link Generation#observation} then has what its
     * interventions that only look saw. It needs no cells for tokens.
     */
    public static PreparedRequest forObservation(final Model model, final EngineOptions options, final Branch branch) {
        return of(model, options, Request.plain(branch), Purpose.OBSERVATION);
    }

    private static PreparedRequest of(
            final Model model, final EngineOptions options, final Request request, final Purpose purpose) {
        final PreparedRequest made = read(model, options, request, purpose);
        made.requireRoom(options);
        return made;
    }

    /** As {@link #of}, whether or not there will be room for it. */
    static PreparedRequest read(
            final Model model, final EngineOptions options, final Request request, final Purpose purpose) {
        final long arrival = System.nanoTime();
        if (purpose == Purpose.ROWS && request.rechoice().isPresent()) {
            throw new BadInputException(
                    "rows of branches that are read anew for every token, as their tokens are chosen",
                    "strategy " + request.strategy().name(),
                    "ask for the row that they combine to, or let the choice stay (\"refresh\": \"request\")");
        }
        final Conditions conditions = Conditions.of(request.branches(), model.info());
        final List<BranchState> branches = new ArrayList<>();
        for (final Branch asked : request.branches()) {
            // What reaches the prompt is decided in a reading of its own, before the prompt is read for good.
            final boolean reads = branches.isEmpty() && !conditions.reachPrompt();
            final Branch looking = purpose == Purpose.TOKENS && request.search().isPresent()
                    ? Searching.reading(asked, request.search().get(), model.info().layers())
                    : asked;
            final Branch branch = reads ? conditions.reading(looking) : looking;
            final EncodedPrompt prompt =
                    model.encode(branch.prompt()).as(branch.interventions());
            if (prompt.size() == 0 || prompt.token(prompt.size() - 1) < 0) {
                throw new BadInputException(
                        prompt.size() == 0 ? "empty prompt" : "prompt that ends with a medium",
                        "branch " + branch.name(),
                        "end it with a question");
            }
            // A search reads the last token of an answer too, as a candidate.
            final int read = request.limits().maxTokens() + (request.search().isPresent() ? 1 : 0);
            final ActiveColumns active = ActiveColumns.of(branch, prompt, read);
            final List<NativeEdit> edits =
                    InterventionLowering.edits(branch, prompt, active, model.info());
            final int number = branches.size();
            final boolean chosen = request.rechoice().flatMap(it -> it.chosenOf(number)).isPresent();
            // What one reading leaves of shared cells that a sliding window has passed is not enough for the next.
            final boolean shares = !(chosen && model.hasSlidingWindow());
            final BranchState state = new BranchState(prompt, active, edits, branches, shares);
            // What comes before all tokens that may be chosen is the same under every choice.
            request.rechoice()
                    .flatMap(rechoice -> rechoice.chosenOf(number))
                    .ifPresent(k -> state.own = active.first(k));
            branches.add(state);
            if (request.merge().isPresent() && branches.size() == 2) {
                // From where they differ on, their cells hold what both have read, and are of no use to another branch.
                branches.getFirst().own = branches.getLast().shared;
                branches.getLast().own = branches.getLast().shared;
            }
        }
        final PreparedRequest made = new PreparedRequest(request, arrival, model, branches, conditions, purpose);
        made.requireMergeable(options);
        made.requireSearchable();
        made.shut();
        return made;
    }

    /** The conditions that some of its interventions depend on. */
    Conditions conditions() {
        return conditions;
    }

    /** Keeps from acting what conditions, as far as they are decided, do not let act. */
    void shut() {
        for (int b = 0; b < states.size(); b++) {
            states.get(b).shut = conditions.shut(request.branches().get(b));
        }
    }

    /** The reading of the first branch's prompt that conditions are decided from, where they reach the prompt. */
    PreparedRequest looking() {
        final EncodedPrompt prompt = states.getFirst().prompt;
        final Branch branch = conditions.looking(request.branches().getFirst());
        final ActiveColumns active = ActiveColumns.of(branch, prompt, request.limits().maxTokens());
        final BranchState state = new BranchState(
                prompt, active, InterventionLowering.edits(branch, prompt, active, model.info()), List.of(), true);
        final Request look = new Request(
                List.of(branch),
                Optional.empty(),
                Sampling.greedy(),
                request.limits(),
                0,
                request.strategy());
        return new PreparedRequest(
                look,
                arrival,
                model,
                List.of(state),
                Conditions.of(look.branches(), model.info()),
                Purpose.CONDITIONS);
    }

    /** A prompt as it is, for what an engine asks itself. */
    static PreparedRequest plain(final Model model, final EngineOptions options, final EncodedPrompt prompt,
            final Request request) {
        final List<BranchState> branches =
                List.of(new BranchState(prompt, ActiveColumns.none(prompt), List.of(), List.of(), true));
        final PreparedRequest made = new PreparedRequest(
                request, System.nanoTime(), model, branches, Conditions.of(List.of(), model.info()), Purpose.LOGITS);
        made.requireRoom(options);
        return made;
    }

    /** What was asked. */
    public Request request() {
        return request;
    }

    /** How many branches it has, a search's beams with their candidates among them: sequences that it takes. */
    public int branches() {
        return states.size() + search().map(BeamSearch::sequences).orElse(0);
    }

    /** How its answer is searched for, if it is. */
    Optional<BeamSearch> search() {
        return purpose == Purpose.TOKENS ? request.search() : Optional.empty();
    }

    /** KV cells of the prompts alone. */
    public int promptCells() {
        return promptCells;
    }

    /**
     * KV cells of the prompts and of all tokens that the request may generate, on every branch; the last token is never
     * read. Counted as a long, since limits may be as large as an int.
     */
    public long cells() {
        return promptCells
                + search().map(search -> search.cells(maxTokens())).orElse((maxTokens() - 1L) * states.size());
    }

    /** Most tokens that it draws. */
    int maxTokens() {
        return purpose == Purpose.TOKENS ? request.limits().maxTokens() : 1;
    }

    /** What it is there for. */
    Purpose purpose() {
        return purpose;
    }

    long arrival() {
        return arrival;
    }

    List<BranchState> states() {
        return states;
    }

    /** What it was read for. */
    Model model() {
        return model;
    }

    /** Notes that an engine takes it in. */
    void take(final Model by) {
        if (taken || by != model) {
            throw new BadInputException(
                    taken ? "a prepared request used twice" : "a request prepared for another model",
                    "strategy " + request.strategy().name(),
                    "prepare it anew");
        }
        taken = true;
    }

    private void requireMergeable(final EngineOptions options) {
        if (request.merge().isEmpty()) {
            return;
        }
        final Merge merge = request.merge().get();
        final EncodedPrompt first = states.getFirst().prompt;
        final EncodedPrompt second = states.get(1).prompt;
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

    // A step takes twice as many tokens as there are beams.
    private void requireSearchable() {
        final int most = model.info().vocabulary() / 2;
        search().filter(search -> search.beams() > most).ifPresent(search -> {
            throw new BadInputException(
                    "more beams than half of the vocabulary",
                    "search, beams " + search.beams() + " of at most " + most,
                    "choose fewer");
        });
    }

    private void requireRoom(final EngineOptions options) {
        final int cells = options.cells(model.info());
        if (branches() > options.maxBranches()) {
            throw new BadInputException(
                    "more branches than there is room for",
                    branches() + " wanted, " + options.maxBranches() + " there",
                    "open the engine with more branches");
        }
        if (promptCells > cells) {
            throw new BadInputException(
                    "prompt longer than the context",
                    promptCells + " cells wanted, " + cells + " there",
                    "shorten it, or open the engine with a larger context (--ctx)");
        }
        // Merged branches go in step, with their share of a micro-batch.
        final int room = request.merge().isPresent() ? options.microBatch() / states.size() : options.microBatch();
        states.forEach(branch -> requireChunksFit(branch.prompt, room));
        for (int b = 1; b < states.size() && Rechoice.readsWhole(request.branches()); b++) {
            WholeReading.require(
                    model, options, states.get(b), request.branches().get(b).name(), maxTokens() - 1);
        }
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
}
