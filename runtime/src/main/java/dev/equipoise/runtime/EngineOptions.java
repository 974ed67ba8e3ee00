package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Objects;
import java.util.OptionalInt;

/**
 * How an engine decodes.
 *
 * @param context KV cells for all branches of all requests together; 0 takes the model's trained context
 * @param microBatch most tokens a single graph execution takes
 * @param maxBranches most branches of all requests together, 1..255; a search's beams with their candidates are some
 * @param threads CPU threads, at least 1
 * @param kvType format of the KV cache
 * @param flashAttention whether attention weights are materialised
 * @param padSteps whether a step of three columns gets a fourth
 * @param drawIn where best tokens are found
 * @param gatePatience tokens in a row for which a gate may be shut before the branches behind it are left behind, at
 *     least 0; until then they are columns of every decode, and it needs no second one to open. Empty: 32 where a
 *     further column is known to cost little, that is with blocks on a GPU and where a model's weights are multiplied
 *     by kernels of this project, and 0 elsewhere
 */
public record EngineOptions(
        int context,
        int microBatch,
        int maxBranches,
        int threads,
        KvType kvType,
        FlashAttention flashAttention,
        PadSteps padSteps,
        DrawIn drawIn,
        OptionalInt gatePatience) {
    /** Sequences that llama.cpp can tell apart in one context, but for one of ours. */
    public static final int MAX_BRANCHES = 255;

    private static final int DEFAULT_CONTEXT = 4096;
    private static final int DEFAULT_MICRO_BATCH = 512;
    private static final int DEFAULT_BRANCHES = 8;
    // Left behind, branches save nothing but what they would have read after a gate's last opening.
    private static final int GATE_PATIENCE = 32;

    public EngineOptions {
        Objects.requireNonNull(kvType);
        Objects.requireNonNull(flashAttention);
        Objects.requireNonNull(padSteps);
        Objects.requireNonNull(drawIn);
        require(gatePatience.orElse(0) >= 0, "gate patience", gatePatience.orElse(0), "at least 0");
        require(context >= 0 && context <= 1 << 24, "context", context, "0.." + (1 << 24));
        require(microBatch >= 1 && microBatch <= 1 << 16, "micro-batch", microBatch, "1.." + (1 << 16));
        require(maxBranches >= 1 && maxBranches <= MAX_BRANCHES, "branches", maxBranches, "1.." + MAX_BRANCHES);
        require(threads >= 1 && threads <= 512, "threads", threads, "1..512");
    }

    private static void require(final boolean ok, final String name, final int value, final String range) {
        if (!ok) {
            throw new BadInputException("engine option out of range", name + " " + value, "choose " + range);
        }
    }

    /** 4096 cells, micro-batches of 512, 8 branches, all cores, f16 cache, flash attention where supported. */
    public static EngineOptions defaults() {
        return new EngineOptions(
                DEFAULT_CONTEXT,
                DEFAULT_MICRO_BATCH,
                DEFAULT_BRANCHES,
                Runtime.getRuntime().availableProcessors(),
                KvType.F16,
                FlashAttention.AUTO,
                PadSteps.AUTO,
                DrawIn.AUTO,
                OptionalInt.empty());
    }

    /** These options with another number of KV cells. */
    public EngineOptions withContext(final int cells) {
        return new EngineOptions(
                cells, microBatch, maxBranches, threads, kvType, flashAttention, padSteps, drawIn, gatePatience);
    }

    /** These options with another micro-batch. */
    public EngineOptions withMicroBatch(final int tokens) {
        return new EngineOptions(
                context, tokens, maxBranches, threads, kvType, flashAttention, padSteps, drawIn, gatePatience);
    }

    /** These options with room for another number of branches. */
    public EngineOptions withMaxBranches(final int branches) {
        return new EngineOptions(
                context, microBatch, branches, threads, kvType, flashAttention, padSteps, drawIn, gatePatience);
    }

    /** These options with another number of threads. */
    public EngineOptions withThreads(final int count) {
        return new EngineOptions(
                context, microBatch, maxBranches, count, kvType, flashAttention, padSteps, drawIn, gatePatience);
    }

    /** These options with another cache format. */
    public EngineOptions withKvType(final KvType type) {
        return new EngineOptions(
                context, microBatch, maxBranches, threads, type, flashAttention, padSteps, drawIn, gatePatience);
    }

    /** These options with flash attention on, off or chosen. */
    public EngineOptions withFlashAttention(final FlashAttention choice) {
        return new EngineOptions(
                context, microBatch, maxBranches, threads, kvType, choice, padSteps, drawIn, gatePatience);
    }

    /** These options with steps of three columns padded or left alone. */
    public EngineOptions withPadSteps(final PadSteps pad) {
        return new EngineOptions(
                context, microBatch, maxBranches, threads, kvType, flashAttention, pad, drawIn, gatePatience);
    }

    /** These options with best tokens found elsewhere. */
    public EngineOptions withDrawIn(final DrawIn where) {
        return new EngineOptions(
                context, microBatch, maxBranches, threads, kvType, flashAttention, padSteps, where, gatePatience);
    }

    /** These options with branches that shut gates leave behind after so many tokens. */
    public EngineOptions withGatePatience(final int shut) {
        return new EngineOptions(
                context,
                microBatch,
                maxBranches,
                threads,
                kvType,
                flashAttention,
                padSteps,
                drawIn,
                OptionalInt.of(shut));
    }

    /** Tokens in a row for which a gate may be shut before the branches behind it are left behind. */
    int gatePatience(final Model model) {
        return gatePatience.orElse(Columns.areCheap(model) ? GATE_PATIENCE : 0);
    }

    /** KV cells of an engine with these options. */
    int cells(final ModelInfo model) {
        return context == 0 ? model.trainedContext() : context;
    }
}
