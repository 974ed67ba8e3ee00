// Models, their vocabulary, and samplers over it.
#include "host.hpp"
#include "products.hpp"

#include "gguf.h"
#include "llama-model.h"

#include <cstdio>
#include <cstring>
#include <set>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

/*
 * Decoding reads all weights once per token, and with 4 KiB pages how fast depends on where they happen to lie: two
 * copies of one model in one process differ by 3 %. Huge pages end that. Weights that ggml has repacked lie in memory of
 * its own and can be moved; those that are mapped from the file cannot, nor where the kernel is older than 6.1.
 */
void use_huge_pages(const llama_model & weights) {
#if defined(__linux__)
    constexpr int collapse = 25; // MADV_COLLAPSE, which the kernel knows long before glibc's headers do
    constexpr uintptr_t              huge = uintptr_t{1} << 21;
    std::set<ggml_backend_buffer_t> buffers;
    for (const auto & [name, tensor] : weights.tensors_by_name) {
        ggml_backend_dev_t const device =
            tensor->buffer ? ggml_backend_buft_get_device(ggml_backend_buffer_get_type(tensor->buffer)) : nullptr;
        // Not "is host": a buffer of repacked weights says no to that.
        if (device && ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU) {
            buffers.insert(tensor->buffer);
        }
    }
    for (ggml_backend_buffer_t buffer : buffers) {
        const auto      begin = reinterpret_cast<uintptr_t>(ggml_backend_buffer_get_base(buffer));
        const uintptr_t first = (begin + huge - 1) & ~(huge - 1);
        const uintptr_t last  = (begin + ggml_backend_buffer_get_size(buffer)) & ~(huge - 1);
        if (first < last) {
            // Best effort: a refusal leaves the pages as they were.
            madvise(reinterpret_cast<void *>(first), last - first, collapse);
        }
    }
#else
    (void) weights;
#endif
}

// Whether what a graph does to a token's embedding it does to a row that stands in for one, by inspection of the model
// files: others scale the one and not the other, or add to it what they look up by the token itself.
bool takes_embeddings_as_tokens(const llama_model & model) {
    switch (model.arch) {
        case LLM_ARCH_LLAMA:
        case LLM_ARCH_QWEN2:
        case LLM_ARCH_QWEN2MOE:
        case LLM_ARCH_QWEN2VL:
        case LLM_ARCH_QWEN3:
        case LLM_ARCH_QWEN3MOE:
        case LLM_ARCH_PHI3: return true;
        default:            return false;
    }
}

struct gguf_deleter {
    void operator()(gguf_context * file) const { gguf_free(file); }
};

// This llama.cpp forgets to read qwen2vl's epsilon and norms with 0: embeddings of zeros, as silence leaves them, would
// become NaN. The file is asked again, since llama.cpp's copy of its metadata has six decimals.
void read_forgotten_epsilon(const char * path, llama_model & weights) {
    if (weights.arch != LLM_ARCH_QWEN2VL || weights.hparams.f_norm_rms_eps > 0) {
        return;
    }
    const std::unique_ptr<gguf_context, gguf_deleter> file(gguf_init_from_file(path, {true, nullptr}));
    const int64_t key = file ? gguf_find_key(file.get(), "qwen2vl.attention.layer_norm_rms_epsilon") : -1;
    if (key < 0 || gguf_get_kv_type(file.get(), key) != GGUF_TYPE_FLOAT32) {
        eq::fail(EQ_BAD_INPUT, "%s: no qwen2vl.attention.layer_norm_rms_epsilon", path);
    }
    weights.hparams.f_norm_rms_eps = gguf_get_val_f32(file.get(), key);
}

} // namespace

int32_t eq::positions_per_embedding(const llama_model * weights) {
    const llama_rope_type rope = llama_model_rope_type(weights);
    return rope == LLAMA_ROPE_TYPE_MROPE || rope == LLAMA_ROPE_TYPE_IMROPE ? 4 : 1;
}

int32_t eq_model_open(const char * path, int32_t n_gpu_layers, eq_model ** model) {
    return eq::guard([&] {
        EQ_REQUIRE(path && model, "eq_model_open: path or result is null");
        llama_model_params params = llama_model_default_params();
        params.n_gpu_layers       = n_gpu_layers;
        // No block there means nothing there: with a device at hand llama.cpp would send it large products all the same,
        // and nodes of ours that write in place would write into what it calls its own.
        ggml_backend_dev_t none[] = {nullptr};
        params.devices            = n_gpu_layers > 0 ? nullptr : none;
        // Tensor data are checked, so that a broken block cannot bring NaN into a batch shared with others.
        params.check_tensors = true;

        auto handle     = std::make_unique<eq_model>();
        handle->weights = std::shared_ptr<llama_model>(llama_model_load_from_file(path, params), eq::model_deleter());
        if (!handle->weights) {
            eq::fail(EQ_BAD_INPUT, "%s: llama.cpp refuses the model: %s", path, eq::error_log().c_str());
        }
        read_forgotten_epsilon(path, *handle->weights);
        use_huge_pages(*handle->weights);
        handle->vocab  = llama_model_get_vocab(handle->weights.get());
        handle->on_gpu = n_gpu_layers > 0 && eq_gpu_name(0);
        if (const char * text = llama_model_chat_template(handle->weights.get(), nullptr)) {
            handle->chat_template     = text;
            handle->has_chat_template = true;
        }
        *model = handle.release();
    });
}

void eq_model_close(eq_model * model) { delete model; }

int32_t eq_model_describe(const eq_model * model, eq_model_info * info) {
    return eq::guard([&] {
        EQ_REQUIRE(model && info, "eq_model_describe: model or info is null");
        const llama_model * weights = model->weights.get();
        *info                       = {};
        llama_model_desc(weights, info->description, sizeof(info->description));
        llama_model_meta_val_str(weights, "general.architecture", info->architecture, sizeof(info->architecture));
        info->n_params             = (int64_t) llama_model_n_params(weights);
        info->n_layer              = llama_model_n_layer(weights);
        info->n_embd               = llama_model_n_embd(weights);
        info->n_embd_inp           = llama_model_n_embd_inp(weights);
        info->n_vocab              = llama_vocab_n_tokens(model->vocab);
        info->n_ctx_train          = llama_model_n_ctx_train(weights);
        info->n_pos_per_embd       = eq::positions_per_embedding(weights);
        info->bos                  = llama_vocab_bos(model->vocab);
        info->eos                  = llama_vocab_eos(model->vocab);
        info->add_bos              = llama_vocab_get_add_bos(model->vocab) && info->bos >= 0;
        info->n_head               = (int32_t) weights->hparams.n_head(0);
        info->n_swa                = llama_model_n_swa(weights);
        info->has_memory           = !llama_model_is_recurrent(weights) && !llama_model_is_hybrid(weights);
    });
}

double eq_model_products(const eq_model * model) {
    double own = 0, all = 0;
    if (model) {
        const auto add = [&](const ggml_tensor * w) {
            const auto bytes = static_cast<double>(ggml_nbytes(w));
            all += bytes;
            own += eq::multiplies(w) ? bytes : 0;
        };
        const llama_model & weights = *model->weights;
        for (const auto & [name, tensor] : weights.tensors_by_name) {
            if (name.rfind("blk.", 0) == 0 && tensor->ne[1] > 1) {
                add(tensor);
            }
        }
        if (weights.output) {
            add(weights.output);
        }
    }
    return all > 0 ? own / all : 0;
}

const char * eq_model_chat_template(const eq_model * model) {
    return model && model->has_chat_template ? model->chat_template.c_str() : nullptr;
}

int32_t eq_tokenize(const eq_model * model, const char * text, int32_t length, int32_t parse_special, int32_t * tokens,
                    int32_t capacity, int32_t * n_tokens) {
    return eq::guard([&] {
        EQ_REQUIRE(model && text && tokens && n_tokens && length >= 0 && capacity >= 0,
                   "eq_tokenize: a null pointer, or length %d or capacity %d below 0", length, capacity);
        const int32_t n = llama_tokenize(model->vocab, text, length, tokens, capacity, false, parse_special != 0);
        EQ_REQUIRE(n != INT32_MIN, "eq_tokenize: text of %d bytes is too long", length);
        *n_tokens = n < 0 ? -n : n;
        EQ_REQUIRE(n >= 0, "eq_tokenize: %d tokens do not fit into %d", -n, capacity);
    });
}

int32_t eq_token_bytes(const eq_model * model, int32_t token, int32_t special, char * bytes, int32_t capacity,
                       int32_t * n_bytes) {
    return eq::guard([&] {
        EQ_REQUIRE(model && bytes && n_bytes && capacity >= 0, "eq_token_bytes: a null pointer or capacity below 0");
        EQ_REQUIRE(token >= 0 && token < llama_vocab_n_tokens(model->vocab), "eq_token_bytes: no token %d", token);
        const int32_t n = llama_token_to_piece(model->vocab, token, bytes, capacity, 0, special != 0);
        *n_bytes        = n < 0 ? -n : n;
        EQ_REQUIRE(n >= 0, "eq_token_bytes: token %d needs %d bytes, there are %d", token, -n, capacity);
    });
}

int32_t eq_token_ends(const eq_model * model, int32_t token) {
    return model && token >= 0 && token < llama_vocab_n_tokens(model->vocab) &&
           llama_vocab_is_eog(model->vocab, token);
}

int32_t eq_token_embeddings(const eq_model * model, const int32_t * tokens, int32_t n, float * rows) {
    return eq::guard([&] {
        EQ_REQUIRE(model && tokens && rows && n >= 0, "eq_token_embeddings: a null pointer or a count below 0");
        const llama_model & weights = *model->weights;
        const ggml_tensor * from    = weights.tok_embd;
        if (!takes_embeddings_as_tokens(weights) || !from || llama_model_n_embd_inp(&weights) != from->ne[0]) {
            eq::fail(EQ_UNAVAILABLE, "whether the architecture %s reads rows as it does tokens is not known",
                     llm_arch_name(weights.arch));
        }
        const ggml_to_float_t widen = ggml_get_type_traits(from->type)->to_float;
        std::vector<char>     packed(ggml_row_size(from->type, from->ne[0]));
        for (int32_t i = 0; i < n; i++) {
            EQ_REQUIRE(tokens[i] >= 0 && tokens[i] < from->ne[1], "eq_token_embeddings: no token %d", tokens[i]);
            float * const to = rows + (size_t) i * (size_t) from->ne[0];
            ggml_backend_tensor_get(from, widen ? packed.data() : static_cast<void *>(to),
                                    (size_t) tokens[i] * from->nb[1], packed.size());
            if (widen) {
                widen(packed.data(), to, from->ne[0]);
            }
        }
    });
}

int32_t eq_sampler_open(const eq_model * model, const eq_sampler_params * params, eq_sampler ** sampler) {
    return eq::guard([&] {
        EQ_REQUIRE(model && params && sampler, "eq_sampler_open: a null pointer");
        EQ_REQUIRE(params->temperature >= 0 && params->top_k >= 0 && params->top_p > 0 && params->top_p <= 1 &&
                       params->min_p >= 0 && params->min_p < 1 && params->repeat_penalty > 0 && params->repeat_window >= 0 &&
                       std::isfinite(params->frequency_penalty) && std::isfinite(params->presence_penalty),
                   "eq_sampler_open: a value out of range");
        EQ_REQUIRE(params->n_bias >= 0 && (params->n_bias == 0 || (params->bias_tokens && params->bias)),
                   "eq_sampler_open: %d biases, or a null pointer", params->n_bias);
        std::vector<llama_logit_bias> biases;
        for (int32_t k = 0; k < params->n_bias; k++) {
            EQ_REQUIRE(params->bias_tokens[k] >= 0 && params->bias_tokens[k] < llama_vocab_n_tokens(model->vocab) &&
                           std::isfinite(params->bias[k]),
                       "eq_sampler_open: no token %d, or a bias that is not finite", params->bias_tokens[k]);
            biases.push_back({params->bias_tokens[k], params->bias[k]});
        }
        auto handle     = std::make_unique<eq_sampler>();
        handle->weights = model->weights;
        handle->chain.reset(llama_sampler_chain_init(llama_sampler_chain_default_params()));
        const auto add = [&](llama_sampler * link) { llama_sampler_chain_add(handle->chain.get(), link); };

        if (params->grammar) {
            handle->grammar.reset(llama_sampler_init_grammar(model->vocab, params->grammar, "root"));
            EQ_REQUIRE(handle->grammar, "grammar that llama.cpp cannot read: %s", eq::error_log().c_str());
        }
        if (!biases.empty()) {
            add(llama_sampler_init_logit_bias(llama_vocab_n_tokens(model->vocab), (int32_t) biases.size(),
                                              biases.data()));
        }
        if (params->repeat_penalty != 1 || params->frequency_penalty != 0 || params->presence_penalty != 0) {
            add(llama_sampler_init_penalties(llama_vocab_n_tokens(model->vocab), params->repeat_window,
                                             (float) params->repeat_penalty, (float) params->frequency_penalty,
                                             (float) params->presence_penalty));
        }
        if (params->temperature == 0) {
            add(llama_sampler_init_greedy());
        } else {
            if (params->top_k > 0) {
                add(llama_sampler_init_top_k(params->top_k));
            }
            if (params->top_p < 1) {
                add(llama_sampler_init_top_p((float) params->top_p, 1));
            }
            if (params->min_p > 0) {
                add(llama_sampler_init_min_p((float) params->min_p, 1));
            }
            add(llama_sampler_init_temp((float) params->temperature));
            add(llama_sampler_init_dist(params->seed));
        }
        *sampler = handle.release();
    });
}

void eq_sampler_close(eq_sampler * sampler) { delete sampler; }
