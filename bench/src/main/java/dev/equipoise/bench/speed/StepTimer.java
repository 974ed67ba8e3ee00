package dev.equipoise.bench.speed;

import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.TokenListener;
import java.util.Arrays;

/** Times a request token by token, by the monotonic clock. */
final class StepTimer {
    private static final double NANOS_PER_MILLI = 1e6;

    private StepTimer() {}

    /**
     * One request.
     *
     * @param firstNanos from before tokenisation to the first token
     * @param stepNanos until every later token, of all branches: one step, or several where branches read their prompts
     *     between two tokens; short if the model ended its answer
     */
    record Sample(long firstNanos, long[] stepNanos) {
        /** Nanoseconds of all later steps. */
        long totalNanos() {
            return Arrays.stream(stepNanos).sum();
        }
    }

    /** Runs a request that no other shares the engine with, to its end. */
    static Sample time(final Engine engine, final Request request) {
        if (request.search().isPresent()) {
            return searched(engine, request);
        }
        final long[] nanos = new long[request.limits().maxTokens()];
        final int[] tokens = new int[1];
        final long arrival = System.nanoTime();
        final Generation generation = engine.submit(request, TokenListener.ids(token -> tokens[0]++));
        long last = toNext(engine, generation, tokens);
        final long first = last - arrival;
        int steps = 0;
        while (!generation.isDone()) {
            final long now = toNext(engine, generation, tokens);
            nanos[steps++] = now - last;
            last = now;
        }
        return new Sample(first, Arrays.copyOf(nanos, steps));
    }

    // All its tokens come at the end: each later one has its share of the search's time.
    private static Sample searched(final Engine engine, final Request request) {
        final Answer answer = engine.run(request);
        final long[] nanos = new long[Math.max(0, answer.tokens().size() - 1)];
        Arrays.fill(nanos, (long) (answer.timings().decodeMillis() * NANOS_PER_MILLI / Math.max(1, nanos.length)));
        return new Sample((long) (answer.timings().ttftMillis() * NANOS_PER_MILLI), nanos);
    }

    // Steps until there is one more token, or the answer has ended; returns when that was.
    private static long toNext(final Engine engine, final Generation generation, final int[] tokens) {
        final int before = tokens[0];
        do {
            engine.step();
        } while (!generation.isDone() && tokens[0] == before);
        return System.nanoTime();
    }
}
