package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.procedure.Decoding;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Compression;
import dev.equipoise.runtime.Compression.Saliency;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Compression of pictures from strategy files to logits and trace. */
class CompressionStrategyTest {
    private static final Limits LIMITS = new Limits(3, List.of());
    private static final int DROPPED = TinyModels.IMAGE_TOKENS - TinyModels.IMAGE_TOKENS / 4;

    @TempDir
    static Path folder;

    private static TinyRig rig;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(folder, 101);
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static Strategy read(final String json) {
        return Strategies.parse(json.replace('\'', '"'), "s");
    }

    private static float[] logits(final Strategy strategy) {
        return rig.engine
                .logits(Decoding.prepare(rig.engine, strategy, rig.prompt).plan().request(LIMITS, 0))
                .logits();
    }

    private static Prompt quarter() {
        return rig.prompt.withCompression(new Compression(0.25, Saliency.NORM));
    }

    @Test
    void everyBranchReadsTheCompressedPicture() {
        final Strategy strategy = read(
                "{'compress': {'keep': 0.25}, 'contrast': {'method': 'cad', 'without': 'context'}}");
        final Plan plan = Lowering.lower(strategy, rig.prompt, 1, 4);
        assertEquals(quarter(), plan.branches().getFirst().prompt());
        assertEquals(quarter().without(Modality.CONTEXT), plan.branches().getLast().prompt());
        assertArrayEquals(
                rig.engine.logits(Request.plain(quarter())).logits(), logits(read("{'compress': {'keep': 0.25}}")));
        final Answer answer = Decoding.run(rig.engine, strategy, rig.prompt, LIMITS, 0, TokenListener.NONE);
        assertEquals("compress:norm", answer.trace().getFirst().intervention());
        assertEquals(DROPPED, answer.trace().getFirst().tokens());
    }

    @Test
    void aCompressedBranchIsContrastedWithTheWholePicture() {
        final Strategy strategy = read("{'contrast': {'branches': {'compressed': {'compress': {'keep': 0.25}}},"
                + " 'coefficients': {'base': 2, 'compressed': -1}}}");
        final double[] whole = rig.row(rig.prompt);
        final float[] less = rig.engine.logits(Request.plain(quarter())).logits();
        final float[] actual = logits(strategy);
        for (int y = 0; y < actual.length; y++) {
            final double difference = Math.abs(2 * whole[y] - less[y] - actual[y]);
            // Errors of both rows, weighted as the rows are, the compressed one's twice: it is the engine's own here.
            assertTrue(difference <= 4 * Tolerance.f32(whole), "token " + y + ": " + difference);
        }
        final String explained = Explanation.of(Lowering.lower(strategy, rig.prompt, 1, 4)).toJson();
        assertTrue(explained.contains("image: keeps 0.25 of its rows"), explained);
        assertTrue(explained.contains("\"intervention\":\"compress:norm\""), explained);
        assertTrue(explained.contains("the pictures of branch compressed"), explained);
    }

    @Test
    void whatIsWrittenIsReadAgainAndToldApart() {
        final Strategy quarter = read("{'compress': {'keep': 0.25, 'saliency': 'norm'}}");
        assertEquals(quarter, Strategies.parse(quarter.toJson(), "round"));
        assertNotEquals(quarter.fingerprint(), read("{'compress': {'keep': 0.5}}").fingerprint());
        assertEquals(Strategy.plain().fingerprint(), read("{'compress': {'keep': 1}}").fingerprint());
        final String branch = "{'contrast': {'branches': {'b': {'compress': {'keep': %s}}},"
                + " 'coefficients': {'base': 2, 'b': -1}}}";
        final Strategy contrast = read(branch.formatted("0.25"));
        assertEquals(contrast, Strategies.parse(contrast.toJson(), "round"));
        assertNotEquals(contrast.fingerprint(), read(branch.formatted("0.5")).fingerprint());
        assertEquals(Strategy.plain().fingerprint(), Controls.zeroScale(quarter).fingerprint());
        final Strategy gated = read("{'compress': {'keep': 0.25}, 'contrast': {'method': 'cad', 'without': 'context'},"
                + " 'gate': {'kind': 'entropy', 'above': 1}}");
        for (final Strategy strategy : List.of(contrast, gated)) {
            // No vector, nothing random.
            assertThrows(BadInputException.class, () -> Controls.randomVector(strategy, 3));
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "{'compress': {}}                                | $.compress.keep     | without a share",
        "{'compress': {'keep': 0}}                       | $.compress.keep     | out of range",
        "{'compress': {'keep': 1.5}}                     | $.compress.keep     | out of range",
        "{'compress': {'keep': 0.5, 'saliency': 'cls'}}  | $.compress.saliency | unknown saliency",
        "{'compress': {'keep': 0.5, 'kep': 1}}           | $.compress.kep      | unknown key",
    }, quoteCharacter = '~')
    void faultsNameTheirPath(final String json, final String path, final String what) {
        final BadInputException fault = assertThrows(BadInputException.class, () -> read(json));
        assertTrue(fault.where().contains(path), fault.getMessage());
        assertTrue(fault.what().contains(what), fault.getMessage());
    }

    @Test
    void attentionIsASaliencyOfItsOwn() {
        final Strategy strategy = read("{'compress': {'keep': 0.25, 'saliency': 'attention'}}");
        assertEquals(strategy, Strategies.parse(strategy.toJson(), "round"));
        assertNotEquals(read("{'compress': {'keep': 0.25}}").fingerprint(), strategy.fingerprint());
        final Answer answer = Decoding.run(rig.engine, strategy, rig.prompt, LIMITS, 0, TokenListener.NONE);
        assertEquals("compress:attention", answer.trace().getFirst().intervention());
        assertEquals(DROPPED, answer.trace().getFirst().tokens());
        final String explained = Explanation.of(Lowering.lower(strategy, rig.prompt, 1, 4)).toJson();
        assertTrue(explained.contains("its last block attends most"), explained);
    }

    @Test
    void promptsWithoutAPictureAreRefused() {
        final Prompt blind = rig.prompt.without(Modality.IMAGE);
        final BadInputException fault = assertThrows(
                BadInputException.class, () -> Lowering.check(read("{'compress': {'keep': 0.5}}"), blind, 1));
        assertTrue(fault.what().contains("the prompt has no picture"), fault.getMessage());
        // Nothing would differ from the base.
        assertThrows(
                BadInputException.class,
                () -> Lowering.check(
                        read("{'contrast': {'branches': {'b': {'compress': {'keep': 1}}},"
                                + " 'coefficients': {'base': 2, 'b': -1}}}"),
                        rig.prompt,
                        1));
    }
}
