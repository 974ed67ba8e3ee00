package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.WordVocabulary;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.PromptColumns;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The engine's logits against a plain Java forward pass: plain and contrast, whole and split, alone and together. */
class OracleParityTest {
    private static final String NOTE = "the note says that the square is green";
    private static final String QUESTION = "which colour has the square";
    private static final EngineOptions EXACT = Tolerance.exact(512);

    @TempDir
    static Path directory;

    private static Path file;
    private static Path mmproj;
    private static Image picture;
    private static Audio sound;

    @BeforeAll
    static void writeModels() {
        file = TinyModels.llama(directory.resolve("tiny.gguf"), 3);
        mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 4, 64);
        final Random random = new Random(5);
        final byte[] pixels = new byte[3 * 32 * 32];
        random.nextBytes(pixels);
        picture = Image.rgb(32, 32, pixels);
        final float[] samples = new float[16_000];
        for (int i = 0; i < samples.length; i++) {
            samples[i] = (float) Math.sin(i * 0.05) * 0.5f;
        }
        sound = Audio.pcm(samples);
    }

    private static Model load() {
        return Model.load(file, Placement.options().withMmproj(mmproj));
    }

    private static Prompt everything() {
        return Prompt.builder()
                .system("you see and hear")
                .context(NOTE)
                .image(picture)
                .audio(sound)
                .text(QUESTION)
                .build();
    }

    private static Request request(final Optional<Combination> combination, final Prompt... prompts) {
        final List<Branch> branches = new ArrayList<>();
        for (final Prompt prompt : prompts) {
            branches.add(new Branch("branch " + branches.size(), prompt));
        }
        return new Request(
                branches,
                combination,
                Sampling.greedy(),
                new Limits(6, List.of()),
                0,
                new StrategyLabel("test", "test"));
    }

    private static Request plain(final Prompt prompt) {
        return request(Optional.empty(), prompt);
    }

    private static double[] oracle(final LlamaOracle oracle, final Engine engine, final Prompt prompt) {
        return oracle.run(PromptColumns.of(engine, prompt).inputs()).last();
    }

    private static void assertClose(final double[] expected, final float[] actual, final double tolerance) {
        final double difference = Tolerance.largestDifference(expected, actual);
        assertTrue(difference <= tolerance, () -> "largest difference " + difference + ", tolerance " + tolerance);
    }

    // At the cut-off's edge a rounding decides whether a token is kept: there either answer is right.
    private static void assertCutClose(
            final double[] base,
            final double beta,
            final double[] expected,
            final float[] actual,
            final double tolerance) {
        final double best = Arrays.stream(base).max().orElseThrow();
        final double[] settled = expected.clone();
        for (int y = 0; y < settled.length; y++) {
            if (beta > 0 && Math.abs(base[y] - best - Math.log(beta)) <= tolerance) {
                settled[y] = actual[y];
            }
        }
        assertClose(settled, actual, tolerance);
    }

    @ParameterizedTest
    @ValueSource(ints = {512, 64, 7, 1})
    void plainLogitsOfAPromptWithEverything(final int microBatch) {
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(file));
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch).withMaxBranches(1))) {
            final double[] expected = oracle(oracle, engine, everything());
            assertClose(expected, engine.logits(plain(everything())).logits(), Tolerance.f32(expected));
        }
    }

    @ParameterizedTest
    @CsvSource({"F16,OFF", "F16,ON", "F32,ON", "Q8_0,ON"})
    void otherCachesAndFlashAttention(final KvType kvType, final FlashAttention flash) {
        // Heads of 32, the block that a q8_0 cache is quantised by.
        final Path wide = TinyModels.llama(directory.resolve("wide.gguf"), 6, 4, 64, 2, 1, 96, 512);
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(wide));
        try (Model model = Model.load(wide, Placement.options().withMmproj(mmproj));
                Engine engine = Engine.open(model, EXACT.withKvType(kvType).withFlashAttention(flash))) {
            final double[] expected = oracle(oracle, engine, everything());
            final double tolerance = kvType == KvType.Q8_0 ? Tolerance.q8(4, expected) : Tolerance.f16(expected);
            assertClose(expected, engine.logits(plain(everything())).logits(), tolerance);
            assertEquals(flash == FlashAttention.ON, engine.flashAttention());
        }
    }

    @ParameterizedTest
    @CsvSource({"512,0.1", "512,0", "7,0.1", "3,0.5"})
    void contrastWithoutTheNote(final int microBatch, final double beta) {
        contrast(microBatch, beta, everything().without(Modality.CONTEXT), 2, -1);
    }

    @ParameterizedTest
    @ValueSource(ints = {512, 5})
    void contrastWithoutThePicture(final int microBatch) {
        contrast(microBatch, 0.1, everything().without(Modality.IMAGE), 1.5f, -0.5f);
    }

    @ParameterizedTest
    @ValueSource(ints = {512, 11})
    void contrastWithANoisedPicture(final int microBatch) {
        contrast(microBatch, 0.1, everything().withPixelNoise(new PixelNoise(999, 17)), 2, -1);
    }

    @ParameterizedTest
    @ValueSource(ints = {512, 2})
    void contrastWithADisturbedInstruction(final int microBatch) {
        contrast(microBatch, 0.1, everything().withSystem("you are confused"), 2, -1);
    }

    private static void contrast(
            final int microBatch, final double beta, final Prompt other, final float... coefficients) {
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(file));
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch).withMaxBranches(2))) {
            final double[] base = oracle(oracle, engine, everything());
            final double[] second = oracle(oracle, engine, other);
            final double[] expected = ContrastOracle.cutOff(
                    base,
                    ContrastOracle.weightedSum(new double[][] {base, second}, coefficients[0], coefficients[1]),
                    beta);
            final float[] actual = engine.logits(request(
                            Optional.of(new Combination(CoefficientSchedule.fixed(coefficients), false, beta)),
                            everything(),
                            other))
                    .logits();
            // Errors of the rows add up as the rows do.
            assertCutClose(base, beta, expected, actual, 3 * Tolerance.f32(base));
        }
    }

    @Test
    void logProbabilitiesOfThreeBranches() {
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(file));
        final Prompt blind = everything().without(Modality.IMAGE);
        final Prompt deaf = everything().without(Modality.AUDIO);
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT)) {
            final double[] base = oracle(oracle, engine, everything());
            final double[] expected = ContrastOracle.weightedSum(
                    new double[][] {
                        ContrastOracle.logSoftmax(base),
                        ContrastOracle.logSoftmax(oracle(oracle, engine, blind)),
                        ContrastOracle.logSoftmax(oracle(oracle, engine, deaf))
                    },
                    1.75,
                    -0.5,
                    -0.25);
            final float[] actual = engine.logits(request(
                            Optional.of(new Combination(CoefficientSchedule.fixed(1.75f, -0.5f, -0.25f), true, 0)),
                            everything(),
                            blind,
                            deaf))
                    .logits();
            assertClose(expected, actual, 4 * Tolerance.f32(base));
        }
    }

    @Test
    void everyGeneratedTokenOfContrastsThatRunTogether() {
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(file));
        final Prompt without = everything().without(Modality.CONTEXT);
        // Weights that grow with the answer, as those of M3ID do.
        final CoefficientSchedule growing = (index, out) -> {
            out[0] = 1 + 0.2f * index;
            out[1] = -0.2f * index;
        };
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT)) {
            final List<Request> requests = List.of(
                    plain(everything()),
                    request(Optional.of(new Combination(growing, true, 0.1)), everything(), without),
                    plain(without));
            final List<Generation> together =
                    requests.stream().map(engine::submit).toList();
            while (engine.step()) {
                // All of them advance.
            }
            final List<Input> base = PromptColumns.of(engine, everything()).inputs(List.of());
            final List<Input> other = PromptColumns.of(engine, without).inputs(List.of());
            final List<Integer> tokens = together.get(1).answer().tokens();
            for (int i = 0; i < tokens.size(); i++) {
                final double[] row = ContrastOracle.logSoftmax(oracle.run(base).last());
                final double[] second = ContrastOracle.logSoftmax(oracle.run(other).last());
                final double weight = 0.2f * (i + 1);
                final double[] expected = ContrastOracle.cutOff(
                        row, ContrastOracle.weightedSum(new double[][] {row, second}, 1 + weight, -weight), 0.1);
                final double best = Arrays.stream(expected).max().orElseThrow();
                // The token drawn is the oracle's best, or no further from it than rounding can be.
                assertTrue(expected[tokens.get(i)] >= best - 6 * Tolerance.f32(row), "token " + i);
                base.add(new Input.Token(tokens.get(i)));
                other.add(new Input.Token(tokens.get(i)));
            }
            for (final int alone : new int[] {0, 2}) {
                assertEquals(
                        engine.run(requests.get(alone)).tokens(),
                        together.get(alone).answer().tokens());
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"Q8_0,2,64,4,2,96", "F16,3,96,6,6,160", "F32,1,32,2,1,40"})
    void otherShapesAndWeightTypes(
            final GgmlType type, final int layers, final int width, final int heads, final int kvHeads, final int ff) {
        final Path other = TinyModels.llama(
                directory.resolve("other-" + type + ".gguf"),
                new TinyModels.LlamaShape(
                        9, layers, width, heads, kvHeads, type == GgmlType.Q8_0 ? 96 : ff,
                        WordVocabulary.ofSize(333), type, layers == 1));
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(other));
        try (Model model = Model.load(other, Placement.options());
                Engine engine = Engine.open(model, EXACT)) {
            final Prompt words = Prompt.builder().text(NOTE + " " + QUESTION).build();
            final double[] expected = oracle(oracle, engine, words);
            final double tolerance = switch (type) {
                case Q8_0 -> Tolerance.q8(layers, expected);
                case F16 -> Tolerance.f16(expected);
                default -> Tolerance.f32(expected);
            };
            assertClose(expected, engine.logits(plain(words)).logits(), tolerance);
        }
    }

    @Test
    void hiddenStatesAtTheSeams() {
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(file));
        final Prompt words = Prompt.builder().text("x").build();
        try (Model model = load();
                Engine engine = Engine.open(model, EXACT, true)) {
            final int width = model.info().width();
            engine.logits(plain(words));
            final LlamaOracle.Result expected = oracle.run(PromptColumns.of(engine, words).inputs());
            engine.logits(plain(words));
            for (int layer = 0; layer < model.info().layers(); layer++) {
                final double[][] states = expected.hidden()[layer];
                final double[] last = states[states.length - 1];
                final float[] seen = engine.captured(layer);
                final float[] row = Arrays.copyOfRange(seen, seen.length - width, seen.length);
                assertClose(last, row, Tolerance.f32(last));
            }
            assertEquals(expected.hidden()[0].length * width, engine.captured(-1).length, "the prompt, in one decode");
        }
    }
}
