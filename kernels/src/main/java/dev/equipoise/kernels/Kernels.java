package dev.equipoise.kernels;

import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.kernels.ffm.CudaKernels;
import dev.equipoise.kernels.ffm.NativeKernels;

/** Where kernels come from. Thread-safe. */
public final class Kernels {
    /**
     * What was chosen.
     *
     * @param kernels the best provider this machine has
     * @param whyNotNative empty if that is the native one, else what keeps it away and how to mend that
     */
    public record Choice(ContrastKernels kernels, String whyNotNative) {
    }

    private Kernels() {
    }

    /**
     * The best provider for rows in the memory of the JVM: the native one, or the scalar one where it cannot be had.
     * Never CUDA, since copying rows to a device takes longer than combining them here.
     */
    public static Choice choose() {
        try {
            return new Choice(nativeCpu(), "");
        } catch (final UnavailableException e) {
            return new Choice(scalar(), e.getMessage());
        }
    }

    /** Plain Java, the reference: always there, some ten times slower than native. */
    public static ContrastKernels scalar() {
        return new ScalarKernels();
    }

    /**
     * The native library on the CPU, the code that also runs inside the compute graph.
     *
     * @throws UnavailableException if it cannot be loaded
     */
    public static ContrastKernels nativeCpu() {
        return NativeKernels.open();
    }

    /**
     * The native library on a CUDA device.
     *
     * @throws UnavailableException if {@link CudaDevice#probe} finds none
     */
    public static ContrastKernels cuda() {
        return CudaKernels.open();
    }
}
