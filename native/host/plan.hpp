// What the seams add to a context's graphs: interventions, the contrast of branches on the logits, and hidden-state
// capture.
#pragma once

#include "equipoise.h"
#include "equipoise_kernels.h"
#include "interventions.hpp"

#include "llama-seams.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

namespace eq {

// The numbers of one decode. The graph's shape never depends on them: with no group the ops have nothing to do.
class plan {
public:
    // of.in_place: whether ops may write into the graph's tensors; only where every device of the context is the CPU,
    // since a view that the scheduler moves would keep pointing at device memory. draws: whether the graph finds the
    // best tokens of rows.
    plan(const interventions::limits & of, bool capture, bool draws);
    ~plan();
    plan(const plan &)             = delete;
    plan & operator=(const plan &) = delete;

    const llama_seams * seams() const { return &hooks; }

    // Takes over the groups of the decode that follows, checked.
    void set_groups(const eq_group * groups, int32_t n_groups);

    // Output rows of the decode that follows, ascending, whose best tokens the graph is to find; it must draw.
    void set_drawn(const std::vector<int32_t> & rows) { drawn = rows; }

    // What acts inside the network.
    interventions & inside() { return acting; }

    // Takes a batch in, and forgets what the last decode left behind. The batch must live until end_decode.
    void begin_decode(const eq_batch & batch);

    // To be called when a graph has run: takes in what it left.
    void collect();

    // To be called when the batch's graphs have run; throws if a device could not be told to run a node.
    void end_decode();

    // What became of a group: eqk_status, and numbers that mean something when it is EQK_OK.
    struct outcome {
        int32_t status     = EQK_OK;
        double  delta_norm = 0;
        int64_t kept       = 0;
    };

    // Of a group of the last decode; throws when its branches did not meet in one micro-batch.
    outcome outcome_of(int32_t group) const;

    // The best token of a row that was to be drawn, as eqk_argmax finds it, -1 if it has none.
    int32_t token_of(int32_t row) const;

    // An output row of the last decode, combined, n_vocab long, until the next one: where it lies, or null if that is
    // out of the host's reach.
    float * row_of(int32_t row) const;

    // Copies it from wherever it lies.
    void read_row(int32_t row, float * to) const;

    // Whether every device of the context is the CPU.
    bool is_on_cpu() const { return in_place; }

    // See eq_context_placements; `build` builds a graph and splits it, as the scheduler does for a step.
    std::vector<eq_placement> placements(const eq_intervention * list, int32_t n, int32_t merge_layer,
                                         ggml_backend_sched_t scheduler, const std::function<ggml_cgraph *()> & build);

    struct captured {
        int32_t            width = 0;
        std::vector<float> rows;
    };

    // Rows of layer il seen since begin_decode, or null if its seam did not fire.
    const captured * capture_of(int32_t il) const;

private:
    struct graph;

    struct group {
        std::vector<int32_t> sequences;
        std::vector<float>   coefficients;
        int32_t              log_probabilities = 0;
        float                plausibility      = 0;
    };

    // Where a sequence stands in the groups; group -1 if in none.
    struct place {
        int32_t group  = -1;
        int32_t branch = 0;
    };

    static uint64_t      key_of(void * user);
    static bool          wants(void * user, llama_seam_point point, int il);
    static void *        graph_init(void * user);
    static void          graph_free(void * state);
    static ggml_tensor * apply(void * state, const llama_seam_build * build, llama_seam_point point, ggml_tensor * cur,
                               int il);
    static void          set_input(void * state, const llama_seam_tokens * tokens);

    ggml_tensor * add_contrast(graph & to, const llama_seam_build & build, ggml_tensor * logits);
    void          add_choice(graph & to, const llama_seam_build & build, ggml_tensor * logits);
    static void   add_capture(graph & to, const llama_seam_build & build, ggml_tensor * cur, int il);
    static void   cut(const graph & from, const llama_seam_build & build);
    void          lay_out(graph & to, const llama_seam_tokens & tokens);
    const graph & only_graph() const;
    void          fetch();

    static void partials_op(ggml_tensor * dst, int ith, int nth, void * user);
    static void contrast_op(ggml_tensor * dst, int ith, int nth, void * user);
    static void choice_op(ggml_tensor * dst, int ith, int nth, void * user);

    const bool         in_place;
    const bool         capture;
    const bool         draws;
    interventions      acting;
    llama_seams        hooks;
    std::vector<group> groups;
    std::vector<place> places;          // by sequence
    std::vector<int32_t> drawn;
    std::vector<int64_t> best;          // of the last decode: the tokens of drawn
    std::vector<char>    reports;       // and eqk::group_statistics of its groups
    graph *            built = nullptr; // the graph that was begun last
    graph *            ran  = nullptr;  // the graph with logits that ran last
    int32_t            runs = 0;        // how many of them ran since begin_decode
    graph *            fed  = nullptr;  // the graph that ran last, with logits or not
    int32_t            feeds = 0;       // how many of these ran since collect

    std::map<int32_t, captured> captures; // by layer
};

} // namespace eq
