package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Reweigh;
import dev.equipoise.runtime.intervention.Intervention.Steer;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.InterventionOracle;
import dev.equipoise.runtime.oracle.InterventionOracle.Act;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.PromptColumns;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.function.IntPredicate;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;

/** One small random model that sees and hears, one prompt of all modalities, and the oracle of both. */
abstract class InterventionRig {
    static final int LAYERS = 4;
    static final int WIDTH = 64;
    static final EngineOptions EXACT = Tolerance.exact(1024);

    @TempDir
    static Path directory;

    static Model model;
    static LlamaOracle oracle;
    static Prompt prompt;
    static PromptColumns columns;
    static List<Input> inputs;
    static List<Span> spans;

    @BeforeAll
    static void writeModel() {
        final Path file = TinyModels.llama(directory.resolve("tiny.gguf"), 3, LAYERS, WIDTH, 4, 2, 96, 512);
        final Path mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 4, WIDTH);
        model = Model.load(file, Placement.options().withMmproj(mmproj));
        oracle = LlamaOracle.of(GgufFile.read(file));
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(5).nextBytes(pixels);
        final float[] samples = new float[16_000];
        for (int i = 0; i < samples.length; i++) {
            samples[i] = (float) Math.sin(i * 0.05) * 0.5f;
        }
        prompt = Prompt.builder()
                .system("you see and hear")
                .context("the note says that the square is green")
                .image(Image.rgb(32, 32, pixels))
                .audio(Audio.pcm(samples))
                .text("which colour has the square")
                .build();
        try (Engine engine = Engine.open(model, EXACT)) {
            spans = engine.logits(Request.plain(prompt)).spans();
            columns = PromptColumns.of(engine, prompt);
            inputs = columns.inputs();
        }
    }

    @AfterAll
    static void closeModel() {
        model.close();
    }

    static Request request(final Optional<Merge> merge, final List<Branch> branches) {
        return new Request(
                branches,
                Optional.empty(),
                Sampling.greedy(),
                new Limits(5, List.of()),
                0,
                new StrategyLabel("test", "test"),
                merge);
    }

    static Request request(final Intervention... interventions) {
        return request(Optional.empty(), List.of(new Branch("base", prompt, List.of(interventions))));
    }

    // Directions as long as a hidden state of this model.
    static LayerVectors vectors(final long seed, final Integer... layers) {
        final Random random = new Random(seed);
        final Map<Integer, float[]> vectors = new HashMap<>();
        for (final int layer : layers) {
            final float[] vector = new float[WIDTH];
            for (int i = 0; i < WIDTH; i++) {
                vector[i] = (float) random.nextGaussian();
            }
            vectors.put(layer, vector);
        }
        return new LayerVectors(vectors);
    }

    static Steer steer(
            final Operation operation, final double amount, final Scope scope, final Integer... layers) {
        return new Steer(
                operation.name(),
                operation,
                vectors(11, layers),
                operation.isPlanar() ? Optional.of(vectors(12, layers)) : Optional.empty(),
                amount,
                scope);
    }

    static Reweigh reweigh(
            final Modality span, final double factor, final Scope queries, final Integer... layers) {
        return new Reweigh(
                "reweigh", EnumSet.of(span), OptionalInt.empty(), factor, new TreeSet<>(List.of(layers)), queries);
    }

    static IntPredicate in(final Modality... modalities) {
        final Set<Modality> wanted = Set.of(modalities);
        return t -> wanted.contains(columns.whose(t));
    }

    static final IntPredicate EVERYWHERE = t -> true;

    static int last() {
        return inputs.size() - 1;
    }

    static void assertClose(final double[] expected, final float[] actual, final double tolerance) {
        final double difference = Tolerance.largestDifference(expected, actual);
        assertTrue(difference <= tolerance, () -> "largest difference " + difference + ", tolerance " + tolerance);
    }

    static void assertParity(final EngineOptions options, final Act... acts) {
        final double[] plain = oracle.run(inputs).last();
        final double[] expected = oracle.run(inputs, new InterventionOracle(acts)).last();
        final Intervention[] interventions = Arrays.stream(acts).map(Act::what).toArray(Intervention[]::new);
        final boolean exact = options.flashAttention() == FlashAttention.OFF;
        final double tolerance = exact ? Tolerance.f32(expected) : Tolerance.f16(expected);
        try (Engine engine = Engine.open(model, options)) {
            final float[] actual = engine.logits(request(interventions)).logits();
            assertClose(expected, actual, tolerance);
            final double effect = Tolerance.largestDifference(plain, actual);
            Placement.requireVisible(effect > 10 * tolerance, "an effect of " + effect + " proves nothing");
        }
    }

    static final SortedSet<Integer> ALL_LAYERS = new TreeSet<>(List.of(0, 1, 2, 3));

    static Heads heads(final Integer... numbers) {
        return new Heads(new TreeSet<>(List.of(numbers)));
    }

    // The token drawn is the oracle's best, or no further from it than rounding can be.
    static void assertDrawn(final double[] row, final int token) {
        final double best = Arrays.stream(row).max().orElseThrow();
        assertTrue(row[token] >= best - 2 * Tolerance.f32(row), () -> "token " + token + ": " + row[token] + ", best "
                + best);
    }
}
