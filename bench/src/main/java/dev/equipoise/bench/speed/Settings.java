package dev.equipoise.bench.speed;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.DrawIn;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.FlashAttention;
import dev.equipoise.runtime.KvType;
import dev.equipoise.runtime.ModelOptions;
import java.nio.file.Path;
import java.util.Objects;
import java.util.Optional;

/**
 * What is measured, the same for every arm.
 *
 * @param tokens steps that a round times for each arm, 1..8192
 * @param rounds rounds that count, 1..1000
 * @param warmUp rounds before them that do not, 0..100
 * @param promptTokens words of the prompt, each one token, 2..8192; templates and media come on top
 * @param threads CPU threads, at least 1
 * @param kvType format of the KV cache
 * @param flashAttention whether attention weights are materialised
 * @param draw where best tokens are found
 * @param gpuLayers blocks to put on the GPU
 * @param seed of words, pictures, sounds and noise
 */
public record Settings(
        int tokens,
        int rounds,
        int warmUp,
        int promptTokens,
        int threads,
        KvType kvType,
        FlashAttention flashAttention,
        DrawIn draw,
        int gpuLayers,
        long seed) {
    private static final int CELL_UNIT = 256;

    public Settings {
        Objects.requireNonNull(kvType);
        Objects.requireNonNull(flashAttention);
        Objects.requireNonNull(draw);
        require("tokens", tokens, 1, 8192);
        require("rounds", rounds, 1, 1000);
        require("warm-up rounds", warmUp, 0, 100);
        require("prompt tokens", promptTokens, 2, 8192);
        require("threads", threads, 1, 512);
        require("GPU layers", gpuLayers, 0, 1 << 16);
    }

    private static void require(final String name, final int value, final int low, final int high) {
        if (value < low || value > high) {
            throw new BadInputException(
                    "measurement setting out of range", name + " " + value, "choose " + low + ".." + high);
        }
    }

    /** How to load the model. */
    ModelOptions loading(final Optional<Path> mmproj, final boolean probe) {
        return new ModelOptions(mmproj, gpuLayers, threads, probe);
    }

    /** An engine with so many cells, rounded up to what llama.cpp attends to at once. */
    EngineOptions engine(final int cells, final int branches) {
        final int rounded = Math.ceilDiv(cells, CELL_UNIT) * CELL_UNIT;
        return EngineOptions.defaults()
                .withContext(rounded)
                .withMaxBranches(branches)
                .withThreads(threads)
                .withKvType(kvType)
                .withFlashAttention(flashAttention)
                .withDrawIn(draw);
    }
}
