package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.sun.management.ThreadMXBean;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a step leaves on the Java heap: nothing. */
class AllocationTest {
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    private static final int STEPS = 500;
    // When the compiler gets to the last of the bindings is its own affair, and interpreted they leave a few objects.
    private static final int MOST_WINDOWS = 14;
    private static final EngineOptions OPTIONS =
            EngineOptions.defaults().withContext(65_536).withThreads(1);

    @TempDir
    static Path directory;

    private static Path file;

    @BeforeAll
    static void writeModel() {
        file = TinyModels.llama(directory.resolve("tiny.gguf"), 7, 1, 32, 2, 1, 32, 512);
    }

    private static Branch branch(final String text) {
        return new Branch(text, Prompt.builder().text(text).build());
    }

    private static Request request(final Optional<Combination> combination, final Branch... branches) {
        return new Request(
                List.of(branches),
                combination,
                Sampling.greedy(),
                new Limits(MOST_WINDOWS * STEPS + 1, List.of()),
                0,
                StrategyLabel.PLAIN);
    }

    private static Request contrast() {
        return request(
                Optional.of(new Combination(CoefficientSchedule.fixed(2, -1), false, 0.1)),
                branch("what is it"),
                branch("what is this"));
    }

    private static void assertNothingStays(final TokenListener listener, final Request... requests) {
        assertNothingStays(OPTIONS.withDrawIn(DrawIn.HOST), listener, requests);
    }

    private static void assertNothingStays(
            final EngineOptions options, final TokenListener listener, final Request... requests) {
        try (Model model = Model.load(file, Placement.options());
                Engine engine = Engine.open(model, options)) {
            for (final Request request : requests) {
                engine.submit(request, listener);
            }
            long bytes = -1;
            long bytesBefore = -1;
            for (int window = 0; window < MOST_WINDOWS && !(bytes == 0 && bytesBefore == 0); window++) {
                bytesBefore = bytes;
                final long start = THREADS.getCurrentThreadAllocatedBytes();
                for (int i = 0; i < STEPS; i++) {
                    engine.step();
                }
                bytes = THREADS.getCurrentThreadAllocatedBytes() - start;
            }
            assertEquals(requests.length, options.maxBranches() - engine.room().freeBranches() - extra(requests));
            assertEquals(0, bytes, "bytes in " + STEPS + " steps");
            assertEquals(0, bytesBefore, "bytes in the " + STEPS + " steps before");
        }
    }

    private static int extra(final Request... requests) {
        int extra = 0;
        for (final Request request : requests) {
            extra += request.branches().size() - 1;
        }
        return extra;
    }

    @Test
    void theMeterSeesAnObject() {
        final long before = THREADS.getCurrentThreadAllocatedBytes();
        final byte[] made = new byte[1000];
        assertFalse(THREADS.getCurrentThreadAllocatedBytes() - before < made.length);
    }

    @Test
    void aPlainStep() {
        assertNothingStays(TokenListener.NONE, request(Optional.empty(), branch("what")));
    }

    @Test
    void aContrastWithAListenerOfIds() {
        final long[] sum = new long[1];
        assertNothingStays(TokenListener.ids(token -> sum[0] += token), contrast());
    }

    @Test
    void stepsThatBringIdsAlone() {
        assertNothingStays(
                OPTIONS.withDrawIn(DrawIn.GRAPH),
                TokenListener.NONE,
                contrast(),
                request(Optional.empty(), branch("what")));
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 1000})
    void gatesThatOpenAndShut(final int patience) {
        assertNothingStays(
                OPTIONS.withGatePatience(patience),
                TokenListener.NONE,
                contrast().withGate(new Gate.Entropy(-1)),
                contrast().withGate(new Gate.Disagreement(3)),
                request(Optional.empty(), branch("what")));
    }
}
