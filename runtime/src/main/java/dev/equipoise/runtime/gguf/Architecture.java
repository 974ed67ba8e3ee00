package dev.equipoise.runtime.gguf;

import java.util.Arrays;
import java.util.List;

/** The text architectures whose tensor tables are known, and the traits in which their tables and graphs differ. */
enum Architecture {
    LLAMA("llama", Trait.ANY_HEAD_SIZE, Trait.ROPE_FACTORS, Trait.PROJECTION_BIASES, Trait.MAY_HAVE_EXPERTS),
    QWEN2("qwen2", Trait.OUTPUT_BIAS),
    QWEN2VL("qwen2vl", Trait.OUTPUT_BIAS, Trait.ROPE_SECTIONS),
    QWEN3("qwen3", Trait.ANY_HEAD_SIZE, Trait.QUERY_KEY_NORMS),
    GEMMA3("gemma3", Trait.ANY_HEAD_SIZE, Trait.QUERY_KEY_NORMS, Trait.POST_NORMS, Trait.PARTIAL_ROPE,
            Trait.SLIDING_WINDOW),
    PHI3("phi3", Trait.FUSED_PROJECTIONS, Trait.PARTIAL_ROPE),
    QWEN2MOE("qwen2moe", Trait.ONLY_EXPERTS, Trait.SHARED_EXPERT),
    QWEN3MOE("qwen3moe", Trait.ANY_HEAD_SIZE, Trait.QUERY_KEY_NORMS, Trait.ONLY_EXPERTS);

    /** One way to differ from the plainest of them. */
    enum Trait {
        /** Heads times head size need not be the width. */
        ANY_HEAD_SIZE,
        /** Fewer elements of a head may be rotated than it has. */
        PARTIAL_ROPE,
        /** Optional frequency factors for the rotation. */
        ROPE_FACTORS,
        /** Multimodal rotation with its four sections. */
        ROPE_SECTIONS,
        /** Optional biases on the attention output and the feed-forward matrices. */
        PROJECTION_BIASES,
        /** Optional bias on the output head. */
        OUTPUT_BIAS,
        /** Norms on each head's query and key. */
        QUERY_KEY_NORMS,
        /** Norms after the attention and the feed-forward branch. */
        POST_NORMS,
        /** Some layers attend to a window. */
        SLIDING_WINDOW,
        /** One matrix for query, key and value, one for gate and up. */
        FUSED_PROJECTIONS,
        /** Dense or with experts. */
        MAY_HAVE_EXPERTS,
        /** Always with experts. */
        ONLY_EXPERTS,
        /** An expert that every token consults. */
        SHARED_EXPERT
    }

    private final String label;
    private final List<Trait> traits;

    Architecture(final String label, final Trait... traits) {
        this.label = label;
        this.traits = List.of(traits);
    }

    static Architecture of(final String name) {
        return Arrays.stream(values()).filter(known -> known.label.equals(name)).findFirst().orElse(null);
    }

    static List<String> names() {
        return Arrays.stream(values()).map(known -> known.label).toList();
    }

    String label() {
        return label;
    }

    boolean has(final Trait trait) {
        return traits.contains(trait);
    }
}
