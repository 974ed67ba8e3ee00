package dev.equipoise.bench.jmh;

import dev.equipoise.kernels.error.UnavailableException;
import java.nio.file.Path;

/** A binding of llama.cpp that decodes greedily, token by token, on the CPU. Belongs to one thread. */
interface GreedyPeer extends AutoCloseable {
    /** KV cells, enough for prompt and answer. */
    int CELLS = 512;

    /**
     * Opens a binding.
     *
     * @param name {@code equipoise} (FFM) or {@code java-llama.cpp} (JNI)
     * @throws UnavailableException if it cannot run here
     */
    static GreedyPeer open(final String name, final Path model, final int threads) {
        return switch (name) {
            case "equipoise" -> new EquipoisePeer(model, threads);
            case "java-llama.cpp" -> JavaLlamaPeer.open(model, threads);
            default -> throw new IllegalArgumentException(name);
        };
    }

    /** The text of exactly {@code tokens} tokens after a prompt, collected piece by piece. */
    String decode(String prompt, int tokens);

    @Override
    void close();
}
