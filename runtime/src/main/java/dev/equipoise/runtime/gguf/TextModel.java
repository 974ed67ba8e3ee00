package dev.equipoise.runtime.gguf;

/**
 * The hyper-parameters of a text model that passed {@link GgufModelCheck#text}.
 *
 * @param architecture the name in {@code general.architecture}
 * @param contextLength tokens the model was trained for
 * @param width elements of a hidden state
 * @param layers number of blocks
 * @param heads query heads per block
 * @param kvHeads key and value heads per block, a divisor of {@code heads}
 * @param headSize elements of one head's query, key or value
 * @param ropeDimensions leading elements of each head that are rotated
 * @param feedForward width of the (dense) feed-forward branch
 * @param vocabulary number of tokens
 * @param slidingWindow tokens seen by sliding-window layers, 0 if there are none
 * @param experts number of experts, 0 for dense models
 * @param expertsUsed experts consulted per token
 */
public record TextModel(
        String architecture, int contextLength, int width, int layers, int heads, int kvHeads, int headSize,
        int ropeDimensions, int feedForward, int vocabulary, int slidingWindow, int experts, int expertsUsed) {
}
