// A context, and what its files share.
#pragma once

#include "host.hpp"
#include "plan.hpp"

#include <cstdint>
#include <memory>
#include <vector>

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
    std::vector<int32_t>          owners;   // n_seq_id: how many sequences a column belongs to
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

namespace eq {

// The batch at hand (batches.cpp): checked, and run through llama.cpp as one graph or two.
void check_batch(const eq_context & context, const eq_batch & batch);
void run(eq_context & context, const eq_batch & batch);

// What comes of its rows (picks.cpp). Numbers them, and tells the graph whose best tokens to find; then one pick after
// the other.
void check_picks(const eq_context & context, const eq_batch & batch, const eq_group * groups, int32_t n_groups,
                 const eq_pick * picks, int32_t n_picks, bool reports);
void number_rows(eq_context & context, const eq_batch & batch, const eq_group * groups, const eq_pick * picks,
                 int32_t n_picks);
void draw(eq_context & context, const eq_batch & batch, const eq_group * groups, eq_pick & pick, int32_t * top_tokens,
          float * top_log_probabilities);

// The row of a column of the last decode. It stays in the graph's memory until somebody asks for it here, and where the
// host can reach that memory it is not copied at all.
float * row_of(eq_context & context, int32_t column);

} // namespace eq
