package dev.equipoise.runtime.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Ids recorded from llama_tokenize of stock llama.cpp on a model with this vocabulary. */
class WordVocabularyTest {
    private final WordVocabulary words = WordVocabulary.of(List.of("<s>", "</s>", "<note>"),
            List.of(" red", " blue", "Trust", " the", " picture", " circle"));

    @Test
    void textBecomesWordsOrBytesAsInLlamaCpp() {
        same("Trust the picture? red-ish circle", 261, 262, 263, 63, 259, 45, 105, 115, 104, 264);
        same(" red blue  12345 éé it's", 259, 260, 32, 32, 49, 50, 51, 52, 53, 32, 195, 169, 195, 169, 32, 105, 116, 39,
                115);
        same("a\n\nred\n the", 97, 10, 10, 114, 101, 100, 10, 262);
        same("x <note> y </s>", 120, 32, 60, 110, 111, 116, 101, 62, 32, 121, 32, 60, 47, 115, 62);
        same("a\tb  c ", 97, 9, 98, 32, 32, 99, 32);
        same("don'T stop?!", 100, 111, 110, 39, 84, 32, 115, 116, 111, 112, 63, 33);
        same("");
    }

    @Test
    void idsAreBytesThenControlsThenWords() {
        assertEquals(265, words.size());
        assertEquals(256, words.bos());
        assertEquals(257, words.eos());
        assertEquals(258, words.id("<note>"));
        assertEquals(259, words.id(" red"));
        assertEquals('a', words.id("a"));
        assertTrue(words.has(" circle"));
        assertFalse(words.has("red"));
        assertEquals(1000, WordVocabulary.ofSize(1000).size());
    }

    @Test
    void whatLlamaCppCouldNotFindIsRefused() {
        final List<String> controls = List.of("<s>", "</s>");

        assertThrows(BadInputException.class, () -> WordVocabulary.of(controls, List.of("two words")));
        assertThrows(BadInputException.class, () -> WordVocabulary.of(controls, List.of("a1")));
        assertThrows(BadInputException.class, () -> WordVocabulary.of(controls, List.of(" x", " x")));
        assertThrows(BadInputException.class, () -> WordVocabulary.of(controls, List.of("x")));
        assertThrows(BadInputException.class, () -> WordVocabulary.of(List.of("<s>"), List.of()));
        assertThrows(BadInputException.class, () -> WordVocabulary.ofSize(257));
        assertThrows(BadInputException.class, () -> words.id("green"));
    }

    private void same(final String text, final int... ids) {
        assertArrayEquals(ids, words.encode(text));
        assertEquals(text, words.decode(ids));
    }
}
