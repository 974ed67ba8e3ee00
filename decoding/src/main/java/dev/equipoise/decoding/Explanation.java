package dev.equipoise.decoding;

import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.NodePlacement;
import dev.equipoise.runtime.PlanDescription;
import dev.equipoise.runtime.PlanDescription.Division;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.steering.edit.VisionEdit;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * A plan in words: which branches are read, and what acts on them, in the order in which it acts.
 *
 * @param branches base first
 * @param steps the interventions in order
 * @param division of the graph among devices; empty before the engine was asked, and where all is on the CPU
 */
public record Explanation(List<BranchLine> branches, List<Step> steps, Optional<Division> division) {
    public Explanation {
        branches = List.copyOf(branches);
        steps = List.copyOf(steps);
    }

    /** One that no engine was asked about. */
    public Explanation(final List<BranchLine> branches, final List<Step> steps) {
        this(branches, steps, Optional.empty());
    }

    /**
     * One branch.
     *
     * @param name its name
     * @param differsIn what sets it apart from the base, in words
     * @param sharedTokens leading tokens whose KV cells it shares with the base; empty before the engine was asked
     */
    public record BranchLine(String name, String differsIn, OptionalInt sharedTokens) {}

    /**
     * One intervention.
     *
     * @param intervention what acts, as the trace calls it
     * @param mechanism how it acts
     * @param layers blocks whose output it changes, empty for what acts on pixels or logits
     * @param scope on which tokens
     * @param extraCost what it costs beyond plain decoding
     * @param acts the intervention that it is, of those inside the network
     * @param placement where it runs; empty where there is but one place, or no say in it
     */
    public record Step(
            String intervention,
            String mechanism,
            List<Integer> layers,
            String scope,
            String extraCost,
            Optional<Intervention> acts,
            Optional<NodePlacement> placement) {
        public Step {
            layers = List.copyOf(layers);
        }

        /** One that is no intervention inside the network. */
        public Step(
                final String intervention,
                final String mechanism,
                final List<Integer> layers,
                final String scope,
                final String extraCost) {
            this(intervention, mechanism, layers, scope, extraCost, Optional.empty(), Optional.empty());
        }

        private Step adding(final String more) {
            return new Step(intervention, mechanism + more, layers, scope, extraCost, acts, placement);
        }

        private Step placed(final Optional<NodePlacement> where) {
            return new Step(intervention, mechanism, layers, scope, extraCost, acts, where);
        }

        // Where there are several branches, whose intervention it is; that of the base is everybody's.
        Step of(final Branch branch, final int branches) {
            return branches == 1 || branch.name().equals(LinearContrast.BASE)
                    ? this
                    : new Step(
                            intervention,
                            mechanism,
                            layers,
                            scope + ", branch " + branch.name(),
                            extraCost,
                            acts,
                            placement);
        }
    }

    /** The plan as far as it is known without a model. */
    public static Explanation of(final Plan plan) {
        return new Explanation(PlanWords.branches(plan), PlanWords.steps(plan));
    }

    /** This explanation with what the engine says of each branch, of where tokens are drawn and of where nodes run. */
    public Explanation with(final PlanDescription description) {
        final List<BranchLine> known = branches.stream()
                .map(line -> description.branches().stream()
                        .filter(branch -> branch.name().equals(line.name()))
                        .findFirst()
                        .map(branch -> new BranchLine(
                                line.name(), line.differsIn(), OptionalInt.of(branch.sharedTokens())))
                        .orElse(line))
                .toList();
        final boolean afterGraph = steps.stream().anyMatch(step -> step.mechanism().startsWith(PlanWords.AFTER_GRAPH));
        return new Explanation(
                known,
                steps.stream()
                        .map(step -> step.adding(onEngine(step.intervention(), description)))
                        .map(step -> step.placed(description.division()
                                .flatMap(division -> placement(step, division, description.draw(), afterGraph))))
                        .toList(),
                description.division());
    }

    // What an engine adds to a step's mechanism.
    private static String onEngine(final String intervention, final PlanDescription description) {
        if (intervention.equals(PlanWords.SAMPLER)) {
            return (description.draw().inGraph() ? ", in the graph: " : ", on the host: ")
                    + description.draw().because();
        }
        if (!intervention.startsWith(PlanWords.GATE)) {
            return "";
        }
        return switch (description.gatePatience()) {
            case 0 -> "; here they stay behind from the first shut step on";
            case Integer.MAX_VALUE -> "; here they come along at every token from its first opening on";
            default -> "; here they come along from its first opening on, until it has been shut for "
                    + description.gatePatience() + " tokens in a row";
        };
    }

    private static Optional<NodePlacement> placement(
            final Step step, final Division division, final PlanDescription.Draw draw, final boolean afterGraph) {
        if (step.acts().isPresent()) {
            return Optional.ofNullable(division.interventions().get(step.acts().get()));
        }
        return switch (step.intervention()) {
            case PlanWords.MERGE -> division.merge();
            case PlanWords.SAMPLER ->
                draw.inGraph() ? division.draw() : Optional.of(NodePlacement.onHost(draw.because()));
            case SearchWords.SEARCH -> Optional.of(NodePlacement.onHost("it ranks whole answers"));
            case VisionEdit.NAME -> Optional.of(NodePlacement.onHost("it has no CUDA kernel"));
            case final String name when name.startsWith(PlanWords.GATE) ->
                Optional.of(NodePlacement.onHost("it reads rows of logits"));
            case final String name when name.equals(PlanWords.PLAUSIBILITY) || name.startsWith(PlanWords.CONTRAST) ->
                Optional.of(afterGraph
                        ? NodePlacement.onHost("rows are combined when the graph has run")
                        : division.contrast());
            default -> Optional.empty();
        };
    }

    /** The document of {@code explain --json}. */
    public String toJson() {
        final ObjectNode root = JsonNodeFactory.instance.objectNode();
        final var branchNodes = root.putArray("branches");
        for (final BranchLine line : branches) {
            final ObjectNode node = branchNodes.addObject();
            node.put("name", line.name()).put("differs_in", line.differsIn());
            if (line.sharedTokens().isPresent()) {
                node.put("shared_tokens", line.sharedTokens().getAsInt());
            } else {
                node.putNull("shared_tokens");
            }
        }
        final var stepNodes = root.putArray("steps");
        for (final Step step : steps) {
            final ObjectNode node = stepNodes.addObject();
            node.put("intervention", step.intervention()).put("mechanism", step.mechanism());
            final var layers = node.putArray("layers");
            step.layers().forEach(layers::add);
            node.put("scope", step.scope()).put("extra_cost", step.extraCost());
            step.placement().ifPresent(placement -> {
                node.put("runs_on", placement.runsOn());
                final var cpu = node.putArray("cpu_layers");
                placement.onCpu().stream().filter(layer -> layer >= 0).forEach(cpu::add);
                node.put("why", placement.why().isEmpty() ? null : String.join("; ", placement.why()));
            });
        }
        division.ifPresent(parts -> root.putObject("graph_parts")
                .put("plain", parts.plainParts())
                .put("request", parts.parts()));
        return JsonMapper.shared().writeValueAsString(root);
    }
}
