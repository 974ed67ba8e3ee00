package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.runtime.search.Beams;
import dev.equipoise.runtime.search.OverTrust;
import dev.equipoise.runtime.search.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** What a search decides from rows, without a model that gives them, as {@link SearchOracle} does: many roll-backs. */
class SearchOfRowsTest {
    private static final int PROMPT = 4;
    private static final int VOCABULARY = 30;

    @Test
    void whateverTheRows() {
        int judged = 0;
        int rollBacks = 0;
        for (int seed = 0; seed < 400; seed++) {
            final Random parameters = new Random(seed);
            final int beams = 1 + parameters.nextInt(5);
            final int candidates = 1 + parameters.nextInt(5);
            final double factor = Math.pow(10, -5 - parameters.nextInt(3));
            final int opening = parameters.nextInt(4);
            final OptionalInt threshold = OptionalInt.of(2 + parameters.nextInt(2));
            final SearchOracle.Reader reader = madeUp(seed);
            final Set<Integer> ends = Set.of(0, 1);
            final SearchOracle.Found found = SearchOracle.search(
                    reader,
                    new SearchOracle.Rules(beams, 1, PROMPT, 14, ends, Optional.of(new SearchOracle.OverTrust(
                            candidates, 35, factor, 1, opening, Set.of(1), threshold))),
                    row -> 1e-9); // both compute in double
            final BitSet picture = new BitSet();
            picture.set(1);
            final Beams search = new Beams(
                    new BeamSearch(beams, 1, true, Optional.of(new OverTrust(
                            candidates, 35, factor, 1, opening, Modality.IMAGE, threshold))),
                    PROMPT,
                    picture,
                    14,
                    VOCABULARY,
                    0,
                    ends::contains);
            while (!search.isDone()) {
                for (final Path wanted : search.wanted()) {
                    final SearchOracle.Seen seen = reader.read(tokens(wanted));
                    search.read(wanted, seen.logits(), floats(seen.heads()));
                }
            }
            if (found.margin() > 1) {
                final String which = "seed " + seed + ": " + found;
                assertEquals(found.tokens(), tokens(search.answer()), which);
                assertEquals(found.rollBacks(), search.wentBack(), which);
                judged++;
                rollBacks += found.rollBacks();
            }
        }
        assertTrue(judged >= 100, judged + " searches judged");
        assertTrue(rollBacks >= 200, rollBacks + " roll-backs");
    }

    private static List<Integer> tokens(final Path path) {
        final List<Integer> tokens = new ArrayList<>();
        for (Path at = path; at.parent() != null; at = at.parent()) {
            tokens.addFirst(at.token());
        }
        return tokens;
    }

    private static float[][] floats(final double[][] heads) {
        final float[][] floats = new float[heads.length][heads[0].length];
        for (int head = 0; head < heads.length; head++) {
            for (int column = 0; column < floats[head].length; column++) {
                floats[head][column] = (float) heads[head][column];
            }
        }
        return floats;
    }

    // Every answer has a row and attention of its own, which lies on the second answer token more than on others.
    private static SearchOracle.Reader madeUp(final long seed) {
        return answer -> {
            final Random random = new Random(seed * 7919 + answer.hashCode());
            final float[] logits = new float[VOCABULARY];
            for (int token = 0; token < logits.length; token++) {
                logits[token] = (float) random.nextGaussian() * 2;
            }
            final double[][] heads = new double[2][PROMPT + answer.size()];
            for (final double[] head : heads) {
                for (int column = 0; column < head.length; column++) {
                    head[column] =
                            Math.pow(random.nextFloat(), 6) + (column == PROMPT + 1 ? 0.5 : 0.01);
                }
                final double sum = Arrays.stream(head).sum();
                // As float32 says it, which is what a search is given.
                Arrays.setAll(head, column -> (float) (head[column] / sum));
            }
            return new SearchOracle.Seen(logits, heads);
        };
    }
}
