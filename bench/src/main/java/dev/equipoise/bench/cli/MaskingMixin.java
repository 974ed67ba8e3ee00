package dev.equipoise.bench.cli;

import dev.equipoise.steering.vector.VisualStates.Masking;
import picocli.CommandLine.Option;

/** How pictures are masked for visual directions. */
final class MaskingMixin {
    @Option(
            names = "--trials",
            paramLabel = "N",
            description = "For vti-visual: masked copies of each picture (default " + Masking.TRIALS + ").")
    private Integer trials;

    @Option(
            names = "--mask-ratio",
            paramLabel = "X",
            description = "For vti-visual: share of patches that become the picture's mean colour in each copy "
                    + "(default " + Masking.RATIO + ").")
    private Double ratio;

    @Option(
            names = "--seed",
            paramLabel = "N",
            description = "For vti-visual: equal seeds mask equal patches (default 0).")
    private Long seed;

    boolean isGiven() {
        return trials != null || ratio != null || seed != null;
    }

    Masking masking() {
        return UsageException.of(() -> new Masking(
                trials == null ? Masking.TRIALS : trials,
                ratio == null ? Masking.RATIO : ratio,
                seed == null ? 0 : seed));
    }
}
