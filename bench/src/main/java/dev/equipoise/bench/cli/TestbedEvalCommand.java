package dev.equipoise.bench.cli;

import dev.equipoise.bench.demo.ItemRunner;
import dev.equipoise.bench.speed.Spread;
import dev.equipoise.bench.testbed.Evaluation;
import dev.equipoise.bench.testbed.Item;
import dev.equipoise.bench.testbed.ItemReader;
import dev.equipoise.bench.testbed.Proportion;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.FileErrors;
import dev.equipoise.runtime.Model;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.IntConsumer;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** Asks a model every item of a file. */
@Command(
        name = "eval",
        description = "Ask the model every item: per condition accuracy, whom the answers follow, tokens/s of "
                + "the whole request (an answer of one word has no other).")
final class TestbedEvalCommand extends CliCommand {
    private static final String ROW = "  %-36s %5s %-24s %7s %7s %7s %7s %9s%n";

    @Option(
            names = "--data",
            paramLabel = "items.jsonl",
            required = true,
            description = "The items; may be repeated.")
    private List<Path> data;

    @Option(names = "--skip-bad", description = "Skip broken lines and report them.")
    private boolean skipBad;

    @Option(
            names = "--strategy",
            paramLabel = "NAME|FILE.json",
            converter = StrategyConverter.class,
            description = "How to decode (default: plain); may be repeated.")
    private List<Strategy> strategies = List.of(Strategy.plain());

    @Option(names = "--table", description = "Print a Markdown table, speeds against the first strategy.")
    private boolean table;

    @Option(
            names = "--chart",
            paramLabel = "FILE.png",
            description = "Draw how often the strategies look, and stay right.")
    private Path chart;

    @Mixin
    private TestbedMixin testbed;

    /**
     * A strategy and what came of it.
     *
     * @param strategy it
     * @param outcome the rest
     */
    record Arm(Strategy strategy, ItemRunner.Outcome outcome) {}

    @Override
    protected void run() {
        requireChart();
        final ItemReader.Result items = read();
        final List<Arm> arms = new ArrayList<>();
        try (Model model = testbed.load();
                ItemRunner runner = testbed.runner(model)) {
            final List<ItemRunner.Outcome> outcomes =
                    runner.evaluate(items.items(), strategies, progress(items.items().size()));
            for (int i = 0; i < outcomes.size(); i++) {
                arms.add(new Arm(strategies.get(i), outcomes.get(i)));
            }
            if (chart != null) {
                EffectChart.write(chart, arms);
            }
            if (json()) {
                document(model, items, arms);
            } else if (table) {
                EffectTable.print(out(), arms);
            } else {
                describe(items, arms);
            }
        }
    }

    // Before the items are asked, which may take an hour.
    private void requireChart() {
        if (chart == null) {
            return;
        }
        if (!chart.toString().toLowerCase(Locale.ROOT).endsWith(".png")) {
            throw new ParameterException(
                    spec.commandLine(), "--chart " + chart + " would be a PNG file; end its name in .png");
        }
        final Path directory = chart.toAbsolutePath().getParent();
        if (directory == null || !Files.isDirectory(directory)) {
            throw new BadInputException("no such directory", String.valueOf(directory), "make it, or choose another");
        }
        FileErrors.requireReplaceable(chart);
    }

    private ItemReader.Result read() {
        final List<Item> items = new ArrayList<>();
        final List<ItemReader.BadLine> bad = new ArrayList<>();
        for (final Path file : data) {
            final ItemReader.Result result = ItemReader.read(file, skipBad);
            items.addAll(result.items());
            bad.addAll(result.bad());
        }
        return new ItemReader.Result(items, bad);
    }

    private IntConsumer progress(final int of) {
        if (!Terminal.watched()) {
            return done -> { };
        }
        return done -> {
            err().printf(Locale.ROOT, "\r%d of %d items", done, of);
            err().print(done == of ? "\n" : "");
            err().flush();
        };
    }

    private void document(final Model model, final ItemReader.Result items, final List<Arm> arms) {
        JsonDocument.print(out(), json -> {
            json.put("data", data.stream().map(Path::toString).collect(Collectors.joining(", ")))
                    .put("model", model.file().toString())
                    .objects("skipped", items.bad(), (line, bad) ->
                            line.put("line", bad.number()).put("reason", bad.what()));
            // The first stands by itself: with one strategy there is nothing to look through.
            arm(json, arms.getFirst(), model.info().layers());
            if (arms.size() > 1) {
                json.objects("arms", arms, (line, arm) -> arm(line, arm, model.info().layers()));
            }
        });
    }

    private static void arm(final JsonDocument json, final Arm arm, final int depth) {
        final Evaluation.Report report = arm.outcome().report();
        json.put("strategy", arm.strategy().name())
                .put("fingerprint", arm.strategy().fingerprint(depth))
                .put("not_applied", arm.outcome().notApplied());
        final Spread ratio = arm.outcome().speedRatio();
        json.object("tokens_per_s_ratio", spread -> {
            spread.put("median", ratio.median());
            ratio.ci95().ifPresent(interval -> spread.put("ci95", interval.low(), interval.high()));
        });
        arm.outcome().conflict().ifPresent(conflict -> json.object("option_conflict", readings ->
                readings.put("n", conflict.n())
                        .put("agreed", conflict.agreed())
                        .put("agreeing", conflict.agreeing())
                        .put("disagreeing", conflict.disagreeing())));
        tally(json, report.overall());
        json.object("conditions", conditions -> report.conditions().forEach((condition, tally) ->
                        conditions.object(condition.label(), entry -> tally(entry, tally))))
                .object("groups", groups -> report.groups().forEach((group, tally) ->
                        groups.object(group, entry -> tally(entry, tally))));
    }

    private static void tally(final JsonDocument json, final Evaluation.Tally tally) {
        json.put("n", tally.n())
                .put("accuracy", tally.accuracy().value())
                .put("accuracy_ci95", tally.accuracy().low(), tally.accuracy().high())
                .object("follows", follows -> follows.put("image", tally.image().value())
                        .put("audio", tally.audio().value())
                        .put("context", tally.context().value())
                        .put("other", tally.other().value()))
                .object("follows_ci95", follows -> follows
                        .put("image", tally.image().low(), tally.image().high())
                        .put("audio", tally.audio().low(), tally.audio().high())
                        .put("context", tally.context().low(), tally.context().high())
                        .put("other", tally.other().low(), tally.other().high()))
                .object("follows_n", follows -> follows.put("image", tally.image().n())
                        .put("audio", tally.audio().n())
                        .put("context", tally.context().n())
                        .put("other", tally.other().n()))
                .put("yes", tally.yes().value())
                .put("yes_n", tally.yes().n())
                // Of whole requests, since answers may be a word: generated tokens over the time from prompt to end.
                .put("tokens_per_s", tally.tokensPerSecond());
    }

    private void describe(final ItemReader.Result items, final List<Arm> arms) {
        for (final ItemReader.BadLine bad : items.bad()) {
            out().println("skipped line " + bad.number() + ": " + Terminal.plain(bad.what()));
        }
        for (final Arm arm : arms) {
            final Evaluation.Report report = arm.outcome().report();
            final int idle = arm.outcome().notApplied();
            out().printf(
                    Locale.ROOT,
                    "%s: %d items, %.1f tokens/s%s%n",
                    arm.strategy().name(),
                    report.overall().n(),
                    report.overall().tokensPerSecond(),
                    idle == 0 ? "" : ", " + idle + " without anything to act on, decoded plainly");
            out().printf(Locale.ROOT, ROW, "", "n", "accuracy (95 %)", "image", "audio", "context", "other",
                    "tokens/s");
            arm.outcome().conflict().ifPresent(conflict -> out().printf(
                    Locale.ROOT,
                    "  %d items with options, both readings agree on %d; conflict %.3f there, %.3f elsewhere%n",
                    conflict.n(), conflict.agreed(), conflict.agreeing(), conflict.disagreeing()));
            row("all", report.overall());
            report.conditions().forEach((condition, tally) -> row(condition.label(), tally));
            report.groups().forEach(this::row);
        }
    }

    private void row(final String name, final Evaluation.Tally tally) {
        final Proportion accuracy = tally.accuracy();
        out().printf(
                Locale.ROOT,
                ROW,
                name,
                tally.n(),
                String.format(Locale.ROOT, "%.3f (%.3f to %.3f)", accuracy.value(), accuracy.low(), accuracy.high()),
                share(tally.image()),
                share(tally.audio()),
                share(tally.context()),
                share(tally.other()),
                String.format(Locale.ROOT, "%.1f", tally.tokensPerSecond()));
    }

    private static String share(final Proportion share) {
        return share.n() == 0 ? "-" : String.format(Locale.ROOT, "%.3f", share.value());
    }
}
