package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Reweigh;
import dev.equipoise.runtime.intervention.Intervention.Silence;
import dev.equipoise.runtime.intervention.Intervention.Soften;
import dev.equipoise.runtime.intervention.Intervention.Steer;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.intervention.Phase;
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
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.function.IntPredicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What acts inside the network against the same formulas in the plain Java forward pass. */
class InterventionParityTest {
    private static final int LAYERS = 4;
    private static final int WIDTH = 64;
    private static final EngineOptions EXACT = Tolerance.exact(1024);

    @TempDir
    static Path directory;

    private static Model model;
    private static LlamaOracle oracle;
    private static Prompt prompt;
    private static PromptColumns columns;
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
                .context("the note says that the square is green")
                .image(Image.rgb(32, 32, pixels))
                .audio(Audio.pcm(samples))
                .text("which colour has the square")
                .build();
        try (Engine engine = Engine.open(model, EXACT)) {
            spans = engine.logits(Request.plain(prompt)).spans();
            columns = PromptColumns.of(engine, prompt);
            inputs = columns.inputs();
        }
    }

    @AfterAll
    static void closeModel() {
        model.close();
    }

    private static Request request(final Optional<Merge> merge, final List<Branch> branches) {
        return new Request(
                branches,
                Optional.empty(),
                Sampling.greedy(),
                new Limits(5, List.of()),
                0,
                new StrategyLabel("test", "test"),
                merge);
    }

    private static Request request(final Intervention... interventions) {
        return request(Optional.empty(), List.of(new Branch("base", prompt, List.of(interventions))));
    }

    // Directions as long as a hidden state of this model.
    private static LayerVectors vectors(final long seed, final Integer... layers) {
        final Random random = new Random(seed);
        final Map<Integer, float[]> vectors = new HashMap<>();
        for (final int layer : layers) {
            final float[] vector = new float[WIDTH];
            for (int i = 0; i < WIDTH; i++) {
                vector[i] = (float) random.nextGaussian();
            }
            vectors.put(layer, vector);
        }
        return new LayerVectors(vectors);
    }

    private static Steer steer(
            final Operation operation, final double amount, final Scope scope, final Integer... layers) {
        return new Steer(
                operation.name(),
                operation,
                vectors(11, layers),
                operation.isPlanar() ? Optional.of(vectors(12, layers)) : Optional.empty(),
                amount,
                scope);
    }

    private static Reweigh reweigh(
            final Modality span, final double factor, final Scope queries, final Integer... layers) {
        return new Reweigh(
                "reweigh", EnumSet.of(span), OptionalInt.empty(), factor, new TreeSet<>(List.of(layers)), queries);
    }

    private static IntPredicate in(final Modality... modalities) {
        final Set<Modality> wanted = Set.of(modalities);
        return t -> wanted.contains(columns.whose(t));
    }

    private static final IntPredicate EVERYWHERE = t -> true;

    private static int last() {
        return inputs.size() - 1;
    }

    private static void assertClose(final double[] expected, final float[] actual, final double tolerance) {
        final double difference = Tolerance.largestDifference(expected, actual);
        assertTrue(difference <= tolerance, () -> "largest difference " + difference + ", tolerance " + tolerance);
    }

    private static void assertParity(final EngineOptions options, final Act... acts) {
        final double[] plain = oracle.run(inputs).last();
        final double[] expected = oracle.run(inputs, new InterventionOracle(acts)).last();
        final Intervention[] interventions = Arrays.stream(acts).map(Act::what).toArray(Intervention[]::new);
        final boolean exact = options.flashAttention() == FlashAttention.OFF;
        final double tolerance = exact ? Tolerance.f32(expected) : Tolerance.f16(expected);
        try (Engine engine = Engine.open(model, options)) {
            final float[] actual = engine.logits(request(interventions)).logits();
            assertClose(expected, actual, tolerance);
            final double effect = Tolerance.largestDifference(plain, actual);
            Placement.requireVisible(effect > 10 * tolerance, "an effect of " + effect + " proves nothing");
        }
    }

    @ParameterizedTest
    @EnumSource(Operation.class)
    void everySteeringOperation(final Operation operation) {
        for (final int microBatch : new int[] {512, 5, 1}) {
            assertParity(
                    EXACT.withMicroBatch(microBatch).withMaxBranches(1),
                    new Act(steer(operation, 0.7, Scope.all(), 0, 1, 2, 3), EVERYWHERE));
        }
    }

    private static final SortedSet<Integer> ALL_LAYERS = new TreeSet<>(List.of(0, 1, 2, 3));

    private static Heads heads(final Integer... numbers) {
        return new Heads(new TreeSet<>(List.of(numbers)));
    }

    static Stream<Act> placesInABlock() {
        return Arrays.stream(Intervention.Place.values())
                .filter(place -> place != Intervention.Place.EMBEDDING)
                .flatMap(place -> Stream.of(Operation.ADD, Operation.ABLATE, Operation.TURN_AWARE, Operation.ROTATE)
                        .map(operation -> {
                            final Steer at = steer(operation, 0.7, Scope.all(), 0, 1, 2, 3);
                            return new Act(
                                    new Steer(
                                            place + " " + operation, operation, place, at.vectors(), at.second(),
                                            at.amount(), at.scope()),
                                    EVERYWHERE);
                        }));
    }

    @ParameterizedTest
    @MethodSource("placesInABlock")
    void everyPlaceInABlock(final Act act) {
        assertParity(EXACT, act);
        assertParity(EXACT.withMicroBatch(5).withMaxBranches(1), act);
    }

    private static Steer entering(final Operation operation, final Scope scope) {
        final Steer at = steer(operation, 0.7, scope, 0);
        return new Steer(
                "embedding " + operation, operation, Intervention.Place.EMBEDDING, at.vectors(), at.second(),
                at.amount(), scope);
    }

    @ParameterizedTest
    @EnumSource(Operation.class)
    void whatEntersTheFirstBlock(final Operation operation) {
        assertParity(EXACT, new Act(entering(operation, Scope.all()), EVERYWHERE));
        assertParity(
                EXACT.withMicroBatch(5).withMaxBranches(1),
                new Act(
                        entering(operation, Scope.all().of(EnumSet.of(Modality.IMAGE, Modality.CONTEXT))),
                        in(Modality.IMAGE, Modality.CONTEXT)));
    }

    /** Directional ablation (arXiv 2406.11717): one direction, at every writer of the residual. */
    @Test
    void ablationAtEveryWriter() {
        final LayerVectors one = vectors(11, 0);
        final Map<Integer, float[]> same = new HashMap<>();
        ALL_LAYERS.forEach(layer -> same.put(layer, one.at(0)));
        final List<Act> acts = new ArrayList<>();
        acts.add(new Act(entering(Operation.ABLATE, Scope.all()), EVERYWHERE));
        for (final Intervention.Place place : List.of(Intervention.Place.ATTENTION, Intervention.Place.MLP)) {
            acts.add(new Act(
                    new Steer("ablate " + place, Operation.ABLATE, place, new LayerVectors(same), Optional.empty(), 0,
                            Scope.all()),
                    EVERYWHERE));
        }
        assertParity(EXACT, acts.toArray(new Act[0]));
        // Nothing writes along it any more, so that taking it out of the blocks' outputs too changes next to nothing.
        final double[] row = oracle.run(inputs, new InterventionOracle(acts.toArray(new Act[0]))).last();
        acts.add(new Act(
                new Steer("ablate", Operation.ABLATE, new LayerVectors(same), Optional.empty(), 0, Scope.all()),
                EVERYWHERE));
        final double[] again = oracle.run(inputs, new InterventionOracle(acts.toArray(new Act[0]))).last();
        for (int i = 0; i < row.length; i++) {
            assertEquals(row[i], again[i], 1e-9);
        }
    }

    @Test
    void embeddingsEnterOneBlock() {
        assertThrows(BadInputException.class, () -> new Steer(
                "x", Operation.ADD, Intervention.Place.EMBEDDING, vectors(11, 1), Optional.empty(), 1, Scope.all()));
    }

    static Stream<Act> rowEdits() {
        final Scope all = Scope.all();
        final Scope last = all.within(Reach.LAST);
        final Set<Modality> image = EnumSet.of(Modality.IMAGE);
        final Set<Modality> audio = EnumSet.of(Modality.AUDIO);
        final Set<Modality> words = EnumSet.of(Modality.CONTEXT, Modality.TEXT);
        final IntPredicate seen = in(Modality.IMAGE);
        final IntPredicate heard = in(Modality.AUDIO);
        final IntPredicate read = in(Modality.CONTEXT, Modality.TEXT);
        return Stream.of(
                new Act(new Intervention.RaiseScores("pai", image, 3, ALL_LAYERS, Heads.ALL, last), t -> t >= last(),
                        seen),
                new Act(new Intervention.RaiseScores("two heads", words, -2, ALL_LAYERS, heads(1, 2), all), EVERYWHERE,
                        read),
                new Act(new Intervention.ScaleScores("vaf", image, 4, ALL_LAYERS, Heads.ALL, all), EVERYWHERE, seen),
                new Act(
                        new Intervention.MoveWeights(
                                "reallocate", words, image, 0.1, 0.7, ALL_LAYERS, Heads.ALL, all),
                        EVERYWHERE, read, seen),
                new Act(
                        new Intervention.MoveWeights("some", audio, image, 0.5, 1, ALL_LAYERS, heads(0, 2), all),
                        EVERYWHERE, heard, seen),
                // A third of the tokens are sinks by this measure, and the rows differ in whether they are edited.
                new Act(
                        new Intervention.DrainSinks(
                                "var", image, List.of(3, 17), 1.5, 0.8, 0.1, 0, ALL_LAYERS, Heads.ALL, all),
                        EVERYWHERE, seen),
                new Act(
                        new Intervention.DrainSinks(
                                "var at the end", image, List.of(40), 1.0, 0.6, 0.1, 0, ALL_LAYERS, heads(0, 1, 2),
                                last),
                        t -> t >= last(), seen));
    }

    @ParameterizedTest
    @MethodSource("rowEdits")
    void everyEditOfScoresAndWeights(final Act act) {
        assertParity(EXACT, act);
        assertParity(EXACT.withMicroBatch(3).withMaxBranches(1), act);
        // Layers without an edit keep the flash path, so both ways meet in one graph.
        assertParity(EXACT.withFlashAttention(FlashAttention.ON), act);
    }

    @ParameterizedTest
    @CsvSource({"Q8_0,ON", "F16,OFF", "F16,ON"})
    void rowsOfOtherCaches(final KvType kvType, final FlashAttention flash) {
        // Heads of 32, the block that a q8_0 cache is quantised by.
        final Path wide = TinyModels.llama(directory.resolve("wide.gguf"), 6, LAYERS, WIDTH, 2, 1, 96, 512);
        final LlamaOracle other = LlamaOracle.of(GgufFile.read(wide));
        final Prompt words = Prompt.builder()
                .context("the note says that the square is green")
                .text("which colour has the square")
                .build();
        final Intervention.RaiseScores raise = new Intervention.RaiseScores(
                "pai", EnumSet.of(Modality.CONTEXT), 5, ALL_LAYERS, Heads.ALL, Scope.all());
        try (Model loaded = Model.load(wide, Placement.options());
                Engine engine = Engine.open(loaded, EXACT.withKvType(kvType).withFlashAttention(flash))) {
            final NextLogits plain = engine.logits(Request.plain(words));
            final Span note = plain.spans().stream()
                    .filter(span -> span.modality() == Modality.CONTEXT)
                    .findFirst()
                    .orElseThrow();
            final Act act = new Act(
                    raise, EVERYWHERE, t -> t >= note.start() && t < note.start() + note.length());
            final double[] expected = other.run(Input.tokens(plain.promptTokens()), new InterventionOracle(act)).last();
            final Request request = request(Optional.empty(), List.of(new Branch("base", words, List.of(raise))));
            final float[] actual = engine.logits(request).logits();
            final double tolerance =
                    kvType == KvType.Q8_0 ? Tolerance.q8(LAYERS, expected) : Tolerance.f16(expected);
            assertClose(expected, actual, tolerance);
            final double effect = Tolerance.largestDifference(other.run(plain.promptTokens()).last(), actual);
            Placement.requireVisible(effect > 3 * tolerance, "an effect of " + effect + " proves nothing");
        }
    }

    static Stream<Act> exits() {
        return Stream.of(
                new Act(new Intervention.AverageExits("bare", new TreeSet<>(List.of(1, 2)), 0.3, false), EVERYWHERE),
                new Act(new Intervention.AverageExits("normed", new TreeSet<>(List.of(0, 3)), 0.5, true), EVERYWHERE),
                new Act(new Intervention.AverageExits("input", new TreeSet<>(List.of(-1, 2)), 0.5, false), EVERYWHERE),
                new Act(new Intervention.ContrastExits("dola", new TreeSet<>(List.of(0, 1, 2)), 0, true), EVERYWHERE),
                new Act(new Intervention.ContrastExits("one", new TreeSet<>(List.of(0)), 0, true), EVERYWHERE),
                new Act(new Intervention.ContrastExits("bare", new TreeSet<>(List.of(0, 2)), 0, false), EVERYWHERE),
                new Act(new Intervention.ContrastExits("input", new TreeSet<>(List.of(-1)), 0, true), EVERYWHERE),
                new Act(new Intervention.ContrastExits("both", new TreeSet<>(List.of(-1, 1)), 0, false), EVERYWHERE));
    }

    @Test
    void mutedTokensAreSeenAndSeeNothing() {
        final Span picture = spans.stream()
                .filter(span -> span.modality() == Modality.IMAGE)
                .findFirst()
                .orElseThrow();
        final SortedSet<Integer> some = new TreeSet<>(List.of(picture.start() + 1, picture.start() + 4));
        for (final int microBatch : new int[] {512, 5}) {
            final EngineOptions options = EXACT.withMicroBatch(microBatch).withMaxBranches(1);
            assertParity(
                    options,
                    new Act(
                            new Intervention.Mute(
                                    "some", EnumSet.of(Modality.IMAGE), Optional.of(some),
                                    new TreeSet<>(List.of(0, 1, 2))),
                            some::contains));
            assertParity(
                    options,
                    new Act(
                            new Intervention.Mute(
                                    "all", EnumSet.of(Modality.AUDIO), Optional.empty(), new TreeSet<>(List.of(1))),
                            in(Modality.AUDIO)));
        }
    }

    @ParameterizedTest
    @MethodSource("exits")
    void earlyExits(final Act act) {
        assertParity(EXACT, act);
        assertParity(EXACT.withMicroBatch(3).withMaxBranches(1), act);
    }

    @Test
    void whatIsReadIsWhatThereIs() {
        final Intervention.ReadAttention rows =
                new Intervention.ReadAttention("rows", new TreeSet<>(List.of(1, 3)), Scope.all().within(Reach.LAST));
        final Intervention.ReadStates states = new Intervention.ReadStates(
                "states", Intervention.Place.LAYER, new TreeSet<>(List.of(0, 2)),
                Scope.all().of(EnumSet.of(Modality.IMAGE)));
        final double[][][] weights = new double[LAYERS][4][];
        final LlamaOracle.Result result = oracle.run(inputs, new LlamaOracle.Inside() {
            @Override
            public double[] weights(final int layer, final int head, final int position, final double[] row) {
                weights[layer][head] = row;
                return row;
            }
        });
        try (Engine engine = Engine.open(model, EXACT.withMicroBatch(7))) {
            final Observation seen = engine.observe(new Branch("base", prompt, List.of(rows, states)));
            for (int index = 0; index < 2; index++) {
                final int layer = 2 * index + 1;
                final float[] row = seen.rows().getFirst().get(index);
                final double[] mean = new double[inputs.size()];
                for (int head = 0; head < 4; head++) {
                    for (int key = 0; key < mean.length; key++) {
                        mean[key] += weights[layer][head][key] / 4;
                    }
                }
                assertClose(mean, row, Tolerance.f32(mean));
                final AttentionMass mass = seen.attention().getFirst();
                double image = 0;
                for (int key = 0; key < mean.length; key++) {
                    image += in(Modality.IMAGE).test(key) ? mean[key] : 0;
                }
                assertEquals(image, mass.share(index, Modality.IMAGE), Placement.onGpu() ? 1e-2 : 1e-5);
                assertEquals(1, mass.queries());
                final double aei = mass.aei(true, List.of(layer)) / mass.aei(false, List.of(layer));
                assertEquals(mass.mdi(List.of(layer)), aei, 1e-9 * aei, "MDI is the ratio of the two AEI");
            }
            final float[] state = seen.states().getFirst().get(1);
            final double[] mean = new double[WIDTH];
            int images = 0;
            for (int t = 0; t < inputs.size(); t++) {
                if (in(Modality.IMAGE).test(t)) {
                    images++;
                    for (int i = 0; i < WIDTH; i++) {
                        mean[i] += result.hidden()[2][t][i];
                    }
                }
            }
            final double count = images;
            final double[] expected = Arrays.stream(mean).map(sum -> sum / count).toArray();
            assertClose(expected, state, Tolerance.f32(expected));
        }
    }

    static Stream<Act> scopes() {
        final IntPredicate text = in(Modality.TEXT);
        return Stream.of(
                new Act(steer(Operation.ADD, 1, Scope.all().of(EnumSet.of(Modality.TEXT)), 0, 2), text),
                new Act(
                        steer(Operation.ADD, -2, Scope.all().of(EnumSet.of(Modality.CONTEXT, Modality.IMAGE)), 1),
                        in(Modality.CONTEXT, Modality.IMAGE)),
                new Act(steer(Operation.ADD, 1, Scope.all().within(Reach.LAST), 3), t -> t == last()),
                new Act(steer(Operation.ADD, 1, Scope.all().within(Reach.AFTER_INSTRUCTION), 2), t -> t >= last()),
                new Act(
                        steer(Operation.ADD, 1, Scope.all().within(Reach.AFTER_MEDIA), 1),
                        t -> t > spans.get(spans.size() - 2).start() + spans.get(spans.size() - 2).length() - 1),
                new Act(steer(Operation.ADD, 2, Scope.all().ofMedium(1), 0), in(Modality.AUDIO)),
                new Act(
                        steer(Operation.ADD, 2, Scope.all().at(new Scope.Positions(2, 6)), 0, 1),
                        t -> t >= 2 && t <= 6));
    }

    @ParameterizedTest
    @MethodSource("scopes")
    void everyScope(final Act act) {
        assertParity(EXACT, act);
        assertParity(EXACT.withMicroBatch(4).withMaxBranches(1), act);
    }

    static Stream<Act> attentionEdits() {
        final Scope text = Scope.all().of(EnumSet.of(Modality.TEXT));
        return Stream.of(
                new Act(reweigh(Modality.IMAGE, 6, Scope.all(), 0, 1, 2, 3), EVERYWHERE, in(Modality.IMAGE)),
                new Act(reweigh(Modality.CONTEXT, 0.2, text, 1, 2), in(Modality.TEXT), in(Modality.CONTEXT)),
                new Act(reweigh(Modality.CONTEXT, 0, text, 0, 1, 2, 3), in(Modality.TEXT), in(Modality.CONTEXT)),
                new Act(
                        reweigh(Modality.AUDIO, 9, Scope.all().within(Reach.LAST), 2),
                        t -> t == last(),
                        in(Modality.AUDIO)),
                new Act(
                        new Reweigh(
                                "second medium",
                                EnumSet.of(Modality.IMAGE, Modality.AUDIO),
                                OptionalInt.of(1),
                                7,
                                new TreeSet<>(List.of(0, 3)),
                                Scope.all()),
                        EVERYWHERE,
                        in(Modality.AUDIO)),
                new Act(new Soften("soften", 3, new TreeSet<>(List.of(0, 1, 2, 3)), Scope.all()), EVERYWHERE),
                new Act(new Soften("sharpen", 0.2, new TreeSet<>(List.of(1)), text), in(Modality.TEXT)),
                new Act(new Soften("two heads", 4, ALL_LAYERS, heads(0, 3), Scope.all()), EVERYWHERE),
                new Act(
                        new Reweigh(
                                "one head", EnumSet.of(Modality.IMAGE), OptionalInt.empty(), 20, ALL_LAYERS, heads(2),
                                Scope.all()),
                        EVERYWHERE,
                        in(Modality.IMAGE)),
                new Act(
                        new Reweigh(
                                "hidden from two heads", EnumSet.of(Modality.CONTEXT), OptionalInt.empty(), 0,
                                ALL_LAYERS, heads(1, 2), text),
                        in(Modality.TEXT),
                        in(Modality.CONTEXT)),
                new Act(new Silence("blind", EnumSet.of(Modality.IMAGE)), in(Modality.IMAGE)),
                new Act(
                        new Silence("deaf to words", EnumSet.of(Modality.CONTEXT, Modality.AUDIO)),
                        in(Modality.CONTEXT, Modality.AUDIO)));
    }

    @ParameterizedTest
    @MethodSource("attentionEdits")
    void everyEditOfAttentionAndEmbeddings(final Act act) {
        assertParity(EXACT, act);
        assertParity(EXACT.withMicroBatch(3).withMaxBranches(1), act);
        assertParity(EXACT.withFlashAttention(FlashAttention.ON), act);
    }

    @Test
    void severalInTheOrderInWhichTheyAreNamed() {
        final Act push = new Act(steer(Operation.ADD, 1, Scope.all(), 1), EVERYWHERE);
        final Act turn = new Act(steer(Operation.ROTATE, 2, Scope.all(), 1), EVERYWHERE);
        final Act look = new Act(reweigh(Modality.IMAGE, 4, Scope.all(), 1, 2), EVERYWHERE, in(Modality.IMAGE));
        final Act again = new Act(reweigh(Modality.IMAGE, 2, Scope.all(), 2), EVERYWHERE, in(Modality.IMAGE));
        final Act deaf = new Act(new Silence("deaf", EnumSet.of(Modality.AUDIO)), in(Modality.AUDIO));
        assertParity(EXACT, push, turn, look, again, deaf);
        assertParity(EXACT, turn, push);
    }

    @ParameterizedTest
    @CsvSource({"512,0", "512,2", "6,1", "2,2"})
    void forkMerge(final int microBatch, final int layer) {
        final Map<Modality, Double> weights = Map.of(Modality.IMAGE, 0.8, Modality.AUDIO, 0.2);
        final Merge merge = new Merge(layer, weights);
        final List<Branch> branches = List.of(
                new Branch("seeing", prompt, List.of(new Silence("deaf", EnumSet.of(Modality.AUDIO)))),
                new Branch("hearing", prompt, List.of(new Silence("blind", EnumSet.of(Modality.IMAGE)))));
        final double[] w = new double[inputs.size() + 5];
        for (int t = 0; t < w.length; t++) {
            w[t] = in(Modality.IMAGE).test(t) ? 0.8 : in(Modality.AUDIO).test(t) ? 0.2 : 0.5;
        }
        final LlamaOracle.Inside deaf =
                new InterventionOracle(new Act(branches.get(0).interventions().getFirst(), in(Modality.AUDIO)));
        final LlamaOracle.Inside blind =
                new InterventionOracle(new Act(branches.get(1).interventions().getFirst(), in(Modality.IMAGE)));
        final double[] expected = oracle.runMerged(inputs, deaf, blind, layer, w).last();
        try (Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch).withMaxBranches(2))) {
            final Request request = request(Optional.of(merge), branches);
            assertClose(expected, engine.logits(request).logits(), Tolerance.f32(expected));

            final Answer answer = engine.run(request);
            final List<Input> read = new ArrayList<>(inputs);
            for (final int token : answer.tokens()) {
                assertDrawn(oracle.runMerged(read, deaf, blind, layer, w).last(), token);
                read.add(new Input.Token(token));
            }
            final TraceEntry merged = answer.trace().getLast();
            assertEquals("merge", merged.intervention());
            // Below the merge the branches are what they are without it; what they share changes nothing there.
            final List<Input> seen =
                    answer.finish() == FinishReason.STOP ? read : read.subList(0, read.size() - 1);
            final double[][] first = oracle.run(seen, deaf).hidden()[layer];
            final double[][] second = oracle.run(seen, blind).hidden()[layer];
            double sum = 0;
            for (int t = 0; t < seen.size(); t++) {
                double squares = 0;
                for (int i = 0; i < WIDTH; i++) {
                    squares += Math.pow((1 - w[t]) * (second[t][i] - first[t][i]), 2);
                }
                sum += Math.sqrt(squares);
            }
            assertTrue(merged.tokens() > 0 && merged.tokens() <= seen.size());
            // States err by 2e-5 of their norms, and differ by more than a twentieth of them.
            assertEquals(sum / merged.tokens(), merged.meanDeltaNorm(), 1e-3 * sum / merged.tokens());
        }
    }

    // Two branches that are merged, and what the oracle does for them.
    private record Fork(Request request, int layer, InterventionOracle first, InterventionOracle second) {
        double[] row(final List<Input> read) {
            final double[] even = new double[read.size()];
            Arrays.fill(even, Merge.EVEN);
            return oracle.runMerged(read, first, second, layer, even).last();
        }

        void assertAnswered(final Answer answer) {
            final List<Input> read = new ArrayList<>(inputs);
            assertTrue(!answer.tokens().isEmpty());
            for (final int token : answer.tokens()) {
                assertDrawn(row(read), token);
                read.add(new Input.Token(token));
            }
        }
    }

    private static Fork fork(final int layer, final boolean byMask, final Act... more) {
        final List<Branch> branches = new ArrayList<>();
        final List<InterventionOracle> oracles = new ArrayList<>();
        for (final Modality lacking : List.of(Modality.AUDIO, Modality.IMAGE)) {
            final Set<Modality> rest = EnumSet.complementOf(EnumSet.of(lacking));
            final SortedSet<Integer> below = ALL_LAYERS.headSet(layer + 1);
            final Act hide = byMask
                    ? new Act(
                            new Reweigh(
                                    "hide", EnumSet.of(lacking), OptionalInt.empty(), 0, below,
                                    Scope.all().of(rest)),
                            in(lacking).negate(),
                            in(lacking))
                    : new Act(new Silence("silence", EnumSet.of(lacking)), in(lacking));
            final List<Act> acts = new ArrayList<>(List.of(more));
            acts.add(hide);
            branches.add(new Branch(
                    "without " + lacking, prompt, acts.stream().map(Act::what).toList()));
            oracles.add(new InterventionOracle(acts.toArray(Act[]::new)));
        }
        return new Fork(
                request(Optional.of(new Merge(layer, Map.of())), branches),
                layer,
                oracles.get(0),
                oracles.get(1));
    }

    static Stream<Fork> forks() {
        final Act push = new Act(steer(Operation.ADD, 0.7, Scope.all(), 0, 1, 2, 3), EVERYWHERE);
        final Act turn = new Act(steer(Operation.ROTATE, 1, Scope.all(), 3), EVERYWHERE);
        final Set<Modality> note = EnumSet.of(Modality.CONTEXT);
        final IntPredicate noted = in(Modality.CONTEXT);
        final Act look = new Act(reweigh(Modality.CONTEXT, 5, Scope.all(), 0, 1, 2, 3), EVERYWHERE, noted);
        final Act raise = new Act(
                new Intervention.RaiseScores("pai", note, 3, ALL_LAYERS, Heads.ALL, Scope.all()), EVERYWHERE, noted);
        final Act sinks = new Act(
                new Intervention.DrainSinks(
                        "var", note, List.of(3, 17), 1.5, 0.8, 0.1, 0, ALL_LAYERS, Heads.ALL, Scope.all()),
                EVERYWHERE,
                noted);
        return Stream.of(
                fork(0, false, push, look),
                fork(0, true, turn),
                fork(1, true, push, look),
                fork(1, false, raise, sinks),
                fork(2, false, turn),
                fork(2, true, push, turn, look));
    }

    @ParameterizedTest
    @MethodSource("forks")
    void editsOnBothSidesOfAMerge(final Fork fork) {
        final double[] expected = fork.row(inputs);
        for (final int microBatch : new int[] {512, 7, 2}) {
            try (Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch).withMaxBranches(2))) {
                assertClose(expected, engine.logits(fork.request()).logits(), Tolerance.f32(expected));
            }
        }
        try (Engine engine = Engine.open(model, EXACT.withFlashAttention(FlashAttention.ON))) {
            assertClose(expected, engine.logits(fork.request()).logits(), Tolerance.f16(expected));
        }
    }

    @ParameterizedTest
    @CsvSource({"512,ON", "512,OFF", "16,ON"})
    void mergesAtSeveralLayersInOneBatch(final int microBatch, final PadSteps pad) {
        final List<Fork> forks = forks().toList();
        try (Engine engine = Engine.open(
                model, EXACT.withContext(2048).withMicroBatch(microBatch).withMaxBranches(13).withPadSteps(pad))) {
            final List<Generation> together = new ArrayList<>();
            final Generation plain = engine.submit(Request.plain(prompt));
            forks.forEach(fork -> together.add(engine.submit(fork.request())));
            // One whose prompt is not yet read and one that generates end in the middle.
            together.getLast().cancel();
            engine.step();
            together.getFirst().cancel();
            while (engine.step()) {
                // All of them advance.
            }
            for (int i = 1; i < forks.size() - 1; i++) {
                forks.get(i).assertAnswered(together.get(i).answer());
            }
            final List<Input> read = new ArrayList<>(inputs);
            for (final int token : plain.answer().tokens()) {
                assertDrawn(oracle.run(read).last(), token);
                read.add(new Input.Token(token));
            }
            // Their sequences and cells serve others now, which go all the way.
            final double[] row = oracle.run(inputs).last();
            assertClose(row, engine.logits(Request.plain(prompt)).logits(), Tolerance.f32(row));
            forks.getFirst().assertAnswered(engine.run(forks.getFirst().request()));
        }
    }

    // The token drawn is the oracle's best, or no further from it than rounding can be.
    private static void assertDrawn(final double[] row, final int token) {
        final double best = Arrays.stream(row).max().orElseThrow();
        assertTrue(row[token] >= best - 2 * Tolerance.f32(row), () -> "token " + token + ": " + row[token] + ", best "
                + best);
    }

    @Test
    void differentInterventionsInOneBatch() {
        final List<Act> acts = List.of(
                new Act(steer(Operation.ADD, 1, Scope.all(), 0, 1, 2, 3), EVERYWHERE),
                new Act(
                        steer(Operation.ROTATE, 1, Scope.all().during(EnumSet.of(Phase.GENERATED)), 1, 3),
                        t -> t > last()),
                new Act(reweigh(Modality.IMAGE, 5, Scope.all(), 0, 2), EVERYWHERE, in(Modality.IMAGE)),
                new Act(
                        reweigh(Modality.CONTEXT, 0.1, Scope.all().of(EnumSet.of(Modality.TEXT)), 1, 2, 3),
                        in(Modality.TEXT),
                        in(Modality.CONTEXT)),
                new Act(new Silence("blind", EnumSet.of(Modality.IMAGE)), in(Modality.IMAGE)));
        try (Engine engine = Engine.open(model, EXACT.withMicroBatch(32))) {
            final List<Generation> together = new ArrayList<>();
            together.add(engine.submit(Request.plain(prompt)));
            acts.forEach(act -> together.add(engine.submit(request(act.what()))));
            engine.step();
            // One that ends in the middle leaves the others what they are.
            together.getFirst().cancel();
            while (engine.step()) {
                // All of them advance.
            }
            for (int i = 0; i < acts.size(); i++) {
                final List<Input> read = new ArrayList<>(inputs);
                final Answer answer = together.get(i + 1).answer();
                assertTrue(!answer.tokens().isEmpty());
                for (final int token : answer.tokens()) {
                    assertDrawn(oracle.run(read, new InterventionOracle(acts.get(i))).last(), token);
                    read.add(new Input.Token(token));
                }
            }
            // Sequences and cells are used again: nothing of the last tenants may be left.
            final double[] plain = oracle.run(inputs).last();
            assertClose(plain, engine.logits(Request.plain(prompt)).logits(), Tolerance.f32(plain));
        }
    }

    @Test
    void theTraceCountsTokensAndMeasuresTheChange() {
        final Steer add = steer(Operation.ADD, 0.5, Scope.all().of(EnumSet.of(Modality.IMAGE)), 0, 2);
        final Reweigh look = reweigh(Modality.IMAGE, 4, Scope.all().within(Reach.LAST), 1);
        try (Engine engine = Engine.open(model, EXACT)) {
            final Answer answer = engine.run(request(add, look));
            final int picture = spans.stream()
                    .filter(span -> span.modality() == Modality.IMAGE)
                    .mapToInt(Span::length)
                    .sum();
            final TraceEntry steered = answer.trace().get(0);
            assertEquals(List.of(0, 2), steered.layers());
            assertEquals(picture, steered.tokens());
            final double norm = (add.vectors().norm(0) + add.vectors().norm(2)) / 2 * 0.5;
            assertEquals(norm, steered.meanDeltaNorm(), 1e-4 * norm);
            // The last prompt token and all generated ones but the one that ended the answer.
            final TraceEntry looked = answer.trace().get(1);
            assertEquals(answer.tokens().size(), looked.tokens());
            assertEquals(Math.log(4) * Math.sqrt(picture), looked.meanDeltaNorm(), 1e-4);
        }
    }

    private static Scope beyond(final int tokens) {
        return Scope.all().at(new Scope.Positions(inputs.size() + tokens, inputs.size() + tokens));
    }

    @Test
    void whatCannotBeDoneIsRefusedBeforeAnythingIsDecoded() {
        final Scope text = Scope.all().of(EnumSet.of(Modality.TEXT));
        final LayerVectors narrow = new LayerVectors(Map.of(0, new float[] {1, 2, 3}));
        final LayerVectors zero = new LayerVectors(Map.of(0, new float[WIDTH]));
        final Span note = spans.stream()
                .filter(span -> span.modality() == Modality.CONTEXT)
                .findFirst()
                .orElseThrow();
        final Scope.Positions noted = new Scope.Positions(note.start(), note.start() + note.length() - 1);
        final List<Intervention> refused = List.of(
                steer(Operation.ADD, 1, Scope.all(), LAYERS),
                new Steer("narrow", Operation.ADD, narrow, Optional.empty(), 1, Scope.all()),
                new Steer("zero", Operation.ABLATE, zero, Optional.empty(), 1, Scope.all()),
                steer(Operation.ADD, 1, Scope.all().ofMedium(2), 0),
                // Would be NaN in the cache that others attend to.
                steer(Operation.ADD, 3e38, Scope.all(), 0),
                reweigh(Modality.TEXT, 0, text, 0),
                // Neither the prompt's tokens nor the first that is generated, but later ones.
                reweigh(Modality.TEXT, 0, beyond(3), 0),
                // Generated tokens stand behind the prompt's, and those here are no pictures.
                steer(Operation.ADD, 1, Scope.all().of(EnumSet.of(Modality.IMAGE, Modality.TEXT)).at(noted), 0),
                new Reweigh(
                        "no such medium",
                        EnumSet.of(Modality.IMAGE),
                        OptionalInt.of(1),
                        2,
                        new TreeSet<>(List.of(0)),
                        Scope.all()));
        try (Engine engine = Engine.open(model, EXACT)) {
            for (final Intervention one : refused) {
                final BadInputException error =
                        assertThrows(BadInputException.class, () -> engine.submit(request(one)), one.name());
                assertNotEquals("", error.getMessage());
            }
            final List<Branch> two = List.of(new Branch("a", prompt), new Branch("b", prompt));
            final Request late = request(Optional.of(new Merge(LAYERS - 1, Map.of())), two);
            assertThrows(BadInputException.class, () -> engine.submit(late));
            final Request apart = request(
                    Optional.of(new Merge(1, Map.of())),
                    List.of(new Branch("a", prompt), new Branch("b", prompt.without(Modality.AUDIO))));
            assertThrows(BadInputException.class, () -> engine.submit(apart));
            assertTrue(!engine.step());
        }
    }

    private static Request limited(final int tokens, final Scope scope) {
        return new Request(
                List.of(new Branch("base", prompt, List.of(steer(Operation.ADD, 1, scope, 0)))),
                Optional.empty(),
                Sampling.greedy(),
                new Limits(tokens, List.of()),
                0,
                StrategyLabel.PLAIN);
    }

    /** Of the generated tokens all but the last are read; what stands behind them is never there. */
    @Test
    void aSelectionBehindTheLastTokenIsRefused() {
        final Scope generated = Scope.all().during(EnumSet.of(Phase.GENERATED));
        final Scope far = Scope.all().at(new Scope.Positions(500_000, Integer.MAX_VALUE));
        try (Engine engine = Engine.open(model, EXACT)) {
            for (final Request refused : List.of(
                    limited(1, generated), limited(3, beyond(2)), limited(6, far), limited(1, beyond(0)))) {
                final BadInputException error =
                        assertThrows(BadInputException.class, () -> engine.submit(refused), refused.toString());
                assertEquals("an intervention that acts on no token", error.what());
                assertTrue(error.where().contains("prompt tokens 0-" + (inputs.size() - 1)), error.where());
                assertTrue(error.remedy().contains("more tokens"), error.remedy());
            }
            for (final Request request : List.of(limited(2, generated), limited(4, beyond(2)), limited(2, beyond(0)))) {
                final Answer answer = engine.run(request);
                // An answer may end before.
                assertTrue(answer.finish() == FinishReason.STOP || answer.trace().getFirst().tokens() == 1);
            }
        }
    }

    /** Labels are few: a medium that would share one with another cannot be told from it. */
    @Test
    void mediaThatCannotBeToldApartAreRefused() {
        final Prompt.Builder many = Prompt.builder();
        for (int i = 0; i < 57; i++) {
            many.image(Image.rgb(32, 32, new byte[3 * 32 * 32]));
        }
        final Prompt pictures = many.text("which of them").build();
        try (Engine engine = Engine.open(model, EXACT)) {
            for (final int medium : new int[] {54, 55, 56}) {
                final Reweigh one = new Reweigh(
                        "look",
                        EnumSet.of(Modality.IMAGE),
                        OptionalInt.of(medium),
                        2,
                        new TreeSet<>(List.of(0)),
                        Scope.all());
                final Request request =
                        request(Optional.empty(), List.of(new Branch("base", pictures, List.of(one))));
                if (medium < 55) {
                    engine.describe(request);
                } else {
                    assertThrows(BadInputException.class, () -> engine.describe(request), "medium " + medium);
                }
            }
        }
    }

    @Test
    void zeroStrengthIsPlain() {
        final double[] plain = oracle.run(inputs).last();
        try (Engine engine = Engine.open(model, EXACT)) {
            final float[] before = engine.logits(Request.plain(prompt)).logits();
            final float[] actual = engine.logits(request(
                            steer(Operation.ADD, 0, Scope.all(), 0, 1, 2, 3),
                            reweigh(Modality.IMAGE, 1, Scope.all(), 0, 1, 2, 3),
                            new Soften("not at all", 1, new TreeSet<>(List.of(0, 1, 2, 3)), Scope.all())))
                    .logits();
            assertTrue(Arrays.equals(before, actual));
            assertClose(plain, actual, Tolerance.f32(plain));
        }
    }
}
