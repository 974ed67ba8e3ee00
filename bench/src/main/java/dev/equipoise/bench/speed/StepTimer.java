package dev.equipoise.bench.speed;

import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.Request;
import java.util.Arrays;

/** Times a request step by step, by the monotonic clock. */
final class StepTimer {
    private StepTimer() {}

    /**
     * One request.
     *
     * @param firstNanos from before tokenisation to the first token
     * @param stepNanos every later step, each one token of all branches; short if the model ended its answer
     */
    record Sample(long firstNanos, long[] stepNanos) {
        /** Nanoseconds of all later steps. */
        long totalNanos() {
            return Arrays.stream(stepNanos).sum();
        }
    }

    /** Runs a request that no other shares the engine with, to its end. */
    static Sample time(final Engine engine, final Request request) {
        final long[] nanos = new long[request.limits().maxTokens()];
        final long arrival = System.nanoTime();
        final Generation generation = engine.submit(request);
        engine.step();
        long last = System.nanoTime();
        final long first = last - arrival;
        int steps = 0;
        while (!generation.isDone()) {
            engine.step();
            final long now = System.nanoTime();
            nanos[steps++] = now - last;
            last = now;
        }
        return new Sample(first, Arrays.copyOf(nanos, steps));
    }
}
