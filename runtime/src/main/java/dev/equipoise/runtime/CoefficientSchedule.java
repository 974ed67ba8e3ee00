package dev.equipoise.runtime;

/** The weights of a request's branches at each generated token. Pure: equal indices give equal weights. */
@FunctionalInterface
public interface CoefficientSchedule {
    /**
     * Writes the weights for one token.
     *
     * @param index which generated token they are for, counted from 1
     * @param out {@code [branches]}, base first
     */
    void at(int index, float[] out);

    /** The same weights at every token. */
    static CoefficientSchedule fixed(final float... weights) {
        final float[] copy = weights.clone();
        return (index, out) -> System.arraycopy(copy, 0, out, 0, copy.length);
    }
}
