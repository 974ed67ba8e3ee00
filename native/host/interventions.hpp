// What acts inside the network: steering, attention edits and silenced embeddings, per sequence, and merges of two.
#pragma once

#include "equipoise.h"

#include "llama-seams.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace eq {

// The interventions of one context. Which nodes its graphs have depends on the layers that were ever asked for, never on
// the numbers: a graph is rebuilt when a layer is new, not when a vector, a scale or a span changes.
class interventions {
public:
    struct limits {
        int32_t sequences;
        int32_t layers;
        int32_t width; // n_embd
        bool    alibi; // masks are scaled per head there, so a bias on them would not be what was asked for
        bool    in_place;
    };

    explicit interventions(const limits & of);
    ~interventions();
    interventions(const interventions &)             = delete;
    interventions & operator=(const interventions &) = delete;

    // KV cells of the context, once it exists.
    void set_cells(int32_t n_cells);

    // Replaces what acts on a sequence. Checked first: nothing changes when this throws.
    void set(int32_t sequence, const eq_intervention * list, int32_t n);

    // What a sequence's interventions did since they were set: reports[n].
    void report(int32_t sequence, eq_intervention_report * reports, int32_t n) const;

    // Joins two sequences at the output of a block, or no longer when second is negative.
    void set_merge(int32_t first, int32_t second, int32_t layer);

    // Changes whenever a graph built now would have other nodes.
    uint64_t shape() const { return version; }

    // The batch about to be decoded, which must live until the decode has ended; checked.
    void begin(const eq_batch & batch);

    // Adds up what the ops of the last decode counted.
    void collect();

    struct graph;
    graph *       make_graph();
    void          free_graph(graph * dead);
    ggml_tensor * apply(graph & to, const llama_seam_build & build, llama_seam_point point, ggml_tensor * cur, int il);
    void          lay_out(graph & to, const llama_seam_tokens & tokens);

private:
    struct item;
    struct site;
    struct pair {
        int32_t first  = -1;
        int32_t second = -1;
        int32_t layer  = -1;
    };

    bool wanted(llama_seam_point point, int32_t il) const;
    void want(llama_seam_point point, int32_t il);
    void require_seam(llama_seam_point point, int32_t il, const char * what) const;
    void lay_out_site(site & at, const graph & of);
    void lay_out_merge(site & at, const graph & of);

    ggml_tensor * add_columns(graph & to, const llama_seam_build & build, llama_seam_point point, ggml_tensor * cur, int il,
                              bool overwrite);
    ggml_tensor * add_mask(graph & to, const llama_seam_build & build, ggml_tensor * mask, int il);
    ggml_tensor * add_merge(graph & to, const llama_seam_build & build, ggml_tensor * cur, int il);
    ggml_tensor * ledger_of(graph & to, const llama_seam_build & build);

    static void columns_op(ggml_tensor * dst, int ith, int nth, void * user);
    static void mask_op(ggml_tensor * dst, int ith, int nth, void * user);
    static void merge_op(ggml_tensor * dst, int ith, int nth, void * user);
    static void ledger_op(ggml_tensor * dst, int ith, int nth, void * user);

    const limits                   is;
    uint64_t                       version = 1;
    std::vector<std::vector<item>> items;   // by sequence
    std::vector<pair>              merges;  // by first sequence
    std::vector<uint8_t>           wants;   // by point and layer
    std::vector<uint8_t>           fired;   // likewise: where the model's graph has the seam
    std::vector<uint8_t>           joins;   // by layer: whether graphs have a merge there
    std::vector<std::vector<uint8_t>> ledgers; // the label of each KV cell, per cache
    const eq_batch *               batch = nullptr;
    graph *                        ran   = nullptr; // whose counts are to be collected
};

} // namespace eq
