package dev.equipoise.runtime.gguf;

import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.Set;

/**
 * Ticks off the tensors a model must or may have; whatever is left over is refused.
 *
 * <p>llama.cpp builds graph nodes from shapes and types it never checked and aborts inside ggml when they do not fit,
 * so every tensor it would touch is named here with its exact shape and the types its operation takes.
 */
final class TensorTable {
    /** What a tensor is used for decides how it may be stored. */
    enum Use {
        /** Left side of a matrix product or a table of rows. */
        MATRIX(EnumSet.of(GgmlType.F32, GgmlType.F16, GgmlType.BF16, GgmlType.Q4_0, GgmlType.Q4_1, GgmlType.Q5_0,
                GgmlType.Q5_1, GgmlType.Q8_0, GgmlType.Q2_K, GgmlType.Q3_K, GgmlType.Q4_K, GgmlType.Q5_K,
                GgmlType.Q6_K, GgmlType.IQ2_XXS, GgmlType.IQ2_XS, GgmlType.IQ2_S, GgmlType.IQ3_XXS, GgmlType.IQ3_S,
                GgmlType.IQ1_S, GgmlType.IQ1_M, GgmlType.IQ4_NL, GgmlType.IQ4_XS, GgmlType.TQ1_0, GgmlType.TQ2_0,
                GgmlType.MXFP4)),
        /** Right side of an addition or multiplication, or rotation factors: the CPU takes plain floats only. */
        VECTOR(EnumSet.of(GgmlType.F32)),
        /** Kernel of a convolution, unrolled to half precision. */
        KERNEL(EnumSet.of(GgmlType.F32, GgmlType.F16));

        private final Set<GgmlType> types;

        Use(final Set<GgmlType> types) {
            this.types = types;
        }
    }

    private final GgufFile file;
    private final Set<String> seen = new HashSet<>();

    TensorTable(final GgufFile file) {
        this.file = file;
    }

    TensorTable required(final String name, final Use use, final long... shape) {
        if (!optional(name, use, shape)) {
            throw file.bad("tensor '" + name + "' is missing");
        }
        return this;
    }

    /** Whether the tensor is there; if so, it is as described. */
    boolean optional(final String name, final Use use, final long... shape) {
        seen.add(name);
        final GgufTensor tensor = file.find(name).orElse(null);
        if (tensor == null) {
            return false;
        }
        if (!tensor.hasShape(shape)) {
            throw file.bad("tensor '" + name + "' has shape " + Arrays.toString(tensor.shape()) + ", expected "
                    + Arrays.toString(shape));
        }
        if (!use.types.contains(tensor.type())) {
            throw file.bad("tensor '" + name + "' is stored as " + tensor.type() + ", which its use does not allow");
        }
        return true;
    }

    boolean has(final String name) {
        return file.find(name).isPresent();
    }

    void refuseOthers() {
        for (final GgufTensor tensor : file.tensors()) {
            if (!seen.contains(tensor.name())) {
                throw file.bad("unexpected tensor '" + tensor.name() + "'");
            }
        }
    }
}
