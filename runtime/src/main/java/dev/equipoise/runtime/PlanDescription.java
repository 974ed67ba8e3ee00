package dev.equipoise.runtime;

import java.util.List;

/**
 * What the engine would do for a request, without decoding anything.
 *
 * @param branches base first
 */
public record PlanDescription(List<BranchPlan> branches) {
    public PlanDescription {
        branches = List.copyOf(branches);
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
