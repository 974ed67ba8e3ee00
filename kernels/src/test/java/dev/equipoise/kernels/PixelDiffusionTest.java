package dev.equipoise.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PixelDiffusionTest {
    private static int[] words(final long key, final long low, final long high) {
        final int[] words = new int[4];
        PixelDiffusion.philox(key, low, high, words);
        return words;
    }

    // The known answers published with Random123 for philox4x32, 10 rounds.
    @Test
    void generatorGivesItsPublishedWords() {
        assertArrayEquals(new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, words(0, 0, 0));
        assertArrayEquals(new int[] {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, words(-1, -1, -1));
        assertArrayEquals(new int[] {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
                words(0x299f31d0a4093822L, 0x85a308d3243f6a88L, 0x0370734413198a2eL));
    }

    // Evaluated from VCD's published schedule.
    @ParameterizedTest
    @CsvSource({"200, 0.988", "500, 0.745", "700, 0.351", "900, 0.133", "999, 0.081"})
    void scheduleIsThePublishedOne(final int step, final double share) {
        final PixelDiffusion diffusion = new PixelDiffusion(step, 0);
        assertEquals(share, diffusion.signal() * diffusion.signal(), 6e-4);
        assertEquals(1, Math.pow(diffusion.signal(), 2) + Math.pow(diffusion.noise(), 2), 1e-12);
    }

    // Logarithm, sine and cosine of the two languages differ by an ulp of a double at most, which now and then rounds
    // the other way: one ulp of the normal number and one of the pixel, 2 u of each magnitude.
    @Test
    void nativeNoiseIsTheReferences() {
        final Random random = new Random(11);
        for (final int size : new int[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1000, 10_007}) {
            for (final int step : new int[] {0, 500, 999}) {
                final PixelDiffusion diffusion = new PixelDiffusion(step, random.nextLong());
                final float[] reference = new float[size];
                for (int i = 0; i < size; i++) {
                    reference[i] = 4 * random.nextFloat() - 2;
                }
                final float[] pixels = reference.clone();
                Kernels.scalar().diffuse(reference, diffusion);
                Kernels.nativeCpu().diffuse(pixels, diffusion);
                for (int i = 0; i < size; i++) {
                    final double difference = Math.abs((double) reference[i] - pixels[i]);
                    assertTrue(difference <= 2 * Bounds.U * (Math.abs(reference[i]) + 7), "pixel " + i);
                }
            }
        }
    }

    @Test
    void onlyFinitePixelsAreDiffusedAndOnlyByKnownSteps() {
        for (final ContrastKernels kernels : new ContrastKernels[] {Kernels.scalar(), Kernels.nativeCpu()}) {
            for (final float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
                final float[] pixels = {1, 2, bad};
                assertThrows(BadInputException.class, () -> kernels.diffuse(pixels, new PixelDiffusion(5, 0)));
                assertArrayEquals(new float[] {1, 2, bad}, pixels);
            }
        }
        assertThrows(BadInputException.class, () -> new PixelDiffusion(-1, 0));
        assertThrows(BadInputException.class, () -> new PixelDiffusion(PixelDiffusion.STEPS, 0));
    }
}
