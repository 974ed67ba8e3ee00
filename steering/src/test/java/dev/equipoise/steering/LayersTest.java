package dev.equipoise.steering;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.util.List;
import java.util.SortedSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class LayersTest {
    private static SortedSet<Integer> resolve(final String text, final int depth) {
        return Layers.parse(text, "layers").resolve(depth);
    }

    private static void assertRange(final int first, final int last, final SortedSet<Integer> layers) {
        assertEquals(first, layers.first());
        assertEquals(last, layers.last());
        assertEquals(last - first + 1, layers.size());
    }

    @ParameterizedTest
    @CsvSource({
        "all, 32, 0, 31", "all, 1, 0, 0", "all-but-last, 32, 0, 30",
        "all-but-last, 2, 0, 0", "all-but-last-two, 28, 0, 25", "all-but-last-two, 3, 0, 0",
        "3, 4, 3, 3", "0, 1, 0, 0", "8-16, 17, 8, 16",
        "0%-100%, 32, 0, 31", "28%-47%, 32, 8, 15", "28%-47%, 28, 7, 13", "25%-50%, 32, 8, 15",
        // 28 % of 25 is exactly 7, which doubles miss.
        "28%-56%, 25, 7, 13", "0%-28%, 25, 0, 6", "12.5%-37.5%, 8, 1, 2",
        // However thin: one layer.
        "50%-50%, 32, 16, 16", "0%-0%, 32, 0, 0", "100%-100%, 32, 31, 31", "99%-100%, 4, 3, 3", "10%-11%, 1, 0, 0"
    })
    void choicesMeanTheseLayers(final String text, final int depth, final int first, final int last) {
        assertRange(first, last, resolve(text, depth));
    }

    @Test
    void listsAndStepsMeanWhatTheyList() {
        assertEquals(List.of(1, 3, 5), List.copyOf(resolve("1-6/2", 8)));
        assertEquals(List.of(0, 4), List.copyOf(resolve("0-7/4", 8)));
        assertEquals(List.of(0, 2, 3, 4, 7), List.copyOf(resolve("7,2-4,0,3", 8)));
        assertEquals(List.of(0, 1, 5, 7), List.copyOf(resolve("5-7/2,0-1", 8)));
        assertThrows(BadInputException.class, () -> resolve("0,8", 8));
        assertThrows(BadInputException.class, () -> resolve("1-9/4", 8));
        assertThrows(BadInputException.class, () -> resolve("1-6/0", 8));
    }

    @Test
    void layersOfOneModelMayBeMissingInAnother() {
        final BadInputException e = assertThrows(BadInputException.class, () -> resolve("8-16", 16));
        assertTrue(e.getMessage().contains("no layer 16 in a model of 16 layers"), e.getMessage());
        assertTrue(e.getMessage().contains("0-15"), e.getMessage());
        assertThrows(BadInputException.class, () -> resolve("999999999", 4));
        assertThrows(BadInputException.class, () -> resolve("all-but-last", 1));
        assertThrows(BadInputException.class, () -> resolve("all-but-last-two", 2));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "", "ALL", "-1", "1-", "-", "8 - 16", "1,", ",1", "1,,2", "1-2/", "3/2", "1,50%-60%", "all,1", "1.5", "50%",
        "10%-20", "10-20%", "-5%-10%", "1e1%-20%", "9999999999", "1-9999999999", "0%-1000%", "٣"
    })
    void whatIsNoChoiceIsRefused(final String text) {
        final BadInputException e = assertThrows(BadInputException.class, () -> Layers.parse(text, "steer[0].layers"));
        assertTrue(e.where().contains("steer[0].layers \"" + text + "\""), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"16-8", "47%-28%", "0%-101%", "1,16-8"})
    void disorderIsNamedAsSuch(final String text) {
        final BadInputException e = assertThrows(BadInputException.class, () -> Layers.parse(text, "--layers"));
        assertTrue(e.what().contains("out of"), e.getMessage());
        assertTrue(e.where().contains("--layers \"" + text + "\""), e.getMessage());
    }

    @Test
    void aChoiceIsWrittenAsItIsRead() {
        for (final String text : List.of(
                "all", "all-but-last", "all-but-last-two", "3", "8-16", "28%-47%",
                "0%-100%", "12.5%-50%", "1-13/2", "0,2,4",
                "1-5,9-13/2")) {
            assertEquals(text, Layers.parse(text, "layers").toString());
        }
        assertEquals(Layers.parse("28%-50%", "layers"), Layers.parse("28.0%-50.00%", "layers"));
        assertEquals(Layers.parse("3", "layers"), Layers.parse("3-3", "layers"));
    }
}
