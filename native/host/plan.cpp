#include "plan.hpp"

#include "host.hpp"

#include "ggml-backend.h"
#include "ggml.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace eq {

namespace {

// Layout of one column of the statistics tensor, in bytes: the partials of row r, then the report of group r.
constexpr size_t partials_bytes = EQK_SLICES * sizeof(eqk_partial);
constexpr size_t report_bytes   = EQK_SLICES * sizeof(eqk_contrast_partial);
constexpr size_t column_floats  = (partials_bytes + report_bytes) / sizeof(float);
static_assert(partials_bytes % alignof(eqk_contrast_partial) == 0);
static_assert((partials_bytes + report_bytes) % alignof(eqk_contrast_partial) == 0);

// The tables that tell the ops what to do, sized for `rows` output rows; every row is member of at most one group.
//   integers: [0] number of groups, then per group {first member, members, log-probabilities}, then per member its row
//   floats:   per member its coefficient, then per group beta
constexpr int64_t group_ints = 3;

struct tables {
    int64_t         rows;
    const int32_t * ints;
    const float *   floats;

    static int64_t n_ints(int64_t rows) { return 1 + (group_ints + 1) * rows; }
    static int64_t n_floats(int64_t rows) { return 2 * rows; }

    int32_t         groups() const { return ints[0]; }
    const int32_t * group(int32_t g) const { return ints + 1 + group_ints * g; }
    const int32_t * member_rows() const { return ints + 1 + group_ints * rows; }
    const float *   coefficients() const { return floats; }
    const float *   beta(int32_t g) const { return floats + rows + g; }
    int32_t         members() const {
        return groups() == 0 ? 0 : group(groups() - 1)[0] + group(groups() - 1)[1];
    }
};

tables tables_of(const ggml_tensor * ints, const ggml_tensor * floats) {
    return {floats->ne[0] / 2, static_cast<const int32_t *>(ints->data), static_cast<const float *>(floats->data)};
}

eqk_partial * partials_of(const ggml_tensor * statistics, int32_t row) {
    return reinterpret_cast<eqk_partial *>(static_cast<char *>(statistics->data) + (size_t) row * statistics->nb[1]);
}

eqk_contrast_partial * report_of(const ggml_tensor * statistics, int32_t group) {
    return reinterpret_cast<eqk_contrast_partial *>(static_cast<char *>(statistics->data) +
                                                    (size_t) group * statistics->nb[1] + partials_bytes);
}

} // namespace

// The inputs and intermediate results of one built graph.
struct plan::graph {
    explicit graph(plan * of) : owner(of), acting(of->acting.make_graph()) {}
    ~graph() { owner->acting.free_graph(acting); }
    graph(const graph &)             = delete;
    graph & operator=(const graph &) = delete;

    plan * const         owner;
    interventions::graph * const acting;
    ggml_tensor *        ints       = nullptr;
    ggml_tensor *        floats     = nullptr;
    ggml_tensor *        statistics = nullptr;
    ggml_tensor *        rows       = nullptr; // what the graph leaves behind: logits, combined
    ggml_tensor *        wanted     = nullptr; // [0] how many rows are drawn, then their numbers
    ggml_tensor *        ids        = nullptr; // of each of them, the token
    std::vector<int32_t> host_wanted;
    std::vector<int32_t> host_ints;
    std::vector<float>   host_floats;
    std::vector<int32_t> table_of_group; // index of a group in the tables, or -1 when its branches are not here
};

struct plan::capture_site {
    plan *  owner;
    int32_t il;
};

plan::plan(const interventions::limits & of, bool keep_hidden, bool find_tokens)
    : in_place(of.in_place), capture(keep_hidden), draws(find_tokens), acting(of),
      hooks{this, key_of, graph_init, graph_free, wants, apply, set_input}, places((size_t) of.sequences) {}

plan::~plan() = default;

// Contrast and capture are settled when the plan is made.
uint64_t plan::key_of(void * user) { return static_cast<plan *>(user)->acting.shape(); }

bool plan::wants(void * user, llama_seam_point point, int il) {
    return static_cast<plan *>(user)->acting.wants(point, il);
}

void * plan::graph_init(void * user) { return new graph(static_cast<plan *>(user)); }

void plan::graph_free(void * state) {
    auto * dead = static_cast<graph *>(state);
    if (dead->owner->ran == dead) {
        dead->owner->ran = nullptr;
    }
    delete dead;
}

ggml_tensor * plan::apply(void * state, const llama_seam_build * build, llama_seam_point point, ggml_tensor * cur,
                          int il) {
    auto & to = *static_cast<graph *>(state);
    if (point == LLAMA_SEAM_LOGITS) {
        return to.owner->add_contrast(to, *build, to.owner->acting.apply(*to.acting, *build, point, cur, il));
    }
    cur = to.owner->acting.apply(*to.acting, *build, point, cur, il);
    if (to.owner->capture && (point == LLAMA_SEAM_INP_EMBD || point == LLAMA_SEAM_LAYER_OUT)) {
        to.owner->add_capture(*build, cur, point == LLAMA_SEAM_INP_EMBD ? -1 : il);
    }
    return cur;
}

ggml_tensor * plan::add_contrast(graph & to, const llama_seam_build & build, ggml_tensor * logits) {
    const int64_t rows = logits->ne[1];

    to.ints   = ggml_new_tensor_1d(build.ctx, GGML_TYPE_I32, tables::n_ints(rows));
    to.floats = ggml_new_tensor_1d(build.ctx, GGML_TYPE_F32, tables::n_floats(rows));
    ggml_set_name(to.ints, "equipoise_table_ints");
    ggml_set_name(to.floats, "equipoise_table_floats");
    ggml_set_input(to.ints);
    ggml_set_input(to.floats);

    ggml_tensor * read[] = {logits, to.ints, to.floats};
    to.statistics        = ggml_custom_4d(build.ctx, GGML_TYPE_F32, (int64_t) column_floats, rows, 1, 1, read, 3,
                                          partials_op, GGML_N_TASKS_MAX, nullptr);
    ggml_set_name(to.statistics, "equipoise_statistics");
    // The contrast op leaves its report here, to be read when the graph has run.
    ggml_set_output(to.statistics);
    ggml_set_output(logits);

    ggml_tensor * combined;
    if (in_place) {
        ggml_tensor * more[] = {to.statistics, to.ints, to.floats};
        combined = ggml_custom_inplace(build.ctx, logits, more, 3, contrast_op, GGML_N_TASKS_MAX, nullptr);
    } else {
        ggml_tensor * more[] = {logits, to.statistics, to.ints, to.floats};
        combined = ggml_custom_4d(build.ctx, GGML_TYPE_F32, logits->ne[0], rows, 1, 1, more, 4, contrast_op,
                                  GGML_N_TASKS_MAX, nullptr);
    }
    ggml_set_name(combined, "equipoise_logits");
    ggml_build_forward_expand(build.gf, combined);
    to.rows = combined;
    if (draws) {
        add_choice(to, build, combined);
    }
    return combined;
}

// llama.cpp has samplers for its graphs, which are not used: they belong to a sequence from the context's making on, build
// the graph anew whenever the columns change, bring out every row of a micro-batch of which one has no sampler, and find
// another token than the host does, where logits are equal or, in draws, near the border of two tokens.
void plan::add_choice(graph & to, const llama_seam_build & build, ggml_tensor * logits) {
    to.wanted = ggml_new_tensor_1d(build.ctx, GGML_TYPE_I32, 1 + logits->ne[1]);
    ggml_set_name(to.wanted, "equipoise_wanted");
    ggml_set_input(to.wanted);
    ggml_tensor * read[] = {logits, to.wanted};
    to.ids = ggml_custom_4d(build.ctx, GGML_TYPE_I64, logits->ne[1], 1, 1, 1, read, 2, choice_op, GGML_N_TASKS_MAX,
                            nullptr);
    ggml_set_name(to.ids, "equipoise_ids");
    ggml_set_output(to.ids);
    ggml_build_forward_expand(build.gf, to.ids);
}

void plan::add_capture(const llama_seam_build & build, ggml_tensor * cur, int il) {
    if (cur->type != GGML_TYPE_F32) {
        return; // a seam that shows another type has no rows to keep; reading it then says that it did not fire
    }
    auto & site = sites[il];
    if (!site) {
        site = std::make_unique<capture_site>(capture_site{this, il});
    }
    ggml_tensor * node =
        ggml_custom_4d(build.ctx, GGML_TYPE_F32, 1, 1, 1, 1, &cur, 1, capture_op, 1, site.get());
    ggml_build_forward_expand(build.gf, node);
}

void plan::begin_decode(const eq_batch & batch) {
    acting.begin(batch);
    for (auto & [il, rows] : captures) {
        rows.rows.clear();
    }
    drawn.clear();
    ran  = nullptr;
    runs = 0;
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
    auto & to = *static_cast<graph *>(state);
    to.owner->acting.lay_out(*to.acting, *tokens);
    if (!to.ints || !to.ints->buffer || !to.floats->buffer) {
        return; // a graph without logits: nothing was allocated
    }
    to.owner->lay_out(to, *tokens);
    ggml_backend_tensor_set(to.ints, to.host_ints.data(), 0, ggml_nbytes(to.ints));
    ggml_backend_tensor_set(to.floats, to.host_floats.data(), 0, ggml_nbytes(to.floats));
    if (to.wanted && to.wanted->buffer) {
        ggml_backend_tensor_set(to.wanted, to.host_wanted.data(), 0, ggml_nbytes(to.wanted));
    }
    if (to.floats->ne[0] > 0) {
        to.owner->ran = &to;
        to.owner->runs++;
    }
}

void plan::lay_out(graph & to, const llama_seam_tokens & tokens) {
    const int64_t rows = to.floats->ne[0] / 2;
    to.host_ints.assign((size_t) tables::n_ints(rows), 0);
    to.host_floats.assign((size_t) tables::n_floats(rows), 0);
    to.table_of_group.assign(groups.size(), -1);
    if (to.wanted) {
        // A device works through the list to its end: behind what is wanted stands a row that is there.
        to.host_wanted.assign((size_t) to.wanted->ne[0], 0);
        to.host_wanted[0] = (int32_t) std::min((int64_t) drawn.size(), rows);
        std::copy_n(drawn.begin(), to.host_wanted[0], to.host_wanted.begin() + 1);
    }
    if (groups.empty()) {
        return;
    }

    // The output row of every branch that is here.
    std::vector<std::vector<int32_t>> row_of(groups.size());
    for (size_t g = 0; g < groups.size(); g++) {
        row_of[g].assign(groups[g].sequences.size(), -1);
    }
    int32_t row = 0;
    for (int32_t i = 0; i < tokens.n_tokens; i++) {
        if (!tokens.output[i]) {
            continue;
        }
        const place & at = places[(size_t) tokens.seq_id[i][0]];
        if (at.group >= 0) {
            row_of[(size_t) at.group][(size_t) at.branch] = row;
        }
        row++;
    }

    int32_t * const group_table  = to.host_ints.data() + 1;
    int32_t * const member_table = group_table + group_ints * rows;
    int32_t         n_groups     = 0;
    int32_t         n_members    = 0;
    for (size_t g = 0; g < groups.size(); g++) {
        if (row_of[g].empty() || std::count(row_of[g].begin(), row_of[g].end(), -1) > 0) {
            continue;
        }
        const int32_t n    = (int32_t) row_of[g].size();
        int32_t *     head = group_table + group_ints * n_groups;
        head[0]            = n_members;
        head[1]            = n;
        head[2]            = groups[g].log_probabilities;
        for (int32_t b = 0; b < n; b++) {
            member_table[n_members + b]               = row_of[g][(size_t) b];
            to.host_floats[(size_t) (n_members + b)] = groups[g].coefficients[(size_t) b];
        }
        to.host_floats[(size_t) (rows + n_groups)] = groups[g].plausibility;
        to.table_of_group[g]                       = n_groups;
        n_members += n;
        n_groups++;
    }
    to.host_ints[0] = n_groups;
}

plan::outcome plan::outcome_of(int32_t index) const {
    const int32_t at = ran ? ran->table_of_group[(size_t) index] : -1;
    EQ_REQUIRE(at >= 0, "group %d: its branches are not all outputs of this batch", index);

    eqk_contrast_partial report[EQK_SLICES];
    ggml_backend_tensor_get(ran->statistics, report, (size_t) at * ran->statistics->nb[1] + partials_bytes,
                            report_bytes);
    outcome result;
    double  squared = 0;
    result.status   = eqk_contrast_reduce(report, &squared, &result.kept);
    result.delta_norm = std::sqrt(squared);
    return result;
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
    int64_t id = -1;
    ggml_backend_tensor_get(from.ids, &id, (size_t) (at - drawn.begin()) * sizeof(id), sizeof(id));
    return (int32_t) id;
}

float * plan::row_of(int32_t row) const {
    const ggml_tensor * rows = only_graph().rows;
    return ggml_backend_buffer_is_host(rows->buffer)
               ? reinterpret_cast<float *>(static_cast<char *>(rows->data) + (size_t) row * rows->nb[1])
               : nullptr;
}

void plan::read_row(int32_t row, float * to) const {
    const ggml_tensor * rows = only_graph().rows;
    ggml_backend_tensor_get(rows, to, (size_t) row * rows->nb[1], (size_t) rows->ne[0] * sizeof(float));
}

const plan::captured * plan::capture_of(int32_t il) const {
    const auto at = captures.find(il);
    return at == captures.end() ? nullptr : &at->second;
}

// Slices are shared among the threads row by row; a slice's numbers are the same whoever computes them.
void plan::partials_op(ggml_tensor * dst, int ith, int nth, void *) {
    const ggml_tensor * logits = dst->src[0];
    const tables        table  = tables_of(dst->src[1], dst->src[2]);
    const int32_t       first  = EQK_SLICES * ith / nth;
    const int32_t       last   = EQK_SLICES * (ith + 1) / nth;
    for (int32_t m = 0; m < table.members(); m++) {
        const int32_t row = table.member_rows()[m];
        const auto *  x   = reinterpret_cast<const float *>(static_cast<const char *>(logits->data) +
                                                         (size_t) row * logits->nb[1]);
        eqk_row_partials(x, logits->ne[0], first, last, partials_of(dst, row));
    }
}

void plan::contrast_op(ggml_tensor * dst, int ith, int nth, void *) {
    // In place dst is a view of src[0]; otherwise every row has to be carried over first.
    const bool          apart      = dst->view_src == nullptr;
    const ggml_tensor * logits     = dst->src[0];
    ggml_tensor *       statistics = dst->src[1];
    const tables        table      = tables_of(dst->src[2], dst->src[3]);
    const int64_t       n_vocab    = logits->ne[0];
    const int32_t       first      = EQK_SLICES * ith / nth;
    const int32_t       last       = EQK_SLICES * (ith + 1) / nth;
    if (apart && last > first) {
        int64_t begin, end, ignored;
        eqk_slice_bounds(n_vocab, first, &begin, &ignored);
        eqk_slice_bounds(n_vocab, last - 1, &ignored, &end);
        for (int64_t r = 0; r < logits->ne[1]; r++) {
            const size_t at = (size_t) r * logits->nb[1] + (size_t) begin * sizeof(float);
            memcpy(static_cast<char *>(dst->data) + at, static_cast<const char *>(logits->data) + at,
                   (size_t) (end - begin) * sizeof(float));
        }
    }

    std::vector<float> row_max;
    std::vector<float> row_lse;
    for (int32_t g = 0; g < table.groups(); g++) {
        const int32_t * head = table.group(g);
        const int32_t * rows = table.member_rows() + head[0];
        row_max.resize((size_t) head[1]);
        row_lse.resize((size_t) head[1]);
        for (int32_t b = 0; b < head[1]; b++) {
            eqk_row_reduce(partials_of(statistics, rows[b]), &row_max[(size_t) b], &row_lse[(size_t) b]);
        }
        eqk_contrast_args args = {};
        args.rows              = static_cast<const float *>(logits->data);
        args.stride            = (int64_t) (logits->nb[1] / sizeof(float));
        args.n_vocab           = n_vocab;
        args.row_index         = rows;
        args.coefficient       = table.coefficients() + head[0];
        args.beta              = table.beta(g);
        args.row_max           = row_max.data();
        args.row_lse           = row_lse.data();
        args.out               = reinterpret_cast<float *>(static_cast<char *>(dst->data) +
                                             (size_t) rows[0] * dst->nb[1]);
        args.report            = report_of(statistics, g);
        args.n_branches        = head[1];
        args.log_probabilities = head[2];
        args.slice_first       = first;
        args.slice_last        = last;
        eqk_contrast(&args); // a failure stands in the report
    }
}

// A row is one thread's: what it could gain from another is lost again where they wait for each other.
void plan::choice_op(ggml_tensor * dst, int ith, int nth, void *) {
    const ggml_tensor * logits = dst->src[0];
    const auto *        wanted = static_cast<const int32_t *>(dst->src[1]->data);
    auto *              ids    = static_cast<int64_t *>(dst->data);
    for (int32_t k = ith; k < wanted[0]; k += nth) {
        const auto * row = reinterpret_cast<const float *>(static_cast<const char *>(logits->data) +
                                                           (size_t) wanted[1 + k] * logits->nb[1]);
        if (eqk_argmax(row, logits->ne[0], ids + k) != EQK_OK) {
            ids[k] = -1;
        }
    }
}

void plan::capture_op(ggml_tensor * dst, int ith, int, void * user) {
    if (ith != 0) {
        return; // every thread of the graph calls, whatever n_tasks says
    }
    const auto *        site = static_cast<const capture_site *>(user);
    const ggml_tensor * cur  = dst->src[0];
    captured &          to   = site->owner->captures[site->il];
    to.width                 = (int32_t) cur->ne[0];
    for (int64_t r = 0; r < cur->ne[1]; r++) {
        const auto * row = reinterpret_cast<const float *>(static_cast<const char *>(cur->data) + (size_t) r * cur->nb[1]);
        to.rows.insert(to.rows.end(), row, row + cur->ne[0]);
    }
}

} // namespace eq
