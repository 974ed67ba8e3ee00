package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.runtime.ffm.SamplerHandle;
import dev.equipoise.runtime.ffm.StepBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntSupplier;

/**
 * The row that a generation's next token is drawn from: what is asked of the step being prepared, whose gate may leave
 * the base row as it stands, and what came of it.
 */
final class NextRow {
    private final Request request;
    private final List<BranchState> branches;
    private final int base;
    private final IntSupplier drawn;
    private final Combination combination;
    private final Gate gate;
    private final boolean rechosen;
    private final float[] coefficients;
    // Of the rows that a step has brought.
    private final StepBuffer.Weighing weighing;

    /** Column of the step being prepared that has it. */
    int column;
    private int pick;
    // Whether the pick is one from a group.
    private boolean combining;
    // Whether the gate judges the base row of the step being prepared before that combines.
    private boolean judged;
    // What keeps the step being prepared from having weights, or null.
    private BadInputException fault;
    private int combined;
    private double deltaSum;
    private boolean disagreed;
    // Tokens since the gate was last open.
    private int shutFor = Integer.MAX_VALUE;

    /**
     * A row of a request.
     *
     * @param apart whether each branch's row is wanted as it is: nothing combines them
     * @param drawn how many tokens there are
     */
    NextRow(
            final Request request, final List<BranchState> branches, final boolean apart, final IntSupplier drawn) {
        this.request = request;
        this.branches = branches;
        this.base = request.baseBranches();
        this.drawn = drawn;
        this.combination = apart ? null : request.combination().orElse(null);
        this.gate = apart ? null : request.gate().orElse(null);
        this.rechosen = !apart && request.rechoice().isPresent();
        this.coefficients = new float[branches.size() - base + 1];
        this.weighing = (entropies, out) -> combination.coefficients().at(number(), entropies, out);
    }

    // Of the token, counted from 1.
    private int number() {
        return drawn.getAsInt() + 1;
    }

    /** Where a fault of the token is. */
    String where() {
        return "strategy " + request.strategy().name() + ", token " + number();
    }

    /** Whether the base branch is read before it is known that others are needed. */
    boolean startsWithBase() {
        return rechosen || gate != null && !gate.startsOpen();
    }

    /** Whether the step needs all branches, as far as that is known before it. */
    boolean needsAll() {
        return !rechosen && isForeseen();
    }

    // Whether it is known before a step that its token takes all branches.
    private boolean isForeseen() {
        return gate == null
                || gate instanceof Gate.Disagreement looking
                        && (disagreed || drawn.getAsInt() % looking.every() == 0);
    }

    /**
     * Whether the step decodes all branches, as far as there is room for what they missed.
     *
     * @param patience tokens in a row for which the gate may be shut before others than the base are left behind
     */
    boolean takesAlong(final int patience) {
        return needsAll() || !rechosen && shutFor < patience;
    }

    /** Whether rows of branches that come along may be needed: not where the gate is known to be shut. */
    boolean mayCombine() {
        return needsAll() || !(gate instanceof Gate.Disagreement);
    }

    /** Whether the base branch goes ahead alone, at least at some tokens. */
    boolean isGated() {
        return gate != null || rechosen;
    }

    /**
     * Adds the group, unless the base row stands as it is, and the pick to a step with all rows.
     *
     * @param sampler the chain, or null for the best token
     * @param undecided whether the gate, if there is one, is yet to decide on this token
     */
    void ask(final StepBuffer buffer, final SamplerHandle sampler, final boolean undecided) {
        combining = combination != null;
        judged = undecided && (gate instanceof Gate.Entropy || gate instanceof Gate.Confidence);
        pick = buffer.pick(sampler, column, combining ? group(buffer) : -1, request.logProbabilities());
        if (judged) {
            judge(buffer);
        }
    }

    private int group(final StepBuffer buffer) {
        final boolean weighed = combination.coefficients().readsEntropies();
        if (weighed) {
            Arrays.fill(coefficients, 0);
        } else {
            weigh();
        }
        // A gate's group is combined after the graph, also when the base row is there: one way to the same row.
        final int group = buffer.group(
                combination.logProbabilities(),
                (float) combination.plausibility(),
                (float) combination.cutOffValue().orElse(0),
                isGated() || weighed,
                weighed ? weighing : null);
        for (int row = 0; row < coefficients.length; row++) {
            // Of the branches that make the base row the first has it.
            final int b = row == 0 ? 0 : base + row - 1;
            buffer.member(branches.get(b).sequence, coefficients[row]);
        }
        return group;
    }

    // A schedule may be anybody's: what it does wrong is its own request's, which fails when the step has been made.
    private void weigh() {
        RuntimeException thrown = null;
        try {
            combination.coefficients().at(number(), coefficients);
        } catch (final RuntimeException e) {
            thrown = e;
        }
        boolean usable = thrown == null;
        for (int i = 0; i < coefficients.length; i++) {
            usable &= Float.isFinite(coefficients[i]);
        }
        if (!usable) {
            fault = new BadInputException(
                    "coefficients that are no numbers" + (thrown == null ? "" : ": " + thrown),
                    where(),
                    "give finite ones for every token",
                    thrown);
            Arrays.fill(coefficients, 0);
        }
    }

    /** Adds a pick from the base row alone, which the gate looks at, if there is one. */
    void askBase(final StepBuffer buffer, final SamplerHandle sampler) {
        combining = false;
        pick = buffer.pick(sampler, column, -1, request.logProbabilities());
        judge(buffer);
    }

    private void judge(final StepBuffer buffer) {
        if (isForeseen()) {
            buffer.keep(pick);
            return;
        }
        switch (gate) {
            case Gate.Disagreement looking -> { }
            case Gate.Entropy entropy -> buffer.openAboveEntropy(pick, (float) entropy.above());
            case Gate.Confidence confidence -> buffer.openBelowConfidence(pick, (float) confidence.below());
        }
    }

    /** The pick of the step. */
    int pick() {
        return pick;
    }

    /** Whether the step that was taken kept the row instead of drawing from it. */
    boolean isOpen(final StepBuffer buffer) {
        return isGated() && !combining && buffer.succeeded(pick) && buffer.isOpen(pick);
    }

    /** Whether the step that was taken drew from a combined row. */
    boolean isCombined(final StepBuffer buffer) {
        return combining && buffer.succeeded(pick) && (!judged || buffer.isOpen(pick));
    }

    /** Refuses the row of the step that was taken, where it took coefficients that are no numbers. */
    void requireWeights(final StepBuffer buffer) {
        // A shut gate's row is made without them.
        if (fault != null && (!judged || buffer.isOpen(pick))) {
            throw fault;
        }
        fault = null;
        // So are those that an entropy gave; of another row that is not finite, a reader may want to see it.
        if (combining
                && combination.coefficients().readsEntropies()
                && !buffer.succeeded(pick)
                && !buffer.exhausted(pick)) {
            throw notFinite();
        }
    }

    /** Refuses a step that drew no token. */
    void requireToken(final StepBuffer buffer) {
        if (buffer.succeeded(pick)) {
            return;
        }
        if (buffer.exhausted(pick)) {
            throw new BadInputException(
                    "grammar and plausibility cut-off together leave no token",
                    where(),
                    "lower beta, or loosen the grammar");
        }
        throw notFinite();
    }

    /** A row of it, or of one of its branches, that is not finite. */
    InternalException notFinite() {
        return new InternalException(
                "logits that are not finite", where(), "check the model's weights and coefficients");
    }

    /** Takes note of the row that a token was drawn from. */
    void note(final StepBuffer buffer) {
        if (isCombined(buffer)) {
            combined++;
            deltaSum += buffer.deltaNorm(pick);
            disagreed = buffer.changed(pick);
            shutFor = 0;
        } else if (shutFor < Integer.MAX_VALUE) {
            shutFor++;
        }
    }

    /** What combined, at all tokens so far. */
    List<TraceEntry> traced(final Tracing tracing) {
        return tracing.entries(combined, deltaSum, gate, combination);
    }

    /** What combined in the step that was taken. */
    List<TraceEntry> tracedOfStep(final Tracing tracing, final StepBuffer buffer) {
        final boolean joined = isCombined(buffer);
        return tracing.entries(joined ? 1 : 0, joined ? buffer.deltaNorm(pick) : 0, gate, combination);
    }
}
