package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.PromptColumns;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Every preset from its file to the engine's logits, against its formula over the rows of a plain forward pass. */
class PresetParityTest {
    private static final int WIDTH = 64;
    private static final int SEED = 23;

    @TempDir
    static Path directory;

    private static Path file;
    private static Path mmproj;
    private static Prompt prompt;

    @BeforeAll
    static void writeModels() {
        file = TinyModels.llama(directory.resolve("tiny.gguf"), 13);
        mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 14, WIDTH);
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(15).nextBytes(pixels);
        prompt = Prompt.builder()
                .context("the note says green")
                .image(Image.rgb(32, 32, pixels))
                .audio(Audio.pcm(new float[8000]))
                .text("which colour")
                .build();
    }

    @ParameterizedTest
    @CsvSource({
        "greedy,512", "plausibility-only,512", "vcd,512", "icd,512", "icd-vcd,512", "m3id,512", "cad,512",
        "greedy,3", "plausibility-only,3", "vcd,3", "icd,3", "icd-vcd,3", "m3id,3", "cad,3"
    })
    void presetsAgreeWithTheirFormulas(final String name, final int microBatch) {
        final EngineOptions options = Tolerance.exact(512)
                .withMicroBatch(microBatch);
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(file));
        final Plan plan = Lowering.lower(Strategies.named(name), prompt, SEED, 2);
        try (Model model = Model.load(
                        file, Placement.options().withMmproj(mmproj));
                Engine engine = Engine.open(model, options)) {
            final List<double[]> rows = new ArrayList<>();
            for (final Branch branch : plan.branches()) {
                rows.add(row(oracle, engine, branch.prompt()));
            }
            final double[] base = rows.getFirst();
            final double[] other = rows.getLast();
            final double beta = name.equals("greedy") || name.equals("cad") ? 0 : 0.1;
            // Published defaults, written out here so that a change of a preset file is noticed.
            final double[] expected = switch (name) {
                case "vcd" -> ContrastOracle.vcd(base, other, 1, beta);
                case "icd" -> ContrastOracle.icd(base, other, 1, beta);
                case "icd-vcd" -> {
                    final double[][] three = rows.toArray(double[][]::new);
                    yield ContrastOracle.cutOff(base, ContrastOracle.weightedSum(three, 4, -1, -1), beta);
                }
                case "cad" -> ContrastOracle.cad(base, other, 1, beta);
                case "m3id" -> ContrastOracle.m3id(base, other, 0.02, 1, 10, beta);
                case "plausibility-only" -> ContrastOracle.cutOff(base, base, beta);
                default -> base;
            };
            final float[] actual =
                    engine.logits(plan.request(new Limits(1, List.of()), 0)).logits();
            // 1 + 2 alpha: the errors of both rows, weighted as the rows are; 2 + 4 alpha of three.
            final double tolerance = (name.equals("icd-vcd") ? 6 : 3) * Tolerance.f32(base);
            final double best = Arrays.stream(base).max().orElseThrow();
            for (int y = 0; y < expected.length; y++) {
                final boolean edge = beta > 0 && Math.abs(base[y] - best - Math.log(beta)) <= tolerance;
                if (!edge && Double.isInfinite(expected[y])) {
                    assertEquals(expected[y], actual[y], name + ", token " + y);
                } else if (!edge) {
                    final double difference = Math.abs(expected[y] - actual[y]);
                    assertTrue(difference <= tolerance, name + ", token " + y + ": " + difference);
                }
            }
        }
    }

    private static double[] row(
            final LlamaOracle oracle, final Engine engine, final Prompt of) {
        return oracle.run(PromptColumns.of(engine, of).inputs()).last();
    }
}
