package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.LifetimeException;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Requests through an engine on a tiny random model: what comes out, when it ends, and who may call what. */
class EngineTest {
    // Single precision throughout: a batch of another shape runs other kernels, and with a half-precision cache that
    // is enough to turn a near tie of a random model.
    private static final EngineOptions OPTIONS = Tolerance.exact(256);

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

    private static Request plain(final String text, final int tokens) {
        return request(List.of(new Branch("base", words(text))), Optional.empty(), Sampling.greedy(), tokens);
    }

    private static Prompt words(final String text) {
        return Prompt.builder().text(text).build();
    }

    private static Request request(
            final List<Branch> branches,
            final Optional<Combination> combination,
            final Sampling sampling,
            final int tokens) {
        return new Request(
                branches, combination, sampling, new Limits(tokens, List.of()), 0, new StrategyLabel("test", "test"));
    }

    private static Combination weights(final double plausibility, final float... coefficients) {
        return new Combination(CoefficientSchedule.fixed(coefficients), false, plausibility);
    }

    @Test
    void generatesTheSameTokensEveryTime() {
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS)) {
            final Answer first = engine.run(plain("hello there", 12));
            final Answer second = engine.run(plain("hello there", 12));
            assertEquals(first.tokens(), second.tokens());
            assertEquals(first.text(), model.text(first.tokens()));
            assertTrue(first.tokens().size() <= 12);
        }
    }

    @Test
    void requestsTogetherAnswerAsTheyDoAlone() {
        final List<String> texts = List.of("one", "a longer prompt than the first", "three three three");
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS)) {
            final List<List<Integer>> alone = texts.stream()
                    .map(text -> engine.run(plain(text, 8)).tokens())
                    .toList();
            final List<Generation> together =
                    texts.stream().map(text -> engine.submit(plain(text, 8))).toList();
            while (engine.step()) {
                // Every step advances all of them.
            }
            assertEquals(alone, together.stream().map(g -> g.answer().tokens()).toList());
        }
    }

    @Test
    void aBranchContrastedWithItselfAnswersAsPlain() {
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS)) {
            final Prompt prompt = words("what is it");
            final Answer plain = engine.run(plain("what is it", 10));
            final Answer contrast = engine.run(request(
                    List.of(new Branch("base", prompt), new Branch("same", prompt)),
                    Optional.of(weights(0, 2, -1)),
                    Sampling.greedy(),
                    10));
            assertEquals(plain.tokens(), contrast.tokens());
            assertEquals("contrast:test", contrast.trace().getFirst().intervention());
        }
    }

    @Test
    void combinesRowsByTheFormula() {
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS)) {
            final float[] base = engine.logits(plain("a question with a note", 1)).logits();
            final float[] other = engine.logits(plain("a question", 1)).logits();
            final float[] combined = engine.logits(request(
                            List.of(
                                    new Branch("base", words("a question with a note")),
                                    new Branch("without", words("a question"))),
                            Optional.of(weights(0.1, 2, -1)),
                            Sampling.greedy(),
                            1))
                    .logits();
            double max = Double.NEGATIVE_INFINITY;
            for (final float z : base) {
                max = Math.max(max, z);
            }
            // Two columns run through another matrix kernel than one: logits move in the sixth place, on a GPU in the
            // third.
            final double margin = Placement.onGpu() ? 5e-2 : 1e-3;
            int kept = 0;
            for (int y = 0; y < base.length; y++) {
                if (base[y] >= max + Math.log(0.1) + margin) {
                    assertTrue(Math.abs(2 * base[y] - other[y] - combined[y]) <= margin, "token " + y);
                    kept++;
                } else if (base[y] < max + Math.log(0.1) - margin) {
                    assertEquals(Float.NEGATIVE_INFINITY, combined[y], "token " + y);
                }
            }
            assertTrue(kept > 0 && kept < base.length);
        }
    }

    @Test
    void splittingThePromptChangesNothingThatMatters() {
        final String text = "a prompt of a good many tokens, which falls into several micro-batches";
        try (Model model = load();
                Engine whole = Engine.open(model, OPTIONS);
                Engine split = Engine.open(model, OPTIONS.withMicroBatch(3))) {
            assertArrayEquals(
                    whole.logits(plain(text, 1)).logits(),
                    split.logits(plain(text, 1)).logits(),
                    Placement.onGpu() ? 2e-2f : 1e-4f);
        }
    }

    @Test
    void spansCoverThePrompt() {
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS)) {
            final NextLogits next = engine.logits(new Request(
                    List.of(new Branch(
                            "base",
                            Prompt.builder().system("be brief").context("a note").text("why").build())),
                    Optional.empty(),
                    Sampling.greedy(),
                    Limits.defaults(),
                    0,
                    StrategyLabel.PLAIN));
            assertEquals(
                    next.promptTokens().length,
                    next.spans().stream().mapToInt(Span::length).sum());
            final List<Modality> order = next.spans().stream().map(Span::modality).toList();
            assertTrue(order.containsAll(List.of(Modality.SYSTEM, Modality.CONTEXT, Modality.TEXT)), order::toString);
        }
    }

    @Test
    void listenersHearTheWholeAnswer() {
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS)) {
            final StringBuilder heard = new StringBuilder();
            final Answer answer = engine.run(plain("tell me", 16), (token, text) -> heard.append(text));
            assertEquals(answer.text(), heard.toString());
        }
    }

    @Test
    void stopTextsEndTheAnswerAndAreNotPartOfIt() {
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS)) {
            final String whole = engine.run(plain("tell me", 16)).text();
            final String stop = whole.substring(whole.length() / 2, whole.length() / 2 + 1);
            final Answer answer = engine.run(new Request(
                    List.of(new Branch("base", words("tell me"))),
                    Optional.empty(),
                    Sampling.greedy(),
                    new Limits(16, List.of(stop)),
                    0,
                    StrategyLabel.PLAIN));
            assertEquals(whole.substring(0, whole.indexOf(stop)), answer.text());
            assertEquals(FinishReason.STOP, answer.finish());
        }
    }

    @Test
    void cancellingEndsAtTheNextStepAndFreesTheRoom() throws InterruptedException {
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS.withMaxBranches(1))) {
            final Generation generation = engine.submit(plain("go on and on", 200));
            engine.step();
            engine.step();
            final Thread other = new Thread(generation::cancel);
            other.start();
            other.join();
            engine.step();
            assertTrue(generation.isDone());
            assertEquals(FinishReason.CANCELLED, generation.answer().finish());
            assertEquals(4, engine.run(plain("again", 4)).tokens().size());
        }
    }

    @Test
    void aFullContextEndsTheAnswer() {
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS.withContext(20))) {
            final Answer answer = engine.run(plain("abc", 100));
            assertEquals(FinishReason.LENGTH, answer.finish());
            assertTrue(answer.tokens().size() < 20);
            assertThrows(BadInputException.class, () -> engine.run(plain("x".repeat(100), 1)));
            assertFalse(engine.run(plain("abc", 3)).tokens().isEmpty());
        }
    }

    @Test
    void sampledAnswersRepeatWithTheirSeed() {
        final Sampling sampling = new Sampling(1.5, 50, 0.95, 0, 1.1, 32, 42, Optional.empty());
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS)) {
            final List<Branch> branches = List.of(new Branch("base", words("once")));
            final Answer first = engine.run(request(branches, Optional.empty(), sampling, 12));
            final Answer second = engine.run(request(branches, Optional.empty(), sampling, 12));
            assertEquals(first.tokens(), second.tokens());
        }
    }

    @Test
    void presenceAndFrequencyArePenalisedEachInItsWay() {
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS)) {
            final List<Branch> branches = List.of(new Branch("base", words("once")));
            final Sampling free = Sampling.greedy();
            // Far beyond any logit of the tiny model: no token comes twice.
            final List<Integer> present =
                    engine.run(request(branches, Optional.empty(), free.withPenalties(0, 1000), 24)).tokens();
            assertEquals(present.size(), Set.copyOf(present).size(), present.toString());
            // Of two letters both are there after two tokens, and presence is penalised alike; counts are not.
            final Sampling letters =
                    new Sampling(0, 0, 1, 0, 1, 64, 0, Optional.of("root ::= [ab] [ab] [ab] [ab] [ab] [ab] [ab] [ab]"));
            final String alone = engine.run(request(branches, Optional.empty(), letters, 8)).text();
            final String once =
                    engine.run(request(branches, Optional.empty(), letters.withPenalties(0, 1000), 8)).text();
            final String counted =
                    engine.run(request(branches, Optional.empty(), letters.withPenalties(1000, 0), 8)).text();
            assertEquals(4, counted.chars().filter(c -> c == 'a').count(), counted);
            assertNotEquals(alone.charAt(1), once.charAt(1));
            assertNotEquals(4, once.chars().filter(c -> c == 'a').count(), once);
            // A window of nothing sees nothing.
            final Sampling blind = new Sampling(0, 0, 1, 0, 1, 0, 0, Optional.empty()).withPenalties(1000, 1000);
            assertEquals(
                    engine.run(plain("once", 8)).tokens(),
                    engine.run(request(branches, Optional.empty(), blind, 8)).tokens());
        }
        assertThrows(BadInputException.class, () -> Sampling.greedy().withPenalties(Double.NaN, 0));
        assertThrows(BadInputException.class, () -> Sampling.greedy().withPenalties(0, -1001));
    }

    @Test
    void reportsLogProbabilitiesOfARealDistribution() {
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS)) {
            final Answer answer = engine.run(new Request(
                    List.of(new Branch("base", words("once"))),
                    Optional.empty(),
                    Sampling.greedy(),
                    new Limits(3, List.of()),
                    5,
                    StrategyLabel.PLAIN));
            for (final TokenLogProbabilities token : answer.logProbabilities()) {
                assertEquals(5, token.top().size());
                assertEquals(token.token(), token.top().getFirst().token());
                assertEquals(token.logProbability(), token.top().getFirst().logProbability());
                assertTrue(token.logProbability() <= 0);
            }
        }
    }

    @Test
    void closedAndForeignUseAreTypedErrors() throws InterruptedException {
        final Model model = load();
        final Engine engine = Engine.open(model, OPTIONS);
        final AtomicReference<Throwable> thrown = new AtomicReference<>();
        final Thread other = new Thread(() -> {
            try {
                engine.run(plain("x", 1));
            } catch (final LifetimeException e) {
                thrown.set(e);
            }
        });
        other.start();
        other.join();
        assertTrue(thrown.get() instanceof LifetimeException);

        model.close();
        model.close();
        assertThrows(LifetimeException.class, () -> model.tokenize("x", false));
        engine.close();
        engine.close();
        assertThrows(LifetimeException.class, () -> engine.run(plain("x", 1)));
    }

    @Test
    void nothingStaysOpen() {
        final long before = NativeInfo.liveObjects();
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS)) {
            final List<Generation> left = new ArrayList<>();
            left.add(engine.submit(request(
                    List.of(new Branch("base", words("a"))),
                    Optional.empty(),
                    new Sampling(1, 0, 1, 0, 1, 0, 1, Optional.empty()),
                    5)));
            engine.step();
            assertTrue(NativeInfo.liveObjects() > before);
        }
        assertEquals(before, NativeInfo.liveObjects());
    }

    private static final class Mistake extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    // Hears all of a text from the start on, and throws whenever it does.
    private static TokenListener throwing() {
        return (token, text) -> {
            throw new Mistake();
        };
    }

    @Test
    void aListenerThatThrowsEndsItsOwnRequest() {
        try (Model model = load();
                Engine engine = Engine.open(model, OPTIONS)) {
            final Engine.Room whole = engine.room();
            final List<Integer> alone = engine.run(plain("good", 12)).tokens();
            final Generation bad = engine.submit(plain("bad", 12), throwing());
            final Generation good = engine.submit(plain("good", 12));
            int thrown = 0;
            while (!good.isDone()) {
                try {
                    engine.step();
                } catch (final Mistake e) {
                    thrown++;
                }
            }
            assertEquals(1, thrown);
            assertEquals(FinishReason.CANCELLED, bad.answer().finish());
            assertEquals(alone, good.answer().tokens());
            assertEquals(whole, engine.room());
        }
    }

    /** Text that was held back becomes final when a request ends: its listener may throw then, too. */
    @Test
    void whatAListenerThrowsAtTheEndLeavesNothingOpen() {
        final long before = NativeInfo.liveObjects();
        final TokenListener atTheEnd = new TokenListener() {
            @Override
            public void onToken(final int token, final String text) {
                // Fine so far.
            }

            @Override
            public void onRest(final int token, final String text) {
                throw new Mistake();
            }
        };
        try (Model model = load()) {
            final String first = model.text(List.of(engineToken(model)));
            // The first token may be the beginning of a stop text, and waits.
            final Request held = new Request(
                    List.of(new Branch("base", words("a"))),
                    Optional.empty(),
                    new Sampling(0, 0, 1, 0, 1.1, 64, 1, Optional.empty()),
                    new Limits(50, List.of(first + "\n and something that never comes")),
                    0,
                    StrategyLabel.PLAIN);
            try (Engine engine = Engine.open(model, OPTIONS)) {
                final Engine.Room whole = engine.room();
                final Generation cancelled = engine.submit(held, atTheEnd);
                engine.step();
                cancelled.cancel();
                assertThrows(Mistake.class, engine::step);
                assertEquals(FinishReason.CANCELLED, cancelled.answer().finish());
                assertEquals(whole, engine.room());
            }
            final Engine engine = Engine.open(model, OPTIONS);
            final List<Generation> open = List.of(engine.submit(held, atTheEnd), engine.submit(held, atTheEnd));
            engine.step();
            assertThrows(Mistake.class, engine::close);
            open.forEach(one -> assertEquals(FinishReason.CANCELLED, one.answer().finish()));
            engine.close();
        }
        assertEquals(before, NativeInfo.liveObjects());
    }

    private static int engineToken(final Model model) {
        try (Engine engine = Engine.open(model, OPTIONS)) {
            return engine.run(request(
                            List.of(new Branch("base", words("a"))),
                            Optional.empty(),
                            new Sampling(0, 0, 1, 0, 1.1, 64, 1, Optional.empty()),
                            1))
                    .tokens()
                    .getFirst();
        }
    }
}
