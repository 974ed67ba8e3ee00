package dev.equipoise.steering.vector;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * How one direction per layer is made of the differences {@code d_i = h_i+ - h_i-} of n pairs of hidden states.
 *
 * <p>The principal components are of unit length, so a scale alone says how far they steer, and they point to the side
 * where the positives of most pairs project higher; on a tie, to that where their entry of largest magnitude is
 * positive. They are exact, where scikit-learn may choose a randomised solver.
 */
public enum DirectionMethod {
    /**
     * {@code (1/n) sum d_i}, not normalised: CAA (arXiv 2312.06681), MC2 (arXiv 2505.20977). At scale 1 it moves the
     * mean of the negatives onto that of the positives.
     */
    MEAN("mean"),
    /** {@link #MEAN} of unit length, as MC2's code can have it. */
    MEAN_L2("mean-l2"),
    /**
     * First principal component of the differences about their mean: repeng's {@code pca_diff}. What all pairs have in
     * common is the mean, which is taken out: pairs that differ alike leave only their noise. Needs two pairs or more.
     */
    PCA_DIFF("pca-diff"),
    /** First right singular vector of the differences as they are, their common part included. */
    PCA_DIFF_UNCENTRED("pca-diff-uncentred"),
    /**
     * First principal component of both sides of all pairs, each less the midpoint of its pair: repeng's
     * {@code pca_center}. Those rows are {@code +d_i/2} and {@code -d_i/2}, their mean is zero, and so this is
     * {@link #PCA_DIFF_UNCENTRED} under its other name.
     */
    PCA_CENTER("pca-center"),
    /**
     * The mean, and added to it the first principal component about the mean: VTI's textual directions (arXiv
     * 2410.15778), whose differences are those of all layers in one long vector, so that the component is of unit
     * length over all of them together. Pairs that differ alike, and a single one, have no component: the mean is
     * all.
     */
    VTI("vti");

    private static final String PCA = "pca";

    private final String label;

    DirectionMethod(final String label) {
        this.label = label;
    }

    /** Its name on the command line. */
    public String label() {
        return label;
    }

    /**
     * The method of that {@link #label}; {@code "pca"} is {@link #PCA_DIFF}, as in repeng.
     *
     * @throws BadInputException if there is none
     */
    public static DirectionMethod named(final String name) {
        return Arrays.stream(values())
                .filter(method -> method.label.equals(name.equals(PCA) ? PCA_DIFF.label : name))
                .findFirst()
                .orElseThrow(() -> new BadInputException(
                        "unknown method \"" + name + "\"",
                        "method",
                        "choose " + Arrays.stream(values()).map(m -> m.label).collect(Collectors.joining(", "))));
    }
}
