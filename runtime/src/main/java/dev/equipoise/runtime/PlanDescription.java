package dev.equipoise.runtime;

import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.NativeEdit;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Merge;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;

/**
 * What the engine would do for a request, without decoding anything.
 *
 * @param branches base first
 * @param draw where its tokens are drawn
 * @param gatePatience tokens in a row for which a gate may be shut before the branches behind it are left behind
 * @param division of the graph among devices; empty where all of the model is on the CPU
 */
public record PlanDescription(List<BranchPlan> branches, Draw draw, int gatePatience, Optional<Division> division) {
    public PlanDescription {
        branches = List.copyOf(branches);
        Objects.requireNonNull(draw);
        Objects.requireNonNull(division);
    }

    /**
     * How llama.cpp divides the graph of a step, of a model of which blocks are on a GPU.
     *
     * @param plainParts parts that alternate between devices, as the engine's graph is now
     * @param parts the same with what the request needs; at each border the devices copy and wait
     * @param interventions where the nodes of each intervention run
     * @param merge the merge's, where there is one
     * @param contrast those of contrast and cut-off
     * @param draw that which finds best tokens, where the graph has it
     */
    public record Division(
            int plainParts,
            int parts,
            Map<Intervention, NodePlacement> interventions,
            Optional<NodePlacement> merge,
            NodePlacement contrast,
            Optional<NodePlacement> draw) {
        public Division {
            interventions = Map.copyOf(interventions);
        }

        /** What a context says of the edits of a request's branches; {@code more} are others that come with them. */
        static Optional<Division> of(
                final ContextHandle context,
                final Request request,
                final List<BranchState> branches,
                final List<NativeEdit> more,
                final int layers) {
            final List<NativeEdit> edits = new ArrayList<>();
            final Map<Intervention, List<Integer>> items = new LinkedHashMap<>();
            for (int b = 0; b < branches.size(); b++) {
                final List<Intervention> of = request.branches().get(b).interventions();
                for (int k = 0; k < of.size(); k++) {
                    items.computeIfAbsent(of.get(k), any -> new ArrayList<>()).add(edits.size() + k);
                }
                edits.addAll(branches.get(b).edits);
            }
            edits.addAll(more);
            final ContextHandle.Placements found = context.placements(
                    edits, request.merge().map(Merge::layer).orElse(-1), layers);
            if (found.nodes().isEmpty()) {
                return Optional.empty();
            }
            final Map<Intervention, NodePlacement> interventions = new LinkedHashMap<>();
            items.forEach((intervention, numbers) ->
                    placement(found, numbers).ifPresent(placed -> interventions.put(intervention, placed)));
            return Optional.of(new Division(
                    found.plainSplits(),
                    found.splits(),
                    interventions,
                    placement(found, List.of(edits.size())),
                    placement(found, List.of(edits.size() + 1)).orElseThrow(),
                    placement(found, List.of(edits.size() + 2))));
        }

        private static Optional<NodePlacement> placement(
                final ContextHandle.Placements found, final List<Integer> items) {
            final SortedSet<Integer> onGpu = new TreeSet<>();
            final SortedSet<Integer> onCpu = new TreeSet<>();
            final Set<String> why = new LinkedHashSet<>();
            for (final ContextHandle.Placed node : found.nodes()) {
                if (items.contains(node.item())) {
                    (node.why() == null ? onGpu : onCpu).add(node.layer());
                    if (node.why() != null) {
                        why.add(node.why());
                    }
                }
            }
            return onGpu.isEmpty() && onCpu.isEmpty()
                    ? Optional.empty()
                    : Optional.of(new NodePlacement(onGpu, onCpu, why));
        }
    }

    /**
     * Where tokens are drawn.
     *
     * @param inGraph whether the graph finds them, so that only their ids leave it
     * @param because why, in words
     */
    public record Draw(boolean inGraph, String because) {
        private static final Draw IN_GRAPH = new Draw(true, "only its id leaves the graph");

        /** For a request to an engine that was asked for {@code asked} and settled on {@code inGraph}. */
        static Draw of(final Request request, final DrawIn asked, final boolean inGraph) {
            if (!request.sampling().isArgmax()) {
                return new Draw(false, "llama.cpp's chain reads the whole row, so that equal seeds give equal tokens"
                        + " wherever the model runs");
            }
            if (request.logProbabilities() > 0) {
                return new Draw(false, "log-probabilities are read from the row");
            }
            if (!inGraph) {
                return new Draw(false, asked == DrawIn.AUTO
                        ? "no block of the model is on a GPU, and the host reads the row where it lies"
                        : "the engine was opened so");
            }
            return switch (request.gate().orElse(null)) {
                case null -> IN_GRAPH;
                case Gate.Disagreement looking -> new Draw(true, IN_GRAPH.because + ", but where the gate looks");
                case Gate.Entropy gate -> new Draw(false, "the gate reads the row");
                case Gate.Confidence gate -> new Draw(false, "the gate reads the row");
            };
        }
    }

    /**
     * One branch.
     *
     * @param name its name
     * @param spans its modality spans
     * @param tokens prompt tokens
     * @param sharedTokens leading tokens whose KV cells it shares with the base; all of them for the base itself
     */
    public record BranchPlan(String name, List<Span> spans, int tokens, int sharedTokens) {
        public BranchPlan {
            spans = List.copyOf(spans);
        }
    }
}
