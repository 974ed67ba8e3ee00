package dev.equipoise.bench.jmh;

import de.kherud.llama.InferenceParameters;
import de.kherud.llama.LlamaModel;
import de.kherud.llama.LlamaOutput;
import de.kherud.llama.ModelParameters;
import dev.equipoise.kernels.error.UnavailableException;
import java.nio.file.Path;

/**
 * java-llama.cpp, a JNI binding, with the llama.cpp that its jar brings along: an older one, built for any machine of
 * the architecture. What it costs more is therefore not JNI alone.
 */
final class JavaLlamaPeer implements GreedyPeer {
    private final LlamaModel model;

    private JavaLlamaPeer(final LlamaModel model) {
        this.model = model;
    }

    static JavaLlamaPeer open(final Path file, final int threads) {
        final ModelParameters parameters = new ModelParameters()
                .setModel(file.toString())
                .setCtxSize(CELLS)
                .setThreads(threads)
                .setThreadsBatch(threads)
                .setGpuLayers(0)
                .enableFlashAttn()
                .disableLog();
        try {
            return new JavaLlamaPeer(new LlamaModel(parameters));
        } catch (final RuntimeException | LinkageError e) {
            throw new UnavailableException(
                    "java-llama.cpp cannot run here",
                    String.valueOf(e.getMessage()),
                    "measure on a machine where it can",
                    e);
        }
    }

    @Override
    public String decode(final String prompt, final int tokens) {
        final InferenceParameters parameters = new InferenceParameters(prompt)
                .setTemperature(0)
                .setNPredict(tokens)
                .setIgnoreEos(true)
                .setCachePrompt(false);
        final StringBuilder text = new StringBuilder();
        for (final LlamaOutput piece : model.generate(parameters)) {
            text.append(piece.text);
        }
        return text.toString();
    }

    @Override
    public void close() {
        model.close();
    }
}
