package dev.equipoise.bench.cli;

import dev.equipoise.kernels.CudaDevice;
import dev.equipoise.kernels.Kernels;
import dev.equipoise.kernels.cuda.DeviceDescription;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.runtime.NativeInfo;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;

/** Says what this machine and this build have. */
@Command(name = "doctor", description = "JDK, native library, llama.cpp, CPU variant, kernels, CUDA devices.")
final class DoctorCommand extends CliCommand {
    private static final double GIBIBYTE = 1L << 30;

    @Override
    protected void run() {
        final NativeInfo info;
        try {
            info = NativeInfo.read();
        } catch (final UnavailableException | ExceptionInInitializerError e) {
            // What is known is told all the same; the exit code tells that it is not enough.
            print(null);
            throw e;
        }
        print(info);
    }

    private void print(final NativeInfo info) {
        if (json()) {
            document(info);
        } else {
            describe(info);
        }
    }

    private void document(final NativeInfo info) {
        final Kernels.Choice kernels = Kernels.choose();
        final CudaDevice cuda = CudaDevice.probe();
        JsonDocument.print(out(), json -> json.put("jdk", Runtime.version().toString())
                .put("equipoise", Version.current())
                .put("llama_cpp", info == null ? null : info.llamaVersion())
                .put("patch", info == null ? null : info.patch())
                .object("cpu", cpu -> cpu.put("variant", info == null ? null : info.cpuVariant())
                        .put("features", info == null ? null : info.cpuFeatures().strip())
                        .put("products", info == null ? null : info.products())
                        .put("threads", Runtime.getRuntime().availableProcessors()))
                .put("kernels", kernels.whyNotNative().isEmpty() ? "native" : "scalar")
                .put("kernels_description", kernels.kernels().description())
                .putPlain("gpus", info == null ? List.of() : info.gpus())
                .object("cuda", device -> device.put("available", cuda instanceof CudaDevice.Available)
                        .put("reason", cuda instanceof CudaDevice.Unavailable(String reason) ? reason : null)
                        .put("device", cuda instanceof CudaDevice.Available(String name) ? described(name) : null)));
    }

    private void describe(final NativeInfo info) {
        final Kernels.Choice kernels = Kernels.choose();
        final int threads = Runtime.getRuntime().availableProcessors();
        line("JDK", Runtime.version() + " (" + System.getProperty("java.vendor") + ")");
        line("Equipoise", Version.current());
        line("llama.cpp", info == null ? "missing" : info.llamaVersion() + ", patch " + info.patch());
        line("CPU", info == null
                ? threads + " threads"
                : info.cpuVariant() + " (" + info.cpuFeatures().strip() + "), " + threads + " threads");
        line("products",
                info == null ? "missing" : "of q4_0, q8_0, q4_K and q6_K weights on the CPU: " + info.products());
        line("kernels", kernels.kernels().description()
                + (kernels.whyNotNative().isEmpty() ? "" : ", because " + kernels.whyNotNative()));
        line("GPUs", info == null || info.gpus().isEmpty()
                ? "none that llama.cpp can use"
                : String.join("; ", info.gpus()));
        line("CUDA", switch (CudaDevice.probe()) {
            case CudaDevice.Available(String name) -> described(name);
            case CudaDevice.Unavailable(String reason) -> "unavailable because " + reason;
        });
    }

    // The kernels know a device by name; JCuda knows the rest, or why Java cannot own memory there.
    private static String described(final String name) {
        try {
            return DeviceDescription.all().stream()
                    .map(device -> String.format(
                            Locale.ROOT,
                            "%s (compute capability %s, %.1f GiB, driver for CUDA %s)",
                            device.name(),
                            device.computeCapability(),
                            device.memoryBytes() / GIBIBYTE,
                            device.driver()))
                    .collect(Collectors.joining("; "));
        } catch (final UnavailableException e) {
            return name + " (not from Java, " + e.where() + ")";
        }
    }

    private void line(final String what, final String value) {
        out().printf(Locale.ROOT, "%-10s %s%n", what, value);
    }
}
