package dev.equipoise.bench.cli;

import dev.equipoise.decoding.Explanation;
import dev.equipoise.decoding.Plan;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.procedure.Decoding;
import dev.equipoise.decoding.procedure.MultipleChoice;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.ModelInfo;
import dev.equipoise.runtime.PreparedRequest;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import java.util.Optional;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;

/** Says what would be done. */
@Command(
        name = "explain",
        description = "The lowered plan in words; nothing is decoded.",
        footer = RequestCommand.NOTHING_DRAWN)
final class ExplainCommand extends RequestCommand {
    @Override
    protected void run(final Engine engine, final Strategy strategy, final Prompt request) {
        final Explanation explanation = explain(engine, strategy, request);
        if (json()) {
            out().println(explanation.toJson());
            return;
        }
        out().println("branches");
        String shared = " tokens)";
        for (final Explanation.BranchLine branch : explanation.branches()) {
            out().println("  " + branch.name() + ": " + branch.differsIn()
                    + (branch.sharedTokens().isPresent() ? " (" + branch.sharedTokens().getAsInt() + shared : ""));
            // The first one is what the others share with.
            shared = " tokens shared with " + explanation.branches().getFirst().name() + ")";
        }
        out().println("steps");
        for (final Explanation.Step step : explanation.steps()) {
            out().println("  " + step.intervention() + ": " + step.mechanism());
            out().println("    on: " + step.scope()
                    + (step.layers().isEmpty()
                            ? ""
                            : ", layers " + step.layers().stream()
                                    .map(String::valueOf)
                                    .collect(Collectors.joining(", "))));
            out().println("    extra cost: " + step.extraCost());
            step.placement().ifPresent(placement -> out().println("    runs on: " + placement.words()));
        }
        explanation.division().ifPresent(division -> out().println("graph of a step: " + division.parts()
                + " parts that alternate between GPU and CPU, " + division.plainParts() + " without the strategy"));
    }

    private Explanation explain(final Engine engine, final Strategy strategy, final Prompt request) {
        if (strategy.choosing().isPresent()) {
            return MultipleChoice.explain(strategy, request);
        }
        final Plan plan = Decoding.outline(strategy, request, engine.model().info());
        final Request asked = plan.request(limits(), 0);
        // Describing needs no room in the context; what is explained could be run.
        PreparedRequest.of(engine.model(), engine.options(), asked);
        return Explanation.of(plan).with(engine.describe(asked));
    }

    // What chooses among options has no plan, but can be explained.
    @Override
    protected Room requirePlan(final Strategy asked, final Prompt request, final Optional<ModelInfo> model) {
        if (asked.choosing().isPresent()) {
            MultipleChoice.explain(asked, request);
            return Room.of(MultipleChoice.READINGS);
        }
        return super.requirePlan(asked, request, model);
    }
}
