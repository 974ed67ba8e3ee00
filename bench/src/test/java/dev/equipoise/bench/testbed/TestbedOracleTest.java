package dev.equipoise.bench.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.bench.demo.TestbedModel;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.procedure.Decoding;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.oracle.AnswerCheck;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.NotedChoice;
import dev.equipoise.runtime.oracle.RequestOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import java.util.List;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every preset on the bundled model, with a picture, a sound and a note that disagree: what each generated token
 * competed with, against plain forward passes over the dequantised weights.
 */
class TestbedOracleTest {
    private static final int LAYERS = 4;
    private static final int SMALL_MICRO_BATCH = 7;
    // What the preset with most of them takes: five beams of five candidates, and the prompt.
    private static final int SEQUENCES = 26;
    private static final List<String> WHOLE = List.of("avcd-code", "outro");

    private static Model model;
    private static LlamaOracle oracle;
    private static Prompt prompt;

    @BeforeAll
    static void load() {
        final TestbedModel files = TestbedModel.locate();
        model = files.load(Placement.options());
        oracle = LlamaOracle.of(GgufFile.read(model.file()));
        prompt = Prompt.builder()
                .context("the object is purple. there is a bell.")
                .image(orangeSquare())
                .audio(beep())
                .text("what colour is the object?")
                .build();
    }

    @AfterAll
    static void close() {
        model.close();
    }

    // As the model's card has it: grey ground, a filled square of 20 pixels.
    private static Image orangeSquare() {
        final byte[] pixels = new byte[32 * 32 * 3];
        for (int at = 0; at < 32 * 32; at++) {
            final boolean inside = at / 32 >= 6 && at / 32 < 26 && at % 32 >= 6 && at % 32 < 26;
            pixels[3 * at] = (byte) (inside ? 245 : 128);
            pixels[3 * at + 1] = (byte) (inside ? 140 : 128);
            pixels[3 * at + 2] = (byte) (inside ? 20 : 128);
        }
        return Image.rgb(32, 32, pixels);
    }

    private static Audio beep() {
        final float[] samples = new float[2 * 16_000];
        for (int i = 0; i < samples.length; i++) {
            samples[i] = 0.6f * (float) Math.sin(2 * Math.PI * 700 * i / 16_000);
        }
        return Audio.pcm(samples);
    }

    static Stream<Arguments> presets() {
        return Stream.concat(Strategies.names().stream(), Stream.of("crg:6,6,26,26"))
                .flatMap(name -> Stream.of(512, SMALL_MICRO_BATCH)
                        // A branch that is read whole does not fit into a small one, and is refused.
                        .filter(batch -> batch > SMALL_MICRO_BATCH || !WHOLE.contains(name))
                        .map(batch -> Arguments.of(name, batch)));
    }

    @ParameterizedTest
    @MethodSource("presets")
    void everyTokenOfEveryPreset(final String name, final int microBatch) {
        final EngineOptions options = Tolerance.exact(2048)
                .withMicroBatch(microBatch)
                .withMaxBranches(SEQUENCES);
        // Products with quantised matrices round their inputs, whatever else is exact.
        final ToDoubleFunction<double[]> tolerance = row -> Tolerance.q8(LAYERS, row);
        try (Engine engine = Engine.open(model, options)) {
            final Request request = NotedChoice.in(Decoding.prepare(engine, Strategies.find(name), prompt)
                    .plan()
                    .request(new Limits(3, List.of()), Request.MAX_LOG_PROBABILITIES));
            final Answer answer = engine.run(request);
            final RequestOracle slow = new RequestOracle(oracle, engine);
            if (answer.logProbabilities().isEmpty()) {
                // The model ends its turn at once, and reports nothing: the row from which it did.
                final RequestOracle.Row row = slow.row(request, List.of());
                final double allowed = row.weight() * tolerance.applyAsDouble(row.base());
                final double most = Tolerance.largestDifference(row.logits(), engine.logits(request).logits());
                assertTrue(most <= allowed, () -> name + ": " + most + " off, tolerance " + allowed);
                return;
            }
            final AnswerCheck check = AnswerCheck.of(slow, request, answer, tolerance);
            assertTrue(check.rows() >= 1);
            assertEquals(answer.logProbabilities().size(), check.rows());
        }
    }
}
