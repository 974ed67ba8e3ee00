package dev.equipoise.kernels.ffm;

import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.kernels.error.UnavailableException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Finds and loads Equipoise's native libraries, each at most once per process.
 *
 * <p>They lie together in one directory: system property {@value #DIRECTORY_PROPERTY}, else environment variable
 * {@value #DIRECTORY_VARIABLE}, else {@code native/build/lib} below the working directory, where a build from source
 * leaves them. Thread-safe.
 */
public final class NativeLibraries {
    /** System property naming the directory of the libraries. */
    public static final String DIRECTORY_PROPERTY = "equipoise.native.dir";

    /** Environment variable naming the directory of the libraries. */
    public static final String DIRECTORY_VARIABLE = "EQUIPOISE_NATIVE_DIR";

    private static final Path DEFAULT_DIRECTORY = Path.of("native", "build", "lib");

    private static final Linker LINKER = Linker.nativeLinker();
    private static final Map<String, SymbolLookup> LOADED = new ConcurrentHashMap<>();

    private NativeLibraries() {
    }

    /**
     * The directory the libraries are looked for in; it need not exist.
     *
     * @throws UnavailableException if the configured name is not a path
     */
    public static Path directory() {
        final String property = System.getProperty(DIRECTORY_PROPERTY);
        if (property != null && !property.isBlank()) {
            return path(property, "system property " + DIRECTORY_PROPERTY);
        }
        final String variable = System.getenv(DIRECTORY_VARIABLE);
        if (variable != null && !variable.isBlank()) {
            return path(variable, "environment variable " + DIRECTORY_VARIABLE);
        }
        return DEFAULT_DIRECTORY.toAbsolutePath();
    }

    /**
     * Loads a library for the life of the process.
     *
     * @param name without prefix or suffix, for example {@code "equipoise-kernels"}
     * @return its symbols
     * @throws UnavailableException if it is not there or cannot be loaded; a later call tries again
     */
    public static SymbolLookup load(final String name) {
        return LOADED.computeIfAbsent(name, NativeLibraries::open);
    }

    private static SymbolLookup open(final String name) {
        final Path file = directory().resolve(System.mapLibraryName(name));
        if (!Files.isRegularFile(file)) {
            throw new UnavailableException("native library " + name + " not found", file.toString(),
                    "build it (./equipoise does), or name its directory by -D" + DIRECTORY_PROPERTY + " or "
                            + DIRECTORY_VARIABLE);
        }
        try {
            // Global: code that threads of llama.cpp may be running cannot be unloaded safely.
            return SymbolLookup.libraryLookup(file, Arena.global());
        } catch (final IllegalArgumentException e) {
            throw new UnavailableException("native library " + name + " cannot be loaded", file.toString(),
                    "build it on this machine; the loader says: " + e.getMessage(), e);
        } catch (final IllegalCallerException e) {
            throw new UnavailableException("native access is denied to " + name, file.toString(),
                    "start java with --enable-native-access=dev.equipoise.kernels,dev.equipoise.runtime", e);
        }
    }

    /**
     * Compares the version a library was built as with the one its Java binding was written for.
     *
     * @param library the library's symbols
     * @param name the library's name, for the message
     * @param symbol a function {@code uint32_t symbol(void)}
     * @param expected the version of the header the binding follows
     * @throws UnavailableException if the two differ, naming both
     */
    public static void requireVersion(
            final SymbolLookup library, final String name, final String symbol, final int expected) {
        final MethodHandle version = handle(library, symbol, FunctionDescriptor.of(ValueLayout.JAVA_INT));
        final int found;
        try {
            found = (int) version.invokeExact();
        } catch (final Throwable e) {
            throw unexpected(symbol, e);
        }
        if (found != expected) {
            throw new UnavailableException(
                    "native library " + name + " has ABI version " + Integer.toUnsignedString(found)
                            + ", this jar needs " + Integer.toUnsignedString(expected),
                    directory().toString(), "build library and jar from the same commit");
        }
    }

    /**
     * A method handle for a C function.
     *
     * @throws UnavailableException if the library has no such symbol
     */
    public static MethodHandle handle(final SymbolLookup library, final String symbol,
            final FunctionDescriptor descriptor, final Linker.Option... options) {
        return LINKER.downcallHandle(
                library.find(symbol).orElseThrow(() -> new UnavailableException(
                        "the native library has no function " + symbol, directory().toString(),
                        "build library and jar from the same commit")),
                descriptor, options);
    }

    /**
     * A Java method as C functions can call it; it must throw nothing.
     *
     * @param arena how long it can be called
     */
    public static MemorySegment callee(
            final MethodHandle method, final FunctionDescriptor descriptor, final Arena arena) {
        return LINKER.upcallStub(method, descriptor, arena);
    }

    /** What a downcall threw although C functions throw nothing: rethrows errors of the VM, wraps the rest. */
    public static RuntimeException unexpected(final String symbol, final Throwable thrown) {
        if (thrown instanceof final Error error) {
            throw error;
        }
        if (thrown instanceof final RuntimeException exception) {
            return exception;
        }
        return new InternalException("native call failed", symbol, "report this with its cause", thrown);
    }

    private static Path path(final String text, final String source) {
        try {
            return Path.of(text).toAbsolutePath();
        } catch (final InvalidPathException e) {
            throw new UnavailableException("not a path: " + text, source, "name the directory of the libraries", e);
        }
    }
}
