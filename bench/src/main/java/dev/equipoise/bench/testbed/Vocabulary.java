package dev.equipoise.bench.testbed;

import dev.equipoise.runtime.gguf.GgufWriter;
import dev.equipoise.runtime.gguf.WordVocabulary;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * The tokens of the testbed model: bytes, {@code <s>}, {@code </s>}, then every word of the {@link Phrasebook} as it
 * is, after a space, capitalised, and capitalised after a space. Immutable.
 */
public final class Vocabulary {
    private final WordVocabulary tokens;
    private final Map<Integer, String> wordOf = new HashMap<>();

    /** The vocabulary of the phrasebook as it stands. */
    public Vocabulary() {
        final Map<String, String> forms = new LinkedHashMap<>();
        for (final String word : Phrasebook.words()) {
            final String capital = word.substring(0, 1).toUpperCase(Locale.ROOT) + word.substring(1);
            for (final String form : List.of(word, " " + word, capital, " " + capital)) {
                forms.put(form, word);
            }
        }
        // A letter by itself is a byte, which is a token already.
        tokens = WordVocabulary.of(
                List.of("<s>", "</s>"), forms.keySet().stream().filter(form -> form.length() > 1).toList());
        forms.forEach((form, word) -> wordOf.put(tokens.id(form), word));
    }

    /** Number of tokens. */
    public int size() {
        return tokens.size();
    }

    /** The token that starts a prompt. */
    public int bos() {
        return tokens.bos();
    }

    /** The token that ends an answer. */
    public int eos() {
        return tokens.eos();
    }

    /** The tokens of a text that stands on its own; never a control token. */
    public int[] encode(final String text) {
        return tokens.encode(text);
    }

    /** The single token of an answer word. */
    public int answer(final String word) {
        return tokens.id(word);
    }

    /** The word, without space and in lower case, that a token spells; something of its own for other tokens. */
    public String wordOf(final int id) {
        return wordOf.getOrDefault(id, "#" + id);
    }

    /** Adds the tokenizer's keys to a file in the making. */
    public void addTo(final GgufWriter gguf) {
        tokens.addTo(gguf);
    }
}
