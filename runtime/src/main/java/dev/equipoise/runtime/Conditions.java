package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.intervention.Condition;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/**
 * The conditions of a request: read from the states of its first branch's prompt, decided once. Until then nothing that
 * depends on one acts, so that conditions see the prompt without what they decide about.
 */
final class Conditions {
    private final List<Condition> conditions;
    private final boolean reachPrompt;
    // In the order of the conditions; null as long as nothing is decided.
    private double[] similarities;

    private Conditions(final List<Condition> conditions, final boolean reachPrompt) {
        this.conditions = conditions;
        this.reachPrompt = reachPrompt;
    }

    /**
     * The conditions that a request's interventions depend on, each once.
     *
     * @throws BadInputException for a layer or width that the model does not have
     */
    static Conditions of(final List<Branch> branches, final ModelInfo model) {
        final Set<Condition> found = new LinkedHashSet<>();
        boolean reachPrompt = false;
        for (final Branch branch : branches) {
            for (final Intervention intervention : branch.interventions()) {
                if (intervention.when().isPresent()) {
                    found.addAll(intervention.when().get().conditions());
                    reachPrompt |= intervention.scope().phases().contains(Phase.PROMPT);
                }
            }
        }
        found.forEach(condition -> require(condition, model));
        return new Conditions(List.copyOf(found), reachPrompt);
    }

    private static void require(final Condition condition, final ModelInfo model) {
        // Most models cut the last block's rows to those whose logits are wanted: it has no mean of the prompt.
        if (condition.readAt() >= model.layers() - 1) {
            throw new BadInputException(
                    "a condition on the last block's output, or beyond",
                    "condition " + condition.name() + ": layer " + condition.layer() + " of 0.." + (model.layers() - 1),
                    "choose a layer below " + (model.layers() - 1));
        }
        if (condition.direction().width() != model.width()) {
            throw new BadInputException(
                    "a condition's direction of another width",
                    "condition " + condition.name() + ": " + condition.direction().width() + ", the model has "
                            + model.width(),
                    "use one extracted from this model");
        }
    }

    /** Whether something that depends on them may act on prompt tokens. */
    boolean reachPrompt() {
        return reachPrompt;
    }

    /** Whether they must be decided yet. */
    boolean arePending() {
        return similarities == null && !conditions.isEmpty();
    }

    /** A branch that is read for them too, behind what acts on it. */
    Branch reading(final Branch branch) {
        if (conditions.isEmpty()) {
            return branch;
        }
        final List<Intervention> interventions = new ArrayList<>(branch.interventions());
        for (final Condition condition : conditions) {
            final Scope prompt = Scope.all().during(EnumSet.of(Phase.PROMPT));
            interventions.add(new Intervention.ReadStates(
                    "condition:" + condition.name(),
                    condition.place(),
                    new TreeSet<>(Set.of(condition.readAt())),
                    switch (condition.pooling()) {
                        case MEAN -> prompt;
                        case LAST -> prompt.within(Reach.LAST);
                    }));
        }
        return new Branch(branch.name(), branch.prompt(), interventions);
    }

    /** What of a branch acts whatever they say, read for them. */
    Branch looking(final Branch branch) {
        return reading(new Branch(
                branch.name(),
                branch.prompt(),
                branch.interventions().stream()
                        .filter(intervention -> intervention.when().isEmpty())
                        .toList()));
    }

    /** Decides from what the readers of a branch, its last interventions, have seen of the whole prompt. */
    void decide(final ContextHandle context, final BranchState branch) {
        final int first = branch.edits.size() - conditions.size();
        final double[] found = new double[conditions.size()];
        for (int i = 0; i < found.length; i++) {
            final Condition condition = conditions.get(i);
            found[i] = condition.similarity(context.meanState(
                            branch.sequence, first + i, condition.readAt(), condition.direction().width())
                    .orElseThrow(() -> new InternalException(
                            "a condition that saw no state", condition.name(), "report this with the prompt")));
        }
        similarities = found;
    }

    /** Which interventions of a branch do not act: bit k is number k. */
    long shut(final Branch branch) {
        long shut = 0;
        for (int k = 0; k < branch.interventions().size(); k++) {
            final boolean acts = branch.interventions().get(k).when()
                    .map(when -> similarities != null && when.holds(this::isMet))
                    .orElse(true);
            shut |= acts ? 0 : 1L << k;
        }
        return shut;
    }

    private boolean isMet(final Condition condition) {
        return condition.holds(similarities[conditions.indexOf(condition)]);
    }

    /**
     * How each came out; nothing before they are decided.
     *
     * @param columns of the prompt that they are read from
     */
    List<TraceEntry> trace(final int columns) {
        if (similarities == null) {
            return List.of();
        }
        final List<TraceEntry> trace = new ArrayList<>();
        for (int i = 0; i < similarities.length; i++) {
            final Condition condition = conditions.get(i);
            trace.add(TraceEntry.of(
                    "condition:" + condition.name(),
                    condition.readAt(),
                    condition.pooling() == Condition.Pooling.MEAN ? columns : 1,
                    new TraceEntry.Outcome(similarities[i], condition.holds(similarities[i]))));
        }
        return Collections.unmodifiableList(trace);
    }
}
