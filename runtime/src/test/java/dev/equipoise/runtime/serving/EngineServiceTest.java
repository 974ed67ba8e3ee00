package dev.equipoise.runtime.serving;

import static dev.equipoise.runtime.serving.ServiceRequests.OPTIONS;
import static dev.equipoise.runtime.serving.ServiceRequests.contrast;
import static dev.equipoise.runtime.serving.ServiceRequests.plain;
import static dev.equipoise.runtime.serving.ServiceRequests.request;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.EquipoiseException;
import dev.equipoise.kernels.error.LifetimeException;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.CoefficientSchedule;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.FinishReason;
import dev.equipoise.runtime.FlashAttention;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.KvType;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.NativeInfo;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A service on a tiny random model: who gets in, who waits, what a reader sees, and what is left at the end. */
@Timeout(120)
class EngineServiceTest {
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

    private static Sampling seeded(final int seed) {
        return new Sampling(1.1, 40, 0.95, 0, 1.1, 32, seed, Optional.empty());
    }

    private static List<Request> mixed() {
        final List<Request> requests = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            requests.add(plain("a question, number " + i, 10 + i));
            requests.add(plain("the same question", seeded(i), 12));
            requests.add(contrast("with a note " + i + ", a question", "a question", 9));
            requests.add(contrast("with a note " + i + ", a question", "a question", 14)
                    .withGate(new Gate.Disagreement(3)));
        }
        return requests;
    }

    @Test
    void manyThreadsGetTheTokensThatTheyGetAlone() throws Exception {
        Placement.requireCpu("the number of columns chooses the kernels there, and near ties other tokens");
        try (Model model = load()) {
            final List<Request> requests = mixed();
            final List<List<Integer>> alone = new ArrayList<>();
            try (Engine engine = Engine.open(model, OPTIONS)) {
                requests.forEach(request -> alone.add(engine.run(request).tokens()));
            }
            try (EngineService service = EngineService.open(model, OPTIONS, ServiceOptions.defaults());
                    ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
                final List<Future<Answer>> answers = new ArrayList<>();
                for (final Request request : requests) {
                    answers.add(threads.submit(() -> service.submit(request).await()));
                }
                for (int i = 0; i < alone.size(); i++) {
                    assertEquals(alone.get(i), answers.get(i).get().tokens(), "request " + i);
                }
                assertEquals(new EngineService.Load(0, 0), service.load());
            }
        }
    }

    @Test
    void aloneInANewEngineARequestRepeatsToTheBit() {
        final EngineOptions usual = EngineOptions.defaults().withContext(512).withThreads(2);
        final Request drawn = new Request(
                contrast("with a note, a question", "a question", 30).branches(),
                Optional.of(new Combination(CoefficientSchedule.fixed(2, -1), false, 0.1)),
                seeded(3),
                new Limits(30, List.of()),
                20,
                StrategyLabel.PLAIN);
        try (Model model = load()) {
            final List<Answer> answers = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                try (Engine engine = Engine.open(model, usual)) {
                    answers.add(engine.run(drawn));
                }
            }
            for (final Answer answer : answers) {
                assertEquals(answers.getFirst().tokens(), answer.tokens());
                assertEquals(answers.getFirst().logProbabilities(), answer.logProbabilities());
            }
        }
    }

    @Test
    void theStreamIsTheAnswer() throws InterruptedException {
        try (Model model = load();
                EngineService service = EngineService.open(
                        model, OPTIONS, ServiceOptions.defaults().withStreamTokens(3))) {
            final Ticket<Answer> ticket = service.submit(plain("tell me", 20));
            final List<Integer> ids = new ArrayList<>();
            final StringBuilder text = new StringBuilder();
            Optional<StreamedToken> token = ticket.next();
            while (token.isPresent()) {
                if (token.get().id() != StreamedToken.REST) {
                    ids.add(token.get().id());
                }
                text.append(token.get().text());
                token = ticket.next();
            }
            assertEquals(ticket.await().tokens(), ids);
            assertEquals(ticket.await().text(), text.toString());
            assertTrue(ticket.isDone());
        }
    }

    @Test
    void aSlowReaderHoldsUpOnlyItself() throws InterruptedException {
        try (Model model = load();
                EngineService service = EngineService.open(
                        model, OPTIONS, ServiceOptions.defaults().withStreamTokens(2))) {
            final List<Integer> alone = service.submit(plain("slowly", 30)).await().tokens();
            final Ticket<Answer> slow = service.submit(plain("slowly", 30));
            final int first = slow.next().orElseThrow().id();
            for (int i = 0; i < 5; i++) {
                assertEquals(40, service.submit(plain("fast " + i, 40)).await().tokens().size());
            }
            assertFalse(slow.isDone(), "it was to wait for its reader");
            final List<Integer> read = new ArrayList<>(List.of(first));
            for (int i = 1; i < 10; i++) {
                read.add(slow.next().orElseThrow().id());
            }
            assertEquals(alone.subList(0, 10), read);
            assertEquals(alone, slow.await().tokens(), "nobody reads any longer: it goes on by itself");
        }
    }

    @Test
    void whatCanNeverFitIsRefusedWithTheNumbers() {
        try (Model model = load();
                EngineService service = EngineService.open(
                        model, OPTIONS.withContext(256).withMaxBranches(2), ServiceOptions.defaults())) {
            final BadInputException tokens =
                    assertThrows(BadInputException.class, () -> service.submit(contrast("ab", "ac", 200)));
            assertTrue(tokens.getMessage().contains("200 tokens on 2 branches, 256 there"), tokens::getMessage);
            final BadInputException huge = assertThrows(
                    BadInputException.class, () -> service.submit(contrast("ab", "ac", Integer.MAX_VALUE)));
            assertTrue(huge.getMessage().contains(String.valueOf(2L * (Integer.MAX_VALUE - 1))
                    .substring(0, 6)), huge::getMessage);
            final BadInputException prompt =
                    assertThrows(BadInputException.class, () -> service.submit(plain("x".repeat(300), 1)));
            assertTrue(prompt.getMessage().contains("of 256") || prompt.getMessage().contains("256 there"),
                    prompt::getMessage);
            final BadInputException branches = assertThrows(BadInputException.class, () -> service.submit(request(
                    Optional.of(new Combination(CoefficientSchedule.fixed(1, 0, 0), false, 0)),
                    Sampling.greedy(),
                    1,
                    "a",
                    "b",
                    "c")));
            assertTrue(branches.getMessage().contains("3 wanted, 2"), branches::getMessage);
        }
    }

    // The owner has looked at the queue when a ticket behind all others was seen to be cancelled.
    private static void settle(final EngineService service) throws InterruptedException {
        final Ticket<Answer> last = service.submit(plain("nothing", 1));
        last.cancel();
        last.await();
    }

    @Test
    void firstComeFirstServed() throws InterruptedException {
        try (Model model = load();
                EngineService service = EngineService.open(
                        model,
                        OPTIONS.withMaxBranches(2),
                        ServiceOptions.defaults().withStreamTokens(1).withWaiting(3).withOvertaking(0))) {
            final Ticket<Answer> small = service.submit(plain("small", 5));
            small.next();
            final Ticket<Answer> large = service.submit(contrast("large", "larger", 5));
            final Ticket<Answer> later = service.submit(plain("later", 5));
            settle(service);
            assertEquals(new EngineService.Load(2, 1), service.load(), "one branch is free, but large is first");
            service.submit(plain("the last that may wait", 5));
            final UnavailableException full =
                    assertThrows(UnavailableException.class, () -> service.submit(plain("one too many", 5)));
            assertTrue(full.getMessage().contains("3 of 3 wait, 1 run"), full::getMessage);

            assertEquals(5, small.await().tokens().size());
            assertTrue(large.next().isPresent());
            assertFalse(later.isDone(), "large has both branches and waits for its reader");
            assertEquals(5, large.await().tokens().size());
            assertEquals(5, later.await().tokens().size());
        }
    }

    @Test
    void oneThatWaitsIsOvertakenAFewTimesOnly() throws InterruptedException {
        try (Model model = load();
                EngineService service = EngineService.open(
                        model,
                        OPTIONS.withMaxBranches(2),
                        ServiceOptions.defaults().withStreamTokens(1).withOvertaking(2))) {
            final Ticket<Answer> runs = service.submit(plain("runs", 5));
            runs.next();
            final Ticket<Answer> large = service.submit(contrast("large", "larger", 5));
            final Ticket<Answer> first = service.submit(plain("first", 5));
            final Ticket<Answer> second = service.submit(plain("second", 5));
            final Ticket<Answer> third = service.submit(plain("third", 5));
            assertEquals(5, first.await().tokens().size());
            assertEquals(5, second.await().tokens().size());
            settle(service);
            assertEquals(new EngineService.Load(2, 1), service.load(), "a branch is free, but it has waited enough");
            assertEquals(5, runs.await().tokens().size());
            assertTrue(large.next().isPresent());
            assertFalse(third.isDone(), "large has both branches and waits for its reader");
            assertEquals(5, large.await().tokens().size());
            assertEquals(5, third.await().tokens().size());
        }
    }

    /** A procedure's later steps do not begin at the end of the line again. */
    @Test
    void stepsStandWhereTheirTicketsDo() {
        try (Model model = load();
                EngineService service = EngineService.open(model, OPTIONS, ServiceOptions.defaults())) {
            final Line line = new Line(0);
            final List<Long> turns = new ArrayList<>();
            for (final long turn : new long[] {5, 2, 9, 3}) {
                line.add(new Step(new Ticket<>(service, turn), null, false, () -> { }));
            }
            for (Step next = line.next(any -> true); next != null; next = line.next(any -> true)) {
                turns.add(next.ticket().turn());
            }
            assertEquals(List.of(2L, 3L, 5L, 9L), turns);
        }
    }

    // Every step advances all: behind one that has had so many, those that are full have paused.
    private static void letPause(final EngineService service) throws InterruptedException {
        assertEquals(20, service.submit(plain("passes by", 20)).await().tokens().size());
    }

    @Test
    void whoseReaderDoesNotComeIsAbandoned() throws InterruptedException {
        final AtomicLong now = new AtomicLong();
        final long patience = Duration.ofSeconds(60).toNanos();
        try (Model model = load();
                EngineService service = EngineService.open(
                        model,
                        OPTIONS.withMaxBranches(3),
                        ServiceOptions.defaults().withStreamTokens(2).withPatience(Duration.ofNanos(patience)),
                        now::get)) {
            final Ticket<Answer> slow = service.submit(plain("slowly", 30));
            final Ticket<Answer> reads = service.submit(plain("reads", 30));
            final int first = slow.next().orElseThrow().id();
            reads.next();
            letPause(service);
            now.addAndGet(patience - 1);
            letPause(service);
            assertFalse(slow.isDone(), "it has a moment left");
            reads.next();
            letPause(service);
            now.addAndGet(patience - 1);
            letPause(service);
            assertFalse(reads.isDone(), "its reader has come");
            final List<Integer> read = new ArrayList<>(List.of(first));
            for (Optional<StreamedToken> token = slow.next(); token.isPresent(); token = slow.next()) {
                if (token.get().id() != StreamedToken.REST) {
                    read.add(token.get().id());
                }
            }
            assertEquals(FinishReason.ABANDONED, slow.await().finish());
            assertEquals(3, read.size());
            assertEquals(slow.await().tokens(), read, "what waited for the reader was there");
            assertEquals(30, reads.await().tokens().size());
            assertEquals(5, service.submit(request(
                            Optional.of(new Combination(CoefficientSchedule.fixed(1, 1, -1), false, 0)),
                            Sampling.greedy(),
                            5,
                            "all",
                            "three",
                            "branches"))
                    .await().tokens().size());
        }
    }

    @Test
    void cellsAreCountedToTheLastToken() throws InterruptedException {
        try (Model model = load();
                EngineService service = EngineService.open(
                        model,
                        OPTIONS.withContext(100),
                        ServiceOptions.defaults().withStreamTokens(1))) {
            final Ticket<Answer> first = service.submit(plain("a", 60));
            first.next();
            final Ticket<Answer> second = service.submit(plain("b", 60));
            settle(service);
            assertEquals(new EngineService.Load(1, 1), service.load());
            assertEquals(60, first.await().tokens().size());
            assertEquals(60, second.await().tokens().size());
        }
    }

    @Test
    void cancellingEndsWhatRunsAndWhatWaits() throws InterruptedException {
        try (Model model = load();
                EngineService service = EngineService.open(
                        model,
                        OPTIONS.withMaxBranches(1),
                        ServiceOptions.defaults().withStreamTokens(1))) {
            final Ticket<Answer> runs = service.submit(plain("runs", 100));
            runs.next();
            final Ticket<Answer> waits = service.submit(plain("waits", 100));
            waits.cancel();
            assertEquals(FinishReason.CANCELLED, waits.await().finish());
            assertTrue(waits.await().tokens().isEmpty());
            runs.cancel();
            runs.cancel();
            assertEquals(FinishReason.CANCELLED, runs.await().finish());
            assertTrue(runs.await().tokens().size() < 100);
            assertEquals(3, service.submit(plain("next", 3)).await().tokens().size());
        }
    }

    @Test
    void aFailureIsItsOwnRequests() throws InterruptedException {
        try (Model model = load();
                EngineService service = EngineService.open(model, OPTIONS, ServiceOptions.defaults())) {
            final List<Integer> alone = service.submit(plain("good", 20)).await().tokens();
            final Ticket<Answer> good = service.submit(plain("good", 20));
            // The best token is the only one that the cut-off leaves, and the grammar forbids it.
            final Sampling narrow = new Sampling(0, 0, 1, 0, 1, 0, 1, Optional.of("root ::= \"\\x01\""));
            final Ticket<Answer> bad = service.submit(request(
                    Optional.of(new Combination(CoefficientSchedule.fixed(1), false, 1)), narrow, 5, "bad"));
            assertThrows(BadInputException.class, bad::await);
            assertThrows(BadInputException.class, bad::next);
            assertEquals(alone, good.await().tokens());
        }
    }

    /** Whatever its author made of a schedule. */
    private record Schedule(boolean readsEntropies, Consumer<float[]> third) implements CoefficientSchedule {
        @Override
        public void at(final int index, final float[] out) {
            out[0] = 1;
            out[1] = 0.1f;
            if (index == 3) {
                third.accept(out);
            }
        }
    }

    @Test
    void aFaultyScheduleIsItsOwnRequests() throws InterruptedException {
        try (Model model = load();
                EngineService service = EngineService.open(model, OPTIONS, ServiceOptions.defaults())) {
            final List<Integer> alone = service.submit(plain("good", 20)).await().tokens();
            final Ticket<Answer> good = service.submit(plain("good", 20));
            final List<Ticket<Answer>> bad = new ArrayList<>();
            for (final boolean reads : new boolean[] {false, true}) {
                for (final Consumer<float[]> third : List.<Consumer<float[]>>of(
                        out -> out[1] = Float.NaN,
                        out -> out[0] = Float.POSITIVE_INFINITY,
                        out -> {
                            throw new IllegalStateException("a mistake");
                        })) {
                    bad.add(service.submit(request(
                            Optional.of(new Combination(new Schedule(reads, third), false, 0)),
                            Sampling.greedy(),
                            20,
                            "one",
                            "other")));
                }
            }
            // Not even an error leaves the native call that asks for weights: it would end the process.
            bad.add(service.submit(request(
                    Optional.of(new Combination(
                            new Schedule(true, out -> {
                                throw new StackOverflowError("a mistake");
                            }),
                            false,
                            0)),
                    Sampling.greedy(),
                    20,
                    "one",
                    "other")));
            for (final Ticket<Answer> one : bad) {
                final EquipoiseException fault = assertThrows(EquipoiseException.class, one::await);
                assertTrue(fault.where().contains("token 3"), fault::getMessage);
            }
            assertEquals(alone, good.await().tokens());
            assertEquals(new EngineService.Load(0, 0), service.load());
        }
    }

    @Test
    void closingEndsAllAndLeavesNothingOpen() throws InterruptedException {
        final long before = NativeInfo.liveObjects();
        try (Model model = load()) {
            final EngineService service = EngineService.open(
                    model, OPTIONS.withMaxBranches(2), ServiceOptions.defaults().withStreamTokens(1));
            final Ticket<Answer> runs = service.submit(plain("runs", seeded(1), 100));
            final Ticket<Answer> waits = service.submit(contrast("waits", "behind", 50));
            runs.next();
            service.close();
            service.close();
            assertEquals(FinishReason.CANCELLED, runs.await().finish());
            assertEquals(FinishReason.CANCELLED, waits.await().finish());
            assertThrows(LifetimeException.class, () -> service.submit(plain("late", 1)));
        }
        assertEquals(before, NativeInfo.liveObjects());
    }

    @Test
    void anEngineThatCannotOpenSaysWhy() {
        try (Model model = load()) {
            assertThrows(BadInputException.class, () -> EngineService.open(
                    model,
                    OPTIONS.withKvType(KvType.Q8_0).withFlashAttention(FlashAttention.OFF),
                    ServiceOptions.defaults()));
        }
    }
}
