package dev.equipoise.runtime;

import java.util.Set;

/**
 * Whether a step of three columns gets a fourth that is nobody's. ggml's matrix kernels on CPUs work in fours, and
 * where a core computes faster than it reads weights, three columns cost more than four. Logits move within rounding,
 * as whenever a batch changes its shape; so no clock decides anything here, and one machine always answers the same.
 */
public enum PadSteps {
    /** On a CPU, always; with blocks on a GPU, never. */
    ON,
    /** Never. */
    OFF,
    /**
     * As {@link #ON}, but where it was measured to cost more than it gains, and where a model's weights are multiplied
     * by kernels of this project, to which every column costs the same.
     */
    AUTO;

    // Time of three padded columns by llama.cpp's own three, 2 cores: icelake 0.79, zen4 1.07 (bench/results,
    // xeon-*-workloads.json and epyc-zen4-*-workloads-padded.json).
    private static final Set<String> FASTER_BY_THREES = Set.of("zen4");

    boolean on(final Model model) {
        return switch (this) {
            case ON -> model.isOnCpu();
            case OFF -> false;
            case AUTO -> model.isOnCpu()
                    && !FASTER_BY_THREES.contains(NativeInfo.read().cpuVariant())
                    && !model.multipliesItself();
        };
    }
}
