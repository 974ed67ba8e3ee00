package dev.equipoise.bench.cli;

import dev.equipoise.runtime.Model;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The model of a command that must be told which. */
final class ModelMixin {
    @Option(names = "--model", paramLabel = "FILE", required = true, description = "The model, a GGUF file.")
    private Path model;

    @Option(names = "--mmproj", paramLabel = "FILE", description = "Its picture and sound encoders.")
    private Path mmproj;

    /** Loads it as the engine's options say; the caller closes it. */
    Model load(final EngineMixin engine) {
        return engine.load(model, Optional.ofNullable(mmproj));
    }
}
