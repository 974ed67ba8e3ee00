package dev.equipoise.bench.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Without the native library: what needs it says so, in a JVM of its own. */
class MissingLibraryTest {
    @TempDir
    Path directory;

    private CommandLineResult run(final Object... words) throws Exception {
        final List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "--enable-native-access=ALL-UNNAMED",
                "-Dequipoise.native.dir=" + directory,
                "-cp",
                System.getProperty("java.class.path"),
                Main.class.getName()));
        for (final Object word : words) {
            command.add(word.toString());
        }
        final Path out = directory.resolve("out");
        final Process process = new ProcessBuilder(command).redirectOutput(out.toFile()).start();
        final String error = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
        return new CommandLineResult(process.waitFor(), Files.readString(out), error);
    }

    @Test
    void doctorTellsTheRestAndTheExitCode() throws Exception {
        final CommandLineResult doctor = run("doctor", "--json");
        assertEquals(4, doctor.code(), doctor.err());
        new CommandLineResult(doctor.code(), "", doctor.err()).assertFails(4, "native library equipoise not found");
        final JsonNode json = JsonMapper.shared().readTree(doctor.out());
        assertTrue(json.get("llama_cpp").isNull());
        assertEquals("scalar", json.get("kernels").stringValue());
        assertTrue(json.get("jdk").isString());
    }

    @Test
    void modelsCannotRun() throws Exception {
        final Path model = TinyModels.llama(directory.resolve("tiny.gguf"), 7);
        run("run", "--model", model, "--prompt", "hi").assertFails(4, directory.toString());
        assertEquals(0, run("inspect", model).code());
    }
}
