// The nodes on hidden states and queries: steering, scaling, silence, and what only reads states.
#include "intervention_nodes.hpp"

#include "cuda_nodes.hpp"

#include "equipoise_kernels.h"

#include <cmath>
#include <cstring>

namespace eq {

ggml_tensor * interventions::add_columns(graph & to, const llama_seam_build & build, llama_seam_point point,
                                         ggml_tensor * cur, int il, bool overwrite) {
    site & user    = add_site(to.sites, to, point, il);
    user.by_output = cur->ne[point == LLAMA_SEAM_QUERIES ? 2 : 1] != build.n_tokens;
    if (const device_books::book * book = is.in_place ? nullptr : books.of(il)) {
        ggml_tensor * read[] = {cur, tokens_of(to, build), book->words, book->vectors, book->deltas, book->sums.tensor};
        ggml_tensor * node   = editing_node(build.ctx, false, read, 6, columns_op, &user);
        ggml_format_name(node, "equipoise_columns-%d-%d", (int) point, il);
        return with_launcher(node, launch_columns);
    }
    ggml_tensor * node = editing_node(build.ctx, overwrite, &cur, 1, columns_op, &user);
    ggml_format_name(node, "equipoise_columns-%d-%d", (int) point, il);
    return node;
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

} // namespace eq
