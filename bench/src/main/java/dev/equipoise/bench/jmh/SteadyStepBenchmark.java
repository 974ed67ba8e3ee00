package dev.equipoise.bench.jmh;

import dev.equipoise.bench.synth.SmallModel;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.CoefficientSchedule;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.ModelOptions;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.runtime.TokenListener;
import java.util.List;
import java.util.Optional;
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
 * {@value #STEPS} steps of one request that never ends, whose tokens are heard as numbers. With {@code -prof gc} the
 * bytes of heap, on all threads, of an invocation in which no request begins. What is left, some 7 kB an invocation, is
 * the harness's own: runtime's AllocationTest counts the stepping thread alone and finds none. The last invocation also
 * has the end of the benchmark in it, where the answer is made. Time grows from batch to batch, since the answer does.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = SteadyStepBenchmark.WARM_UPS)
@Measurement(iterations = SteadyStepBenchmark.BATCHES)
@Fork(1)
public class SteadyStepBenchmark {
    /** Steps of an invocation. */
    static final int STEPS = 500;

    static final int WARM_UPS = 6;
    static final int BATCHES = 6;

    // Two branches, and room to spare for a prompt of a few tokens.
    private static final int CELLS = 2 * (WARM_UPS + BATCHES + 1) * STEPS;

    /** Plain, a contrast of two branches, or that contrast behind a gate that opens on every third token. */
    @Param({"plain", "contrast", "gate"})
    private String strategy;

    private SmallModel file;
    private Model model;
    private Engine engine;
    private Generation generation;
    private long heard;

    /** For JMH, which sets the parameter. */
    public SteadyStepBenchmark() {
        this("plain");
    }

    SteadyStepBenchmark(final String strategy) {
        this.strategy = strategy;
    }

    /** Opens the engine in the thread that is going to step it. */
    @Setup
    public void open() {
        file = SmallModel.write();
        model = Model.load(file.file(), new ModelOptions(Optional.empty(), 0, 1, false));
        engine = Engine.open(
                model, EngineOptions.defaults().withContext(CELLS).withMaxBranches(2).withThreads(1));
        generation = engine.submit(request(strategy), TokenListener.ids(token -> heard++));
    }

    private static Request request(final String strategy) {
        final Branch base = new Branch("base", Prompt.builder().text(" ab ac ad ae").build());
        final Branch other = new Branch("other", Prompt.builder().text(" ab ac ad af").build());
        final boolean plain = strategy.equals("plain");
        final Request request = new Request(
                plain ? List.of(base) : List.of(base, other),
                plain ? Optional.empty() : Optional.of(new Combination(CoefficientSchedule.fixed(2, -1), false, 0.1)),
                Sampling.greedy(),
                new Limits((WARM_UPS + BATCHES) * STEPS + 1, List.of()),
                0,
                new StrategyLabel(strategy, strategy));
        return strategy.equals("gate") ? request.withGate(new Gate.Disagreement(3)) : request;
    }

    /** Closes what was opened. */
    @TearDown
    public void close() {
        engine.close();
        model.close();
        file.close();
    }

    /** As many tokens. */
    @Benchmark
    public long steps() {
        for (int i = 0; i < STEPS; i++) {
            engine.step();
        }
        return heard;
    }

    /** The request that is running. */
    Generation generation() {
        return generation;
    }
}
