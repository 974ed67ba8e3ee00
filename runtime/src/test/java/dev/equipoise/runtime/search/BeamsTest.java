package dev.equipoise.runtime.search;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.function.Function;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

/** Searches over rows that a test makes up, without a model. */
class BeamsTest {
    private static final int END = 0;
    private static final int PROMPT = 3;

    private static BeamSearch plain(final int beams, final double lengthPenalty) {
        return new BeamSearch(beams, lengthPenalty, false, Optional.empty());
    }

    private static Beams beams(final BeamSearch how, final int most, final int vocabulary) {
        final BitSet span = new BitSet();
        span.set(1);
        return new Beams(how, PROMPT, span, most, vocabulary, 3, token -> token == END);
    }

    private static List<Integer> tokens(final Path path) {
        final List<Integer> tokens = new ArrayList<>();
        for (Path at = path; at.parent() != null; at = at.parent()) {
            tokens.addFirst(at.token());
        }
        return tokens;
    }

    // Reads all that is wanted, and counts how often.
    private static int search(
            final Beams beams,
            final Function<List<Integer>, float[]> rows,
            final Function<List<Integer>, float[][]> attention) {
        int rounds = 0;
        while (!beams.isDone()) {
            rounds++;
            final List<Path> wanted = beams.wanted();
            assertFalse(wanted.isEmpty());
            assertEquals(1, wanted.stream().mapToInt(Path::length).distinct().count());
            for (final Path path : wanted) {
                beams.read(path, rows.apply(tokens(path)), attention.apply(tokens(path)));
            }
        }
        assertEquals(0, beams.wantedPaths());
        return rounds;
    }

    private static float[] random(final List<Integer> path, final long seed, final int vocabulary) {
        final Random random = new Random(seed * 31 + path.hashCode());
        final float[] row = new float[vocabulary];
        for (int token = 0; token < vocabulary; token++) {
            row[token] = (float) random.nextGaussian() * 2;
        }
        return row;
    }

    private static double logProbability(final List<Integer> path, final int token, final float[] row) {
        double sum = 0;
        for (final float logit : row) {
            sum += Math.exp(logit);
        }
        return row[token] - Math.log(sum);
    }

    // The best answer of all, by log-probability per token; ended ones count the tokens before their end.
    private static double best(
            final List<Integer> path,
            final double sum,
            final int most,
            final Function<List<Integer>, float[]> rows,
            final double power) {
        if (path.size() == most) {
            return sum / Math.pow(most, power);
        }
        final float[] row = rows.apply(path);
        double best = (sum + logProbability(path, END, row)) / Math.pow(Math.max(1, path.size()), power);
        for (int token = 1; token < row.length; token++) {
            final List<Integer> longer = new ArrayList<>(path);
            longer.add(token);
            best = Math.max(best, best(longer, sum + logProbability(path, token, row), most, rows, power));
        }
        return best;
    }

    private static double score(
            final List<Integer> path, final boolean ended, final Function<List<Integer>, float[]> rows) {
        double sum = 0;
        for (int i = 0; i < path.size(); i++) {
            sum += logProbability(path, path.get(i), rows.apply(path.subList(0, i)));
        }
        return ended ? sum + logProbability(path, END, rows.apply(path)) : sum;
    }

    /** Of four tokens and three places, nine beams lose nothing, so that what they find is the best there is. */
    @Property(tries = 200)
    void withBeamsEnoughItIsTheBestAnswer(@ForAll final long seed, @ForAll @IntRange(min = 1, max = 3) final int most) {
        final Function<List<Integer>, float[]> rows = path -> random(path, seed, 4);
        // By length 0 nothing is over before its time: sums only fall.
        final Beams beams = beams(plain(9, 0), most, 18);
        final Function<List<Integer>, float[]> wide = path -> {
            final float[] row = Arrays.copyOf(rows.apply(path), 18);
            Arrays.fill(row, 4, 18, Float.NEGATIVE_INFINITY);
            return row;
        };
        search(beams, wide, path -> null);
        final double found = score(tokens(beams.answer()), beams.isWhole(), rows);
        assertEquals(best(List.of(), 0, most, rows, 0), found, 1e-6);
    }

    @Property(tries = 100)
    void oneBeamIsGreedy(@ForAll final long seed, @ForAll @IntRange(min = 1, max = 12) final int most) {
        final Function<List<Integer>, float[]> rows = path -> random(path, seed, 6);
        final List<Integer> greedy = new ArrayList<>();
        boolean ended = false;
        while (greedy.size() < most && !ended) {
            final int token = Ranking.best(rows.apply(greedy), 1)[0];
            ended = token == END;
            if (!ended) {
                greedy.add(token);
            }
        }
        for (final Optional<OverTrust> trust : List.of(
                Optional.<OverTrust>empty(),
                Optional.of(new OverTrust(3, 50, 1, 0, 0, Modality.IMAGE, OptionalInt.empty())))) {
            final Beams beams = beams(new BeamSearch(1, 1, true, trust), most, 6);
            search(beams, rows, BeamsTest::even);
            assertEquals(greedy, tokens(beams.answer()));
            assertEquals(ended, beams.isWhole());
        }
    }

    // Two heads; what both lay on the columns sums to more than 1.
    private static float[][] even(final List<Integer> path) {
        final int columns = PROMPT + path.size();
        final float[][] heads = new float[2][columns];
        Arrays.fill(heads[0], 1f / columns);
        Arrays.fill(heads[1], 1f / columns);
        return heads;
    }

    /** Products down the columns, rows made to sum to 1 again, as written out. */
    @Property(tries = 100)
    void productsAreThoseOfTheColumns(
            @ForAll final long seed, @ForAll @DoubleRange(min = 0.5, max = 60) final double scale) {
        final Random random = new Random(seed);
        final int answer = 5;
        final double[][] joined = new double[answer][];
        final BitSet span = new BitSet();
        span.set(1, 3);
        Trust trust = Trust.NONE;
        double onSpan = 0;
        for (int token = 0; token < answer; token++) {
            final float[][] heads = new float[3][PROMPT + token + 1];
            final double[] row = new double[PROMPT + token + 1];
            double sum = 0;
            for (int column = 0; column < row.length; column++) {
                for (final float[] head : heads) {
                    head[column] = random.nextFloat();
                    row[column] = Math.max(row[column], head[column]);
                }
                sum += row[column];
            }
            onSpan = (row[1] + row[2]) / sum;
            joined[token] = Arrays.copyOfRange(row, PROMPT, row.length);
            for (int column = 0; column <= token; column++) {
                joined[token][column] *= scale / sum;
            }
            trust = trust.behind(heads, span, scale);
        }
        assertEquals(onSpan, trust.onSpan(), 1e-12);
        for (int column = 0; column < answer; column++) {
            double product = 1;
            for (int row = column; row < answer; row++) {
                product *= joined[row][column];
            }
            assertEquals(product, trust.products()[column], 1e-9 * product);
        }
    }

    @Test
    void smallScoresAreEqualInHalfPrecisionAndTheFirstIsThePlace() {
        final Trust trust = new Trust(new double[] {0.1, 0.2, 0.05}, 0);
        assertEquals(1, trust.place(1));
        assertEquals(0, trust.place(1e-7));
        assertEquals(0, trust.score(1, 1e-7));
        assertEquals(65504, new Trust(new double[] {1e300}, 0).score(0, 1));
        assertEquals(65504, new Trust(new double[] {Double.POSITIVE_INFINITY}, 0).score(0, 1e-7));
    }

    /** A candidate that attends to the picture gains by it, in the opening alone. */
    @Test
    void anOpeningRewardsWeightOnTheSpan() {
        final Function<List<Integer>, float[]> rows = path -> new float[] {-9, 2, 1.5f, 0, 0, 0};
        final Function<List<Integer>, float[][]> attention = path -> {
            final float[][] heads = new float[1][PROMPT + path.size()];
            heads[0][path.getLast() == 2 ? 1 : 0] = 1;
            return heads;
        };
        final OverTrust trust = new OverTrust(2, 50, 1, 1, 2, Modality.IMAGE, OptionalInt.empty());
        final Beams beams = beams(new BeamSearch(1, 1, false, Optional.of(trust)), 4, 6);
        search(beams, rows, path -> path.isEmpty() ? new float[0][] : attention.apply(path));
        assertEquals(List.of(2, 2, 1, 1), tokens(beams.answer()));
        // Behind the opening nothing is built on: only columns of the prompt have weight.
        assertEquals(0.5, beams.meanPenalty(), 1e-12);
    }

    /** All build on the token at place 2 from there on: the search goes back behind it, and takes other tokens. */
    @Test
    void goesBackBehindWhatAllBuildOn() {
        final float[] row = {-9, 3, 2, 1, 0, -1, -2, -3};
        final Function<List<Integer>, float[][]> attention = path -> {
            final float[][] heads = new float[1][PROMPT + path.size()];
            Arrays.fill(heads[0], 0.01f);
            heads[0][PROMPT + Math.min(2, path.size() - 1)] = 1;
            return heads;
        };
        final OverTrust trust = new OverTrust(2, 50, 1, 0, 1, Modality.IMAGE, OptionalInt.of(2));
        final Beams beams = beams(new BeamSearch(1, 1, false, Optional.of(trust)), 12, 8);
        final List<Integer> lengths = new ArrayList<>();
        search(beams, path -> {
            lengths.add(path.size());
            return row;
        }, path -> path.isEmpty() ? new float[0][] : attention.apply(path));
        // Place 2 has come up three times when tokens 2, 3 and 4 are judged: back to what has three tokens, twice, as
        // there are two candidates; then twice to what has two.
        assertEquals(4, beams.wentBack());
        assertTrue(lengths.contains(12), lengths.toString());
        final List<Integer> answer = tokens(beams.answer());
        // At both places the three best tokens were taken and given up, or the two best.
        assertEquals(12, answer.size());
        assertEquals(List.of(1, 1), answer.subList(0, 2));
        assertTrue(answer.get(2) > 1 && answer.get(3) > 0, answer.toString());
    }

    @Test
    void reportsWhatATokenCompetedWith() {
        final Beams beams = beams(plain(2, 1), 3, 8);
        final Function<List<Integer>, float[]> rows = path -> random(path, 5, 8);
        search(beams, rows, path -> null);
        assertNull(beams.answer().head(0).competition());
        final List<Integer> answer = tokens(beams.answer());
        for (int i = 0; i < answer.size(); i++) {
            final List<Integer> before = answer.subList(0, i);
            final var competition = beams.answer().head(i + 1).competition();
            assertEquals(answer.get(i), competition.token());
            assertEquals(
                    logProbability(before, answer.get(i), rows.apply(before)), competition.logProbability(), 1e-6);
            assertArrayEquals(
                    Ranking.best(rows.apply(before), 3),
                    competition.top().stream().mapToInt(top -> top.token()).toArray());
        }
    }

    @Test
    void refusesWhatIsNotThere() {
        final Beams beams = beams(plain(2, 1), 3, 8);
        final Path prompt = beams.wanted().getFirst();
        beams.read(prompt, new float[8], null);
        assertThrows(IllegalArgumentException.class, () -> beams.read(prompt, new float[8], null));
        assertThrows(BadInputException.class, () -> plain(0, 1));
        assertThrows(BadInputException.class, () -> plain(17, 1));
        assertThrows(BadInputException.class, () -> plain(2, Double.NaN));
        for (final Runnable bad : List.<Runnable>of(
                () -> new OverTrust(0, 50, 1, 1, 0, Modality.IMAGE, OptionalInt.empty()),
                () -> new OverTrust(16, 50, 1, 1, 0, Modality.IMAGE, OptionalInt.empty()),
                () -> new OverTrust(5, 0, 1, 1, 0, Modality.IMAGE, OptionalInt.empty()),
                () -> new OverTrust(5, 50, -1, 1, 0, Modality.IMAGE, OptionalInt.empty()),
                () -> new OverTrust(5, 50, 1, Double.NaN, 0, Modality.IMAGE, OptionalInt.empty()),
                () -> new OverTrust(5, 50, 1, 1, -1, Modality.IMAGE, OptionalInt.empty()),
                () -> new OverTrust(5, 50, 1, 1, 0, Modality.IMAGE, OptionalInt.of(1)))) {
            assertThrows(BadInputException.class, bad::run);
        }
    }
}
