// Contexts: one KV cache, many sequences, one decode per step for all of them.
#include "cuda_nodes.hpp"
#include "host.hpp"
#include "plan.hpp"

#include "equipoise_kernels.h"

#include "llama-context.h"
#include "llama-model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

struct eq_context {
    eq::counted                  count;
    std::shared_ptr<llama_model> weights;
    const llama_vocab *          vocab          = nullptr;
    int32_t                      n_vocab        = 0;
    int32_t                      n_embd_inp     = 0;
    int32_t                      n_pos_per_embd = 1;
    int32_t                      n_ctx          = 0;
    int32_t                      n_ubatch       = 0;
    int32_t                      n_seq_max      = 0; // of the caller; sequence n_seq_max is padding's
    bool                         draws          = false; // whether the graph finds best tokens
    int64_t                      rows_read      = 0;
    // The plan is declared before the context, whose graphs point at it: it is destroyed after them.
    std::unique_ptr<eq::plan>                              plan;
    std::unique_ptr<llama_context, eq::context_deleter> context;

    // Columns of the batch at hand by the graph that runs them: those of branches that end in others at some block, and
    // all others; and the place of each column among the latter, or -1.
    std::vector<int32_t> ending;
    std::vector<int32_t> going_on;
    std::vector<int32_t> place;

    // Reused from step to step, so that a step allocates nothing.
    std::vector<int32_t>          one;      // n_seq_id: each column belongs to one sequence
    std::vector<llama_seq_id *>   seq_ids;
    std::vector<llama_seq_id>     sequences;
    std::vector<llama_token>      tokens;
    std::vector<float>            embeddings;
    std::vector<llama_pos>        positions;
    std::vector<int8_t>           outputs;
    std::vector<llama_token_data> candidates;
    std::vector<int32_t>          order;
    std::vector<int32_t>          output_rows; // of the last decode: by column the number of its row, or -1
    std::vector<int32_t>          next_rows;   // the same of the decode that is under way
    std::vector<int8_t>           rows_seen;   // by that number: whether the host has read it
    std::vector<int32_t>          drawn;
    std::vector<float>            rows; // of a group that is combined after the graph
    std::vector<float>            row_max;
    std::vector<float>            row_lse;
    std::vector<float>            entropies;
    std::vector<int32_t>          row_index;

    // The row that an open gate kept, by sequence; empty when there is none.
    std::vector<std::vector<float>> kept;
};

namespace {

ggml_type kv_type(int32_t type) {
    switch (type) {
        case 0:  return GGML_TYPE_F16;
        case 1:  return GGML_TYPE_F32;
        case 2:  return GGML_TYPE_Q8_0;
        default: eq::fail(EQ_BAD_INPUT, "no KV type %d", type);
    }
}

void check_batch(const eq_context & context, const eq_batch & batch) {
    EQ_REQUIRE(batch.n_tokens >= 1 && batch.n_tokens <= context.n_ubatch, "batch of %d tokens, 1..%d fit",
               batch.n_tokens, context.n_ubatch);
    EQ_REQUIRE((batch.tokens == nullptr) != (batch.embeddings == nullptr),
               "a batch is either tokens or embeddings, all of it");
    EQ_REQUIRE(batch.positions && batch.sequences && batch.outputs, "batch without positions, sequences or outputs");
    EQ_REQUIRE(batch.n_padding >= 0 && batch.n_padding < batch.n_tokens, "%d of %d columns are padding",
               batch.n_padding, batch.n_tokens);
    const int32_t first_padding = batch.n_tokens - batch.n_padding;
    for (int32_t i = 0; i < batch.n_tokens; i++) {
        EQ_REQUIRE(i >= first_padding || (batch.sequences[i] >= 0 && batch.sequences[i] < context.n_seq_max),
                   "column %d: no sequence %d", i, batch.sequences[i]);
        EQ_REQUIRE(i < first_padding || (batch.tokens && batch.sequences[i] == context.n_seq_max && !batch.outputs[i] &&
                                         (!batch.active || batch.active[i] == 0)),
                   "column %d: padding is tokens of sequence %d, not outputs, and nothing acts on them", i,
                   context.n_seq_max);
        EQ_REQUIRE(batch.positions[i] >= 0, "column %d: position %d", i, batch.positions[i]);
        EQ_REQUIRE(!batch.tokens || (batch.tokens[i] >= 0 && batch.tokens[i] < context.n_vocab),
                   "column %d: no token %d", i, batch.tokens[i]);
    }
    const int32_t n_outputs = (int32_t) std::count_if(batch.outputs, batch.outputs + batch.n_tokens,
                                                      [](int8_t wanted) { return wanted != 0; });
    EQ_REQUIRE(n_outputs <= context.n_seq_max, "%d outputs, at most %d", n_outputs, context.n_seq_max);
}

// What a merge ends runs by itself up to there, and then the rest, which goes on with it.
void split(eq_context & context, const eq_batch & batch) {
    context.ending.clear();
    context.going_on.clear();
    context.place.assign((size_t) batch.n_tokens, -1);
    for (int32_t i = 0; i < batch.n_tokens; i++) {
        if (context.plan->inside().ends_at(batch.sequences[i]) >= 0) {
            context.ending.push_back(i);
        } else {
            context.place[(size_t) i] = (int32_t) context.going_on.size();
            context.going_on.push_back(i);
        }
    }
}

// Some columns of a batch. llama.cpp's takes pointers to mutable arrays: ours are copied, so that the caller's stay what
// they were.
llama_batch take(eq_context & context, const eq_batch & batch, const std::vector<int32_t> & columns) {
    const size_t n     = columns.size();
    const bool   rows  = batch.embeddings != nullptr;
    const size_t width = (size_t) context.n_embd_inp;
    const size_t n_pos = rows ? (size_t) context.n_pos_per_embd : 1;
    context.one.assign(n, 1);
    context.sequences.resize(n);
    context.positions.resize(n * n_pos);
    context.outputs.resize(n);
    context.seq_ids.resize(n);
    context.tokens.resize(rows ? 0 : n);
    context.embeddings.resize(rows ? n * width : 0);
    for (size_t i = 0; i < n; i++) {
        const size_t from    = (size_t) columns[i];
        context.sequences[i] = batch.sequences[from];
        context.seq_ids[i]   = &context.sequences[i];
        context.outputs[i]   = batch.outputs[from];
        for (size_t p = 0; p < n_pos; p++) {
            context.positions[p * n + i] = batch.positions[p * (size_t) batch.n_tokens + from];
        }
        if (rows) {
            memcpy(context.embeddings.data() + i * width, batch.embeddings + from * width, width * sizeof(float));
        } else {
            context.tokens[i] = batch.tokens[from];
        }
    }
    llama_batch to = {};
    to.n_tokens    = (int32_t) n;
    to.token       = rows ? nullptr : context.tokens.data();
    to.embd        = rows ? context.embeddings.data() : nullptr;
    to.pos      = context.positions.data();
    to.n_seq_id = context.one.data();
    to.seq_id   = context.seq_ids.data();
    to.logits   = context.outputs.data();
    return to;
}

// Bidirectional attention for as long as it lives.
class both_directions {
public:
    both_directions(llama_context * context, bool on) : to(on ? context : nullptr) {
        if (to) {
            llama_set_causal_attn(to, false);
        }
    }
    ~both_directions() {
        if (to) {
            llama_set_causal_attn(to, true);
        }
    }
    both_directions(const both_directions &)             = delete;
    both_directions & operator=(const both_directions &) = delete;

private:
    llama_context * to;
};

// Another scheduler with graphs of its own for as long as it lives: of two kinds of graph that take turns each is kept.
class apart {
public:
    explicit apart(llama_context & context) : of(context) { of.swap_graphs(); }
    ~apart() { of.swap_graphs(); }
    apart(const apart &)             = delete;
    apart & operator=(const apart &) = delete;

private:
    llama_context & of;
};

// Runs some columns of a batch, up to the output of a block or, -1, all the way.
void run(eq_context & context, const eq_batch & batch, const std::vector<int32_t> & columns, int32_t ends_at) {
    eq::interventions & inside = context.plan->inside();
    inside.begin_graph(columns, ends_at);
    const int32_t code = llama_decode(context.context.get(), take(context, batch, columns));
    inside.begin_graph(columns, -1); // whatever is built next is whole
    if (code == 1) {
        eq::fail(EQ_FULL, "no free KV cells for %zu more tokens among %d", columns.size(), context.n_ctx);
    }
    if (code != 0) {
        eq::fail(code == -1 ? EQ_BAD_INPUT : EQ_INTERNAL, "llama_decode says %d to %zu tokens: %s", code, columns.size(),
                 eq::error_log().c_str());
    }
    llama_synchronize(context.context.get());
    context.plan->collect();
}

// Runs the branches that a merge ends, as far as the last of them goes.
void run_ending(eq_context & context, const eq_batch & batch) {
    int32_t last = -1;
    for (const int32_t column : context.ending) {
        last = std::max(last, context.plan->inside().ends_at(batch.sequences[column]));
    }
    const apart scope(*context.context);
    run(context, batch, context.ending, last);
}

void run(eq_context & context, const eq_batch & batch) {
    const both_directions scope(context.context.get(), batch.non_causal != 0);
    llama_memory_t        memory       = llama_get_memory(context.context.get());
    const auto            drop_padding = [&] {
        if (batch.n_padding > 0) {
            llama_memory_seq_rm(memory, context.n_seq_max, -1, -1);
        }
    };
    split(context, batch);
    try {
        if (!context.ending.empty()) {
            context.context->sched_reserve(); // for whole graphs, when the mask's kind has changed
            run_ending(context, batch);
        }
        run(context, batch, context.going_on, -1);
    } catch (...) {
        for (const int32_t column : context.ending) {
            llama_memory_seq_rm(memory, batch.sequences[column], batch.positions[column], -1);
        }
        drop_padding();
        throw;
    }
    drop_padding();
}

// The row of a column of the last decode. It stays in the graph's memory until somebody asks for it here, and where the
// host can reach that memory it is not copied at all.
float * row_of(eq_context & context, int32_t column) {
    const int32_t number =
        column >= 0 && (size_t) column < context.output_rows.size() ? context.output_rows[(size_t) column] : -1;
    EQ_REQUIRE(number >= 0, "column %d is not an output of the last batch", column);
    float * row   = context.plan->row_of(number);
    // Pinned memory, where that makes sense.
    float * there = row ? row : llama_get_logits_ith(context.context.get(), context.place[(size_t) column]);
    if (!context.rows_seen[(size_t) number]) {
        if (!row) {
            context.plan->read_row(number, there);
        }
        context.rows_seen[(size_t) number] = 1;
        context.rows_read++;
    }
    return there;
}

// Whether a pick needs no more of its row than the best token.
bool needs_id_alone(const eq_group * groups, const eq_pick & pick) {
    return !pick.sampler && pick.gate == EQ_GATE_NONE && pick.n_top == 0 &&
           (pick.group < 0 || (!groups[pick.group].after && groups[pick.group].cut_value == 0));
}

// Numbers the rows of a batch, and tells the graph whose best tokens to find.
void number_rows(eq_context & context, const eq_batch & batch, const eq_group * groups, const eq_pick * picks,
                 int32_t n_picks) {
    context.next_rows.clear();
    int32_t rows = 0;
    for (int32_t i = 0; i < batch.n_tokens; i++) {
        context.next_rows.push_back(batch.outputs[i] ? rows++ : -1);
    }
    context.rows_seen.assign((size_t) rows, 0);
    context.drawn.clear();
    for (int32_t p = 0; context.draws && p < n_picks; p++) {
        if (needs_id_alone(groups, picks[p])) {
            context.drawn.push_back(context.next_rows[(size_t) picks[p].column]);
        }
    }
    std::sort(context.drawn.begin(), context.drawn.end());
    context.drawn.erase(std::unique(context.drawn.begin(), context.drawn.end()), context.drawn.end());
    context.plan->set_drawn(context.drawn);
}

float log_sum_exp(const float * row, int64_t n) {
    eqk_partial partials[EQK_SLICES];
    float       max = 0;
    float       lse = 0;
    eqk_row_partials(row, n, 0, EQK_SLICES, partials);
    eqk_row_reduce(partials, &max, &lse);
    return lse;
}

void report_top(eq_context & context, const float * row, eq_pick & pick, int32_t * tokens, float * log_probabilities) {
    const float lse = log_sum_exp(row, context.n_vocab);
    context.order.resize((size_t) context.n_vocab);
    std::iota(context.order.begin(), context.order.end(), 0);
    const auto end = context.order.begin() + std::min(pick.n_top, context.n_vocab);
    std::partial_sort(context.order.begin(), end, context.order.end(),
                      [row](int32_t a, int32_t b) { return row[a] > row[b] || (row[a] == row[b] && a < b); });
    for (int32_t k = 0; k < pick.n_top; k++) {
        const bool there     = k < context.n_vocab;
        tokens[k]            = there ? context.order[(size_t) k] : -1;
        log_probabilities[k] = there ? row[tokens[k]] - lse : -std::numeric_limits<float>::infinity();
    }
    pick.log_probability = row[pick.token] - lse;
}

// Grammar first and by itself: a draw from a row on which everything is masked has no defined result.
int32_t sample(eq_context & context, eq_sampler & sampler, const float * row) {
    auto & candidates = context.candidates;
    candidates.resize((size_t) context.n_vocab);
    for (int32_t id = 0; id < context.n_vocab; id++) {
        candidates[(size_t) id] = {id, row[id], 0};
    }
    llama_token_data_array array = {candidates.data(), candidates.size(), -1, false};
    if (sampler.grammar) {
        llama_sampler_apply(sampler.grammar.get(), &array);
        if (std::none_of(candidates.begin(), candidates.end(),
                         [](const llama_token_data & one) { return std::isfinite(one.logit); })) {
            return -1;
        }
    }
    llama_sampler_apply(sampler.chain.get(), &array);
    if (array.selected < 0 || (size_t) array.selected >= array.size) {
        return -1;
    }
    const int32_t token = array.data[array.selected].id;
    if (sampler.grammar) {
        llama_sampler_accept(sampler.grammar.get(), token);
    }
    llama_sampler_accept(sampler.chain.get(), token);
    return token;
}

// The column of a batch that is a sequence's output, or -1.
int32_t output_of(const eq_batch & batch, int32_t sequence) {
    for (int32_t i = 0; i < batch.n_tokens; i++) {
        if (batch.sequences[i] == sequence && batch.outputs[i]) {
            return i;
        }
    }
    return -1;
}

// A group that is combined after the graph, and its pick: what the graph checks of its own groups, and the base row.
void check_after(const eq_context & context, const eq_batch & batch, const eq_group & group, int32_t g) {
    EQ_REQUIRE(group.sequences && group.coefficients && group.n_branches >= 1, "group %d has no branch", g);
    EQ_REQUIRE(group.plausibility >= 0 && group.plausibility <= 1, "group %d: plausibility %g is not in 0..1", g,
               (double) group.plausibility);
    for (int32_t b = 0; b < group.n_branches; b++) {
        const int32_t sequence = group.sequences[b];
        EQ_REQUIRE(sequence >= 0 && sequence < context.n_seq_max, "group %d: no sequence %d", g, sequence);
        EQ_REQUIRE(std::isfinite(group.coefficients[b]), "group %d: coefficient %d is not finite", g, b);
        EQ_REQUIRE(output_of(batch, sequence) >= 0 || (b == 0 && !context.kept[(size_t) sequence].empty()),
                   "group %d: sequence %d has no row", g, sequence);
    }
}

// Entropy of a row's softmax in nats; not a number where it has none.
float entropy_of(const float * row, int64_t n_vocab) {
    eqk_partial partials[EQK_SLICES];
    float       max    = 0;
    float       lse    = 0;
    float       result = NAN;
    eqk_row_partials(row, n_vocab, 0, EQK_SLICES, partials);
    eqk_row_reduce(partials, &max, &lse);
    eqk_entropy(row, n_vocab, max, &result);
    return result;
}

// The graph's arithmetic by the graph's own functions, slice by slice: the same numbers for the same rows. It runs here
// and not in the graph because the base row is one of an earlier decode: as a graph input it would be a tensor of the
// vocabulary's width for each open gate, and their number would change the graph's shape from step to step.
eq::plan::outcome combine(eq_context & context, const eq_batch & batch, const eq_group & group, eq_pick & pick) {
    const size_t  width = (size_t) context.n_vocab;
    const int32_t n     = group.n_branches;
    context.rows.resize(width * (size_t) n);
    context.row_max.resize((size_t) n);
    context.row_lse.resize((size_t) n);
    context.row_index.resize((size_t) n);
    std::iota(context.row_index.begin(), context.row_index.end(), 0);
    for (int32_t b = 0; b < n; b++) {
        const int32_t column = output_of(batch, group.sequences[b]);
        const float * from   = column >= 0 ? row_of(context, column) : context.kept[(size_t) group.sequences[b]].data();
        memcpy(context.rows.data() + width * (size_t) b, from, width * sizeof(float));
    }
    if (group.weigh) {
        context.entropies.resize((size_t) n);
        for (int32_t b = 0; b < n; b++) {
            context.entropies[(size_t) b] = entropy_of(context.rows.data() + width * (size_t) b, context.n_vocab);
        }
        group.weigh(pick.group, context.entropies.data());
        if (!std::all_of(group.coefficients, group.coefficients + n, [](float c) { return std::isfinite(c); })) {
            return {EQ_INTERNAL, 0, 0};
        }
    }
    int64_t plain_best = -1;
    int64_t best       = -1;
    float * to         = row_of(context, pick.column);
    eqk_argmax(context.rows.data(), context.n_vocab, &plain_best);

    eq::plan::outcome result;
    double            squared = 0;
    result.status     = eqk_contrast_rows(context.rows.data(), context.n_vocab, context.n_vocab,
                                          context.row_index.data(), group.coefficients, n, group.log_probabilities,
                                          group.plausibility, context.row_max.data(), context.row_lse.data(),
                                          to, &squared, &result.kept);
    eqk_argmax(to, context.n_vocab, &best);
    pick.changed = best != plain_best;
    result.delta_norm = std::sqrt(squared);
    return result;
}

// Whether the row is not enough; then it is kept.
bool opens(eq_context & context, const float * row, int32_t sequence, eq_pick & pick) {
    if (pick.gate == EQ_GATE_ENTROPY_ABOVE) {
        pick.gate_value = entropy_of(row, context.n_vocab);
        pick.gate_open  = pick.gate_value > pick.gate_threshold;
    } else {
        eqk_partial partials[EQK_SLICES];
        float       max = 0;
        float       lse = 0;
        eqk_row_partials(row, context.n_vocab, 0, EQK_SLICES, partials);
        eqk_row_reduce(partials, &max, &lse);
        pick.gate_value = std::exp(max - lse);
        pick.gate_open  = pick.gate_value < pick.gate_threshold;
    }
    if (pick.gate_open) {
        context.kept[(size_t) sequence].assign(row, row + context.n_vocab);
    }
    return pick.gate_open != 0;
}

// The token of a pick, or -1: then its status says why, if no gate is open.
void choose(eq_context & context, const eq_batch & batch, const eq_group * groups, eq_pick & pick,
            int32_t * top_tokens, float * top_log_probabilities) {
    if (context.draws && needs_id_alone(groups, pick)) {
        pick.token  = context.plan->token_of(context.output_rows[(size_t) pick.column]);
        pick.status = pick.token >= 0 ? EQ_OK : EQ_INTERNAL;
        return;
    }
    const float * row  = row_of(context, pick.column);
    int64_t       best = -1;
    // Also the check that the row is finite and has a token at all.
    if (eqk_argmax(row, context.n_vocab, &best) != EQK_OK) {
        pick.status = EQ_INTERNAL;
        return;
    }
    if (pick.gate != EQ_GATE_NONE && opens(context, row, batch.sequences[pick.column], pick)) {
        return;
    }
    pick.token = pick.sampler ? sample(context, *pick.sampler, row) : (int32_t) best;
    if (pick.token < 0) {
        pick.status = EQ_BAD_INPUT;
    } else if (pick.n_top > 0) {
        report_top(context, row, pick, top_tokens, top_log_probabilities);
    }
}

void draw(eq_context & context, const eq_batch & batch, const eq_group * groups, eq_pick & pick, int32_t * top_tokens,
          float * top_log_probabilities) {
    pick.status       = EQ_OK;
    pick.token        = -1;
    pick.n_bytes      = 0;
    pick.ends         = 0;
    pick.gate_open    = 0;
    pick.gate_value   = 0;
    pick.changed      = 0;
    pick.delta_norm   = 0;
    pick.kept         = context.n_vocab;
    if (pick.group >= 0 && groups[pick.group].after) {
        const eq::plan::outcome outcome = combine(context, batch, groups[pick.group], pick);
        pick.delta_norm                 = outcome.delta_norm;
        pick.kept                       = outcome.kept;
        if (outcome.status != EQK_OK) {
            pick.status = EQ_INTERNAL;
            return;
        }
    } else if (pick.group >= 0) {
        const eq::plan::outcome outcome = context.plan->outcome_of(pick.group);
        pick.delta_norm                 = outcome.delta_norm;
        pick.kept                       = outcome.kept;
    }
    if (pick.group >= 0 && groups[pick.group].cut_value != 0) {
        float * own = row_of(context, pick.column);
        std::replace(own, own + context.n_vocab, -INFINITY, groups[pick.group].cut_value);
    }
    choose(context, batch, groups, pick, top_tokens, top_log_probabilities);
    if (pick.token < 0) {
        return;
    }
    pick.ends = llama_vocab_is_eog(context.vocab, pick.token);
    pick.n_bytes =
        std::max(0, llama_token_to_piece(context.vocab, pick.token, pick.bytes, (int32_t) sizeof(pick.bytes), 0, false));
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
        if (first_position <= 0) {
            std::vector<float>().swap(context->kept[(size_t) sequence]);
        }
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
                          int32_t n_heads, float * row, int32_t n_columns, int64_t * n_queries) {
    return eq::guard([&] {
        EQ_REQUIRE(context, "eq_attention_read: a null pointer");
        context->plan->inside().attention_read(sequence, index, layer, mass, n_heads, row, n_columns, n_queries);
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
        check_batch(*context, *batch);
        for (int32_t p = 0; p < n_picks; p++) {
            EQ_REQUIRE(picks[p].column >= 0 && picks[p].column < batch->n_tokens && batch->outputs[picks[p].column],
                       "pick %d: column %d is not an output", p, picks[p].column);
            EQ_REQUIRE(picks[p].group >= -1 && picks[p].group < n_groups, "pick %d: no group %d", p, picks[p].group);
            EQ_REQUIRE(picks[p].n_top >= 0 && picks[p].n_top <= EQ_TOP_MAX, "pick %d: %d best tokens", p,
                       picks[p].n_top);
            EQ_REQUIRE(picks[p].gate >= EQ_GATE_NONE && picks[p].gate <= EQ_GATE_CONFIDENCE_BELOW &&
                           !std::isnan(picks[p].gate_threshold),
                       "pick %d: no gate %d at %g", p, picks[p].gate, (double) picks[p].gate_threshold);
            EQ_REQUIRE(picks[p].gate == EQ_GATE_NONE || picks[p].group < 0, "pick %d: a gate on a group", p);
            EQ_REQUIRE(picks[p].n_top == 0 || (top_tokens && top_log_probabilities), "pick %d: nowhere to report", p);
        }
        for (int32_t g = 0; g < n_groups; g++) {
            EQ_REQUIRE(std::isfinite(groups[g].cut_value), "group %d: cut value %g", g, (double) groups[g].cut_value);
            EQ_REQUIRE(!groups[g].weigh || groups[g].after, "group %d: weighed in the graph", g);
            if (groups[g].after) {
                check_after(*context, *batch, groups[g], g);
            }
        }
        context->output_rows.clear(); // should anything fail, there is no row
        context->plan->begin_decode(*batch);
        context->plan->set_groups(groups, n_groups);
        number_rows(*context, *batch, groups, picks, n_picks);
        run(*context, *batch);
        context->plan->end_decode();
        context->output_rows.swap(context->next_rows);
        for (int32_t p = 0; p < n_picks; p++) {
            draw(*context, *batch, groups, picks[p], top_tokens ? top_tokens + (size_t) p * EQ_TOP_MAX : nullptr,
                 top_log_probabilities ? top_log_probabilities + (size_t) p * EQ_TOP_MAX : nullptr);
        }
    });
}

int32_t eq_logits(eq_context * context, int32_t column, float * logits) {
    return eq::guard([&] {
        EQ_REQUIRE(context && logits, "eq_logits: a null pointer");
        memcpy(logits, row_of(*context, column), (size_t) context->n_vocab * sizeof(float));
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
