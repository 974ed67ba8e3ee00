// One decode: the groups it is given, what the seams do while its graphs are built and fed, and what those leave.
#include "plan_graph.hpp"

#include "cuda_nodes.hpp"
#include "host.hpp"

#include "ggml-backend.h"
#include "ggml.h"

#include <algorithm>
#include <cmath>

namespace eq {

plan::plan(const interventions::limits & of, bool keep_hidden, bool find_tokens)
    : in_place(of.in_place), capture(keep_hidden), draws(find_tokens), acting(of),
      hooks{this, key_of, graph_init, graph_free, wants, apply, set_input}, places((size_t) of.sequences) {}

plan::~plan() = default;

// Contrast and capture are settled when the plan is made.
uint64_t plan::key_of(void * user) { return static_cast<plan *>(user)->acting.shape(); }

bool plan::wants(void * user, llama_seam_point point, int il) {
    return static_cast<plan *>(user)->acting.wants(point, il);
}

void * plan::graph_init(void * user) {
    auto * of = static_cast<plan *>(user);
    of->built = new graph(of);
    return of->built;
}

void plan::graph_free(void * state) {
    auto * dead = static_cast<graph *>(state);
    for (graph ** each : {&dead->owner->ran, &dead->owner->built, &dead->owner->fed}) {
        *each = *each == dead ? nullptr : *each;
    }
    delete dead;
}

ggml_tensor * plan::apply(void * state, const llama_seam_build * build, llama_seam_point point, ggml_tensor * cur,
                          int il) {
    auto & to = *static_cast<graph *>(state);
    const int32_t end = to.owner->acting.ends_at();
    if (point == LLAMA_SEAM_LOGITS && end >= 0) {
        cut(to, *build);
        return cur;
    }
    if (point == LLAMA_SEAM_LOGITS) {
        return to.owner->add_contrast(to, *build, to.owner->acting.apply(*to.acting, *build, point, cur, il));
    }
    cur = to.owner->acting.apply(*to.acting, *build, point, cur, il);
    if (to.owner->capture && (point == LLAMA_SEAM_INP_EMBD || point == LLAMA_SEAM_LAYER_OUT)) {
        add_capture(to, *build, cur, point == LLAMA_SEAM_INP_EMBD ? -1 : il);
    }
    if (point == LLAMA_SEAM_LAYER_OUT && il == end) {
        to.below.assign(ggml_graph_nodes(build->gf), ggml_graph_nodes(build->gf) + ggml_graph_n_nodes(build->gf));
    }
    return cur;
}

// Leaves of a graph what there was at its last block. No logits are asked of it, so llama.cpp does not look for them.
void plan::cut(const graph & from, const llama_seam_build & build) {
    ggml_graph_clear(build.gf);
    // llama.cpp fills all inputs, needed or not. They stand first: the allocator tells leaves by their order alone, and
    // which of them a node reaches, and when, differs between batches of tokens and of rows.
    for (ggml_tensor * each = ggml_get_first_tensor(build.ctx); each; each = ggml_get_next_tensor(build.ctx, each)) {
        if (each->flags & GGML_TENSOR_FLAG_INPUT) {
            ggml_build_forward_order(build.gf, each);
        }
    }
    for (ggml_tensor * node : from.below) {
        // As it is: nodes that are there without being computed stay so.
        ggml_build_forward_order(build.gf, node);
    }
}

// A copy, because nodes behind may write over what they are given. It is read when the graph has run.
void plan::add_capture(graph & to, const llama_seam_build & build, ggml_tensor * cur, int il) {
    if (cur->type != GGML_TYPE_F32) {
        return; // a seam that shows another type has no rows to keep; reading it then says that it did not fire
    }
    ggml_tensor * rows = ggml_cont(build.ctx, cur);
    ggml_format_name(rows, "equipoise_shown-%d", il);
    ggml_set_output(rows);
    ggml_build_forward_expand(build.gf, rows);
    to.shown[il] = rows;
}

void plan::begin_decode(const eq_batch & batch) {
    acting.begin(batch);
    forget_launches();
    for (auto & [il, rows] : captures) {
        rows.rows.clear();
    }
    drawn.clear();
    ran   = nullptr;
    fed   = nullptr;
    runs  = 0;
    feeds = 0;
}

void plan::collect() {
    acting.collect();
    if (capture && (feeds != 1 || !fed)) {
        fail(EQ_INTERNAL, "states of %d micro-batches at once", feeds);
    }
    for (const auto & [il, rows] : capture ? fed->shown : std::map<int32_t, ggml_tensor *>()) {
        if (!rows->buffer) {
            continue; // beyond the end of a graph that is not whole
        }
        captured &   to    = captures[il];
        const size_t known = to.rows.size();
        to.width           = (int32_t) rows->ne[0];
        to.rows.resize(known + (size_t) ggml_nelements(rows));
        ggml_backend_tensor_get(rows, to.rows.data() + known, 0, ggml_nbytes(rows));
    }
    fed   = nullptr;
    feeds = 0;
}

void plan::end_decode() {
    acting.end();
    require_launches();
    fetch();
}

void plan::set_groups(const eq_group * wanted, int32_t n_groups) {
    for (const group & old : groups) {
        for (const int32_t sequence : old.sequences) {
            places[(size_t) sequence] = {};
        }
    }
    groups.resize((size_t) n_groups);
    for (int32_t g = 0; g < n_groups; g++) {
        groups[(size_t) g].sequences.clear();
    }
    for (int32_t g = 0; g < n_groups; g++) {
        const eq_group & from = wanted[g];
        group &          to   = groups[(size_t) g];
        if (from.after) {
            continue; // not the graph's: it stays without members here
        }
        EQ_REQUIRE(from.sequences && from.coefficients && from.n_branches >= 1, "group %d has no branch", g);
        EQ_REQUIRE(from.plausibility >= 0 && from.plausibility <= 1, "group %d: plausibility %g is not in 0..1", g,
                   (double) from.plausibility);
        to.log_probabilities = from.log_probabilities != 0;
        to.plausibility      = from.plausibility;
        to.coefficients.assign(from.coefficients, from.coefficients + from.n_branches);
        for (int32_t b = 0; b < from.n_branches; b++) {
            const int32_t sequence = from.sequences[b];
            EQ_REQUIRE(sequence >= 0 && (size_t) sequence < places.size(), "group %d: no sequence %d", g, sequence);
            EQ_REQUIRE(places[(size_t) sequence].group < 0, "sequence %d is in two groups", sequence);
            EQ_REQUIRE(std::isfinite(from.coefficients[b]), "group %d: coefficient %d is not finite", g, b);
            to.sequences.push_back(sequence);
            places[(size_t) sequence] = {g, b};
        }
    }
}

void plan::set_input(void * state, const llama_seam_tokens * tokens) {
    auto & to     = *static_cast<graph *>(state);
    to.owner->fed = &to;
    to.owner->feeds++;
    to.owner->acting.lay_out(*to.acting, *tokens);
    if (!to.table || !to.table->buffer) {
        return; // a graph without logits: nothing was allocated
    }
    to.owner->lay_out(to, *tokens);
    ggml_backend_tensor_set(to.table, to.host_table.data(), 0, ggml_nbytes(to.table));
    if (to.rows > 0) {
        to.owner->ran = &to;
        to.owner->runs++;
    }
}

// Rows are numbered within a decode and lie in one graph's tensor.
const plan::graph & plan::only_graph() const {
    if (runs != 1 || !ran) {
        fail(EQ_INTERNAL, "a decode with outputs in %d micro-batches", runs);
    }
    return *ran;
}

int32_t plan::token_of(int32_t row) const {
    const graph & from = only_graph();
    const auto    at   = std::lower_bound(drawn.begin(), drawn.end(), row);
    EQ_REQUIRE(at != drawn.end() && *at == row && from.ids, "row %d was not to be drawn", row);
    return (int32_t) best[(size_t) (at - drawn.begin())];
}

float * plan::row_of(int32_t row) const {
    const ggml_tensor * rows = only_graph().left;
    // An emulated device's memory could be reached, but a device's is not.
    return !device_is_emulated && ggml_backend_buffer_is_host(rows->buffer)
               ? reinterpret_cast<float *>(static_cast<char *>(rows->data) + (size_t) row * rows->nb[1])
               : nullptr;
}

void plan::read_row(int32_t row, float * to) const {
    const ggml_tensor * rows = only_graph().left;
    ggml_backend_tensor_get(rows, to, (size_t) row * rows->nb[1], (size_t) rows->ne[0] * sizeof(float));
}

std::vector<eq_placement> plan::placements(const eq_intervention * list, int32_t n, int32_t merge_layer,
                                           ggml_backend_sched_t                   scheduler,
                                           const std::function<ggml_cgraph *()> & build) {
    std::vector<eq_placement> found = acting.placements(list, n, merge_layer, [&] {
        ggml_cgraph * nodes = build();
        return interventions::split_graph{nodes, built->acting, scheduler};
    });
    const auto add = [&](ggml_tensor * node, int32_t item) {
        const bool   on_device = runs_on_device(scheduler, node);
        const char * why       = has_launcher(node) ? "the output matrix is there" : "it has no CUDA kernel";
        found.push_back({on_device ? nullptr : why, item, -1, on_device, 0});
    };
    add(built->statistics, n + 1);
    add(built->left, n + 1);
    if (built->ids) {
        add(built->ids, n + 2);
    }
    return found;
}

const plan::captured * plan::capture_of(int32_t il) const {
    const auto at = captures.find(il);
    return at == captures.end() ? nullptr : &at->second;
}

} // namespace eq
