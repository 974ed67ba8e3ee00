// The nodes on attention masks, and those that note which cells of a KV cache hold what, on the host and on devices.
#include "intervention_nodes.hpp"

#include "cuda_nodes.hpp"

#include "equipoise_kernels.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace eq {

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
                           std::vector<std::vector<float>>((size_t) is.layers),
                           std::vector<std::vector<uint8_t>>((size_t) is.layers)});
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

ggml_tensor * interventions::add_mask(graph & to, const llama_seam_build & build, ggml_tensor * mask, int il) {
    site & user = add_site(to.sites, to, LLAMA_SEAM_ATTN_MASK, il);
    user.cache  = to.at->index;
    ggml_tensor * attended = misses[(size_t) il] ? attended_of(to, build, il) : nullptr;
    ggml_tensor * read[]   = {mask, to.at->written, attended};
    const int64_t each   = head_masks[(size_t) il] ? heads[(size_t) il] : 1;
    // A mask for each head takes attention off CUDA anyway.
    ggml_tensor * labels =
        is.in_place || each > 1 ? nullptr : books.ledger_of(il, user.cache, ledgers[user.cache].labels);
    if (const device_books::book * book = labels ? books.of(il) : nullptr) {
        ggml_tensor * from[] = {mask,         tokens_of(to, build),                 book->words, labels,
                                book->deltas, written_on_device(to, build, labels), attended};
        user.attended        = attended ? 6 : -1;
        ggml_tensor * node   = ggml_custom_4d(build.ctx, mask->type, mask->ne[0], mask->ne[1], 1, 1, from,
                                              attended ? 7 : 6, mask_op, GGML_N_TASKS_MAX, &user);
        ggml_format_name(node, "equipoise_mask-%d", il);
        return with_launcher(node, launch_mask);
    }
    user.attended        = attended ? 2 : -1;
    ggml_tensor * node   = ggml_custom_4d(build.ctx, mask->type, mask->ne[0], mask->ne[1], each, 1, read,
                                          attended ? 3 : 2, mask_op, GGML_N_TASKS_MAX, &user);
    ggml_format_name(node, "equipoise_mask-%d", il);
    return node;
}

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
    if (at.attended >= 0) {
        args.attended        = static_cast<const uint8_t *>(dst->src[at.attended]->data);
        args.attended_column = (int64_t) dst->src[at.attended]->nb[1];
    }
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
        const auto * chosen = act.what->kind == EQ_ATTENDED_BIAS ? dst->src[at.attended] : nullptr;
        const auto * attended =
            chosen ? static_cast<const uint8_t *>(chosen->data) + (size_t) act.column * chosen->nb[1] : nullptr;
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
                if (!(attended ? attended[j] != 0 : (labels >> labels_of[(size_t) j] & 1) != 0)) {
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
