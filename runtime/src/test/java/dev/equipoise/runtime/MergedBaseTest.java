package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.Intervention.Silence;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.oracle.ContrastOracle;
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
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Two merged branches as the base of a contrast, with and without a gate, against the oracle's merge. */
class MergedBaseTest {
    private static final int WIDTH = 64;
    private static final int LAYER = 1;
    private static final int TOKENS = 12;
    private static final float[] WEIGHTS = {3, -1.5f, -0.5f};
    private static final EngineOptions EXACT = Tolerance.exact(1024);
    private static final Silence DEAF = new Silence("deaf", EnumSet.of(Modality.AUDIO));
    private static final Silence BLIND = new Silence("blind", EnumSet.of(Modality.IMAGE));

    @TempDir
    static Path directory;

    private static Model model;
    private static LlamaOracle oracle;
    private static Prompt prompt;

    @BeforeAll
    static void writeModel() {
        final Path file = TinyModels.llama(directory.resolve("tiny.gguf"), 13, 4, WIDTH, 4, 2, 96, 512);
        final Path mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 14, WIDTH);
        model = Model.load(file, Placement.options().withMmproj(mmproj));
        oracle = LlamaOracle.of(GgufFile.read(file));
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(15).nextBytes(pixels);
        // The picture, which the second branch lacks, comes first: the first alone shows nothing of where they part.
        prompt = Prompt.builder()
                .context("the note says green")
                .image(Image.rgb(32, 32, pixels))
                .text("and it sounds so")
                .audio(Audio.pcm(new float[8000]))
                .text("which colour")
                .build();
    }

    @AfterAll
    static void closeModel() {
        model.close();
    }

    private static Request request(final Optional<Gate> gate) {
        return new Request(
                List.of(
                        new Branch("seeing", prompt, List.of(DEAF)),
                        new Branch("hearing", prompt, List.of(BLIND)),
                        new Branch("as it is", prompt),
                        new Branch("without", prompt.without(Modality.CONTEXT))),
                Optional.of(new Combination(CoefficientSchedule.fixed(WEIGHTS), false, 0.01)),
                Sampling.greedy(),
                new Limits(TOKENS, List.of()),
                0,
                new StrategyLabel("test", "test"),
                Optional.of(new Merge(LAYER, Map.of(Modality.IMAGE, 0.8, Modality.AUDIO, 0.2))),
                gate);
    }

    /** The rows of the oracle behind the tokens so far: merged, as it is, without the note. */
    private static final class Rows {
        private final List<Input> whole;
        private final List<Input> without;
        private final LlamaOracle.Inside deaf;
        private final LlamaOracle.Inside blind;
        private final double[] weights;

        Rows(final Engine engine) {
            final PromptColumns read = PromptColumns.of(engine, prompt);
            whole = read.inputs(List.of());
            without = PromptColumns.of(engine, prompt.without(Modality.CONTEXT)).inputs(List.of());
            deaf = new InterventionOracle(new Act(DEAF, t -> read.whose(t) == Modality.AUDIO));
            blind = new InterventionOracle(new Act(BLIND, t -> read.whose(t) == Modality.IMAGE));
            weights = IntStream.range(0, read.size() + TOKENS)
                    .mapToDouble(t -> switch (read.whose(t)) {
                        case IMAGE -> 0.8;
                        case AUDIO -> 0.2;
                        default -> 0.5;
                    })
                    .toArray();
        }

        double[][] next() {
            return new double[][] {
                oracle.runMerged(whole, deaf, blind, LAYER, weights).last(),
                oracle.run(whole).last(),
                oracle.run(without).last()
            };
        }

        void add(final int token) {
            whole.add(new Input.Token(token));
            without.add(new Input.Token(token));
        }
    }

    private static double[] combined(final double[][] rows) {
        return ContrastOracle.cutOff(
                rows[0], ContrastOracle.weightedSum(rows, WEIGHTS[0], WEIGHTS[1], WEIGHTS[2]), 0.01);
    }

    // Each row may be off by its tolerance, and the weights' absolute sum is five.
    private static double tolerance(final double[][] rows) {
        return 5 * Arrays.stream(rows).mapToDouble(Tolerance::f32).max().orElseThrow();
    }

    private static double entropy(final double[] row) {
        return -Arrays.stream(ContrastOracle.logSoftmax(row)).map(z -> z * Math.exp(z)).sum();
    }

    @ParameterizedTest
    @CsvSource({"512,4", "6,4", "2,8", "5,4"})
    void theMergedRowIsOneOfTheSum(final int microBatch, final int branches) {
        try (Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch).withMaxBranches(branches))) {
            final Rows rows = new Rows(engine);
            final double[][] first = rows.next();
            final double[] expected = combined(first);
            final float[] actual = engine.logits(request(Optional.empty())).logits();
            final double off = Tolerance.largestDifference(expected, actual);
            assertTrue(off <= tolerance(first), off + " > " + tolerance(first));
            final double effect = Tolerance.largestDifference(
                    combined(new double[][] {first[1], first[1], first[2]}), actual);
            Placement.requireVisible(
                    effect > 10 * tolerance(first), "a merge that changes " + effect + " proves nothing");

            final Answer answer = engine.run(request(Optional.empty()));
            assertEquals(TOKENS, answer.tokens().size());
            for (final int token : answer.tokens()) {
                final double[][] now = rows.next();
                final double[] row = combined(now);
                final double best = Arrays.stream(row).max().orElseThrow();
                assertTrue(row[token] >= best - 2 * tolerance(now), () -> "token " + token);
                rows.add(token);
            }
            assertEquals(EXACT.context(), engine.room().freeCells());
        }
    }

    @ParameterizedTest
    @CsvSource({"512,0", "6,0", "512,1", "6,1000"})
    void aGateReadsTheMergedRow(final int microBatch, final int patience) {
        final EngineOptions options =
                EXACT.withMicroBatch(microBatch).withMaxBranches(4).withGatePatience(patience);
        try (Engine engine = Engine.open(model, options)) {
            assertEquals(
                    engine.run(request(Optional.empty())).tokens(),
                    engine.run(request(Optional.of(new Gate.Entropy(-1)))).tokens());
            final List<Integer> shut = engine.run(request(Optional.of(new Gate.Entropy(1e6)))).tokens();
            final Rows plain = new Rows(engine);
            final double[] entropies = new double[TOKENS];
            for (int t = 0; t < TOKENS; t++) {
                final double[][] now = plain.next();
                final double best = Arrays.stream(now[0]).max().orElseThrow();
                assertTrue(now[0][shut.get(t)] >= best - 2 * Tolerance.f32(now[0]), "token " + t);
                entropies[t] = entropy(now[0]);
                plain.add(shut.get(t));
            }
            final double first = entropies[0];
            Arrays.sort(entropies);
            final double threshold = Math.max(
                    (entropies[TOKENS / 2 - 1] + entropies[TOKENS / 2]) / 2, first + 1e-3);
            final Answer answer = engine.run(request(Optional.of(new Gate.Entropy(threshold))));
            final Rows rows = new Rows(engine);
            int opened = 0;
            for (final int token : answer.tokens()) {
                final double[][] now = rows.next();
                final boolean open = entropy(now[0]) > threshold;
                opened += open ? 1 : 0;
                final double[] row = open ? combined(now) : now[0];
                final double best = Arrays.stream(row).max().orElseThrow();
                assertTrue(row[token] >= best - 2 * tolerance(now), () -> "token " + token);
                rows.add(token);
            }
            assertTrue(opened > 0 && opened < TOKENS, "opened " + opened);
            final int gated = answer.trace().stream()
                    .filter(entry -> entry.intervention().equals("gate:entropy"))
                    .findFirst()
                    .orElseThrow()
                    .tokens();
            assertEquals(opened, gated);
            assertEquals(EXACT.context(), engine.room().freeCells());
        }
    }

    @Test
    void besideOthersItIsAsAlone() {
        try (Engine engine = Engine.open(model, EXACT.withMicroBatch(8).withMaxBranches(10))) {
            final List<Request> requests = List.of(
                    request(Optional.empty()),
                    new Request(
                            Request.plain(prompt).branches(),
                            Optional.empty(),
                            Sampling.greedy(),
                            new Limits(TOKENS, List.of()),
                            0,
                            StrategyLabel.PLAIN),
                    request(Optional.of(new Gate.Disagreement(3))));
            final List<List<Integer>> alone =
                    requests.stream().map(request -> engine.run(request).tokens()).toList();
            final List<Generation> together = requests.stream().map(engine::submit).toList();
            while (engine.step()) {
                // Every step advances all of them.
            }
            assertEquals(alone, together.stream().map(g -> g.answer().tokens()).toList());
        }
    }
}
