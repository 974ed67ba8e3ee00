package dev.equipoise.bench.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.NextLogits;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class EngineStepBenchmarkTest {
    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void everyStepIsATokenAndTheFirstIsTheBestOfItsRow(final int branches) {
        final EngineStepBenchmark benchmark = new EngineStepBenchmark(branches);
        benchmark.open();
        try {
            final Generation first = benchmark.generation();
            int steps = 0;
            while (!first.isDone()) {
                benchmark.step();
                steps++;
            }
            assertEquals(EngineStepBenchmark.TOKENS, steps, "the answer does not end early");
            assertEquals(EngineStepBenchmark.TOKENS, first.answer().tokens().size());
            benchmark.step();
            assertNotSame(first, benchmark.generation(), "the next request has begun");
            assertFalse(benchmark.generation().isDone());

            final EngineOptions options =
                    EngineOptions.defaults().withContext(256).withMaxBranches(branches).withThreads(1);
            try (Engine engine = Engine.open(benchmark.model(), options)) {
                final NextLogits row = engine.logits(EngineStepBenchmark.request(branches));
                assertEquals(best(row.logits()), first.answer().tokens().getFirst());
            }
        } finally {
            benchmark.close();
        }
    }

    private static int best(final float[] row) {
        int best = 0;
        for (int y = 1; y < row.length; y++) {
            best = row[y] > row[best] ? y : best;
        }
        assertTrue(Float.isFinite(row[best]));
        return best;
    }
}
