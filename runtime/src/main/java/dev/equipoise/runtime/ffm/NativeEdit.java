package dev.equipoise.runtime.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * One intervention, as the native side takes it.
 *
 * @param kind of {@code eq_intervention_kind}
 * @param layers blocks, ascending
 * @param vectors one or two per layer, one after another, or empty
 * @param heads one flag per head, or empty for all
 * @param dimensions by which a key is a sink, or empty
 * @param labels bit l: keys that carry label l
 * @param otherLabels the same for those that take
 * @param place of {@code eq_steering_place}
 * @param amount scale, target, angle, bias, factor or threshold
 * @param parameters up to four more numbers
 */
public record NativeEdit(
        int kind,
        int[] layers,
        float[] vectors,
        byte[] heads,
        int[] dimensions,
        long labels,
        long otherLabels,
        int place,
        float amount,
        float... parameters) {
    /** One without heads, dimensions and second labels, at the outputs of blocks. */
    public NativeEdit(
            final int kind, final int[] layers, final float[] vectors, final long labels, final float amount) {
        this(kind, layers, vectors, new byte[0], new int[0], labels, 0, 0, amount);
    }

    private void write(final MemorySegment to, final Arena arena) {
        if (layers.length > 0) {
            to.set(ADDRESS, Host.offset(Host.INTERVENTION, "layers"), arena.allocateFrom(JAVA_INT, layers));
        }
        if (vectors.length > 0) {
            to.set(ADDRESS, Host.offset(Host.INTERVENTION, "vectors"), arena.allocateFrom(JAVA_FLOAT, vectors));
        }
        if (heads.length > 0) {
            to.set(ADDRESS, Host.offset(Host.INTERVENTION, "heads"), arena.allocateFrom(JAVA_BYTE, heads));
        }
        if (dimensions.length > 0) {
            to.set(
                    ADDRESS,
                    Host.offset(Host.INTERVENTION, "dimensions"),
                    arena.allocateFrom(JAVA_INT, dimensions));
        }
        to.set(JAVA_LONG, Host.offset(Host.INTERVENTION, "labels"), labels);
        to.set(JAVA_LONG, Host.offset(Host.INTERVENTION, "other_labels"), otherLabels);
        to.set(JAVA_INT, Host.offset(Host.INTERVENTION, "kind"), kind);
        to.set(JAVA_INT, Host.offset(Host.INTERVENTION, "n_layers"), layers.length);
        to.set(JAVA_INT, Host.offset(Host.INTERVENTION, "n_heads"), heads.length);
        to.set(JAVA_INT, Host.offset(Host.INTERVENTION, "n_dimensions"), dimensions.length);
        to.set(JAVA_INT, Host.offset(Host.INTERVENTION, "at"), place);
        to.set(JAVA_FLOAT, Host.offset(Host.INTERVENTION, "amount"), amount);
        final long more = Host.offset(Host.INTERVENTION, "parameter_0");
        for (int i = 0; i < parameters.length; i++) {
            to.set(JAVA_FLOAT, more + i * JAVA_FLOAT.byteSize(), parameters[i]);
        }
    }

    /** The array of {@code eq_intervention} that edits are, which lives as long as its arena; never of no elements. */
    static MemorySegment written(final List<NativeEdit> edits, final Arena arena) {
        final MemorySegment list = arena.allocate(Host.INTERVENTION, Math.max(1, edits.size()));
        for (int k = 0; k < edits.size(); k++) {
            edits.get(k).write(list.asSlice(k * Host.INTERVENTION.byteSize(), Host.INTERVENTION), arena);
        }
        return list;
    }
}
