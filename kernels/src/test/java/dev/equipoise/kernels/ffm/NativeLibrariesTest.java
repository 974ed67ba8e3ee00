package dev.equipoise.kernels.ffm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.kernels.error.UnavailableException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.SymbolLookup;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class NativeLibrariesTest {
    private static final SymbolLookup KERNELS = NativeLibraries.load(KernelLibrary.NAME);

    @Test
    void aLibraryIsLoadedOnce() {
        assertSame(KERNELS, NativeLibraries.load(KernelLibrary.NAME));
    }

    @Test
    void aMissingLibraryIsNamedWithTheRemedy() {
        for (int attempt = 0; attempt < 2; attempt++) { // the second says the same
            final UnavailableException e =
                    assertThrows(UnavailableException.class, () -> NativeLibraries.load("no-such-library"));
            assertTrue(e.where().endsWith(System.mapLibraryName("no-such-library")), e.where());
            assertTrue(e.remedy().contains(NativeLibraries.DIRECTORY_PROPERTY), e.remedy());
        }
    }

    @Test
    void anotherVersionIsRefusedNamingBoth() {
        NativeLibraries.requireVersion(KERNELS, KernelLibrary.NAME, "eqk_abi_version", KernelLibrary.ABI_VERSION);
        final String message = assertThrows(UnavailableException.class, () -> NativeLibraries.requireVersion(
                KERNELS, KernelLibrary.NAME, "eqk_abi_version", 4711)).getMessage();
        assertTrue(message.contains("4711") && message.contains(" " + KernelLibrary.ABI_VERSION + ","), message);
    }

    @Test
    void aMissingFunctionIsNamed() {
        final String message = assertThrows(UnavailableException.class,
                () -> NativeLibraries.handle(KERNELS, "eqk_no_such_thing", FunctionDescriptor.ofVoid())).getMessage();
        assertTrue(message.contains("eqk_no_such_thing"), message);
    }

    @Test
    void statusesBecomeTypedErrors() {
        Status.check(0, () -> "never asked");
        assertEquals(List.of(InternalException.class, BadInputException.class, BadInputException.class,
                        UnavailableException.class, UnavailableException.class),
                IntStream.rangeClosed(1, 5)
                        .mapToObj(number -> assertThrows(RuntimeException.class,
                                () -> Status.check(number, () -> "here")).getClass())
                        .toList());
        assertThrows(InternalException.class, () -> Status.check(6, () -> "here"));
        assertThrows(InternalException.class, () -> Status.check(-1, () -> "here"));
    }
}
