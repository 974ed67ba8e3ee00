package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Reweigh;
import dev.equipoise.runtime.intervention.Intervention.Silence;
import dev.equipoise.runtime.intervention.Intervention.Soften;
import dev.equipoise.runtime.intervention.Intervention.Steer;
import dev.equipoise.runtime.intervention.Keep;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyArchitectures;
import dev.equipoise.runtime.tiny.TinyModels;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/**
 * Every intervention on every architecture, with a picture and a sound in the prompt. That the formulas are right is
 * for the oracle to say, on one architecture; here is what must hold on any.
 */
class InterventionArchitecturesTest {
    static final List<String> ARCHITECTURES = TinyArchitectures.NAMES;

    // Lines that begin with a bar are the test's; what stands round them is the reader's.
    private static final Path TABLE = Path.of("..", "docs", "architectures.md");
    private static final String REWRITE = "equipoise.test.rewriteDocs";

    private static final int WIDTH = 32;
    private static final EngineOptions EXACT = Tolerance.exact(256);
    private static final Set<Modality> ALL = EnumSet.allOf(Modality.class);
    private static final Set<Modality> NOT_PICTURES = EnumSet.complementOf(EnumSet.of(Modality.IMAGE));

    @TempDir
    Path directory;

    /**
     * A column of the table.
     *
     * @param name its heading
     * @param branches what acts on each branch, given the number of layers
     * @param idle the same without strength, if it has such a thing: then it must be plain to the last bit
     * @param microBatches which ones its prompt may come in
     */
    private record Kind(
            String name,
            Function<Integer, List<List<Intervention>>> branches,
            Optional<Function<Integer, Intervention>> idle,
            List<Integer> microBatches) {
        private static final List<Integer> PIECES = List.of(7, 2);
        // Of some sixty tokens each has as much on average.
        private static final double SOME = 0.016;

        Request request(final Prompt prompt, final int layers) {
            final List<List<Intervention>> acting = branches.apply(layers);
            if (!microBatches.equals(PIECES) && acting.size() > 1) {
                return chosen(prompt, acting, SOME);
            }
            final Optional<Merge> merge = acting.size() < 2
                    ? Optional.empty()
                    : Optional.of(new Merge(layers / 2 - 1, Map.of(Modality.IMAGE, 0.8)));
            return InterventionArchitecturesTest.request(prompt, merge, acting);
        }
    }

    private static final List<Kind> KINDS = kinds();

    private static List<Kind> kinds() {
        final List<Kind> kinds = new ArrayList<>();
        for (final Operation operation : Operation.values()) {
            final boolean adds = Set.of(
                            Operation.ADD,
                            Operation.ADD_NORM_PRESERVING,
                            Operation.ADD_NORM_CAPPED,
                            Operation.ADD_SIGNED)
                    .contains(operation);
            kinds.add(kind(
                    operation.name().toLowerCase(Locale.ROOT).replace('_', '-'),
                    layers -> steer(operation, 0.7, layers),
                    adds ? layers -> steer(operation, 0, layers) : null));
        }
        for (final Intervention.Place place : List.of(
                Intervention.Place.MLP, Intervention.Place.ATTENTION, Intervention.Place.NORM)) {
            kinds.add(kind(
                    "add at " + place.label(),
                    layers -> at(place, steer(Operation.ADD, 0.7, layers)),
                    layers -> at(place, steer(Operation.ADD, 0, layers))));
        }
        kinds.add(kind(
                "add at embedding",
                layers -> at(Intervention.Place.EMBEDDING, steer(Operation.ADD, 0.7, 1)),
                layers -> at(Intervention.Place.EMBEDDING, steer(Operation.ADD, 0, 1))));
        final Set<Modality> image = Set.of(Modality.IMAGE);
        final Set<Modality> words = Set.of(Modality.CONTEXT, Modality.TEXT, Modality.SYSTEM);
        kinds.add(kind(
                "reweigh",
                layers -> reweigh(Set.of(Modality.IMAGE), 5, ALL, layers),
                layers -> reweigh(Set.of(Modality.IMAGE), 1, ALL, layers)));
        kinds.add(kind("hide", layers -> reweigh(Set.of(Modality.IMAGE), 0, NOT_PICTURES, layers), null));
        kinds.add(kind("soften", layers -> soften(3, layers), layers -> soften(1, layers)));
        kinds.add(kind(
                "reweigh a head",
                layers -> new Reweigh(
                        "head", image, OptionalInt.empty(), 50, below(layers), new Heads(new TreeSet<>(Set.of(0))),
                        Scope.all()),
                null));
        kinds.add(kind(
                "raise-scores",
                layers -> new Intervention.RaiseScores("raise", image, 3, below(layers), Heads.ALL, Scope.all()),
                layers -> new Intervention.RaiseScores("raise", image, 0, below(layers), Heads.ALL, Scope.all())));
        kinds.add(kind(
                "scale-scores",
                layers -> new Intervention.ScaleScores("scale", image, 4, below(layers), Heads.ALL, Scope.all()),
                layers -> new Intervention.ScaleScores("scale", image, 1, below(layers), Heads.ALL, Scope.all())));
        kinds.add(kind(
                "move-weights",
                layers -> new Intervention.MoveWeights(
                        "move", words, image, 0.1, 0.8, below(layers), Heads.ALL, Scope.all()),
                layers -> new Intervention.MoveWeights(
                        "move", words, image, 0.1, 0, below(layers), Heads.ALL, Scope.all())));
        kinds.add(kind(
                "drain-sinks",
                layers -> new Intervention.DrainSinks(
                        "drain", image, List.of(3, 17), 1.2, 0.9, 0.1, 0, below(layers), Heads.ALL, Scope.all()),
                layers -> new Intervention.DrainSinks(
                        "drain", image, List.of(3, 17), 1.2, 0.9, 0.1, 1, below(layers), Heads.ALL, Scope.all())));
        kinds.add(kind(
                "hide-attended",
                layers -> new Intervention.HideAttended(
                        "attended", image, Keep.of(3), 0, above(layers), Scope.all()),
                layers -> new Intervention.HideAttended(
                        "attended", image, Keep.of(1000), 0, above(layers), Scope.all())));
        kinds.add(kind(
                "average-exits",
                layers -> new Intervention.AverageExits("average", below(layers - 1), 0.5, true),
                layers -> new Intervention.AverageExits("average", below(layers - 1), 0, true)));
        kinds.add(kind(
                "contrast-exits",
                layers -> new Intervention.ContrastExits(
                        "contrast", below(layers - 1), 0, true, Intervention.Divergence.JENSEN_SHANNON),
                null));
        kinds.add(kind(
                "exit at the input",
                layers -> new Intervention.AverageExits("input", new TreeSet<>(Set.of(-1)), 0.5, true),
                layers -> new Intervention.AverageExits("input", new TreeSet<>(Set.of(-1)), 0, true)));
        kinds.add(kind(
                "mute",
                layers -> new Intervention.Mute("mute", Set.of(Modality.IMAGE), Optional.empty(), below(layers)),
                null));
        kinds.add(kind("silence", layers -> silence(Modality.IMAGE), null));
        kinds.add(new Kind(
                "merge",
                layers -> List.of(List.of(silence(Modality.AUDIO)), List.of(silence(Modality.IMAGE))),
                Optional.empty(),
                Kind.PIECES));
        readWhole(kinds);
        return kinds;
    }

    private static void readWhole(final List<Kind> kinds) {
        kinds.add(new Kind(
                "mute-attended",
                layers -> List.of(
                        List.of(new Intervention.ReadAttention("look", below(layers), Scope.all().within(Reach.LAST))),
                        List.of(new Intervention.MuteAttended(
                                "attended", Set.of(Modality.IMAGE), Optional.empty(), 0, below(layers)))),
                Optional.empty(),
                // One that is filled to the last column.
                List.of(61, 100)));
        // Random states have elements of two and more; the first block's are no model's, but its sinks are.
        kinds.add(new Kind(
                "turn-to-sinks",
                layers -> List.of(List.of(new Intervention.TurnToSinks("turn", 2, 0, 3, 0.1, 1, below(layers)))),
                Optional.empty(),
                List.of(100)));
    }

    // The second branch alone, its picture muted where its own attention is above a threshold.
    private static Request chosen(
            final Prompt prompt, final List<List<Intervention>> acting, final double above) {
        return new Request(
                List.of(new Branch("base", prompt, acting.get(0)), new Branch("muted", prompt, acting.get(1))),
                Optional.of(new Combination(CoefficientSchedule.fixed(0, 1), false, 0)),
                Sampling.greedy(),
                new Limits(4, List.of()),
                0,
                new StrategyLabel("test", "test"),
                Optional.empty(),
                Optional.empty(),
                Optional.of(new Rechoice(0, List.of(OptionalInt.empty(), OptionalInt.of(0)), seen -> {
                    final Span picture = seen.spans().stream()
                            .filter(span -> span.modality() == Modality.IMAGE)
                            .findFirst()
                            .orElseThrow();
                    final Rechoice.Taken taken = new Rechoice.Taken(
                            IntStream.range(picture.start(), picture.start() + picture.length())
                                    .boxed()
                                    .collect(Collectors.toCollection(TreeSet::new)),
                            above);
                    return List.of(taken, taken);
                })));
    }

    private static Kind kind(
            final String name,
            final Function<Integer, Intervention> acting,
            final Function<Integer, Intervention> idle) {
        return new Kind(
                name, layers -> List.of(List.of(acting.apply(layers))), Optional.ofNullable(idle), Kind.PIECES);
    }

    private static SortedSet<Integer> below(final int layers) {
        return IntStream.range(0, layers).boxed().collect(Collectors.toCollection(TreeSet::new));
    }

    private static SortedSet<Integer> above(final int layers) {
        return below(layers).tailSet(1);
    }

    // Directions as long as a hidden state.
    private static LayerVectors vectors(final long seed, final Set<Integer> layers) {
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

    private static Steer steer(final Operation operation, final double amount, final int layers) {
        return new Steer(
                operation.name(),
                operation,
                vectors(11, below(layers)),
                operation.isPlanar() ? Optional.of(vectors(12, below(layers))) : Optional.empty(),
                amount,
                Scope.all());
    }

    private static Steer at(final Intervention.Place place, final Steer steer) {
        return new Steer(
                steer.name(), steer.operation(), place, steer.vectors(), steer.second(), steer.amount(),
                steer.scope());
    }

    private static Reweigh reweigh(
            final Set<Modality> span, final double factor, final Set<Modality> queries, final int layers) {
        return new Reweigh("reweigh", span, OptionalInt.empty(), factor, below(layers), Scope.all().of(queries));
    }

    private static Soften soften(final double tau, final int layers) {
        return new Soften("soften", tau, below(layers), Scope.all());
    }

    private static Silence silence(final Modality modality) {
        return new Silence("no " + modality.label(), EnumSet.of(modality));
    }

    private static Request request(
            final Prompt prompt, final Optional<Merge> merge, final List<List<Intervention>> branches) {
        return new Request(
                IntStream.range(0, branches.size())
                        .mapToObj(b -> new Branch("branch " + b, prompt, branches.get(b)))
                        .toList(),
                Optional.empty(),
                Sampling.greedy(),
                new Limits(4, List.of()),
                0,
                new StrategyLabel("test", "test"),
                merge);
    }

    private static Request request(final Prompt prompt, final Intervention... interventions) {
        return request(prompt, Optional.empty(), List.of(List.of(interventions)));
    }

    // Longer than gemma3's window of 16, so that its two masks differ.
    private static Prompt prompt(final long picture) {
        final byte[] pixels = new byte[3 * TinyModels.IMAGE_SIZE * TinyModels.IMAGE_SIZE];
        new Random(picture).nextBytes(pixels);
        final float[] samples = new float[16_000];
        for (int i = 0; i < samples.length; i++) {
            samples[i] = (float) Math.sin(i * 0.05) * 0.5f;
        }
        return Prompt.builder()
                .system("look")
                .context("it is green")
                .image(Image.rgb(TinyModels.IMAGE_SIZE, TinyModels.IMAGE_SIZE, pixels))
                .audio(Audio.pcm(samples))
                .text("which colour")
                .build();
    }

    private Model load(final String architecture) {
        final Path file = TinyArchitectures.write(directory.resolve(architecture + ".gguf"), architecture, 21);
        final Path mmproj = TinyModels.mmproj(directory.resolve(architecture + "-mmproj.gguf"), 4, WIDTH);
        return Model.load(file, Placement.options().withMmproj(mmproj));
    }

    private static float[] logits(final Model model, final EngineOptions options, final Request request) {
        try (Engine engine = Engine.open(model, options)) {
            return engine.logits(request).logits();
        }
    }

    private static double[] widen(final float[] values) {
        return IntStream.range(0, values.length).mapToDouble(i -> values[i]).toArray();
    }

    // ggml looks gemma3's GELU up at inputs rounded to 11 bits, so that those a last bit apart may come out a step of
    // 2^-11 apart: some of 64, seen through a random matrix and the layers above. Measured 1e-6 to 2e-4.
    private static double rounding(final Model model, final float[] logits) {
        return model.info().architecture().equals("gemma3")
                ? 0.1 * Tolerance.f16(widen(logits))
                : Tolerance.f32(widen(logits));
    }

    private static void assertClose(
            final float[] expected, final float[] actual, final double tolerance, final String what) {
        final double difference = Tolerance.largestDifference(widen(expected), actual);
        assertTrue(difference <= tolerance, () -> what + ": " + difference + " apart, tolerance " + tolerance);
    }

    private static void assertApart(
            final Model model, final float[] plain, final float[] actual, final String what) {
        final double effect = Tolerance.largestDifference(widen(plain), actual);
        Placement.requireVisible(
                Double.isFinite(effect) && effect > 10 * rounding(model, plain),
                 what + ": an effect of " + effect + " proves nothing");
    }

    @Test
    void theTableInTheDocumentationSaysWhatHappens() throws IOException {
        final List<List<String>> columns = new ArrayList<>();
        for (final String architecture : ARCHITECTURES) {
            try (Model model = load(architecture)) {
                columns.add(KINDS.stream().map(kind -> cell(architecture, model, kind)).toList());
            }
        }
        final List<String> table = new ArrayList<>();
        table.add(line("intervention", ARCHITECTURES.stream().map(architecture -> "`" + architecture + "`")));
        table.add("|" + "---|".repeat(ARCHITECTURES.size() + 1));
        for (int row = 0; row < KINDS.size(); row++) {
            final int at = row;
            table.add(line(KINDS.get(row).name(), columns.stream().map(column -> column.get(at))));
        }
        final List<String> text = Files.readAllLines(TABLE);
        final List<String> committed = text.stream().filter(line -> line.startsWith("|")).toList();
        if (Boolean.getBoolean(REWRITE) && !committed.equals(table)) {
            final int at = committed.isEmpty() ? text.size() : text.indexOf(committed.getFirst());
            text.removeIf(line -> line.startsWith("|"));
            text.addAll(at, table);
            Files.write(TABLE, text);
        } else {
            assertEquals(
                    String.join("\n", table),
                    String.join("\n", committed),
                    "the table in docs/architectures.md is another: -D" + REWRITE + "=true writes this one");
        }
    }

    private static String line(final String first, final Stream<String> cells) {
        return "| " + first + " | " + cells.collect(Collectors.joining(" | ")) + " |";
    }

    private static String cell(final String architecture, final Model model, final Kind kind) {
        try {
            assertWorks(model, kind, architecture + ", " + kind.name());
            return "yes";
        } catch (final UnavailableException refused) {
            assertTrue(refused.getMessage().contains("architecture"), refused::getMessage);
            return "refused";
        }
    }

    private static void assertWorks(final Model model, final Kind kind, final String what) {
        final int layers = model.info().layers();
        final Prompt prompt = prompt(5);
        final Request request = kind.request(prompt, layers);
        final float[] plain = logits(model, EXACT, Request.plain(prompt));
        final float[] acted;
        try (Engine engine = Engine.open(model, EXACT)) {
            acted = engine.logits(request).logits();
            assertApart(model, plain, acted, what);
            kind.idle().ifPresent(idle -> assertArrayEquals(
                    plain, engine.logits(request(prompt, idle.apply(layers))).logits(), what + ", without strength"));
            assertArrayEquals(plain, engine.logits(Request.plain(prompt)).logits(), what + ", plain afterwards");
        }
        for (final int microBatch : kind.microBatches()) {
            final EngineOptions split = EXACT.withMicroBatch(microBatch).withMaxBranches(2);
            assertClose(
                    acted,
                    logits(model, split, request),
                    rounding(model, acted),
                    what + ", micro-batches of " + microBatch);
        }
        // Where two experts are nearly tied, f16's rounding may choose the other: a jump, but small beside the effect.
        final double jump = model.info().architecture().endsWith("moe")
                ? 0.1 * Tolerance.largestDifference(widen(plain), acted)
                : 0;
        assertClose(
                acted,
                logits(model, EXACT.withFlashAttention(FlashAttention.ON), request),
                Math.max(jump, Tolerance.f16(widen(acted))),
                what + ", flash attention");
        assertSameInCompany(model, request, prompt, what);
    }

    // Tokens drawn beside another request are those drawn alone, and the other's are plain.
    private static void assertSameInCompany(
            final Model model, final Request request, final Prompt prompt, final String what) {
        final Request other = request(prompt);
        final List<Integer> alone;
        final List<Integer> plain;
        try (Engine engine = Engine.open(model, EXACT)) {
            plain = engine.run(other).tokens();
            alone = engine.run(request).tokens();
        }
        try (Engine engine = Engine.open(model, EXACT)) {
            final Generation first = engine.submit(other);
            final Generation second = engine.submit(request);
            while (engine.step()) {
                // Both advance.
            }
            assertEquals(plain, first.answer().tokens(), what + ", the other request");
            assertEquals(alone, second.answer().tokens(), what + ", beside another request");
            // Tokens alone may agree by chance; the trace counts what acted.
            assertTrue(second.answer().trace().stream().allMatch(entry -> entry.tokens() > 0), what + ", trace");
        }
    }

    /** What nobody attends to, or what is zero, might be anything: another picture changes not one bit. */
    @ParameterizedTest
    @FieldSource("ARCHITECTURES")
    void aPictureThatIsHiddenOrSilencedMightBeAnother(final String architecture) {
        try (Model model = load(architecture);
                Engine engine = Engine.open(model, EXACT)) {
            final int layers = model.info().layers();
            final float[] plain = engine.logits(Request.plain(prompt(5))).logits();
            assertApart(model, plain, engine.logits(Request.plain(prompt(6))).logits(), "another picture");
            for (final Intervention act : List.of(
                    reweigh(Set.of(Modality.IMAGE), 0, NOT_PICTURES, layers), silence(Modality.IMAGE))) {
                final float[] one = engine.logits(request(prompt(5), act)).logits();
                final float[] other = engine.logits(request(prompt(6), act)).logits();
                // Arrays of NaN would be equal too.
                assertApart(model, plain, one, act.name());
                assertArrayEquals(one, other, act.name());
            }
        }
    }

    /** Words that are read as rows among a picture's are what they are as tokens, at the places that they have. */
    @ParameterizedTest
    @FieldSource("ARCHITECTURES")
    void whatIsReadWholeIsWhatIsReadInPieces(final String architecture) {
        try (Model model = load(architecture);
                Engine engine = Engine.open(model, EXACT)) {
            final int layers = model.info().layers();
            final Prompt prompt = prompt(5);
            final Kind kind = KINDS.stream()
                    .filter(one -> one.name().equals("mute-attended"))
                    .findFirst()
                    .orElseThrow();
            final float[] plain = engine.logits(Request.plain(prompt)).logits();
            final float[] none;
            try {
                none = engine.logits(chosen(prompt, kind.branches().apply(layers), 1)).logits();
            } catch (final UnavailableException refused) {
                assertEquals("gemma3", architecture);
                return;
            }
            assertClose(plain, none, rounding(model, plain), "muted nowhere");
            final float[] all = engine.logits(chosen(prompt, kind.branches().apply(layers), 0)).logits();
            assertApart(model, plain, all, "muted everywhere");
            if (!architecture.equals("qwen2moe")) {
                final float[] muted = engine.logits(request(prompt, new Intervention.Mute(
                                "mute", Set.of(Modality.IMAGE), Optional.empty(), below(layers))))
                        .logits();
                assertClose(muted, all, rounding(model, muted), "muted in all heads");
            }
        }
    }

    /** Softmax knows differences only: f times a span is one f-th of the rest. */
    @ParameterizedTest
    @FieldSource("ARCHITECTURES")
    void moreAttentionToASpanIsLessToTheRest(final String architecture) {
        try (Model model = load(architecture);
                Engine engine = Engine.open(model, EXACT)) {
            final int layers = model.info().layers();
            final Prompt prompt = prompt(5);
            final float[] plain = engine.logits(Request.plain(prompt)).logits();
            final float[] more = engine.logits(
                            request(prompt, reweigh(Set.of(Modality.IMAGE), 4, ALL, layers)))
                    .logits();
            final float[] less = engine.logits(request(prompt, reweigh(NOT_PICTURES, 0.25, ALL, layers))).logits();
            final float[] all =
                    engine.logits(request(prompt, reweigh(ALL, 4, ALL, layers))).logits();
            assertApart(model, plain, more, "more attention");
            assertClose(more, less, rounding(model, more), "less for the rest");
            assertClose(plain, all, rounding(model, plain), "more for all");
            assertArrayEquals(
                    engine.logits(request(prompt, soften(4, layers))).logits(),
                    engine.logits(request(prompt, soften(2, layers), soften(2, layers))).logits(),
                    "half of the halved scores");
        }
    }

    /** The seam shows the residual stream as the next block reads it, at every layer. */
    @ParameterizedTest
    @FieldSource("ARCHITECTURES")
    void steeringAddsToTheResidualStream(final String architecture) {
        try (Model model = load(architecture);
                Engine engine = Engine.openForCapture(model, EXACT)) {
            final Prompt prompt = prompt(5);
            final float[] plain = engine.logits(Request.plain(prompt)).logits();
            final List<float[]> states = new ArrayList<>();
            for (final int layer : below(model.info().layers())) {
                states.add(engine.captured(layer));
            }
            for (final int layer : below(model.info().layers())) {
                final LayerVectors vectors = vectors(31, Set.of(layer));
                final Steer add = new Steer("add", Operation.ADD, vectors, Optional.empty(), 0.5, Scope.all());
                final float[] actual = engine.logits(request(prompt, add)).logits();
                assertApart(model, plain, actual, "layer " + layer);
                final float[] expected = states.get(layer).clone();
                for (int i = 0; i < expected.length; i++) {
                    expected[i] += 0.5f * vectors.at(layer)[i % WIDTH];
                }
                // One sum, rounded once more than the kernel does: 2^-24 of states of a few units.
                assertClose(expected, engine.captured(layer), 1e-5, "output of block " + layer);
                if (layer > 0) {
                    assertArrayEquals(states.get(layer - 1), engine.captured(layer - 1), "the block below");
                }
            }
        }
    }

    /** With all the weight on one branch, a merge is that branch by itself. */
    @ParameterizedTest
    @FieldSource("ARCHITECTURES")
    void aMergeOfOneWeightIsOneBranch(final String architecture) {
        try (Model model = load(architecture);
                Engine engine = Engine.open(model, EXACT)) {
            final Prompt prompt = prompt(5);
            final List<Intervention> deaf = List.of(silence(Modality.AUDIO));
            final List<Intervention> blind = List.of(silence(Modality.IMAGE));
            final float[] alone =
                    engine.logits(request(prompt, Optional.empty(), List.of(deaf))).logits();
            final float[] other =
                    engine.logits(request(prompt, Optional.empty(), List.of(blind))).logits();
            assertApart(model, alone, other, "the other branch");
            for (int layer = 0; layer < model.info().layers() - 1; layer++) {
                for (final double weight : new double[] {1, 0}) {
                    final float[] expected = weight == 1 ? alone : other;
                    final Map<Modality, Double> weights = Arrays.stream(Modality.values())
                            .collect(Collectors.toMap(Function.identity(), m -> weight));
                    final Request merged =
                            request(prompt, Optional.of(new Merge(layer, weights)), List.of(deaf, blind));
                    final String what = "weight " + weight + " at layer " + layer;
                    assertClose(expected, engine.logits(merged).logits(), rounding(model, expected), what);
                }
            }
        }
    }
}
