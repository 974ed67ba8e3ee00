package dev.equipoise.bench.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What the launcher script refuses by itself, before it builds anything. */
class LauncherTest {
    @ParameterizedTest
    @CsvSource({"test, --loud", "jmh, --loud", "jmh, --regex"})
    void wrongOptionsOfItsOwnCommandsAreUsageErrors(final String command, final String option) throws Exception {
        final Path launcher = Path.of("..", "equipoise").toAbsolutePath().normalize();
        assumeTrue(Files.isExecutable(launcher), "not in a checkout");
        final ProcessBuilder builder = new ProcessBuilder(List.of(launcher.toString(), command, option));
        builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
        final Process process = builder.start();
        final String error = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals("", new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
        assertEquals(2, process.waitFor(), error);
        assertTrue(error.matches("equipoise: unknown option: " + option + ": usage: [^\\n]+\\n"), error);
    }

    /** What was built for other settings is not taken for what is asked. */
    @Test
    void theCpuVariantIsASettingOfTheBuild() throws Exception {
        final Path launcher = Path.of("..", "equipoise").toAbsolutePath().normalize();
        assumeTrue(Files.isExecutable(launcher), "not in a checkout");
        assumeTrue(System.getProperty("os.arch").equals("amd64"), "its variants have names here");
        final ProcessBuilder builder = new ProcessBuilder(launcher.toString(), "--version");
        builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
        builder.environment().put("EQUIPOISE_CPU_VARIANT", "abacus");
        List.of("EQUIPOISE_NATIVE_DIR", "EQUIPOISE_ALL_VARIANTS").forEach(builder.environment()::remove);
        final Process process = builder.redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        final String error = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(2, process.waitFor(), error);
        assertTrue(error.contains("EQUIPOISE_CPU_VARIANT is no variant of x86-64: abacus"), error);
    }
}
