package dev.equipoise.runtime;

/** The weights of a request's branches at each generated token. Pure: equal indices and
 * entropies give equal weights. */
@FunctionalInterface
public interface CoefficientSchedule {
    /**
     * Writes the weights for one token.
     *
     * @param index which generated token they are for, counted from 1
     * @param out {@code [branches]}, base first
     */
    void at(int index, float[] out);

    /**
     * Writes the weights for one token, where they may depend on how undecided the base row is.
     *
     * @param index which generated token they are for, counted from 1
     * @param entropy of the softmax of the base row before it is combined, in nats; not a number where it was not read
     * @param out {@code [branches]}, base first
     */
    default void at(final int index, final double entropy, final float[] out) {
        at(index, out);
    }

    /** Whether the entropy is wanted; then the request has a gate of entropy, which reads it. */
    default boolean readsEntropy() {
        return false;
    }

    /** The same weights at every token. */
    static CoefficientSchedule fixed(final float... weights) {
        final float[] copy = weights.clone();
        return (index, out) -> System.arraycopy(copy, 0, out, 0, copy.length);
    }
}
