// The nodes on attention scores and weights, and on what makes a key a sink.
#include "intervention_nodes.hpp"

#include "cuda_nodes.hpp"

#include "equipoise_edits.h"
#include "equipoise_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace eq {

namespace {

// Numbers in the rows of a node; behind them, at the next whole double, lies room for eqk_attention_args.changes.
int64_t changes_at(const ggml_tensor * kq) { return (kq->ne[0] * kq->ne[1] * kq->ne[2] + 1) / 2 * 2; }

// In float32, as ggml counts.
int64_t changes_size(const ggml_tensor * kq) {
    constexpr int64_t of_a_row = sizeof(double) / sizeof(float) * eqk::most_edits;
    return of_a_row * kq->ne[1] * kq->ne[2];
}

} // namespace

void visible(const ggml_tensor * mask, int64_t column, const std::vector<uint8_t> & labels, std::vector<uint8_t> & keys) {
    const char * row = static_cast<const char *>(mask->data) + (size_t) column * mask->nb[1];
    keys.resize((size_t) mask->ne[0]);
    for (size_t j = 0; j < keys.size(); j++) {
        const float bias = mask->type == GGML_TYPE_F16 ? ggml_fp16_to_fp32(reinterpret_cast<const ggml_fp16_t *>(row)[j])
                                                       : reinterpret_cast<const float *>(row)[j];
        keys[j]          = bias > -INFINITY ? labels[j] : (uint8_t) EQK_NO_KEY;
    }
}

// cur is [n_kv, n_tokens, n_head].
ggml_tensor * interventions::add_rows(graph & to, const llama_seam_build & build, llama_seam_point point, ggml_tensor * cur,
                                      int il) {
    site & user          = add_site(to.sites, to, point, il);
    user.cache           = to.at->index;
    const bool sunk      = point == LLAMA_SEAM_WEIGHTS && sinks[(size_t) il];
    if (cur->ne[2] == heads[(size_t) il] && (!sunk || to.sinkness) && rows_on_device(to, point, il)) {
        return add_rows_on_device(to, build, point, cur, user);
    }
    ggml_tensor * read[] = {cur, to.mask, to.at->written, to.sunk};
    const int32_t n_read = sunk ? 4 : 3;
    ggml_tensor * node   = editing_node(build.ctx, is.in_place, read, n_read, rows_op, &user);
    ggml_format_name(node, "equipoise_rows-%d-%d", (int) point, il);
    return node;
}

// Whether rows of a layer are edited on its device, where what that needs is then there.
bool interventions::rows_on_device(const graph & to, llama_seam_point point, int il) {
    return !is.in_place && !watched[index_of(is.layers, point, il)] &&
           books.ledger_of(il, to.at->index, ledgers[to.at->index].labels) && books.of(il);
}

ggml_tensor * interventions::add_rows_on_device(graph & to, const llama_seam_build & build, llama_seam_point point,
                                                ggml_tensor * cur, site & user) {
    const int                  il     = user.il;
    const device_books::book * book   = books.of(il);
    ggml_tensor *              labels = books.ledger_of(il, user.cache, ledgers[user.cache].labels);
    const bool                 sunk   = point == LLAMA_SEAM_WEIGHTS && sinks[(size_t) il];
    const int64_t              plane  = cur->ne[0] * cur->ne[1];
    const int64_t              planes = (changes_at(cur) + changes_size(cur) + plane - 1) / plane;
    // Sinks have been noted after labels.
    ggml_tensor * noted  = sunk ? to.sunk : written_on_device(to, build, labels);
    ggml_tensor * read[] = {cur,          to.mask, tokens_of(to, build), book->words, book->vectors,
                            book->deltas, labels,  noted,                to.sinkness};
    ggml_tensor * node   = ggml_custom_4d(build.ctx, GGML_TYPE_F32, cur->ne[0], cur->ne[1], planes, 1, read, sunk ? 9 : 8,
                                          rows_op, GGML_N_TASKS_MAX, &user);
    ggml_format_name(node, "equipoise_rows-%d-%d", (int) point, il);
    with_launcher(node, launch_rows);
    return ggml_view_3d(build.ctx, node, cur->ne[0], cur->ne[1], cur->ne[2], node->nb[1], node->nb[2], 0);
}

void interventions::launch_rows(ggml_tensor * dst, void * stream) {
    const auto &        at   = *static_cast<const site *>(user_of(dst));
    const ggml_tensor * src  = dst->src[0];
    const ggml_tensor * mask = dst->src[1];
    eqk_attention_args  args = {};
    args.in                  = static_cast<const float *>(src->data);
    args.out                 = static_cast<float *>(dst->data);
    args.mask                = mask->data;
    args.tokens              = static_cast<const int32_t *>(dst->src[2]->data);
    args.book                = static_cast<const int32_t *>(dst->src[3]->data);
    args.vectors             = static_cast<const float *>(dst->src[4]->data);
    args.deltas              = static_cast<double *>(dst->src[5]->data);
    args.labels              = static_cast<const uint8_t *>(dst->src[6]->data);
    args.sinkness            = dst->src[8] ? static_cast<const float *>(dst->src[8]->data) : nullptr;
    args.changes             = reinterpret_cast<double *>(args.out + changes_at(src));
    args.in_column           = (int64_t) (src->nb[1] / sizeof(float));
    args.in_head             = (int64_t) (src->nb[2] / sizeof(float));
    args.mask_column         = (int64_t) mask->nb[1];
    args.n_keys              = (int32_t) src->ne[0];
    args.n_tokens            = (int32_t) src->ne[1];
    args.n_heads             = (int32_t) src->ne[2];
    args.half                = mask->type == GGML_TYPE_F16;
    args.n_cells             = (int32_t) dst->src[6]->ne[0];
    args.n_sequences         = at.owner->is.sequences;
    args.n_layers            = at.owner->is.layers;
    args.point               = at.point;
    args.layer               = at.il;
    note_launch(eqk_cuda_attention(&args, stream));
}

void interventions::read_weights(item & what, const site & at, const ggml_tensor * kq, int32_t column,
                                 const uint8_t * keys) {
    const int64_t n       = kq->ne[0];
    const int64_t n_heads = kq->ne[2];
    const auto &  numbers = ledgers[at.cache].numbers;
    const int32_t number  = numbers.empty() ? -1 : at.of->numbers[(size_t) column];

    const std::lock_guard hold(reading);
    item::view &          seen   = what.views[(size_t) what.slot_of_layer[(size_t) at.il]];
    const bool            latest = number >= seen.latest;
    if (latest) {
        seen.latest = number;
        seen.rows.resize((size_t) n_heads);
        for (std::vector<float> & row : seen.rows) {
            row.assign(row.size(), 0);
        }
    }
    seen.count++;
    for (int64_t h = 0; h < n_heads; h++) {
        if (!what.at(h)) {
            continue;
        }
        const float *        w   = row_of(kq, column, h);
        std::vector<float> & row = seen.rows[(size_t) h];
        eqk_weights_mass(w, keys, n, seen.sums.data() + h * n_labels);
        for (int64_t j = 0; latest && j < n; j++) {
            const int32_t of = numbers[(size_t) j];
            if (keys[j] == EQK_NO_KEY || of < 0) {
                continue;
            }
            if ((size_t) of >= row.size()) {
                row.resize((size_t) of + 1, 0);
            }
            row[(size_t) of] = w[j];
        }
    }
}

// A query belongs to one thread with all its heads.
void interventions::rows_op(ggml_tensor * dst, int ith, int nth, void * user) {
    auto &              at   = *static_cast<site *>(user);
    const ggml_tensor * src  = dst->src[0];
    const ggml_tensor * mask = dst->src[1];
    const ledger &      of   = at.owner->ledgers[at.cache];
    const int64_t       n    = dst->ne[0];
    const int64_t       all  = src->ne[2]; // heads; a node for a device has room behind them
    for (int64_t c = ith; !dst->view_src && c < dst->ne[1]; c += nth) {
        for (int64_t h = 0; h < all; h++) {
            memcpy(row_of(dst, c, h), row_of(src, c, h), (size_t) n * sizeof(float));
        }
    }
    thread_local std::vector<uint8_t> keys;
    int32_t                           shown = -1;
    for (site::application & act : at.applications) {
        if (act.column % nth != ith) {
            continue;
        }
        if (shown != act.column) {
            visible(mask, act.column, of.labels, keys);
            shown = act.column;
        }
        item & what = *act.what;
        if (what.kind == EQ_WEIGHTS_READ) {
            at.owner->read_weights(what, at, dst, act.column, keys.data());
            continue;
        }
        double squared = 0;
        for (int64_t h = 0; h < all; h++) {
            if (!what.at(h)) {
                continue;
            }
            float * row    = row_of(dst, act.column, h);
            double  change = 0;
            switch (what.kind) {
                case EQ_SCORES_RAISE: eqk_scores_raise(row, keys.data(), n, what.labels, what.amount, &change); break;
                case EQ_SCORES_SCALE: eqk_scores_scale(row, keys.data(), n, what.labels, what.amount, &change); break;
                case EQ_WEIGHTS_MOVE:
                    eqk_weights_move(row, keys.data(), n, what.labels, what.other_labels, what.amount, what.parameters[0],
                                     &change);
                    break;
                default:
                    eqk_weights_sinks(row, keys.data(), of.sinkness[(size_t) at.il].data(), n, what.labels, what.amount,
                                      what.parameters[0], what.parameters[1], what.parameters[2], &change);
            }
            squared += change;
        }
        act.delta = std::sqrt(squared);
    }
}

// How much of a sink each cell is stands on the host or on the layer's device, where the layer's rows are edited, and
// moves when that changes: graphs that still have it elsewhere are built anew.
void interventions::add_sinks(graph & to, const llama_seam_build & build, int il) {
    site & user  = add_site(to.watches, to, LLAMA_SEAM_WEIGHTS, il);
    user.cache   = to.at->index;
    auto & known = ledgers[user.cache].sinkness[(size_t) il];
    known.resize((size_t) cells, 0);
    bool is_new = false;
    to.sinkness =
        rows_on_device(to, LLAMA_SEAM_WEIGHTS, il) ? books.sinkness_of(il, user.cache, known, is_new) : nullptr;
    version += is_new;
    if (to.sinkness) {
        const device_books::book * book = books.of(il);
        ggml_tensor *              labels = books.ledger_of(il, user.cache, ledgers[user.cache].labels);
        ggml_tensor * read[] = {to.residual,   build.cells, tokens_of(to, build), book->words,
                                book->vectors, to.sinkness, written_on_device(to, build, labels)};
        to.sunk              = with_launcher(ggml_custom_4d(build.ctx, GGML_TYPE_F32, 1, 1, 1, 1, read, 7, sinks_op,
                                                            GGML_N_TASKS_MAX, &user),
                                             launch_sinks);
    } else {
        version += books.take_sinkness(il, user.cache, known);
        ggml_tensor * read[] = {to.residual, build.cells};
        to.sunk = ggml_custom_4d(build.ctx, GGML_TYPE_F32, 1, 1, 1, 1, read, 2, sinks_op, GGML_N_TASKS_MAX, &user);
    }
    ggml_format_name(to.sunk, "equipoise_sinks-%d", il);
    ggml_build_forward_expand(build.gf, to.sunk);
}

void interventions::launch_sinks(ggml_tensor * dst, void * stream) {
    const auto &        at     = *static_cast<const site *>(user_of(dst));
    const ggml_tensor * states = dst->src[0];
    eqk_sinks_args      args   = {};
    args.states                = static_cast<const float *>(states->data);
    args.cells                 = static_cast<const int64_t *>(dst->src[1]->data);
    args.tokens                = static_cast<const int32_t *>(dst->src[2]->data);
    args.book                  = static_cast<const int32_t *>(dst->src[3]->data);
    args.vectors               = static_cast<const float *>(dst->src[4]->data);
    args.sinkness              = static_cast<float *>(dst->src[5]->data);
    args.column                = (int64_t) (states->nb[1] / sizeof(float));
    args.width                 = (int32_t) states->ne[0];
    args.n_tokens              = (int32_t) states->ne[1];
    args.n_cells               = (int32_t) dst->src[5]->ne[0];
    args.n_sequences           = at.owner->is.sequences;
    args.n_layers              = at.owner->is.layers;
    args.layer                 = at.il;
    note_launch(eqk_cuda_sinks(&args, stream));
}

// Notes of every token whose request looks for sinks how much of one it is; of the others, that they are none.
void interventions::sinks_op(ggml_tensor * dst, int ith, int nth, void * user) {
    const auto &        at     = *static_cast<const site *>(user);
    const ggml_tensor * states = dst->src[0];
    const auto *        cells  = static_cast<const int64_t *>(dst->src[1]->data);
    auto &              known  = at.owner->ledgers[at.cache].sinkness[(size_t) at.il];
    for (size_t i = (size_t) ith; i < at.of->sequences.size(); i += (size_t) nth) {
        float found = 0;
        for (const item & what : at.owner->items[(size_t) at.of->sequences[i]]) {
            if (what.kind == EQ_WEIGHTS_SINKS && what.slot_of_layer[(size_t) at.il] >= 0) {
                eqk_sinkness(column_of(states, 1, (int64_t) i), states->ne[0], what.dimensions.data(),
                             (int32_t) what.dimensions.size(), &found);
                break;
            }
        }
        known[(size_t) cells[i]] = found;
    }
}

} // namespace eq
