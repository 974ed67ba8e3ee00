package dev.equipoise.bench.synth;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgmlType;
import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/** How the matrices of a {@link SyntheticModel} are stored; norms are F32. */
public enum SyntheticQuantisation {
    /** All as {@link GgmlType#Q4_0}. */
    Q4_0,
    /** All as {@link GgmlType#Q8_0}. */
    Q8_0,
    /**
     * As llama.cpp quantises a model of the {@code llama} architecture to its Q4_K_M: {@link GgmlType#Q6_K} for the
     * output and for values and the feed-forward's last matrix of some blocks, else {@link GgmlType#Q4_K}. Rows must be
     * multiples of 256.
     */
    Q4_K_M;

    /**
     * The one of that name.
     *
     * @throws BadInputException if there is none
     */
    public static SyntheticQuantisation named(final String name) {
        return Arrays.stream(values()).filter(one -> one.label().equals(name.toLowerCase(Locale.ROOT))).findFirst()
                .orElseThrow(() -> new BadInputException("no quantisation '" + name + "'", "synthetic model",
                        "use one of " + Arrays.stream(values()).map(SyntheticQuantisation::label)
                                .collect(Collectors.joining(", "))));
    }

    /** What the command line calls it. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }

    GgmlType of(final SyntheticShape shape, final String tensor, final int layer) {
        return switch (this) {
            case Q4_0 -> GgmlType.Q4_0;
            case Q8_0 -> GgmlType.Q8_0;
            case Q4_K_M -> {
                final boolean output = tensor.equals(shape.tiedHead() ? "token_embd.weight" : "output.weight");
                final boolean some = tensor.endsWith("attn_v.weight") || tensor.endsWith("ffn_down.weight");
                yield output || some && isOneOfMoreBits(layer, shape.layers()) ? GgmlType.Q6_K : GgmlType.Q4_K;
            }
        };
    }

    private static boolean isOneOfMoreBits(final int layer, final int layers) {
        return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
    }
}
