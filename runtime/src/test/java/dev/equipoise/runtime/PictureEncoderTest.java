package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.oracle.EncoderOracle;
import dev.equipoise.runtime.oracle.EncoderOracle.Encoding;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What libmtmd's picture encoder gives, with a class token and without, against the same in double precision. */
class PictureEncoderTest {
    private static final int WIDTH = 32;
    private static final int TEXT_WIDTH = 64;

    @TempDir
    static Path directory;

    /**
     * The class token comes first, has the first position embedding, and is none of the rows that the language model
     * reads; each patch has the position embedding behind its own number.
     */
    @ParameterizedTest
    @CsvSource({"211,1,false", "212,1,true", "213,2,false", "214,2,true", "215,4,true"})
    void rowsAreThePatchesInTheirPlaces(final long seed, final int blocks, final boolean classToken) {
        final String name = "encoder" + seed + ".gguf";
        final Path encoders = TinyModels.mmproj(
                directory.resolve(name), seed, WIDTH, blocks, classToken, 0, TEXT_WIDTH);
        final byte[] pixels = new byte[3 * TinyModels.IMAGE_SIZE * TinyModels.IMAGE_SIZE];
        new Random(seed).nextBytes(pixels);
        final Encoding expected = new EncoderOracle(
                        GgufFile.read(encoders), TinyModels.IMAGE_SIZE, TinyModels.PATCH_SIZE, WIDTH, 2)
                .encode(pixels);
        final Image picture = Image.rgb(TinyModels.IMAGE_SIZE, TinyModels.IMAGE_SIZE, pixels);
        try (Model model = Model.load(
                TinyModels.llama(directory.resolve("tiny.gguf"), 210), Placement.options().withMmproj(encoders))) {
            assertNear(expected.embeddings(), model.embed(new Part.Picture(picture, Optional.empty())), "rows");
            assertEquals(blocks - 1, expected.states().size());
            if (blocks > 1) {
                final PictureStates states = model.pictureStates(picture, Optional.empty());
                assertEquals(TinyModels.IMAGE_TOKENS + (classToken ? 1 : 0), states.positions());
                assertEquals(blocks - 1, states.layers().size());
                for (final int block : states.layers()) {
                    assertNear(expected.states().get(block), states.at(block), "block " + block);
                }
            }
        }
    }

    private static void assertNear(final double[][] expected, final float[] actual, final String what) {
        final int width = expected[0].length;
        assertEquals(expected.length * width, actual.length, what);
        for (int row = 0; row < expected.length; row++) {
            // ggml convolves patches, reads keys and values in flash attention, and looks GELU up in half precision.
            final double tolerance = Tolerance.f16(expected[row]);
            final double difference = Tolerance.largestDifference(
                    expected[row], Arrays.copyOfRange(actual, row * width, (row + 1) * width));
            assertTrue(difference <= tolerance, what + ", row " + row + " differs by " + difference);
        }
    }
}
