package dev.equipoise.bench.cli;

import dev.equipoise.bench.speed.SpeedCommand;
import dev.equipoise.runtime.DrawIn;
import dev.equipoise.runtime.FlashAttention;
import dev.equipoise.runtime.KvType;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.Logger;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine;

/** The command line. */
@Command(
        name = "equipoise",
        description = "Hosts quantised multimodal models and corrects their modality bias while they generate.",
        mixinStandardHelpOptions = true,
        scope = ScopeType.INHERIT,
        versionProvider = Version.class,
        sortOptions = false,
        usageHelpAutoWidth = true,
        subcommands = {
            DemoCommand.class,
            RunCommand.class,
            LogitsCommand.class,
            ExplainCommand.class,
            InspectCommand.class,
            DoctorCommand.class,
            SpeedCommand.class,
            SteerCommand.class,
            SynthCommand.class,
            TestbedCommand.class,
            LauncherCommand.Test.class,
            LauncherCommand.Jmh.class
        })
public final class Main extends CliCommand {
    // Kept, since the log manager holds its loggers weakly.
    private static final Logger LOGGER = Logger.getLogger("dev.equipoise");
    private static final String DEBUG = "--debug";

    @Option(
            names = "--json",
            scope = ScopeType.INHERIT,
            // Spelled out: without it, a second --json on the line would take the first one back.
            defaultValue = "false",
            description = "Print exactly one JSON document on standard output.")
    private boolean json;

    @Option(
            names = DEBUG,
            scope = ScopeType.INHERIT,
            defaultValue = "false",
            description = "Print logs, and the stack trace of an error.")
    private boolean debug;

    private Main() {}

    /** Runs a command and ends the JVM with its exit code. */
    public static void main(final String[] arguments) {
        final boolean debug = Arrays.asList(arguments).contains(DEBUG);
        final PrintWriter err = writer(System.err);
        int code;
        try {
            // Not System.out, which keeps to itself that it could not write.
            code = execute(
                    List.of(Arguments.ofProcess(arguments)), new FileOutputStream(FileDescriptor.out), System.err);
        } catch (final RuntimeException e) {
            code = Failure.report(e, err, debug);
        }
        System.exit(code);
    }

    /**
     * Runs a command in this process.
     *
     * @param arguments the command and its options
     * @param out receives the result as UTF-8; flushed, not closed
     * @param err receives errors and progress likewise
     * @return the exit code
     */
    public static int execute(final List<String> arguments, final OutputStream out, final OutputStream err) {
        final PrintWriter errors = writer(err);
        final ResultStream written = new ResultStream(out);
        final PrintWriter results = writer(written);
        final boolean debug = arguments.contains(DEBUG);
        log(debug);
        int code;
        try {
            final CommandLine line = commandLine(results, errors);
            // Not by picocli's execute, which prints the stack traces of errors that it has no handler for.
            code = line.getExecutionStrategy().execute(line.parseArgs(arguments.toArray(String[]::new)));
        } catch (final Exception | Error e) {
            code = Failure.report(e, errors, debug);
        }
        // Flushes, too. A result that nobody can have is none.
        if (results.checkError() && code == ExitCode.DONE) {
            code = Failure.report(ResultStream.lost(written.failure()), errors, debug);
        }
        errors.flush();
        return code;
    }

    private static CommandLine commandLine(final PrintWriter results, final PrintWriter errors) {
        return new CommandLine(new Main())
                .registerConverter(Path.class, Paths::parse)
                .registerConverter(KvType.class, Choice.of(List.of(KvType.values()), KvType::label))
                .registerConverter(
                        FlashAttention.class,
                        Choice.of(List.of(FlashAttention.values()), choice -> choice.name().toLowerCase(Locale.ROOT)))
                .registerConverter(
                        DrawIn.class,
                        Choice.of(List.of(DrawIn.values()), choice -> choice.name().toLowerCase(Locale.ROOT)))
                .setOut(results)
                .setErr(errors)
                // A note that begins with @ is a note.
                .setExpandAtFiles(false);
    }

    // What llama.cpp has to say of an error is part of the error: its log is for those who ask.
    private static void log(final boolean debug) {
        LOGGER.setLevel(debug ? Level.ALL : Level.OFF);
        if (debug) {
            for (final Handler handler : Logger.getLogger("").getHandlers()) {
                handler.setLevel(Level.ALL);
            }
        }
    }

    @Override
    protected boolean json() {
        return json;
    }

    @Override
    protected void run() {
        throw new ParameterException(spec.commandLine(), "no command");
    }

    private static PrintWriter writer(final OutputStream stream) {
        return new PrintWriter(new OutputStreamWriter(stream, StandardCharsets.UTF_8));
    }
}
