package dev.equipoise.bench.cli;

import dev.equipoise.bench.synth.SyntheticModel;
import dev.equipoise.bench.synth.SyntheticQuantisation;
import dev.equipoise.bench.synth.SyntheticShape;
import dev.equipoise.runtime.gguf.GgufFile;
import java.nio.file.Path;
import java.util.Locale;
import java.util.function.LongConsumer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Writes a random model of a real shape: speed does not depend on what the weights say. */
@Command(name = "synth", description = "Write a random GGUF of a named real shape, for measuring speed.")
final class SynthCommand extends CliCommand {
    @Option(names = "--shape", paramLabel = "0.35b|0.5b|2b|7b", required = true, description = "Its shape.")
    private String shape;

    @Option(names = "--quant", paramLabel = "q4_0|q8_0|q4_k_m", description = "How weights are stored (default: q4_0).")
    private String quantisation = "q4_0";

    @Option(names = "--seed", paramLabel = "N", description = "Decides every weight (default: 1).")
    private long seed = 1;

    @Option(names = "--out", paramLabel = "FILE", required = true, description = "Where to.")
    private Path file;

    @Override
    protected void run() {
        final SyntheticShape named = UsageException.of(() -> SyntheticShape.named(shape));
        final SyntheticQuantisation type = UsageException.of(() -> SyntheticQuantisation.named(quantisation));
        final long bytes = UsageException.of(() -> SyntheticModel.bytes(named, type));
        SyntheticModel.write(file, named, type, seed, progress(bytes));
        final long size = GgufFile.read(file).size();
        if (json()) {
            JsonDocument.print(out(), json -> json.put("file", file.toString())
                    .put("shape", named.name())
                    .put("quant", type.label())
                    .put("seed", seed)
                    .put("bytes", size)
                    .put("tensor_bytes", bytes));
        } else {
            out().printf(
                    Locale.ROOT,
                    "%s: %s, %s, %,d bytes, %,d of them weights%n",
                    file, named.name(), type, size, bytes);
        }
    }

    private LongConsumer progress(final long bytes) {
        if (!Terminal.watched()) {
            return written -> { };
        }
        return written -> {
            err().printf(Locale.ROOT, "\r%3d %% of %,d bytes", 100 * written / bytes, bytes);
            err().print(written < bytes ? "" : "\n");
            err().flush();
        };
    }
}
