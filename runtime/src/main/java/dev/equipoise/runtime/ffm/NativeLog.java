package dev.equipoise.runtime.ffm;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.equipoise.kernels.ffm.NativeLibraries;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Hands the waiting log lines of llama.cpp, ggml and libmtmd to the {@link System.Logger} {@code dev.equipoise.native}.
 *
 * <p>Lines are fetched after calls rather than pushed by upcalls: a native thread that logs while the JVM shuts down
 * would have nowhere to go.
 */
final class NativeLog {
    private static final System.Logger LOGGER = System.getLogger("dev.equipoise.native");
    private static final int LINE_BYTES = 4096;

    private NativeLog() {}

    static void drain() {
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment line = arena.allocate(JAVA_BYTE, LINE_BYTES);
            for (int level = next(line); level != 0; level = next(line)) {
                final System.Logger.Level to = switch (level) {
                    case 4 -> System.Logger.Level.ERROR;
                    case 3 -> System.Logger.Level.WARNING;
                    // llama.cpp tells the life story of every model at info level.
                    default -> System.Logger.Level.DEBUG;
                };
                if (LOGGER.isLoggable(to)) {
                    LOGGER.log(to, line.getString(0));
                }
            }
        }
    }

    private static int next(final MemorySegment line) {
        try {
            return (int) Host.eq_log_next$MH.invokeExact(line, LINE_BYTES);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_log_next", e);
        }
    }
}
