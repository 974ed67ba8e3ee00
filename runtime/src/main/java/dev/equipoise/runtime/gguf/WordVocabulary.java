package dev.equipoise.runtime.gguf;

import dev.equipoise.kernels.error.BadInputException;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A vocabulary of whole words that llama.cpp loads as byte-level BPE without merges.
 *
 * <p>llama.cpp (pre-tokenizer {@code llama-bpe}) cuts text into pieces with the pattern below, spells each piece in the
 * byte alphabet of GPT-2 and, since that pre-tokenizer ignores merges, takes the piece as one token if the vocabulary
 * holds it. Any other piece falls apart into its bytes, for there are no merges to join them. So every text can be
 * written, a word of the vocabulary is always one token, and a word that follows a space is another one than the same
 * word without: a list for running text holds {@code " red"}, not {@code "red"}.
 *
 * <p>Ids: 0 to 255 are the bytes, then the control tokens in the order given (the first is BOS, the second EOS), then
 * the words. Control tokens are never found in text unless the caller of llama.cpp parses special tokens.
 * {@link #encode} agrees with llama.cpp for ASCII text. Immutable and safe for any thread.
 */
public final class WordVocabulary {
    private static final int BYTES = 256;
    private static final int NORMAL = 1;
    private static final int CONTROL = 3;
    private static final Pattern PIECE = Pattern.compile("'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
            + "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
            + "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+");
    private static final String[] SPELLING = spelling();

    private final List<String> texts;
    private final int controls;
    private final Map<String, Integer> ids = new HashMap<>();

    private WordVocabulary(final List<String> controls, final List<String> words) {
        final List<String> all = new ArrayList<>(BYTES + controls.size() + words.size());
        for (int b = 0; b < BYTES; b++) {
            add(all, SPELLING[b]);
        }
        controls.forEach(control -> add(all, control));
        for (final String word : words) {
            final Matcher piece = PIECE.matcher(word);
            if (!piece.lookingAt() || piece.end() != word.length()) {
                throw bad("'" + word + "' is not one piece of text for the pre-tokenizer");
            }
            add(all, spell(word));
        }
        this.texts = List.copyOf(all);
        this.controls = controls.size();
    }

    /**
     * A vocabulary of these tokens.
     *
     * @param controls at least BOS and EOS, for example {@code "<s>"} and {@code "</s>"}
     * @param words pieces of text longer than one byte, each cut out whole by the pre-tokenizer
     * @throws BadInputException if a control is missing, a word is not a single piece, or a token is there twice
     */
    public static WordVocabulary of(final List<String> controls, final List<String> words) {
        if (controls.size() < 2) {
            throw bad("BOS and EOS are needed");
        }
        return new WordVocabulary(controls, words);
    }

    /**
     * A vocabulary of exactly {@code size} tokens: bytes, {@code <s>}, {@code </s>} and words without meaning.
     *
     * @throws BadInputException if the size is below 258
     */
    public static WordVocabulary ofSize(final int size) {
        final List<String> words = new ArrayList<>();
        for (int i = 0; i < size - BYTES - 2; i++) {
            words.add(" " + letters(i));
        }
        if (size < BYTES + 2) {
            throw bad("no room for bytes, BOS and EOS among " + size);
        }
        return of(List.of("<s>", "</s>"), words);
    }

    /** Number of tokens. */
    public int size() {
        return texts.size();
    }

    /** The token that starts a text. */
    public int bos() {
        return BYTES;
    }

    /** The token that ends generation. */
    public int eos() {
        return BYTES + 1;
    }

    /**
     * The id of a word or control token.
     *
     * @throws BadInputException if there is none
     */
    public int id(final String token) {
        final Integer id = ids.getOrDefault(token, ids.get(spell(token)));
        if (id == null) {
            throw bad("no token '" + token + "'");
        }
        return id;
    }

    /** Whether the word or control token has an id of its own. */
    public boolean has(final String token) {
        return ids.containsKey(token) || ids.containsKey(spell(token));
    }

    /** The ids of a text, without BOS, control tokens not parsed. */
    public int[] encode(final String text) {
        final List<Integer> out = new ArrayList<>();
        final Matcher pieces = PIECE.matcher(text);
        while (pieces.find()) {
            final String spelled = spell(pieces.group());
            final Integer whole = ids.get(spelled);
            if (whole != null && whole >= BYTES + controls) {
                out.add(whole);
            } else {
                spelled.chars().forEach(c -> out.add(ids.get(String.valueOf((char) c))));
            }
        }
        return out.stream().mapToInt(Integer::intValue).toArray();
    }

    /** The text of ids; control tokens appear by name. */
    public String decode(final int... tokens) {
        final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (final int id : tokens) {
            final String text = texts.get(id);
            if (id >= BYTES && id < BYTES + controls) {
                bytes.writeBytes(text.getBytes(StandardCharsets.UTF_8));
            } else {
                text.chars().forEach(c -> bytes.write(ids.get(String.valueOf((char) c))));
            }
        }
        return bytes.toString(StandardCharsets.UTF_8);
    }

    /** Adds the {@code tokenizer.ggml.*} keys to a file in the making; BOS is added by default, EOS is not. */
    public void addTo(final GgufWriter writer) {
        final int[] types = new int[size()];
        for (int id = 0; id < types.length; id++) {
            types[id] = id >= BYTES && id < BYTES + controls ? CONTROL : NORMAL;
        }
        writer.put("tokenizer.ggml.model", "gpt2")
                .put("tokenizer.ggml.pre", "llama-bpe")
                .put("tokenizer.ggml.tokens", GgufValue.texts(texts))
                .put("tokenizer.ggml.token_type", GgufValue.i32s(types))
                .put("tokenizer.ggml.merges", GgufValue.texts(List.of()))
                .put("tokenizer.ggml.bos_token_id", GgufValue.u32(bos()))
                .put("tokenizer.ggml.eos_token_id", GgufValue.u32(eos()))
                .put("tokenizer.ggml.add_bos_token", GgufValue.bool(true));
    }

    private void add(final List<String> all, final String token) {
        if (token.isEmpty() || token.indexOf('\0') >= 0 || ids.putIfAbsent(token, all.size()) != null) {
            throw bad("token '" + token + "' is empty or there twice");
        }
        all.add(token);
    }

    private static String spell(final String text) {
        final StringBuilder spelled = new StringBuilder();
        for (final byte b : text.getBytes(StandardCharsets.UTF_8)) {
            spelled.append(SPELLING[b & 0xFF]);
        }
        return spelled.toString();
    }

    // GPT-2's alphabet: printable bytes stand for themselves, the others for characters from 256 upwards.
    private static String[] spelling() {
        final String[] spelling = new String[BYTES];
        char next = BYTES;
        for (int b = 0; b < BYTES; b++) {
            final boolean printable = b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE;
            spelling[b] = String.valueOf(printable ? (char) b : next++);
        }
        return spelling;
    }

    private static String letters(final int number) {
        final StringBuilder word = new StringBuilder();
        for (int rest = number; word.length() < 2 || rest > 0; rest /= 26) {
            word.insert(0, (char) ('a' + rest % 26));
        }
        return word.toString();
    }

    private static BadInputException bad(final String what) {
        return new BadInputException(what, "word vocabulary", "choose other words");
    }
}
