package dev.equipoise.bench.synth;

import dev.equipoise.kernels.error.BadInputException;
import java.util.List;
import java.util.stream.Collectors;

/**
 * The shape of a text model of the {@code llama} architecture.
 *
 * @param name what the command line calls it
 * @param layers number of blocks
 * @param width elements of a hidden state, a multiple of {@code heads} and of 32
 * @param heads query heads
 * @param kvHeads key and value heads, a divisor of {@code heads}
 * @param feedForward width of the feed-forward branch, a multiple of 32
 * @param vocabulary number of tokens, at least 258
 * @param tiedHead whether the embedding table is the output head, as in the smaller models of that vocabulary
 */
public record SyntheticShape(
        String name, int layers, int width, int heads, int kvHeads, int feedForward, int vocabulary,
        boolean tiedHead) {
    private static final List<SyntheticShape> NAMED = List.of(
            new SyntheticShape("0.35b", 24, 1024, 16, 8, 2816, 32_000, false),
            new SyntheticShape("0.5b", 24, 896, 14, 2, 4864, 151_936, true),
            new SyntheticShape("2b", 28, 1536, 12, 2, 8960, 151_936, true),
            new SyntheticShape("7b", 28, 3584, 28, 4, 18_944, 152_064, false));

    /** Checks that heads and blocks come out even. */
    public SyntheticShape {
        if (layers < 1 || width < 32 || width % 32 != 0 || heads < 1 || width % heads != 0 || width / heads % 2 != 0
                || kvHeads < 1 || heads % kvHeads != 0 || feedForward < 32 || feedForward % 32 != 0
                || width / heads * kvHeads % 32 != 0) {
            throw new BadInputException("impossible shape " + name, "synthetic model", "use even heads, blocks of 32");
        }
    }

    /** The named shapes, smallest first. */
    public static List<SyntheticShape> named() {
        return NAMED;
    }

    /**
     * The shape of that name.
     *
     * @throws BadInputException if there is none
     */
    public static SyntheticShape named(final String name) {
        return NAMED.stream().filter(shape -> shape.name.equals(name)).findFirst().orElseThrow(
                () -> new BadInputException("no shape '" + name + "'", "synthetic model", "use one of "
                        + NAMED.stream().map(SyntheticShape::name).collect(Collectors.joining(", "))));
    }
}
