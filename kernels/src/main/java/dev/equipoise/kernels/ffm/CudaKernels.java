package dev.equipoise.kernels.ffm;

import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_cuda_contrast_rows$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_cuda_last_error$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_cuda_probe$MH;

import dev.equipoise.kernels.BranchSum;
import dev.equipoise.kernels.Combined;
import dev.equipoise.kernels.ContrastKernels;
import dev.equipoise.kernels.CudaDevice;
import dev.equipoise.kernels.LogitRows;
import dev.equipoise.kernels.PixelDiffusion;
import dev.equipoise.kernels.RowSummary;
import dev.equipoise.kernels.error.UnavailableException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;

/**
 * Combining on the first CUDA device, for rows that lie in host memory. The rest is the CPU's: reading one row takes
 * less time than copying it to the device.
 */
public final class CudaKernels implements ContrastKernels {
    private static final int TEXT_BYTES = 256;

    private final String device;
    private final NativeKernels cpu;

    private CudaKernels(final String device, final NativeKernels cpu) {
        this.device = device;
        this.cpu = cpu;
    }

    /**
     * @throws UnavailableException if there is no usable device, or no library
     */
    public static CudaKernels open() {
        final NativeKernels cpu = NativeKernels.open();
        return switch (probe()) {
            case CudaDevice.Available(String name) -> new CudaKernels(name, cpu);
            case CudaDevice.Unavailable(String reason) -> throw new UnavailableException(
                    "no CUDA device", reason, "use the native kernels");
        };
    }

    /**
     * Asks the library for a device.
     *
     * @throws UnavailableException if the library itself is missing
     */
    public static CudaDevice probe() {
        NativeKernels.open();
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment text = arena.allocate(TEXT_BYTES);
            final int status = (int) eqk_cuda_probe$MH.invokeExact(text, (long) TEXT_BYTES);
            return status == 0 ? new CudaDevice.Available(text.getString(0)) : new CudaDevice.Unavailable(
                    text.getString(0));
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eqk_cuda_probe", e);
        }
    }

    @Override
    public String description() {
        return "cuda, " + device + "; one row at a time: " + cpu.description();
    }

    @Override
    public Combined combine(final LogitRows rows, final BranchSum sum, final float[] out) {
        sum.requireFits(rows, out);
        final int branches = sum.branches();
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment combined = arena.allocate(ValueLayout.JAVA_FLOAT, rows.vocabulary());
            final MemorySegment deltaSquared = arena.allocate(ValueLayout.JAVA_DOUBLE);
            final MemorySegment kept = arena.allocate(ValueLayout.JAVA_LONG);
            final int status = call(arena, rows, sum, combined, deltaSquared, kept);
            Status.check(status, () -> "combining " + branches + " rows of " + rows.vocabulary() + " tokens"
                    + (status < Status.UNAVAILABLE.ordinal() ? "" : ": "
                    + NativeKernels.text(eqk_cuda_last_error$MH, "eqk_cuda_last_error")));
            MemorySegment.copy(combined, ValueLayout.JAVA_FLOAT, 0, out, 0, rows.vocabulary());
            return new Combined(kept.get(ValueLayout.JAVA_LONG, 0), deltaSquared.get(ValueLayout.JAVA_DOUBLE, 0));
        }
    }

    // Copies to the device may wait, so nothing of the Java heap is pinned meanwhile.
    private static int call(final SegmentAllocator memory, final LogitRows rows, final BranchSum sum,
            final MemorySegment combined, final MemorySegment deltaSquared, final MemorySegment kept) {
        final int branches = sum.branches();
        try {
            return (int) eqk_cuda_contrast_rows$MH.invokeExact(
                    memory.allocateFrom(ValueLayout.JAVA_FLOAT, rows.values()), (long) rows.stride(),
                    (long) rows.vocabulary(), memory.allocateFrom(ValueLayout.JAVA_INT, sum.rows()),
                    memory.allocateFrom(ValueLayout.JAVA_FLOAT, sum.coefficients()), branches,
                    sum.logProbabilities() ? 1 : 0, sum.plausibility(),
                    memory.allocate(ValueLayout.JAVA_FLOAT, branches),
                    memory.allocate(ValueLayout.JAVA_FLOAT, branches), combined, deltaSquared, kept);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eqk_cuda_contrast_rows", e);
        }
    }

    @Override
    public RowSummary summary(final LogitRows rows, final int row) {
        return cpu.summary(rows, row);
    }

    @Override
    public int argmax(final LogitRows rows, final int row) {
        return cpu.argmax(rows, row);
    }

    @Override
    public float entropy(final LogitRows rows, final int row) {
        return cpu.entropy(rows, row);
    }

    @Override
    public void diffuse(final float[] pixels, final PixelDiffusion diffusion) {
        cpu.diffuse(pixels, diffusion);
    }
}
