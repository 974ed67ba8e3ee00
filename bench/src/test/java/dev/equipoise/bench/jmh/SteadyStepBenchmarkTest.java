package dev.equipoise.bench.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SteadyStepBenchmarkTest {
    @ParameterizedTest
    @ValueSource(strings = {"plain", "contrast", "gate"})
    void everyStepIsATokenAndNoRequestEnds(final String strategy) {
        final SteadyStepBenchmark benchmark = new SteadyStepBenchmark(strategy);
        benchmark.open();
        try {
            assertEquals(SteadyStepBenchmark.STEPS, benchmark.steps());
            assertEquals(2 * SteadyStepBenchmark.STEPS, benchmark.steps());
            assertFalse(benchmark.generation().isDone());
        } finally {
            benchmark.close();
        }
    }
}
