package dev.equipoise.bench.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.equipoise.kernels.error.UnavailableException;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GreedyDecodingBenchmarkTest {
    private static final int UNAVAILABLE = 4;

    /** Prints what the measured binding answers. */
    static final class Answer {
        private Answer() {}

        public static void main(final String[] arguments) {
            System.setOut(new PrintStream(System.out, true, StandardCharsets.UTF_8));
            final GreedyDecodingBenchmark benchmark = new GreedyDecodingBenchmark(arguments[0]);
            try {
                benchmark.open();
            } catch (final UnavailableException e) {
                System.err.println(e.getMessage());
                Runtime.getRuntime().halt(UNAVAILABLE);
            }
            final String answer = benchmark.decode();
            benchmark.close();
            System.out.println("answer:" + answer.replace('\n', ' '));
            // java-llama.cpp leaves a thread behind that keeps the JVM alive.
            Runtime.getRuntime().halt(0);
        }
    }

    // java-llama.cpp unpacks its library there and, halted, leaves it behind.
    @TempDir
    private Path temporary;

    @Test
    void bothBindingsGiveTheSameAnswer() throws IOException, InterruptedException {
        final String ours = answer("equipoise");
        assertEquals(ours, answer("equipoise"), "greedy decoding repeats itself");
        assertEquals(ours, answer("java-llama.cpp"));
    }

    // Each in a JVM of its own, as JMH runs them: two builds of llama.cpp are not meant to meet in one process, and a
    // machine on which the other aborts shall not take the tests along.
    private String answer(final String binding) throws IOException, InterruptedException {
        final Process process = new ProcessBuilder(List.of(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--enable-native-access=ALL-UNNAMED",
                        "-Dequipoise.native.dir=" + System.getProperty("equipoise.native.dir"),
                        "-Djava.io.tmpdir=" + temporary,
                        "-cp",
                        System.getProperty("java.class.path"),
                        Answer.class.getName(),
                        binding))
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        final String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        final int code = process.waitFor();
        assumeTrue(
                code == 0 || binding.equals("equipoise"), binding + " cannot run here: it ended with code " + code);
        assertEquals(0, code, output);
        return output.lines()
                .filter(line -> line.startsWith("answer:"))
                .findFirst()
                .orElseThrow();
    }
}
