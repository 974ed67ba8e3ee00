package dev.equipoise.runtime.tiny;

import dev.equipoise.runtime.ModelOptions;
import java.util.Optional;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Assumptions;

/**
 * Where tests put their models: on the CPU, or with {@code -Dequipoise.test.gpuLayers=N} so many blocks on a GPU. What
 * tests ask is the same there; only {@link dev.equipoise.runtime.oracle.Tolerance} knows a GPU's products.
 */
public final class Placement {
    private static final int GPU_LAYERS = Integer.getInteger("equipoise.test.gpuLayers", 0);

    private Placement() {
    }

    /** Text only, one thread, files probed. */
    public static ModelOptions options() {
        return new ModelOptions(Optional.empty(), GPU_LAYERS, 1, true);
    }

    /** Ends a test as skipped where blocks lie on a GPU. */
    public static void requireCpu(final String why) {
        Assumptions.assumeFalse(onGpu(), why);
    }

    /** For what must be larger than rounding to prove anything: a GPU rounds so much that it may not be, and skips. */
    public static void requireVisible(final boolean visible, final String otherwise) {
        if (onGpu()) {
            Assumptions.assumeTrue(visible, otherwise);
        }
        Assertions.assertTrue(visible, otherwise);
    }

    /** Whether blocks of models loaded so lie on a GPU. */
    public static boolean onGpu() {
        return GPU_LAYERS > 0;
    }
}
