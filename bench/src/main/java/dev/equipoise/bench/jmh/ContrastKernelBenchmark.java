package dev.equipoise.bench.jmh;

import dev.equipoise.kernels.BranchSum;
import dev.equipoise.kernels.Combined;
import dev.equipoise.kernels.ContrastKernels;
import dev.equipoise.kernels.Kernels;
import dev.equipoise.kernels.LogitRows;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
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
import org.openjdk.jmh.annotations.Warmup;

/**
 * One combination of branches through the door for Java callers, on one thread: microseconds a call. A vocabulary of 32
 * leaves little but the call itself, so its native figure is the price of the boundary.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(3)
public class ContrastKernelBenchmark {
    private static final long SEED = 1;
    private static final float DEVIATION = 3;
    private static final float PLAUSIBILITY = 0.1f;

    /** The plain Java reference, or the code that also runs in the compute graph. */
    @Param({"scalar", "native"})
    private String provider;

    /** Tokens a row: those of the real shapes, and hardly any. */
    @Param({"32", "32000", "151936"})
    private int vocabulary;

    /** Rows that are combined. */
    @Param({"2", "4"})
    private int branches;

    private ContrastKernels kernels;
    private LogitRows rows;
    private BranchSum sum;
    private float[] out;

    /** For JMH, which sets the parameters. */
    public ContrastKernelBenchmark() {
        this("scalar", 32, 2);
    }

    ContrastKernelBenchmark(final String provider, final int vocabulary, final int branches) {
        this.provider = provider;
        this.vocabulary = vocabulary;
        this.branches = branches;
    }

    /** Rows of normal logits, coefficients that add up to 1 as those of a contrast do. */
    @Setup
    public void prepare() {
        kernels = provider.equals("native") ? Kernels.nativeCpu() : Kernels.scalar();
        rows = rows(vocabulary, branches);
        sum = sum(branches);
        out = new float[vocabulary];
    }

    /** Normal logits. */
    static LogitRows rows(final int vocabulary, final int branches) {
        final Random random = new Random(SEED);
        final float[] values = new float[branches * vocabulary];
        for (int i = 0; i < values.length; i++) {
            values[i] = DEVIATION * (float) random.nextGaussian();
        }
        return new LogitRows(values, vocabulary, vocabulary);
    }

    /** All rows, the first one weighted so that the coefficients add up to 1. */
    static BranchSum sum(final int branches) {
        final float[] coefficients = new float[branches];
        coefficients[0] = branches;
        for (int b = 1; b < branches; b++) {
            coefficients[b] = -1;
        }
        return new BranchSum(IntStream.range(0, branches).toArray(), coefficients, false, PLAUSIBILITY);
    }

    /** The whole call: statistics of the rows, cut-off, weighted sum. */
    @Benchmark
    public Combined combine() {
        return kernels.combine(rows, sum, out);
    }

    /** What the last call wrote. */
    float[] result() {
        return out.clone();
    }
}
