package dev.equipoise.bench.demo;

import dev.equipoise.bench.testbed.Condition;
import dev.equipoise.bench.testbed.Item;
import dev.equipoise.bench.testbed.ItemReader;
import dev.equipoise.bench.testbed.ItemWriter;
import dev.equipoise.bench.testbed.WorldItem;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.kernels.error.InternalException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/** One item in which picture and note disagree, asked with several strategies. */
public final class Demo {
    /** An item on which the strategies disagree. */
    public static final long SEED = 7;

    // Kinds of items take turns; a conflict without an instruction comes round well within these.
    private static final int SEARCHED = 60;
    // The median of a few answers, so that one slow start is not the figure.
    private static final int ROUNDS = 3;

    private Demo() {}

    /**
     * One strategy's answer.
     *
     * @param strategy whose
     * @param text what the model said
     * @param follows whom that follows
     * @param millis median wall time of the whole answer, the encoding of the item's own media not included
     * @param tokensPerSecond generated tokens in that time
     */
    public record Line(Strategy strategy, String text, Follows follows, double millis, double tokensPerSecond) {}

    /**
     * Plain decoding, every preset that differs from it, and one chosen on this model's conflicts,
     * on others than the demo's.
     */
    public static List<Strategy> strategies() {
        final List<Strategy> strategies = new ArrayList<>(List.of(Strategy.plain()));
        Strategies.names().stream()
                .map(Strategies::named)
                .filter(preset -> !preset.fingerprint().equals(Strategy.plain().fingerprint()))
                .forEach(strategies::add);
        strategies.add(lookCloser());
        return strategies;
    }

    private static Strategy lookCloser() {
        try (InputStream in = Demo.class.getResourceAsStream("look-closer.json")) {
            if (in == null) {
                throw new InternalException("strategy missing from the jar", "look-closer", "report this as a bug");
            }
            return Strategies.parse(new String(in.readAllBytes(), StandardCharsets.UTF_8), "look-closer");
        } catch (final IOException e) {
            throw new InternalException("strategy cannot be read", "look-closer", "report this as a bug", e);
        }
    }

    /** The first conflict about the picture, without an instruction, of a seed; its media lie in the user's cache. */
    public static Item item(final long seed) {
        final WorldItem found = new GeneratedItems(seed, SEARCHED).stream()
                .filter(world -> world.item().condition() == Condition.CONFLICT)
                .filter(world -> world.item().group().equals(Optional.of("no-instruction")))
                .filter(world -> world.item().answerImage().isPresent())
                .findFirst()
                .orElseThrow(() -> new InternalException("no conflict item", "seed " + seed, "report this as a bug"));
        return ItemReader.read(ItemWriter.write(CacheDirectory.of("demo", Long.toString(seed)), List.of(found)))
                .getFirst();
    }

    /**
     * Asks the item with each strategy.
     *
     * @param listener hears each answer as soon as it is there
     */
    public static List<Line> run(
            final ItemRunner runner, final Item item, final List<Strategy> strategies, final Consumer<Line> listener) {
        runner.encode(item);
        return strategies.stream()
                .map(strategy -> line(runner, item, strategy))
                .peek(listener)
                .toList();
    }

    private static Line line(final ItemRunner runner, final Item item, final Strategy strategy) {
        final ItemRunner.Reply[] replies = new ItemRunner.Reply[ROUNDS];
        Arrays.setAll(replies, i -> runner.ask(item, strategy));
        final String text = replies[0].answer().text();
        Arrays.sort(replies, Comparator.comparingLong(ItemRunner.Reply::nanos));
        final ItemRunner.Reply median = replies[ROUNDS / 2];
        return new Line(
                strategy, text, Follows.of(item, text), median.nanos() / 1e6, median.tokensPerSecond());
    }
}
