package dev.equipoise.kernels;

import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.kernels.ffm.CudaKernels;

/** Whether this machine has a CUDA device that this build's kernels can use. */
public sealed interface CudaDevice {
    /** The device's name, as its driver gives it. */
    record Available(String name) implements CudaDevice {
    }

    /** Why there is none, in words that finish "unavailable because ...". */
    record Unavailable(String reason) implements CudaDevice {
    }

    /** Looks for one; never throws, and changes nothing on the device. */
    static CudaDevice probe() {
        try {
            return CudaKernels.probe();
        } catch (final UnavailableException e) {
            return new Unavailable(e.what() + ": " + e.where());
        }
    }
}
