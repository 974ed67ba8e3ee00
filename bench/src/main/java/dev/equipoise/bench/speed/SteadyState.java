package dev.equipoise.bench.speed;

import dev.equipoise.bench.synth.SmallModel;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.CoefficientSchedule;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import java.lang.management.CompilationMXBean;
import java.lang.management.ManagementFactory;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;

/**
 * Brings this JVM to where a server's is after its first minutes: the code of a step compiled, the compilers at rest.
 *
 * <p>A step's Java is worth microseconds, but its compilers take a core for half a second of the first few thousand
 * steps. Where every core belongs to a thread of llama.cpp, all others wait at the next barrier for the one that was
 * put aside: on 2 cores that made steps of 8 ms three per cent slower in a measurement of some seconds.
 */
final class SteadyState {
    // Twice the 5,000 calls after which HotSpot's second compiler takes a method.
    private static final int STEPS = 10_000;
    private static final int REQUEST_TOKENS = 400;
    private static final long REST_MILLIS = 100;
    private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(5);

    private static final AtomicBoolean REACHED = new AtomicBoolean();

    private SteadyState() {}

    /** Steps a small model, alone and with two branches, until its code is compiled; takes some seconds, once. */
    static void reach(final Settings settings) {
        if (REACHED.getAndSet(true)) {
            return;
        }
        try (SmallModel small = SmallModel.write();
                Model model = Model.load(small.file(), settings.loading(Optional.empty(), false));
                Engine engine = Engine.open(model, settings.engine(2 * REQUEST_TOKENS + settings.promptTokens(), 2))) {
            final BenchPrompts prompts = BenchPrompts.of(model, settings.promptTokens(), settings.seed());
            final Combination contrast = new Combination(CoefficientSchedule.fixed(2, -1), false, 0.1);
            int steps = 0;
            for (int ending = 0; steps < STEPS; ending += 2) {
                final Branch base = new Branch("base", prompts.words(ending));
                final Branch other = new Branch("other", prompts.words(ending + 1));
                steps += run(engine, List.of(base), Optional.empty());
                steps += run(engine, List.of(base, other), Optional.of(contrast));
            }
        }
        awaitCompilers();
    }

    // A random model ends some answers at once: the first token counts too, so that this comes to an end.
    private static int run(
            final Engine engine, final List<Branch> branches, final Optional<Combination> combination) {
        final Limits limits = new Limits(REQUEST_TOKENS, List.of());
        final StrategyLabel label = new StrategyLabel("warm-up", "warm-up");
        final Request request = new Request(branches, combination, Sampling.greedy(), limits, 0, label);
        return 1 + StepTimer.time(engine, request).stepNanos().length;
    }

    /** Waits until nothing was compiled for a tenth of a second, but no longer than some seconds. */
    static void awaitCompilers() {
        final CompilationMXBean compilers = ManagementFactory.getCompilationMXBean();
        if (compilers == null || !compilers.isCompilationTimeMonitoringSupported()) {
            return; // an interpreter
        }
        final long began = System.nanoTime();
        long before = -1;
        for (long now = compilers.getTotalCompilationTime();
                now != before && System.nanoTime() - began < PATIENCE_NANOS;
                now = compilers.getTotalCompilationTime()) {
            before = now;
            LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(REST_MILLIS));
        }
    }
}
