package dev.equipoise.bench.cli;

import dev.equipoise.bench.demo.GeneratedItems;
import dev.equipoise.bench.pairs.TrustPairs;
import dev.equipoise.bench.testbed.Condition;
import dev.equipoise.bench.testbed.ConflictWorld;
import dev.equipoise.bench.testbed.Item;
import dev.equipoise.bench.testbed.ItemWriter;
import dev.equipoise.kernels.error.BadInputException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** The conflict world: its data, and how a model fares on them. */
@Command(
        name = "testbed",
        description = "Data of the conflict world, and how a model fares on them.",
        subcommands = {
            TestbedCommand.Generate.class,
            TestbedCommand.Pairs.class,
            TestbedEvalCommand.class,
            LauncherCommand.Train.class
        })
final class TestbedCommand extends CliCommand {
    @Override
    protected void run() {
        throw new ParameterException(spec.commandLine(), "no command");
    }

    /** Writes items. */
    @Command(name = "generate", description = "Write unseen items of the conflict world: PNG, WAV, items.jsonl.")
    static final class Generate extends CliCommand {
        @Option(names = "--seed", paramLabel = "N", required = true, description = "Equal seeds give equal items.")
        private long seed;

        @Option(names = "--items", paramLabel = "N", required = true, description = "How many.")
        private int items;

        @Option(
                names = "--group",
                paramLabel = "GROUP",
                description = "Only items of this group, such as no-instruction; may be repeated.")
        private List<String> groups = List.of();

        @Option(
                names = "--condition",
                paramLabel = "CONDITION",
                description = "Only items of this condition, such as consistent; may be repeated.")
        private List<String> conditions = List.of();

        @Option(names = "--about-picture", description = "Only items that the picture has an answer to.")
        private boolean aboutPicture;

        @Option(names = "--out", paramLabel = "DIR", required = true, description = "Where to; made if need be.")
        private Path directory;

        @Override
        protected void run() {
            final GeneratedItems first = UsageException.of(() -> new GeneratedItems(seed, items));
            requireFilters();
            final boolean all = groups.isEmpty() && conditions.isEmpty() && !aboutPicture;
            final Path file =
                    ItemWriter.write(directory, all ? first : GeneratedItems.where(seed, items, this::wanted));
            if (json()) {
                JsonDocument.print(out(), json -> json.put("data", file.toString())
                        .put("items", items)
                        .put("seed", seed));
            } else {
                out().println(items + " items: " + file);
            }
        }

        private void requireFilters() {
            final List<Condition> all = List.of(Condition.values());
            conditions.forEach(name -> requireOneOf(
                    "condition '" + name + "'", Condition.of(name).isPresent(), all.stream().map(Condition::label)));
            final List<Condition> chosen = conditions.isEmpty()
                    ? all
                    : conditions.stream().map(name -> Condition.of(name).orElseThrow()).toList();
            final List<String> known = ConflictWorld.groups(all);
            groups.forEach(name -> requireOneOf("group '" + name + "'", known.contains(name), known.stream()));
            final List<String> possible = ConflictWorld.groups(chosen);
            requireOneOf(
                    "group " + String.join(", ", groups) + " and condition " + String.join(", ", conditions),
                    groups.isEmpty() || groups.stream().anyMatch(possible::contains),
                    possible.stream());
        }

        private static void requireOneOf(final String what, final boolean there, final Stream<String> choices) {
            if (!there) {
                throw new BadInputException(
                        "no item is of " + what,
                        "conflict world",
                        "choose " + choices.collect(Collectors.joining(", ")));
            }
        }

        private boolean wanted(final Item item) {
            return (conditions.isEmpty() || conditions.contains(item.condition().label()))
                    && (groups.isEmpty() || item.group().filter(groups::contains).isPresent())
                    && (!aboutPicture || item.answerImage().isPresent());
        }
    }

    /** Writes pairs for steering vectors. */
    @Command(
            name = "pairs",
            description = "Write pairs for `steer extract`: trust the picture against trust the note.")
    static final class Pairs extends CliCommand {
        @Option(names = "--seed", paramLabel = "N", required = true, description = "Equal seeds give equal pairs.")
        private long seed;

        @Option(names = "--items", paramLabel = "N", required = true, description = "How many.")
        private int items;

        @Option(names = "--out", paramLabel = "DIR", required = true, description = "Where to; made if need be.")
        private Path directory;

        @Override
        protected void run() {
            UsageException.of(() -> new GeneratedItems(seed, items));
            final Path file = TrustPairs.write(directory, GeneratedItems.where(seed, items, TrustPairs::fits));
            if (json()) {
                JsonDocument.print(out(), json -> json.put("pairs", file.toString())
                        .put("items", items)
                        .put("seed", seed));
            } else {
                out().println(items + " pairs: " + file);
            }
        }
    }
}
