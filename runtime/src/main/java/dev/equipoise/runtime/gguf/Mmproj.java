package dev.equipoise.runtime.gguf;

import java.util.Optional;

/**
 * The hyper-parameters of a multimodal projector that passed {@link GgufModelCheck#mmproj}.
 *
 * @param width elements of an embedding it makes, the text model's width
 * @param vision the picture encoder, if it has one
 * @param audio the sound encoder, if it has one
 */
public record Mmproj(int width, Optional<Vision> vision, Optional<Audio> audio) {
    /**
     * A picture encoder of projector type {@code mlp}.
     *
     * @param imageSize pixels a side that every picture is resized to
     * @param patchSize pixels a side of a patch
     * @param tokens embeddings per picture
     * @param width elements of a hidden state
     * @param positions hidden states in a block: the class token where there is one, and behind it the patches
     * @param blocks how many run: all but the last, as LLaVA takes its pictures from the state before it
     */
    public record Vision(int imageSize, int patchSize, int tokens, int width, int positions, int blocks) {
        /** Patches a row of a picture. */
        public int patchesPerSide() {
            return imageSize / patchSize;
        }

    }

    /**
     * A sound encoder of projector type {@code ultravox}: 16 kHz mono in windows of 30 s.
     *
     * @param melBins rows of the spectrogram
     * @param stackFactor encoder frames of 20 ms that make one embedding
     * @param tokens embeddings per window
     */
    public record Audio(int melBins, int stackFactor, int tokens) {
    }
}
