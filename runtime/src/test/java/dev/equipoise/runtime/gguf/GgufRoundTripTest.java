package dev.equipoise.runtime.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the writer writes, the reader reads. */
class GgufRoundTripTest {
    @TempDir
    Path directory;

    @Test
    void everyKindOfValueComesBack() {
        final Path path = directory.resolve("values.gguf");
        final GgufWriter writer = new GgufWriter()
                .put("general.architecture", "llama")
                .put("u8", new GgufValue.Whole(GgufValue.Type.U8, 255))
                .put("i8", new GgufValue.Whole(GgufValue.Type.I8, -128))
                .put("u16", new GgufValue.Whole(GgufValue.Type.U16, 65535))
                .put("i16", new GgufValue.Whole(GgufValue.Type.I16, -32768))
                .put("u32", GgufValue.u32(0xFFFFFFFFL))
                .put("i32", GgufValue.i32(Integer.MIN_VALUE))
                .put("u64", GgufValue.u64(-1))
                .put("i64", new GgufValue.Whole(GgufValue.Type.I64, Long.MIN_VALUE))
                .put("f32", GgufValue.f32(1.5f))
                .put("f64", new GgufValue.Real(GgufValue.Type.F64, Math.PI))
                .put("bool", GgufValue.bool(true))
                .put("empty", "")
                .put("texts", GgufValue.texts(List.of("", "ä", "Ġword")))
                .put("i32s", GgufValue.i32s(1, -2, 3))
                .put("none", GgufValue.i32s())
                .put("f32s", GgufValue.f32s(0.1f, Float.NaN));
        writer.write(path);
        final GgufFile file = GgufFile.read(path);

        assertEquals(3, file.version());
        assertEquals("llama", file.architecture());
        assertEquals(0xFFFFFFFFL, file.u32("u32"));
        assertEquals(7, file.u32("missing", 7));
        assertEquals(1.5f, file.f32("f32"));
        assertTrue(file.bool("bool"));
        assertEquals(List.of("", "ä", "Ġword"), file.strings("texts"));
        assertArrayEquals(new long[] {1, -2, 3}, file.integers("i32s"));
        assertArrayEquals(new float[] {0.1f, Float.NaN}, file.floats("f32s"));
        assertEquals(17, file.metadata().size());
        assertEquals("18446744073709551615", file.metadata().get("u64").plain().toString());
        assertThrows(BadInputException.class, () -> file.u32("i32"));
        assertThrows(BadInputException.class, () -> file.string("missing"));

        final Path again = directory.resolve("again.gguf");
        new GgufWriter().putAll(file.metadata()).write(again);
        assertEquals(file.metadata(), GgufFile.read(again).metadata());
    }

    @Test
    void tensorsOfEveryConvertibleTypeComeBack() {
        final Random random = new Random(1);
        final float[] values = new float[96 * 5];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        final Path path = directory.resolve("tensors.gguf");
        final GgufWriter writer = new GgufWriter().put("general.architecture", "llama");
        for (final GgmlType type : GgmlType.values()) {
            if (type.convertible()) {
                writer.tensor("t." + type, type, new long[] {96, 5}, values);
            }
        }
        writer.write(path);
        final GgufFile file = GgufFile.read(path);

        assertEquals(5, file.tensors().size());
        for (final GgufTensor tensor : file.tensors()) {
            // Half a step of each format: mantissa bits, or the block's largest value over its number of steps.
            final double tolerance = switch (tensor.type()) {
                case F32 -> 0;
                case F16 -> 4 * 0x1p-11;
                case BF16 -> 4 * 0x1p-8;
                case Q8_0 -> 4.0 / 127;
                default -> 4.0 / 8;
            };
            final float[] back = file.floats(tensor);
            assertTrue(tensor.hasShape(96, 5));
            for (int i = 0; i < values.length; i++) {
                assertTrue(Math.abs(back[i] - values[i]) <= tolerance, tensor + " element " + i);
            }
            final float[] row = file.floats(tensor, 3, 1);
            for (int i = 0; i < row.length; i++) {
                assertEquals(back[3 * 96 + i], row[i]);
            }
        }
    }

    @Test
    void filesBeyondTwoGigabytesAreReadByPosition() throws IOException {
        final Path path = directory.resolve("large.gguf");
        final long rows = 600_000_000L;
        // A writer of nothing: the table is ours, the data a hole in the file.
        new GgufWriter().put("general.architecture", "llama")
                .tensor("first", GgmlType.I8, new long[] {1}, (tensor, out) -> out.write(7))
                .write(path);
        final byte[] header = Files.readAllBytes(path);
        final Path sparse = directory.resolve("sparse.gguf");
        GgufBytes.rewriteExtent(header, "first", rows * 4);
        Files.write(sparse, header);
        try (FileChannel channel = FileChannel.open(sparse, StandardOpenOption.WRITE)) {
            channel.write(java.nio.ByteBuffer.wrap(new byte[] {42}),
                    GgufBytes.dataStart(header.length) + rows * 4 - 1);
        }
        final GgufFile file = GgufFile.read(sparse);

        assertEquals(42, file.raw(file.tensor("first"), rows * 4 - 1, 1).get());
        assertThrows(BadInputException.class, () -> file.raw(file.tensor("first")));
    }

    @Test
    void aSourceThatWritesTooLittleLeavesNoFile() {
        final Path path = directory.resolve("short.gguf");
        final GgufWriter writer = new GgufWriter()
                .tensor("a", GgmlType.F32, new long[] {4}, (tensor, out) -> out.write(0));

        assertThrows(IllegalStateException.class, () -> writer.write(path));
        assertFalse(Files.exists(path));
    }

    @Test
    void theWriterRefusesWhatTheReaderWould() {
        final GgufWriter writer = new GgufWriter().put("key", "value")
                .tensor("a", GgmlType.F32, new long[] {1}, new float[1]);

        assertThrows(BadInputException.class, () -> writer.put("key", "again"));
        assertThrows(BadInputException.class, () -> writer.put("", "empty"));
        assertThrows(BadInputException.class, () -> writer.put("general.alignment", GgufValue.u32(64)));
        assertThrows(BadInputException.class, () -> writer.tensor("a", GgmlType.F32, new long[] {1}, new float[1]));
        assertThrows(BadInputException.class, () -> writer.tensor("b", GgmlType.Q8_0, new long[] {31}, new float[31]));
        assertThrows(BadInputException.class,
                () -> writer.tensor("c", GgmlType.Q6_K, new long[] {256}, new float[256]));
        assertThrows(BadInputException.class, () -> writer.tensor("d", GgmlType.F32, new long[] {2}, new float[1]));
        assertThrows(BadInputException.class,
                () -> writer.tensor("n".repeat(64), GgmlType.F32, new long[] {1}, new float[1]));
    }

    @Test
    void anUnwritablePlaceIsBadInput() {
        final Path path = directory.resolve("no/such/directory/x.gguf");

        assertThrows(BadInputException.class, () -> new GgufWriter().write(path));
    }
}
