package dev.equipoise.runtime;

import dev.equipoise.runtime.ffm.NativeRuntime;
import java.util.List;

/**
 * The native library that is loaded, and the machine as it sees it.
 *
 * @param llamaVersion version of llama.cpp
 * @param patch hash of the patch that it carries
 * @param cpuVariant which variant of ggml's CPU backend was built
 * @param cpuFeatures instruction sets in use
 * @param products who multiplies weights of types q4_0, q8_0, q4_K and q6_K on the CPU: a tier of this project's
 *     kernels, such as {@code "avx512vnni"}, or {@code "llama.cpp"}, where the processor has no fast tier or the
 *     environment variable {@code EQUIPOISE_PRODUCTS} says {@code llama}
 * @param gpus names of the GPUs that can be used, empty without one
 */
public record NativeInfo(
        String llamaVersion,
        String patch,
        String cpuVariant,
        String cpuFeatures,
        String products,
        List<String> gpus) {
    public NativeInfo {
        gpus = List.copyOf(gpus);
    }

    /**
     * Loads the library if needed and asks it.
     *
     * @throws dev.equipoise.kernels.error.UnavailableException if it is missing or does not fit this jar
     */
    public static NativeInfo read() {
        NativeRuntime.start();
        return new NativeInfo(
                NativeRuntime.llamaVersion(),
                NativeRuntime.patchHash(),
                NativeRuntime.cpuVariant(),
                NativeRuntime.cpuFeatures(),
                NativeRuntime.products(),
                NativeRuntime.gpus());
    }

    /** Native objects open in this process: models, encoders, contexts, encodings and samplers. */
    public static long liveObjects() {
        return NativeRuntime.liveObjects();
    }
}
