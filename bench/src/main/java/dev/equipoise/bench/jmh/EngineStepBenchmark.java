package dev.equipoise.bench.jmh;

import dev.equipoise.bench.synth.SmallModel;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.CoefficientSchedule;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.ModelOptions;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
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
 * One step of the engine on a small model, on one thread: microseconds a token. With {@code -prof gc} also bytes of
 * heap a token; every {@value #TOKENS} steps a request ends and the next begins, whose prompt of a few tokens and
 * whose objects are part of the figure.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(3)
public class EngineStepBenchmark {
    /** Tokens of a request. */
    static final int TOKENS = 128;

    private static final int CELLS = 512;

    /** Branches that a step advances; two are contrasted. */
    @Param({"1", "2"})
    private int branches;

    private SmallModel file;
    private Model model;
    private Engine engine;
    private Request request;
    private Generation generation;

    /** For JMH, which sets the parameters. */
    public EngineStepBenchmark() {
        this(1);
    }

    EngineStepBenchmark(final int branches) {
        this.branches = branches;
    }

    /** Opens the engine in the thread that is going to step it. */
    @Setup
    public void open() {
        file = SmallModel.write();
        model = Model.load(file.file(), new ModelOptions(Optional.empty(), 0, 1, false));
        engine = Engine.open(
                model,
                EngineOptions.defaults().withContext(CELLS).withMaxBranches(branches).withThreads(1));
        request = request(branches);
        generation = engine.submit(request);
    }

    /** A request of one branch, or of the contrast of two that differ in a word. */
    static Request request(final int branches) {
        final Branch base = new Branch("base", Prompt.builder().text(" ab ac ad ae").build());
        final Branch other = new Branch("other", Prompt.builder().text(" ab ac ad af").build());
        final Combination contrast = new Combination(CoefficientSchedule.fixed(2, -1), false, 0.1);
        return new Request(
                branches == 1 ? List.of(base) : List.of(base, other),
                branches == 1 ? Optional.empty() : Optional.of(contrast),
                Sampling.greedy(),
                new Limits(TOKENS, List.of()),
                0,
                new StrategyLabel("step", "step"));
    }

    /** Closes what was opened. */
    @TearDown
    public void close() {
        engine.close();
        model.close();
        file.close();
    }

    /** One token. */
    @Benchmark
    public boolean step() {
        if (generation.isDone()) {
            generation = engine.submit(request);
        }
        return engine.step();
    }

    /** The request that is running or has just ended. */
    Generation generation() {
        return generation;
    }

    /** The model that runs. */
    Model model() {
        return model;
    }
}
