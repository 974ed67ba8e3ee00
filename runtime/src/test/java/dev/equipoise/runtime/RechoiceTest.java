package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Hide;
import dev.equipoise.runtime.intervention.Intervention.Mute;
import dev.equipoise.runtime.intervention.Intervention.ReadAttention;
import dev.equipoise.runtime.intervention.Intervention.Reweigh;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.AnswerCheck;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.NotedChoice;
import dev.equipoise.runtime.oracle.RequestOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Tokens that branches miss by a choice made for each token, against the oracle that makes the same choice. */
class RechoiceTest {
    private static final int LAYERS = 4;
    private static final int TOKENS = 7;
    private static final EngineOptions EXACT = Tolerance.exact(2048);
    private static final Set<Modality> MEDIA = EnumSet.of(Modality.IMAGE, Modality.AUDIO);
    private static final Set<Modality> WORDS = EnumSet.of(Modality.IMAGE, Modality.TEXT);
    private static final SortedSet<Integer> NONE = Collections.emptySortedSet();

    @TempDir
    static Path directory;

    private static Model model;
    private static LlamaOracle oracle;
    private static Prompt prompt;
    private static List<Span> spans;

    @BeforeAll
    static void writeModel() {
        final Path file = TinyModels.llama(directory.resolve("tiny.gguf"), 23, LAYERS, 64, 4, 2, 96, 512);
        final Path mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 24, 64);
        model = Model.load(file, Placement.options().withMmproj(mmproj));
        oracle = LlamaOracle.of(GgufFile.read(file));
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(25).nextBytes(pixels);
        prompt = Prompt.builder()
                .system("you see and hear")
                .image(Image.rgb(32, 32, pixels))
                .audio(Audio.pcm(new float[16_000]))
                .text("which colour has the square")
                .build();
        try (Engine engine = Engine.open(model, EXACT)) {
            spans = engine.logits(Request.plain(prompt)).spans();
        }
    }

    @AfterAll
    static void closeModel() {
        model.close();
    }

    private static ReadAttention look() {
        return new ReadAttention("look", layers(0, 1, 2), Scope.all().within(Reach.LAST));
    }

    private static Hide hide(final Set<Modality> span) {
        return new Hide("hide", span, Optional.empty(), layers(0, 1, 2));
    }

    private static Mute mute(final Set<Modality> span) {
        return new Mute("mute", span, Optional.empty(), layers(1, 2));
    }

    private static SortedSet<Integer> layers(final Integer... numbers) {
        return new TreeSet<>(List.of(numbers));
    }

    private static List<Rechoice.Taken> taken(final List<SortedSet<Integer>> columns) {
        return columns.stream().map(Rechoice.Taken::of).toList();
    }

    // The columns of a span that get the most attention, all blocks together, as many as one asks for.
    private static SortedSet<Integer> most(final Rechoice.Seen seen, final Set<Modality> span, final int count) {
        final List<Integer> columns = seen.spans().stream()
                .filter(run -> span.contains(run.modality()))
                .flatMap(run -> IntStream.range(run.start(), run.start() + run.length()).boxed())
                .sorted((a, b) -> Double.compare(weight(seen, b), weight(seen, a)))
                .toList();
        return new TreeSet<>(columns.subList(0, Math.min(count, columns.size())));
    }

    private static double weight(final Rechoice.Seen seen, final int column) {
        return seen.heads().stream()
                .flatMap(Arrays::stream)
                .mapToDouble(row -> row[column])
                .sum();
    }

    private static int generated(final Rechoice.Seen seen) {
        return seen.heads().getFirst()[0].length - size();
    }

    private static int size() {
        return spans.getLast().start() + spans.getLast().length();
    }

    private static Request request(
            final List<Branch> branches, final Rechoice rechoice, final Optional<Gate> gate, final float... weights) {
        return NotedChoice.onGpu(new Request(
                branches,
                Optional.of(new Combination(CoefficientSchedule.fixed(weights), false, 0.02)),
                Sampling.greedy(),
                new Limits(TOKENS, List.of()),
                Request.MAX_LOG_PROBABILITIES,
                new StrategyLabel("test", "test"),
                Optional.empty(),
                gate,
                Optional.of(rechoice)));
    }

    private static List<Branch> branches(final Intervention... chosen) {
        final List<Branch> branches = new ArrayList<>(List.of(new Branch("base", prompt, List.of(look()))));
        for (final Intervention intervention : chosen) {
            branches.add(new Branch("b" + branches.size(), prompt, List.of(intervention)));
        }
        return branches;
    }

    private static Rechoice rechoice(final Rechoice.Choice choice, final int... chosen) {
        return new Rechoice(
                0,
                IntStream.of(chosen).mapToObj(k -> k < 0 ? OptionalInt.empty() : OptionalInt.of(k)).toList(),
                choice);
    }

    private static AnswerCheck check(final Engine engine, final Request request, final Answer answer) {
        return AnswerCheck.of(new RequestOracle(oracle, engine), request, answer, Tolerance::f32);
    }

    // Words of which more are hidden from token to token, the generated ones first; pictures and sounds of which fewer.
    private static Request varied(final Optional<Gate> gate) {
        return request(
                branches(
                        hide(WORDS),
                        hide(MEDIA),
                        mute(WORDS),
                        hide(EnumSet.of(Modality.AUDIO)),
                        mute(EnumSet.of(Modality.IMAGE))),
                rechoice(
                        seen -> {
                            final SortedSet<Integer> words = new TreeSet<>(most(seen, WORDS, 2));
                            IntStream.range(size(), size() + generated(seen)).filter(t -> t % 2 == 0)
                                    .forEach(words::add);
                            return taken(List.of(
                                    NONE,
                                    words,
                                    most(seen, MEDIA, 12 - generated(seen)),
                                    words,
                                    // At every second token nothing is hidden, or muted, at all.
                                    most(seen, EnumSet.of(Modality.AUDIO), 3 * (generated(seen) % 2)),
                                    most(seen, EnumSet.of(Modality.IMAGE), 5 * (generated(seen) % 2))));
                        },
                        -1, 0, 0, 0, 0, 0),
                gate,
                2, -0.5f, -0.5f, 0.5f, -0.5f, -0.5f);
    }

    @ParameterizedTest
    @ValueSource(ints = {3, 16, 512})
    void everyTokenIsReadUnderItsOwnChoice(final int microBatch) {
        try (Engine engine = Engine.open(model, EXACT.withMaxBranches(12).withMicroBatch(microBatch))) {
            for (final Optional<Gate> gate : List.<Optional<Gate>>of(
                    Optional.empty(), Optional.of(new Gate.Disagreement(3)), Optional.of(new Gate.Entropy(5.8)))) {
                final Request request = varied(gate);
                final Request other = varied(Optional.empty());
                final Generation company = engine.submit(other);
                final Answer answer = engine.run(request);
                assertEquals(TOKENS, check(engine, request, answer).rows());
                while (!company.isDone()) {
                    engine.step();
                }
                check(engine, other, company.answer());
            }
            assertEquals(engine.room().cells(), engine.room().freeCells());
            assertEquals(12, engine.room().freeBranches());
        }
    }

    /** What stands before all that may be chosen is read once, and nothing else is shared, not even by twins. */
    @Test
    void onlyWhatEveryChoiceLeavesAloneIsShared() {
        final int picture = first(Modality.IMAGE);
        final int sound = first(Modality.AUDIO);
        final Reweigh louder = new Reweigh(
                "louder", EnumSet.of(Modality.SYSTEM), OptionalInt.empty(), 2, layers(0, 3), Scope.all());
        final List<Branch> branches = new ArrayList<>(branches(hide(MEDIA), hide(MEDIA), mute(EnumSet.of(
                Modality.AUDIO))));
        branches.add(new Branch("own", prompt, List.of(louder, hide(MEDIA))));
        branches.add(new Branch("twin", prompt, List.of(louder, hide(MEDIA))));
        branches.add(new Branch("plain", prompt, List.of(louder)));
        final Request request = request(
                branches,
                rechoice(
                        seen -> {
                            final SortedSet<Integer> few = most(seen, MEDIA, 4);
                            final SortedSet<Integer> many = most(seen, MEDIA, 9);
                            return taken(List.of(
                                    few, few, many, most(seen, EnumSet.of(Modality.AUDIO), 2), few, many, few));
                        },
                        -1, 0, 0, 0, 1, 1, -1),
                Optional.empty(),
                2, -0.5f, 0.5f, -0.5f, 0.5f, -0.25f, -0.25f);
        try (Engine engine = Engine.open(model, EXACT.withMaxBranches(8).withMicroBatch(11))) {
            final List<PlanDescription.BranchPlan> plans = engine.describe(request).branches();
            assertEquals(
                    List.of(size(), picture, picture, sound),
                    plans.subList(0, 4).stream().map(PlanDescription.BranchPlan::sharedTokens).toList());
            // What acts on system words too is no base's: of the three only the twins share what is before the picture.
            final int louderBranches = 3 * size() - picture;
            assertEquals(
                    size() + 2 * (size() - picture) + (size() - sound) + louderBranches,
                    PreparedRequest.of(model, engine.options(), request).promptCells());
            check(engine, request, engine.run(request));
            assertEquals(engine.room().cells(), engine.room().freeCells());
        }
    }

    private static int first(final Modality modality) {
        return spans.stream().filter(span -> span.modality() == modality).findFirst().orElseThrow().start();
    }

    @Test
    void aChoiceThatFailsEndsItsOwnRequest() {
        final List<Rechoice.Choice> wrong = List.of(
                seen -> {
                    if (generated(seen) == 2) {
                        throw new IllegalStateException("no choice");
                    }
                    return taken(List.of(NONE, most(seen, MEDIA, 3)));
                },
                seen -> taken(List.of(most(seen, MEDIA, 1))),
                // System words, columns that are not there yet, and sounds, which are not of the span.
                seen -> taken(List.of(NONE, new TreeSet<>(Set.of(0)))),
                seen -> taken(List.of(NONE, new TreeSet<>(Set.of(size() + generated(seen))))),
                seen -> taken(List.of(NONE, new TreeSet<>(Set.of(first(Modality.AUDIO))))));
        try (Engine engine = Engine.open(model, EXACT.withMaxBranches(8))) {
            for (final Rechoice.Choice choice : wrong) {
                final Request other = varied(Optional.empty());
                final Generation company = engine.submit(other);
                final Generation failing = engine.submit(request(
                        branches(hide(EnumSet.of(Modality.IMAGE))), rechoice(choice, -1, 0), Optional.empty(), 2, -1));
                final RuntimeException thrown = assertThrows(RuntimeException.class, () -> {
                    while (!failing.isDone()) {
                        engine.step();
                    }
                });
                assertTrue(
                        thrown instanceof BadInputException || thrown instanceof IllegalStateException,
                        thrown.toString());
                assertTrue(failing.isDone());
                assertEquals(FinishReason.CANCELLED, failing.answer().finish());
                assertFalse(company.isDone());
                while (!company.isDone()) {
                    engine.step();
                }
                check(engine, other, company.answer());
                assertEquals(engine.room().cells(), engine.room().freeCells());
            }
        }
    }

    @Test
    void refusesWhatCannotBeChosenAnew() {
        final Rechoice.Choice none = seen -> List.of();
        final List<Branch> two = branches(hide(MEDIA));
        final Hide named = new Hide("named", MEDIA, Optional.of(layers(first(Modality.IMAGE))), layers(1));
        final List<Runnable> refused = List.of(
                () -> request(two, new Rechoice(1, rechoice(none, -1, 0).chosen(), none), Optional.empty(), 1, 1),
                () -> request(two, rechoice(none, -1), Optional.empty(), 1, 1),
                () -> request(two, rechoice(none, -1, -1), Optional.empty(), 1, 1),
                () -> request(two, rechoice(none, 0, 0), Optional.empty(), 1, 1),
                () -> request(two, rechoice(none, -1, 1), Optional.empty(), 1, 1),
                () -> request(branches(named), rechoice(none, -1, 0), Optional.empty(), 1, 1),
                () -> request(branches(look()), rechoice(none, -1, 0), Optional.empty(), 1, 1),
                () -> new Request(
                        branches(look(), hide(MEDIA)),
                        Optional.of(new Combination(CoefficientSchedule.fixed(1, 1), false, 0)),
                        Sampling.greedy(),
                        Limits.defaults(),
                        0,
                        StrategyLabel.PLAIN,
                        Optional.of(new Merge(1, Map.of())),
                        Optional.empty(),
                        Optional.of(rechoice(none, -1, -1, 0))));
        for (final Runnable one : refused) {
            assertThrows(BadInputException.class, one::run);
        }
        final Request request = varied(Optional.empty());
        try (Engine engine = Engine.open(model, EXACT.withMaxBranches(8))) {
            assertThrows(BadInputException.class, () -> engine.rows(request));
            assertThrows(BadInputException.class, () -> engine.logProbabilities(request, List.of(new int[] {1, 2})));
            assertFalse(engine.describe(request).draw().inGraph());
        }
        assertEquals(
                request.rechoice(),
                request.withGate(new Gate.Disagreement(2)).rechoice());
    }
}
