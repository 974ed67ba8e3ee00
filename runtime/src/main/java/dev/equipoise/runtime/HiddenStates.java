package dev.equipoise.runtime;

import java.util.List;

/**
 * The residual stream at one prompt token.
 *
 * @param layers output of each block, {@code [n_layer][width]}
 */
public record HiddenStates(List<float[]> layers) {
    public HiddenStates {
        layers = List.copyOf(layers);
    }

    /** Output of a block, {@code [width]}. */
    public float[] at(final int layer) {
        return layers.get(layer);
    }
}
