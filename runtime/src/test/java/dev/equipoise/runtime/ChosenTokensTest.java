package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Hide;
import dev.equipoise.runtime.intervention.Intervention.HideAttended;
import dev.equipoise.runtime.intervention.Intervention.RaiseScores;
import dev.equipoise.runtime.intervention.Intervention.ReadAttention;
import dev.equipoise.runtime.intervention.Intervention.Reweigh;
import dev.equipoise.runtime.intervention.Intervention.Silence;
import dev.equipoise.runtime.intervention.Keep;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.InterventionOracle;
import dev.equipoise.runtime.oracle.InterventionOracle.Act;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.PromptColumns;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.function.IntPredicate;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Interventions on some of a span's tokens against the same formulas in the plain Java forward pass. */
class ChosenTokensTest {
    private static final int LAYERS = 4;
    private static final int WIDTH = 64;
    private static final EngineOptions EXACT = Tolerance.exact(1024);

    @TempDir
    static Path directory;

    private static Model model;
    private static LlamaOracle oracle;
    private static Prompt prompt;
    private static List<Input> inputs;
    private static List<Span> spans;

    @BeforeAll
    static void writeModel() {
        final Path file = TinyModels.llama(directory.resolve("tiny.gguf"), 3, LAYERS, WIDTH, 4, 2, 96, 512);
        final Path mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 4, WIDTH);
        model = Model.load(file, Placement.options().withMmproj(mmproj));
        oracle = LlamaOracle.of(GgufFile.read(file));
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(5).nextBytes(pixels);
        final float[] samples = new float[16_000];
        for (int i = 0; i < samples.length; i++) {
            samples[i] = (float) Math.sin(i * 0.05) * 0.5f;
        }
        prompt = Prompt.builder()
                .system("you see and hear")
                .image(Image.rgb(32, 32, pixels))
                .audio(Audio.pcm(samples))
                .text("which colour has the square")
                .build();
        try (Engine engine = Engine.open(model, EXACT)) {
            spans = engine.logits(Request.plain(prompt)).spans();
            inputs = PromptColumns.of(engine, prompt).inputs();
        }
    }

    @AfterAll
    static void closeModel() {
        model.close();
    }

    private static SortedSet<Integer> columns(final Modality modality) {
        return spans.stream()
                .filter(span -> span.modality() == modality)
                .flatMapToInt(span -> IntStream.range(span.start(), span.start() + span.length()))
                .boxed()
                .collect(Collectors.toCollection(TreeSet::new));
    }

    // Every second column of a span, without its first.
    private static SortedSet<Integer> some(final Modality modality) {
        final List<Integer> all = List.copyOf(columns(modality));
        return IntStream.range(0, all.size())
                .filter(i -> i % 2 == 1)
                .mapToObj(all::get)
                .collect(Collectors.toCollection(TreeSet::new));
    }

    private static SortedSet<Integer> layers(final Integer... numbers) {
        return new TreeSet<>(List.of(numbers));
    }

    private static Hide hide(final Set<Modality> span, final SortedSet<Integer> tokens, final Integer... layers) {
        return new Hide("hide", span, Optional.of(tokens), layers(layers));
    }

    private static HideAttended attended(
            final Set<Modality> span, final int keep, final int looked, final Integer... layers) {
        return new HideAttended("attended", span, Keep.of(keep), looked, layers(layers), Scope.all());
    }

    private static Request request(final Intervention... interventions) {
        return new Request(
                List.of(new Branch("base", prompt, List.of(interventions))),
                Optional.empty(),
                Sampling.greedy(),
                new Limits(5, List.of()),
                0,
                new StrategyLabel("test", "test"));
    }

    private static void assertParity(final EngineOptions options, final Act... acts) {
        final double[] plain = oracle.run(inputs).last();
        final double[] expected = oracle.run(inputs, new InterventionOracle(acts)).last();
        final Intervention[] interventions = Arrays.stream(acts).map(Act::what).toArray(Intervention[]::new);
        final double tolerance = options.flashAttention() == FlashAttention.OFF
                ? Tolerance.f32(expected)
                : Tolerance.f16(expected);
        try (Engine engine = Engine.open(model, options)) {
            final float[] actual = engine.logits(request(interventions)).logits();
            final double difference = Tolerance.largestDifference(expected, actual);
            assertTrue(difference <= tolerance, () -> "largest difference " + difference + " of " + tolerance);
            final double effect = Tolerance.largestDifference(plain, actual);
            Placement.requireVisible(effect > 10 * tolerance, "an effect of " + effect + " proves nothing");
        }
    }

    private static final IntPredicate EVERYWHERE = t -> true;

    static Stream<List<Act>> choices() {
        final SortedSet<Integer> seen = some(Modality.IMAGE);
        final SortedSet<Integer> both = new TreeSet<>(seen);
        both.addAll(some(Modality.AUDIO));
        final SortedSet<Integer> words = some(Modality.TEXT);
        final Set<Modality> image = EnumSet.of(Modality.IMAGE);
        final Reweigh louder = new Reweigh(
                "all of the picture", image, OptionalInt.empty(), 6, layers(0, 1, 2, 3), Scope.all());
        final RaiseScores raise =
                new RaiseScores("pai", image, 3, layers(1), Heads.ALL, Scope.all());
        final Act hidden = new Act(hide(image, seen, 2, 3), EVERYWHERE, seen::contains);
        return Stream.of(
                List.of(hidden),
                List.of(new Act(
                        hide(EnumSet.of(Modality.IMAGE, Modality.AUDIO), both, 0, 1, 2), EVERYWHERE, both::contains)),
                // The first token and the last one are among these: rows that see nothing else stay defined.
                List.of(new Act(
                        hide(EnumSet.of(Modality.TEXT), columns(Modality.TEXT), 0, 2),
                        EVERYWHERE,
                        columns(Modality.TEXT)::contains)),
                List.of(new Act(hide(EnumSet.of(Modality.TEXT), words, 1, 3), EVERYWHERE, words::contains)),
                List.of(new Act(
                        new Hide("whole span", image, Optional.empty(), layers(1, 2)),
                        EVERYWHERE,
                        columns(Modality.IMAGE)::contains)),
                List.of(new Act(new Silence("silence", image, Optional.of(seen)), seen::contains)),
                // Each query for itself, pictures among themselves too; the first of them has nothing else to see.
                List.of(new Act(attended(image, 3, 0, 1, 2, 3), EVERYWHERE, columns(Modality.IMAGE)::contains)),
                List.of(new Act(attended(image, 0, 1, 2), EVERYWHERE, columns(Modality.IMAGE)::contains)),
                List.of(
                        new Act(raise, EVERYWHERE, columns(Modality.IMAGE)::contains),
                        new Act(
                                attended(EnumSet.of(Modality.IMAGE, Modality.AUDIO), 4, 1, 3),
                                EVERYWHERE,
                                t -> columns(Modality.IMAGE).contains(t) || columns(Modality.AUDIO).contains(t))),
                // What is about the span means its hidden tokens too, in the layers in which they are seen.
                List.of(new Act(louder, EVERYWHERE, columns(Modality.IMAGE)::contains), hidden),
                List.of(hidden, new Act(raise, EVERYWHERE, columns(Modality.IMAGE)::contains)));
    }

    @ParameterizedTest
    @MethodSource("choices")
    void someTokensOfASpan(final List<Act> acts) {
        final Act[] all = acts.toArray(Act[]::new);
        assertParity(EXACT, all);
        assertParity(EXACT.withMicroBatch(3).withMaxBranches(1), all);
        assertParity(EXACT.withFlashAttention(FlashAttention.ON), all);
    }

    @Test
    void branchesThatHideDifferentTokensShareWhatComesBefore() {
        final Hide seen = hide(EnumSet.of(Modality.IMAGE), some(Modality.IMAGE), 1, 2, 3);
        final Hide heard = hide(EnumSet.of(Modality.AUDIO), some(Modality.AUDIO), 1, 2, 3);
        final List<Branch> branches = List.of(
                new Branch("base", prompt),
                new Branch("seeing less", prompt, List.of(seen)),
                new Branch("hearing less", prompt, List.of(heard)));
        final Request combined = new Request(
                branches,
                Optional.of(new Combination(CoefficientSchedule.fixed(1, -2, 3), false, 0)),
                Sampling.greedy(),
                new Limits(4, List.of()),
                0,
                new StrategyLabel("test", "test"));
        final double[][] rows = {
            oracle.run(inputs).last(),
            oracle.run(inputs, oracleOf(seen)).last(),
            oracle.run(inputs, oracleOf(heard)).last()
        };
        try (Engine engine = Engine.open(model, EXACT)) {
            final List<PlanDescription.BranchPlan> plans = engine.describe(combined).branches();
            assertEquals(columns(Modality.IMAGE).first(), plans.get(1).sharedTokens());
            assertEquals(columns(Modality.AUDIO).first(), plans.get(2).sharedTokens());
            // A request in between must not see the labels of another one.
            final Generation company = engine.submit(request(seen));
            engine.step();
            final float[] actual = engine.logits(combined).logits();
            for (int y = 0; y < actual.length; y++) {
                final double expected = rows[0][y] - 2 * rows[1][y] + 3 * rows[2][y];
                final double difference = Math.abs(expected - actual[y]);
                // The three rows' errors, weighted as the rows are.
                assertTrue(difference <= 6 * Tolerance.f32(rows[0]), "token " + y + ": " + difference);
            }
            while (engine.step()) {
                assertTrue(engine.canAdvance());
            }
            assertEquals(engine.run(request(seen)).tokens(), company.answer().tokens());
            assertArrayEquals(
                    engine.logits(request()).logits(), engine.logits(Request.plain(prompt)).logits());
        }
    }

    private static InterventionOracle oracleOf(final Hide hide) {
        return new InterventionOracle(new Act(hide, EVERYWHERE, hide.tokens().orElseThrow()::contains));
    }

    @Test
    void hiddenTokensHaveNoWeight() {
        final SortedSet<Integer> tokens = some(Modality.IMAGE);
        final ReadAttention read = new ReadAttention("read", layers(1, 2), Scope.all().within(Reach.LAST));
        try (Engine engine = Engine.open(model, EXACT)) {
            final Observation seen = engine.observe(new Branch(
                    "base", prompt, List.of(hide(EnumSet.of(Modality.IMAGE), tokens, 2), read)));
            assertEquals(spans, seen.spans());
            for (final int column : columns(Modality.IMAGE)) {
                assertTrue(seen.rows().getFirst().get(0)[column] > 0, "layer 1, column " + column);
                assertEquals(!tokens.contains(column), seen.rows().getFirst().get(1)[column] > 0, "column " + column);
            }
            // Shares are by modality, whatever labels the keys of a modality have.
            double image = 0;
            for (final int column : columns(Modality.IMAGE)) {
                image += seen.rows().getFirst().get(0)[column];
            }
            // Sums of a few weights in another order.
            assertEquals(image, seen.attention().getFirst().share(0, Modality.IMAGE), 1e-6);
        }
    }

    @Test
    void refusesWhatCannotBeHidden() {
        final Set<Modality> image = EnumSet.of(Modality.IMAGE);
        final SortedSet<Integer> tokens = some(Modality.IMAGE);
        assertThrows(BadInputException.class, () -> hide(EnumSet.of(Modality.SYSTEM), tokens, 1));
        assertThrows(BadInputException.class, () -> hide(image, new TreeSet<>(), 1));
        assertThrows(BadInputException.class, () -> attended(EnumSet.of(Modality.TEXT), 1, 0, 1));
        assertThrows(BadInputException.class, () -> attended(image, 1, 1, 1, 2));
        assertThrows(BadInputException.class, () -> attended(image, 1, -1, 1));
        assertThrows(BadInputException.class, () -> Keep.of(-1));
        assertThrows(BadInputException.class, () -> new Keep(0, OptionalDouble.of(1.5)));
        assertThrows(BadInputException.class, () -> new Silence("none", image, Optional.of(new TreeSet<>())));
        try (Engine engine = Engine.open(model, EXACT)) {
            final List<Intervention[]> refused = List.of(
                    new Intervention[] {hide(image, some(Modality.AUDIO), 1)},
                    new Intervention[] {hide(image, layers(inputs.size()), 1)},
                    new Intervention[] {hide(EnumSet.of(Modality.CONTEXT), tokens, 1)},
                    new Intervention[] {hide(image, tokens, LAYERS)},
                    new Intervention[] {attended(EnumSet.of(Modality.CONTEXT), 1, 0, 1)},
                    new Intervention[] {attended(image, 1, 0, LAYERS)},
                    new Intervention[] {attended(image, 1, 0, 1), attended(image, 1, 1, 2)},
                    new Intervention[] {hide(image, tokens, 1), hide(image, columns(Modality.IMAGE), 2)},
                    new Intervention[] {new Silence("elsewhere", image, Optional.of(some(Modality.AUDIO)))},
                    new Intervention[] {
                        hide(image, tokens, 1),
                        new Reweigh("one medium", image, OptionalInt.of(0), 2, layers(1), Scope.all())
                    });
            for (final Intervention[] interventions : refused) {
                assertThrows(BadInputException.class, () -> engine.logits(request(interventions)));
            }
        }
    }
}
