package dev.equipoise.runtime.tiny;

import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufValue;
import dev.equipoise.runtime.gguf.GgufWriter;
import dev.equipoise.runtime.gguf.WordVocabulary;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Writes a small random model of every text architecture that {@code GgufModelCheck} accepts, so that its tables can be
 * held against llama.cpp's. Float32, 32 wide, 4 heads over 2.
 */
public final class TinyArchitectures {
    /** All of them. */
    public static final List<String> NAMES =
            List.of("llama", "qwen2", "qwen2vl", "qwen3", "gemma3", "phi3", "qwen2moe", "qwen3moe");

    private static final int WIDTH = 32;
    private static final int HEADS = 4;
    private static final int KV_HEADS = 2;
    private static final int INNER = 64;
    private static final int EXPERTS = 4;

    private final String name;
    private final GgufWriter writer = new GgufWriter();
    private final Random random;
    // Heads of qwen3 and gemma3 need not fill the width.
    private final int headSize;
    private final int layers;

    private TinyArchitectures(final String name, final long seed) {
        this.name = name;
        this.random = new Random(seed);
        this.headSize = name.startsWith("qwen3") || name.equals("gemma3") ? 16 : WIDTH / HEADS;
        this.layers = name.equals("gemma3") ? 6 : 2;
    }

    /** Writes a model with a byte-level BPE vocabulary of 280 words. */
    public static Path write(final Path path, final String architecture, final long seed) {
        return write(path, architecture, seed, false);
    }

    /** Writes a model, with a SentencePiece vocabulary if asked. */
    public static Path write(final Path path, final String architecture, final long seed, final boolean sentencePiece) {
        final TinyArchitectures model = new TinyArchitectures(architecture, seed);
        model.metadata();
        final int vocabulary = sentencePiece ? model.sentencePiece() : model.bytePairs();
        model.tensors(vocabulary);
        model.writer.write(path);
        return path;
    }

    private void metadata() {
        final String prefix = name + ".";
        writer.put("general.architecture", name)
                .put(prefix + "context_length", GgufValue.u32(256))
                .put(prefix + "embedding_length", GgufValue.u32(WIDTH))
                .put(prefix + "block_count", GgufValue.u32(layers))
                .put(prefix + "feed_forward_length", GgufValue.u32(INNER))
                .put(prefix + "attention.head_count", GgufValue.u32(HEADS))
                .put(prefix + "attention.head_count_kv", GgufValue.u32(KV_HEADS))
                .put(prefix + "attention.key_length", GgufValue.u32(headSize))
                .put(prefix + "attention.value_length", GgufValue.u32(headSize))
                .put(prefix + "attention.layer_norm_rms_epsilon", GgufValue.f32(1e-6f))
                .put(prefix + "rope.freq_base", GgufValue.f32(10000));
        switch (name) {
            case "qwen2vl" -> writer.put(prefix + "rope.dimension_sections", GgufValue.i32s(1, 2, 1, 0));
            case "gemma3" -> writer.put(prefix + "attention.sliding_window", GgufValue.u32(16))
                    .put(prefix + "rope.freq_base_swa", GgufValue.f32(1000));
            case "phi3" -> writer.put(prefix + "rope.dimension_count", GgufValue.u32(headSize - 2));
            case "qwen2moe", "qwen3moe" -> writer.put(prefix + "expert_count", GgufValue.u32(EXPERTS))
                    .put(prefix + "expert_used_count", GgufValue.u32(2))
                    .put(prefix + "expert_feed_forward_length", GgufValue.u32(INNER / 2))
                    .put(prefix + "expert_shared_feed_forward_length", GgufValue.u32(INNER / 4));
            default -> { }
        }
    }

    private int bytePairs() {
        final WordVocabulary vocabulary = WordVocabulary.ofSize(280);
        vocabulary.addTo(writer);
        return vocabulary.size();
    }

    private int sentencePiece() {
        final List<String> tokens = new ArrayList<>(List.of("<unk>", "<s>", "</s>"));
        for (int b = 0; b < 256; b++) {
            tokens.add("<0x%02X>".formatted(b));
        }
        tokens.addAll(List.of("▁", "a", "b", "▁a", "ab", "▁ab"));
        final int[] types = new int[tokens.size()];
        final float[] scores = new float[tokens.size()];
        for (int i = 0; i < types.length; i++) {
            types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
            scores[i] = -i;
        }
        writer.put("tokenizer.ggml.model", "llama")
                .put("tokenizer.ggml.tokens", GgufValue.texts(tokens))
                .put("tokenizer.ggml.scores", GgufValue.f32s(scores))
                .put("tokenizer.ggml.token_type", GgufValue.i32s(types))
                .put("tokenizer.ggml.add_space_prefix", GgufValue.bool(true));
        return tokens.size();
    }

    private void tensors(final int vocabulary) {
        add("token_embd.weight", 1, WIDTH, vocabulary);
        norm("output_norm.weight", WIDTH);
        add("output.weight", 0.2, WIDTH, vocabulary);
        for (int i = 0; i < layers; i++) {
            attention("blk." + i + ".");
            feedForward("blk." + i + ".");
        }
    }

    private void attention(final String block) {
        final int queries = HEADS * headSize;
        final int pairs = KV_HEADS * headSize;
        norm(block + "attn_norm.weight", WIDTH);
        if (name.equals("phi3")) {
            add(block + "attn_qkv.weight", 0.2, WIDTH, queries + 2 * pairs);
        } else {
            add(block + "attn_q.weight", 0.2, WIDTH, queries);
            add(block + "attn_k.weight", 0.2, WIDTH, pairs);
            add(block + "attn_v.weight", 0.2, WIDTH, pairs);
        }
        if (name.startsWith("qwen2")) {
            add(block + "attn_q.bias", 0.1, queries);
            add(block + "attn_k.bias", 0.1, pairs);
            add(block + "attn_v.bias", 0.1, pairs);
        }
        if (name.startsWith("qwen3") || name.equals("gemma3")) {
            norm(block + "attn_q_norm.weight", headSize);
            norm(block + "attn_k_norm.weight", headSize);
        }
        add(block + "attn_output.weight", 0.2, queries, WIDTH);
        if (name.equals("gemma3")) {
            norm(block + "post_attention_norm.weight", WIDTH);
            norm(block + "post_ffw_norm.weight", WIDTH);
        }
    }

    private void feedForward(final String block) {
        norm(block + "ffn_norm.weight", WIDTH);
        if (name.endsWith("moe")) {
            add(block + "ffn_gate_inp.weight", 0.2, WIDTH, EXPERTS);
            add(block + "ffn_gate_exps.weight", 0.2, WIDTH, INNER / 2, EXPERTS);
            add(block + "ffn_up_exps.weight", 0.2, WIDTH, INNER / 2, EXPERTS);
            add(block + "ffn_down_exps.weight", 0.2, INNER / 2, WIDTH, EXPERTS);
        } else if (name.equals("phi3")) {
            add(block + "ffn_up.weight", 0.2, WIDTH, 2 * INNER);
            add(block + "ffn_down.weight", 0.2, INNER, WIDTH);
        } else {
            add(block + "ffn_gate.weight", 0.2, WIDTH, INNER);
            add(block + "ffn_up.weight", 0.2, WIDTH, INNER);
            add(block + "ffn_down.weight", 0.2, INNER, WIDTH);
        }
        if (name.equals("qwen2moe")) {
            add(block + "ffn_gate_inp_shexp.weight", 0.2, WIDTH);
            add(block + "ffn_gate_shexp.weight", 0.2, WIDTH, INNER / 4);
            add(block + "ffn_up_shexp.weight", 0.2, WIDTH, INNER / 4);
            add(block + "ffn_down_shexp.weight", 0.2, INNER / 4, WIDTH);
        }
    }

    private void norm(final String tensor, final int width) {
        final float[] ones = new float[width];
        for (int i = 0; i < width; i++) {
            ones[i] = (float) (1 + 0.1 * random.nextGaussian());
        }
        writer.tensor(tensor, GgmlType.F32, new long[] {width}, ones);
    }

    private void add(final String tensor, final double deviation, final long... shape) {
        int elements = 1;
        for (final long extent : shape) {
            elements *= Math.toIntExact(extent);
        }
        final float[] values = new float[elements];
        for (int i = 0; i < elements; i++) {
            values[i] = (float) (deviation * random.nextGaussian());
        }
        writer.tensor(tensor, GgmlType.F32, shape, values);
    }
}
