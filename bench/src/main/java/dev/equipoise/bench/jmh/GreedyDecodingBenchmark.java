package dev.equipoise.bench.jmh;

import dev.equipoise.bench.synth.SmallModel;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Greedy decoding through FFM (this project) and through JNI (java-llama.cpp) from one GGUF file: tokens per second,
 * the prompt of a few tokens included. {@code -p model=FILE.gguf} measures another model than the small one.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
// java-llama.cpp leaves a thread behind that keeps the JVM alive: JMH ends it, but by default after half a minute.
@Fork(value = 3, jvmArgsAppend = "-Djmh.shutdownTimeout=1")
public class GreedyDecodingBenchmark {
    /** Tokens of one answer. */
    static final int TOKENS = 128;

    private static final String SMALL = "small";
    private static final String PROMPT = " ab ac ad ae";

    /** Which binding. */
    @Param({"equipoise", "java-llama.cpp"})
    private String binding;

    /** A GGUF file, or the small random model. */
    @Param(SMALL)
    private String model;

    /** CPU threads. */
    @Param("1")
    private int threads;

    private SmallModel file;
    private GreedyPeer peer;

    /** For JMH, which sets the parameters. */
    public GreedyDecodingBenchmark() {
        this("equipoise");
    }

    GreedyDecodingBenchmark(final String binding) {
        this.binding = binding;
        this.model = SMALL;
        this.threads = 1;
    }

    /** Opens the binding in the thread that is going to use it. */
    @Setup
    public void open() {
        file = model.equals(SMALL) ? SmallModel.write() : null;
        peer = GreedyPeer.open(binding, file == null ? Path.of(model) : file.file(), threads);
    }

    /** Closes what was opened. */
    @TearDown
    public void close() {
        peer.close();
        if (file != null) {
            file.close();
        }
    }

    /** One answer. */
    @Benchmark
    @OperationsPerInvocation(TOKENS)
    public String decode() {
        return peer.decode(PROMPT, TOKENS);
    }
}
