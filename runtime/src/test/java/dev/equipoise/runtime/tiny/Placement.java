package dev.equipoise.runtime.tiny;

import dev.equipoise.runtime.ModelOptions;
import java.util.Optional;

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

    /** Whether blocks of models loaded so lie on a GPU. */
    public static boolean onGpu() {
        return GPU_LAYERS > 0;
    }
}
