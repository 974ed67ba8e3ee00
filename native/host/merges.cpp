// Two sequences that become one at the output of a block: what is set, the nodes, and what they did.
#include "intervention_nodes.hpp"

#include "cuda_nodes.hpp"
#include "host.hpp"

#include "equipoise_edits.h"
#include "equipoise_kernels.h"

#include "ggml-backend.h"

#include <bit>
#include <cstring>

namespace eq {

void interventions::set_merge(int32_t first, int32_t second, int32_t layer) {
    EQ_REQUIRE(first >= 0 && first < is.sequences && second < is.sequences && first != second, "merge of %d and %d",
               first, second);
    book_due   = true;
    pair & own = merges[(size_t) first];
    if (second < 0) {
        if (own.second >= 0) {
            ends[(size_t) own.second] = -1;
        }
        own = {};
        books.clear_merged(first);
        return;
    }
    EQ_REQUIRE(layer >= 0 && layer < is.layers - 1, "merge at layer %d: choose one below the last, %d", layer,
               is.layers - 1);
    for (const pair & other : merges) {
        EQ_REQUIRE(other.second < 0 || other.first == first ||
                       (other.first != second && other.second != first && other.second != second),
                   "merge of %d and %d: one of them is in another merge, of %d and %d", first, second, other.first,
                   other.second);
    }
    require_seam(LLAMA_SEAM_LAYER_OUT, layer, "a merge");
    version += joins[(size_t) layer] == 0;
    joins[(size_t) layer] = 1;
    if (own.second >= 0) {
        ends[(size_t) own.second] = -1;
    }
    own                   = {first, second, layer, {}};
    books.clear_merged(first);
    ends[(size_t) second] = layer;
}

ggml_tensor * interventions::add_merge(graph & to, const llama_seam_build & build, ggml_tensor * cur, int il) {
    site & user = add_site(to.merges, to, LLAMA_SEAM_LAYER_OUT, il);
    user.rows   = ggml_new_tensor_2d(build.ctx, GGML_TYPE_F32, cur->ne[0], cur->ne[1]);
    ggml_set_input(user.rows);
    ggml_format_name(user.rows, "equipoise_ended-%d", il);
    if (const device_books::book * book = is.in_place ? nullptr : books.of(il)) {
        user.joint = ggml_new_tensor_1d(build.ctx, GGML_TYPE_I32, eqk::join_table::n_words(cur->ne[1]));
        ggml_set_input(user.joint);
        ggml_format_name(user.joint, "equipoise_joins-%d", il);
        ggml_tensor * read[] = {cur, user.rows, user.joint, book->merged};
        ggml_tensor * node   = editing_node(build.ctx, false, read, 4, merge_op, &user);
        ggml_format_name(node, "equipoise_merge-%d", il);
        return with_launcher(node, launch_merge);
    }
    ggml_tensor * read[] = {cur, user.rows};
    ggml_tensor * node   = editing_node(build.ctx, is.in_place, read, 2, merge_op, &user);
    ggml_format_name(node, "equipoise_merge-%d", il);
    return node;
}

// A copy, because nodes behind may write over what they are given. It is read when the graph has run.
ggml_tensor * interventions::add_end(graph & to, const llama_seam_build & build, ggml_tensor * cur, int il) {
    if (il <= last_block) {
        to.ends.push_back({il, ggml_cont(build.ctx, cur)});
        ggml_format_name(to.ends.back().rows, "equipoise_end-%d", il);
        ggml_set_output(to.ends.back().rows);
        ggml_build_forward_expand(build.gf, to.ends.back().rows);
    }
    return cur;
}

void interventions::lay_out_merge(site & at, const graph & of) {
    at.joins.clear();
    for (const pair & join : merges) {
        if (join.second < 0 || join.layer != at.il || join.rows.empty()) {
            continue;
        }
        ggml_backend_tensor_set(at.rows, join.rows.data(), at.joins.size() * at.rows->nb[1],
                                join.rows.size() * sizeof(float));
        for (size_t i = 0; i < of.sequences.size(); i++) {
            if (of.sequences[i] == join.first) {
                at.joins.push_back({(int32_t) i, batch->merge_weights ? batch->merge_weights[(*running)[i]] : 0.5f, 0});
            }
        }
    }
    if (!at.joint || !at.joint->buffer) {
        return;
    }
    at.host_joint.assign((size_t) at.joint->ne[0], -1);
    for (size_t j = 0; j < at.joins.size(); j++) {
        int32_t * const to = at.host_joint.data() + eqk::join_table::join_words * at.joins[j].column;
        to[0]              = (int32_t) j;
        to[1]              = std::bit_cast<int32_t>(at.joins[j].weight);
        to[2]              = of.sequences[(size_t) at.joins[j].column];
    }
    ggml_backend_tensor_set(at.joint, at.host_joint.data(), 0, ggml_nbytes(at.joint));
}

void interventions::launch_merge(ggml_tensor * dst, void * stream) {
    const ggml_tensor * src  = dst->src[0];
    const ggml_tensor * rows = dst->src[1];
    eqk_merges_args     args = {};
    args.in                  = static_cast<const float *>(src->data);
    args.out                 = static_cast<float *>(dst->data);
    args.rows                = static_cast<const float *>(rows->data);
    args.joins               = static_cast<const int32_t *>(dst->src[2]->data);
    args.deltas              = static_cast<double *>(dst->src[3]->data);
    args.in_column           = (int64_t) (src->nb[1] / sizeof(float));
    args.out_column          = (int64_t) (dst->nb[1] / sizeof(float));
    args.row_stride          = (int64_t) (rows->nb[1] / sizeof(float));
    args.width               = (int32_t) dst->ne[0];
    args.n_columns           = (int32_t) dst->ne[1];
    note_launch(eqk_cuda_merges(&args, stream));
}

void interventions::merge_op(ggml_tensor * dst, int ith, int nth, void * user) {
    auto & at = *static_cast<site *>(user);
    for (int64_t c = ith; !dst->view_src && c < dst->ne[1]; c += nth) {
        memcpy(column_of(dst, 1, c), column_of(dst->src[0], 1, c), (size_t) dst->ne[0] * sizeof(float));
    }
    for (size_t j = 0; j < at.joins.size(); j++) {
        site::join & join = at.joins[j];
        if (join.column % nth == ith) {
            eqk_merge(column_of(dst, 1, join.column), column_of(dst->src[1], 1, (int64_t) j), dst->ne[0], join.weight,
                      &join.delta);
        }
    }
}

void interventions::take_rows(const graph & from) {
    for (const graph::end & at : from.ends) {
        for (pair & join : merges) {
            if (join.second < 0 || join.layer != at.il) {
                continue;
            }
            for (size_t i = 0; i < from.sequences.size(); i++) {
                if (from.sequences[i] == join.second) {
                    join.rows.resize(join.rows.size() + (size_t) is.width);
                    ggml_backend_tensor_get(at.rows, join.rows.data() + join.rows.size() - (size_t) is.width,
                                            i * at.rows->nb[1], (size_t) is.width * sizeof(float));
                }
            }
        }
    }
}

void interventions::merge_report(int32_t first, eq_intervention_report * report) const {
    EQ_REQUIRE(first >= 0 && first < is.sequences && report, "eq_merge_report: no sequence %d, or a null pointer", first);
    const pair & own = merges[(size_t) first];
    EQ_REQUIRE(own.second >= 0, "sequence %d is the first of no merge", first);
    *report = {own.columns, own.columns, own.delta + books.merged(first)};
}

} // namespace eq
