package dev.equipoise.kernels.ffm;

import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_argmax$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_contrast_rows$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_diffuse$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_entropy$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_row_partials$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_row_reduce$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_tier$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_tier_error$MH;

import dev.equipoise.kernels.BranchSum;
import dev.equipoise.kernels.Combined;
import dev.equipoise.kernels.ContrastKernels;
import dev.equipoise.kernels.LogitRows;
import dev.equipoise.kernels.PixelDiffusion;
import dev.equipoise.kernels.RowSummary;
import dev.equipoise.kernels.error.UnavailableException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** The kernels of libequipoise-kernels on the CPU, in the best tier the processor has. */
public final class NativeKernels implements ContrastKernels {
    private static final int TEXT_BYTES = 1024;

    private final String tier;

    private NativeKernels(final String tier) {
        this.tier = tier;
    }

    /**
     * Loads the library.
     *
     * @throws UnavailableException if it is missing, of another version, or was told to use a tier it does not know
     */
    public static NativeKernels open() {
        // Before KernelLibrary is touched: a class that fails to initialise says so only once, and badly.
        final SymbolLookup library = NativeLibraries.load(KernelLibrary.NAME);
        NativeLibraries.requireVersion(library, KernelLibrary.NAME, "eqk_abi_version", KernelLibrary.ABI_VERSION);
        final String tier = text(eqk_tier$MH, "eqk_tier");
        if (tier == null) {
            throw new UnavailableException("no such tier of kernels", text(eqk_tier_error$MH, "eqk_tier_error"),
                    "correct or unset the variable");
        }
        return new NativeKernels(tier);
    }

    /** The instruction tier in use, {@code "avx2"} for example. */
    public String tier() {
        return tier;
    }

    @Override
    public String description() {
        return "native, " + tier;
    }

    @Override
    public Combined combine(final LogitRows rows, final BranchSum sum, final float[] out) {
        sum.requireFits(rows, out);
        final int branches = sum.branches();
        final float[] max = new float[branches];
        final float[] logSumExp = new float[branches];
        final double[] deltaSquared = new double[1];
        final long[] kept = new long[1];
        final int status;
        try {
            status = (int) eqk_contrast_rows$MH.invokeExact(MemorySegment.ofArray(rows.values()), (long) rows.stride(),
                    (long) rows.vocabulary(), MemorySegment.ofArray(sum.rows()),
                    MemorySegment.ofArray(sum.coefficients()), branches, sum.logProbabilities() ? 1 : 0,
                    sum.plausibility(), MemorySegment.ofArray(max), MemorySegment.ofArray(logSumExp),
                    MemorySegment.ofArray(out), MemorySegment.ofArray(deltaSquared), MemorySegment.ofArray(kept));
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eqk_contrast_rows", e);
        }
        Status.check(status, () -> "eqk_contrast_rows of " + rows.vocabulary() + " tokens with " + sum);
        return new Combined(kept[0], deltaSquared[0]);
    }

    @Override
    public RowSummary summary(final LogitRows rows, final int row) {
        final MemorySegment logits = row(rows, row);
        final MemorySegment partials = MemorySegment.ofArray(new float[2 * KernelLibrary.SLICES]);
        final float[] max = new float[1];
        final float[] logSumExp = new float[1];
        final int status;
        try {
            // What the first call finds wrong it also marks in the partials, where the second sees it.
            final int ignored = (int) eqk_row_partials$MH.invokeExact(
                    logits, (long) rows.vocabulary(), 0, KernelLibrary.SLICES, partials);
            status = (int) eqk_row_reduce$MH.invokeExact(
                    partials, MemorySegment.ofArray(max), MemorySegment.ofArray(logSumExp));
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eqk_row_partials", e);
        }
        Status.check(status, () -> "log-sum-exp of row " + row + ", " + rows.vocabulary() + " tokens");
        return new RowSummary(max[0], logSumExp[0]);
    }

    @Override
    public int argmax(final LogitRows rows, final int row) {
        final MemorySegment logits = row(rows, row);
        final long[] index = new long[1];
        final int status;
        try {
            status = (int) eqk_argmax$MH.invokeExact(logits, (long) rows.vocabulary(), MemorySegment.ofArray(index));
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eqk_argmax", e);
        }
        Status.check(status, () -> "argmax of row " + row + ", " + rows.vocabulary() + " tokens");
        return Math.toIntExact(index[0]);
    }

    @Override
    public float entropy(final LogitRows rows, final int row) {
        final float max = summary(rows, row).max();
        final float[] nats = new float[1];
        final int status;
        try {
            status = (int) eqk_entropy$MH.invokeExact(
                    row(rows, row), (long) rows.vocabulary(), max, MemorySegment.ofArray(nats));
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eqk_entropy", e);
        }
        Status.check(status, () -> "entropy of row " + row + ", " + rows.vocabulary() + " tokens");
        return nats[0];
    }

    @Override
    public void diffuse(final float[] pixels, final PixelDiffusion diffusion) {
        final int status;
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment copy = arena.allocateFrom(ValueLayout.JAVA_FLOAT, pixels);
            status = (int) eqk_diffuse$MH.invokeExact(
                    copy, (long) pixels.length, diffusion.step(), diffusion.seed());
            if (status == 0) {
                MemorySegment.copy(copy, ValueLayout.JAVA_FLOAT, 0, pixels, 0, pixels.length);
            }
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eqk_diffuse", e);
        }
        Status.check(status, () -> "diffusing " + pixels.length + " pixels, " + diffusion);
    }

    private static MemorySegment row(final LogitRows rows, final int row) {
        return MemorySegment.ofArray(rows.values())
                .asSlice((long) rows.start(row) * Float.BYTES, (long) rows.vocabulary() * Float.BYTES);
    }

    /** What a function without parameters returns as text of the library's own; null for NULL. */
    static String text(final MethodHandle handle, final String symbol) {
        final MemorySegment text;
        try {
            text = (MemorySegment) handle.invokeExact();
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected(symbol, e);
        }
        return text.address() == 0 ? null : text.reinterpret(TEXT_BYTES).getString(0);
    }
}
