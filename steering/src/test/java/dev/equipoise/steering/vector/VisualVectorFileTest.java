package dev.equipoise.steering.vector;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufTensor;
import dev.equipoise.runtime.gguf.GgufWriter;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.PositionVectors;
import dev.equipoise.runtime.tiny.TinyModels;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class VisualVectorFileTest {
    @TempDir
    static Path directory;

    private static PositionVectors vectors() {
        return new PositionVectors(2, Map.of(
                0, new float[] {1, 2, -3, 0, 0, 0},
                5, new float[] {0, -0f, Float.MIN_VALUE, 1e-30f, Float.MAX_VALUE, 0.1f}));
    }

    private static GgufWriter header() {
        return new GgufWriter().put("general.architecture", "visualvector").put("visualvector.model_hint", "llama");
    }

    private static BadInputException assertRefused(final Path path, final String... parts) {
        final BadInputException e = assertThrows(BadInputException.class, () -> VisualVectorFile.read(path));
        for (final String part : parts) {
            assertTrue(e.getMessage().contains(part), e.getMessage());
        }
        return e;
    }

    private static void assertRefused(final GgufWriter writer, final String... parts) {
        final Path path = directory.resolve("broken.gguf");
        writer.write(path);
        assertTrue(assertRefused(path, parts).getMessage().contains("broken.gguf")
                || parts[0].contains("zeros"));
    }

    @Test
    void whatIsWrittenIsReadToTheBit() {
        final VisualVectorFile file = new VisualVectorFile("qwen2", vectors());
        final Path path = directory.resolve("v.gguf");
        file.write(path);
        assertTrue(VisualVectorFile.isOne(path));
        final VisualVectorFile read = VisualVectorFile.read(path);
        assertEquals(file, read);
        assertEquals(file.hashCode(), read.hashCode());
        for (final int layer : vectors().layers()) {
            assertArrayEquals(vectors().at(layer), read.vectors().at(layer));
        }
        final GgufFile gguf = GgufFile.read(path);
        assertEquals(
                List.of("visual.direction.0", "visual.direction.5"),
                gguf.tensors().stream().map(GgufTensor::name).toList());
        assertArrayEquals(new long[] {3, 2}, gguf.tensors().getFirst().shape());
    }

    @Test
    void eachKindIsRefusedWhereTheOtherIsWanted() {
        final Path visual = directory.resolve("visual.gguf");
        new VisualVectorFile("llama", vectors()).write(visual);
        final BadInputException e = assertThrows(BadInputException.class, () -> ControlVectorFile.read(visual));
        assertTrue(e.what().contains("directions of a picture encoder") && e.remedy().contains("vision-mlp"),
                e.getMessage());
        final Path textual = directory.resolve("textual.gguf");
        new ControlVectorFile("llama", new LayerVectors(Map.of(1, new float[] {1, 2}))).write(textual);
        assertRefused(textual, "vectors of a language model", "vti-visual");
        assertRefused(TinyModels.llama(directory.resolve("model.gguf"), 1), "architecture 'llama'");
        assertRefused(directory.resolve("none.gguf"), "none.gguf");
    }

    @Test
    void brokenFilesAreRefused() {
        final long[] shape = {3, 2};
        final float[] values = {1, 2, 3, 4, 5, 6};
        assertRefused(header(), "without a direction");
        assertRefused(new GgufWriter().tensor("visual.direction.1", GgmlType.F32, shape, values), "architecture");
        assertRefused(header().tensor("visual.direction.1", GgmlType.F16, shape, values), "F16", "visual.direction.1");
        assertRefused(
                header().tensor("visual.direction.1", GgmlType.F32, new long[] {3, 2, 2}, new float[12]), "dimensions");
        assertRefused(
                header().tensor("visual.direction.1", GgmlType.F32, shape, values)
                        .tensor("visual.direction.2", GgmlType.F32, new long[] {2, 3}, values),
                "different shapes", "visual.direction.2");
        for (final float odd : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
            assertRefused(
                    header().tensor("visual.direction.4", GgmlType.F32, shape, new float[] {1, odd, 2, 3, 4, 5}),
                    "not finite", "visual.direction.4");
        }
        for (final String name : List.of("direction.1", "visual.direction", "visual.direction.", "visual.direction.-1",
                "visual.direction.01", "visual.direction.9999999999", "v.blk.0.ln1.weight")) {
            assertRefused(header().tensor(name, GgmlType.F32, shape, values), "no visual direction", name);
        }
        assertRefused(header().tensor("visual.direction.1", GgmlType.F32, shape, new float[6]), "all zeros");
    }

    @Test
    void damagedFilesAreReadOrRefused() throws IOException {
        final Path whole = directory.resolve("whole.gguf");
        new VisualVectorFile("llama", vectors()).write(whole);
        final byte[] bytes = Files.readAllBytes(whole);
        final Path path = directory.resolve("damaged.gguf");
        for (int length = 0; length < bytes.length - 32; length += 5) {
            Files.write(path, Arrays.copyOf(bytes, length));
            assertRefused(path);
        }
        final Random random = new Random(6);
        int refused = 0;
        for (int round = 0; round < 2000; round++) {
            final byte[] damaged = bytes.clone();
            for (int flips = random.nextInt(3); flips >= 0; flips--) {
                damaged[random.nextInt(damaged.length)] = (byte) random.nextInt();
            }
            Files.write(path, damaged);
            try {
                assertTrue(VisualVectorFile.read(path).vectors().positions() >= 1);
            } catch (final BadInputException e) {
                refused++;
            }
        }
        assertTrue(refused > 500, "refused " + refused);
    }
}
