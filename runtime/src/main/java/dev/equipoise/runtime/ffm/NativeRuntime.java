package dev.equipoise.runtime.ffm;

import dev.equipoise.kernels.ffm.NativeLibraries;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** The library as a whole: starting it, and what it says of build and machine. Thread-safe. */
public final class NativeRuntime {
    private NativeRuntime() {}

    /**
     * Loads the library and its backends; cheap when done before.
     *
     * @throws dev.equipoise.kernels.error.UnavailableException if it is missing, of another version, or has no backend
     */
    public static void start() {
        // Before the binding's class is touched: what goes wrong while a class is initialised arrives as an Error.
        NativeLibraries.requireVersion(
                NativeLibraries.load("equipoise"), "equipoise", "eq_abi_version", Host.ABI_VERSION);
        try (Arena arena = Arena.ofConfined()) {
            final int status;
            try {
                status = (int) Host.eq_start$MH.invokeExact(
                        arena.allocateFrom(NativeLibraries.directory().toString()));
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_start", e);
            }
            Host.check(status, NativeLibraries.directory().toString());
        }
    }

    /** Version of llama.cpp. */
    public static String llamaVersion() {
        start();
        return Host.textOf(Host.eq_llama_version$MH, "eq_llama_version");
    }

    /** Hash of the patch it carries. */
    public static String patchHash() {
        start();
        return Host.textOf(Host.eq_patch_hash$MH, "eq_patch_hash");
    }

    /** Name of the variant of ggml's CPU backend in use. */
    public static String cpuVariant() {
        start();
        return Host.textOf(Host.eq_cpu_variant$MH, "eq_cpu_variant");
    }

    /** CPU features that ggml was built with and uses. */
    public static String cpuFeatures() {
        start();
        return Host.textOf(Host.eq_cpu_features$MH, "eq_cpu_features");
    }

    /** Who multiplies weights of types q4_0, q8_0, q4_K and q6_K on the CPU: our kernels' tier, or "llama.cpp". */
    public static String products() {
        start();
        return Host.textOf(Host.eq_products$MH, "eq_products");
    }

    /** Names of the GPUs that ggml can use. */
    public static List<String> gpus() {
        start();
        final List<String> names = new ArrayList<>();
        for (String name = gpu(0); name != null; name = gpu(names.size())) {
            names.add(name);
        }
        return names;
    }

    private static String gpu(final int index) {
        try {
            return Host.text((MemorySegment) Host.eq_gpu_name$MH.invokeExact(index));
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_gpu_name", e);
        }
    }

    /** Native handles that are open now, for leak tests. */
    public static long liveObjects() {
        try {
            return (long) Host.eq_live_objects$MH.invokeExact();
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_live_objects", e);
        }
    }
}
