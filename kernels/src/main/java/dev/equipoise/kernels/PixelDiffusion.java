package dev.equipoise.kernels;

import dev.equipoise.kernels.error.BadInputException;

/**
 * The forward diffusion that visual contrastive decoding (VCD) disturbs a picture with: one draw of Gaussian noise,
 * fixed by the seed, mixed into pixels that are normalised as the vision encoder wants them.
 *
 * <p>{@code pixel <- signal() * pixel + noise() * normal(seed, index)}. Step 200 hardly changes a picture, 500 (VCD's
 * default) mildly, 999 nearly removes it. The generator is Philox4x32-10, as {@code equipoise_kernels.h} defines it.
 *
 * @param step from 0 to {@value #STEPS} - 1
 * @param seed any number, taken as 64 bits
 */
public record PixelDiffusion(int step, long seed) {
    /** Steps of the schedule. */
    public static final int STEPS = 1000;

    /**
     * @throws BadInputException if the step is out of range
     */
    public PixelDiffusion {
        if (step < 0 || step >= STEPS) {
            throw new BadInputException("diffusion step out of range", Integer.toString(step),
                    "give a step from 0 to " + (STEPS - 1));
        }
    }

    /** Factor of the picture, in (0, 1). */
    public double signal() {
        return Math.sqrt(share());
    }

    /** Standard deviation of the noise, in (0, 1). */
    public double noise() {
        return Math.sqrt(1 - share());
    }

    // The share of the picture's variance left after the step: VCD's schedule, a sigmoid from 1e-5 to 5e-3.
    private double share() {
        double share = 1;
        for (int t = 0; t <= step; t++) {
            final double x = -6.0 + 12.0 * t / (STEPS - 1);
            share *= 1.0 - ((5e-3 - 1e-5) / (1.0 + Math.exp(-x)) + 1e-5);
        }
        return share;
    }

    /** Diffuses finite pixels in place, in plain Java. */
    void apply(final float[] pixels) {
        final double signal = signal();
        final double noise = noise();
        final int[] words = new int[4];
        for (int i = 0; i < pixels.length; i++) {
            if (i % 4 == 0) {
                philox(seed, i / 4, 0, words);
            }
            pixels[i] = (float) (signal * pixels[i] + noise * normal(words, i % 4));
        }
    }

    // Box and Muller: words 0 and 1 give the first two numbers, 2 and 3 the others.
    private static float normal(final int[] words, final int which) {
        final int pair = which & 2;
        final double radius = Math.sqrt(-2 * Math.log(uniform(words[pair])));
        final double angle = 2 * Math.PI * uniform(words[pair + 1]);
        return (float) (radius * (which % 2 == 0 ? Math.cos(angle) : Math.sin(angle)));
    }

    private static double uniform(final int word) {
        return (Integer.toUnsignedLong(word) + 0.5) / 4294967296.0;
    }

    /** Philox4x32-10 (Salmon et al. 2011) of a 64-bit key and a 128-bit counter; words[0] is the lowest. */
    static void philox(final long key, final long counterLow, final long counterHigh, final int[] words) {
        int x0 = (int) counterLow;
        int x1 = (int) (counterLow >>> 32);
        int x2 = (int) counterHigh;
        int x3 = (int) (counterHigh >>> 32);
        int k0 = (int) key;
        int k1 = (int) (key >>> 32);
        for (int round = 0; round < 10; round++) {
            final long p0 = 0xD2511F53L * Integer.toUnsignedLong(x0);
            final long p1 = 0xCD9E8D57L * Integer.toUnsignedLong(x2);
            x0 = (int) (p1 >>> 32) ^ x1 ^ k0;
            x1 = (int) p1;
            x2 = (int) (p0 >>> 32) ^ x3 ^ k1;
            x3 = (int) p0;
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }
        words[0] = x0;
        words[1] = x1;
        words[2] = x2;
        words[3] = x3;
    }
}
