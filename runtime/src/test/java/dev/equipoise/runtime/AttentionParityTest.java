package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Reweigh;
import dev.equipoise.runtime.intervention.Intervention.Silence;
import dev.equipoise.runtime.intervention.Intervention.Soften;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.InterventionOracle;
import dev.equipoise.runtime.oracle.InterventionOracle.Act;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.function.IntPredicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What acts on attention and on what enters the network, and what reads it, against the plain Java forward pass. */
class AttentionParityTest extends InterventionRig {
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
}
