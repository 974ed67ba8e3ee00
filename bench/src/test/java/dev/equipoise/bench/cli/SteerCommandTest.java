package dev.equipoise.bench.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.bench.pairs.PairReader;
import dev.equipoise.bench.testbed.Item;
import dev.equipoise.bench.testbed.ItemReader;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.steering.vector.ControlVectorFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/** {@code steer extract} and {@code steer show}: the documents and files they promise, on a tiny random model. */
class SteerCommandTest {
    @TempDir
    static Path directory;

    private static CliFixtures files;
    private static Path pairs;

    @BeforeAll
    static void write() throws IOException {
        files = new CliFixtures(directory);
        pairs = Files.writeString(directory.resolve("pairs.jsonl"), """
                {"image": "items/3-000000.png", "prompt": "colour?", "positive": {"system": "a b"}, \
                "negative": {"system": "c d"}}
                {"context": "a note", "prompt": "shape?", "positive": {"system": "a b"}, "negative": {"system": "c d"}}
                {"prompt": "sound?", "positive": {"system": "a b"}, "negative": {"system": "c d"}}
                """);
    }

    private static Object[] words(final Path out, final Object... more) {
        final List<Object> words = new ArrayList<>(List.of(
                "steer", "extract", "--model", files.model, "--mmproj", files.mmproj, "--threads", 1,
                "--pairs", pairs, "--out", out));
        words.addAll(Arrays.asList(more));
        return words.toArray();
    }

    private static List<Integer> layers(final JsonNode document) {
        return document.get("layers").valueStream().map(layer -> layer.get("layer").intValue()).toList();
    }

    @Test
    void extractReadsMeansBelowTheLastBlock() {
        final Path out = directory.resolve("condition.gguf");
        final JsonNode means = CommandLineResult.json(words(out, "--method", "pca-center", "--mean"));
        assertEquals("mean", means.get("pooling").stringValue());
        assertEquals(List.of(0, 1, 2), layers(means));
        CommandLineResult.of(words(out, "--method", "mean", "--mean", "--layers", "all")).assertFails(3, "0-2");
    }

    @Test
    void extractWritesAFileThatShowDescribes() {
        final Path out = directory.resolve("mean.gguf");
        final JsonNode extracted = CommandLineResult.json(words(out, "--method", "mean"));
        assertEquals(
                List.of("file", "model_hint", "method", "pairs", "position", "pooling", "width", "layers"),
                List.copyOf(extracted.propertyNames()));
        assertEquals(out.toString(), extracted.get("file").stringValue());
        assertEquals("mean", extracted.get("method").stringValue());
        assertEquals(3, extracted.get("pairs").intValue());
        assertEquals(-1, extracted.get("position").intValue());
        assertEquals("position", extracted.get("pooling").stringValue());
        // Without a choice, what llama.cpp can read too.
        assertEquals(List.of(1, 2, 3), layers(extracted));

        final LayerVectors vectors = ControlVectorFile.read(out).vectors();
        final JsonNode shown = CommandLineResult.json("steer", "show", out);
        assertEquals(List.of("model_hint", "width", "layers"), List.copyOf(shown.propertyNames()));
        for (final JsonNode document : List.of(extracted, shown)) {
            assertEquals("llama", document.get("model_hint").stringValue());
            assertEquals(CliFixtures.WIDTH, document.get("width").intValue());
            assertEquals(List.copyOf(vectors.layers()), layers(document));
            for (final JsonNode layer : document.get("layers")) {
                assertEquals(vectors.norm(layer.get("layer").intValue()), layer.get("norm").doubleValue());
            }
        }
        for (final JsonNode layer : extracted.get("layers")) {
            final double agreement = layer.get("agreement").doubleValue();
            assertTrue(agreement >= 0 && agreement <= 1);
        }
    }

    @Test
    void componentsAreUnitVectorsOfTheChosenLayers() {
        for (final String method : List.of("pca-diff", "pca-diff-uncentred", "pca-center")) {
            final Path out = directory.resolve(method + ".gguf");
            final JsonNode extracted = CommandLineResult.json(
                    words(out, "--method", method, "--layers", "25%-75%", "--position", -2));
            assertEquals(method, extracted.get("method").stringValue());
            assertEquals(-2, extracted.get("position").intValue());
            assertEquals(List.of(1, 2), layers(extracted));
            for (final JsonNode layer : extracted.get("layers")) {
                assertEquals(1, layer.get("norm").doubleValue(), 1e-6);
            }
        }
        final Path alias = directory.resolve("pca.gguf");
        CommandLineResult.json(words(alias, "--method", "pca", "--layers", "1-2", "--position", -2));
        assertEquals(
                ControlVectorFile.read(directory.resolve("pca-diff.gguf")), ControlVectorFile.read(alias));
        assertEquals(
                ControlVectorFile.read(directory.resolve("pca-center.gguf")),
                ControlVectorFile.read(directory.resolve("pca-diff-uncentred.gguf")));
    }

    @Test
    void peopleAreToldWhatLlamaCppWillRefuse() {
        final Path out = directory.resolve("all.gguf");
        final CommandLineResult all = CommandLineResult.of(words(out, "--method", "mean", "--layers", "all"));
        assertEquals(0, all.code(), all.err());
        assertTrue(all.err().contains("layer 0"), all.err());
        assertEquals(2 + 4, all.out().lines().count());
        assertTrue(all.out().startsWith(out + ": mean of 3 pairs for llama, 64 wide"), all.out());
        final CommandLineResult one = CommandLineResult.of(words(out, "--method", "mean", "--layers", 3));
        assertEquals("", one.err());
        final CommandLineResult shown = CommandLineResult.of("steer", "show", out);
        assertEquals(0, shown.code(), shown.err());
        assertTrue(shown.out().startsWith("model hint llama, 64 wide\n"), shown.out());
        assertEquals(2 + 1, shown.out().lines().count());
    }

    @Test
    void whatCannotBeExtractedIsRefused() throws IOException {
        final Path out = directory.resolve("refused.gguf");
        CommandLineResult.of(words(out)).assertFails(2, "--method");
        CommandLineResult.of("steer").assertFails(2, "no command");
        CommandLineResult.of(words(out, "--method", "umap")).assertFails(2, "unknown method \"umap\"");
        CommandLineResult.of(words(out, "--method", "mean", "--layers", "2-4")).assertFails(3, "no layer 4");
        CommandLineResult.of(words(out, "--method", "mean", "--layers", "some")).assertFails(2, "--layers");
        CommandLineResult.of(words(out, "--method", "mean", "--position", -999)).assertFails(3, "pair 1");
        CommandLineResult.of(words(out, "--method", "mean", "--position", 0)).assertFails(2, "--position 0");
        CommandLineResult.of(words(directory.resolve("none/v.gguf"), "--method", "mean")).assertFails(3, "none");
        final Path typo = Files.writeString(
                directory.resolve("typo.jsonl"), "{\"positive\": {\"prompt\": \"a\", \"sytem\": \"b\"}}");
        CommandLineResult.of("steer", "extract", "--model", files.model, "--pairs", typo, "--method", "mean",
                "--out", out).assertFails(3, "typo.jsonl, line 1 $.positive.sytem");
        assertFalse(Files.exists(out));
    }

    @Test
    void thresholdFindsTheConditionThatPairsAreToldApartBy() {
        final Path out = directory.resolve("told.gguf");
        CommandLineResult.json(words(out, "--method", "pca-center", "--mean"));
        for (final String pooling : List.of("mean", "last")) {
            final Object[] asked = {
                "steer", "threshold", "--model", files.model, "--mmproj", files.mmproj, "--threads", 1,
                "--pairs", pairs, "--vector", out, "--pooling", pooling
            };
            final JsonNode found = CommandLineResult.json(asked);
            assertEquals(List.of("f1", "pairs", "hits", "false_alarms", "when"), List.copyOf(found.propertyNames()));
            final int hits = found.get("hits").intValue();
            final int alarms = found.get("false_alarms").intValue();
            assertEquals(2.0 * hits / (hits + alarms + 3), found.get("f1").doubleValue(), 1e-12);
            final JsonNode when = found.get("when");
            assertEquals(out.toString(), when.get("vector").stringValue());
            assertEquals(pooling, when.get("pooling").stringValue());
            assertTrue(when.has("above") != when.has("below"), when.toString());
            // What is printed for people is the same, as a strategy has it.
            final CommandLineResult people = CommandLineResult.of(asked);
            assertEquals(0, people.code(), people.err());
            assertTrue(people.out().startsWith("\"when\": {\"vector\": \"" + out), people.out());
        }
        CommandLineResult.of(
                        "steer", "threshold", "--model", files.model, "--pairs", pairs, "--vector", out,
                        "--pooling", "some")
                .assertFails(2, "'some' is none of mean, last");
        CommandLineResult.of("steer", "threshold", "--model", files.model, "--pairs", pairs, "--vector", files.model)
                .assertFails(3, "architecture 'llama'");
    }

    @Test
    void extractReadsMeansOfAnswers() throws IOException {
        final Path answered = Files.writeString(directory.resolve("answered.jsonl"), """
                {"prompt": "colour?", "positive": {"answer": "a b"}, "negative": {"answer": "c d"}}
                """);
        final Path out = directory.resolve("answers.gguf");
        final Object[] asked = {
            "steer", "extract", "--model", files.model, "--threads", 1, "--pairs", answered, "--out", out, "--method",
            "mean-l2"
        };
        final Object[] means = Arrays.copyOf(asked, asked.length + 2);
        means[asked.length] = "--mean";
        means[asked.length + 1] = "--answers";
        final JsonNode extracted = CommandLineResult.json(means);
        assertEquals("mean of answers", extracted.get("pooling").stringValue());
        for (final JsonNode layer : extracted.get("layers")) {
            assertEquals(1, layer.get("norm").doubleValue(), 1e-6);
        }
        means[asked.length] = "--position";
        means[asked.length + 1] = -1;
        CommandLineResult.json(means);
        CommandLineResult.of(words(out, "--method", "mean", "--answers")).assertFails(2, "--answers");
        CommandLineResult.of(words(out, "--method", "mean", "--mean", "--answers")).assertFails(3, "an answer");
    }

    @Test
    void whatIsNoControlVectorIsNotShown() {
        CommandLineResult.of("steer", "show", files.model).assertFails(3, "architecture 'llama'");
        CommandLineResult.of("steer", "show", directory.resolve("no.gguf")).assertFails(3, "no.gguf");
    }

    @Test
    void aRandomControlHasTheLayersAndNormsOfItsModel() {
        final Path like = directory.resolve("like.gguf");
        final LayerVectors vectors = new LayerVectors(Map.of(1, new float[] {3, 4}, 2, new float[] {0, 7}));
        new ControlVectorFile("llama", vectors).write(like);
        final Path out = directory.resolve("random.gguf");
        CommandLineResult.json("steer", "random", "--like", like, "--seed", 5, "--out", out);
        final LayerVectors random = ControlVectorFile.read(out).vectors();
        assertEquals(vectors.layers(), random.layers());
        assertEquals(5, random.norm(1), 1e-5);
        assertEquals(7, random.norm(2), 1e-5);
        assertFalse(vectors.equals(random));
    }

    @Test
    void pairsOfTheTestbedAreReadBySteerExtract() {
        final Path out = directory.resolve("trust");
        final JsonNode made = CommandLineResult.json("testbed", "pairs", "--seed", 8, "--items", 4, "--out", out);
        assertEquals(4, PairReader.read(Path.of(made.get("pairs").stringValue())).size());
    }

    @Test
    void itemsOfOneKindAreGeneratedOnRequest() {
        final Path out = directory.resolve("kind");
        final JsonNode made = CommandLineResult.json(
                "testbed", "generate", "--seed", 8, "--items", 5, "--out", out,
                "--condition", "conflict", "--group", "no-instruction", "--about-picture");
        final List<Item> items = ItemReader.read(Path.of(made.get("data").stringValue()), false).items();
        assertEquals(5, items.size());
        for (final Item item : items) {
            assertEquals("no-instruction", item.group().orElseThrow());
            assertTrue(item.answerImage().isPresent());
        }
    }

    private static Object[] visual(final Path out, final Object... more) {
        final List<Object> words = new ArrayList<>(List.of(
                "steer", "extract", "--model", files.model, "--mmproj", files.mmproj, "--threads", 1,
                "--method", "vti-visual", "--out", out));
        words.addAll(Arrays.asList(more));
        return words.toArray();
    }

    @Test
    void visualDirectionsAreExtractedShownAndUsed() {
        final Path out = directory.resolve("visual.gguf");
        final JsonNode extracted = CommandLineResult.json(
                visual(out, "--images", files.data, "--trials", 3, "--mask-ratio", 0.5, "--seed", 4));
        assertEquals(
                List.of("file", "method", "pictures", "model_hint", "width", "positions", "layers"),
                List.copyOf(extracted.propertyNames()));
        // Not all of the ten have one.
        final int pictures = extracted.get("pictures").intValue();
        assertTrue(pictures >= 5 && pictures < 10, "pictures " + pictures);
        assertEquals(List.of(0), layers(extracted));
        final JsonNode shown = CommandLineResult.json("steer", "show", out);
        assertEquals(extracted.get("layers"), shown.get("layers"));
        assertEquals(16, shown.get("positions").intValue());
        assertTrue(CommandLineResult.of("steer", "show", out).out().contains("16 positions, 32 wide"));
        final Path random = directory.resolve("visual-random.gguf");
        CommandLineResult.json("steer", "random", "--like", out, "--seed", 5, "--out", random);
        assertEquals(
                shown.get("layers").get(0).get("mean_norm").doubleValue(),
                CommandLineResult.json("steer", "show", random).get("layers").get(0).get("mean_norm").doubleValue(),
                1e-5);
        final Object[] run = {"run", "--model", files.model, "--mmproj", files.mmproj, "--threads", 1,
            "--max-tokens", 2, "--image", files.image, "--prompt", "colour?", "--strategy", "vti-visual:" + out};
        final JsonNode entry = CommandLineResult.json(run).get("trace").get(0);
        assertEquals("vision:turn", entry.get("intervention").stringValue());
        assertEquals(16, entry.get("tokens").intValue());
        assertTrue(entry.get("mean_delta_norm").doubleValue() > 0);
        run[0] = "explain";
        assertEquals(
                "vision:turn",
                CommandLineResult.json(run).get("steps").get(0).get("intervention").stringValue());
    }

    @Test
    void whatBelongsToTheOtherExtractionIsRefused() throws IOException {
        final Path out = directory.resolve("neither.gguf");
        CommandLineResult.of(visual(out)).assertFails(2, "wants --images");
        CommandLineResult.of(visual(out, "--images", files.data, "--pairs", pairs)).assertFails(2, "takes no --pairs");
        CommandLineResult.of(visual(out, "--images", files.data, "--position", -1)).assertFails(2, "--position");
        CommandLineResult.of(words(out, "--method", "mean", "--trials", 3)).assertFails(2, "takes no --images");
        CommandLineResult.of("steer", "extract", "--model", files.model, "--method", "mean", "--out", out)
                .assertFails(2, "wants --pairs");
        CommandLineResult.of(visual(out, "--images", files.data, "--mask-ratio", 2)).assertFails(2, "ratio 2");
        CommandLineResult.of(visual(out, "--images", files.data, "--layers", "1")).assertFails(3, "no layer 1");
        final Path gone = Files.writeString(directory.resolve("gone.jsonl"), "\n{\"image\": \"gone.png\"}\n");
        CommandLineResult.of(visual(out, "--images", gone)).assertFails(3, "gone.jsonl, line 2 $.image");
        final Path bare = Files.writeString(directory.resolve("bare.jsonl"), "{\"picture\": \"x.png\"}\n");
        CommandLineResult.of(visual(out, "--images", bare)).assertFails(3, "without a picture");
        CommandLineResult.of("steer", "extract", "--model", files.model, "--threads", 1, "--method", "vti-visual",
                "--images", files.data, "--out", out).assertFails(3, "without a picture encoder");
        assertFalse(Files.exists(out));
    }
}
