package dev.equipoise.runtime;

import java.util.List;
import java.util.Objects;

/**
 * What the engine would do for a request, without decoding anything.
 *
 * @param branches base first
 * @param draw where its tokens are drawn
 */
public record PlanDescription(List<BranchPlan> branches, Draw draw) {
    public PlanDescription {
        branches = List.copyOf(branches);
        Objects.requireNonNull(draw);
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
