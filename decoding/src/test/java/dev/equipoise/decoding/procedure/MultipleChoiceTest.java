package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Controls;
import dev.equipoise.decoding.Explanation;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.decoding.procedure.MultipleChoice.Choice;
import dev.equipoise.decoding.procedure.MultipleChoice.Likelihoods;
import dev.equipoise.decoding.procedure.MultipleChoice.Scores;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.TokenLogProbabilities;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class MultipleChoiceTest {
    private static final List<String> LETTERS = List.of("A", "B", "C", "D");

    @TempDir
    static Path directory;

    private static TinyRig rig;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(directory, 71);
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static Scores scores(final double... logits) {
        return new Scores(LETTERS, logits);
    }

    @Test
    void scoresAreTheRowAtTheOptions() {
        final double[] row = rig.row(rig.prompt);
        final Scores plain = MultipleChoice.score(rig.engine, Strategy.plain(), rig.prompt, LETTERS);
        final double[] other = rig.row(rig.prompt.without(Modality.CONTEXT));
        final Scores contrasted =
                MultipleChoice.score(rig.engine, Strategies.named("cad"), rig.prompt, LETTERS);
        for (int i = 0; i < LETTERS.size(); i++) {
            final int token = rig.model.tokenize(LETTERS.get(i), false)[0];
            assertTrue(Math.abs(row[token] - plain.logits()[i]) <= Tolerance.f32(row));
            assertTrue(Math.abs(2 * row[token] - other[token] - contrasted.logits()[i]) <= 3 * Tolerance.f32(row));
        }
        assertThrows(BadInputException.class, () ->
                MultipleChoice.score(rig.engine, Strategy.plain(), rig.prompt, List.of("ab", "ac")));
        final Strategy narrow = Strategies.parse("{\"contrast\":{\"method\":\"plausibility\",\"beta\":1}}", "narrow");
        assertThrows(BadInputException.class, () ->
                MultipleChoice.score(rig.engine, narrow, rig.prompt, List.of("\1", "\2")));
    }

    @Test
    void theLessConfidentReadingIsSubtracted() {
        // Confidences: e^2 / (e^2 + 3) = 0.711 and e^1 / (e^1 + 3) = 0.475.
        final Choice choice = MultipleChoice.choose(scores(2, 0, 0, 0), scores(0, 1, 0, 0));
        assertFalse(choice.agreed());
        assertEquals(0, choice.answer());
        assertArrayEquals(new double[] {1.4224, -0.4754, 0, 0}, choice.combined(), 1e-4);
        final Choice other = MultipleChoice.choose(scores(0, 1, 0, 0), scores(2, 0, 0, 0));
        assertEquals(0, other.answer());
        assertArrayEquals(new double[] {1.4224, -0.4754, 0, 0}, other.combined(), 1e-4);
        // ln(0.7112 / 0.1749).
        assertEquals(1.4029, choice.conflict(0), 1e-3);
        assertEquals(2, MultipleChoice.choose(scores(0, 0, 5, 1), scores(0, 0, 1, 0)).answer());
        assertTrue(MultipleChoice.choose(scores(0, 0, 5, 1), scores(0, 0, 1, 0)).agreed());
        assertThrows(BadInputException.class, () ->
                MultipleChoice.choose(scores(0, 1, 2, 3), new Scores(List.of("A", "B"), new double[2])));
        assertThrows(BadInputException.class, () -> new Scores(List.of("A"), new double[1]));
    }

    @Property(tries = 300)
    void theRuleAsPublished(
            @ForAll @Size(4) final List<@DoubleRange(min = -30, max = 30) Double> perceived,
            @ForAll @Size(4) final List<@DoubleRange(min = -30, max = 30) Double> told) {
        final double[] v = perceived.stream().mapToDouble(Double::doubleValue).toArray();
        final double[] t = told.stream().mapToDouble(Double::doubleValue).toArray();
        final Choice choice = MultipleChoice.choose(scores(v), scores(t));
        final double cv = Math.exp(max(ContrastOracle.logSoftmax(v)));
        final double ct = Math.exp(max(ContrastOracle.logSoftmax(t)));
        if (argmax(v) == argmax(t)) {
            assertEquals(argmax(v), choice.answer());
        } else if (Math.abs(cv - ct) > 1e-9) {
            for (int i = 0; i < 4; i++) {
                final double expected = ct > cv ? ct * t[i] - cv * v[i] : cv * v[i] - ct * t[i];
                // Two products of at most 30, each of a confidence that two ways of computing round differently.
                assertTrue(Math.abs(expected - choice.combined()[i]) <= 1e-12);
            }
            assertEquals(argmax(choice.combined()), choice.answer());
        }
        assertTrue(choice.conflict(0) >= 0);
    }

    private static double max(final double[] values) {
        return values[argmax(values)];
    }

    private static int argmax(final double[] values) {
        int best = 0;
        for (int i = 1; i < values.length; i++) {
            best = values[i] > values[best] ? i : best;
        }
        return best;
    }

    @Test
    void bothReadingsAreAsked() {
        final Choice choice = MultipleChoice.dynamic(rig.engine, rig.prompt, LETTERS);
        final double[] perceived = rig.row(rig.prompt.without(Modality.CONTEXT));
        final double[] told = rig.row(rig.prompt.without(Modality.IMAGE).without(Modality.AUDIO));
        for (int i = 0; i < LETTERS.size(); i++) {
            final int token = rig.model.tokenize(LETTERS.get(i), false)[0];
            assertTrue(Math.abs(perceived[token] - choice.perceived().logits()[i]) <= Tolerance.f32(perceived));
            assertTrue(Math.abs(told[token] - choice.told().logits()[i]) <= Tolerance.f32(told));
        }
        // Without a note the model names what it perceives, and that stands in for it.
        final Prompt noteless = rig.prompt.without(Modality.CONTEXT);
        final Choice named = MultipleChoice.dynamic(rig.engine, noteless, LETTERS);
        // The same sums in a batch of another shape: twice the error of one.
        assertArrayEquals(choice.perceived().logits(), named.perceived().logits(), 2 * Tolerance.f32(perceived));
        assertFalse(Arrays.equals(choice.told().logits(), named.told().logits()));
        assertThrows(BadInputException.class, () -> MultipleChoice.dynamic(
                rig.engine, noteless.without(Modality.IMAGE).without(Modality.AUDIO), LETTERS));
    }

    @Test
    void thePresetIsTheRule() {
        final Strategy dcd = Strategies.named("dcd");
        final Choice choice = MultipleChoice.choose(rig.engine, dcd, rig.prompt, LETTERS);
        final Choice direct = MultipleChoice.dynamic(rig.engine, rig.prompt, LETTERS);
        assertArrayEquals(direct.combined(), choice.combined());
        assertEquals(direct.answer(), choice.answer());
        assertThrows(BadInputException.class, () ->
                MultipleChoice.choose(rig.engine, Strategy.plain(), rig.prompt, LETTERS));
        final BadInputException written = assertThrows(
                BadInputException.class, () -> Decoding.prepare(rig.engine, dcd, rig.prompt));
        assertTrue(written.remedy().contains("options"), written.getMessage());
        final BadInputException more = assertThrows(BadInputException.class, () ->
                Strategies.parse("{\"choose\":\"dcd\",\"contrast\":{\"method\":\"vcd\"}}", "both"));
        assertTrue(more.where().contains("choose"), more.getMessage());
        assertThrows(BadInputException.class, () -> Strategies.parse("{\"choose\":\"best\"}", "other"));
        // A rule without a strength is nothing at strength 0.
        assertEquals(Strategy.plain().fingerprint(), Controls.zeroScale(dcd).fingerprint());
        assertThrows(BadInputException.class, () -> Controls.randomVector(dcd, 1));
    }

    @Test
    void theRuleIsExplained() {
        final Strategy dcd = Strategies.named("dcd");
        final Explanation noted = MultipleChoice.explain(dcd, rig.prompt);
        assertEquals(List.of("perceived", "told"), noted.branches().stream().map(line -> line.name()).toList());
        assertEquals("choose:dcd", noted.steps().getLast().intervention());
        assertTrue(noted.steps().getLast().extraCost().contains("two prompts"));
        assertEquals(1, noted.steps().size());
        final Explanation noteless = MultipleChoice.explain(dcd, rig.prompt.without(Modality.CONTEXT));
        assertEquals("prepare:entity", noteless.steps().getFirst().intervention());
        assertThrows(BadInputException.class, () -> MultipleChoice.explain(
                dcd, rig.prompt.without(Modality.IMAGE).without(Modality.AUDIO)));
    }

    @Test
    void likelihoodsCountEveryToken() {
        // These begin alike, which first tokens cannot tell apart.
        final List<String> words = List.of("ab", "ac", "abc", "d");
        final Scores together = MultipleChoice.likelihoods(rig.engine, Strategy.plain(), rig.prompt, words).scores();
        final double[] row = rig.row(rig.prompt);
        for (int i = 0; i < words.size(); i++) {
            double expected = 0;
            String said = "";
            for (final int token : rig.model.tokenize(words.get(i), false)) {
                // Every letter is a token of this vocabulary, so that a longer question reads the same tokens.
                final double[] next = rig.row(TinyRig.asking(rig.prompt, "which colour" + said));
                expected += ContrastOracle.logSoftmax(next)[token];
                said = words.get(i).substring(0, said.length() + 1);
            }
            // Each token's log-probability errs as its logit does and as the common sum does.
            final double tolerance = words.get(i).length() * 2 * Tolerance.f32(row);
            assertTrue(Math.abs(expected - together.logits()[i]) <= tolerance, words.get(i));
        }
        assertEquals(1, Arrays.stream(together.probabilities()).sum(), 1e-12);
    }

    /** Strategies whose row is made of several, changes along an answer, or both. */
    static List<String> combining() {
        return List.of(
                "{\"contrast\":{\"method\":\"cad\"}}",
                "{\"contrast\":{\"method\":\"m3id\",\"beta\":0}}",
                "{\"contrast\":{\"method\":\"vcd\",\"beta\":0}}",
                "{\"contrast\":{\"branches\":{\"deaf\":{\"without\":[\"audio\"]},\"blind\":{\"without\":[\"image\"]}},"
                        + "\"coefficients\":{\"base\":\"1 + 0.3 * min(t, 9)\",\"deaf\":\"-0.2 * min(t, 9)\","
                        + "\"blind\":\"-0.1 * min(t, 9)\"}}}",
                "{\"contrast\":{\"branches\":{\"blind\":{\"without\":[\"image\"]}},"
                        + "\"coefficients\":{\"base\":\"1 + entropy(base) / 5\",\"blind\":\"-entropy(blind) / 5\"}}}",
                "{\"contrast\":{\"method\":\"cad\"},\"gate\":{\"kind\":\"entropy\",\"above\":5.7}}",
                "{\"contrast\":{\"method\":\"cad\"},\"gate\":{\"kind\":\"confidence\",\"below\":0.025}}",
                "{\"contrast\":{\"method\":\"cad\"},\"gate\":{\"kind\":\"disagreement\",\"every\":3}}",
                "{\"forkMerge\":{\"silence\":[\"image\",\"context\"],\"layer\":1}}",
                "{\"forkMerge\":{\"silence\":[\"image\",\"context\"],\"layer\":1},\"contrast\":{\"method\":\"cad\"},"
                        + "\"attention\":[{\"edit\":\"multiply\",\"span\":\"context\",\"factor\":4}]}",
                "{\"contrast\":{\"branches\":{\"ignorant\":{\"attention\":[{\"edit\":\"mask\",\"span\":\"context\","
                        + "\"from\":[\"text\"]}]}},\"coefficients\":{\"base\":2,\"ignorant\":-1}}}",
                "{\"attention\":[{\"edit\":\"var\",\"span\":\"image\",\"sinkDimensions\":[3,9],\"tau\":0.5,"
                        + "\"layers\":\"1-2\"}],\"contrast\":{\"method\":\"cad\"}}",
                "{\"attention\":[{\"edit\":\"pai\",\"span\":\"image\",\"alpha\":5}]}",
                "sid-code", "mad-note");
    }

    @ParameterizedTest
    @MethodSource("combining")
    void likelihoodsAreThoseOfWritingTheOption(final String named) {
        final Strategy strategy =
                named.startsWith("{") ? Strategies.parse(named, "combining") : Strategies.named(named);
        final List<String> words = List.of("ab", "acb", "d", "cabad");
        final Likelihoods together = MultipleChoice.likelihoods(rig.engine, strategy, rig.prompt, words);
        // Rows whose weights sum to at most 16 (mad-note's), in batches of two shapes, each of which errs as a logit
        // does against the oracle; and as much again for the common sum.
        final double tolerance = 2 * 2 * 16 * Tolerance.f32(rig.row(rig.prompt));
        for (int i = 0; i < words.size(); i++) {
            final double[] written = written(strategy, words.get(i));
            final double[] read = together.tokens().get(i);
            assertEquals(written.length, read.length);
            for (int at = 0; at < written.length; at++) {
                assertEquals(written[at], read[at], tolerance, words.get(i) + " " + at);
            }
            assertEquals(Arrays.stream(read).sum(), together.scores().logits()[i]);
        }
        assertEquals(rig.engine.room().branches(), rig.engine.room().freeBranches(), "all is given back");
        final double[] plain = likelihoods(Strategy.plain(), words);
        assertFalse(close(plain, together.scores().logits()), "an effect is needed");
        if (strategy.gate().isPresent()) {
            final Strategy open = Strategies.parse("{\"contrast\":{\"method\":\"cad\"}}", "open");
            assertFalse(close(likelihoods(open, words), together.scores().logits()), "a gate that shuts is needed");
        }
    }

    private static double[] likelihoods(final Strategy strategy, final List<String> words) {
        return MultipleChoice.likelihoods(rig.engine, strategy, rig.prompt, words).scores().logits();
    }

    private static boolean close(final double[] a, final double[] b) {
        return IntStream.range(0, a.length).allMatch(i -> Math.abs(a[i] - b[i]) < 0.01);
    }

    // By stepping: what the row of each step says of the token that a grammar leaves.
    private static double[] written(final Strategy strategy, final String word) {
        final Sampling forced = new Sampling(
                0, 0, 1, 0, 1, 0, strategy.sampling().seed(), Optional.of("root ::= \"" + word + "\""));
        final Answer answer = Decoding.run(
                rig.engine,
                strategy.withSampling(forced),
                rig.prompt,
                new Limits(word.length(), List.of()),
                1,
                TokenListener.NONE);
        assertEquals(word, answer.text());
        return answer.logProbabilities().stream()
                .mapToDouble(TokenLogProbabilities::logProbability)
                .toArray();
    }

    @Test
    void cutOffsShiftsAndRefusalsOfLikelihoods() {
        final List<String> words = List.of("ab", "ac");
        final Strategy narrow = Strategies.parse("{\"contrast\":{\"method\":\"plausibility\",\"beta\":1}}", "narrow");
        final double[] row = rig.row(rig.prompt);
        final String best = rig.model.text(List.of(argmax(row)));
        // Nothing but the best token is left, which is then certain; or nothing of any option.
        final Likelihoods left =
                MultipleChoice.likelihoods(rig.engine, narrow, rig.prompt, List.of(best, "\1"));
        assertArrayEquals(new double[] {0, Double.NEGATIVE_INFINITY}, left.scores().logits(), 1e-6);
        assertThrows(BadInputException.class, () ->
                MultipleChoice.likelihoods(rig.engine, narrow, rig.prompt, List.of("\1", "\2")));
        // A shift is part of the row, at every token.
        final Strategy shifted = Strategies.parse("{\"sampling\":{\"bias\":{\"c\":2}}}", "shifted");
        final List<double[]> plain =
                MultipleChoice.likelihoods(rig.engine, Strategy.plain(), rig.prompt, words).tokens();
        final List<double[]> moved = MultipleChoice.likelihoods(rig.engine, shifted, rig.prompt, words).tokens();
        assertEquals(
                2 + plain.get(1)[1] - plain.get(0)[1], moved.get(1)[1] - moved.get(0)[1], 4 * Tolerance.f32(row));
        assertTrue(moved.get(0)[0] < plain.get(0)[0]);
        for (final String refused : List.of(
                "{\"sampling\":{\"frequencyPenalty\":1}}", "{\"sampling\":{\"grammar\":\"root ::= \\\"a\\\"\"}}")) {
            final BadInputException why = assertThrows(BadInputException.class, () -> MultipleChoice.likelihoods(
                    rig.engine, Strategies.parse(refused, "refused"), rig.prompt, words));
            assertTrue(why.getMessage().contains("likelihoods under"), why.getMessage());
        }
        final Strategy several = Strategies.named("verbalised-sampling");
        assertThrows(BadInputException.class, () ->
                MultipleChoice.likelihoods(rig.engine, several, rig.prompt, words));
        assertThrows(BadInputException.class, () ->
                MultipleChoice.score(rig.engine, several, rig.prompt, LETTERS));
        // Two branches, and room for three: one option after the other, and a decode for each token.
        try (Engine narrower = Engine.open(rig.model, rig.engine.options().withMaxBranches(3))) {
            final Strategy cad = Strategies.named("cad");
            final Likelihoods wide = MultipleChoice.likelihoods(rig.engine, cad, rig.prompt, words);
            final Likelihoods few = MultipleChoice.likelihoods(narrower, cad, rig.prompt, words);
            assertArrayEquals(wide.scores().logits(), few.scores().logits(), 48 * Tolerance.f32(row));
        }
    }
}
