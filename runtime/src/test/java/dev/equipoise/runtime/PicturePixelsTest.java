package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.picture.Box;
import dev.equipoise.runtime.picture.Pixels;
import dev.equipoise.runtime.picture.Transformation;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Pixels that Java decodes: those that the encoder reads from the same file. */
class PicturePixelsTest {
    private static final int SIDE = 32;

    @TempDir
    static Path directory;

    private static Model model;
    private static Engine engine;

    @BeforeAll
    static void open() {
        final Path mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 702, 64);
        model = Model.load(
                TinyModels.llama(directory.resolve("tiny.gguf"), 701), Placement.options().withMmproj(mmproj));
        engine = Engine.open(model, Tolerance.exact(1024));
    }

    @AfterAll
    static void close() {
        engine.close();
        model.close();
    }

    private static byte[] file(final String format, final int type) {
        final BufferedImage image = new BufferedImage(SIDE, SIDE, type);
        final Random random = new Random(703);
        for (int y = 0; y < SIDE; y++) {
            for (int x = 0; x < SIDE; x++) {
                // Colours that go over slowly, so that what a lossy file loses is little, and all of a palette's edges.
                final int value = (8 * x & 0xFF) << 16 | (8 * y & 0xFF) << 8 | 4 * (x + y) & 0xFF;
                image.setRGB(x, y, (128 + random.nextInt(128)) << 24 | value);
            }
        }
        final ByteArrayOutputStream out = new ByteArrayOutputStream();
        try {
            assertTrue(ImageIO.write(image, format, out), format);
        } catch (final IOException e) {
            throw new AssertionError(e);
        }
        return out.toByteArray();
    }

    private static float[] logits(final Image image) {
        return engine.logits(Request.plain(Prompt.builder().image(image).text("what").build())).logits();
    }

    @ParameterizedTest
    @CsvSource({
        "png, " + BufferedImage.TYPE_3BYTE_BGR,
        "png, " + BufferedImage.TYPE_INT_RGB,
        "png, " + BufferedImage.TYPE_4BYTE_ABGR,
        "png, " + BufferedImage.TYPE_BYTE_GRAY,
        "png, " + BufferedImage.TYPE_USHORT_GRAY,
        "png, " + BufferedImage.TYPE_BYTE_INDEXED,
        "png, " + BufferedImage.TYPE_BYTE_BINARY,
        "bmp, " + BufferedImage.TYPE_3BYTE_BGR,
        "bmp, " + BufferedImage.TYPE_BYTE_INDEXED,
        "gif, " + BufferedImage.TYPE_BYTE_INDEXED
    })
    void theyAreThoseThatTheEncoderReads(final String format, final int type) {
        final Image image = Image.encoded(file(format, type), "drawn." + format);
        final Pixels pixels = image.pixels();
        assertEquals(List.of(SIDE, SIDE), List.of(pixels.width(), pixels.height()));
        final Image raw = Image.rgb(SIDE, SIDE, pixels.rgb());
        assertEquals(pixels, raw.pixels());
        assertArrayEquals(logits(image), logits(raw));
        final byte[] other = pixels.rgb();
        other[0] ^= 4;
        assertTrue(!Arrays.equals(logits(raw), logits(Image.rgb(SIDE, SIDE, other))), "a change that nobody sees");
    }

    /** Pictures go through no temporary files: a file system may be read-only, and they are nobody else's. */
    @Test
    void nothingIsWrittenForThem() throws IOException {
        final byte[] file = file("png", BufferedImage.TYPE_3BYTE_BGR);
        final Path gone = Files.createDirectory(directory.resolve("gone"));
        ImageIO.setCacheDirectory(gone.toFile());
        try {
            Files.delete(gone);
            assertEquals(SIDE, Image.encoded(file, "drawn.png").pixels().width());
        } finally {
            ImageIO.setCacheDirectory(null);
        }
    }

    @Test
    void ofLossyFilesTheyAreNear() {
        final Pixels pixels = Image.encoded(file("jpg", BufferedImage.TYPE_3BYTE_BGR), "drawn.jpg").pixels();
        for (int y = 0; y < SIDE; y++) {
            for (int x = 0; x < SIDE; x++) {
                // Far below what mixing channels or rows up would make.
                assertEquals(8 * y & 0xFF, pixels.at(x, y, 1), 24);
            }
        }
    }

    @Test
    void greyOfAJpegIsAsItIs() throws IOException {
        final BufferedImage image = new BufferedImage(SIDE, SIDE, BufferedImage.TYPE_BYTE_GRAY);
        for (int i = 0; i < SIDE * SIDE; i++) {
            image.getRaster().setSample(i % SIDE, i / SIDE, 0, 40);
        }
        final ByteArrayOutputStream out = new ByteArrayOutputStream();
        assertTrue(ImageIO.write(image, "jpg", out));
        // Java's colour model would make 40 of it 110 of sRGB.
        assertEquals(40, Image.encoded(out.toByteArray(), "grey.jpg").pixels().at(3, 5, 2), 2);
    }

    @Test
    void aTransformedPictureSaysWhatWasDoneToIt() {
        final Image image = Image.encoded(file("png", BufferedImage.TYPE_3BYTE_BGR), "drawn.png");
        final Transformation black = new Transformation.Blackout(List.of(new Box(1, 2, 3, 4)));
        final Image made = image.transformed(image.pixels(), black);
        assertEquals("drawn.png, black in 1,2,3,4", made.name());
        assertEquals(black.apply(image.pixels()), made.pixels());
        assertNotEquals(image, made);
        final Part.Picture picture = new Part.Picture(image, Optional.of(new PixelNoise(3, 4)));
        assertEquals(picture.noise(), picture.showing(made).noise());
        assertEquals(made, picture.showing(made).image());
    }

    @Test
    void cutFilesAreRefused() {
        final byte[] whole = file("png", BufferedImage.TYPE_3BYTE_BGR);
        final Image cut = Image.encoded(Arrays.copyOf(whole, whole.length / 2), "cut.png");
        final BadInputException refused = assertThrows(BadInputException.class, cut::pixels);
        assertEquals("cut.png", refused.where());
        assertTrue(refused.what().contains("cannot be decoded") && !refused.remedy().isBlank(), refused.getMessage());
    }
}
