package dev.equipoise.runtime.gguf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;

/** Bits recorded from ggml_quantize_chunk of the hosted ggml. */
class QuantisationTest {
    private static float[] values() {
        final float[] values = new float[64];
        for (int i = 0; i < 32; i++) {
            // Halves and ties on purpose: multiples of a sixteenth around zero, then a skewed block.
            values[i] = (i - 16) / 16f;
            values[32 + i] = (float) (i * i * 0.37 - 100.25 + i % 3 * 1e-3);
        }
        return values;
    }

    private static String quantise(final GgmlType type) {
        final ByteBuffer out = ByteBuffer.allocate((int) type.bytes(64));
        type.quantise(values(), 0, 64, out);
        return HexFormat.of().formatHex(out.array());
    }

    @Test
    void bitsAreGgmls() {
        assertEquals("082081899199a1a9b1b9c0c8d0d8e0e8f0f8000810182028303840474f575f676f770540cececfd0d1d3d5d7"
                + "dadde1e4e9edf2f8fd030a11181f272f38414b545e69747f", quantise(GgmlType.Q8_0));
        assertEquals("0030809191a2a2b3b3c4c4d5d5e6e6f7f7f8fbcf8b8b7b7b7b6b6b5b4a4a3a3a29191909",
                quantise(GgmlType.Q4_0));
        assertEquals("44d63ed62cd60fd6e5d5b0d56fd522d5c9d464d4e8d3efd2dfd1b7d0efce40cc",
                quantise(GgmlType.F16).substring(128, 192));
        assertEquals("c8c2c8c2c6c2c2c2bdc2b6c2aec2a4c299c28dc27dc25ec23cc217c2dec188c1",
                quantise(GgmlType.BF16).substring(128, 192));
    }

    @Test
    void specialValuesOfHalvesAreGgmls() {
        assertEquals((short) 0x7E00, BlockCodec.toHalf(Float.NaN));
        assertEquals((short) 0x7C00, BlockCodec.toHalf(65520));
        assertEquals((short) 0x0001, BlockCodec.toHalf(0x1p-24f));
        assertEquals((short) 0x8000, BlockCodec.toHalf(-0.0f));
        assertEquals((short) 0x7F80, BlockCodec.toBrain(Float.POSITIVE_INFINITY));
        assertEquals((short) 0x7FC0, BlockCodec.toBrain(Float.NaN));
        assertEquals((short) 0x3F80, BlockCodec.toBrain(1.00390625f));
        assertEquals((short) 0x3F82, BlockCodec.toBrain(1.01171875f));
    }

    @Test
    void whatCannotBeConvertedIsRefused() {
        final ByteBuffer room = ByteBuffer.allocate(1024);

        assertThrows(BadInputException.class, () -> GgmlType.Q8_0.quantise(new float[31], 0, 31, room));
        assertThrows(BadInputException.class, () -> GgmlType.Q6_K.quantise(new float[256], 0, 256, room));
        assertThrows(BadInputException.class, () -> GgmlType.Q6_K.dequantise(room, new float[256], 0, 256));
        final float[] infinite = new float[32];
        infinite[7] = Float.POSITIVE_INFINITY;
        assertThrows(BadInputException.class, () -> GgmlType.Q8_0.quantise(infinite, 0, 32, room));
        assertThrows(BadInputException.class, () -> GgmlType.Q4_0.quantise(infinite, 0, 32, room));
        assertTrue(GgmlType.ofId(4).isEmpty() && GgmlType.ofId(-1).isEmpty() && GgmlType.ofId(43).isEmpty());
    }
}
