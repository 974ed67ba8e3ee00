package dev.equipoise.bench.testbed;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The tokens of the testbed model: three special ones, the 256 bytes, then every word of the {@link Phrasebook} as it is,
 * after a space, capitalised, and capitalised after a space. Text is cut as the {@code llama-bpe} pre-tokeniser does; a
 * piece that is a token is that token, any other falls apart into bytes.
 */
public final class Vocabulary {
    /** Begin of sequence. */
    public static final int BOS = 0;
    /** End of the answer. */
    public static final int EOS = 1;
    /** Padding, never seen by the model. */
    public static final int PAD = 2;

    private static final int FIRST_BYTE = 3;
    private static final Pattern PIECE = Pattern.compile(
            "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
                    + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+");

    private final List<String> tokens = new ArrayList<>();
    private final Map<String, Integer> ids = new HashMap<>();
    private final Map<Integer, String> wordOf = new HashMap<>();

    /** The vocabulary of the phrasebook as it stands. */
    public Vocabulary() {
        tokens.addAll(List.of("<s>", "</s>", "<pad>"));
        for (int b = 0; b < 256; b++) {
            tokens.add(String.valueOf(byteLetter(b)));
        }
        for (final String word : Phrasebook.words()) {
            final String capital = word.substring(0, 1).toUpperCase(Locale.ROOT) + word.substring(1);
            for (final String form : List.of(word, " " + word, capital, " " + capital)) {
                final String letters = letters(form);
                if (!tokens.contains(letters)) {
                    tokens.add(letters);
                }
                wordOf.put(tokens.indexOf(letters), word);
            }
        }
        for (int id = 0; id < tokens.size(); id++) {
            ids.put(tokens.get(id), id);
        }
    }

    /** The tokens in the byte-to-letter spelling that GGUF files use, special ones first. */
    public List<String> tokens() {
        return List.copyOf(tokens);
    }

    /** Number of tokens. */
    public int size() {
        return tokens.size();
    }

    /** Whether the token is one of the special ones. */
    public boolean special(final int id) {
        return id < FIRST_BYTE;
    }

    /** The word, without space and in lower case, that a token spells; the token itself where it spells none. */
    public String wordOf(final int id) {
        return wordOf.getOrDefault(id, tokens.get(id));
    }

    /** The tokens of a text that stands on its own; never a special one. */
    public int[] encode(final String text) {
        final List<Integer> out = new ArrayList<>();
        final Matcher piece = PIECE.matcher(text);
        while (piece.find()) {
            final String letters = letters(piece.group());
            final Integer id = ids.get(letters);
            if (id != null && !special(id)) {
                out.add(id);
            } else {
                letters.chars().forEach(letter -> out.add(ids.get(String.valueOf((char) letter))));
            }
        }
        return out.stream().mapToInt(Integer::intValue).toArray();
    }

    /** The single token of an answer word. */
    public int answer(final String word) {
        return ids.get(word);
    }

    private static String letters(final String text) {
        final StringBuilder letters = new StringBuilder();
        for (final byte b : text.getBytes(StandardCharsets.UTF_8)) {
            letters.append(byteLetter(b & 255));
        }
        return letters.toString();
    }

    /** The printable letter that stands for a byte in GPT-2 vocabularies: itself, or one from U+0100 on. */
    private static char byteLetter(final int b) {
        if (b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE) {
            return (char) b;
        }
        if (b <= ' ') {
            return (char) (0x100 + b);
        }
        return b == 0xAD ? (char) 0x143 : (char) (0x100 + 33 + b - 0x7F);
    }
}
