package dev.equipoise.steering.vector;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufTensor;
import dev.equipoise.runtime.gguf.GgufValue;
import dev.equipoise.runtime.gguf.GgufWriter;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.tiny.TinyModels;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ControlVectorFileTest {
    @TempDir
    static Path directory;

    private static LayerVectors vectors() {
        return new LayerVectors(Map.of(
                0, new float[] {1, 2, -3},
                7, new float[] {0, -0f, Float.MIN_VALUE},
                12, new float[] {1e-30f, Float.MAX_VALUE, 0.1f}));
    }

    private static GgufWriter header() {
        return new GgufWriter()
                .put("general.architecture", "controlvector")
                .put("controlvector.model_hint", "llama");
    }

    private static void assertRefused(final GgufWriter writer, final String... parts) {
        final Path path = directory.resolve("broken.gguf");
        writer.write(path);
        final BadInputException e = assertThrows(BadInputException.class, () -> ControlVectorFile.read(path));
        assertTrue(e.where().contains("broken.gguf"), e.getMessage());
        for (final String part : parts) {
            assertTrue(e.getMessage().contains(part), e.getMessage());
        }
    }

    @Test
    void whatIsWrittenIsReadToTheBit() {
        final ControlVectorFile file = new ControlVectorFile("qwen2vl", vectors());
        final Path path = directory.resolve("v.gguf");
        file.write(path);
        final ControlVectorFile read = ControlVectorFile.read(path);
        assertEquals(file, read);
        for (final int layer : Set.of(0, 7, 12)) {
            assertArrayEquals(vectors().at(layer), read.vectors().at(layer));
        }
    }

    @Test
    void theHeaderIsTheOthers() {
        final Path path = directory.resolve("header.gguf");
        new ControlVectorFile("llama", vectors()).write(path);
        final GgufFile file = GgufFile.read(path);
        assertEquals(
                List.of("general.architecture", "controlvector.model_hint", "controlvector.layer_count"),
                List.copyOf(file.metadata().keySet()));
        assertEquals("controlvector", file.architecture());
        assertEquals("llama", file.string("controlvector.model_hint"));
        assertEquals(3, file.u32("controlvector.layer_count"));
        assertEquals(
                List.of("direction.0", "direction.7", "direction.12"),
                file.tensors().stream().map(GgufTensor::name).toList());
        for (final GgufTensor tensor : file.tensors()) {
            assertEquals(GgmlType.F32, tensor.type());
            assertArrayEquals(new long[] {3}, tensor.shape());
        }
    }

    @Test
    void filesOfTheOthersAreRead() {
        // As llama.cpp's generator writes it: a signed count. As repeng may: layers from the last down.
        final Path path = directory.resolve("others.gguf");
        header().put("controlvector.layer_count", GgufValue.i32(2))
                .tensor("direction.31", GgmlType.F32, new long[] {2}, new float[] {1, 2})
                .tensor("direction.30", GgmlType.F32, new long[] {2}, new float[] {3, 4})
                .write(path);
        final ControlVectorFile file = ControlVectorFile.read(path);
        assertEquals("llama", file.modelHint());
        assertEquals(
                new LayerVectors(Map.of(30, new float[] {3, 4}, 31, new float[] {1, 2})), file.vectors());

        final Path bare = directory.resolve("bare.gguf");
        new GgufWriter().put("general.architecture", "controlvector")
                .tensor("direction.1", GgmlType.F32, new long[] {1}, new float[] {5})
                .write(bare);
        assertEquals("", ControlVectorFile.read(bare).modelHint());
    }

    @Test
    void brokenFilesAreRefused() {
        final long[] three = {3};
        final float[] values = {1, 2, 3};
        assertRefused(header(), "without a direction");
        assertRefused(new GgufWriter().tensor("direction.1", GgmlType.F32, three, values), "general.architecture");
        assertRefused(header().put("x", "y").tensor("direction.1", GgmlType.F16, three, values), "F16", "direction.1");
        assertRefused(header().tensor("direction.1", GgmlType.F32, new long[] {3, 2}, new float[6]), "dimensions");
        assertRefused(
                header().tensor("direction.1", GgmlType.F32, three, values)
                        .tensor("direction.2", GgmlType.F32, new long[] {2}, new float[2]),
                "different shapes", "direction.2", "3");
        for (final float odd : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
            assertRefused(
                    header().tensor("direction.4", GgmlType.F32, three, new float[] {1, odd, 2}),
                    "not finite", "direction.4");
        }
        for (final String name : List.of("direction", "direction.", "direction.-1", "direction.x", "direction.01",
                "direction.1x", "direction.9999999999", "token_embd.weight", "Direction.1")) {
            assertRefused(header().tensor(name, GgmlType.F32, three, values), "no direction of a layer", name);
        }
        assertRefused(
                new GgufWriter().put("general.architecture", "controlvector")
                        .put("controlvector.model_hint", GgufValue.u32(3))
                        .tensor("direction.1", GgmlType.F32, three, values),
                "controlvector.model_hint");
    }

    @Test
    void otherFilesAreRefused() throws IOException {
        final Path model = TinyModels.llama(directory.resolve("model.gguf"), 1);
        final BadInputException e = assertThrows(BadInputException.class, () -> ControlVectorFile.read(model));
        assertTrue(e.getMessage().contains("architecture 'llama'"), e.getMessage());
        assertThrows(BadInputException.class, () -> ControlVectorFile.read(directory.resolve("none.gguf")));
        final Path whole = directory.resolve("whole.gguf");
        new ControlVectorFile("llama", vectors()).write(whole);
        final byte[] bytes = Files.readAllBytes(whole);
        for (int length = 0; length < bytes.length - 32; length += 7) {
            final Path cut = Files.write(directory.resolve("cut.gguf"), Arrays.copyOf(bytes, length));
            assertThrows(BadInputException.class, () -> ControlVectorFile.read(cut));
        }
    }

    /**
     * Files that the others' own code has written, of value layer + i / 8 at entry i: repeng's {@code export_gguf} with
     * gguf-py, whose layers come last first, and the export of llama-cvector-generator with ggml.
     */
    @ParameterizedTest
    @ValueSource(strings = {"repeng.gguf", "llama-cvector-generator.gguf"})
    void filesOfOthersAreRead(final String name) throws Exception {
        final ControlVectorFile read = ControlVectorFile.read(
                Path.of(ControlVectorFileTest.class.getResource(name).toURI()));
        assertEquals("llama", read.modelHint());
        assertEquals(Set.of(1, 2, 3), read.vectors().layers());
        for (final int layer : read.vectors().layers()) {
            final float[] expected = new float[6];
            for (int i = 0; i < expected.length; i++) {
                expected[i] = layer + i / 8f;
            }
            assertArrayEquals(expected, read.vectors().at(layer));
        }
        // Ours of the same vectors is read as theirs is.
        final Path ours = directory.resolve("ours.gguf");
        read.write(ours);
        assertEquals(read, ControlVectorFile.read(ours));
    }
}
