package dev.equipoise.bench.jmh;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.Combined;
import dev.equipoise.kernels.CudaDevice;
import dev.equipoise.kernels.error.UnavailableException;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DeviceContrastBenchmarkTest {
    @ParameterizedTest
    @ValueSource(strings = {"host", "copied", "device"})
    void everyArmGivesWhatTheReferenceGivesOrSaysWhyNot(final String where) {
        final int vocabulary = 32000;
        final DeviceContrastBenchmark arm = new DeviceContrastBenchmark(where, vocabulary, 2);
        if (!where.equals("host") && CudaDevice.probe() instanceof CudaDevice.Unavailable) {
            final String message = assertThrows(UnavailableException.class, arm::prepare).getMessage();
            assertTrue(message.contains("CUDA") || message.contains("because"), message);
            arm.free();
            return;
        }
        final ContrastKernelBenchmark reference = new ContrastKernelBenchmark("scalar", vocabulary, 2);
        reference.prepare();
        arm.prepare();
        final Combined wanted = reference.combine();
        final Combined got = arm.combine();
        assertEquals(wanted.kept(), got.kept());
        // Logits stay below 20, magnitudes of coefficients add up to 3, every product and sum rounds once.
        assertArrayEquals(reference.result(), arm.result(), 3 * Math.ulp(1.0f) * 20 * 3);
        arm.free();
    }
}
