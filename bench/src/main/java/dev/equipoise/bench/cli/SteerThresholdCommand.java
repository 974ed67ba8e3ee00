package dev.equipoise.bench.cli;

import dev.equipoise.bench.pairs.PairReader;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.intervention.Condition.Pooling;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.steering.vector.ControlVectorFile;
import dev.equipoise.steering.vector.PairedStates;
import dev.equipoise.steering.vector.PromptPair;
import dev.equipoise.steering.vector.ThresholdSearch;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.SortedSet;
import java.util.TreeSet;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Looks for the layer, threshold and side of a condition. */
@Command(
        name = "threshold",
        description = "Find the condition along a file's directions that tells the two sides of pairs apart best, by"
                + " F1: CAST's search over layers, thresholds 0, 0.01 .. 1 and above or below.")
final class SteerThresholdCommand extends CliCommand {
    @Mixin
    private ModelMixin model;

    @Option(
            names = "--pairs",
            paramLabel = "FILE.jsonl",
            required = true,
            description = "Pairs as of steer extract, best others than the directions are from: the condition is to"
                    + " hold for the positive sides.")
    private Path pairs;

    @Option(
            names = "--vector",
            paramLabel = "C.gguf",
            required = true,
            description = "Directions of a condition, as steer extract --mean --method pca-center makes them.")
    private Path vector;

    @Option(
            names = "--pooling",
            paramLabel = "mean|last",
            converter = PoolingConverter.class,
            description = "Of which prompt tokens the state is: the mean of all (default), or the last one.")
    private Pooling pooling = Pooling.MEAN;

    @Mixin
    private EngineMixin engine;

    @Override
    protected void run() {
        final List<PromptPair> prompts = PairReader.read(pairs);
        final LayerVectors directions = ControlVectorFile.read(vector).vectors();
        final PairedStates states;
        try (Model loaded = model.load(engine);
                Engine opened = Engine.openForCapture(loaded, engine.engine(loaded, 1))) {
            // A mean of the prompt is not to be had of the last block, whose output few tokens need.
            final int deepest = loaded.info().layers() - (pooling == Pooling.MEAN ? 2 : 1);
            final SortedSet<Integer> layers = new TreeSet<>(directions.layers().headSet(deepest + 1));
            states = pooling == Pooling.MEAN
                    ? PairedStates.readMeans(opened, prompts, layers, false, done -> { })
                    : PairedStates.read(opened, prompts, layers, -1, done -> { });
        }
        print(ThresholdSearch.best(states, directions), states.pairs());
    }

    private void print(final ThresholdSearch.Found found, final int count) {
        if (json()) {
            JsonDocument.print(out(), json -> json.put("f1", found.f1())
                    .put("pairs", count)
                    .put("hits", found.hits())
                    .put("false_alarms", found.falseAlarms())
                    .object("when", when -> when.put("vector", vector.toString())
                            .put("layer", found.layer())
                            .put("pooling", pooling.label())
                            .put(found.side().label(), found.threshold())));
            return;
        }
        out().printf(
                Locale.ROOT,
                "\"when\": {\"vector\": \"%s\", \"layer\": %d, \"pooling\": \"%s\", \"%s\": %s}%n",
                vector,
                found.layer(),
                pooling.label(),
                found.side().label(),
                found.threshold());
        out().printf(
                Locale.ROOT,
                "F1 %.3f: it holds for %d of %d positives and for %d of %d negatives%n",
                found.f1(),
                found.hits(),
                count,
                found.falseAlarms(),
                count);
    }

    /** A pooling by its name. */
    static final class PoolingConverter implements ITypeConverter<Pooling> {
        @Override
        public Pooling convert(final String name) throws Exception {
            return Choice.of(List.of(Pooling.values()), Pooling::label).convert(name);
        }
    }
}
