package dev.equipoise.bench.cli;

import dev.equipoise.bench.demo.GeneratedItems;
import dev.equipoise.bench.testbed.ItemWriter;
import java.nio.file.Path;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** The conflict world: its data, and how a model fares on them. */
@Command(
        name = "testbed",
        description = "Data of the conflict world, and how a model fares on them.",
        subcommands = {
            TestbedCommand.Generate.class,
            TestbedEvalCommand.class,
            LauncherCommand.Train.class
        })
final class TestbedCommand extends CliCommand {
    @Override
    protected void run() {
        throw new ParameterException(spec.commandLine(), "no command");
    }

    /** Writes items. */
    @Command(name = "generate", description = "Write unseen items of the conflict world: PNG, WAV, items.jsonl.")
    static final class Generate extends CliCommand {
        @Option(names = "--seed", paramLabel = "N", required = true, description = "Equal seeds give equal items.")
        private long seed;

        @Option(names = "--items", paramLabel = "N", required = true, description = "How many.")
        private int items;

        @Option(names = "--out", paramLabel = "DIR", required = true, description = "Where to; made if need be.")
        private Path directory;

        @Override
        protected void run() {
            final Path file = ItemWriter.write(directory, new GeneratedItems(seed, items));
            if (json()) {
                JsonDocument.print(out(), json -> json.put("data", file.toString())
                        .put("items", items)
                        .put("seed", seed));
            } else {
                out().println(items + " items: " + file);
            }
        }
    }
}
