package dev.equipoise.runtime.oracle;

import dev.equipoise.runtime.gguf.GgmlType;
import java.nio.ByteBuffer;

/** What llama.cpp's CPU does to the input of a product with quantised weights: there and back through Q8_0. */
final class ActivationRounding {
    private ActivationRounding() {
    }

    static float[] q8(final float[] x) {
        final ByteBuffer encoded = ByteBuffer.allocate((int) GgmlType.Q8_0.bytes(x.length));
        GgmlType.Q8_0.quantise(x, 0, x.length, encoded);
        final float[] back = new float[x.length];
        GgmlType.Q8_0.dequantise(encoded.flip(), back, 0, back.length);
        return back;
    }
}
