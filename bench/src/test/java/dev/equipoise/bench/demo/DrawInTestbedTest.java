package dev.equipoise.bench.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.equipoise.bench.testbed.Item;
import dev.equipoise.bench.testbed.ItemReader;
import dev.equipoise.bench.testbed.ItemWriter;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.runtime.DrawIn;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.tiny.Placement;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The testbed model answers the same wherever its tokens are drawn. */
class DrawInTestbedTest {
    private static final long SEED = 7_301_877;
    private static final int ITEMS = 12;

    @TempDir
    static Path directory;

    private static ItemRunner runner(final Model model, final DrawIn draw) {
        return new ItemRunner(
                model,
                EngineOptions.defaults()
                        .withContext(512)
                        .withMaxBranches(ItemRunner.BRANCHES)
                        .withThreads(TestbedModel.THREADS)
                        .withDrawIn(draw));
    }

    @Test
    void answersAreThoseOfTheHost() {
        final List<Strategy> strategies = new ArrayList<>(List.of(Strategy.plain()));
        List.of("vcd", "icd", "cad", "m3id", "plausibility-only").stream()
                .map(Strategies::named)
                .forEach(strategies::add);
        final List<Item> items = ItemReader.read(
                        ItemWriter.write(
                                directory,
                                GeneratedItems.where(SEED, ITEMS, item -> item.answerImage().isPresent())),
                        false)
                .items();
        try (Model model = TestbedModel.locate().load(Placement.options().withThreads(TestbedModel.THREADS));
                ItemRunner host = runner(model, DrawIn.HOST);
                ItemRunner graph = runner(model, DrawIn.GRAPH)) {
            for (final Item item : items) {
                for (final Strategy strategy : strategies) {
                    final ItemRunner.Reply expected = host.ask(item, strategy);
                    final ItemRunner.Reply actual = graph.ask(item, strategy);
                    assertEquals(expected.answer().tokens(), actual.answer().tokens(), strategy.name());
                    assertEquals(expected.answer().trace(), actual.answer().trace(), strategy.name());
                }
            }
        }
    }
}
