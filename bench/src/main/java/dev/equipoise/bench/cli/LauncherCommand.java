package dev.equipoise.bench.cli;

import dev.equipoise.kernels.error.UnavailableException;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Commands that the launcher script carries out, listed here so that the help is whole. */
abstract class LauncherCommand extends CliCommand {
    @Parameters(arity = "0..*", hidden = true)
    private List<String> rest;

    @Override
    protected void run() {
        throw new UnavailableException(
                "only the launcher script can do this", spec.qualifiedName(), "run ./" + spec.qualifiedName());
    }

    /** All tests. */
    @Command(name = "test", description = "Run the native unit tests and mvn verify, as CI does.")
    static final class Test extends LauncherCommand {}

    /** Micro-benchmarks. */
    @Command(
            name = "jmh",
            description = "Run the JMH suite, or the benchmarks that match an expression. Everything but --help and "
                    + "--json goes to JMH, which lists its options with -h.")
    static final class Jmh extends LauncherCommand {}

    /** The training run. */
    @Command(name = "train", description = "Train the testbed model anew, reproducibly.")
    static final class Train extends LauncherCommand {
        @Option(names = "--out", paramLabel = "DIR", description = "Where to (default: target/testbed).")
        private Path directory;
    }
}
