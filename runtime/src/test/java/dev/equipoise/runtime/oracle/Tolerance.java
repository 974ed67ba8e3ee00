package dev.equipoise.runtime.oracle;

import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.FlashAttention;
import dev.equipoise.runtime.KvType;
import dev.equipoise.runtime.tiny.Placement;

/**
 * How far llama.cpp's logits may be from the oracle's, and why.
 *
 * <p>All are multiples of the root mean square of the logits (at least 1), because every rounding on the way is
 * relative to what it rounds. Figures are for up to some hundred positions and ten layers; "measured" is stock
 * llama.cpp on random models of 1 to 6 layers, 64 to 256 wide, 90 positions, where the largest of 50,000 differences is
 * about five standard deviations.
 */
public final class Tolerance {
    private Tolerance() {
    }

    /**
     * Options of an engine that {@link #f32} is about, where weights are float32 too: float32 KV cache, no flash
     * attention; one thread, so that sums have one order.
     *
     * @param cells KV cells
     */
    public static EngineOptions exact(final int cells) {
        return EngineOptions.defaults()
                .withContext(cells)
                .withThreads(1)
                .withKvType(KvType.F32)
                .withFlashAttention(FlashAttention.OFF);
    }

    /**
     * Float32 weights, f32 KV, flash attention off. llama.cpp sums float32 products in float32: each of some ten stages
     * a layer errs by a few 2^-24, and the rotation's angle, multiplied up step by step in float32, by up to
     * position 2^-24. Measured 1.2e-6 to 3.9e-6 (also over 500 positions).
     *
     * <p>On a GPU it is {@link #f16}'s: ggml multiplies float32 as TF32 there, with 11 bits of each input.
     */
    public static double f32(final double[] logits) {
        return Placement.onGpu() ? f16(logits) : 2e-5 * scale(logits);
    }

    /**
     * F16 weights, f16 KV, or flash attention: inputs of products are rounded to 11 bits, 2^-12 relative at most for
     * each of them, some twenty times in a row. Measured 1.1e-3 to 3.6e-3.
     *
     * <p>On a GPU both inputs of every product are rounded so, weights too, and flash attention adds up in F16: three
     * times as much. Measured up to 1.6e-2 on an H200.
     */
    public static double f16(final double[] logits) {
        return (Placement.onGpu() ? 3e-2 : 1e-2) * scale(logits);
    }

    /**
     * Q8_0 or Q4_0 weights (which the oracle dequantises exactly) or a Q8_0 KV cache.
     *
     * <p>llama.cpp's CPU also rounds the <em>inputs</em> of each quantised product to Q8_0: steps of a block's largest
     * value over 127, so an error of standard deviation step / sqrt 12. The largest of 32 normal numbers is about 2.3
     * deviations, thus 0.52 % relative to each input. Two such errors a layer reach the residual undamped, one more
     * comes before the head; eight deviations cover the largest of many. Measured 0.04 (1 layer) to 0.075 (4 layers)
     * and 0.106 (4 layers, tied head, where nearly all of the residual is output of blocks); the formula gives 0.072
     * and 0.125.
     */
    public static double q8(final int layers, final double[] logits) {
        return 8 * 0.0052 * Math.sqrt(2 * layers + 1) * scale(logits);
    }

    /** The largest absolute difference; NaN if there is one, so that {@code difference <= tolerance} fails. */
    public static double largestDifference(final double[] expected, final float[] actual) {
        double largest = expected.length == actual.length ? 0 : Double.NaN;
        for (int i = 0; i < Math.min(expected.length, actual.length); i++) {
            // A masked token must be masked on both sides; infinity minus infinity is not zero.
            final double difference = expected[i] == actual[i] ? 0 : Math.abs(expected[i] - actual[i]);
            largest = Math.max(largest, difference);
        }
        return largest;
    }

    private static double scale(final double[] logits) {
        double squares = 0;
        for (final double logit : logits) {
            squares += logit * logit;
        }
        return Math.max(1, Math.sqrt(squares / logits.length));
    }
}
