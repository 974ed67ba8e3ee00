package dev.equipoise.bench.cli;

import dev.equipoise.bench.demo.Demo;
import dev.equipoise.bench.demo.ItemRunner;
import dev.equipoise.bench.testbed.Item;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.runtime.Model;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Shows the main job on one item. */
@Command(
        name = "demo",
        description = "A picture, a sound and a note that contradicts them: each strategy's answer beside that of "
                + "plain decoding, with tokens per second of the whole request.")
final class DemoCommand extends CliCommand {
    private static final String ROW = "%-20s %-12s %-8s %8s %10s%n";

    @Option(names = "--seed", paramLabel = "N", description = "Which item (default: " + Demo.SEED + ").")
    private long seed = Demo.SEED;

    @Option(
            names = "--strategies",
            paramLabel = "NAME|FILE.json",
            split = ",",
            converter = StrategyConverter.class,
            description = "Which strategies, separated by commas (default: plain and every preset).")
    private List<Strategy> strategies;

    @Mixin
    private TestbedMixin testbed;

    @Override
    protected void run() {
        final Item item = Demo.item(seed);
        final List<Strategy> asked = strategies == null ? Demo.strategies() : strategies;
        try (Model model = testbed.load();
                ItemRunner runner = testbed.runner(model)) {
            if (!json()) {
                describe(item);
            }
            final List<Demo.Line> lines = Demo.run(runner, item, asked, this::row);
            if (json()) {
                document(item, lines);
            }
        }
    }

    private void describe(final Item item) {
        out().println("picture   " + name(item.image()) + " (shows: " + name(item.answerImage()) + ")");
        out().println("sound     " + name(item.audio()));
        out().println("note      " + Terminal.quoted(name(item.context()))
                + " (claims: " + name(item.answerContext()) + ")");
        out().println("question  " + Terminal.quoted(item.question()));
        out().println();
        out().printf(Locale.ROOT, ROW, "strategy", "answer", "follows", "ms", "tokens/s");
        out().flush();
    }

    private void row(final Demo.Line line) {
        if (!json()) {
            out().printf(
                    Locale.ROOT,
                    ROW,
                    line.strategy().name(),
                    Terminal.plain(line.text().strip()),
                    line.follows().label(),
                    String.format(Locale.ROOT, "%.1f", line.millis()),
                    String.format(Locale.ROOT, "%.1f", line.tokensPerSecond()));
            out().flush();
        }
    }

    private void document(final Item item, final List<Demo.Line> lines) {
        JsonDocument.print(out(), json -> json.object("item", about -> about.put("image", name(item.image()))
                        .put("audio", name(item.audio()))
                        .put("context", name(item.context()))
                        .put("question", item.question())
                        .put("truth", item.answer()))
                .objects("answers", lines, (answer, line) -> answer.put("strategy", line.strategy().name())
                        .put("text", line.text())
                        .put("follows", line.follows().label())
                        .put("tokens_per_s", line.tokensPerSecond())
                        .put("ms", line.millis())));
    }

    private static String name(final Optional<?> value) {
        return value.map(Object::toString).orElse(null);
    }
}
