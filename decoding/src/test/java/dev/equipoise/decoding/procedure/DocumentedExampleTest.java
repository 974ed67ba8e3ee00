package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Explanation;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.PixelNoise;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The example of {@code docs/strategies.md}, as it stands there, against its formula. */
class DocumentedExampleTest {
    private static Strategy documented() throws IOException {
        final Path page = Path.of("..", "docs", "strategies.md");
        final Matcher example = Pattern.compile("DocumentedExampleTest -->\\s*```json\\s(.*?)```", Pattern.DOTALL)
                .matcher(Files.readString(page));
        assertTrue(example.find(), "the page has an example");
        return Strategies.parse(example.group(1), "tomorrow");
    }

    @Test
    void itDoesWhatItSays(@TempDir final Path directory) throws IOException {
        final Strategy strategy = documented();
        try (TinyRig rig = new TinyRig(directory, 61)) {
            final double[] asked = rig.row(TinyRig.asking(
                    rig.prompt, "which colour\nDoes the answer lie in the picture or in the sound?"));
            final double[] weights = ContrastOracle.logSoftmax(new double[] {
                asked[rig.model.tokenize("picture", false)[0]], asked[rig.model.tokenize("sound", false)[0]]
            });
            final Prompt doubtful =
                    rig.prompt.withPixelNoise(new PixelNoise(700, 1)).withSystem("You doubt what you see.");
            final Prompt hearing = rig.prompt.without(Modality.IMAGE).without(Modality.CONTEXT);
            final double[][] rows = {rig.row(rig.prompt), rig.row(doubtful), rig.row(hearing)};
            final double strength = 1.5 / 8;
            final double[] expected = ContrastOracle.cutOff(
                    rows[0],
                    ContrastOracle.weightedSum(
                            rows,
                            1 + strength,
                            -strength * Math.exp(weights[0]),
                            -strength * Math.exp(weights[1])),
                    0.05);
            final Decoding.Prepared prepared = Decoding.prepare(rig.engine, strategy, rig.prompt);
            final float[] actual = rig.engine
                    .logits(prepared.plan().request(new Limits(1, List.of()), 0))
                    .logits();
            final double largest =
                    Arrays.stream(rows).flatMapToDouble(Arrays::stream).map(Math::abs).max().orElseThrow();
            // Rows of weight 1.19 and 0.19 in all, and two weights that err as a logit does and multiply one.
            final double tolerance = (1.4 + 0.4 * largest) * Tolerance.f32(rows[0]);
            final double off = Tolerance.largestDifference(expected, actual);
            assertTrue(off <= tolerance, off + " > " + tolerance);

            final Explanation explanation =
                    Explanation.of(Decoding.outline(strategy, rig.prompt, rig.model.info()));
            assertEquals(3, explanation.branches().size());
            assertEquals(
                    List.of("prepare:assess", "pixel-noise", "contrast:linear", "plausibility", "sampler"),
                    explanation.steps().stream().map(Explanation.Step::intervention).toList());
            assertFalse(Strategies.names().contains(strategy.name()));
        }
    }
}
