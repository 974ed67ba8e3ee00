// The nodes on the logits of early exits.
#include "intervention_nodes.hpp"

#include "cuda_nodes.hpp"

#include "equipoise_edits.h"
#include "equipoise_kernels.h"

#include <cmath>
#include <cstring>

namespace eq {

namespace {

void nothing_op(ggml_tensor *, int, int, void *) {}

void launch_nothing(ggml_tensor *, void *) {}

} // namespace

// The logits of all layers that are asked for come from one product: the head's weights are read once.
ggml_tensor * interventions::add_exits(graph & to, const llama_seam_build & build, ggml_tensor * logits) {
    if (!build.out_ids) {
        return logits;
    }
    std::vector<int32_t> layers;
    ggml_tensor *        rows = nullptr;
    for (int32_t il = -1; il < is.layers; il++) {
        ggml_tensor * out = il < 0 ? to.input : to.outs[(size_t) il];
        if (!out || !(il < 0 ? exits_input : wanted(LLAMA_SEAM_LOGITS, il))) {
            continue;
        }
        if (out->ne[1] != build.n_outputs) {
            out = ggml_get_rows(build.ctx, out, build.out_ids);
        }
        rows = rows ? ggml_concat(build.ctx, rows, out, 1) : out;
        layers.push_back(il);
    }
    // An input that no node happens to need must be in the graph all the same: llama.cpp fills it.
    ggml_build_forward_expand(build.gf, build.out_ids);
    if (!rows) {
        return logits;
    }
    ggml_tensor * normed = ggml_mul(build.ctx, ggml_rms_norm(build.ctx, rows, build.head_norm_eps), build.head_norm);
    ggml_tensor * read[] = {logits, ggml_mul_mat(build.ctx, build.head, normed),
                            exits_bare ? ggml_mul_mat(build.ctx, build.head, rows) : nullptr};
    const int32_t n_read = exits_bare ? 3 : 2;
    site &        user   = add_site(to.sites, to, LLAMA_SEAM_LOGITS, -1);
    user.by_output       = true;
    user.layers          = std::move(layers);
    if (const device_books::book * book = is.in_place ? nullptr : books.of(is.layers)) {
        return exits_on_device(to, build, *book, user, {logits, read[1], exits_bare ? read[2] : read[1]});
    }
    ggml_tensor * node = editing_node(build.ctx, is.in_place, read, n_read, exits_op, &user);
    ggml_set_name(node, "equipoise_exits");
    return node;
}

ggml_tensor * interventions::exits_on_device(graph & to, const llama_seam_build & build, const device_books::book & book,
                                             site & user, const std::array<ggml_tensor *, 3> & rows) {
    const auto n_exits = (int64_t) user.layers.size();
    user.passes        = most_exits;
    user.exits         = ggml_new_tensor_1d(build.ctx, GGML_TYPE_I32, n_exits);
    ggml_set_name(user.exits, "equipoise_exit_layers");
    ggml_set_input(user.exits);
    // Memory for the node behind, which reads it, so that it is there as long as that runs.
    ggml_tensor * first   = rows[0];
    ggml_tensor * scratch = ggml_custom_4d(build.ctx, GGML_TYPE_F32,
                                           2 * eqk::exits_scratch::n_doubles(first->ne[1], n_exits), 1, 1, 1, &first, 1,
                                           nothing_op, 1, nullptr);
    ggml_set_name(scratch, "equipoise_exits_scratch");
    with_launcher(scratch, launch_nothing);
    ggml_tensor * read[] = {rows[0],    rows[1],     rows[2],   tokens_of(to, build),
                            book.words, book.deltas, user.exits, scratch};
    ggml_tensor * node   = editing_node(build.ctx, false, read, 8, exits_op, &user);
    ggml_set_name(node, "equipoise_exits");
    return with_launcher(node, launch_exits);
}

void interventions::launch_exits(ggml_tensor * dst, void * stream) {
    const auto &        at   = *static_cast<const site *>(user_of(dst));
    const ggml_tensor * src  = dst->src[0];
    eqk_exits_args      args = {};
    args.logits              = static_cast<const float *>(src->data);
    args.normed              = static_cast<const float *>(dst->src[1]->data);
    args.bare                = static_cast<const float *>(dst->src[2]->data);
    args.out                 = static_cast<float *>(dst->data);
    args.tokens              = static_cast<const int32_t *>(dst->src[3]->data);
    args.book                = static_cast<const int32_t *>(dst->src[4]->data);
    args.deltas              = static_cast<double *>(dst->src[5]->data);
    args.layers              = static_cast<const int32_t *>(dst->src[6]->data);
    args.scratch             = static_cast<double *>(dst->src[7]->data);
    args.n_vocab             = dst->ne[0];
    args.stride              = (int64_t) (src->nb[1] / sizeof(float));
    args.exit_stride         = (int64_t) (dst->src[1]->nb[1] / sizeof(float));
    args.out_stride          = (int64_t) (dst->nb[1] / sizeof(float));
    args.n_rows              = (int32_t) dst->ne[1];
    args.n_exits             = (int32_t) dst->src[6]->ne[0];
    args.passes              = at.passes;
    args.n_tokens            = at.of->n_tokens;
    args.n_sequences         = at.owner->is.sequences;
    args.n_layers            = at.owner->is.layers;
    args.point               = at.point;
    note_launch(eqk_cuda_exits(&args, stream));
}

// A row belongs to one thread.
void interventions::exits_op(ggml_tensor * dst, int ith, int nth, void * user) {
    auto &              at  = *static_cast<site *>(user);
    const ggml_tensor * src = dst->src[0];
    const int64_t       n   = dst->ne[0];
    for (int64_t r = ith; !dst->view_src && r < dst->ne[1]; r += nth) {
        memcpy(column_of(dst, 1, r), column_of(src, 1, r), (size_t) n * sizeof(float));
    }
    std::vector<const float *> rows;
    for (site::application & act : at.applications) {
        if (act.column % nth != ith) {
            continue;
        }
        const item &        what = *act.what;
        const bool          bare = what.parameters[0] == 0;
        const ggml_tensor * from = dst->src[bare ? 2 : 1];
        rows.clear();
        for (size_t k = 0; k < at.layers.size(); k++) {
            if (at.layers[k] < 0 ? what.embedding : what.slot_of_layer[(size_t) at.layers[k]] >= 0) {
                rows.push_back(column_of(from, 1, (int64_t) k * dst->ne[1] + act.column));
            }
        }
        float * z       = column_of(dst, 1, act.column);
        double  change  = 0;
        int32_t chosen  = -1;
        int32_t outcome = EQK_OK;
        if (what.kind == EQ_EXITS_MEAN) {
            outcome = eqk_exits_mean(z, rows.data(), n, (int32_t) rows.size(), what.amount, &change);
        } else {
            outcome = eqk_exits_contrast(z, rows.data(), n, (int32_t) rows.size(), what.amount,
                                         (int32_t) what.parameters[1], &chosen, &change);
        }
        if (outcome != EQK_OK) {
            z[0] = NAN; // the row's reader reports it: nobody looks at a status inside a graph
        }
        act.delta = std::sqrt(change);
    }
}

} // namespace eq
