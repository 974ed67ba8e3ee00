package dev.equipoise.bench.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.equipoise.runtime.gguf.GgufFile;
import java.awt.image.BufferedImage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/** {@code inspect}, {@code doctor}, {@code demo}, {@code testbed}: the documents they promise. */
class OtherCommandsTest {
    @TempDir
    static Path directory;

    private static CliFixtures files;

    @BeforeAll
    static void write() {
        files = new CliFixtures(directory);
    }

    private static List<String> keys(final JsonNode node) {
        return List.copyOf(node.propertyNames());
    }

    @Test
    void inspectShowsTheWholeHeader() {
        for (final Path path : List.of(files.model, files.mmproj)) {
            final GgufFile file = GgufFile.read(path);
            final JsonNode header = CommandLineResult.json("inspect", path);
            assertEquals(List.of("version", "architecture", "metadata", "tensors", "parameters"), keys(header));
            assertEquals(3, header.get("version").intValue());
            assertEquals(file.architecture(), header.get("architecture").stringValue());
            assertEquals(List.copyOf(file.metadata().keySet()), keys(header.get("metadata")));
            assertEquals(file.parameters(), header.get("parameters").longValue());
            assertEquals(file.tensors().size(), header.get("tensors").size());
            final JsonNode tensor = header.get("tensors").get(1);
            assertEquals(List.of("name", "type", "shape", "offset"), keys(tensor));
            assertEquals(file.tensors().get(1).name(), tensor.get("name").stringValue());
            assertEquals(file.tensors().get(1).offset(), tensor.get("offset").longValue());
            assertEquals(file.tensors().get(1).shape().length, tensor.get("shape").size());
        }
        final JsonNode words = CommandLineResult.json("inspect", files.model).get("metadata");
        assertEquals(512, words.get("tokenizer.ggml.tokens").size());
        assertEquals(512, words.get("llama.context_length").intValue());
    }

    @Test
    void inspectIsShortForPeople() {
        final CommandLineResult header = CommandLineResult.of("inspect", files.model);
        assertEquals(0, header.code(), header.err());
        assertTrue(header.out().startsWith("GGUF version 3, architecture llama, 39 tensors"), header.out());
        assertTrue(header.out().lines().allMatch(line -> line.length() < 200), header.out());
    }

    @Test
    void doctorSaysWhatIsThere() {
        final JsonNode doctor = CommandLineResult.json("doctor");
        assertTrue(keys(doctor).containsAll(
                Set.of("jdk", "equipoise", "llama_cpp", "patch", "cpu", "kernels", "gpus", "cuda")), doctor.toString());
        assertTrue(doctor.get("jdk").stringValue().startsWith(String.valueOf(Runtime.version().feature())));
        assertEquals("0.5.0", doctor.get("llama_cpp").stringValue());
        assertTrue(doctor.get("cpu").get("variant").isString());
        assertTrue(Set.of("llama.cpp", "avx2", "avx512vnni")
                .contains(doctor.get("cpu").get("products").stringValue()));
        // These tests run with the native library, or not at all.
        assertEquals("native", doctor.get("kernels").stringValue());
        final JsonNode cuda = doctor.get("cuda");
        assertEquals(List.of("available", "reason", "device"), keys(cuda));
        assertEquals(cuda.get("available").booleanValue(), cuda.get("reason").isNull());
        assertEquals(cuda.get("available").booleanValue(), cuda.get("device").isString());
        assertEquals(8, CommandLineResult.of("doctor").out().lines().count());
    }

    @Test
    void demoAnswersWithEveryStrategy() {
        final JsonNode demo = CommandLineResult.json(
                "demo", "--model", files.model, "--mmproj", files.mmproj, "--threads", 1,
                "--strategies", "plain,vcd,cad");
        assertEquals(List.of("item", "answers"), keys(demo));
        final JsonNode item = demo.get("item");
        assertEquals(List.of("image", "audio", "context", "question", "truth"), keys(item));
        assertTrue(Files.isRegularFile(Path.of(item.get("image").stringValue())));
        assertTrue(Files.isRegularFile(Path.of(item.get("audio").stringValue())));
        assertEquals(3, demo.get("answers").size());
        for (final JsonNode answer : demo.get("answers")) {
            assertTrue(keys(answer).containsAll(Set.of("strategy", "text", "follows", "tokens_per_s")));
            assertTrue(Set.of("image", "audio", "context", "other").contains(answer.get("follows").stringValue()));
            assertTrue(answer.get("tokens_per_s").doubleValue() > 0);
        }
    }

    @Test
    void theBundledModelAnswersTheDemo() {
        final CommandLineResult demo = CommandLineResult.of("demo");
        assertEquals(0, demo.code(), demo.err());
        // The point of it: the plain answer follows the note, and a contrast can bring it back to the picture.
        assertTrue(demo.out().lines().anyMatch(line -> line.matches("plain +\\w+ +context .*")), demo.out());
        assertTrue(demo.out().lines().anyMatch(line -> line.matches("look-closer +\\w+ +image .*")), demo.out());
    }

    @Test
    void generatedItemsAreEvaluatedByCondition() {
        final Path out = directory.resolve("generated");
        final JsonNode generated =
                CommandLineResult.json("testbed", "generate", "--seed", 9, "--items", 10, "--out", out);
        final Path data = Path.of(generated.get("data").stringValue());
        assertEquals(out.resolve("items.jsonl"), data);
        final JsonNode result = CommandLineResult.json(
                "testbed", "eval", "--data", data, "--model", files.model, "--mmproj", files.mmproj, "--threads", 1);
        assertEquals(10, result.get("n").intValue());
        assertEquals("plain", result.get("strategy").stringValue());
        assertTrue(result.get("tokens_per_s").doubleValue() > 0);
        assertEquals(
                List.of("consistent", "conflict", "image-only", "audio-only", "text-only", "absent"),
                keys(result.get("conditions")));
        int n = 0;
        for (final JsonNode condition : result.get("conditions")) {
            n += condition.get("n").intValue();
            assertTrue(condition.get("accuracy").isNumber());
            assertTrue(condition.get("tokens_per_s").doubleValue() > 0);
            assertEquals(2, condition.get("accuracy_ci95").size());
            assertEquals(List.of("image", "audio", "context", "other"), keys(condition.get("follows")));
        }
        assertEquals(10, n);
        assertEquals(1.0, result.get("tokens_per_s_ratio").get("median").doubleValue());
    }

    @Test
    void severalFilesMakeOneTable() {
        final List<String> data = Stream.of(9, 10)
                .map(seed -> CommandLineResult.json(
                        "testbed", "generate", "--seed", seed, "--items", 10, "--out", directory.resolve("t" + seed)))
                .map(made -> made.get("data").stringValue())
                .toList();
        final CommandLineResult result = CommandLineResult.of(
                "testbed", "eval", "--data", data.getFirst(), "--data", data.getLast(), "--strategy", "greedy",
                "--strategy", "cad", "--table", "--model", files.model, "--mmproj", files.mmproj, "--threads", 1);
        final List<String> lines = result.out().lines().toList();
        assertEquals(4, lines.size());
        // Each file of ten has one conflict without an instruction and two consistent items, one of them yes or no.
        assertTrue(lines.getFirst().contains("follows the note (n 2) | consistent right (n 4) | says yes (n 6)"));
        assertTrue(lines.get(2).startsWith("| `greedy` |"));
        assertTrue(lines.get(2).contains("| 1.00 (1.00-1.00) | 0 |"));
        assertTrue(lines.get(3).startsWith("| `cad` |"));
    }

    @Test
    void effectsAreDrawn() throws Exception {
        final Path data = Path.of(CommandLineResult.json(
                        "testbed", "generate", "--seed", 9, "--items", 20, "--out", directory.resolve("drawn"))
                .get("data")
                .stringValue());
        final Path chart = directory.resolve("chart.png");
        final CommandLineResult result = CommandLineResult.of(
                "testbed", "eval", "--data", data, "--strategy", "greedy", "--strategy", "cad", "--chart", chart,
                "--model", files.model, "--mmproj", files.mmproj, "--threads", 1);
        assumeTrue(result.code() != ExitCode.UNAVAILABLE, result.err());
        assertEquals(0, result.code(), result.err());
        final BufferedImage drawn = ImageIO.read(chart.toFile());
        final Set<Integer> colours = new HashSet<>();
        for (int x = 0; x < drawn.getWidth(); x++) {
            for (int y = 0; y < drawn.getHeight(); y++) {
                colours.add(drawn.getRGB(x, y) & 0xffffff);
            }
        }
        assertTrue(colours.containsAll(Set.of(0x1f77b4, 0xffb55a)), "bars of two colours");
    }

    @Test
    void evalOfARuleForOptionsReportsItsConflict() {
        final Path out = directory.resolve("options");
        final JsonNode generated =
                CommandLineResult.json("testbed", "generate", "--seed", 4, "--items", 10, "--out", out);
        final JsonNode result = CommandLineResult.json(
                "testbed", "eval", "--data", generated.get("data").stringValue(), "--strategy", "dcd",
                "--model", files.model, "--mmproj", files.mmproj, "--threads", 1);
        final JsonNode conflict = result.get("option_conflict");
        assertEquals(List.of("n", "agreed", "agreeing", "disagreeing"), keys(conflict));
        // Notes alone, and options that begin alike for this model, are nothing to choose between twice.
        final int n = conflict.get("n").intValue();
        assertEquals(10 - result.get("not_applied").intValue(), n);
        assertTrue(n > 0 && conflict.get("agreed").intValue() <= n, conflict.toString());
        for (final String mean : List.of("agreeing", "disagreeing")) {
            assertTrue(conflict.get(mean).isNull() || conflict.get(mean).doubleValue() >= 0, conflict.toString());
        }
        assertEquals("dcd", result.get("strategy").stringValue());
    }

    @Test
    void strategiesAreEvaluatedSideBySideAndBrokenLinesReported() throws Exception {
        final Path data = files.data.resolveSibling("broken.jsonl");
        Files.write(data, Files.readAllLines(files.data).subList(3, 5));
        Files.writeString(data, "{}\n", StandardOpenOption.APPEND);
        final JsonNode result = CommandLineResult.json(
                "testbed", "eval", "--data", data, "--skip-bad", "--strategy", "plain", "--strategy", "vcd",
                "--model", files.model, "--mmproj", files.mmproj, "--threads", 1);
        assertEquals(3, result.get("skipped").get(0).get("line").intValue());
        assertEquals(2, result.get("arms").size());
        assertEquals("vcd", result.get("arms").get(1).get("strategy").stringValue());
        // One item is sound alone, one is a note alone: nothing for a contrast of pictures.
        assertEquals(2, result.get("arms").get(1).get("not_applied").intValue());
    }
}
