package dev.equipoise.kernels.cuda;

import dev.equipoise.kernels.error.UnavailableException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import jcuda.JCudaVersion;
import jcuda.runtime.JCuda;

/** JCuda's runtime API, loaded at most once a process, with typed errors. Thread-safe. */
final class CudaRuntime {
    private static final String WHAT = "device memory from Java not available";
    private static final String REMEDY = "use the native kernels, which need no device";

    /** As LibUtils of JCuda spells them; whatever else there is has no natives. */
    private static final Map<String, String> ARCHITECTURES = Map.of("amd64", "x86_64", "x86_64", "x86_64");

    private CudaRuntime() {
    }

    // A class of its own, so that the attempt is made once, by whoever comes first, and its outcome kept.
    private static final class Attempt {
        static final Throwable FAILURE = attempt();

        private static Throwable attempt() {
            try {
                load();
                return null;
            } catch (final IOException | LinkageError | SecurityException e) {
                return e;
            }
        }
    }

    /**
     * Makes sure that there is a driver and a device.
     *
     * @return how many devices there are, at least 1
     * @throws UnavailableException if JCuda, its native library, the driver or a device is missing; says which
     */
    static int requireDevices() {
        if (Attempt.FAILURE != null) {
            throw new UnavailableException(WHAT, "because JCuda's native library cannot be loaded: "
                    + firstLine(Attempt.FAILURE), REMEDY, Attempt.FAILURE);
        }
        // JCuda answers 0 where there is no driver, and every other call then fails with less to the point.
        if (driverVersion() == 0) {
            throw new UnavailableException(WHAT, "because this machine has no NVIDIA driver", REMEDY);
        }
        final int[] devices = {0};
        check(JCuda.cudaGetDeviceCount(devices), "counting devices");
        if (devices[0] < 1) {
            throw new UnavailableException(WHAT, "because the NVIDIA driver shows no device", REMEDY);
        }
        return devices[0];
    }

    /** What the driver supports, 1000 * major + 10 * minor; 0 where there is none. */
    static int driverVersion() {
        final int[] version = {0};
        check(JCuda.cudaDriverGetVersion(version), "asking for the driver's version");
        return version[0];
    }

    /**
     * Throws unless a call of JCuda succeeded.
     *
     * @param status what it returned
     * @param doing what it was to do, for the message
     * @throws UnavailableException with CUDA's words
     */
    static void check(final int status, final String doing) {
        if (status != 0) {
            throw failure(status, doing);
        }
    }

    private static UnavailableException failure(final int status, final String doing) {
        return new UnavailableException("CUDA failed",
                "because " + doing + " gave " + JCuda.cudaGetErrorString(status) + " (" + status + ")", REMEDY);
    }

    /*
     * JCuda would unpack its library under a name that anyone can guess into a directory that anyone can write to, and
     * load what lies there already; and from a named module it would not find the library at all. So it is unpacked
     * here, where only this user writes, and JCuda is shown that place while its class is initialised.
     */
    private static synchronized void load() throws IOException {
        final String library = "libJCudaRuntime-" + JCudaVersion.get() + "-" + platform() + ".so";
        final Path directory = Files.createTempDirectory("equipoise-jcuda");
        final Path file = directory.resolve(library);
        try (InputStream in = CudaRuntime.class.getClassLoader().getResourceAsStream("lib/" + library)) {
            if (in == null) {
                throw new IOException("no " + library + " on the class path (org.jcuda:jcuda-natives)");
            }
            Files.copy(in, file);
            final String before = System.setProperty("java.io.tmpdir", directory.toString());
            try {
                JCuda.initialize();
            } finally {
                System.setProperty("java.io.tmpdir", before);
            }
        } finally {
            // The mapping outlives its name.
            Files.deleteIfExists(file);
            Files.deleteIfExists(directory);
        }
    }

    private static String platform() {
        final String system = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        final String machine = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
        return system + "-" + ARCHITECTURES.getOrDefault(machine, machine);
    }

    private static String firstLine(final Throwable failure) {
        return String.valueOf(failure.getMessage()).lines().findFirst().orElse(failure.getClass().getSimpleName());
    }
}
