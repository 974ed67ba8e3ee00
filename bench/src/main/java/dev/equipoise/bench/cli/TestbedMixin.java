package dev.equipoise.bench.cli;

import dev.equipoise.bench.demo.ItemRunner;
import dev.equipoise.bench.demo.TestbedModel;
import dev.equipoise.runtime.Model;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The model that answers the testbed's items: the bundled one unless another is named. */
final class TestbedMixin {
    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    @Option(names = "--model", paramLabel = "FILE", description = "A GGUF file (default: the bundled testbed model).")
    private Path model;

    @Option(names = "--mmproj", paramLabel = "FILE", description = "Its picture and sound encoders.")
    private Path mmproj;

    @Mixin
    private EngineMixin engine;

    /** Loads the model; the caller closes it. */
    Model load() {
        if (model == null && mmproj != null) {
            throw new ParameterException(spec.commandLine(), "--mmproj without --model");
        }
        if (model != null) {
            return engine.load(model, Optional.ofNullable(mmproj));
        }
        engine.preferThreads(TestbedModel.THREADS);
        return TestbedModel.locate().load(engine.loading());
    }

    /** Opens an engine for items. */
    ItemRunner runner(final Model loaded) {
        return new ItemRunner(loaded, engine.engine(loaded, ItemRunner.BRANCHES));
    }
}
