package dev.equipoise.bench.cli;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.EquipoiseException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.kernels.error.LifetimeException;
import dev.equipoise.kernels.error.UnavailableException;
import java.io.PrintWriter;
import java.util.Objects;
import picocli.CommandLine.ExecutionException;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/**
 * A failure as a command line reports it.
 *
 * @param line {@code equipoise: WHAT: WHERE: REMEDY}
 * @param exitCode see {@link ExitCode}
 */
record Failure(String line, int exitCode) {
    /** Longest line: messages quote arguments, and an argument may be a whole book. */
    private static final int MAX_LENGTH = 1000;

    /** Prints the failure, with its stack trace if that is asked for, and returns the exit code. */
    static int report(final Throwable thrown, final PrintWriter err, final boolean debug) {
        final Failure failure = of(thrown);
        err.println(failure.line());
        if (debug) {
            thrown.printStackTrace(err);
        }
        err.flush();
        return failure.exitCode();
    }

    static Failure of(final Throwable thrown) {
        return switch (thrown) {
            case EquipoiseException known -> new Failure(
                    line(known.what(), known.where(), known.remedy()),
                    switch (known) {
                        case BadInputException bad -> ExitCode.BAD_INPUT;
                        case UnavailableException missing -> ExitCode.UNAVAILABLE;
                        case LifetimeException misuse -> ExitCode.INTERNAL;
                        case InternalException bug -> ExitCode.INTERNAL;
                    });
            case UsageException usage -> new Failure(
                    line(usage.refused().what(), usage.refused().where(), usage.refused().remedy()), ExitCode.USAGE);
            // An argument that the API refuses while it is converted is bad input, not a wrong command line.
            case ParameterException usage when usage.getCause() instanceof EquipoiseException cause -> of(cause);
            case ParameterException usage -> usage(usage);
            case ExecutionException wrapped when wrapped.getCause() != null -> of(wrapped.getCause());
            // A class that binds a native library fails so when the library is missing.
            case ExceptionInInitializerError binding when binding.getCause() instanceof EquipoiseException cause ->
                of(cause);
            case OutOfMemoryError memory -> new Failure(
                    line("out of memory", Objects.toString(memory.getMessage(), "Java heap"),
                            "give the JVM more (EQUIPOISE_JAVA_OPTS=-Xmx...), or use smaller input"),
                    ExitCode.INTERNAL);
            case StackOverflowError deep -> new Failure(
                    line("input nested too deeply", "stack of the JVM", "report this as a bug with the input"),
                    ExitCode.INTERNAL);
            default -> new Failure(
                    line("internal error", thrown.toString(), "report this as a bug with the output of --debug"),
                    ExitCode.INTERNAL);
        };
    }

    private static Failure usage(final ParameterException usage) {
        final String what = usage instanceof UnmatchedArgumentException unmatched && !unmatched.getUnmatched().isEmpty()
                ? "unknown option or argument '" + unmatched.getUnmatched().getFirst() + "'"
                // Colons part what is wrong from where.
                : usage.getMessage().replace(": ", " ");
        final String command = usage.getCommandLine().getCommandSpec().qualifiedName();
        return new Failure(line(what, command, "see " + command + " --help"), ExitCode.USAGE);
    }

    private static String line(final String what, final String where, final String remedy) {
        final StringBuilder line = new StringBuilder();
        // Whatever is quoted stays on the line, and a terminal is told nothing by it.
        (shortened(what) + ": " + shortened(where) + ": " + shortened(remedy)).codePoints()
                .map(c -> Character.isISOControl(c) || c == 0x2028 || c == 0x2029 ? ' ' : c)
                .forEach(line::appendCodePoint);
        return "equipoise: " + line;
    }

    private static String shortened(final String text) {
        return text.length() <= MAX_LENGTH ? text : text.substring(0, MAX_LENGTH) + "...";
    }
}
