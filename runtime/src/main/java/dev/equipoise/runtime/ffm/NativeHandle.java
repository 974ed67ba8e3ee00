package dev.equipoise.runtime.ffm;

import dev.equipoise.kernels.error.LifetimeException;
import java.lang.foreign.MemorySegment;

/**
 * One owner of one native object. Closing is idempotent and waits for a call in progress; use after that is a
 * {@link LifetimeException}, never a crash.
 */
abstract class NativeHandle implements AutoCloseable {
    private final String name;
    private MemorySegment address;

    NativeHandle(final String name, final MemorySegment address) {
        this.name = name;
        this.address = address;
    }

    /** The pointer, for use while holding this object's lock. */
    final MemorySegment address() {
        if (address == null) {
            throw new LifetimeException("used after close", name, "keep it open for as long as it is needed");
        }
        return address;
    }

    /** What to call it in errors. */
    final String name() {
        return name;
    }

    /** Gives the native object back. */
    abstract void free(MemorySegment pointer);

    @Override
    public final synchronized void close() {
        if (address != null) {
            final MemorySegment pointer = address;
            address = null;
            free(pointer);
        }
    }
}
