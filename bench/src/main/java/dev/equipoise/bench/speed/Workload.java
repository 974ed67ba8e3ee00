package dev.equipoise.bench.speed;

import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.TokenListener;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Requests that run together in an engine of their own.
 *
 * @param name what they are
 * @param requests at least one; each may generate as many tokens, one more than are timed
 * @param rows sequences that a step advances while every request is under way
 * @param options room for all of them
 */
record Workload(String name, List<Request> requests, int rows, EngineOptions options) {
    private static final double NANOS_PER_MILLI = 1e6;

    Workload {
        requests = List.copyOf(requests);
    }

    /**
     * What came of them.
     *
     * @param firstMillis from before the first was submitted to the first token of the last
     * @param millisPerToken time per token of each request, from then for as long as all are under way
     * @param tokens of each request in that time
     */
    record Sample(double firstMillis, double millisPerToken, int tokens) {}

    /** Runs them once. */
    Sample time(final Model model) {
        final int[] heard = new int[requests.size()];
        try (Engine engine = Engine.open(model, options)) {
            final List<Generation> all = new ArrayList<>();
            final long arrival = System.nanoTime();
            for (int r = 0; r < heard.length; r++) {
                final int number = r;
                all.add(engine.submit(requests.get(r), TokenListener.ids(id -> heard[number]++)));
            }
            while (all.stream().noneMatch(Generation::isDone) && Arrays.stream(heard).min().getAsInt() == 0) {
                engine.step();
            }
            final long first = System.nanoTime();
            final int before = Arrays.stream(heard).sum();
            while (all.stream().noneMatch(Generation::isDone)) {
                engine.step();
            }
            final long last = System.nanoTime();
            // Prompts of different lengths leave requests a token or two apart; each step advances all of them.
            final int tokens = (Arrays.stream(heard).sum() - before) / heard.length;
            return new Sample(
                    (first - arrival) / NANOS_PER_MILLI, (last - first) / NANOS_PER_MILLI / tokens, tokens);
        }
    }
}
