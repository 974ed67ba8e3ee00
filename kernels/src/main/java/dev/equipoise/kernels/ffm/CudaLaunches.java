package dev.equipoise.kernels.ffm;

import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_contrast_reduce$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_cuda_contrast$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_cuda_last_error$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_cuda_row_partials$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_cuda_row_reduce$MH;

import dev.equipoise.kernels.Combined;
import dev.equipoise.kernels.CudaDevice;
import dev.equipoise.kernels.error.EquipoiseException;
import dev.equipoise.kernels.error.UnavailableException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * The launches of libequipoise-kernels on memory that somebody else allocated on the device: addresses in, nothing
 * copied, nothing waited for. All on the legacy default stream of the thread's current device, where a plain copy waits
 * for them. Addresses are trusted. Thread-safe.
 */
public final class CudaLaunches {
    /** The most rows of a launch. */
    public static final int MOST_ROWS = 65535;

    /** {@code eqk_partial[EQK_SLICES]}, of one row. */
    public static final int PARTIALS_BYTES = KernelLibrary.SLICES * 2 * Float.BYTES;

    /** {@code eqk_contrast_partial[EQK_SLICES]}: a double and a count each. */
    public static final int REPORT_LONGS = KernelLibrary.SLICES * 2;

    private static final StructLayout CONTRAST_ARGS = MemoryLayout.structLayout(
            ValueLayout.JAVA_LONG.withName("rows"),
            ValueLayout.JAVA_LONG.withName("stride"),
            ValueLayout.JAVA_LONG.withName("n_vocab"),
            ValueLayout.JAVA_LONG.withName("row_index"),
            ValueLayout.JAVA_LONG.withName("coefficient"),
            ValueLayout.JAVA_LONG.withName("beta"),
            ValueLayout.JAVA_LONG.withName("row_max"),
            ValueLayout.JAVA_LONG.withName("row_lse"),
            ValueLayout.JAVA_LONG.withName("out"),
            ValueLayout.JAVA_LONG.withName("report"),
            ValueLayout.JAVA_INT.withName("n_branches"),
            ValueLayout.JAVA_INT.withName("log_probabilities"),
            ValueLayout.JAVA_INT.withName("slice_first"),
            ValueLayout.JAVA_INT.withName("slice_last"));

    private CudaLaunches() {
    }

    /**
     * @throws UnavailableException if the kernels of this build have no device to run on, or there is no library
     */
    public static void requireDevice() {
        if (CudaKernels.probe() instanceof CudaDevice.Unavailable(String reason)) {
            throw new UnavailableException("no CUDA kernels", "because " + reason, "use the native kernels");
        }
    }

    /**
     * Partials, maxima and the combination of a group of rows; see {@code eqk_contrast_args} for each address.
     *
     * @throws UnavailableException if CUDA refuses a launch
     */
    public static void contrast(final long rows, final long stride, final long vocabulary, final long rowIndex,
            final long coefficients, final long beta, final int branches, final boolean logProbabilities,
            final long partials, final long maxima, final long sums, final long out, final long report) {
        final MemorySegment stream = MemorySegment.NULL;
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment args = arena.allocate(CONTRAST_ARGS);
            final long[] words = {rows, stride, vocabulary, rowIndex, coefficients, beta, maxima, sums, out, report};
            for (int w = 0; w < words.length; w++) {
                args.setAtIndex(ValueLayout.JAVA_LONG, w, words[w]);
            }
            final int[] counts = {branches, logProbabilities ? 1 : 0, 0, KernelLibrary.SLICES};
            for (int c = 0; c < counts.length; c++) {
                args.setAtIndex(ValueLayout.JAVA_INT, 2L * words.length + c, counts[c]);
            }
            int status;
            try {
                status = (int) eqk_cuda_row_partials$MH.invokeExact(at(rows), stride, vocabulary, at(rowIndex),
                        branches, at(partials), stream);
                if (status == 0) {
                    status = (int) eqk_cuda_row_reduce$MH.invokeExact(at(partials), branches, at(maxima), at(sums),
                            stream);
                }
                if (status == 0) {
                    status = (int) eqk_cuda_contrast$MH.invokeExact(args, stream);
                }
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eqk_cuda_contrast", e);
            }
            Status.check(status, () -> "combining " + branches + " rows of " + vocabulary + " tokens on the device: "
                    + NativeKernels.text(eqk_cuda_last_error$MH, "eqk_cuda_last_error"));
        }
    }

    /**
     * What a combination's report says, once it is on the host.
     *
     * @param report {@link #REPORT_LONGS} words, as the device left them
     * @param where the operation, for the message
     * @throws EquipoiseException what {@link dev.equipoise.kernels.ContrastKernels#combine} throws
     */
    public static Combined outcome(final long[] report, final String where) {
        final double[] deltaSquared = new double[1];
        final long[] kept = new long[1];
        final MethodHandle reduce = eqk_contrast_reduce$MH;
        final int status;
        try {
            status = (int) reduce.invokeExact(MemorySegment.ofArray(report), MemorySegment.ofArray(deltaSquared),
                    MemorySegment.ofArray(kept));
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eqk_contrast_reduce", e);
        }
        Status.check(status, () -> where);
        return new Combined(kept[0], deltaSquared[0]);
    }

    private static MemorySegment at(final long address) {
        return MemorySegment.ofAddress(address);
    }
}
