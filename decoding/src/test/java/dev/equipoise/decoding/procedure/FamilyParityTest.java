package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Plan;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The presets that are spelled out in branches, from their files to the engine's logits, against the published formulas
 * over rows of a plain forward pass. Formulas, weights and texts are written out here a second time, so that a change
 * of a preset file is noticed.
 */
class FamilyParityTest {
    @TempDir
    static Path directory;

    private static TinyRig rig;
    private static double[] all;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(directory, 31);
        all = rig.row(rig.prompt);
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static double[] without(final Modality... modalities) {
        Prompt prompt = rig.prompt;
        for (final Modality modality : modalities) {
            prompt = prompt.without(modality);
        }
        return rig.row(prompt);
    }

    /** The base row's size sets what an error of weight 1 may be; {@code weight} says how much of it there is. */
    private static void assertAgrees(final String name, final double[] expected, final double weight) {
        final Plan plan = Decoding.prepare(rig.engine, Strategies.named(name), rig.prompt).plan();
        final float[] actual = rig.engine
                .logits(plan.request(new Limits(1, List.of()), 0))
                .logits();
        final double tolerance = weight * Tolerance.f32(all);
        int kept = 0;
        for (int y = 0; y < expected.length; y++) {
            if (Double.isInfinite(expected[y])) {
                assertEquals(expected[y], actual[y], name + ", token " + y);
            } else {
                kept++;
                final double difference = Math.abs(expected[y] - actual[y]);
                assertTrue(difference <= tolerance, name + ", token " + y + ": " + difference);
            }
        }
        assertTrue(kept > 0, name);
    }

    @Test
    void vcdExtended() {
        final double[][] rows = {
            all, without(Modality.AUDIO), without(Modality.IMAGE), without(Modality.IMAGE, Modality.AUDIO)
        };
        // 2.5 and three times 0.5.
        assertAgrees("vcd-extended", ContrastOracle.weightedSum(rows, 2.5, -0.5, -0.5, -0.5), 4);
    }

    private static double[] weigh(final String ask, final String... words) {
        final double[] row = rig.row(TinyRig.asking(rig.prompt, ask));
        return ContrastOracle.logSoftmax(Arrays.stream(words)
                .mapToDouble(word -> row[rig.model.tokenize(word, false)[0]])
                .toArray());
    }

    private static void mad(final String name, final Modality other, final String ask, final String word) {
        final double[] w = weigh(ask, "image", word, "both");
        final double image = Math.exp(w[0]);
        final double second = Math.exp(w[1]);
        final double both = Math.exp(w[2]);
        assertEquals(1, image + second + both, 1e-12);
        final double[][] rows = {
            all, without(other), without(Modality.IMAGE), without(Modality.IMAGE, other)
        };
        final double[] expected = ContrastOracle.weightedSum(
                rows,
                2 + 2 * 2.5 * both,
                1 + 2.5 * (image - both),
                1 + 2.5 * (second - both),
                -2.5 * (second + image));
        final double largest = Arrays.stream(rows)
                .flatMapToDouble(Arrays::stream)
                .map(Math::abs)
                .max()
                .orElseThrow();
        // Coefficients of at most 7, 3.5, 3.5 and 2.5 times the rows' errors. Each weight errs by as much as a logit at
        // most; that error reaches the coefficients 5 + 5 + 5 + 5 times at most, and each multiplies a logit.
        assertAgrees(name, expected, 16.5 + 20 * largest);
    }

    @Test
    void mad() {
        mad("mad", Modality.AUDIO, "Question: which colour\nWhich is needed to answer it: image, audio or both? "
                + "Answer with one word.", "audio");
    }

    @Test
    void madOfPictureAndNote() {
        mad("mad-note", Modality.CONTEXT, "Question: which colour\nWhich is needed to answer it: image, text or both? "
                + "Answer with one word.", "text");
    }

    @Test
    void paiGuidance() {
        final double[] conditional = ContrastOracle.logSoftmax(all);
        final double[] unconditional = ContrastOracle.logSoftmax(without(Modality.IMAGE));
        final double[] combined = new double[all.length];
        for (int y = 0; y < combined.length; y++) {
            combined[y] = 1.1 * (conditional[y] - unconditional[y]) + unconditional[y];
        }
        // 1.1 and 0.1, of log-probabilities, which err as the logit does and as their common sum does.
        assertAgrees("pai-guidance", ContrastOracle.cutOff(all, combined, 0.1), 2.4);
    }

    @Test
    void imageBiased() {
        final double[] biased = rig.row(rig.prompt, 2);
        final double[] combined = ContrastOracle.weightedSum(new double[][] {all, biased}, -1, 2);
        assertAgrees("ibd-style", ContrastOracle.cutOff(biased, combined, 0.1), 3);
    }

    @Test
    void ownDescription() {
        final Prompt asked = TinyRig.asking(
                rig.prompt.without(Modality.AUDIO).without(Modality.CONTEXT), "Describe the picture in detail.");
        final String description = rig.engine
                .run(new Request(
                        List.of(new Branch("base", asked)),
                        Optional.empty(),
                        Sampling.greedy(),
                        new Limits(128, List.of()),
                        0,
                        StrategyLabel.PLAIN))
                .text()
                .replace("\uFFFD", "")
                .replace("\0", "")
                .strip();
        assertTrue(!description.isEmpty());
        final double[] described = rig.row(TinyRig.asking(
                rig.prompt.without(Modality.IMAGE), "The picture: " + description + "\nwhich colour"));
        final double[] combined = ContrastOracle.weightedSum(new double[][] {all, described}, 2, -1);
        assertAgrees("code-style", ContrastOracle.cutOff(all, combined, 0.1), 3);
    }
}
