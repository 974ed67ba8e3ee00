// The nodes on logits: the contrast of branches and the best tokens, and what they are told before a graph runs.
#include "plan_graph.hpp"

#include "cuda_nodes.hpp"
#include "host.hpp"

#include "equipoise_groups.h"

#include "ggml-backend.h"
#include "ggml.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace eq {

namespace {

eqk::group_table table_of(const ggml_tensor * table, int64_t rows) {
    return {static_cast<const int32_t *>(table->data), (int32_t) rows};
}

eqk::group_statistics statistics_of(const ggml_tensor * statistics, int64_t rows) {
    return {static_cast<char *>(statistics->data), (int32_t) rows};
}

// The rows whose tokens are wanted stand behind the groups: one input, as a device waits for each that it gets.
eqk::choice_list wanted_of(const ggml_tensor * table, int64_t rows) {
    return {static_cast<const int32_t *>(table->data) + eqk::group_table::n_words(rows)};
}

// The nodes' launchers: on the stream, over the same tables as on the CPU.
eqk_groups_args groups_of(const ggml_tensor * logits, const ggml_tensor * table, const ggml_tensor * statistics) {
    eqk_groups_args args = {};
    args.logits          = static_cast<const float *>(logits->data);
    args.stride          = (int64_t) (logits->nb[1] / sizeof(float));
    args.n_vocab         = logits->ne[0];
    args.table           = static_cast<const int32_t *>(table->data);
    args.statistics      = statistics->data;
    args.n_rows          = (int32_t) logits->ne[1];
    return args;
}

void launch_partials(ggml_tensor * dst, void * stream) {
    const eqk_groups_args args = groups_of(dst->src[0], dst->src[1], dst);
    note_launch(eqk_cuda_groups_partials(&args, stream));
}

void launch_contrast(ggml_tensor * dst, void * stream) {
    eqk_groups_args args = groups_of(dst->src[0], dst->src[2], dst->src[1]);
    args.out             = static_cast<float *>(dst->data);
    args.out_stride      = (int64_t) (dst->nb[1] / sizeof(float));
    note_launch(eqk_cuda_groups_contrast(&args, stream));
}

void launch_choice(ggml_tensor * dst, void * stream) {
    const ggml_tensor * logits = dst->src[0];
    eqk_choice_args     args   = {};
    args.logits                = static_cast<const float *>(logits->data);
    args.stride                = (int64_t) (logits->nb[1] / sizeof(float));
    args.n_vocab               = logits->ne[0];
    args.wanted                = wanted_of(dst->src[1], logits->ne[1]).words;
    args.found                 = static_cast<int64_t *>(dst->data);
    args.n_rows                = (int32_t) logits->ne[1];
    note_launch(eqk_cuda_choice(&args, stream));
}

} // namespace

ggml_tensor * plan::add_contrast(graph & to, const llama_seam_build & build, ggml_tensor * logits) {
    const int64_t rows = logits->ne[1];

    to.rows  = rows;
    to.table = ggml_new_tensor_1d(build.ctx, GGML_TYPE_I32,
                                  eqk::group_table::n_words(rows) + (draws ? eqk::choice_list::n_words(rows) : 0));
    ggml_set_name(to.table, "equipoise_table");
    ggml_set_input(to.table);

    ggml_tensor * read[] = {logits, to.table};
    to.statistics        = ggml_custom_4d(build.ctx, GGML_TYPE_F32,
                                          (int64_t) (eqk::group_statistics::bytes(rows) / sizeof(float)), 1, 1, 1, read, 2,
                                          partials_op, GGML_N_TASKS_MAX, nullptr);
    ggml_set_name(to.statistics, "equipoise_statistics");
    // The contrast op leaves its report here, to be read when the graph has run. The two nodes are neighbours that the
    // same backends support, so the scheduler keeps them together and what is written here is not a copy.
    ggml_set_output(to.statistics);
    ggml_set_output(logits);

    ggml_tensor * combined;
    if (in_place) {
        ggml_tensor * more[] = {to.statistics, to.table};
        combined = ggml_custom_inplace(build.ctx, logits, more, 2, contrast_op, GGML_N_TASKS_MAX, nullptr);
    } else {
        ggml_tensor * more[] = {logits, to.statistics, to.table};
        combined = ggml_custom_4d(build.ctx, GGML_TYPE_F32, logits->ne[0], rows, 1, 1, more, 3, contrast_op,
                                  GGML_N_TASKS_MAX, nullptr);
        with_launcher(to.statistics, launch_partials);
        with_launcher(combined, launch_contrast);
    }
    ggml_set_name(combined, "equipoise_logits");
    ggml_build_forward_expand(build.gf, combined);
    to.left = combined;
    if (draws) {
        add_choice(to, build, combined);
    }
    return combined;
}

// llama.cpp has samplers for its graphs, which are not used: they belong to a sequence from the context's making on, build
// the graph anew whenever the columns change, bring out every row of a micro-batch of which one has no sampler, and find
// another token than the host does, where logits are equal or, in draws, near the border of two tokens.
void plan::add_choice(graph & to, const llama_seam_build & build, ggml_tensor * logits) {
    ggml_tensor * read[] = {logits, to.table};
    to.ids = ggml_custom_4d(build.ctx, GGML_TYPE_I64, eqk::choice_list::n_found(logits->ne[1]), 1, 1, 1, read, 2, choice_op,
                            GGML_N_TASKS_MAX, nullptr);
    if (!in_place) {
        with_launcher(to.ids, launch_choice);
    }
    ggml_set_name(to.ids, "equipoise_ids");
    ggml_set_output(to.ids);
    ggml_build_forward_expand(build.gf, to.ids);
}

void plan::lay_out(graph & to, const llama_seam_tokens & tokens) {
    const int64_t rows = to.rows;
    to.host_table.assign((size_t) to.table->ne[0], 0);
    to.table_of_group.assign(groups.size(), -1);
    if (to.ids) {
        int32_t * const words = to.host_table.data() + eqk::group_table::n_words(rows);
        words[0]              = (int32_t) std::min((int64_t) drawn.size(), rows);
        std::copy_n(drawn.begin(), words[0], words + 1);
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

    using eqk::group_table;
    int32_t * const group_words  = to.host_table.data() + 1;
    int32_t * const member_words = group_words + group_table::group_words * rows;
    int32_t * const float_words  = to.host_table.data() + group_table::first_float(rows);
    int32_t         n_groups     = 0;
    int32_t         n_members    = 0;
    for (size_t g = 0; g < groups.size(); g++) {
        if (row_of[g].empty() || std::count(row_of[g].begin(), row_of[g].end(), -1) > 0) {
            continue;
        }
        const int32_t n    = (int32_t) row_of[g].size();
        int32_t *     head = group_words + group_table::group_words * n_groups;
        head[0]            = n_members;
        head[1]            = n;
        head[2]            = groups[g].log_probabilities;
        for (int32_t b = 0; b < n; b++) {
            member_words[n_members + b] = row_of[g][(size_t) b];
            float_words[n_members + b]  = std::bit_cast<int32_t>(groups[g].coefficients[(size_t) b]);
        }
        float_words[rows + n_groups] = std::bit_cast<int32_t>(groups[g].plausibility);
        to.table_of_group[g]         = n_groups;
        n_members += n;
        n_groups++;
    }
    to.host_table[0] = n_groups;
}

// Slices are shared among the threads row by row; a slice's numbers are the same whoever computes them.
void plan::partials_op(ggml_tensor * dst, int ith, int nth, void *) {
    const ggml_tensor *         logits = dst->src[0];
    const eqk::group_table      table  = table_of(dst->src[1], logits->ne[1]);
    const eqk::group_statistics to     = statistics_of(dst, logits->ne[1]);
    const int32_t               first  = EQK_SLICES * ith / nth;
    const int32_t               last   = EQK_SLICES * (ith + 1) / nth;
    for (int32_t m = 0; m < table.members(); m++) {
        const int32_t row = table.member_rows()[m];
        const auto *  x   = reinterpret_cast<const float *>(static_cast<const char *>(logits->data) +
                                                         (size_t) row * logits->nb[1]);
        eqk_row_partials(x, logits->ne[0], first, last, to.partials(row));
    }
}

void plan::contrast_op(ggml_tensor * dst, int ith, int nth, void *) {
    // In place dst is a view of src[0]; otherwise every row has to be carried over first.
    const bool                  apart      = dst->view_src == nullptr;
    const ggml_tensor *         logits     = dst->src[0];
    const eqk::group_statistics statistics = statistics_of(dst->src[1], logits->ne[1]);
    const eqk::group_table      table      = table_of(dst->src[2], logits->ne[1]);
    const int64_t               n_vocab    = logits->ne[0];
    const int32_t               first      = EQK_SLICES * ith / nth;
    const int32_t               last       = EQK_SLICES * (ith + 1) / nth;
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
            eqk_row_reduce(statistics.partials(rows[b]), &row_max[(size_t) b], &row_lse[(size_t) b]);
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
        args.report            = statistics.report(g);
        args.n_branches        = head[1];
        args.log_probabilities = head[2];
        args.slice_first       = first;
        args.slice_last        = last;
        eqk_contrast(&args); // a failure stands in the report
    }
}

// A row is one thread's: what it could gain from another is lost again where they wait for each other.
void plan::choice_op(ggml_tensor * dst, int ith, int nth, void *) {
    const ggml_tensor *    logits = dst->src[0];
    const eqk::choice_list wanted = wanted_of(dst->src[1], logits->ne[1]);
    auto *                 ids    = static_cast<int64_t *>(dst->data);
    for (int32_t k = ith; k < wanted.count(); k += nth) {
        const auto * row = reinterpret_cast<const float *>(static_cast<const char *>(logits->data) +
                                                           (size_t) wanted.row(k) * logits->nb[1]);
        if (eqk_argmax(row, logits->ne[0], ids + k) != EQK_OK) {
            ids[k] = -1;
        }
    }
}

// What the graph left for the host, all at once: a device is waited for at every reading.
void plan::fetch() {
    best.clear();
    reports.clear();
    if (!ran) {
        return;
    }
    if (ran->ids && !drawn.empty()) {
        best.resize(std::min(drawn.size(), (size_t) ran->rows));
        ggml_backend_tensor_get(ran->ids, best.data(), 0, best.size() * sizeof(best[0]));
    }
    const auto n = (size_t) ran->host_table[0];
    if (n > 0) {
        reports.resize(n * eqk::group_statistics::row_bytes);
        ggml_backend_tensor_get(ran->statistics, reports.data(), 0, reports.size());
    }
}

plan::outcome plan::outcome_of(int32_t index) const {
    const int32_t at = ran ? ran->table_of_group[(size_t) index] : -1;
    EQ_REQUIRE(at >= 0, "group %d: its branches are not all outputs of this batch", index);

    eqk_contrast_partial report[EQK_SLICES];
    memcpy(report, reports.data() + eqk::group_statistics::report_offset(at), sizeof(report));
    outcome result;
    double  squared = 0;
    result.status   = eqk_contrast_reduce(report, &squared, &result.kept);
    result.delta_norm = std::sqrt(squared);
    return result;
}

} // namespace eq
