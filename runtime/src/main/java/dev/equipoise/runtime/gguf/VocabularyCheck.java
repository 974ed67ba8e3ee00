package dev.equipoise.runtime.gguf;

import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/**
 * Checks the tokenizer of a text model.
 *
 * <p>llama.cpp aborts on duplicate tokens and on a missing BOS or EOS that it was told to add, and throws from the
 * middle of tokenising when a byte has no token.
 */
final class VocabularyCheck {
    private static final String PREFIX = "tokenizer.ggml.";
    private static final int BYTE = 6;

    private static final Set<String> ADD_BOS = Set.of("llama3", "llama-v3", "llama-bpe", "falcon3", "pixtral",
            "midm-2.0", "tekken", "chameleon");
    /** Pre-tokenizers of byte-level BPE; names with rules of their own for special tokens or bytes are left out. */
    private static final Set<String> OTHERS = Set.of(
            "", "default", "gpt-2", "qwen2", "deepseek-r1-qwen", "megrez", "kormo", "deepseek-llm",
            "deepseek-coder", "deepseek-v3", "gpt-4o", "llama4", "smollm", "smaug-bpe", "stablelm2", "starcoder",
            "falcon", "mpt", "phi-2", "refact", "command-r", "olmo", "dbrx", "poro-chat", "viking", "exaone",
            "exaone4", "minerva-7b", "superbpe", "trillion", "seed-coder", "mellum", "gigachat", "a.x-4.0",
            "minicpm5");
    private static final List<String> SPECIAL_IDS = List.of("bos", "eos", "eot", "eom", "unknown", "seperator",
            "padding", "mask", "cls", "fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep", "prefix",
            "suffix", "middle");

    private static final List<String> PHI_3 = List.of("<s>", "</s>", "<unk>", "<|endoftext|>");

    private final GgufFile file;
    private final Hyperparameters keys;

    VocabularyCheck(final GgufFile file) {
        this.file = file;
        this.keys = new Hyperparameters(file, PREFIX);
    }

    /** The number of tokens. */
    int check() {
        final String model = file.string(PREFIX + "model");
        final boolean addsBos = switch (model) {
            case "gpt2" -> bytePairs();
            case "llama" -> true;
            default -> throw file.bad("unknown tokenizer '" + model + "', 'gpt2' and 'llama' are supported");
        };
        final List<String> tokens = file.strings(PREFIX + "tokens");
        if (tokens.isEmpty()) {
            throw file.bad("an empty vocabulary");
        }
        final Set<String> distinct = distinct(tokens);
        if (model.equals("llama")) {
            requireBytes(distinct);
        }
        requirePhi3(distinct);
        scores(tokens.size());
        types(tokens);
        specials(tokens.size(), model.equals("gpt2") ? 11 : 1, model.equals("gpt2") ? 11 : 2, addsBos);
        for (final String flag : List.of("add_sep_token", "add_space_prefix", "remove_extra_whitespaces",
                "normalizer.lowercase", "normalizer.strip_accents")) {
            keys.flag(flag);
        }
        keys.number("token_type_count", 0, Integer.MAX_VALUE, 0);
        if (keys.has("suppress_tokens") && !(file.metadata().get(keys.key("suppress_tokens"))
                instanceof GgufValue.Wholes ids && ids.type() == GgufValue.Type.I32)) {
            throw file.bad("key '" + keys.key("suppress_tokens") + "' is not an array of i32");
        }
        return tokens.size();
    }

    private boolean bytePairs() {
        file.strings(PREFIX + "merges");
        final String split = keys.text("pre", "default");
        if (!ADD_BOS.contains(split) && !OTHERS.contains(split)) {
            throw file.bad("unsupported pre-tokenizer '" + split + "'");
        }
        return ADD_BOS.contains(split);
    }

    private Set<String> distinct(final List<String> tokens) {
        final Set<String> distinct = new HashSet<>(2 * tokens.size());
        for (int i = 0; i < tokens.size(); i++) {
            // C strings end at a NUL, and llama.cpp renames what is then empty.
            final String token = tokens.get(i);
            final int end = token.indexOf('\0');
            final String seen = end < 0 ? token : token.substring(0, end);
            if (!distinct.add(seen.isEmpty() ? "[EMPTY_" + i + "]" : seen)) {
                throw file.bad("token " + i + " '" + seen + "' is there twice");
            }
        }
        return distinct;
    }

    private void requireBytes(final Set<String> tokens) {
        for (int b = 0; b < 256; b++) {
            final boolean plain = b > 0 && b < 128 && tokens.contains(String.valueOf((char) b));
            if (!plain && !tokens.contains("<0x%02X>".formatted(b))) {
                throw file.bad("no token for byte %d ('<0x%02X>')".formatted(b, b));
            }
        }
    }

    // llama.cpp knows these models by their name and looks the tokens up without asking whether they are there.
    private void requirePhi3(final Set<String> tokens) {
        final String name = file.string("general.name", "").toLowerCase(Locale.ROOT);
        if ((name.contains("phi-3") || name.contains("phi3")) && !tokens.containsAll(PHI_3)) {
            throw file.bad("a model named '" + name + "' needs the tokens " + PHI_3);
        }
    }

    private void scores(final int tokens) {
        final String key = PREFIX + "scores";
        if (!file.has(key)) {
            return;
        }
        final GgufValue value = file.metadata().get(key);
        final boolean sound = switch (value) {
            case final GgufValue.Reals reals -> reals.type() == GgufValue.Type.F32 && reals.size() >= tokens
                    && Arrays.stream(reals.toArray()).noneMatch(Double::isNaN);
            case final GgufValue.Wholes wholes -> wholes.type() == GgufValue.Type.I32 && wholes.size() >= tokens;
            default -> false;
        };
        if (!sound) {
            throw file.bad("key '" + key + "' is not an array of " + tokens + " f32 or i32 numbers");
        }
    }

    private void types(final List<String> tokens) {
        final String key = PREFIX + "token_type";
        if (!file.has(key)) {
            return;
        }
        if (!(file.metadata().get(key) instanceof final GgufValue.Wholes types) || types.type() != GgufValue.Type.I32
                || types.size() < tokens.size()) {
            throw file.bad("key '" + key + "' is not an array of " + tokens.size() + " i32 numbers");
        }
        for (int i = 0; i < tokens.size(); i++) {
            if (types.get(i) == BYTE && !tokens.get(i).matches("<0x[0-9A-F]{2}>")) {
                throw file.bad("token " + i + " '" + tokens.get(i) + "' is marked as a byte but not named like one");
            }
        }
    }

    private void specials(final int tokens, final int bos, final int eos, final boolean addsBos) {
        for (final String special : SPECIAL_IDS) {
            keys.number(special + "_token_id", 0, Integer.MAX_VALUE, 0);
        }
        if (file.bool(PREFIX + "add_bos_token", addsBos) && missing("bos_token_id", bos, tokens)) {
            throw file.bad("the tokenizer adds a BOS token that the vocabulary does not have");
        }
        if (file.bool(PREFIX + "add_eos_token", false) && missing("eos_token_id", eos, tokens)) {
            throw file.bad("the tokenizer adds an EOS token that the vocabulary does not have");
        }
    }

    // An id beyond the vocabulary makes llama.cpp fall back to its default, which may be beyond it too.
    private boolean missing(final String key, final int otherwise, final int tokens) {
        return keys.number(key, 0, Integer.MAX_VALUE, otherwise) >= tokens && otherwise >= tokens;
    }
}
