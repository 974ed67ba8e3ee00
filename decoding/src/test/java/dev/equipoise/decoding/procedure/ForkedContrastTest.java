package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Explanation;
import dev.equipoise.decoding.Plan;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Fork-merge as the base of a contrast, from the file to the row. */
class ForkedContrastTest {
    private static final String FORK = "\"forkMerge\": {\"silence\": [\"audio\", \"image\"], \"layer\": 0}";
    private static final String CONTRAST = """
            "contrast": {"branches": {"noteless": {"without": ["context"]}, "blind": {"without": ["image"]}},
                         "coefficients": {"base": 2.5, "noteless": -1, "blind": -0.5}, "beta": 0.1%s}""";

    private static Strategy read(final String... parts) {
        return Strategies.parse("{" + String.join(", ", parts) + "}", "test");
    }

    private static double[] row(final TinyRig rig, final Plan plan) {
        final float[] row = rig.engine.logits(plan.request(new Limits(1, List.of()), 0)).logits();
        return IntStream.range(0, row.length).mapToDouble(y -> row[y]).toArray();
    }

    @Test
    void theBaseOfTheContrastIsTheMergedRow(@TempDir final Path directory) {
        try (TinyRig rig = new TinyRig(directory, 91)) {
            final Plan plan = Decoding.prepare(rig.engine, read(FORK, CONTRAST.formatted("")), rig.prompt).plan();
            assertEquals(
                    List.of("without-audio", "without-image", "blind", "noteless"),
                    plan.branches().stream().map(Branch::name).toList());
            // The merge alone, whose parity with the oracle has a test of its own.
            final double[] merged = row(rig, Decoding.prepare(rig.engine, read(FORK), rig.prompt).plan());
            final double[][] rows = {
                merged, rig.row(rig.prompt.without(Modality.CONTEXT)), rig.row(rig.prompt.without(Modality.IMAGE))
            };
            final double[] expected =
                    ContrastOracle.cutOff(merged, ContrastOracle.weightedSum(rows, 2.5, -1, -0.5), 0.1);
            final double[] found = row(rig, plan);
            final float[] actual = new float[found.length];
            IntStream.range(0, found.length).forEach(y -> actual[y] = (float) found[y]);
            final double off = Tolerance.largestDifference(expected, actual);
            // Each row may be off by its tolerance, the merged one here and there; the weights' absolute sum is four.
            final double tolerance =
                    (4 + 2.5) * Arrays.stream(rows).mapToDouble(Tolerance::f32).max().orElseThrow();
            assertTrue(off <= tolerance, off + " > " + tolerance);
            final double[] unmerged = ContrastOracle.cutOff(
                    merged,
                    ContrastOracle.weightedSum(new double[][] {rig.row(rig.prompt), rows[1], rows[2]}, 2.5, -1, -0.5),
                    0.1);
            final double effect = Tolerance.largestDifference(unmerged, actual);
            Placement.requireVisible(effect > 10 * tolerance, "a merge that changes " + effect + " proves nothing");

            final List<String> steps = Explanation.of(plan).steps().stream()
                    .map(Explanation.Step::intervention)
                    .toList();
            assertTrue(steps.containsAll(List.of("merge", "contrast:linear", "plausibility")), steps::toString);
        }
    }

    @Test
    void aCutOffIsAboutTheMergedRow(@TempDir final Path directory) {
        final Strategy strategy = read(FORK, CONTRAST.formatted(", \"cutOff\": \"blind\""));
        try (TinyRig rig = new TinyRig(directory, 92)) {
            final BadInputException refused =
                    assertThrows(BadInputException.class, () -> Decoding.prepare(rig.engine, strategy, rig.prompt));
            assertTrue(refused.getMessage().contains("fork-merge"), refused::getMessage);
        }
    }
}
