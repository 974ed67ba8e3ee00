// A batch: checked, divided where branches end in others, and run through llama.cpp.
#include "context.hpp"

#include "llama-context.h"

#include <algorithm>
#include <cstring>

namespace eq {

namespace {

bool is_shared(const eq_batch & batch, int32_t column, int32_t sequence) {
    return batch.sharers && (batch.sharers[column * EQ_SHARER_WORDS + sequence / 64] >> (sequence % 64) & 1);
}

} // namespace

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
    for (int32_t i = 0; batch.sharers && i < batch.n_tokens; i++) {
        for (int32_t s = 0; s < 64 * EQ_SHARER_WORDS; s++) {
            if (is_shared(batch, i, s)) {
                EQ_REQUIRE(s < context.n_seq_max && s != batch.sequences[i] && i < first_padding,
                           "column %d of sequence %d: sequence %d cannot share it", i, batch.sequences[i], s);
                EQ_REQUIRE(!context.plan->inside().is_merged(s) && !context.plan->inside().is_merged(batch.sequences[i]),
                           "column %d: sequences %d and %d share it, one of which is merged", i, batch.sequences[i], s);
            }
        }
    }
    const int32_t n_outputs = (int32_t) std::count_if(batch.outputs, batch.outputs + batch.n_tokens,
                                                      [](int8_t wanted) { return wanted != 0; });
    EQ_REQUIRE(n_outputs <= context.n_seq_max, "%d outputs, at most %d", n_outputs, context.n_seq_max);
}

namespace {

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
    context.owners.resize(n);
    context.sequences.clear();
    context.positions.resize(n * n_pos);
    context.outputs.resize(n);
    context.seq_ids.resize(n);
    context.tokens.resize(rows ? 0 : n);
    context.embeddings.resize(rows ? n * width : 0);
    for (size_t i = 0; i < n; i++) {
        const size_t from    = (size_t) columns[i];
        const size_t before  = context.sequences.size();
        context.sequences.push_back(batch.sequences[from]);
        for (int32_t s = 0; batch.sharers && s < context.n_seq_max; s++) {
            if (is_shared(batch, columns[i], s)) {
                context.sequences.push_back(s);
            }
        }
        context.owners[i]    = (int32_t) (context.sequences.size() - before);
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
    // They lie still now.
    for (size_t i = 0, at = 0; i < n; at += (size_t) context.owners[i++]) {
        context.seq_ids[i] = context.sequences.data() + at;
    }
    llama_batch to = {};
    to.n_tokens    = (int32_t) n;
    to.token       = rows ? nullptr : context.tokens.data();
    to.embd        = rows ? context.embeddings.data() : nullptr;
    to.pos      = context.positions.data();
    to.n_seq_id = context.owners.data();
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
    interventions & inside = context.plan->inside();
    inside.begin_graph(columns, ends_at);
    const int32_t code = llama_decode(context.context.get(), take(context, batch, columns));
    inside.begin_graph(columns, -1); // whatever is built next is whole
    if (code == 1) {
        fail(EQ_FULL, "no free KV cells for %zu more tokens among %d", columns.size(), context.n_ctx);
    }
    if (code != 0) {
        fail(code == -1 ? EQ_BAD_INPUT : EQ_INTERNAL, "llama_decode says %d to %zu tokens: %s", code, columns.size(),
                 error_log().c_str());
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

} // namespace

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

} // namespace eq
