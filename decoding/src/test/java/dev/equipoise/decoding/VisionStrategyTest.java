package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.procedure.Decoding;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.PictureSteering;
import dev.equipoise.runtime.PixelNoise;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.TraceEntry;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.PositionVectors;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.TinyModels;
import dev.equipoise.steering.edit.VisionEdit;
import dev.equipoise.steering.vector.ControlVectorFile;
import dev.equipoise.steering.vector.VisualVectorFile;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Steering of the picture encoder from strategy files to logits and trace. */
class VisionStrategyTest {
    private static final Limits LIMITS = new Limits(2, List.of());
    private static final int ENCODER_WIDTH = 32;

    @TempDir
    static Path folder;

    private static TinyRig rig;
    private static Path visual;
    private static Path textual;

    @BeforeAll
    static void write() {
        rig = new TinyRig(folder, 401);
        visual = folder.resolve("visual.gguf");
        new VisualVectorFile("llama", directions(0)).write(visual);
        textual = folder.resolve("textual.gguf");
        final float[] vector = new float[64];
        Arrays.fill(vector, 1);
        new ControlVectorFile("llama", new LayerVectors(Map.of(1, vector, 2, vector))).write(textual);
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static PositionVectors directions(final int block) {
        final float[] values = new float[TinyModels.IMAGE_TOKENS * ENCODER_WIDTH];
        final Random random = new Random(402);
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return new PositionVectors(TinyModels.IMAGE_TOKENS, Map.of(block, values));
    }

    private static Strategy read(final String json) {
        return Strategies.parse(
                json.replace('\'', '"').replace("VISUAL", visual.toString()).replace("TEXTUAL", textual.toString()),
                "s");
    }

    private static float[] logits(final Strategy strategy) {
        return rig.engine
                .logits(Decoding.prepare(rig.engine, strategy, rig.prompt).plan().request(LIMITS, 0))
                .logits();
    }

    private static Prompt turned(final double amount) {
        return rig.prompt.withPictureSteering(new PictureSteering(directions(0), amount));
    }

    private static final String TURN = "{'vector': 'VISUAL', 'op': 'turn', 'at': 'vision-mlp', 'scale': 0.5}";

    @Test
    void everyBranchReadsTheSteeredPicture() {
        final Strategy strategy = read("{'steer': [" + TURN + "], 'contrast': {'method': 'vcd'}}");
        final Plan plan = Lowering.lower(strategy, rig.prompt, 1, 4);
        assertEquals(turned(0.5), plan.branches().getFirst().prompt());
        assertEquals(turned(0.5).withPixelNoise(new PixelNoise(500, 1)), plan.branches().getLast().prompt());
        assertTrue(plan.branches().getFirst().interventions().isEmpty());
        final float[] alone = logits(read("{'steer': [" + TURN + "]}"));
        assertArrayEquals(rig.engine.logits(Request.plain(turned(0.5))).logits(), alone);
        assertFalse(Arrays.equals(rig.engine.logits(Request.plain(rig.prompt)).logits(), alone));
        final Answer answer = Decoding.run(rig.engine, strategy, rig.prompt, LIMITS, 0, TokenListener.NONE);
        final TraceEntry entry = answer.trace().getFirst();
        assertEquals("vision:turn", entry.intervention());
        assertEquals(List.of(0), entry.layers());
        assertEquals(TinyModels.IMAGE_TOKENS, entry.tokens());
        assertTrue(entry.meanDeltaNorm() > 0);
    }

    @Test
    void aBranchHasAnEncodingOfItsOwn() {
        final Strategy strategy = read("{'contrast': {'branches': {'turned': {'steer': [" + TURN + "]}},"
                + " 'coefficients': {'base': 2, 'turned': -1}}}");
        final double[] plain = rig.row(rig.prompt);
        final double[] other = rig.row(turned(0.5));
        final float[] actual = logits(strategy);
        for (int y = 0; y < actual.length; y++) {
            final double difference = Math.abs(2 * plain[y] - other[y] - actual[y]);
            assertTrue(
                    difference <= 2 * Tolerance.f32(plain) + Tolerance.f32(other), "token " + y + ": " + difference);
        }
        final Explanation explained = Explanation.of(Lowering.lower(strategy, rig.prompt, 1, 4));
        assertEquals("image: steered in the encoder", explained.branches().getLast().differsIn());
        final Explanation.Step step = explained.steps().getFirst();
        assertEquals("vision:turn", step.intervention());
        assertEquals(List.of(0), step.layers());
        assertTrue(step.scope().contains("branch turned") && step.mechanism().contains("0.5"), step.toString());
    }

    @Test
    void whatIsWrittenIsReadAgainAndToldApart() {
        final Strategy strategy = read("{'steer': [" + TURN + "]}");
        assertEquals(strategy, Strategies.parse(strategy.toJson(), "round"));
        assertNotEquals(Strategy.plain().fingerprint(), strategy.fingerprint());
        assertNotEquals(strategy.fingerprint(), read("{'steer': [" + TURN.replace("0.5", "0.6") + "]}").fingerprint());
        final Path copy = folder.resolve("copy.gguf");
        new VisualVectorFile("other", directions(0)).write(copy);
        final Strategy same = read("{'steer': [" + TURN.replace("VISUAL", copy.toString()) + "]}");
        assertEquals(strategy.fingerprint(), same.fingerprint());
        new VisualVectorFile("other", directions(1)).write(copy);
        final Strategy elsewhere = read("{'steer': [" + TURN.replace("VISUAL", copy.toString()) + "]}");
        assertNotEquals(strategy.fingerprint(), elsewhere.fingerprint());
        assertEquals(
                Strategy.plain().fingerprint(), read("{'steer': [" + TURN.replace("0.5", "0") + "]}").fingerprint());
        assertEquals(Strategy.plain().fingerprint(), Controls.zeroScale(strategy).fingerprint());
        assertArrayEquals(
                rig.engine.logits(Request.plain(rig.prompt)).logits(), logits(Controls.zeroScale(strategy)));
    }

    @Test
    void aRandomControlIsAsLongAtEveryPosition() {
        final Strategy strategy = read("{'steer': [" + TURN + "]}");
        final Strategy random = Controls.randomVector(strategy, 3);
        assertNotEquals(strategy.fingerprint(), random.fingerprint());
        assertEquals(random.fingerprint(), Strategies.parse(random.toJson(), "round").fingerprint());
        final PositionVectors made = ((VisionEdit) random.edits().getFirst()).directions();
        assertArrayEquals(directions(0).norms(0), made.norms(0), 1e-5);
        assertFalse(Arrays.equals(directions(0).at(0), made.at(0)));
    }

    @Test
    void presetsTakeEitherHalfOrBoth() {
        final Strategy seeing = Strategies.find("vti-visual:" + visual);
        assertEquals(List.of("vision:turn"), seeing.edits().stream().map(edit -> edit.name()).toList());
        assertEquals(0.09, ((VisionEdit) seeing.edits().getFirst()).amount());
        final Strategy both = Strategies.find("vti:" + textual + "," + visual);
        assertEquals(List.of("steer:turn", "vision:turn"), both.edits().stream().map(edit -> edit.name()).toList());
        assertEquals(both, Strategies.parse(both.toJson(), "round"));
        final Answer answer = Decoding.run(rig.engine, both, rig.prompt, LIMITS, 0, TokenListener.NONE);
        assertEquals(
                List.of("vision:turn", "steer:turn"),
                answer.trace().stream().map(TraceEntry::intervention).toList());
        final BadInputException swapped =
                assertThrows(BadInputException.class, () -> Strategies.find("vti:" + visual + "," + textual));
        assertTrue(swapped.what().contains("picture encoder"), swapped.getMessage());
        final BadInputException other =
                assertThrows(BadInputException.class, () -> Strategies.find("vti-visual:" + textual));
        assertTrue(other.what().contains("language model"), other.getMessage());
        assertTrue(
                assertThrows(BadInputException.class, () -> Strategies.find("vti-visual")).remedy()
                        .contains("vti-visual:VISUAL"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "{'vector': 'VISUAL', 'at': 'vision-mlp'}                                     | op     | without an op",
        "{'vector': 'VISUAL', 'op': 'add', 'at': 'vision-mlp'}                        | op     | unknown op",
        "{'op': 'turn', 'at': 'vision-mlp'}                                           | vector | without a vector",
        "{'vector': 'VISUAL', 'op': 'turn', 'at': 'vision-mlp', 'layers': '0'}        | layers | unknown key",
        "{'vector': 'VISUAL', 'op': 'turn', 'at': 'vision-mlp', 'scope': {}}          | scope  | unknown key",
        "{'vector': 'VISUAL', 'op': 'turn', 'at': 'vision-mlp', 'scale': 1e7}         | scale  | out of range",
        "{'vector': 'TEXTUAL', 'op': 'turn', 'at': 'vision-mlp'}                      | textual.gguf | language model",
        "{'vector': 'VISUAL', 'op': 'turn', 'at': 'mlp'}                              | visual.gguf | picture encoder",
        "{'vector': 'VISUAL', 'op': 'turn', 'at': 'vision'}                           | at     | unknown at",
    }, quoteCharacter = '~')
    void faultsNameTheirPath(final String edit, final String path, final String what) {
        final BadInputException fault =
                assertThrows(BadInputException.class, () -> read("{'steer': [" + edit + "]}"));
        assertTrue(fault.where().contains(path), fault.getMessage());
        assertTrue(fault.what().contains(what), fault.getMessage());
    }

    @Test
    void whatDoesNotFitIsRefusedWhenThePlanIsMade() {
        final Strategy strategy = read("{'steer': [" + TURN + "]}");
        final BadInputException blind = assertThrows(
                BadInputException.class,
                () -> Lowering.check(strategy, rig.prompt.without(Modality.IMAGE), 1));
        assertTrue(blind.what().contains("no picture") && blind.where().contains("vision:turn"), blind.getMessage());
        final BadInputException twice = assertThrows(
                BadInputException.class,
                () -> Lowering.check(read("{'steer': [" + TURN + "," + TURN + "]}"), rig.prompt, 1));
        assertTrue(twice.what().contains("two edits of the picture encoder"), twice.getMessage());
        final BadInputException branch = assertThrows(
                BadInputException.class,
                () -> Lowering.check(
                        read("{'steer': [" + TURN + "], 'contrast': {'branches': {'b': {'steer': [" + TURN + "]}},"
                                + " 'coefficients': {'base': 2, 'b': -1}}}"),
                        rig.prompt,
                        1));
        assertTrue(branch.where().contains("branch b"), branch.getMessage());
        // A branch without the picture has nothing to steer.
        final Plan lacking = Lowering.lower(
                read("{'steer': [" + TURN + "], 'contrast': {'method': 'cad', 'without': 'image'}}"),
                rig.prompt, 1, 4);
        assertEquals(rig.prompt.without(Modality.IMAGE), lacking.branches().getLast().prompt());
        final Path other = folder.resolve("deep.gguf");
        new VisualVectorFile("llama", directions(1)).write(other);
        final Strategy deep = read("{'steer': [" + TURN.replace("VISUAL", other.toString()) + "]}");
        final BadInputException block =
                assertThrows(BadInputException.class, () -> Decoding.run(
                        rig.engine, deep, rig.prompt, LIMITS, 0, TokenListener.NONE));
        assertTrue(block.what().contains("no block 1"), block.getMessage());
    }
}
