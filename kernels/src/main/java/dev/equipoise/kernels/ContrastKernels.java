package dev.equipoise.kernels;

/**
 * The kernels of the contrast family on rows of logits, and the noise of visual contrastive decoding.
 *
 * <p>Implementations agree within rounding; {@link Kernels#scalar} is the one the others are judged by. A row with a
 * NaN or positive infinity anywhere, a row whose every logit is masked, and a combination that overflows are refused by
 * {@link dev.equipoise.kernels.error.BadInputException}, never turned into a token. Results in caller's arrays are
 * unspecified after an exception. Thread-safe: no implementation keeps state, calls touch only their arguments.
 */
public interface ContrastKernels {
    /** What runs, for people: {@code "native, avx2"}. */
    String description();

    /**
     * Combines rows into one.
     *
     * @param rows the matrix
     * @param sum which rows, and how
     * @param out receives {@code [vocabulary]} combined values at its start; not the matrix itself
     * @throws dev.equipoise.kernels.error.BadInputException also if every plausible token is masked in a branch
     */
    Combined combine(LogitRows rows, BranchSum sum, float[] out);

    /** Maximum and log-sum-exp of a row. */
    RowSummary summary(LogitRows rows, int row);

    /** The first token with the largest logit. */
    int argmax(LogitRows rows, int row);

    /** Shannon entropy of the softmax of a row, in nats: from 0 to ln(vocabulary), rounding aside. */
    float entropy(LogitRows rows, int row);

    /**
     * Adds noise to pixels, in place.
     *
     * @throws dev.equipoise.kernels.error.BadInputException if a pixel is not finite; then no pixel was changed
     */
    void diffuse(float[] pixels, PixelDiffusion diffusion);
}
