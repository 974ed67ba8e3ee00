package dev.equipoise.bench.speed;

import dev.equipoise.runtime.NativeInfo;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Where and when something was measured.
 *
 * @param cpu model name of the first core
 * @param cores cores that this process may use
 * @param memoryBytes of the machine, 0 where that is not known
 * @param os name and version
 * @param jdk version of the JVM
 * @param gpus names of the GPUs that the native library sees
 * @param load runnable processes on average over the last minute, -1 where that is not known; before the measurement it
 *     should be about 0
 */
public record Machine(
        String cpu, int cores, long memoryBytes, String os, String jdk, List<String> gpus, double load) {
    private static final Path CPU = Path.of("/proc/cpuinfo");
    private static final Path MEMORY = Path.of("/proc/meminfo");
    private static final Path LOAD = Path.of("/proc/loadavg");

    public Machine {
        gpus = List.copyOf(gpus);
    }

    /** This machine now. */
    public static Machine read() {
        final String memory = value(lines(MEMORY), "MemTotal").replace(" kB", "");
        final String cpu = value(lines(CPU), "model name");
        return new Machine(
                cpu.isEmpty() ? System.getProperty("os.arch") : cpu,
                Runtime.getRuntime().availableProcessors(),
                memory.isEmpty() ? 0 : Long.parseLong(memory) * 1024,
                System.getProperty("os.name") + " " + System.getProperty("os.version"),
                Runtime.version().toString(),
                NativeInfo.read().gpus(),
                load(lines(LOAD)));
    }

    /** What follows the first {@code key:} of a table as Linux writes it; empty if there is none. */
    static String value(final List<String> lines, final String key) {
        return lines.stream()
                .filter(line -> line.startsWith(key))
                .map(line -> line.substring(line.indexOf(':') + 1).strip())
                .findFirst()
                .orElse("");
    }

    private static double load(final List<String> lines) {
        return lines.isEmpty() ? -1 : Double.parseDouble(lines.getFirst().split(" ")[0]);
    }

    private static List<String> lines(final Path file) {
        try {
            return Files.readAllLines(file);
        } catch (final IOException e) {
            return List.of(); // not Linux
        }
    }
}
