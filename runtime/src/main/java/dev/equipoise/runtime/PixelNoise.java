package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;

/**
 * Forward diffusion of a picture's normalised pixels before the vision encoder sees them (VCD, arXiv 2311.16922).
 *
 * @param step position in the 1000-step sigmoid schedule, 0..999; 500 keeps 0.863 of the signal, 999 keeps 0.285
 * @param seed seed of the one draw that a picture gets, reused for the whole generation
 */
public record PixelNoise(int step, long seed) {
    /** The last step of the schedule. */
    public static final int MAX_STEP = 999;

    public PixelNoise {
        if (step < 0 || step > MAX_STEP) {
            throw new BadInputException("noise step out of range", "noiseStep " + step, "choose 0.." + MAX_STEP);
        }
    }
}
