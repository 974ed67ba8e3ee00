package dev.equipoise.bench.cli;

import dev.equipoise.bench.pairs.PairReader;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.steering.Layers;
import dev.equipoise.steering.vector.ControlVectorFile;
import dev.equipoise.steering.vector.DirectionMethod;
import dev.equipoise.steering.vector.PairedStates;
import dev.equipoise.steering.vector.PromptPair;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.function.IntConsumer;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** Makes a steering vector of what the two sides of paired prompts differ in. */
@Command(name = "extract", description = "Extract a steering vector from the hidden states of paired prompts.")
final class SteerExtractCommand extends CliCommand {
    @Option(names = "--model", paramLabel = "FILE", required = true, description = "The model, a GGUF file.")
    private Path model;

    @Option(names = "--mmproj", paramLabel = "FILE", description = "Its picture and sound encoders.")
    private Path mmproj;

    @Option(
            names = "--pairs",
            paramLabel = "FILE.jsonl",
            required = true,
            description = "One pair a line: {\"positive\": {...}, \"negative\": {...}}, a side being system, context, "
                    + "image, audio, prompt and answer, which begins the model's turn; what stands beside the sides holds for both.")
    private Path pairs;

    @Option(
            names = "--method",
            paramLabel = "NAME",
            required = true,
            converter = MethodConverter.class,
            description = "mean: the mean difference, as long as it is. Unit vectors: mean-l2; pca-diff (or pca), the first "
                    + "component of the differences about their mean, as repeng's default; pca-diff-uncentred and "
                    + "pca-center, of the differences as they are. vti: the mean and the component of all layers "
                    + "together, which the preset of that name takes.")
    private DirectionMethod method;

    @Option(
            names = "--layers",
            paramLabel = "A-B|N|all|P%-Q%",
            converter = LayersConverter.class,
            description = "Blocks whose output to steer, counted from 0 (default: all but block 0, for which "
                    + "llama.cpp's files have no place; of means, all but the last).")
    private Layers layers;

    @Option(
            names = "--position",
            paramLabel = "N",
            description = "The token to read, from the end of the prompt: -1 the last (default), -2 the one before.")
    private int position = -1;

    @Option(
            names = "--mean",
            description = "Read the mean of all tokens of the prompt instead of one: for the directions of conditions.")
    private boolean mean;

    @Option(
            names = "--answers",
            description = "With --mean: of the answers' tokens alone, for the directions of conditional behaviour.")
    private boolean answers;

    @Option(names = "--out", paramLabel = "V.gguf", required = true, description = "Where to.")
    private Path file;

    @Mixin
    private EngineMixin engine;

    @Override
    protected void run() {
        if (answers && !mean) {
            throw new ParameterException(spec.commandLine(), "--answers says of which tokens --mean is");
        }
        // First what needs no model: reading one may take a minute, and so may the prompts.
        final List<PromptPair> prompts = PairReader.read(pairs);
        final Path directory = file.toAbsolutePath().getParent();
        if (directory == null || !Files.isDirectory(directory)) {
            throw new BadInputException("no such directory", String.valueOf(directory), "make it, or choose another");
        }
        final String architecture;
        final PairedStates states;
        try (Model loaded = engine.load(model, Optional.ofNullable(mmproj));
                Engine opened = Engine.openForCapture(loaded, engine.engine(loaded, 1))) {
            architecture = loaded.info().architecture();
            final SortedSet<Integer> chosen = chosen(loaded.info().layers());
            states = mean
                    ? PairedStates.readMeans(opened, prompts, chosen, answers, progress(prompts.size()))
                    : PairedStates.read(opened, prompts, chosen, position, progress(prompts.size()));
        }
        final LayerVectors vectors = states.directions(method);
        new ControlVectorFile(architecture, vectors).write(file);
        if (vectors.layers().contains(0)) {
            err().println("note: llama.cpp refuses a file with a vector for layer 0; Equipoise does not");
        }
        print(architecture, states.pairs(), vectors, states.agreement(vectors));
    }

    private SortedSet<Integer> chosen(final int depth) {
        if (layers != null) {
            return layers.resolve(depth);
        }
        if (mean) {
            return new Layers.AllButLast().resolve(depth);
        }
        return (depth > 1 ? new Layers.Blocks(1, depth - 1) : Layers.all()).resolve(depth);
    }

    private void print(
            final String architecture,
            final int count,
            final LayerVectors vectors,
            final SortedMap<Integer, Double> agreement) {
        if (json()) {
            JsonDocument.print(out(), json -> json.put("file", file.toString())
                    .put("model_hint", architecture)
                    .put("method", method.label())
                    .put("pairs", count)
                    .put("position", position)
                    .put("pooling", answers ? "mean of answers" : mean ? "mean" : "position")
                    .put("width", vectors.width())
                    .objects("layers", vectors.layers(), (entry, layer) -> entry.put("layer", layer)
                            .put("norm", vectors.norm(layer))
                            .put("agreement", agreement.get(layer).doubleValue())));
            return;
        }
        out().println(file + ": " + method.label() + " of " + count + (count == 1 ? " pair" : " pairs")
                + " for " + architecture + ", " + vectors.width() + " wide");
        out().println("layer      norm  pairs told apart");
        for (final int layer : vectors.layers()) {
            out().printf(
                    Locale.ROOT, "%5d  %8.4g  %14.1f %%%n", layer, vectors.norm(layer), 100 * agreement.get(layer));
        }
    }

    private IntConsumer progress(final int count) {
        if (!Terminal.watched()) {
            return done -> { };
        }
        return done -> {
            err().printf(Locale.ROOT, "\r%d of %d pairs", done, count);
            err().print(done < count ? "" : "\n");
            err().flush();
        };
    }

    /** A method by its name. */
    static final class MethodConverter implements ITypeConverter<DirectionMethod> {
        @Override
        public DirectionMethod convert(final String name) {
            return DirectionMethod.named(name);
        }
    }

    /** Layers by number or share. */
    static final class LayersConverter implements ITypeConverter<Layers> {
        @Override
        public Layers convert(final String text) {
            return Layers.parse(text, "--layers");
        }
    }
}
