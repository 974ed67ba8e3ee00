package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.nio.file.Path;
import java.util.Objects;
import java.util.Optional;

/**
 * How to load a model.
 *
 * @param mmproj the file with the vision and audio encoders
 * @param gpuLayers blocks to put on the GPU, the last ones first, and the output matrix with one more than there are; 0
 *     for none; ignored where there is no GPU
 * @param threads CPU threads of the encoders, at least 1
 * @param probe load files that were not seen before in a child process first, so that a file on which llama.cpp aborts
 *     ends the child and not this JVM
 */
public record ModelOptions(Optional<Path> mmproj, int gpuLayers, int threads, boolean probe) {
    public ModelOptions {
        Objects.requireNonNull(mmproj);
        require(gpuLayers >= 0, "GPU layers", gpuLayers, "0 or more");
        require(threads >= 1, "threads", threads, "1 or more");
    }

    private static void require(final boolean ok, final String name, final int value, final String range) {
        if (!ok) {
            throw new BadInputException("model option out of range", name + " " + value, "choose " + range);
        }
    }

    /** Text only, on the CPU, all cores, untrusted files probed. */
    public static ModelOptions defaults() {
        return new ModelOptions(Optional.empty(), 0, Runtime.getRuntime().availableProcessors(), true);
    }

    /** These options with encoders. */
    public ModelOptions withMmproj(final Path file) {
        return new ModelOptions(Optional.of(file), gpuLayers, threads, probe);
    }

    /**
     * These options with so many blocks on the GPU, the last ones first; the output matrix goes there with one more than
     * the model has.
     */
    public ModelOptions withGpuLayers(final int count) {
        return new ModelOptions(mmproj, count, threads, probe);
    }

    /** These options with another number of encoder threads. */
    public ModelOptions withThreads(final int count) {
        return new ModelOptions(mmproj, gpuLayers, count, probe);
    }

    /** These options with the probe on or off. */
    public ModelOptions withProbe(final boolean on) {
        return new ModelOptions(mmproj, gpuLayers, threads, on);
    }
}
