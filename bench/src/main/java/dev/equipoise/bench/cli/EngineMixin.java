package dev.equipoise.bench.cli;

import dev.equipoise.bench.demo.EngineSize;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.DrawIn;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.FlashAttention;
import dev.equipoise.runtime.KvType;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.ModelOptions;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** How models are loaded and engines opened. */
final class EngineMixin {
    @Option(names = "--kv-type", paramLabel = "f16|f32|q8_0", description = "Format of the KV cache (default: f16).")
    private KvType kvType = EngineOptions.defaults().kvType();

    @Option(
            names = "--flash-attention",
            paramLabel = "on|off|auto",
            description = "Compute attention without materialising its weights (default: auto).")
    private FlashAttention flashAttention = EngineOptions.defaults().flashAttention();

    @Option(
            names = "--micro-batch",
            paramLabel = "N",
            description = "Most tokens in one execution of the graph (default: 512).")
    private int microBatch = EngineOptions.defaults().microBatch();

    @Option(names = "--threads", paramLabel = "N", description = "CPU threads (default: all cores).")
    private Integer threads;

    @Option(
            names = "--ctx",
            paramLabel = "N",
            description = "KV cells for all branches together (default: for each what the model was trained for, "
                    + "at most 4096); 0: once what it was trained for.")
    private Integer context;

    @Option(
            names = "--gpu-layers",
            paramLabel = "N",
            description = "Blocks to put on the GPU, the last ones first; one more than there are takes the output "
                    + "matrix too (default: 0); ignored where there is no GPU.")
    private int gpuLayers;

    @Option(
            names = "--draw",
            paramLabel = "host|graph|auto",
            description = "Where best tokens are found: on the host, or in the graph, which only their ids leave "
                    + "(default: auto, in the graph with --gpu-layers).")
    private DrawIn draw = EngineOptions.defaults().drawIn();

    @Option(
            names = "--gate-patience",
            paramLabel = "N",
            description = "Tokens in a row for which a gate may be shut before the branches behind it are left behind "
                    + "(default: 32 where a further column costs little, else 0).")
    private Integer gatePatience;

    /** Takes so many threads unless an option says otherwise. */
    void preferThreads(final int preferred) {
        threads = threads == null ? (Integer) preferred : threads;
    }

    /** What the options say of loading; refuses what they say of an engine as well, which no model would change. */
    ModelOptions loading() {
        return UsageException.of(() -> {
            configured(EngineOptions.defaults());
            if (kvType == KvType.Q8_0 && flashAttention == FlashAttention.OFF) {
                throw new BadInputException(
                        "a quantised value cache without flash attention",
                        "--kv-type q8_0 --flash-attention off",
                        "switch flash attention on, or use f16");
            }
            return ModelOptions.defaults().withGpuLayers(gpuLayers).withThreads(threads());
        });
    }

    /** Loads a model; the caller closes it. */
    Model load(final Path model, final Optional<Path> mmproj) {
        return Model.load(model, mmproj.map(loading()::withMmproj).orElseGet(this::loading));
    }

    /** What the options say of an engine for so many branches. */
    EngineOptions engine(final Model model, final int branches) {
        return configured(EngineSize.fit(EngineOptions.defaults(), model.info(), branches));
    }

    private EngineOptions configured(final EngineOptions otherwise) {
        final EngineOptions options = otherwise.withKvType(kvType)
                .withFlashAttention(flashAttention)
                .withMicroBatch(microBatch)
                .withThreads(threads())
                .withDrawIn(draw);
        final EngineOptions patient = gatePatience == null ? options : options.withGatePatience(gatePatience);
        return context == null ? patient : patient.withContext(context);
    }

    private int threads() {
        return threads == null ? EngineOptions.defaults().threads() : threads;
    }
}
