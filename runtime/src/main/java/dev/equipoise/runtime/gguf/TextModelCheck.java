package dev.equipoise.runtime.gguf;

import static dev.equipoise.runtime.gguf.TensorTable.Use.MATRIX;
import static dev.equipoise.runtime.gguf.TensorTable.Use.VECTOR;

import dev.equipoise.runtime.gguf.Architecture.Trait;
import java.util.Set;

/** Checks hyper-parameters and tensors of one text model against its architecture. */
final class TextModelCheck {
    private static final int MAX_LAYERS = 512;
    private static final int MAX_EXPERTS = 1024;
    private static final int MAX_CONTEXT = 1 << 27;
    private static final Set<String> ROPE_SCALINGS = Set.of("none", "linear", "yarn", "longrope");

    private final GgufFile file;
    private final Architecture architecture;
    private final Hyperparameters keys;
    private final TensorTable tensors;

    TextModelCheck(final GgufFile file, final Architecture architecture) {
        this.file = file;
        this.architecture = architecture;
        this.keys = new Hyperparameters(file, architecture.label() + ".");
        this.tensors = new TensorTable(file);
    }

    TextModel check() {
        final int vocabulary = new VocabularyCheck(file).check();
        final TextModel model = hyperparameters(vocabulary);
        rotation(model);
        oddities(model);
        modelTensors(model);
        for (int i = 0; i < model.layers(); i++) {
            blockTensors("blk." + i + ".", model);
        }
        tensors.refuseOthers();
        return model;
    }

    private TextModel hyperparameters(final int vocabulary) {
        final int context = keys.number("context_length", 1, MAX_CONTEXT);
        final int layers = keys.number("block_count", 1, MAX_LAYERS);
        final int width = keys.number("embedding_length", 1, Integer.MAX_VALUE);
        final int heads = keys.numberPerLayer("attention.head_count", layers, 1, width);
        final int kvHeads = keys.has("attention.head_count_kv")
                ? keys.numberPerLayer("attention.head_count_kv", layers, 1, heads) : heads;
        if (heads % kvHeads != 0) {
            throw file.bad(heads + " heads cannot share " + kvHeads + " key and value heads evenly");
        }
        final int headSize = keys.number("attention.key_length", 1, 1 << 16, width / heads);
        if (keys.number("attention.value_length", 1, 1 << 16, width / heads) != headSize) {
            throw file.bad("keys and values differ in size");
        }
        if (headSize == 0 || !architecture.has(Trait.ANY_HEAD_SIZE) && (long) heads * headSize != width) {
            throw file.bad(heads + " heads of " + headSize + " elements do not make a width of " + width);
        }
        final int experts = experts(layers);
        final int used = experts == 0 ? 0 : keys.numberPerLayer("expert_used_count", layers, 1, experts);
        // Mixtures may give only the width of one expert.
        final int feedForward = experts == 0 || keys.has("feed_forward_length")
                ? keys.numberPerLayer("feed_forward_length", layers, 1, 1 << 24) : 0;
        final int ropeDimensions = keys.number("rope.dimension_count", 2, headSize, headSize);
        return new TextModel(architecture.label(), context, width, layers, heads, kvHeads, headSize, ropeDimensions,
                feedForward, vocabulary, slidingWindow(layers), experts, used);
    }

    private int experts(final int layers) {
        final boolean allowed = architecture.has(Trait.MAY_HAVE_EXPERTS) || architecture.has(Trait.ONLY_EXPERTS);
        final int experts = keys.number("expert_count", 0, allowed ? MAX_EXPERTS : 0, 0);
        if (experts == 0) {
            if (architecture.has(Trait.ONLY_EXPERTS)) {
                throw file.bad("no experts in a model of experts");
            }
            if (keys.has("expert_used_count")) {
                keys.numberPerLayer("expert_used_count", layers, 0, 0);
            }
        }
        keys.number("expert_group_count", 0, 0, 0);
        keys.number("expert_group_used_count", 0, 0, 0);
        return experts;
    }

    private void rotation(final TextModel model) {
        if (model.ropeDimensions() % 2 != 0) {
            throw file.bad("an odd number of rotated elements, " + model.ropeDimensions());
        }
        if (model.ropeDimensions() != model.headSize() && !architecture.has(Trait.PARTIAL_ROPE)) {
            throw file.bad(model.ropeDimensions() + " rotated elements in heads of " + model.headSize());
        }
        keys.real("rope.freq_base", 1, 1e15f);
        keys.real("rope.freq_base_swa", 1, 1e15f);
        keys.real("rope.scaling.factor", 0, 1e6f);
        keys.real("rope.scale_linear", 0, 1e6f);
        keys.real("rope.scaling.attn_factor", 0, 1e6f);
        keys.real("rope.scaling.alpha", 0, 1e9f);
        keys.number("rope.scaling.original_context_length", 1, MAX_CONTEXT, 1);
        keys.flag("rope.scaling.finetuned");
        final String scaling = keys.text("rope.scaling.type", "linear");
        if (!ROPE_SCALINGS.contains(scaling)) {
            throw file.bad("unknown rope scaling '" + scaling + "'");
        }
        if (architecture.has(Trait.ROPE_SECTIONS)) {
            ropeSections(model);
        }
    }

    private void ropeSections(final TextModel model) {
        final long[] sections = file.integers(keys.key("rope.dimension_sections"));
        long sum = 0;
        for (final long section : sections) {
            if (section < 0 || section > model.ropeDimensions() / 2) {
                throw file.bad("impossible rope section " + section);
            }
            sum += section;
        }
        if (sections.length != 4 || sections[0] == 0 || sections[1] == 0 || sum != model.ropeDimensions() / 2) {
            throw file.bad("rope sections do not divide " + model.ropeDimensions() / 2 + " frequencies into four");
        }
    }

    /** Keys that llama.cpp reads for every architecture and that would change graph, cache or batch rules. */
    private void oddities(final TextModel model) {
        keys.required("attention.layer_norm_rms_epsilon", 0, 1);
        if (!file.bool(keys.key("attention.causal"), true)) {
            throw file.bad("attention is not causal: the model does not generate");
        }
        keys.number("pooling_type", 0, 0, 0);
        keys.number("nextn_predict_layers", 0, 0, 0);
        keys.number("embedding_length_out", model.width(), model.width(), model.width());
        keys.number("attention.key_length_swa", model.headSize(), model.headSize(), model.headSize());
        keys.number("attention.value_length_swa", model.headSize(), model.headSize(), model.headSize());
        keys.number("rope.dimension_count_swa", model.ropeDimensions(), model.ropeDimensions(), 2);
        keys.number("vocab_size", 0, Integer.MAX_VALUE, 0);
        keys.real("final_logit_softcapping", 0, 1e6f);
        if (keys.has("classifier.output_labels")) {
            throw file.bad("a classifier: it does not generate");
        }
        new Hyperparameters(file, "general.").text("name", "");
        new Hyperparameters(file, "general.").number("file_type", 0, Integer.MAX_VALUE, 0);
        new Hyperparameters(file, "tokenizer.").text("chat_template", "");
    }

    private int slidingWindow(final int layers) {
        final int window = architecture.has(Trait.SLIDING_WINDOW)
                ? keys.number("attention.sliding_window", 0, MAX_CONTEXT, 0) : 0;
        if (window == 0) {
            return 0;
        }
        final String pattern = "attention.sliding_window_pattern";
        boolean both = false;
        if (file.metadata().get(keys.key(pattern)) instanceof final GgufValue.Wholes flags) {
            long windowed = 0;
            for (int i = 0; i < flags.size(); i++) {
                windowed += flags.get(i) != 0 ? 1 : 0;
            }
            both = flags.size() == layers && windowed > 0 && windowed < layers
                    && (flags.type() == GgufValue.Type.BOOL || flags.type() == GgufValue.Type.U32
                            || flags.type() == GgufValue.Type.I32);
        } else {
            final int every = keys.number(pattern, 0, Integer.MAX_VALUE, 6);
            both = every >= 2 && every <= layers;
        }
        // Its two caches each abort when they would hold no layer.
        if (!both) {
            throw file.bad("the sliding-window pattern does not give " + layers + " layers of both kinds");
        }
        return window;
    }

    private void modelTensors(final TextModel model) {
        final long width = model.width();
        final long vocabulary = model.vocabulary();
        tensors.required("token_embd.weight", MATRIX, width, vocabulary)
                .required("output_norm.weight", VECTOR, width);
        final boolean separateHead = tensors.optional("output.weight", MATRIX, width, vocabulary);
        if (architecture == Architecture.QWEN2MOE && !separateHead) {
            throw file.bad("tensor 'output.weight' is missing");
        }
        if (architecture.has(Trait.OUTPUT_BIAS)) {
            tensors.optional("output.bias", VECTOR, vocabulary);
        }
        final long frequencies = model.ropeDimensions() / 2;
        final boolean longFactors = keys.text("rope.scaling.type", "linear").equals("longrope");
        if (architecture == Architecture.PHI3 || architecture.has(Trait.ROPE_FACTORS) && longFactors) {
            tensors.optional("rope_factors_long.weight", VECTOR, frequencies);
            tensors.optional("rope_factors_short.weight", VECTOR, frequencies);
        } else if (architecture.has(Trait.ROPE_FACTORS)) {
            tensors.optional("rope_freqs.weight", VECTOR, frequencies);
        }
    }

    private void blockTensors(final String block, final TextModel model) {
        final long width = model.width();
        final long queries = (long) model.heads() * model.headSize();
        final long keysAndValues = (long) model.kvHeads() * model.headSize();
        tensors.required(block + "attn_norm.weight", VECTOR, width)
                .required(block + "ffn_norm.weight", VECTOR, width)
                .required(block + "attn_output.weight", MATRIX, queries, width);
        if (architecture.has(Trait.FUSED_PROJECTIONS) && tensors.has(block + "attn_qkv.weight")) {
            tensors.required(block + "attn_qkv.weight", MATRIX, width, queries + 2 * keysAndValues);
            tensors.optional(block + "attn_qkv.bias", VECTOR, queries + 2 * keysAndValues);
        } else {
            tensors.required(block + "attn_q.weight", MATRIX, width, queries)
                    .required(block + "attn_k.weight", MATRIX, width, keysAndValues)
                    .required(block + "attn_v.weight", MATRIX, width, keysAndValues);
            tensors.optional(block + "attn_q.bias", VECTOR, queries);
            tensors.optional(block + "attn_k.bias", VECTOR, keysAndValues);
            tensors.optional(block + "attn_v.bias", VECTOR, keysAndValues);
        }
        if (architecture.has(Trait.QUERY_KEY_NORMS)) {
            tensors.required(block + "attn_q_norm.weight", VECTOR, model.headSize())
                    .required(block + "attn_k_norm.weight", VECTOR, model.headSize());
        }
        if (architecture.has(Trait.POST_NORMS)) {
            tensors.required(block + "post_attention_norm.weight", VECTOR, width)
                    .required(block + "post_ffw_norm.weight", VECTOR, width);
        }
        if (architecture.has(Trait.PROJECTION_BIASES)) {
            tensors.optional(block + "attn_output.bias", VECTOR, width);
        }
        if (model.experts() > 0) {
            expertTensors(block, model);
        } else {
            denseTensors(block, width, model.feedForward());
        }
    }

    private void denseTensors(final String block, final long width, final long inner) {
        tensors.required(block + "ffn_down.weight", MATRIX, inner, width);
        if (architecture.has(Trait.FUSED_PROJECTIONS)) {
            tensors.required(block + "ffn_up.weight", MATRIX, width, 2 * inner);
            return;
        }
        tensors.required(block + "ffn_gate.weight", MATRIX, width, inner)
                .required(block + "ffn_up.weight", MATRIX, width, inner);
        if (architecture.has(Trait.PROJECTION_BIASES)) {
            tensors.optional(block + "ffn_gate.bias", VECTOR, inner);
            tensors.optional(block + "ffn_up.bias", VECTOR, inner);
            tensors.optional(block + "ffn_down.bias", VECTOR, width);
        }
    }

    private void expertTensors(final String block, final TextModel model) {
        final long width = model.width();
        final long experts = model.experts();
        final int share = model.feedForward() / model.expertsUsed();
        final long inner = architecture == Architecture.LLAMA ? model.feedForward()
                : keys.has("expert_feed_forward_length")
                        ? keys.numberPerLayer("expert_feed_forward_length", model.layers(), 1, 1 << 24) : share;
        tensors.required(block + "ffn_gate_inp.weight", MATRIX, width, experts)
                .required(block + "ffn_gate_exps.weight", MATRIX, width, inner, experts)
                .required(block + "ffn_up_exps.weight", MATRIX, width, inner, experts)
                .required(block + "ffn_down_exps.weight", MATRIX, inner, width, experts);
        if (architecture.has(Trait.SHARED_EXPERT)) {
            final long shared = keys.number("expert_shared_feed_forward_length", 1, 1 << 24, model.feedForward());
            tensors.required(block + "ffn_gate_inp_shexp.weight", MATRIX, width)
                    .required(block + "ffn_gate_shexp.weight", MATRIX, width, shared)
                    .required(block + "ffn_up_shexp.weight", MATRIX, width, shared)
                    .required(block + "ffn_down_shexp.weight", MATRIX, shared, width);
        }
    }
}
