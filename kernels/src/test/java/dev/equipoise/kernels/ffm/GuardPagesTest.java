package dev.equipoise.kernels.ffm;

import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_argmax$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_contrast_rows$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_diffuse$MH;
import static dev.equipoise.kernels.ffm.KernelLibrary.eqk_entropy$MH;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.equipoise.kernels.BranchSum;
import dev.equipoise.kernels.Kernels;
import dev.equipoise.kernels.LogitRows;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The bindings pass lengths in the unit the kernels mean: every array ends at a page that is not there. */
class GuardPagesTest {
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 257, 1000, 4099, 32001})
    void kernelsStayInsideTheirArrays(final int size) throws Throwable {
        NativeKernels.open();
        final Random random = new Random(size);
        final float[] rows = new float[3 * size];
        for (int i = 0; i < rows.length; i++) {
            rows[i] = 20 * random.nextFloat() - 10;
        }
        final float[] scalar = new float[size];
        final BranchSum sum = new BranchSum(new int[] {2, 0, 1}, new float[] {2, -1, 0.5f}, false, 0);
        Kernels.scalar().combine(new LogitRows(rows, size, size), sum, scalar);
        try (Arena arena = new GuardPages()) {
            final MemorySegment out = arena.allocate(JAVA_FLOAT, size);
            assertEquals(0, (int) eqk_contrast_rows$MH.invokeExact(arena.allocateFrom(JAVA_FLOAT, rows), (long) size,
                    (long) size, arena.allocateFrom(JAVA_INT, sum.rows()),
                    arena.allocateFrom(JAVA_FLOAT, sum.coefficients()), 3, 0, 0f, arena.allocate(JAVA_FLOAT, 3),
                    arena.allocate(JAVA_FLOAT, 3), out, arena.allocate(JAVA_DOUBLE), arena.allocate(JAVA_LONG)));
            for (int y = 0; y < size; y++) {
                // 5 roundings of magnitudes up to 35, twice.
                assertEquals(scalar[y], out.getAtIndex(JAVA_FLOAT, y), 2 * 5 * 0x1p-24f * 35);
            }
            final MemorySegment row = arena.allocateFrom(JAVA_FLOAT, scalar);
            assertEquals(0, (int) eqk_argmax$MH.invokeExact(row, (long) size, arena.allocate(JAVA_LONG)));
            assertEquals(0, (int) eqk_entropy$MH.invokeExact(row, (long) size, 40f, arena.allocate(JAVA_FLOAT)));
            assertEquals(0, (int) eqk_diffuse$MH.invokeExact(row, (long) size, 500, 1L));
        }
    }

    @Test
    void anEmptyPictureIsAPicture() throws Throwable {
        NativeKernels.open();
        try (Arena arena = new GuardPages()) {
            assertEquals(0, (int) eqk_diffuse$MH.invokeExact(arena.allocate(4), 0L, 500, 1L));
        }
    }
}
