package dev.equipoise.runtime;

import java.util.Optional;

/**
 * What a loaded model is.
 *
 * @param architecture {@code general.architecture}
 * @param description llama.cpp's one-line description with size and quantisation
 * @param layers blocks
 * @param heads attention heads of a block's queries
 * @param width n_embd, the width of the residual stream
 * @param vocabulary n_vocab
 * @param trainedContext context length it was trained for, in tokens
 * @param parameters number of weights
 * @param vision whether pictures are understood
 * @param audio whether sounds are understood
 * @param audioSampleRate Hz, 0 without audio
 * @param chatTemplate the model's own Jinja template
 */
public record ModelInfo(
        String architecture,
        String description,
        int layers,
        int heads,
        int width,
        int vocabulary,
        int trainedContext,
        long parameters,
        boolean vision,
        boolean audio,
        int audioSampleRate,
        Optional<String> chatTemplate) {}
