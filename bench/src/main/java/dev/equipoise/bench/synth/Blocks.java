package dev.equipoise.bench.synth;

import dev.equipoise.runtime.gguf.GgmlType;
import java.nio.ByteBuffer;
import java.util.SplittableRandom;

/** Random blocks of one type, whose weights have a wanted deviation and a mean of nothing. */
@FunctionalInterface
interface Blocks {
    /** Deviation of four bits without a sign; with one they are 8 less. */
    double FOUR_BITS = Math.sqrt((16 * 16 - 1) / 12.0);
    /** Deviation of what {@link #signedSevenBits} draws: 128 steps from -64. */
    double SEVEN_BITS = Math.sqrt((128 * 128 - 1) / 12.0);
    /** Of a number of 6 bits the root mean square, without a sign; with one they are 32 less. */
    double SIX_BITS = Math.sqrt(63 * 127 / 6.0);
    double SIGNED_SIX_BITS = Math.sqrt((64 * 64 + 2) / 12.0);
    /** The root mean square of a signed byte. */
    double EIGHT_BITS = Math.sqrt((256 * 256 + 2) / 12.0);

    /** Puts the next block; whether its scale is positive matters where the integers' mean is not 0. */
    void draw(ByteBuffer out, SplittableRandom random, boolean positive);

    /** Of one of the types of {@link SyntheticQuantisation}. */
    static Blocks of(final GgmlType type, final double deviation) {
        return switch (type) {
            case Q4_0 -> {
                final short[] scales = scales(deviation / FOUR_BITS);
                yield (out, random, positive) -> {
                    out.putShort(scales[positive ? 0 : 1]);
                    longs(out, random, 2);
                };
            }
            case Q8_0 -> {
                final short[] scales = scales(deviation / SEVEN_BITS);
                yield (out, random, positive) -> {
                    out.putShort(scales[positive ? 0 : 1]);
                    for (int i = 0; i < 4; i++) {
                        out.putLong(signedSevenBits(random.nextLong()));
                    }
                };
            }
            case Q4_K -> {
                // The minimum's integer is the scale's, so that with 7.5 times its factor the mean is 0.
                final double scale = deviation / FOUR_BITS / SIX_BITS;
                final short ofScales = Float.floatToFloat16((float) scale);
                final short ofMinima = Float.floatToFloat16((float) (scale * 7.5));
                yield (out, random, positive) -> {
                    final int first = random.nextInt();
                    final int last = random.nextInt() & 0x0F0F0F0F;
                    out.putShort(ofScales).putShort(ofMinima).putInt(first).putInt(first).putInt(last | last << 4);
                    longs(out, random, 16);
                };
            }
            case Q6_K -> {
                // Scales of either sign: no direction is favoured, though the integers' mean is -1/2.
                final short scale =
                        Float.floatToFloat16((float) (deviation / SIGNED_SIX_BITS / EIGHT_BITS));
                yield (out, random, positive) -> {
                    longs(out, random, 26);
                    out.putShort(scale);
                };
            }
            default -> throw new IllegalArgumentException("no blocks of " + type);
        };
    }

    private static short[] scales(final double scale) {
        return new short[] {Float.floatToFloat16((float) scale), Float.floatToFloat16((float) -scale)};
    }

    private static void longs(final ByteBuffer out, final SplittableRandom random, final int n) {
        for (int i = 0; i < n; i++) {
            out.putLong(random.nextLong());
        }
    }

    /** Eight bytes from -64 to 63: the quantiser never writes -128, and kernels rely on it. */
    private static long signedSevenBits(final long bits) {
        final long seven = bits & 0x7F7F7F7F7F7F7F7FL;
        return seven | (seven & 0x4040404040404040L) << 1;
    }
}
