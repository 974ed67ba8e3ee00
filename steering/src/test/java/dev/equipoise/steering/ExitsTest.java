package dev.equipoise.steering;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ExitsTest {
    private static List<Integer> resolve(final String text, final int depth) {
        return List.copyOf(Exits.parse(text, "layers").resolve(depth));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "low | 32 | -1 1 3 5 7 9 11 13", "high | 32 | 15 17 19 21 23 25 27 29", "low | 4 | -1", "high | 4 | 1",
        "low | 40 | -1 1 3 5 7 9 11 13 15 17", "high | 40 | 19 21 23 25 27 29 31 33 35 37",
        "low | 60 | -1 1 3 5 7 9 11 13 15 17", "high | 60 | 39 41 43 45 47 49 51 53 55 57",
        "low | 80 | -1 1 3 5 7 9 11 13 15 17", "high | 80 | 59 61 63 65 67 69 71 73 75 77",
        "low | 1 | -1", "high | 3 | 1", "embedding | 2 | -1", "embedding,0-2/2 | 4 | -1 0 2", "1 | 4 | 1",
        "embedding,all-but-last | 3 | -1 0 1", "50%-100% | 4 | 2 3"
    })
    void choicesMeanTheseExits(final String text, final int depth, final String exits) {
        assertEquals(Stream.of(exits.split(" ")).map(Integer::valueOf).toList(), resolve(text, depth));
        assertEquals(text, Exits.parse(text, "layers").toString());
    }

    /** Up to 40 blocks every second exit is in one half, and none in both; of more, ten at each end. */
    @Test
    void theBucketsAreHalvesOrTenOfEach() {
        for (int depth = 41; depth < 100; depth++) {
            final List<Integer> high = resolve("high", depth);
            assertEquals(resolve("low", 40), resolve("low", depth));
            assertEquals(10, high.size());
            assertTrue(high.getLast() < depth - 1 && high.getLast() >= depth - 3);
        }
        for (int depth = 4; depth <= 40; depth++) {
            final List<Integer> low = resolve("low", depth);
            final List<Integer> high = resolve("high", depth);
            assertEquals((depth + 1) / 2, low.size() + high.size());
            assertTrue(low.getLast() + 2 == high.getFirst() && high.getLast() < depth - 1);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "embedding,", ",embedding", "1,embedding", "middle", "low,1", "-1"})
    void whatIsNoChoiceIsRefused(final String text) {
        final BadInputException e = assertThrows(BadInputException.class, () -> Exits.parse(text, "exits[0].layers"));
        assertTrue(e.where().contains("exits[0].layers"), e.getMessage());
    }

    @Test
    void aModelMayHaveNoneThere() {
        assertThrows(BadInputException.class, () -> resolve("high", 2));
        assertThrows(BadInputException.class, () -> resolve("embedding,4", 4));
    }
}
