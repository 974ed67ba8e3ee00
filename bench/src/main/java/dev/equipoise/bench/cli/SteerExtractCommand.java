package dev.equipoise.bench.cli;

import dev.equipoise.bench.pairs.PairReader;
import dev.equipoise.bench.pairs.PictureReader;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.steering.Layers;
import dev.equipoise.steering.vector.ControlVectorFile;
import dev.equipoise.steering.vector.DirectionMethod;
import dev.equipoise.steering.vector.PairedStates;
import dev.equipoise.steering.vector.PromptPair;
import dev.equipoise.steering.vector.VisualStates;
import dev.equipoise.steering.vector.VisualVectorFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.function.IntConsumer;
import java.util.function.Supplier;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.TypeConversionException;

/** Makes a steering vector of what the two sides of paired prompts differ in. */
@Command(name = "extract", description = "Extract a steering vector from the hidden states of paired prompts.")
final class SteerExtractCommand extends CliCommand {
    private static final String VISUAL = "vti-visual";

    @Mixin
    private ModelMixin model;

    @Option(
            names = "--pairs",
            paramLabel = "FILE.jsonl",
            description = "One pair a line: {\"positive\": {...}, \"negative\": {...}}, a side being system, context, "
                    + "image, audio, prompt and answer, which begins the model's turn; what stands beside the "
                    + "sides holds for both.")
    private Path pairs;

    @Option(
            names = "--method",
            paramLabel = "NAME",
            required = true,
            description = "mean: the mean difference, as long as it is. Unit vectors: mean-l2; pca-diff (or pca), "
                    + "the first component of the differences about their mean, as repeng's default; "
                    + "pca-diff-uncentred and pca-center, of the differences as they are. vti: the mean and the "
                    + "component of all layers together, which the preset of that name takes. vti-visual: "
                    + "directions of the picture encoder, "
                    + "from --images.")
    private String method;

    @Option(
            names = "--images",
            paramLabel = "FILE.jsonl",
            description = "For vti-visual: one picture a line, {\"image\": \"x.png\"}; other keys, and lines without "
                    + "one, are ignored, so that data files will do.")
    private Path images;

    @Mixin
    private MaskingMixin masking;

    @Option(
            names = "--layers",
            paramLabel = "A-B|N|all|P%-Q%",
            converter = LayersConverter.class,
            description = "Blocks whose output to steer, counted from 0 (default: all but block 0, for which "
                    + "llama.cpp's files have no place; of means, all but the last). Of vti-visual: blocks of the "
                    + "picture encoder (default: all that run).")
    private Layers layers;

    @Option(
            names = "--position",
            paramLabel = "N",
            description = "The token to read, from the end of the prompt: -1 the last (default), -2 the one before.")
    private Integer position;

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
        final boolean visual = method.equals(VISUAL);
        requireFitting(visual);
        if (position != null && position >= 0) {
            throw new ParameterException(
                    spec.commandLine(), "--position " + position + " is not counted from the end; choose -1 or below");
        }
        masking.masking();
        if (visual) {
            extractVisual();
        } else {
            extract(named(method));
        }
    }

    // What is about the other kind of extraction would be ignored.
    private void requireFitting(final boolean visual) {
        if ((visual ? images : pairs) == null) {
            throw new ParameterException(
                    spec.commandLine(), "method " + method + " wants " + (visual ? "--images" : "--pairs"));
        }
        final String other = visual ? "--pairs, --position or --mean" : "--images, --trials, --mask-ratio or --seed";
        if (visual ? pairs != null || mean || position != null : images != null || masking.isGiven()) {
            throw new ParameterException(spec.commandLine(), "method " + method + " takes no " + other);
        }
    }

    private void requireDirectory() {
        final Path directory = file.toAbsolutePath().getParent();
        if (directory == null || !Files.isDirectory(directory)) {
            throw new BadInputException("no such directory", String.valueOf(directory), "make it, or choose another");
        }
    }

    private void extractVisual() {
        final List<Image> pictures = PictureReader.read(images);
        requireDirectory();
        try (Model loaded = model.load(engine)) {
            final Optional<SortedSet<Integer>> chosen = layers == null
                    ? Optional.empty()
                    : loaded.pictureEncoder()
                            .filter(encoder -> encoder.blocks() > 0)
                            .map(encoder -> layers.resolve(encoder.blocks()));
            final VisualStates states = VisualStates.read(
                    loaded, pictures, chosen, masking.masking(), progress(pictures.size(), "pictures"));
            final VisualVectorFile made = new VisualVectorFile(loaded.info().architecture(), states.directions());
            made.write(file);
            if (json()) {
                JsonDocument.print(out(), json -> VisualVectorWords.put(
                        json.put("file", file.toString()).put("method", method).put("pictures", states.pictures()),
                        made));
            } else {
                out().println(file + ": " + method + " of " + states.pictures() + " pictures");
                VisualVectorWords.print(out(), made);
            }
        }
    }

    private void extract(final DirectionMethod by) {
        // First what needs no model: reading one may take a minute, and so may the prompts.
        final List<PromptPair> prompts = PairReader.read(pairs);
        requireDirectory();
        final String architecture;
        final PairedStates states;
        try (Model loaded = model.load(engine);
                Engine opened = Engine.openForCapture(loaded, engine.engine(loaded, 1))) {
            architecture = loaded.info().architecture();
            final SortedSet<Integer> chosen = chosen(loaded.info().layers());
            states = mean
                    ? PairedStates.readMeans(opened, prompts, chosen, answers, progress(prompts.size(), "pairs"))
                    : PairedStates.read(opened, prompts, chosen, last(), progress(prompts.size(), "pairs"));
        }
        final LayerVectors vectors = states.directions(by);
        new ControlVectorFile(architecture, vectors).write(file);
        if (vectors.layers().contains(0)) {
            err().println("note: llama.cpp refuses a file with a vector for layer 0; Equipoise does not");
        }
        print(by, architecture, states.pairs(), vectors, states.agreement(vectors));
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

    private int last() {
        return position == null ? -1 : position;
    }

    private void print(
            final DirectionMethod by,
            final String architecture,
            final int count,
            final LayerVectors vectors,
            final SortedMap<Integer, Double> agreement) {
        if (json()) {
            JsonDocument.print(out(), json -> json.put("file", file.toString())
                    .put("model_hint", architecture)
                    .put("method", by.label())
                    .put("pairs", count)
                    .put("position", last())
                    .put("pooling", answers ? "mean of answers" : mean ? "mean" : "position")
                    .put("width", vectors.width())
                    .objects("layers", vectors.layers(), (entry, layer) -> entry.put("layer", layer)
                            .put("norm", vectors.norm(layer))
                            .put("agreement", agreement.get(layer).doubleValue())));
            return;
        }
        out().println(file + ": " + by.label() + " of " + count + (count == 1 ? " pair" : " pairs")
                + " for " + architecture + ", " + vectors.width() + " wide");
        out().println("layer      norm  pairs told apart");
        for (final int layer : vectors.layers()) {
            out().printf(
                    Locale.ROOT, "%5d  %8.4g  %14.1f %%%n", layer, vectors.norm(layer), 100 * agreement.get(layer));
        }
    }

    private IntConsumer progress(final int count, final String things) {
        if (!Terminal.watched()) {
            return done -> { };
        }
        return done -> {
            err().printf(Locale.ROOT, "\r%d of %d %s", done, count, things);
            err().print(done < count ? "" : "\n");
            err().flush();
        };
    }

    private DirectionMethod named(final String name) {
        try {
            return DirectionMethod.named(name);
        } catch (final BadInputException e) {
            throw new ParameterException(spec.commandLine(), e.what() + "; " + e.remedy() + ", " + VISUAL);
        }
    }

    private static <T> T converted(final Supplier<T> made) {
        try {
            return made.get();
        } catch (final BadInputException e) {
            throw new TypeConversionException(e.what() + "; " + e.remedy());
        }
    }

    /** Layers by number or share. */
    static final class LayersConverter implements ITypeConverter<Layers> {
        @Override
        public Layers convert(final String text) {
            return converted(() -> Layers.parse(text, "--layers"));
        }
    }
}
