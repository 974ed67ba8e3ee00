// The nodes that interventions put into a graph, what they are told before it runs, and what those on hidden states and
// masks do.
#include "intervention_nodes.hpp"

#include "cuda_nodes.hpp"
#include "host.hpp"

#include "equipoise_edits.h"
#include "equipoise_kernels.h"

#include "ggml-backend.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

namespace eq {

interventions::graph * interventions::make_graph() {
    auto made = std::make_unique<graph>();
    made->outs.assign((size_t) is.layers, nullptr);
    return made.release();
}

void interventions::free_graph(graph * dead) {
    if (ran == dead) {
        ran = nullptr;
    }
    delete dead;
}

// What the model's graph turns out to have, seen while one is built.
void interventions::note_fired(llama_seam_point point, const llama_seam_build & build, const ggml_tensor * cur, int il) {
    uint8_t & count = fired[index_of(is.layers, point, il)];
    switch (point) {
        case LLAMA_SEAM_INP_EMBD:
            // The first seam of a graph: what counts is how often it has each of the others.
            for (const llama_seam_point each : {LLAMA_SEAM_ATTN_OUT, LLAMA_SEAM_FFN_OUT, LLAMA_SEAM_NORM_OUT}) {
                for (int32_t layer = 0; layer < is.layers; layer++) {
                    fired[index_of(is.layers, each, layer)] = 0;
                }
            }
            count = cur->type == GGML_TYPE_F32;
            break;
        case LLAMA_SEAM_ATTN_MASK: count = cur->ne[2] == 1 && cur->ne[3] == 1; break;
        case LLAMA_SEAM_QUERIES:
            count                    = cur->type == GGML_TYPE_F32;
            heads[(size_t) il] = (int32_t) cur->ne[1];
            break;
        case LLAMA_SEAM_ATTN_OUT:
        case LLAMA_SEAM_FFN_OUT:
        case LLAMA_SEAM_NORM_OUT: {
            // Norms of single heads are narrower, or have a dimension more.
            const bool columns = cur->ne[1] == build.n_tokens || cur->ne[1] == build.n_outputs;
            count += cur->type == GGML_TYPE_F32 && cur->ne[0] == is.width && columns && cur->ne[2] == 1;
            break;
        }
        default: count = cur->type == GGML_TYPE_F32;
    }
}

ggml_tensor * interventions::apply(graph & to, const llama_seam_build & build, llama_seam_point point, ggml_tensor * cur,
                                   int il) {
    if (point == LLAMA_SEAM_LOGITS) {
        return add_exits(to, build, cur);
    }
    if (il >= is.layers || (il < 0) != (point == LLAMA_SEAM_INP_EMBD)) {
        return cur; // layers beyond the model's own, and the norm of its head
    }
    note_fired(point, build, cur, il);
    const uint8_t nth = fired[index_of(is.layers, point, il)];
    switch (point) {
        case LLAMA_SEAM_ATTN_MASK:
            follow_cache(to, build);
            to.mask = cur;
            if (to.at && sinks[(size_t) il]) {
                add_sinks(to, build, il);
            }
            return to.at && wanted(point, il) ? add_mask(to, build, cur, il) : cur;
        case LLAMA_SEAM_SCORES:
        case LLAMA_SEAM_WEIGHTS: return to.at && wanted(point, il) ? add_rows(to, build, point, cur, il) : cur;
        case LLAMA_SEAM_LAYER_OUT:
            if (wanted(point, il)) {
                cur = add_columns(to, build, point, cur, il, is.in_place);
            }
            if (joins[(size_t) il]) {
                cur = last_block < 0 ? add_merge(to, build, cur, il) : add_end(to, build, cur, il);
            }
            to.outs[(size_t) il] = cur;
            to.residual          = cur;
            return cur;
        case LLAMA_SEAM_INP_EMBD:
            cur         = wanted(point, il) ? add_columns(to, build, point, cur, il, false) : cur;
            to.residual = cur;
            to.input    = cur;
            return cur;
        default: {
            const bool shown = nth > 0 && (point == LLAMA_SEAM_QUERIES || cur->ne[0] == is.width);
            if (!shown || !wanted(point, il)) {
                return cur;
            }
            cur                    = add_columns(to, build, point, cur, il, false);
            to.sites.back()->again = point == LLAMA_SEAM_NORM_OUT && nth > 1;
            return cur;
        }
    }
}

interventions::site & interventions::add_site(graph & to, llama_seam_point point, int il) {
    auto made   = std::make_unique<site>();
    made->owner = this;
    made->of    = &to;
    made->point = point;
    made->il    = il;
    to.sites.push_back(std::move(made));
    return *to.sites.back();
}

ggml_tensor * interventions::add_columns(graph & to, const llama_seam_build & build, llama_seam_point point,
                                         ggml_tensor * cur, int il, bool overwrite) {
    site & user    = add_site(to, point, il);
    user.by_output = cur->ne[point == LLAMA_SEAM_QUERIES ? 2 : 1] != build.n_tokens;
    if (const device_books::book * book = is.in_place ? nullptr : books.of(il)) {
        ggml_tensor * read[] = {cur, tokens_of(to, build), book->words, book->vectors, book->deltas, book->sums.tensor};
        ggml_tensor * node   = ggml_custom_4d(build.ctx, GGML_TYPE_F32, cur->ne[0], cur->ne[1], cur->ne[2], 1, read, 6,
                                              columns_op, GGML_N_TASKS_MAX, &user);
        ggml_format_name(node, "equipoise_columns-%d-%d", (int) point, il);
        return with_launcher(node, launch_columns);
    }
    ggml_tensor * node =
        overwrite ? ggml_custom_inplace(build.ctx, cur, nullptr, 0, columns_op, GGML_N_TASKS_MAX, &user)
                  : ggml_custom_4d(build.ctx, GGML_TYPE_F32, cur->ne[0], cur->ne[1], cur->ne[2], 1, &cur, 1, columns_op,
                                   GGML_N_TASKS_MAX, &user);
    ggml_format_name(node, "equipoise_columns-%d-%d", (int) point, il);
    return node;
}

// What says which edits act on each token: one input for all nodes on devices.
ggml_tensor * interventions::tokens_of(graph & to, const llama_seam_build & build) {
    if (!to.tokens) {
        to.n_tokens  = build.n_tokens;
        to.n_outputs = build.n_outputs;
        to.tokens    = ggml_new_tensor_1d(build.ctx, GGML_TYPE_I32,
                                          eqk::token_table::n_words(build.n_tokens, build.n_outputs));
        ggml_set_name(to.tokens, "equipoise_tokens");
        ggml_set_input(to.tokens);
    }
    return to.tokens;
}

ggml_tensor * interventions::add_merge(graph & to, const llama_seam_build & build, ggml_tensor * cur, int il) {
    auto made   = std::make_unique<site>();
    made->owner = this;
    made->of    = &to;
    made->point = LLAMA_SEAM_LAYER_OUT;
    made->il    = il;
    made->rows  = ggml_new_tensor_2d(build.ctx, GGML_TYPE_F32, cur->ne[0], cur->ne[1]);
    ggml_set_input(made->rows);
    ggml_format_name(made->rows, "equipoise_ended-%d", il);
    to.merges.push_back(std::move(made));
    site *        user   = to.merges.back().get();
    if (const device_books::book * book = is.in_place ? nullptr : books.of(il)) {
        user->joint = ggml_new_tensor_1d(build.ctx, GGML_TYPE_I32, eqk::join_table::n_words(cur->ne[1]));
        ggml_set_input(user->joint);
        ggml_format_name(user->joint, "equipoise_joins-%d", il);
        ggml_tensor * from[] = {cur, user->rows, user->joint, book->merged};
        ggml_tensor * node   = ggml_custom_4d(build.ctx, GGML_TYPE_F32, cur->ne[0], cur->ne[1], 1, 1, from, 4, merge_op,
                                              GGML_N_TASKS_MAX, user);
        ggml_format_name(node, "equipoise_merge-%d", il);
        return with_launcher(node, launch_merge);
    }
    ggml_tensor * read[] = {cur, user->rows};
    ggml_tensor * node =
        is.in_place ? ggml_custom_inplace(build.ctx, cur, read + 1, 1, merge_op, GGML_N_TASKS_MAX, user)
                    : ggml_custom_4d(build.ctx, GGML_TYPE_F32, cur->ne[0], cur->ne[1], 1, 1, read, 2, merge_op,
                                     GGML_N_TASKS_MAX, user);
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

// Remembers the cache whose mask is at hand, with a node that notes which cells the tokens went to, when any attention
// is edited. Caches are told apart by the order in which layers use them, so that each keeps its ledger from graph to
// graph.
void interventions::follow_cache(graph & to, const llama_seam_build & build) {
    to.at = nullptr;
    if (!wants_attention()) {
        return;
    }
    for (const auto & known : to.caches) {
        if (known->cells == build.cells) {
            to.at = known.get();
            return;
        }
    }
    to.caches.push_back(
        std::make_unique<graph::cache>(graph::cache{this, &to, build.cells, nullptr, to.caches.size()}));
    to.at = to.caches.back().get();
    if (to.at->index == ledgers.size()) {
        ledgers.push_back({std::vector<uint8_t>((size_t) cells, 0), std::vector<int32_t>((size_t) cells, -1),
                           std::vector<std::vector<float>>((size_t) is.layers)});
    }
    ggml_tensor * read = build.cells;
    // One task: beside a device, threads are started for a split of the graph as its nodes ask for them.
    to.at->written = ggml_custom_4d(build.ctx, GGML_TYPE_F32, 1, 1, 1, 1, &read, 1, ledger_op, 1, to.at);
    ggml_format_name(to.at->written, "equipoise_ledger-%zu", to.at->index);
    ggml_build_forward_expand(build.gf, to.at->written);
    // It needs nothing that the graph computes, and stands first: with blocks on a device, the start of a graph is the
    // CPU's anyway, and here it would cut the device's part in two.
    ggml_tensor ** const nodes = ggml_graph_nodes(build.gf);
    std::rotate(nodes, nodes + ggml_graph_n_nodes(build.gf) - 1, nodes + ggml_graph_n_nodes(build.gf));
    // Every graph keeps them up to date, also one whose own layers need none.
    for (ggml_tensor * labels : books.ledgers_of(to.at->index)) {
        ggml_build_forward_expand(build.gf, written_on_device(to, build, labels));
    }
}

ggml_tensor * interventions::add_mask(graph & to, const llama_seam_build & build, ggml_tensor * mask, int il) {
    site & user = add_site(to, LLAMA_SEAM_ATTN_MASK, il);
    user.cache  = to.at->index;
    ggml_tensor * read[] = {mask, to.at->written};
    const int64_t each   = head_masks[(size_t) il] ? heads[(size_t) il] : 1;
    // A mask for each head takes attention off CUDA anyway.
    ggml_tensor * labels =
        is.in_place || each > 1 ? nullptr : books.ledger_of(il, user.cache, ledgers[user.cache].labels);
    if (const device_books::book * book = labels ? books.of(il) : nullptr) {
        ggml_tensor * from[] = {mask, tokens_of(to, build), book->words, labels, book->deltas,
                                written_on_device(to, build, labels)};
        ggml_tensor * node   = ggml_custom_4d(build.ctx, mask->type, mask->ne[0], mask->ne[1], 1, 1, from, 6, mask_op,
                                              GGML_N_TASKS_MAX, &user);
        ggml_format_name(node, "equipoise_mask-%d", il);
        return with_launcher(node, launch_mask);
    }
    ggml_tensor * node   = ggml_custom_4d(build.ctx, mask->type, mask->ne[0], mask->ne[1], each, 1, read, 2, mask_op,
                                          GGML_N_TASKS_MAX, &user);
    ggml_format_name(node, "equipoise_mask-%d", il);
    return node;
}

// The node that notes the tokens in labels on a device, where this graph's masks wait for it.
ggml_tensor * interventions::written_on_device(graph & to, const llama_seam_build & build, ggml_tensor * labels) {
    for (const auto & [known, written] : to.at->on_devices) {
        if (known == labels) {
            return written;
        }
    }
    ggml_tensor * read[] = {to.at->cells, tokens_of(to, build), labels};
    ggml_tensor * node =
        ggml_custom_4d(build.ctx, GGML_TYPE_F32, 1, 1, 1, 1, read, 3, device_ledger_op, GGML_N_TASKS_MAX, &to);
    ggml_format_name(node, "equipoise_device_ledger-%zu", to.at->index);
    to.at->on_devices.emplace_back(labels, with_launcher(node, launch_ledger));
    return node;
}

void interventions::launch_ledger(ggml_tensor * dst, void * stream) {
    eqk_ledger_args args = {};
    args.cells           = static_cast<const int64_t *>(dst->src[0]->data);
    args.tokens          = static_cast<const int32_t *>(dst->src[1]->data);
    args.labels          = static_cast<uint8_t *>(dst->src[2]->data);
    args.n_tokens        = static_cast<const graph *>(user_of(dst))->n_tokens;
    args.n_cells         = (int32_t) dst->src[2]->ne[0];
    note_launch(eqk_cuda_ledger(&args, stream));
}

// Should a scheduler ever leave the node to the CPU, its copy of the labels is nobody's: masks there read the ledger of
// the host, which a node of its own has written.
void interventions::device_ledger_op(ggml_tensor *, int, int, void *) {}

void interventions::launch_mask(ggml_tensor * dst, void * stream) {
    const auto &        at   = *static_cast<const site *>(user_of(dst));
    const ggml_tensor * src  = dst->src[0];
    eqk_mask_args       args = {};
    args.in                  = src->data;
    args.out                 = dst->data;
    args.tokens              = static_cast<const int32_t *>(dst->src[1]->data);
    args.book                = static_cast<const int32_t *>(dst->src[2]->data);
    args.labels              = static_cast<const uint8_t *>(dst->src[3]->data);
    args.deltas              = static_cast<double *>(dst->src[4]->data);
    args.in_column           = (int64_t) src->nb[1];
    args.out_column          = (int64_t) dst->nb[1];
    args.n_keys              = (int32_t) dst->ne[0];
    args.n_columns           = (int32_t) dst->ne[1];
    args.half                = dst->type == GGML_TYPE_F16;
    args.n_tokens            = at.of->n_tokens;
    args.n_cells             = (int32_t) dst->src[3]->ne[0];
    args.n_sequences         = at.owner->is.sequences;
    args.n_layers            = at.owner->is.layers;
    args.point               = at.point;
    args.layer               = at.il;
    note_launch(eqk_cuda_mask(&args, stream));
}

void interventions::lay_out(graph & to, const llama_seam_tokens & tokens) {
    if (to.sites.empty() && to.merges.empty() && to.caches.empty() && to.ends.empty()) {
        return;
    }
    const size_t n = (size_t) tokens.n_tokens;
    EQ_REQUIRE(batch && running && running->size() == n, "%zu columns were split", running ? running->size() : 0);
    to.labels.resize(n);
    to.numbers.resize(n);
    to.sequences.resize(n);
    to.active.resize(n);
    to.output_of.resize(n);
    int32_t outputs = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t column = (*running)[i];
        to.labels[i]    = batch->labels ? (uint8_t) batch->labels[column] : 0;
        to.numbers[i]   = batch->columns ? batch->columns[column] : -1;
        to.sequences[i] = tokens.seq_id[i][0];
        to.active[i]    = batch->active ? batch->active[column] : 0;
        to.output_of[i] = tokens.output[i] ? outputs++ : -1;
    }
    for (const auto & at : to.sites) {
        lay_out_site(*at, to);
        if (at->exits && at->exits->buffer) {
            ggml_backend_tensor_set(at->exits, at->layers.data(), 0, ggml_nbytes(at->exits));
        }
    }
    for (const auto & at : to.merges) {
        lay_out_merge(*at, to);
    }
    lay_out_device(to);
    ran = &to;
}

void interventions::lay_out_device(graph & to) {
    if (!to.tokens || !to.tokens->buffer) {
        return;
    }
    books.upload();
    to.host_tokens.assign((size_t) eqk::token_table::n_words(to.n_tokens, to.n_outputs), 0);
    int32_t * const outputs = to.host_tokens.data() + eqk::token_table::token_words * to.n_tokens;
    for (size_t i = 0; i < to.active.size(); i++) {
        const uint64_t  active = to.active[i];
        int32_t * const at     = to.host_tokens.data() + eqk::token_table::token_words * i;
        at[0]                  = to.sequences[i] < is.sequences ? to.sequences[i] : -1;
        at[1]                  = (int32_t) (uint32_t) active;
        at[2]                  = (int32_t) (uint32_t) (active >> 32);
        at[3]                  = to.labels[i];
        if (to.output_of[i] >= 0) {
            outputs[to.output_of[i]] = (int32_t) i;
        }
    }
    ggml_backend_tensor_set(to.tokens, to.host_tokens.data(), 0, ggml_nbytes(to.tokens));
}

void interventions::launch_columns(ggml_tensor * dst, void * stream) {
    const auto &        at        = *static_cast<const site *>(user_of(dst));
    const ggml_tensor * src       = dst->src[0];
    const int           dimension = at.point == LLAMA_SEAM_QUERIES ? 2 : 1;
    eqk_columns_args    args      = {};
    args.in                       = static_cast<const float *>(src->data);
    args.out                      = static_cast<float *>(dst->data);
    args.tokens                   = static_cast<const int32_t *>(dst->src[1]->data);
    args.book                     = static_cast<const int32_t *>(dst->src[2]->data);
    args.vectors                  = static_cast<const float *>(dst->src[3]->data);
    args.deltas                   = static_cast<double *>(dst->src[4]->data);
    args.sums                     = static_cast<double *>(dst->src[5]->data);
    args.in_column                = (int64_t) (src->nb[dimension] / sizeof(float));
    args.in_row                   = (int64_t) (src->nb[1] / sizeof(float));
    args.out_column               = (int64_t) (dst->nb[dimension] / sizeof(float));
    args.width                    = (int32_t) dst->ne[0];
    args.rows                     = dimension == 2 ? (int32_t) dst->ne[1] : 1;
    args.n_columns                = (int32_t) dst->ne[dimension];
    args.n_tokens                 = at.of->n_tokens;
    args.by_output                = at.by_output;
    args.n_sequences              = at.owner->is.sequences;
    args.n_layers                 = at.owner->is.layers;
    args.point                    = at.point;
    args.layer                    = at.il;
    note_launch(eqk_cuda_columns(&args, stream));
}

void interventions::lay_out_site(site & at, const graph & of) {
    at.applications.clear();
    if (!batch->active) {
        return;
    }
    for (size_t i = 0; i < of.sequences.size(); i++) {
        const uint64_t active = batch->active[(*running)[i]];
        const int32_t  column = at.by_output ? of.output_of[i] : (int32_t) i;
        const int32_t  end    = ends_at(of.sequences[i]);
        if (active == 0 || column < 0 || (end >= 0 && (at.il > end || at.point == LLAMA_SEAM_LOGITS))) {
            continue;
        }
        auto & list = items[(size_t) of.sequences[i]];
        for (size_t k = 0; k < list.size(); k++) {
            item & what = list[k];
            if ((active >> k & 1) && what.acts(at.point, at.il)) {
                const size_t  each    = what.vectors.empty() ? 0 : (size_t) is.width * (rotates(what.kind) ? 2 : 1);
                const float * vectors = each == 0 ? nullptr
                                                  : what.vectors.data() + each * what.slot(at.il);
                at.applications.push_back({column, (int32_t) i, &what, vectors, 0, 0});
            }
        }
    }
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

template <typename Item> static void scale_heads(float * x, int64_t n_heads, int64_t width, const Item & what, double * delta) {
    double squared = 0;
    for (int64_t h = 0; h < n_heads; h++) {
        if (what.at(h)) {
            double change = 0;
            eqk_scale(x + h * width, width, what.amount, &change);
            squared += change * change;
        }
    }
    *delta = std::sqrt(squared);
}

// A column belongs to one thread, whatever acts on it.
void interventions::columns_op(ggml_tensor * dst, int ith, int nth, void * user) {
    auto &              at        = *static_cast<site *>(user);
    const ggml_tensor * src       = dst->src[0];
    const int64_t       dimension = at.point == LLAMA_SEAM_QUERIES ? 2 : 1;
    const int64_t       rows      = dimension == 2 ? dst->ne[1] : 1; // heads
    const int64_t       width     = dst->ne[0];
    if (!dst->view_src) {
        for (int64_t c = ith; c < dst->ne[dimension]; c += nth) {
            for (int64_t r = 0; r < rows; r++) {
                memcpy(column_of(dst, dimension, c) + r * width,
                       reinterpret_cast<const char *>(column_of(src, dimension, c)) + (size_t) r * src->nb[1],
                       (size_t) width * sizeof(float));
            }
        }
    }
    for (site::application & act : at.applications) {
        if (act.column % nth != ith) {
            continue;
        }
        float * x = column_of(dst, dimension, act.column);
        switch (act.what->kind) {
            case EQ_QUERY_SCALE: scale_heads(x, rows, width, *act.what, &act.delta); break;
            case EQ_SILENCE:
            case EQ_MUTE:        eqk_scale(x, width, 0, &act.delta); break;
            case EQ_STATES_READ: {
                const std::lock_guard hold(at.owner->reading);
                item::view &          seen = act.what->views[act.what->slot(at.il)];
                seen.count++;
                for (int64_t d = 0; d < width; d++) {
                    seen.sums[(size_t) d] += x[d];
                }
                break;
            }
            default:
                eqk_steer(act.what->kind, x, act.vectors, rotates(act.what->kind) ? act.vectors + width : nullptr, width,
                          act.what->amount, &act.delta);
        }
    }
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

void interventions::ledger_op(ggml_tensor * dst, int ith, int, void * user) {
    if (ith != 0) {
        return; // every thread of the graph calls
    }
    const auto & at     = *static_cast<const graph::cache *>(user);
    const auto * cells  = static_cast<const int64_t *>(dst->src[0]->data);
    ledger &     to     = at.owner->ledgers[at.index];
    for (size_t i = 0; i < at.of->labels.size(); i++) {
        to.labels[(size_t) cells[i]]  = at.of->labels[i];
        to.numbers[(size_t) cells[i]] = at.of->numbers[i];
    }
}

// Keys are shared among the threads, so that one token's long row is too.
void interventions::mask_op(ggml_tensor * dst, int ith, int nth, void * user) {
    auto &               at     = *static_cast<site *>(user);
    const ggml_tensor *  src    = dst->src[0];
    const auto &         labels_of = at.owner->ledgers[at.cache].labels;
    const int64_t        first  = dst->ne[0] * ith / nth;
    const int64_t        last   = dst->ne[0] * (ith + 1) / nth;
    const size_t         each   = ggml_type_size(dst->type);
    for (int64_t h = 0; h < dst->ne[2]; h++) {
        for (int64_t c = 0; c < dst->ne[1]; c++) {
            memcpy(static_cast<char *>(dst->data) + (size_t) h * dst->nb[2] + (size_t) c * dst->nb[1] + (size_t) first * each,
                   static_cast<const char *>(src->data) + (size_t) c * src->nb[1] + (size_t) first * each,
                   (size_t) (last - first) * each);
        }
    }
    for (site::application & act : at.applications) {
        const uint64_t labels = act.what->labels;
        const float    bias   = act.what->amount;
        int64_t        keys   = 0; // of one head
        for (int64_t h = 0; h < dst->ne[2]; h++) {
            if (!act.what->at(h)) {
                continue;
            }
            char * const row = static_cast<char *>(dst->data) + (size_t) h * dst->nb[2] + (size_t) act.column * dst->nb[1];
            keys             = 0;
            for (int64_t j = first; j < last; j++) {
                if (!(labels >> labels_of[(size_t) j] & 1)) {
                    continue;
                }
                if (dst->type == GGML_TYPE_F16) {
                    auto *      mask = reinterpret_cast<ggml_fp16_t *>(row) + j;
                    const float was  = ggml_fp16_to_fp32(*mask);
                    if (was > -INFINITY) {
                        *mask = ggml_fp32_to_fp16(was + bias);
                        keys++;
                    }
                } else {
                    auto * mask = reinterpret_cast<float *>(row) + j;
                    keys += *mask > -INFINITY;
                    *mask += bias;
                }
            }
        }
        std::atomic_ref(act.keys).fetch_add(keys, std::memory_order_relaxed);
    }
}

} // namespace eq
