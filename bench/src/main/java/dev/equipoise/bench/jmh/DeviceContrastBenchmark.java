package dev.equipoise.bench.jmh;

import dev.equipoise.kernels.BranchSum;
import dev.equipoise.kernels.Combined;
import dev.equipoise.kernels.ContrastKernels;
import dev.equipoise.kernels.Kernels;
import dev.equipoise.kernels.LogitRows;
import dev.equipoise.kernels.cuda.DeviceContrast;
import dev.equipoise.kernels.cuda.DeviceRows;
import dev.equipoise.kernels.error.UnavailableException;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * The same combination with its rows in host memory, combined there or copied to a CUDA device for each call, and with
 * rows that live on the device: what the copies cost. Rows are those of {@link ContrastKernelBenchmark}. Without a
 * device the arms that need one end with the reason, and JMH goes on with the next.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(3)
public class DeviceContrastBenchmark {
    /** Where the rows are, and where they are combined. */
    @Param({"host", "copied", "device"})
    private String where;

    /** Tokens a row. */
    @Param({"32000", "151936"})
    private int vocabulary;

    /** Rows that are combined. */
    @Param({"2", "4"})
    private int branches;

    private LogitRows rows;
    private BranchSum sum;
    private float[] out;
    private ContrastKernels kernels;
    private DeviceRows deviceRows;
    private DeviceRows deviceOut;
    private DeviceContrast contrast;

    /** For JMH, which sets the parameters. */
    public DeviceContrastBenchmark() {
        this("host", 32000, 2);
    }

    DeviceContrastBenchmark(final String where, final int vocabulary, final int branches) {
        this.where = where;
        this.vocabulary = vocabulary;
        this.branches = branches;
    }

    /**
     * @throws UnavailableException if the arm needs a device and there is none
     */
    @Setup
    public void prepare() {
        rows = ContrastKernelBenchmark.rows(vocabulary, branches);
        sum = ContrastKernelBenchmark.sum(branches);
        out = new float[vocabulary];
        switch (where) {
            case "host" -> kernels = Kernels.nativeCpu();
            case "copied" -> kernels = Kernels.cuda();
            default -> {
                contrast = DeviceContrast.open(branches);
                deviceRows = DeviceRows.copyOf(rows);
                deviceOut = DeviceRows.allocate(1, vocabulary);
            }
        }
    }

    /** Frees what is on the device. */
    @TearDown
    public void free() {
        if (contrast != null) {
            deviceOut.close();
            deviceRows.close();
            contrast.close();
        }
    }

    /** The whole call; every arm waits until the combined row is there. */
    @Benchmark
    public Combined combine() {
        return kernels == null ? contrast.combine(deviceRows, sum, deviceOut, 0) : kernels.combine(rows, sum, out);
    }

    /** What the last call wrote. */
    float[] result() {
        if (kernels == null) {
            deviceOut.get(0, out);
        }
        return out.clone();
    }
}
