package dev.equipoise.bench.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** How the command line is understood, and how it says that it was not. */
class MainTest {
    @TempDir
    Path directory;

    private static CommandLineResult with(final String words, final String... more) {
        return CommandLineResult.of(
                Stream.concat(Arrays.stream(words.split(" ")), Arrays.stream(more)).toList());
    }

    @Test
    void helpListsEveryCommand() {
        final CommandLineResult help = CommandLineResult.of("--help");
        assertEquals(0, help.code());
        for (final String command : List.of(
                "demo", "run", "logits", "explain", "inspect", "doctor", "bench", "synth", "testbed", "test", "jmh")) {
            assertTrue(help.out().lines().anyMatch(line -> line.startsWith("  " + command + " ")), command);
        }
        final CommandLineResult testbed = CommandLineResult.of("testbed", "--help");
        for (final String command : List.of("generate", "eval", "train")) {
            assertTrue(testbed.out().lines().anyMatch(line -> line.startsWith("  " + command + " ")), command);
        }
    }

    @Test
    void everyCommandHasHelp() {
        for (final String command : List.of(
                "demo", "run", "logits", "explain", "inspect", "doctor", "bench", "synth", "testbed", "test", "jmh")) {
            final CommandLineResult help = CommandLineResult.of(command, "--help");
            assertEquals(0, help.code(), command);
            assertTrue(help.out().startsWith("Usage: equipoise " + command), help.out());
        }
    }

    @Test
    void versionIsOneLine() {
        final CommandLineResult version = CommandLineResult.of("--version");
        assertEquals(0, version.code());
        assertTrue(version.out().matches("equipoise \\S+\\n"), version.out());
    }

    @Test
    void wrongCommandLinesAreUsageErrors() {
        CommandLineResult.of().assertFails(2, "no command");
        CommandLineResult.of("testbed").assertFails(2, "no command");
        CommandLineResult.of("sing").assertFails(2, "sing");
        CommandLineResult.of("doctor", "--loud").assertFails(2, "--loud");
        CommandLineResult.of("run", "--prompt", "hi").assertFails(2, "--model");
        CommandLineResult.of("run", "--model", "x.gguf").assertFails(2, "--prompt");
        CommandLineResult.of("run", "--model").assertFails(2, "--model");
        CommandLineResult.of("run", "--model", "x", "--prompt", "hi", "--seed", "soon").assertFails(2, "--seed");
        CommandLineResult.of("run", "--model", "x", "--prompt", "hi", "--kv-type", "f8")
                .assertFails(2, "'f8' is none of f16, f32, q8_0");
        CommandLineResult.of("bench", "--model", "x", "--flash-attention", "maybe")
                .assertFails(2, "'maybe' is none of on, off, auto");
        CommandLineResult.of("bench", "--model", "x", "--rounds", 0).assertFails(2, "rounds 0");
        CommandLineResult.of("synth", "--shape", "9000b", "--out", "x.gguf").assertFails(2, "9000b");
        CommandLineResult.of("synth", "--shape", "0.5b", "--quant", "q1", "--out", "x.gguf").assertFails(2, "q1");
        CommandLineResult.of("testbed", "generate", "--seed", 1, "--items", 0, "--out", "x")
                .assertFails(2, "out of range");
        CommandLineResult.of("run", "--model", "x", "--model", "y", "--prompt", "hi").assertFails(2, "--model");
        CommandLineResult.of("inspect").assertFails(2, "FILE.gguf");
        CommandLineResult.of("inspect", "a.gguf", "b.gguf").assertFails(2, "b.gguf");
        CommandLineResult.of("demo", "--mmproj", "x.gguf").assertFails(2, "--mmproj without --model");
    }

    @Test
    void aResultThatCannotBeWrittenIsAFailure() {
        final OutputStream full = new OutputStream() {
            @Override
            public void write(final int b) throws IOException {
                throw new IOException("No space left on device");
            }
        };
        for (final List<String> words : List.of(List.of("doctor"), List.of("doctor", "--json"))) {
            final ByteArrayOutputStream err = new ByteArrayOutputStream();
            assertEquals(ExitCode.UNAVAILABLE, Main.execute(words, full, err));
            assertEquals(
                    "equipoise: the result could not be written (No space left on device): standard output: "
                            + "send it where there is room, and a reader to its end\n",
                    err.toString(StandardCharsets.UTF_8));
        }
    }

    @Test
    void whatOnlyTheLauncherCanDoIsUnavailableHere() {
        CommandLineResult.of("test").assertFails(4, "./equipoise test");
        CommandLineResult.of("jmh", "Contrast.*").assertFails(4, "./equipoise jmh");
        assertTrue(CommandLineResult.of("testbed", "train", "--help").out().contains("--out=DIR"));
        CommandLineResult.of("testbed", "train").assertFails(4, "./equipoise testbed train");
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "--json testbed generate", "testbed --json generate", "testbed generate --json",
        "--json testbed --json generate --json"
    })
    void jsonMayStandAnywhere(final String words) {
        final CommandLineResult result =
                with(words, "--seed", "1", "--items", "1", "--out", directory.toString());
        assertEquals(0, result.code(), result.err());
        assertTrue(result.out().startsWith("{"), result.out());
    }

    @ParameterizedTest
    @ValueSource(strings = {"--debug inspect", "inspect --debug"})
    void debugAddsTheStackTrace(final String words) {
        final CommandLineResult result = with(words, directory.resolve("none.gguf").toString());
        assertEquals(3, result.code());
        assertTrue(result.err().startsWith("equipoise: no such file: "), result.err());
        assertTrue(result.err().contains("\tat dev.equipoise."), result.err());
    }

    @Test
    void argumentsThatNameFilesWithAtAreLeftAsTheyAre() throws Exception {
        final Path file = Files.writeString(directory.resolve("words"), "--help");
        CommandLineResult.of("run", "--prompt", "hi", "--model", "@" + file).assertFails(3, "@" + file);
    }

    @Test
    void longAndHostileArgumentsStayOnOneLine() {
        CommandLineResult.of("inspect", "a\nb\u001b[31m\u2028c").assertFails(3, "a b");
        final CommandLineResult result = CommandLineResult.of("sing" + "x".repeat(100_000)).assertFails(2, "singx");
        assertTrue(result.err().length() < 2000, "shortened");
    }
}
