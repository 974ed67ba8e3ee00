package dev.equipoise.kernels.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * An arena whose every allocation ends where an inaccessible page begins: native code that reads or writes one byte too
 * far ends the JVM. Linux.
 */
final class GuardPages implements Arena {
    private static final long PAGE = 4096;
    private static final int PROT_NONE = 0;
    private static final int PROT_READ_WRITE = 3;
    private static final int MAP_PRIVATE_ANONYMOUS = 0x22;

    private static final Linker LINKER = Linker.nativeLinker();
    private static final MethodHandle mmap$MH = LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow("mmap"),
            FunctionDescriptor.of(ADDRESS, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
    private static final MethodHandle mprotect$MH = LINKER.downcallHandle(
            LINKER.defaultLookup().findOrThrow("mprotect"),
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT));
    private static final MethodHandle munmap$MH = LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow("munmap"),
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG));

    private final Arena arena = Arena.ofConfined();

    /** The alignment is the size's own: 4 bytes for floats. */
    @Override
    public MemorySegment allocate(final long bytes, final long alignment) {
        final long used = (bytes + PAGE - 1) / PAGE * PAGE;
        try {
            final MemorySegment pages = (MemorySegment) mmap$MH.invokeExact(
                    MemorySegment.NULL, used + PAGE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0L);
            final MemorySegment owned = pages.reinterpret(used + PAGE, arena, GuardPages::unmap);
            final int status = (int) mprotect$MH.invokeExact(owned.asSlice(used, PAGE), PAGE, PROT_NONE);
            if (status != 0) {
                throw new IllegalStateException("mprotect failed");
            }
            return owned.asSlice(used - bytes, bytes);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("mmap", e);
        }
    }

    private static void unmap(final MemorySegment pages) {
        try {
            final int ignored = (int) munmap$MH.invokeExact(pages, pages.byteSize());
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("munmap", e);
        }
    }

    @Override
    public MemorySegment.Scope scope() {
        return arena.scope();
    }

    @Override
    public void close() {
        arena.close();
    }
}
