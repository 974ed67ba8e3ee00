// What acts inside the network: steering, attention edits, silenced embeddings and early exits, per sequence; merges of
// two; and what only looks.
#pragma once

#include "device_books.hpp"
#include "equipoise.h"

#include "llama-seams.h"

#include "ggml-backend.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace eq {

// The interventions of one context. Which nodes its graphs have depends on the layers that were ever asked for, never
// on the numbers: a graph is rebuilt when a layer is new, not when a vector, a scale or a span changes.
class interventions {
public:
    struct limits {
        int32_t sequences;
        int32_t layers;
        int32_t width; // n_embd
        bool    alibi; // masks are scaled per head there, so a bias on them would not be what was asked for
        bool    plain; // blocks add attention and feed-forward to the residual as they are
        bool    exits; // the final norm and head make logits of any block's output
        bool    in_place;
        std::vector<ggml_backend_buffer_type_t> places; // see launch_places
    };

    explicit interventions(const limits & of);
    ~interventions();
    interventions(const interventions &)             = delete;
    interventions & operator=(const interventions &) = delete;

    // KV cells of the context, once it exists.
    void set_cells(int32_t n_cells);

    // Replaces what acts on a sequence. Checked first: nothing changes when this throws.
    void set(int32_t sequence, const eq_intervention * list, int32_t n);

    // The next query that is read of a sequence is its latest: cells of it are gone.
    void read_anew(int32_t sequence);

    // What a sequence's interventions did since they were set: reports[n].
    void report(int32_t sequence, eq_intervention_report * reports, int32_t n) const;

    // See eq_attention_read and eq_states_read.
    void attention_read(int32_t sequence, int32_t index, int32_t il, double * mass, int32_t n_heads, float * rows,
                        int32_t n_columns, int64_t * n_queries) const;
    void states_read(int32_t sequence, int32_t index, int32_t il, double * sum, int64_t * n_states) const;

    // Heads of a layer's queries, 0 where no seam showed them.
    int32_t heads_of(int32_t il) const;

    // What a merge did to its first sequence since it was set.
    void merge_report(int32_t first, eq_intervention_report * report) const;

    // Joins two sequences at the output of a block, or no longer when second is negative.
    void set_merge(int32_t first, int32_t second, int32_t layer);

    // The block at whose output a sequence ends in another, as the second of a merge; -1 if it goes all the way.
    int32_t ends_at(int32_t sequence) const { return ends[(size_t) sequence]; }

    // Whether a sequence is the first or the second of a merge.
    bool is_merged(int32_t sequence) const {
        return merges[(size_t) sequence].second >= 0 || ends_at(sequence) >= 0;
    }

    // Changes whenever a graph built now would have other nodes.
    uint64_t shape() const { return version << 16 | (uint64_t) (last_block + 1); }

    // The batch about to be decoded, which must live until the decode has ended; checked.
    void begin(const eq_batch & batch);

    // The graph about to be run: the batch's columns that it has, and the block at whose output it ends, -1 for a whole
    // one. Ends of merges come first: a whole graph merges what they left.
    void begin_graph(const std::vector<int32_t> & columns, int32_t ends_at);

    // The last block of the graph that is built or run; -1: it is a whole one.
    int32_t ends_at() const { return last_block; }

    // Adds up what the ops of the graph that has run counted, and takes the rows that ended in it.
    void collect();

    // Lets go of the batch.
    void end() { batch = nullptr; }

    // A graph that was built and split: its nodes, and what is known of ours among them.
    struct graph;
    struct split_graph {
        ggml_cgraph *        nodes;
        const graph *        ours;
        ggml_backend_sched_t scheduler;
    };

    // See eq_context_placements: of the nodes for list[n] and the merge, in the graph that `build` builds meanwhile.
    std::vector<eq_placement> placements(const eq_intervention * list, int32_t n, int32_t merge_layer,
                                         const std::function<split_graph()> & build);

    graph *       make_graph();
    void          free_graph(graph * dead);
    bool          wants(llama_seam_point point, int32_t il) const;
    ggml_tensor * apply(graph & to, const llama_seam_build & build, llama_seam_point point, ggml_tensor * cur, int il);
    void          lay_out(graph & to, const llama_seam_tokens & tokens);

private:
    struct item;
    struct site;
    struct pair {
        int32_t            first  = -1;
        int32_t            second = -1;
        int32_t            layer  = -1;
        std::vector<float> rows; // of the second at that layer, [its columns of the batch][n_embd]
        int64_t            columns = 0;
        double             delta   = 0;
    };
    // What is known of a KV cache's cells, by the nodes that see tokens written to them.
    struct ledger {
        std::vector<uint8_t>            labels;
        std::vector<int32_t>            numbers;  // of the column in its branch
        std::vector<std::vector<float>> sinkness; // by layer, where wanted
    };

    // interventions.cpp
    bool wanted(llama_seam_point point, int32_t il) const;
    bool wants_attention() const;
    void want(llama_seam_point point, int32_t il);
    void want(const item & what);

    // intervention_checks.cpp
    void require_seam(llama_seam_point point, int32_t il, const char * what) const;
    item make(const eq_intervention & from, int32_t k) const;
    void take_layer(item & to, const eq_intervention & from, int32_t k, int32_t l) const;

    // edit_book.cpp
    void        write_book();
    static void write_edit(int32_t * words, int32_t kind, const item & what);
    void        write_floats(std::vector<float> & to, const item & what, int32_t il) const;

    // intervention_reports.cpp
    void         take_states();
    const item & reader(int32_t sequence, int32_t index, int32_t il, int32_t kind) const;

    // placements.cpp
    const char * why_on_cpu(const site & at, const ggml_tensor * node) const;

    // intervention_nodes.cpp
    void          note_fired(llama_seam_point point, const llama_seam_build & build, const ggml_tensor * cur, int il);
    site &        add_site(std::vector<std::unique_ptr<site>> & list, const graph & of, llama_seam_point point, int il);
    ggml_tensor * tokens_of(graph & to, const llama_seam_build & build);
    void          lay_out_device(graph & to);
    void          lay_out_site(site & at, const graph & of);
    void          lay_out_choice(site & at, const graph & of);

    // column_nodes.cpp
    ggml_tensor * add_columns(graph & to, const llama_seam_build & build, llama_seam_point point, ggml_tensor * cur,
                              int il, bool overwrite);
    static void   launch_columns(ggml_tensor * dst, void * stream);
    static void   columns_op(ggml_tensor * dst, int ith, int nth, void * user);

    // mask_nodes.cpp
    void          follow_cache(graph & to, const llama_seam_build & build);
    ggml_tensor * written_on_device(graph & to, const llama_seam_build & build, ggml_tensor * labels);
    ggml_tensor * add_mask(graph & to, const llama_seam_build & build, ggml_tensor * mask, int il);
    static void   launch_ledger(ggml_tensor * dst, void * stream);
    static void   launch_mask(ggml_tensor * dst, void * stream);
    static void   ledger_op(ggml_tensor * dst, int ith, int nth, void * user);
    static void   device_ledger_op(ggml_tensor * dst, int ith, int nth, void * user);
    static void   mask_op(ggml_tensor * dst, int ith, int nth, void * user);

    // attention_nodes.cpp
    ggml_tensor * add_rows(graph & to, const llama_seam_build & build, llama_seam_point point, ggml_tensor * kq,
                           int il);
    bool          rows_on_device(const graph & to, llama_seam_point point, int il);
    ggml_tensor * add_rows_on_device(graph & to, const llama_seam_build & build, llama_seam_point point,
                                     ggml_tensor * kq, site & user);
    void          add_sinks(graph & to, const llama_seam_build & build, int il);
    void          read_weights(item & what, const site & at, const ggml_tensor * kq, int32_t column,
                               const uint8_t * keys);
    static void   launch_rows(ggml_tensor * dst, void * stream);
    static void   launch_sinks(ggml_tensor * dst, void * stream);
    static void   rows_op(ggml_tensor * dst, int ith, int nth, void * user);
    static void   sinks_op(ggml_tensor * dst, int ith, int nth, void * user);

    // choice_nodes.cpp
    void          add_choice(graph & to, const llama_seam_build & build, ggml_tensor * weights, int il);
    ggml_tensor * attended_of(graph & to, const llama_seam_build & build, int il);
    static void   choice_op(ggml_tensor * dst, int ith, int nth, void * user);
    static void   moved_op(ggml_tensor * dst, int ith, int nth, void * user);

    // mute_nodes.cpp
    ggml_tensor * add_mutes(graph & to, const llama_seam_build & build, ggml_tensor * weights, int il);
    static void   muted_op(ggml_tensor * dst, int ith, int nth, void * user);
    static void   mute_op(ggml_tensor * dst, int ith, int nth, void * user);

    // exit_nodes.cpp
    ggml_tensor * add_exits(graph & to, const llama_seam_build & build, ggml_tensor * logits);
    ggml_tensor * exits_on_device(graph & to, const llama_seam_build & build, const device_books::book & book,
                                  site & user, const std::array<ggml_tensor *, 3> & rows);
    static void   launch_exits(ggml_tensor * dst, void * stream);
    static void   exits_op(ggml_tensor * dst, int ith, int nth, void * user);

    // merges.cpp
    ggml_tensor * add_merge(graph & to, const llama_seam_build & build, ggml_tensor * cur, int il);
    ggml_tensor * add_end(graph & to, const llama_seam_build & build, ggml_tensor * cur, int il);
    void          lay_out_merge(site & at, const graph & of);
    void          take_rows(const graph & from);
    static void   launch_merge(ggml_tensor * dst, void * stream);
    static void   merge_op(ggml_tensor * dst, int ith, int nth, void * user);

    const limits                   is;
    uint64_t                       version = 1;
    std::vector<std::vector<item>> items;      // by sequence; one more for padding's, on which nothing acts
    std::vector<pair>              merges;     // by first sequence
    std::vector<int32_t>           ends;       // likewise: the block at which it ends, or -1
    // What graphs have nodes for; placements() puts all of it back.
    std::vector<uint8_t>           wants_at;   // by point and layer
    std::vector<uint8_t>           fired;      // likewise: how often the model's graph has the seam
    std::vector<int32_t>           heads;      // by layer: what its queries showed
    std::vector<uint8_t>           joins;      // by layer: whether graphs have a merge there
    std::vector<uint8_t>           head_masks; // by layer: whether its mask is one for each head
    std::vector<uint8_t>           sinks;      // by layer: whether graphs look for sinks there
    std::vector<uint8_t>           chooses;    // by layer: whether its weights choose keys
    std::vector<uint8_t>           misses;     // by layer: whether its mask is about keys chosen below
    std::vector<uint8_t>           mutes;      // by layer: whether its weights choose queries that lose theirs
    bool                           exits_bare = false; // some early exit leaves the final norm out
    bool                           exits_input = false; // some early exit is at the input embeddings
    int32_t                        most_exits = 1; // edits by early exits that one sequence ever had
    std::vector<ledger>            ledgers;    // per cache, in the order in which layers use them
    std::vector<uint8_t>           watched;    // by point and layer: whether weights are read there, which the CPU does
    device_books                   books;
    int64_t                        sums     = 0;    // doubles that the book has given to states that are read
    bool                           book_due = true; // what acts, or where a sequence ends, has changed
    int32_t                        cells = 0;
    std::mutex                     reading;    // what several threads of a graph add up
    const eq_batch *               batch   = nullptr;
    const std::vector<int32_t> *   running = nullptr; // columns of the batch that the graph has, in its order
    graph *                        ran     = nullptr; // whose counts are to be collected
    int32_t                        last_block = -1;
};

} // namespace eq
