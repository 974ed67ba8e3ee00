package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.FinishReason;
import dev.equipoise.runtime.FlashAttention;
import dev.equipoise.runtime.KvType;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.TraceEntry;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.serving.EngineService;
import dev.equipoise.runtime.serving.ServiceOptions;
import dev.equipoise.runtime.serving.StreamedToken;
import dev.equipoise.runtime.serving.Ticket;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.steering.vector.ControlVectorFile;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Strategies of all kinds on one service, against each of them alone on an engine. */
@Timeout(300)
class StrategyServiceTest {
    private static final Limits LIMITS = new Limits(12, List.of());
    // Single precision throughout, as the rig's, so that what else runs does not turn a near tie of a random model.
    private static final EngineOptions OPTIONS = EngineOptions.defaults()
            .withContext(2048)
            .withMicroBatch(32)
            .withMaxBranches(8)
            .withThreads(1)
            .withKvType(KvType.F32)
            .withFlashAttention(FlashAttention.OFF);
    private static final List<String> PRESETS = List.of(
            "mad", "mad-note", "vista", "avisc", "sid", "avcd", "code-style", "recognise-then-reason",
            "answer-prompt", "verbalised-sampling", "vcd", "fmd", "pai-guidance", "dola", "greedy");
    private static final List<String> FILES = List.of(
            // A condition that reaches the prompt: the prompt is read once more before.
            """
            {"steer": [{"vector": "V", "scale": 3, "when": {"vector": "V", "layer": 0, "above": -1}}],
             "attention": [{"edit": "multiply", "span": "context", "factor": 0.5}]}""",
            """
            {"contrast": {"branches": {"blind": {"without": ["image"]}},
                          "coefficients": {"base": 3, "blind": -2}, "beta": 0.05},
             "gate": {"kind": "entropy", "above": 3}}""",
            """
            {"forkMerge": {"silence": ["audio", "image"], "layer": 0},
             "steer": [{"vector": "V", "scale": 1, "scope": {"phase": "generated"}}]}""",
            """
            {"forkMerge": {"silence": ["audio", "image"], "layer": 0},
             "contrast": {"branches": {"noteless": {"without": ["context"]}},
                          "coefficients": {"base": 3, "noteless": -2}, "beta": 0.05},
             "gate": {"kind": "entropy", "above": 3},
             "steer": [{"vector": "V", "scale": 1}],
             "attention": [{"edit": "pai", "span": "image", "alpha": 0.3}]}""");

    @TempDir
    static Path folder;

    private static TinyRig rig;
    private static final List<Strategy> STRATEGIES = new ArrayList<>();

    @BeforeAll
    static void open() {
        rig = new TinyRig(folder, 81);
        final Random random = new Random(82);
        final float[] vector = new float[rig.model.info().width()];
        for (int i = 0; i < vector.length; i++) {
            vector[i] = (float) random.nextGaussian();
        }
        final Path file = folder.resolve("v.gguf");
        new ControlVectorFile("llama", new LayerVectors(Map.of(0, vector))).write(file);
        PRESETS.forEach(name -> STRATEGIES.add(Strategies.named(name)));
        FILES.forEach(text -> STRATEGIES.add(Strategies.parse(text.replace("\"V\"", "\"" + file + "\""), "file")));
        STRATEGIES.add(Strategies.named("mad")
                .withSampling(new Sampling(1.1, 40, 0.95, 0, 1.1, 32, 5, Optional.empty())));
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static EngineService service(final ServiceOptions options) {
        return EngineService.open(rig.model, OPTIONS, options);
    }

    private static Answer alone(final Strategy strategy) {
        return Decoding.run(rig.engine, strategy, rig.prompt, LIMITS, 0, TokenListener.NONE);
    }

    private static Ticket<Answer> submit(final EngineService service, final Strategy strategy, final Prompt prompt) {
        return Decoding.submit(service, strategy, prompt, LIMITS, 0);
    }

    private static List<String> names(final Answer answer) {
        return answer.trace().stream().map(TraceEntry::intervention).toList();
    }

    @Test
    void allKindsTogetherAnswerAsEachAlone() throws Exception {
        Placement.requireCpu("the number of columns chooses the kernels there, and near ties other tokens");
        final List<Answer> alone =
                STRATEGIES.stream().map(StrategyServiceTest::alone).toList();
        try (EngineService service = service(ServiceOptions.defaults());
                ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            final List<Future<Answer>> answers = new ArrayList<>();
            for (final Strategy strategy : STRATEGIES) {
                answers.add(threads.submit(() -> submit(service, strategy, rig.prompt).await()));
            }
            for (int i = 0; i < alone.size(); i++) {
                final Answer expected = alone.get(i);
                final Answer answer = answers.get(i).get();
                final String name = STRATEGIES.get(i).name() + ", number " + i;
                assertEquals(expected.tokens(), answer.tokens(), name);
                assertEquals(expected.text(), answer.text(), name);
                assertEquals(expected.finish(), answer.finish(), name);
                assertEquals(expected.strategy(), answer.strategy(), name);
                assertEquals(names(expected), names(answer), name);
            }
            assertEquals(new EngineService.Load(0, 0), service.load());
        }
    }

    @Test
    void theStreamIsTheAnswerAndNotThePasses() throws InterruptedException {
        final String written = "{\"responses\": [{\"text\": \"red\", \"probability\": 1}]}";
        final Strategy drawn = Strategies.named("verbalised-sampling")
                .withSampling(new Sampling(
                        0, 0, 1, 0, 1, 64, 3, Optional.of("root ::= \"" + written.replace("\"", "\\\"") + "\"")));
        try (EngineService service = service(ServiceOptions.defaults().withStreamTokens(2))) {
            final Ticket<Answer> mad = submit(service, Strategies.named("mad"), rig.prompt);
            final List<Integer> ids = new ArrayList<>();
            for (Optional<StreamedToken> token = mad.next(); token.isPresent(); token = mad.next()) {
                if (token.get().id() != StreamedToken.REST) {
                    ids.add(token.get().id());
                }
            }
            assertEquals(alone(Strategies.named("mad")).tokens(), ids);
            assertEquals(ids, mad.await().tokens());

            final Ticket<Answer> one =
                    Decoding.submit(service, drawn, rig.prompt, new Limits(400, List.of()), 0);
            assertEquals("red", one.next().orElseThrow().text());
            assertEquals(Optional.empty(), one.next());
            assertEquals("red", one.await().text());
        }
    }

    @Test
    void aChoiceAmongOptionsIsThatOfAnEngine() throws InterruptedException {
        final Strategy dcd = Strategies.named("dcd");
        final List<String> letters = List.of("A", "B", "C");
        final MultipleChoice.Choice alone = MultipleChoice.choose(rig.engine, dcd, rig.prompt, letters);
        try (EngineService service = service(ServiceOptions.defaults())) {
            final Ticket<Answer> beside = submit(service, Strategies.named("mad"), rig.prompt);
            final Ticket<Optional<MultipleChoice.Choice>> ticket =
                    MultipleChoice.submit(service, dcd, rig.prompt, letters);
            assertEquals(Optional.empty(), ticket.next(), "nothing is streamed");
            final MultipleChoice.Choice choice = ticket.await().orElseThrow();
            assertEquals(alone.answer(), choice.answer());
            assertEquals(alone.agreed(), choice.agreed());
            assertEquals(12, beside.await().tokens().size());
            assertThrows(
                    BadInputException.class,
                    () -> MultipleChoice.submit(service, Strategy.plain(), rig.prompt, letters));
            assertThrows(BadInputException.class, () -> submit(service, dcd, rig.prompt));
        }
    }

    @Test
    void optionsAreScoredBesideOthersAsByAnEngine() throws InterruptedException {
        final List<String> letters = List.of("A", "B", "C");
        final Strategy mad = Strategies.named("mad");
        final MultipleChoice.Scores alone = MultipleChoice.score(rig.engine, mad, rig.prompt, letters);
        try (EngineService service = service(ServiceOptions.defaults())) {
            final Ticket<Answer> beside = submit(service, Strategies.named("cad"), rig.prompt);
            final MultipleChoice.Scores scores = MultipleChoice.submitScores(service, mad, rig.prompt, letters)
                    .await()
                    .orElseThrow();
            assertEquals(alone.options(), scores.options());
            // Company only changes the order of sums; wrong branches or weights would change whole logits.
            assertArrayEquals(alone.logits(), scores.logits(), 1e-2);
            assertEquals(12, beside.await().tokens().size());
            assertThrows(
                    BadInputException.class,
                    () -> MultipleChoice.submitScores(service, mad, rig.prompt, List.of("A", "A")));
        }
    }

    @Test
    void cancellingEndsAPassAndGivesItsCellsBack() throws InterruptedException {
        final Strategy passes = Strategies.parse("""
                {"prepare": [{"name": "facts", "ask": "What is there?", "maxTokens": 1500}],
                 "prompt": {"text": "{facts} {question}"}}""", "passes");
        try (EngineService service = service(ServiceOptions.defaults())) {
            final Ticket<Answer> runs = submit(service, passes, rig.prompt);
            final Ticket<Answer> beside = submit(service, Strategies.named("sid"), rig.prompt);
            while (service.load().running() == 0) {
                Thread.onSpinWait();
            }
            runs.cancel();
            assertEquals(FinishReason.CANCELLED, runs.await().finish());
            assertTrue(runs.await().tokens().isEmpty());
            assertEquals(alone(Strategies.named("sid")).tokens(), beside.await().tokens());
            assertEquals(new EngineService.Load(0, 0), service.load());
            // Nearly all cells: there is room for it only where nothing was left behind.
            final Request large = new Request(
                    Request.plain(rig.prompt).branches(),
                    Optional.empty(),
                    Sampling.greedy(),
                    new Limits(1900, List.of()),
                    0,
                    StrategyLabel.PLAIN);
            final Ticket<Answer> whole = service.submit(large);
            assertTrue(whole.next().isPresent());
            whole.cancel();
            assertEquals(FinishReason.CANCELLED, whole.await().finish());
        }
    }

    @Test
    void refusalsHaveTheNumbers() throws InterruptedException {
        try (EngineService service = service(ServiceOptions.defaults().withWaiting(1).withStreamTokens(1))) {
            final BadInputException never = assertThrows(BadInputException.class, () -> Decoding.submit(
                    service, Strategies.named("mad"), rig.prompt, new Limits(2000, List.of()), 0));
            assertTrue(never.getMessage().contains("2000 tokens on "), never::getMessage);
            assertTrue(never.getMessage().contains("2048 there"), never::getMessage);
            final Ticket<Answer> holds = service.submit(new Request(
                    Request.plain(rig.prompt).branches(),
                    Optional.empty(),
                    Sampling.greedy(),
                    new Limits(1950, List.of()),
                    0,
                    StrategyLabel.PLAIN));
            holds.next();
            final Ticket<Answer> waits = submit(service, Strategies.named("mad"), rig.prompt);
            final UnavailableException full = assertThrows(
                    UnavailableException.class, () -> submit(service, Strategies.named("vista"), rig.prompt));
            assertTrue(full.getMessage().contains("1 of 1 wait, 1 run"), full::getMessage);
            assertFalse(waits.isDone());
            holds.cancel();
            assertEquals(alone(Strategies.named("mad")).tokens(), waits.await().tokens());
        }
    }
}
