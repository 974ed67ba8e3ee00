package dev.equipoise.bench.speed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class SpeedCommandTest {
    @TempDir
    private Path folder;

    private final StringWriter out = new StringWriter();
    private Path model;

    @Command(name = "equipoise", subcommands = SpeedCommand.class)
    private static final class Root {
        @Option(names = "--json", scope = ScopeType.INHERIT)
        private boolean json;
    }

    @BeforeEach
    void writeModel() {
        model = SpeedFixtures.model(folder);
    }

    private int run(final String... options) {
        final List<String> words = new ArrayList<>(List.of("bench", "--model", model.toString()));
        words.addAll(List.of("--rounds", "2", "--warm-up", "0", "--prompt-tokens", "8"));
        words.addAll(List.of("--threads", "1"));
        words.addAll(List.of(options));
        if (!words.contains("--tokens")) {
            words.addAll(List.of("--tokens", "4"));
        }
        return new CommandLine(new Root())
                .setOut(new PrintWriter(out))
                .setCaseInsensitiveEnumValuesAllowed(true)
                .setExecutionExceptionHandler((e, line, parsed) -> {
                    throw e;
                })
                .execute(words.toArray(String[]::new));
    }

    @Test
    void printsTheDocumentOfTheContract() throws IOException {
        final Path saved = folder.resolve("result.json");
        assertEquals(0, run("--strategies", "cad,plain", "--kv-type", "f32", "--out", saved.toString(), "--json"));
        final JsonNode document = JsonMapper.shared().readTree(out.toString());
        assertEquals("tiny.gguf", document.path("model").asString());
        assertTrue(document.path("machine").path("cores").asInt() > 0);
        assertEquals(2, document.path("arms").size());
        for (final JsonNode arm : document.path("arms")) {
            assertTrue(arm.path("strategy").isString());
            for (final String percentile : List.of("p50", "p99")) {
                assertTrue(arm.path("ttft_ms").path(percentile).asDouble() > 0);
                assertTrue(arm.path("itl_ms").path(percentile).asDouble() > 0);
            }
            assertTrue(arm.path("itl_ms").path("p90").asDouble() > 0);
            assertTrue(arm.path("tokens_per_s").asDouble() > 0);
            for (final String part : List.of("median", "min", "max")) {
                assertTrue(arm.path("ratio_to_plain").path(part).asDouble() > 0);
            }
            assertEquals(2, arm.path("ms_per_token").size());
        }
        assertEquals("f32", document.path("settings").path("kv_type").asString());
        assertTrue(document.path("comparisons").isMissingNode());
        final String command = document.path("command").asString();
        final String start = "./equipoise bench --model tiny.gguf --strategies cad,plain --tokens 4";
        assertTrue(command.startsWith(start), command);
        assertFalse(out.toString().contains(folder.toString()), "the folders of this machine mean nothing elsewhere");
        assertEquals(document, JsonMapper.shared().readTree(Files.readString(saved)));
    }

    @Test
    void comparesWithLlamaInOneDocument() {
        FakePrograms.write(folder);
        assertEquals(0, run("--against-llama-bench", "--llama-bin", folder.toString(), "--json"));
        final JsonNode document = JsonMapper.shared().readTree(out.toString());
        final JsonNode first = document.path("comparisons").path(0);
        assertEquals(0.99, first.path("target").path("at_least").asDouble());
        assertEquals(2, first.path("ratio").path("n").asInt());
        assertTrue(first.path("ratio").path("ci95").isNull(), "two rounds give no interval");
        assertEquals(1.05, document.path("comparisons").path(1).path("target").path("at_most").asDouble());
        assertTrue(document.path("comparisons").path(2).path("target").isNull());
        assertEquals(4, document.path("arms").size());
        assertTrue(document.path("llama_cpp").path("version").isString());
    }

    @Test
    void comparesWorkloadsInOneDocument() {
        FakePrograms.write(folder);
        assertEquals(0, run("--workloads", "--llama-bin", folder.toString(), "--tokens", "40", "--json"));
        final JsonNode document = JsonMapper.shared().readTree(out.toString());
        final List<String> names = new ArrayList<>();
        document.path("comparisons").forEach(comparison -> {
            names.add(comparison.path("name").asString());
            assertTrue(comparison.path("ratio").path("median").asDouble() > 0);
        });
        assertEquals(8, names.size(), names::toString);
        assertEquals("8 mixed requests against llama-batched-bench, 10 rows each", names.get(6));
        assertEquals(0.9, document.path("comparisons").path(6).path("target").path("at_least").asDouble());
        final JsonNode gate = document.path("arms").path(1);
        assertTrue(gate.path("remark").asString().matches("open at (1[6-9]|2[0-4]) % of its tokens"), gate::toString);
    }

    @Test
    void printsATableForPeople() {
        assertEquals(0, run("--strategies", "cad"));
        assertTrue(out.toString().lines().anyMatch(line -> line.startsWith("cad ")), out.toString());
    }

    @Test
    void refusesWhatCannotBeMeasured() {
        assertThrows(BadInputException.class, () -> call("--strategies", "nonsense"));
        assertThrows(BadInputException.class, () -> call("--out", folder.resolve("no/such/folder.json").toString()));
        assertThrows(CommandLine.ParameterException.class, () -> call("--rounds", "0"));
        assertThrows(
                CommandLine.ParameterException.class,
                () -> call("--against-llama-bench", "--strategies", "cad", "--llama-bin", folder.toString()));
    }

    private void call(final String... options) throws Exception {
        final SpeedCommand command = new SpeedCommand();
        final List<String> words = new ArrayList<>(List.of("--model", model.toString(), "--tokens", "4"));
        words.addAll(List.of(options));
        new CommandLine(command).parseArgs(words.toArray(String[]::new));
        command.call();
    }
}
