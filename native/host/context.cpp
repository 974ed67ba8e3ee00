// The C ABI of contexts: one KV cache, many sequences, one decode per step for all of them.
#include "context.hpp"

#include "cuda_nodes.hpp"

#include "llama-context.h"
#include "llama-model.h"

#include <algorithm>
#include <cstring>

namespace {

ggml_type kv_type(int32_t type) {
    switch (type) {
        case 0:  return GGML_TYPE_F16;
        case 1:  return GGML_TYPE_F32;
        case 2:  return GGML_TYPE_Q8_0;
        default: eq::fail(EQ_BAD_INPUT, "no KV type %d", type);
    }
}

// Whether what attention and feed-forward give is what is added to the residual, by inspection of the model files: the
// others normalise or scale it first, or add two parts. The graph's seams are counted besides.
bool has_plain_blocks(const llama_model & model) {
    switch (model.arch) {
        case LLM_ARCH_LLAMA:
        case LLM_ARCH_QWEN2:
        case LLM_ARCH_QWEN2VL:
        case LLM_ARCH_QWEN3:
        case LLM_ARCH_QWEN3MOE:
        case LLM_ARCH_PHI3: return true;
        default:            return false;
    }
}

// Whether RMS norm and output matrix, and nothing else, make logits of the last block's output.
bool has_plain_head(const llama_model & model) {
    // Gemma caps its logits, and a default of that cap stands in every model's parameters.
    return model.arch != LLM_ARCH_GEMMA3 && model.output && model.output_norm && !model.output_norm_b &&
           !model.output_b && model.hparams.f_logit_scale == 0 && model.hparams.f_norm_rms_eps > 0;
}

} // namespace

int32_t eq_context_open(eq_model * model, const eq_context_params * params, eq_context ** context) {
    return eq::guard([&] {
        EQ_REQUIRE(model && params && context, "eq_context_open: a null pointer");
        EQ_REQUIRE(params->n_ctx >= 1 && params->n_ubatch >= 1 && params->n_threads >= 1 && params->n_seq_max >= 1 &&
                       params->n_seq_max < LLAMA_MAX_SEQ,
                   "eq_context_open: n_ctx %d, n_ubatch %d, n_threads %d, n_seq_max %d: a value out of range",
                   params->n_ctx, params->n_ubatch, params->n_threads, params->n_seq_max);
        const llama_model * weights = model->weights.get();
        if (llama_model_is_recurrent(weights) || llama_model_is_hybrid(weights)) {
            eq::fail(EQ_UNAVAILABLE, "recurrent and hybrid models have state that branches cannot share");
        }
        llama_context_params to = llama_context_default_params();
        to.n_ctx                = (uint32_t) params->n_ctx;
        to.n_batch              = (uint32_t) params->n_ubatch;
        to.n_ubatch             = (uint32_t) params->n_ubatch;
        to.n_seq_max            = (uint32_t) params->n_seq_max + 1; // the last is padding's
        to.n_outputs_max        = to.n_seq_max; // else n_batch rows of logits are reserved
        // Steps of several columns run with the batch threads, which default to 4 whatever the machine has.
        to.n_threads       = params->n_threads;
        to.n_threads_batch = params->n_threads;
        to.type_k          = kv_type(params->kv_type);
        to.type_v          = kv_type(params->kv_type);
        to.flash_attn_type = params->flash_attn < 0   ? LLAMA_FLASH_ATTN_TYPE_AUTO
                             : params->flash_attn > 0 ? LLAMA_FLASH_ATTN_TYPE_ENABLED
                                                      : LLAMA_FLASH_ATTN_TYPE_DISABLED;
        to.kv_unified = true; // sequences share cells, and micro-batches keep the order of the batch
        to.swa_full   = true; // a shared cell must not be recycled under a branch that still needs it

        auto handle        = std::make_unique<eq_context>();
        handle->weights    = model->weights;
        handle->vocab      = model->vocab;
        handle->n_vocab    = llama_vocab_n_tokens(model->vocab);
        handle->n_embd_inp = llama_model_n_embd_inp(weights);
        handle->n_pos_per_embd = eq::positions_per_embedding(weights);
        handle->n_ubatch   = params->n_ubatch;
        handle->n_seq_max  = params->n_seq_max;
        handle->kept.resize((size_t) params->n_seq_max);
        const eq::interventions::limits limits = {params->n_seq_max, llama_model_n_layer(weights),
                                                  llama_model_n_embd(weights), weights->hparams.f_max_alibi_bias > 0,
                                                  has_plain_blocks(*weights), has_plain_head(*weights),
                                                  !model->on_gpu && !eq::device_is_emulated,
                                                  eq::launch_places(*weights)};
        handle->draws = params->draw < 0 ? model->on_gpu : params->draw > 0;
        handle->plan  = std::make_unique<eq::plan>(limits, params->capture != 0, handle->draws);
        handle->context.reset(llama_init_from_model(model->weights.get(), to));
        if (!handle->context) {
            eq::fail(EQ_UNAVAILABLE, "llama.cpp cannot make the context: %s", eq::error_log().c_str());
        }
        handle->n_ctx = (int32_t) llama_n_ctx(handle->context.get());
        handle->plan->inside().set_cells(handle->n_ctx);
        llama_set_seams(handle->context.get(), handle->plan->seams());
        // Builds the graphs now: what the model's graph offers must be known before it is asked for.
        handle->context->sched_reserve();
        *context = handle.release();
    });
}

void eq_context_close(eq_context * context) { delete context; }

int32_t eq_context_flash_attn(const eq_context * context) {
    return context && context->context->get_cparams().flash_attn;
}

int32_t eq_context_draws_in_graph(const eq_context * context) { return context && context->draws; }

int64_t eq_context_rows_read(const eq_context * context) { return context ? context->rows_read : 0; }

int64_t eq_context_graphs_reused(const eq_context * context) {
    return context ? llama_perf_context(context->context.get()).n_reused : 0;
}

int32_t eq_sequence_copy(eq_context * context, int32_t from, int32_t to, int32_t n_positions) {
    return eq::guard([&] {
        EQ_REQUIRE(context && from >= 0 && to >= 0 && from < context->n_seq_max && to < context->n_seq_max && from != to,
                   "eq_sequence_copy: from %d to %d", from, to);
        llama_memory_seq_cp(llama_get_memory(context->context.get()), from, to, 0, n_positions);
    });
}

int32_t eq_sequence_remove(eq_context * context, int32_t sequence, int32_t first_position) {
    return eq::guard([&] {
        EQ_REQUIRE(context && sequence >= 0 && sequence < context->n_seq_max, "eq_sequence_remove: no sequence %d",
                   sequence);
        llama_memory_seq_rm(llama_get_memory(context->context.get()), sequence, first_position, -1);
        context->plan->inside().read_anew(sequence);
        std::vector<float>().swap(context->kept[(size_t) sequence]);
    });
}

int32_t eq_interventions_set(eq_context * context, int32_t sequence, const eq_intervention * list, int32_t n) {
    return eq::guard([&] {
        EQ_REQUIRE(context, "eq_interventions_set: a null pointer");
        context->plan->inside().set(sequence, list, n);
    });
}

int32_t eq_interventions_report(eq_context * context, int32_t sequence, eq_intervention_report * reports, int32_t n) {
    return eq::guard([&] {
        EQ_REQUIRE(context, "eq_interventions_report: a null pointer");
        context->plan->inside().report(sequence, reports, n);
    });
}

int32_t eq_attention_read(eq_context * context, int32_t sequence, int32_t index, int32_t layer, double * mass,
                          int32_t n_heads, float * rows, int32_t n_columns, int64_t * n_queries) {
    return eq::guard([&] {
        EQ_REQUIRE(context, "eq_attention_read: a null pointer");
        context->plan->inside().attention_read(sequence, index, layer, mass, n_heads, rows, n_columns, n_queries);
    });
}

int32_t eq_states_read(eq_context * context, int32_t sequence, int32_t index, int32_t layer, double * sum,
                       int64_t * n_states) {
    return eq::guard([&] {
        EQ_REQUIRE(context, "eq_states_read: a null pointer");
        context->plan->inside().states_read(sequence, index, layer, sum, n_states);
    });
}

int32_t eq_context_heads(const eq_context * context, int32_t layer) {
    return context ? context->plan->inside().heads_of(layer) : 0;
}

int32_t eq_merge_report(eq_context * context, int32_t first, eq_intervention_report * report) {
    return eq::guard([&] {
        EQ_REQUIRE(context, "eq_merge_report: a null pointer");
        context->plan->inside().merge_report(first, report);
    });
}

int32_t eq_merge_set(eq_context * context, int32_t first, int32_t second, int32_t layer) {
    return eq::guard([&] {
        EQ_REQUIRE(context, "eq_merge_set: a null pointer");
        context->plan->inside().set_merge(first, second, layer);
    });
}

int32_t eq_context_placements(eq_context * context, const eq_intervention * list, int32_t n, int32_t merge_layer,
                              eq_placement * placements, int32_t capacity, int32_t * n_placements, int32_t * n_splits) {
    return eq::guard([&] {
        EQ_REQUIRE(context && (list || n == 0) && n >= 0 && placements && capacity >= 0 && n_placements && n_splits,
                   "eq_context_placements: a null pointer or a count below 0");
        *n_placements = 0;
        if (context->plan->is_on_cpu()) {
            std::fill_n(n_splits, 2, 1);
            return;
        }
        llama_context &      of        = *context->context;
        ggml_backend_sched_t scheduler = of.get_sched();
        // A step of one token, divided and not allocated.
        const auto build = [&] {
            const llama_memory_context_ptr memory = llama_get_memory(&of)->init_full();
            return of.graph_reserve(1, 1, 1, memory.get(), true);
        };
        llama_synchronize(&of);
        context->output_rows.clear();
        build();
        n_splits[0]      = ggml_backend_sched_get_n_splits(scheduler);
        const auto found = context->plan->placements(list, n, merge_layer, scheduler, build);
        n_splits[1]      = ggml_backend_sched_get_n_splits(scheduler);
        *n_placements    = (int32_t) found.size();
        EQ_REQUIRE(*n_placements <= capacity, "%d nodes, room for %d", *n_placements, capacity);
        std::copy(found.begin(), found.end(), placements);
    });
}

int32_t eq_decode(eq_context * context, const eq_batch * batch, const eq_group * groups, int32_t n_groups,
                  eq_pick * picks, int32_t n_picks, int32_t * top_tokens, float * top_log_probabilities) {
    return eq::guard([&] {
        EQ_REQUIRE(context && batch && n_groups >= 0 && n_picks >= 0, "eq_decode: a null pointer or a count below 0");
        EQ_REQUIRE((groups || n_groups == 0) && (picks || n_picks == 0), "eq_decode: groups or picks are null");
        eq::check_batch(*context, *batch);
        eq::check_picks(*context, *batch, groups, n_groups, picks, n_picks, top_tokens && top_log_probabilities);
        context->output_rows.clear(); // should anything fail, there is no row
        context->plan->begin_decode(*batch);
        context->plan->set_groups(groups, n_groups);
        eq::number_rows(*context, *batch, groups, picks, n_picks);
        eq::run(*context, *batch);
        context->plan->end_decode();
        context->output_rows.swap(context->next_rows);
        for (int32_t p = 0; p < n_picks; p++) {
            eq::draw(*context, *batch, groups, picks[p], top_tokens ? top_tokens + (size_t) p * EQ_TOP_MAX : nullptr,
                     top_log_probabilities ? top_log_probabilities + (size_t) p * EQ_TOP_MAX : nullptr);
        }
    });
}

int32_t eq_logits(eq_context * context, int32_t column, float * logits) {
    return eq::guard([&] {
        EQ_REQUIRE(context && logits, "eq_logits: a null pointer");
        memcpy(logits, eq::row_of(*context, column), (size_t) context->n_vocab * sizeof(float));
    });
}

int32_t eq_capture_read(eq_context * context, int32_t il, float * values, int64_t capacity, int32_t * n_rows) {
    return eq::guard([&] {
        EQ_REQUIRE(context && n_rows, "eq_capture_read: a null pointer");
        const eq::plan::captured * seen = context->plan->capture_of(il);
        if (!seen) {
            eq::fail(EQ_UNAVAILABLE, "layer %d: its seam did not fire, or the context was opened without capture", il);
        }
        *n_rows = seen->width == 0 ? 0 : (int32_t) (seen->rows.size() / (size_t) seen->width);
        if (values) {
            EQ_REQUIRE((int64_t) seen->rows.size() <= capacity, "layer %d: %zu values do not fit into %lld", il,
                       seen->rows.size(), (long long) capacity);
            memcpy(values, seen->rows.data(), seen->rows.size() * sizeof(float));
        }
    });
}
