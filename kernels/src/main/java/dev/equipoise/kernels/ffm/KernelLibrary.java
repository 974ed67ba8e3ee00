package dev.equipoise.kernels.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.invoke.MethodHandle;

/** {@code equipoise_kernels.h}, symbol by symbol; see there for each. {@link NativeKernels#open} comes first. */
final class KernelLibrary {
    static final String NAME = "equipoise-kernels";

    /** The header this binding follows. */
    static final int ABI_VERSION = 7;

    /** EQK_SLICES. */
    static final int SLICES = 64;

    // Arrays on the Java heap go in as they are: these calls take microseconds, never block and never call back.
    private static final Linker.Option[] SHORT = {Linker.Option.critical(true)};
    private static final Linker.Option[] LONG = {};

    private static final FunctionDescriptor CONTRAST_ROWS = FunctionDescriptor.of(JAVA_INT,
            ADDRESS, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, JAVA_INT, JAVA_INT, JAVA_FLOAT, ADDRESS, ADDRESS, ADDRESS,
            ADDRESS, ADDRESS);

    static final MethodHandle eqk_tier$MH = bind("eqk_tier", FunctionDescriptor.of(ADDRESS), LONG);
    static final MethodHandle eqk_tier_error$MH = bind("eqk_tier_error", FunctionDescriptor.of(ADDRESS), LONG);
    static final MethodHandle eqk_row_partials$MH = bind("eqk_row_partials",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, ADDRESS), SHORT);
    static final MethodHandle eqk_row_reduce$MH = bind("eqk_row_reduce",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS), SHORT);
    static final MethodHandle eqk_contrast_reduce$MH = bind("eqk_contrast_reduce",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS), SHORT);
    static final MethodHandle eqk_contrast_rows$MH = bind("eqk_contrast_rows", CONTRAST_ROWS, SHORT);
    static final MethodHandle eqk_argmax$MH = bind("eqk_argmax",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, ADDRESS), SHORT);
    static final MethodHandle eqk_entropy$MH = bind("eqk_entropy",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_FLOAT, ADDRESS), SHORT);
    // Milliseconds for a large picture: too long to hold up the garbage collector.
    static final MethodHandle eqk_diffuse$MH = bind("eqk_diffuse",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_LONG), LONG);
    static final MethodHandle eqk_cuda_probe$MH = bind("eqk_cuda_probe",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG), LONG);
    static final MethodHandle eqk_cuda_last_error$MH = bind("eqk_cuda_last_error",
            FunctionDescriptor.of(ADDRESS), LONG);
    static final MethodHandle eqk_cuda_row_partials$MH = bind("eqk_cuda_row_partials",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_LONG, ADDRESS, JAVA_INT, ADDRESS, ADDRESS), LONG);
    static final MethodHandle eqk_cuda_row_reduce$MH = bind("eqk_cuda_row_reduce",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, ADDRESS, ADDRESS, ADDRESS), LONG);
    static final MethodHandle eqk_cuda_contrast$MH = bind("eqk_cuda_contrast",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS), LONG);
    static final MethodHandle eqk_cuda_contrast_rows$MH = bind("eqk_cuda_contrast_rows", CONTRAST_ROWS, LONG);

    private KernelLibrary() {
    }

    private static MethodHandle bind(
            final String symbol, final FunctionDescriptor descriptor, final Linker.Option[] options) {
        return NativeLibraries.handle(NativeLibraries.load(NAME), symbol, descriptor, options);
    }
}
