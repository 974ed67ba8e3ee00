package dev.equipoise.bench.demo;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.bench.testbed.Evaluation;
import dev.equipoise.bench.testbed.Item;
import dev.equipoise.bench.testbed.ItemReader;
import dev.equipoise.bench.testbed.ItemWriter;
import dev.equipoise.bench.testbed.WorldItem;
import dev.equipoise.decoding.Controls;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.tiny.Placement;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The strategies of {@code examples/testbed} do on unseen items what the README says of them. */
class ExampleStrategiesTest {
    private static final Path EXAMPLES = Path.of("examples", "testbed");
    private static final long SEED = 5_551_212;
    private static final int ITEMS = 30;

    @TempDir
    static Path directory;

    private static Strategy example(final String name) {
        return Strategies.read(EXAMPLES.resolve(name + ".json"));
    }

    private static List<Item> items(final String name, final List<WorldItem> made) {
        return ItemReader.read(ItemWriter.write(directory.resolve(name), made), false).items();
    }

    @Test
    void steeringTurnsTheModelToThePictureAndARandomVectorDoesNot() {
        final List<Item> conflicts = items(
                "conflict",
                GeneratedItems.where(
                        SEED,
                        ITEMS,
                        item -> item.answerImage().isPresent()
                                && item.group().filter("no-instruction"::equals).isPresent()));
        final List<Item> consistent = items(
                "consistent",
                GeneratedItems.where(SEED, ITEMS, item -> item.condition().label().equals("consistent")));
        final List<Strategy> strategies = List.of(
                Strategy.plain(), Controls.randomVector(example("steer-picture"), 1), example("steer-picture"),
                example("mask-note"), example("fork-merge-picture"), example("reallocate-note"));
        try (Model model = TestbedModel.locate().load(Placement.options().withThreads(TestbedModel.THREADS));
                ItemRunner runner = new ItemRunner(
                        model, EngineOptions.defaults().withContext(512).withMaxBranches(ItemRunner.BRANCHES)
                                .withThreads(TestbedModel.THREADS))) {
            final List<Double> pictures = runner.evaluate(conflicts, strategies, done -> { }).stream()
                    .map(outcome -> outcome.report().overall().image().value())
                    .toList();
            // Of 30: with a true share of 80 % fewer than 55 % would be a chance of one in a thousand.
            assertTrue(pictures.get(0) <= 0.1, "plain " + pictures);
            assertTrue(pictures.get(1) <= 0.3, "random " + pictures);
            assertTrue(pictures.get(2) >= 0.8, "steered " + pictures);
            assertTrue(pictures.get(3) >= 0.8, "masked " + pictures);
            assertTrue(pictures.get(4) >= 0.7, "merged " + pictures);
            assertTrue(pictures.get(5) >= 0.55, "reallocated " + pictures);
            for (final ItemRunner.Outcome outcome : runner.evaluate(consistent, strategies, done -> { })) {
                final Evaluation.Report report = outcome.report();
                assertTrue(report.overall().accuracy().value() >= 0.85, "consistent " + report.overall());
            }
        }
    }

    @Test
    void everyExampleIsAStrategy() throws IOException {
        final List<Path> files = new ArrayList<>();
        try (Stream<Path> found = Files.list(EXAMPLES)) {
            found.filter(file -> file.toString().endsWith(".json")).forEach(files::add);
        }
        assertTrue(files.size() >= 10, files.toString());
        files.forEach(Strategies::read);
    }
}
