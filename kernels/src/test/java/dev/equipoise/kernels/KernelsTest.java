package dev.equipoise.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.UnavailableException;
import org.junit.jupiter.api.Test;

class KernelsTest {
    @Test
    void theNativeLibraryIsBuiltAndChosen() {
        final Kernels.Choice choice = Kernels.choose();
        assertEquals("", choice.whyNotNative());
        assertTrue(choice.kernels().description().startsWith("native, "), choice.kernels().description());
    }

    @Test
    void cudaIsThereOrSaysWhyNot() {
        switch (CudaDevice.probe()) {
            case CudaDevice.Available(String name) ->
                    assertTrue(Kernels.cuda().description().contains(name), name);
            case CudaDevice.Unavailable(String reason) -> {
                assertFalse(reason.isBlank());
                final String message = assertThrows(UnavailableException.class, Kernels::cuda).getMessage();
                assertTrue(message.contains(reason), message);
            }
        }
    }
}
