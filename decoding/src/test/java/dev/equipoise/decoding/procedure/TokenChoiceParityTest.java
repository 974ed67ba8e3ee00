package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.TraceEntry;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.InterventionOracle;
import dev.equipoise.runtime.oracle.InterventionOracle.Act;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Strategies whose branches do not see some tokens, from their files to the engine's logits: the choice from the
 * attention of a plain forward pass, the branch from one with these tokens hidden or zeroed. The choices are written
 * out here a second time.
 */
class TokenChoiceParityTest {
    private static final int LAYERS = 4;
    private static final Limits LIMITS = new Limits(3, List.of());

    @TempDir
    static Path directory;

    private static TinyRig rig;
    private static double[] all;
    private static double[][] attention;
    private static List<Integer> picture;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(directory, 53);
        all = rig.row(rig.prompt);
        attention = rig.attention(rig.prompt);
        picture = List.copyOf(rig.columns(rig.prompt, Modality.IMAGE));
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static Strategy read(final String json) {
        return Strategies.parse(json.replace('\'', '"'), "test");
    }

    // A gate may leave the base row as it is; what combines when it is open is compared here.
    private static Strategy ungated(final Strategy strategy) {
        return new Strategy(strategy.name(), strategy.source(), strategy.contrast(), strategy.sampling());
    }

    private static void assertAgrees(final Strategy strategy, final double[] expected, final double weight) {
        final float[] actual = rig.engine
                .logits(Decoding.prepare(rig.engine, strategy, rig.prompt).plan().request(LIMITS, 0))
                .logits();
        final double tolerance = weight * Tolerance.f32(all);
        int kept = 0;
        double effect = 0;
        for (int y = 0; y < expected.length; y++) {
            if (Double.isInfinite(expected[y])) {
                assertEquals(expected[y], actual[y], "token " + y);
            } else {
                kept++;
                final double difference = Math.abs(expected[y] - actual[y]);
                assertTrue(difference <= tolerance, "token " + y + ": " + difference + " of " + tolerance);
                effect = Math.max(effect, Math.abs(actual[y] - all[y]));
            }
        }
        assertTrue(kept > 0);
        Placement.requireVisible(effect > 10 * tolerance, "an effect of " + effect + " proves nothing");
    }

    private static TreeSet<Integer> layers(final int first, final int end) {
        return new TreeSet<>(IntStream.range(first, end).boxed().toList());
    }

    private static double[] hidden(final Set<Integer> columns, final int first, final int end) {
        assertTrue(!columns.isEmpty());
        final Intervention hide = new Intervention.Hide(
                "hide", EnumSet.of(Modality.IMAGE), Optional.of(new TreeSet<>(columns)), layers(first, end));
        return rig.row(rig.prompt, new InterventionOracle(new Act(hide, t -> true, columns::contains)));
    }

    private static double[] zeroed(final Set<Integer> columns) {
        final Intervention silence = new Intervention.Silence("silence", EnumSet.of(Modality.IMAGE));
        return rig.row(rig.prompt, new InterventionOracle(new Act(silence, columns::contains)));
    }

    private static Set<Integer> allButLeast(final int kept, final int layer) {
        return new TreeSet<>(picture.stream()
                .sorted(Comparator.comparing(column -> attention[layer][column]))
                .skip(kept)
                .toList());
    }

    @Test
    void selfIntrospective() {
        // 0.1736 of 16 tokens, rounded up.
        final double[] other = hidden(allButLeast(3, 1), 2, LAYERS);
        final double[] documented = ContrastOracle.weightedSum(new double[][] {all, other}, 2, -1);
        assertAgrees(Strategies.named("sid"), ContrastOracle.cutOff(all, documented, 0.1), 3);
        // What the official evaluation runs: half of it, and no cut-off.
        assertAgrees(
                Strategies.named("sid-code"),
                ContrastOracle.weightedSum(new double[][] {all, other}, 1.5, -0.5),
                2);
    }

    @ParameterizedTest
    @ValueSource(strings = {"'keep':5,'layer':1|5|1", "'keep':1,'layer':3|1|3", "'share':0,'layer':2|0|2"})
    void leastAttendedTokens(final String line) {
        final String[] parts = line.split("\\|");
        final int layer = Integer.parseInt(parts[2]);
        final double[] other = hidden(allButLeast(Integer.parseInt(parts[1]), layer - 1), layer, LAYERS);
        final Strategy strategy = read("{'contrast':{'branches':{'x':{'tokens':{'by':'least-attended',"
                + parts[0] + "}}},'coefficients':{'base':3,'x':-2}}}");
        assertAgrees(strategy, ContrastOracle.weightedSum(new double[][] {all, other}, 3, -2), 5);
    }

    @Test
    void whatKeepsAllTokensIsTheBaseTwice() {
        // The published 100 of a picture that has 16.
        final Strategy strategy = read("{'contrast':{'branches':{'x':{'tokens':{'by':'least-attended'}}},"
                + "'coefficients':{'base':3,'x':-2}}}");
        final float[] actual = rig.engine
                .logits(Decoding.prepare(rig.engine, strategy, rig.prompt).plan().request(LIMITS, 0))
                .logits();
        assertTrue(Tolerance.largestDifference(all, actual) <= 5 * Tolerance.f32(all));
    }

    private static double mass(final double[] row) {
        return picture.stream().mapToDouble(column -> row[column]).sum();
    }

    @Test
    void blindTokens() {
        final List<double[]> most = new ArrayList<>(Arrays.asList(attention));
        most.sort(Comparator.comparing((double[] row) -> -mass(row)));
        final double half = 0.5 * Arrays.stream(attention).mapToDouble(TokenChoiceParityTest::mass).sum();
        double held = 0;
        int count = 0;
        while (held < half) {
            held += mass(most.get(count++));
        }
        final double[] map = new double[attention[0].length];
        for (int block = 0; block < count; block++) {
            for (int column = 0; column < map.length; column++) {
                map[column] += most.get(block)[column];
            }
        }
        final double mean = mass(map) / picture.size();
        final double deviation = Math.sqrt(picture.stream()
                        .mapToDouble(column -> Math.pow(map[column] - mean, 2))
                        .sum()
                / (picture.size() - 1));
        final Set<Integer> seen = new TreeSet<>(picture);
        seen.removeIf(column -> map[column] >= mean + deviation);
        assertTrue(seen.size() < picture.size());
        final double[] combined = ContrastOracle.weightedSum(new double[][] {all, zeroed(seen)}, 2, -1);
        assertAgrees(Strategies.named("avisc"), ContrastOracle.cutOff(all, combined, 0.1), 3);
        final double[] generative = ContrastOracle.weightedSum(new double[][] {all, zeroed(seen)}, 3.5, -2.5);
        assertAgrees(Strategies.named("avisc-generative"), ContrastOracle.cutOff(all, generative, 0.1), 6);
    }

    // Picture, sound and words; which one dominates, and the others' columns above the threshold.
    private static Set<Integer> attended(final boolean first, final boolean second, final boolean within,
            final boolean perToken) {
        final double[] map = new double[attention[0].length];
        for (int block = 0; block < LAYERS - 1; block++) {
            for (int column = 0; column < map.length; column++) {
                map[column] += attention[block][column] / (LAYERS - 1);
            }
        }
        final List<Set<Integer>> sides = new ArrayList<>(List.of(
                rig.columns(rig.prompt, Modality.IMAGE),
                rig.columns(rig.prompt, Modality.AUDIO),
                rig.columns(rig.prompt, Modality.TEXT, Modality.CONTEXT)));
        sides.remove(sides.stream()
                .max(Comparator.comparing(side -> side.stream().mapToDouble(column -> map[column]).sum()
                        / (perToken ? side.size() : 1)))
                .orElseThrow());
        final Set<Integer> chosen = new TreeSet<>();
        for (int side = first ? 0 : 1; side <= (second ? 1 : 0); side++) {
            final double[] compared = (within ? sides.get(side).stream() : IntStream.range(0, map.length).boxed())
                    .mapToDouble(column -> map[column])
                    .sorted()
                    .toArray();
            final double median = (compared[(compared.length - 1) / 2] + compared[compared.length / 2]) / 2;
            sides.get(side).stream().filter(column -> map[column] > median).forEach(chosen::add);
        }
        return chosen;
    }

    @ParameterizedTest
    @CsvSource({"false,false", "true,false", "false,true", "true,true"})
    void audioVisual(final boolean within, final boolean perToken) {
        final Strategy preset = Strategies.named("avcd");
        final String json = preset.toJson()
                .replaceAll("\"within\" ?: ?false", "\"within\":" + within)
                .replaceAll("\"perToken\" ?: ?false", "\"perToken\":" + perToken);
        final double[][] rows = {
            all,
            hidden(attended(true, false, within, perToken), 0, LAYERS - 1),
            hidden(attended(false, true, within, perToken), 0, LAYERS - 1),
            hidden(attended(true, true, within, perToken), 0, LAYERS - 1)
        };
        final double[] combined = ContrastOracle.weightedSum(rows, 3, 1, 1, -1);
        assertAgrees(ungated(Strategies.parse(json, "variant")), ContrastOracle.cutOff(all, combined, 0.1), 6);
    }

    @Test
    void audioVisualOfAnotherStrength() {
        final double[][] rows = {
            all,
            hidden(attended(true, false, false, false), 0, LAYERS - 1),
            hidden(attended(false, true, false, false), 0, LAYERS - 1),
            hidden(attended(true, true, false, false), 0, LAYERS - 1)
        };
        final double[] combined = ContrastOracle.weightedSum(rows, 7, 1, 1, -5);
        assertAgrees(
                ungated(Strategies.named("avcd-avhbench")), ContrastOracle.cutOff(all, combined, 0.1), 14);
    }

    @Test
    void choicesAreTraced() {
        final Answer answer =
                Decoding.run(rig.engine, Strategies.named("sid"), rig.prompt, LIMITS, 0, TokenListener.NONE);
        final TraceEntry looked = answer.trace().getFirst();
        assertEquals("prepare:tokens", looked.intervention());
        assertEquals(List.of(1), looked.layers());
        assertEquals(picture.size() - 3, looked.tokens());
        assertTrue(answer.trace().stream()
                .anyMatch(entry -> entry.intervention().equals("least-attended/tokens:least-attended")
                        && entry.layers().equals(List.of(2, 3))));
        final TraceEntry chosen = answer.trace().stream()
                .filter(entry -> entry.intervention().equals("least-attended/tokens:least-attended:step"))
                .findFirst()
                .orElseThrow();
        assertEquals(List.of(2, 3), chosen.layers());
        assertEquals(answer.tokens().size() - 1, chosen.tokens());
        // So many keys were hidden from each of them, by a bias of -1000.
        assertEquals(1000 * Math.sqrt(picture.size() - 3), chosen.meanDeltaNorm(), 1e-9);
    }
}
