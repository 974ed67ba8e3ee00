package dev.equipoise.runtime.serving;

import static dev.equipoise.runtime.serving.ServiceRequests.OPTIONS;
import static dev.equipoise.runtime.serving.ServiceRequests.contrast;
import static dev.equipoise.runtime.serving.ServiceRequests.plain;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.FinishReason;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.Observation;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.runtime.Timings;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Procedures on a service: what they read, in whose turn, and how they end. */
@Timeout(120)
class ProcedureTest {
    private static final Answer NOTHING = new Answer(
            "",
            List.of(),
            FinishReason.CANCELLED,
            new Timings(0, 0, 0),
            StrategyLabel.PLAIN,
            List.of(),
            List.of());

    private static final Procedure<List<Answer>> TWICE = steps -> {
        final Answer first = steps.answer(plain("a question", 6));
        return List.of(first, steps.stream(plain("again" + first.tokens(), 8)));
    };

    @TempDir
    static Path directory;

    private static Path file;

    @BeforeAll
    static void writeModel() {
        file = TinyModels.llama(directory.resolve("tiny.gguf"), 7);
    }

    private static Model load() {
        return Model.load(file, Placement.options());
    }

    @Test
    void aProcedureIsItsRequestsOneAfterAnother() throws InterruptedException {
        Placement.requireCpu("the number of columns chooses the kernels there, and near ties other tokens");
        try (Model model = load();
                EngineService service = EngineService.open(model, OPTIONS, ServiceOptions.defaults())) {
            final List<Answer> alone;
            final List<Integer> heard = new ArrayList<>();
            try (Engine engine = Engine.open(model, OPTIONS)) {
                alone = TWICE.run(Steps.on(engine, TokenListener.ids(heard::add)));
            }
            final List<Ticket<List<Answer>>> tickets = new ArrayList<>();
            for (int i = 0; i < 5; i++) {
                tickets.add(service.submit(TWICE, List.of()));
            }
            for (final Ticket<List<Answer>> ticket : tickets) {
                final List<Integer> streamed = new ArrayList<>();
                for (Optional<StreamedToken> token = ticket.next(); token.isPresent(); token = ticket.next()) {
                    if (token.get().id() != StreamedToken.REST) {
                        streamed.add(token.get().id());
                    }
                }
                assertEquals(heard, streamed);
                for (int i = 0; i < 2; i++) {
                    assertEquals(alone.get(i).tokens(), ticket.await().get(i).tokens());
                }
            }
            assertEquals(new EngineService.Load(0, 0), service.load());
        }
    }

    @Test
    void whatAProcedureReadsIsWhatAnEngineReads() throws InterruptedException {
        final Branch branch = new Branch("look", Prompt.builder().text("look at this").build(), List.of(
                new Intervention.ReadStates("states", Intervention.Place.LAYER, new TreeSet<>(Set.of(1)), Scope.all()),
                new Intervention.ReadAttention("attention", new TreeSet<>(Set.of(0)), Scope.all())));
        final Procedure<List<float[]>> reading = steps -> {
            final Observation seen = steps.observe(branch);
            return List.of(
                    steps.logits(contrast("left", "right", 1000)).logits(),
                    seen.states().getFirst().getFirst(),
                    seen.rows().getFirst().getFirst());
        };
        try (Model model = load();
                EngineService service = EngineService.open(model, OPTIONS, ServiceOptions.defaults())) {
            final List<float[]> alone;
            try (Engine engine = Engine.open(model, OPTIONS)) {
                alone = reading.run(Steps.on(engine, TokenListener.NONE));
            }
            final Ticket<Answer> beside = service.submit(plain("beside it", 40));
            final List<float[]> found = service.submit(reading, List.<float[]>of()).await();
            for (int i = 0; i < alone.size(); i++) {
                final float[] expected = alone.get(i);
                final double[] exact = new double[expected.length];
                for (int y = 0; y < exact.length; y++) {
                    // What the cut-off took is as far away here as there.
                    exact[y] = Double.isInfinite(expected[y]) ? 0 : expected[y];
                    assertEquals(Double.isInfinite(expected[y]), Double.isInfinite(found.get(i)[y]));
                    found.get(i)[y] = Double.isInfinite(expected[y]) ? 0 : found.get(i)[y];
                }
                // Rows of weight three in all, and either side may be off by a row's tolerance.
                final double off = Tolerance.largestDifference(exact, found.get(i));
                final double tolerance = 2 * 3 * Tolerance.f32(exact);
                assertTrue(off <= tolerance, off + " > " + tolerance);
            }
            assertEquals(40, beside.await().tokens().size());
        }
    }

    @Test
    void aCancelledProcedureEndsInTheMiddle() throws InterruptedException {
        final List<Answer> nothing = List.of();
        try (Model model = load();
                EngineService service = EngineService.open(
                        model,
                        OPTIONS.withMaxBranches(1),
                        ServiceOptions.defaults().withStreamTokens(1))) {
            final Ticket<Answer> holds = service.submit(plain("holds the branch", 50));
            holds.next();
            final Ticket<List<Answer>> waits = service.submit(TWICE, nothing);
            waits.cancel();
            assertSame(nothing, waits.await());
            final Ticket<List<Answer>> between = service.submit(
                    steps -> List.of(steps.answer(plain("long", 400)), steps.answer(plain("never", 1))), nothing);
            holds.cancel();
            holds.await();
            while (service.load().running() == 0) {
                Thread.onSpinWait();
            }
            between.cancel();
            assertSame(nothing, between.await());
            final Ticket<List<Answer>> streams = service.submit(TWICE, nothing);
            streams.next();
            streams.cancel();
            assertEquals(FinishReason.CANCELLED, streams.await().getLast().finish());
            assertEquals(3, service.submit(plain("next", 3)).await().tokens().size());
            assertEquals(new EngineService.Load(0, 0), service.load());
        }
    }

    @Test
    void aProcedureFailsWithItsStep() throws InterruptedException {
        try (Model model = load()) {
            final EngineService service =
                    EngineService.open(model, OPTIONS.withContext(256), ServiceOptions.defaults().withWaiting(1));
            final Ticket<Answer> large =
                    service.submit(steps -> steps.answer(contrast("ab", "ac", 200)), NOTHING);
            final BadInputException refused = assertThrows(BadInputException.class, large::await);
            assertTrue(refused.getMessage().contains("200 tokens on 2 branches, 256 there"), refused::getMessage);
            final Ticket<String> wrong = service.submit(
                    steps -> {
                        throw new IllegalStateException("a mistake");
                    },
                    "");
            assertThrows(InternalException.class, wrong::await);
            final CountDownLatch closing = new CountDownLatch(1);
            final Ticket<String> between = service.submit(
                    steps -> {
                        awaitUninterruptibly(closing);
                        return steps.answer(plain("too late", 3)).text();
                    },
                    "cancelled");
            final UnavailableException full =
                    assertThrows(UnavailableException.class, () -> service.submit(steps -> "", ""));
            assertTrue(full.getMessage().contains("1 of 1 wait"), full::getMessage);
            closing.countDown();
            service.close();
            assertTrue(between.isDone());
        }
    }

    private static void awaitUninterruptibly(final CountDownLatch latch) {
        try {
            latch.await();
        } catch (final InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
