package dev.equipoise.runtime.gguf;

import dev.equipoise.kernels.error.BadInputException;
import java.nio.ByteBuffer;

/** The arithmetic of ggml's reference quantisers, operation for operation, since rounding decides single bits. */
final class BlockCodec {
    private static final int BLOCK = 32;

    private BlockCodec() {
    }

    static short toHalf(final float value) {
        // Java keeps payload bits of a NaN, ggml does not.
        return Float.isNaN(value)
                ? (short) (0x7E00 | (Float.floatToRawIntBits(value) >>> 16 & 0x8000)) : Float.floatToFloat16(value);
    }

    static short toBrain(final float value) {
        final int bits = Float.floatToRawIntBits(value);
        return Float.isNaN(value)
                ? (short) (bits >>> 16 | 64) : (short) (bits + 0x7FFF + (bits >>> 16 & 1) >>> 16);
    }

    /** A half-precision scale, then 32 signed bytes. */
    static void quantiseQ8(final float[] x, final int first, final ByteBuffer out) {
        float largest = 0;
        for (int j = first; j < first + BLOCK; j++) {
            largest = Math.max(largest, Math.abs(finite(x[j])));
        }
        final float scale = largest / 127;
        final float inverse = scale == 0 ? 0 : 1.0f / scale;
        out.putShort(toHalf(scale));
        for (int j = first; j < first + BLOCK; j++) {
            final float scaled = x[j] * inverse;
            // C's roundf: halves away from zero. In double, because 0.49999997f + 0.5f is 1.
            out.put((byte) (scaled + Math.copySign(0.5, scaled)));
        }
    }

    static void dequantiseQ8(final ByteBuffer in, final float[] y, final int first) {
        final float scale = Float.float16ToFloat(in.getShort());
        for (int j = first; j < first + BLOCK; j++) {
            y[j] = in.get() * scale;
        }
    }

    /** A half-precision scale, then 16 bytes: element j in the low half of byte j, element j + 16 in the high half. */
    static void quantiseQ4(final float[] x, final int first, final ByteBuffer out) {
        float largest = 0;
        float signed = 0;
        for (int j = first; j < first + BLOCK; j++) {
            if (largest < Math.abs(finite(x[j]))) {
                largest = Math.abs(x[j]);
                signed = x[j];
            }
        }
        final float scale = signed / -8;
        final float inverse = scale == 0 ? 0 : 1.0f / scale;
        out.putShort(toHalf(scale));
        for (int j = first; j < first + BLOCK / 2; j++) {
            final int low = Math.min(15, (byte) (x[j] * inverse + 8.5f));
            final int high = Math.min(15, (byte) (x[j + BLOCK / 2] * inverse + 8.5f));
            out.put((byte) (low | high << 4));
        }
    }

    static void dequantiseQ4(final ByteBuffer in, final float[] y, final int first) {
        final float scale = Float.float16ToFloat(in.getShort());
        for (int j = first; j < first + BLOCK / 2; j++) {
            final int both = in.get();
            y[j] = ((both & 0x0F) - 8) * scale;
            y[j + BLOCK / 2] = ((both >>> 4 & 0x0F) - 8) * scale;
        }
    }

    private static float finite(final float value) {
        if (!Float.isFinite(value)) {
            throw new BadInputException("value " + value + " cannot be quantised", "tensor data",
                    "store the tensor as F32 or mend the values");
        }
        return value;
    }
}
