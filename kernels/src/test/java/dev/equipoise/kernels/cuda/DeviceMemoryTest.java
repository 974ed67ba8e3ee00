package dev.equipoise.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.equipoise.kernels.BranchSum;
import dev.equipoise.kernels.Combined;
import dev.equipoise.kernels.CudaDevice;
import dev.equipoise.kernels.Kernels;
import dev.equipoise.kernels.LogitRows;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.LifetimeException;
import dev.equipoise.kernels.error.UnavailableException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.function.Supplier;
import java.util.stream.Stream;
import jcuda.runtime.JCuda;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Device memory where there is a device; elsewhere, that everything says why there is none. */
class DeviceMemoryTest {
    private static boolean there() {
        try {
            return CudaRuntime.requireDevices() > 0;
        } catch (final UnavailableException e) {
            return false;
        }
    }

    @Test
    void withoutDeviceEveryDoorSaysBecauseOfWhat() {
        assumeFalse(there(), "there is a device");
        final LogitRows rows = LogitRows.of(1, 2);
        for (final Executable door : new Executable[] {
            DeviceDescription::all, () -> DeviceRows.allocate(1, 2), () -> DeviceRows.copyOf(rows),
            () -> DeviceContrast.open(2)
        }) {
            final UnavailableException told = assertThrows(UnavailableException.class, door);
            assertEquals("device memory from Java not available", told.what());
            assertTrue(told.where().startsWith("because "), told.where());
            assertTrue(told.remedy().contains("native kernels"), told.remedy());
        }
    }

    // Without a driver CUDA's runtime answers 0 for its version: the library itself is loaded and was asked.
    @Test
    void withoutDriverTheReasonIsTheDriver() {
        assumeFalse(Files.exists(Path.of("/proc/driver/nvidia/version")), "there is a driver");
        assumeTrue(System.getProperty("os.arch").equals("amd64"), "JCuda has natives for x86-64 alone");
        final UnavailableException told = assertThrows(UnavailableException.class, DeviceDescription::all);
        assertEquals("because this machine has no NVIDIA driver", told.where());
        assertEquals(0, CudaRuntime.driverVersion());
        assertEquals("no error", JCuda.cudaGetErrorString(0));
    }

    @Test
    void failuresCarryCudasWords() {
        assumeTrue(System.getProperty("os.arch").equals("amd64"), "JCuda has natives for x86-64 alone");
        there();
        final int outOfMemory = 2;
        final UnavailableException told =
                assertThrows(UnavailableException.class, () -> CudaRuntime.check(outOfMemory, "allocating"));
        assertEquals("because allocating gave out of memory (2)", told.where());
    }

    @Test
    void nothingIsLeftWhereOthersCouldPutTheirs() throws IOException {
        there();
        final Path directory = Path.of(System.getProperty("java.io.tmpdir"));
        assertFalse(directory.toString().contains("equipoise-jcuda"), "the property is what it was");
        try (Stream<Path> files = Files.list(directory)) {
            assertEquals(0, files.filter(file -> file.getFileName().toString().startsWith("equipoise-jcuda")).count());
        }
    }

    @Test
    void impossibleShapesAreRefusedBeforeTheDeviceIsAsked() {
        for (final Supplier<AutoCloseable> impossible : List.<Supplier<AutoCloseable>>of(
                () -> DeviceRows.allocate(0, 5), () -> DeviceRows.allocate(5, 0), () -> DeviceRows.allocate(-1, 5),
                () -> DeviceContrast.open(0), () -> DeviceContrast.open(65536))) {
            assertThrows(BadInputException.class, impossible::get);
        }
    }

    @Test
    void rowsOnTheDeviceCombineAsRowsOnTheHostDo() {
        assumeTrue(there() && CudaDevice.probe() instanceof CudaDevice.Available, "no device");
        final int vocabulary = 1025;
        final Random random = new Random(11);
        final float[] values = new float[3 * vocabulary];
        for (int i = 0; i < values.length; i++) {
            values[i] = 3 * (float) random.nextGaussian();
        }
        final LogitRows host = new LogitRows(values, vocabulary, vocabulary);
        final BranchSum sum = new BranchSum(new int[] {2, 0}, new float[] {2, -1}, true, 0.1f);
        final float[] wanted = new float[vocabulary];
        final Combined reference = Kernels.scalar().combine(host, sum, wanted);
        try (DeviceRows rows = DeviceRows.copyOf(host); DeviceContrast contrast = DeviceContrast.open(4)) {
            final float[] got = new float[vocabulary];
            rows.get(1, got);
            for (int y = 0; y < vocabulary; y++) {
                assertEquals(values[vocabulary + y], got[y]);
            }
            assertEquals(reference.kept(), contrast.combine(rows, sum, rows, 2).kept());
            rows.get(2, got);
            // Values stay below 40 and are combined with a magnitude of 3 in at most 4 roundings; log-sum-exp is within
            // 40 units of the last place.
            final double tolerance = (4 + 40) * Math.ulp(1.0f) * 40 * 3;
            for (int y = 0; y < vocabulary; y++) {
                assertTrue(wanted[y] == got[y] || Math.abs(wanted[y] - got[y]) <= tolerance, "token " + y);
            }
            assertThrows(BadInputException.class, () -> contrast.combine(rows, sum, rows, 3));
        }
    }

    @Test
    void closedRowsAreNotRead() {
        assumeTrue(there(), "no device");
        final DeviceRows rows = DeviceRows.allocate(1, 2);
        rows.close();
        rows.close();
        assertThrows(LifetimeException.class, () -> rows.get(0, new float[2]));
    }
}
