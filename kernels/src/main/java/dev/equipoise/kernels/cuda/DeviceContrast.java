package dev.equipoise.kernels.cuda;

import dev.equipoise.kernels.BranchSum;
import dev.equipoise.kernels.Combined;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.LifetimeException;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.kernels.ffm.CudaLaunches;
import jcuda.Pointer;
import jcuda.Sizeof;

/**
 * Combines rows that live on the first CUDA device, where they are: what crosses to the device and back are a few
 * numbers per branch and the outcome, never a row. Owns the memory that a combination needs in between; one thread at a
 * time; any thread may close, more than once. Used after that, it throws {@link LifetimeException}.
 */
public final class DeviceContrast implements AutoCloseable {
    private final DeviceBuffer memory;
    private final int mostBranches;

    private DeviceContrast(final DeviceBuffer memory, final int mostBranches) {
        this.memory = memory;
        this.mostBranches = mostBranches;
    }

    /**
     * @param mostBranches the most branches of a combination, 1 to 65535
     * @throws BadInputException if that is out of range
     * @throws UnavailableException if there is no device that JCuda and the kernels of this build can use
     */
    public static DeviceContrast open(final int mostBranches) {
        if (mostBranches < 1 || mostBranches > CudaLaunches.MOST_ROWS) {
            throw new BadInputException("impossible number of branches", Integer.toString(mostBranches),
                    "give 1 to " + CudaLaunches.MOST_ROWS);
        }
        final DeviceBuffer memory = DeviceBuffer.allocate(Layout.bytes(mostBranches));
        try {
            CudaLaunches.requireDevice();
            return new DeviceContrast(memory, mostBranches);
        } catch (final RuntimeException e) {
            memory.close();
            throw e;
        }
    }

    /**
     * Combines rows into one, as {@link dev.equipoise.kernels.ContrastKernels#combine} does, and waits for it.
     *
     * @param rows the matrix
     * @param sum which of its rows, and how
     * @param out receives the combined row: another matrix, or {@code rows} itself
     * @param outRow which of its rows; in {@code rows} itself one of the sum's, or one that the sum does not read
     * @throws BadInputException as there, and if a row does not exist or the vocabularies differ
     * @throws UnavailableException if a CUDA call fails
     */
    public Combined combine(final DeviceRows rows, final BranchSum sum, final DeviceRows out, final int outRow) {
        final int branches = sum.branches();
        final int[] members = sum.rows();
        for (final int row : members) {
            rows.offset(row);
        }
        if (branches > mostBranches || out.vocabulary() != rows.vocabulary()) {
            throw new BadInputException("the combination does not fit", branches + " branches of " + rows.vocabulary()
                    + " tokens into a row of " + out.vocabulary(), "open the contrast for " + branches
                    + " branches, and combine into a row of the same vocabulary");
        }
        final long to = out.address(outRow);
        memory.put(0, Pointer.to(Layout.numbers(members, sum.coefficients(), sum.plausibility())),
                (2L * branches + 1) * Sizeof.INT);

        final long base = memory.address();
        final long index = base;
        final long coefficients = index + (long) branches * Sizeof.INT;
        final long beta = coefficients + (long) branches * Sizeof.FLOAT;
        final Layout at = Layout.of(mostBranches);
        CudaLaunches.contrast(rows.address(0), rows.vocabulary(), rows.vocabulary(), index, coefficients, beta,
                branches, sum.logProbabilities(), base + at.partials(), base + at.maxima(), base + at.sums(), to,
                base + at.report());
        final long[] report = new long[CudaLaunches.REPORT_LONGS];
        memory.get(at.report(), Pointer.to(report), (long) report.length * Sizeof.LONG);
        return CudaLaunches.outcome(report, sum + " of " + rows.vocabulary() + " tokens on the device");
    }

    @Override
    public void close() {
        memory.close();
    }

    /** Where things lie, in bytes: row numbers, coefficients and beta first; then partials, maxima, sums, report. */
    private record Layout(long partials, long maxima, long sums, long report) {
        private static final int ALIGNMENT = 8;

        static Layout of(final int branches) {
            final long partials = aligned((2L * branches + 1) * Sizeof.INT);
            final long maxima = partials + (long) branches * CudaLaunches.PARTIALS_BYTES;
            final long sums = maxima + (long) branches * Sizeof.FLOAT;
            return new Layout(partials, maxima, sums, aligned(sums + (long) branches * Sizeof.FLOAT));
        }

        static long bytes(final int branches) {
            return of(branches).report + (long) CudaLaunches.REPORT_LONGS * Sizeof.LONG;
        }

        static int[] numbers(final int[] rows, final float[] coefficients, final float beta) {
            final int[] numbers = new int[2 * rows.length + 1];
            System.arraycopy(rows, 0, numbers, 0, rows.length);
            for (int b = 0; b < rows.length; b++) {
                numbers[rows.length + b] = Float.floatToRawIntBits(coefficients[b]);
            }
            numbers[2 * rows.length] = Float.floatToRawIntBits(beta);
            return numbers;
        }

        private static long aligned(final long bytes) {
            return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
    }
}
