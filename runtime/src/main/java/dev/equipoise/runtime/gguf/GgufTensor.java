package dev.equipoise.runtime.gguf;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Arrays;

/**
 * An entry of the tensor table.
 *
 * @param name at most 63 bytes of UTF-8
 * @param type how the elements are stored
 * @param shape 1 to 4 extents, the fastest running first (ggml's ne[0] is a row's length)
 * @param offset bytes from the start of the data section
 */
public record GgufTensor(String name, GgmlType type, long[] shape, long offset) {
    /** Longest shape ggml knows. */
    public static final int MAX_DIMENSIONS = 4;

    /**
     * Copies the shape.
     *
     * @throws BadInputException if an extent is not positive, a row is not whole blocks, or the size exceeds a long
     */
    public GgufTensor {
        shape = shape.clone();
        if (shape.length < 1 || shape.length > MAX_DIMENSIONS) {
            throw bad(name, shape.length + " dimensions, 1 to " + MAX_DIMENSIONS + " are possible");
        }
        long elements = 1;
        for (final long extent : shape) {
            if (extent <= 0 || extent >= Long.MAX_VALUE / elements) {
                throw bad(name, "impossible shape " + Arrays.toString(shape));
            }
            elements *= extent;
        }
        if (shape[0] % type.blockSize() != 0) {
            throw bad(name, "rows of " + shape[0] + " are not whole " + type + " blocks of " + type.blockSize());
        }
        if (elements / type.blockSize() > Long.MAX_VALUE / type.blockBytes()) {
            throw bad(name, "impossible size, shape " + Arrays.toString(shape));
        }
    }

    @Override
    public long[] shape() {
        return shape.clone();
    }

    /** Extent of dimension {@code i}; 1 beyond the stored ones, as in ggml. */
    public long extent(final int i) {
        return i < shape.length ? shape[i] : 1;
    }

    /** Number of elements. */
    public long elements() {
        return Arrays.stream(shape).reduce(1, (a, b) -> a * b);
    }

    /** Number of rows of {@code extent(0)} elements. */
    public long rows() {
        return elements() / shape[0];
    }

    /** Size of the data in bytes, without padding. */
    public long bytes() {
        return type.bytes(elements());
    }

    /** Whether the shape is this one, where missing trailing extents count as 1. */
    public boolean hasShape(final long... expected) {
        for (int i = 0; i < Math.max(expected.length, MAX_DIMENSIONS); i++) {
            if (extent(i) != (i < expected.length ? expected[i] : 1)) {
                return false;
            }
        }
        return true;
    }

    @Override
    public boolean equals(final Object other) {
        return other instanceof GgufTensor(String n, GgmlType t, long[] s, long o)
                && name.equals(n) && type == t && Arrays.equals(shape, s) && offset == o;
    }

    @Override
    public int hashCode() {
        return name.hashCode();
    }

    @Override
    public String toString() {
        return name + " " + type + " " + Arrays.toString(shape);
    }

    private static BadInputException bad(final String name, final String what) {
        return new BadInputException(what, "tensor '" + name + "'", "the file is damaged or not made for llama.cpp");
    }
}
