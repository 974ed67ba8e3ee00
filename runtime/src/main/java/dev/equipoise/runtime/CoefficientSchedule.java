package dev.equipoise.runtime;

/** Weights of a request's branches at each generated token. Pure: equal indices and entropies give equal weights. */
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
     * Writes the weights for one token, where they may depend on how undecided the rows are. Called by the engine's
     * thread in the middle of a decode, so it must not touch the engine.
     *
     * @param index which generated token they are for, counted from 1
     * @param entropies {@code [branches]} of the softmax of each row before they are combined, in nats; to be read only
     * @param out {@code [branches]}, base first
     */
    default void at(final int index, final float[] entropies, final float[] out) {
        at(index, out);
    }

    /** Whether the entropies are wanted: the rows are then combined after the graph, which shows them. */
    default boolean readsEntropies() {
        return false;
    }

    /** The same weights at every token. */
    static CoefficientSchedule fixed(final float... weights) {
        final float[] copy = weights.clone();
        return (index, out) -> System.arraycopy(copy, 0, out, 0, copy.length);
    }
}
