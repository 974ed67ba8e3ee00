package dev.equipoise.bench.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.kernels.error.LifetimeException;
import dev.equipoise.kernels.error.UnavailableException;
import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;
import picocli.CommandLine.ExecutionException;

/** Each kind of error has its exit code and its one line. */
class FailureTest {
    private static void assertFailure(final int code, final String line, final Throwable thrown) {
        assertEquals(new Failure(line, code), Failure.of(thrown));
    }

    @Test
    void typedErrorsSayWhatWhereAndRemedy() {
        assertFailure(3, "equipoise: a: b: c", new BadInputException("a", "b", "c"));
        assertFailure(4, "equipoise: a: b: c", new UnavailableException("a", "b", "c"));
        assertFailure(1, "equipoise: a: b: c", new LifetimeException("a", "b", "c"));
        assertFailure(1, "equipoise: a: b: c", new InternalException("a", "b", "c"));
        final CommandLine line = new CommandLine(new InspectCommand());
        assertFailure(3, "equipoise: a: b: c", new ExecutionException(line, "x", new BadInputException("a", "b", "c")));
    }

    @Test
    void whateverElseIsABug() {
        assertEquals(1, Failure.of(new IllegalStateException("oh\nno")).exitCode());
        assertEquals(1, Failure.of(new OutOfMemoryError()).exitCode());
        assertEquals(1, Failure.of(new StackOverflowError()).exitCode());
        assertTrue(Failure.of(new IllegalStateException("oh\nno")).line().contains("oh no"));
    }

    @Test
    void theTraceIsForThoseWhoAsk() {
        final StringWriter quiet = new StringWriter();
        final StringWriter loud = new StringWriter();
        assertEquals(3, Failure.report(new BadInputException("a", "b", "c"), new PrintWriter(quiet), false));
        assertEquals(3, Failure.report(new BadInputException("a", "b", "c"), new PrintWriter(loud), true));
        assertEquals(1, quiet.toString().lines().count());
        assertTrue(loud.toString().lines().count() > 1);
    }
}
