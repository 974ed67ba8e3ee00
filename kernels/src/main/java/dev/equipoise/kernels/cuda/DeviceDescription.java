package dev.equipoise.kernels.cuda;

import dev.equipoise.kernels.error.UnavailableException;
import java.util.List;
import java.util.stream.IntStream;
import jcuda.runtime.JCuda;
import jcuda.runtime.cudaDeviceProp;

/**
 * A CUDA device, as its driver describes it.
 *
 * @param name its name, for people
 * @param computeCapability major and minor, {@code "9.0"}
 * @param memoryBytes all of its memory
 * @param driver the latest CUDA that the driver supports, {@code "13.0"}
 */
public record DeviceDescription(String name, String computeCapability, long memoryBytes, String driver) {
    private static final int MAJOR = 1000;
    private static final int MINOR = 10;

    /**
     * All devices of this machine, at least one. Thread-safe; changes nothing on them.
     *
     * @throws UnavailableException if there is none that JCuda can reach; says because of what
     */
    public static List<DeviceDescription> all() {
        return IntStream.range(0, CudaRuntime.requireDevices()).mapToObj(DeviceDescription::of).toList();
    }

    private static DeviceDescription of(final int device) {
        final cudaDeviceProp found = new cudaDeviceProp();
        CudaRuntime.check(JCuda.cudaGetDeviceProperties(found, device), "describing device " + device);
        final int driver = CudaRuntime.driverVersion();
        return new DeviceDescription(found.getName(), found.major + "." + found.minor, found.totalGlobalMem,
                driver / MAJOR + "." + driver % MAJOR / MINOR);
    }
}
