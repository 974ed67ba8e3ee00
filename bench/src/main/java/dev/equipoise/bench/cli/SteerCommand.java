package dev.equipoise.bench.cli;

import dev.equipoise.steering.vector.ControlVectorFile;
import dev.equipoise.steering.vector.RandomDirections;
import dev.equipoise.steering.vector.VisualVectorFile;
import java.nio.file.Path;
import java.util.Locale;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParameterException;

/** Steering vectors: where they come from, and what is in one. */
@Command(
        name = "steer",
        description = "Extract steering vectors from paired prompts, and show them.",
        subcommands = {
            SteerExtractCommand.class,
            SteerThresholdCommand.class,
            SteerCommand.Show.class,
            SteerCommand.RandomControl.class
        })
final class SteerCommand extends CliCommand {
    @Override
    protected void run() {
        throw new ParameterException(spec.commandLine(), "no command");
    }

    /** Shows a file. */
    @Command(name = "show", description = "Layers, norms and model hint of a file that steer extract wrote.")
    static final class Show extends CliCommand {
        @Parameters(paramLabel = "V.gguf", description = "A file that steer extract wrote.")
        private Path path;

        @Override
        protected void run() {
            if (VisualVectorFile.isOne(path)) {
                final VisualVectorFile visual = VisualVectorFile.read(path);
                if (json()) {
                    JsonDocument.print(out(), json -> VisualVectorWords.put(json, visual));
                } else {
                    VisualVectorWords.print(out(), visual);
                }
                return;
            }
            final ControlVectorFile file = ControlVectorFile.read(path);
            if (json()) {
                JsonDocument.print(out(), json -> json.put("model_hint", file.modelHint())
                        .put("width", file.vectors().width())
                        .objects("layers", file.vectors().layers(), (entry, layer) -> entry.put("layer", layer)
                                .put("norm", file.vectors().norm(layer))));
                return;
            }
            out().println("model hint " + (file.modelHint().isEmpty() ? "none" : Terminal.plain(file.modelHint()))
                    + ", " + file.vectors().width() + " wide");
            out().println("layer      norm");
            for (final int layer : file.vectors().layers()) {
                out().printf(Locale.ROOT, "%5d  %8.4g%n", layer, file.vectors().norm(layer));
            }
        }
    }

    /** Writes the control of every claim about a vector. */
    @Command(name = "random", description = "Write random vectors as long as those of a file, as a control.")
    static final class RandomControl extends CliCommand {
        @Option(names = "--like", paramLabel = "V.gguf", required = true, description = "Layers and norms.")
        private Path like;

        @Option(names = "--seed", paramLabel = "N", required = true, description = "Equal seeds give equal vectors.")
        private long seed;

        @Option(names = "--out", paramLabel = "V.gguf", required = true, description = "Where to.")
        private Path target;

        @Override
        protected void run() {
            if (VisualVectorFile.isOne(like)) {
                final VisualVectorFile visual = VisualVectorFile.read(like);
                new VisualVectorFile(visual.modelHint(), RandomDirections.like(visual.vectors(), seed)).write(target);
            } else {
                final ControlVectorFile reference = ControlVectorFile.read(like);
                new ControlVectorFile(reference.modelHint(), RandomDirections.like(reference.vectors(), seed))
                        .write(target);
            }
            if (json()) {
                JsonDocument.print(out(), json -> json.put("file", target.toString()).put("seed", seed));
            } else {
                out().println(target + ": random vectors, seed " + seed);
            }
        }
    }
}
