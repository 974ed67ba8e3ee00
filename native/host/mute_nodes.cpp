// The nodes by which the latest column of a sequence chooses, in each head by itself, which columns attend to nothing.
#include "intervention_nodes.hpp"

#include <cmath>
#include <cstring>

namespace eq {

namespace {

// A byte for each column and head: whether its weights go.
uint8_t * mark_of(const ggml_tensor * muted, int64_t column, int64_t head) {
    return static_cast<uint8_t *>(muted->data) + (size_t) head * muted->nb[1] + (size_t) column;
}

} // namespace

// weights is [n_kv, n_tokens, n_head]. Two nodes: the latest column may be one of those that lose their weights, and
// these may be written over.
ggml_tensor * interventions::add_mutes(graph & to, const llama_seam_build & build, ggml_tensor * weights, int il) {
    site & user           = add_site(to.sites, to, LLAMA_SEAM_WEIGHTS, il);
    user.own              = EQ_WEIGHTS_MUTE;
    ggml_tensor * seen[]  = {weights, to.at->cells};
    ggml_tensor * muted   = ggml_custom_4d(build.ctx, GGML_TYPE_I8, weights->ne[1], weights->ne[2], 1, 1, seen, 2, muted_op,
                                           GGML_N_TASKS_MAX, &user);
    ggml_format_name(muted, "equipoise_muted-%d", il);
    ggml_tensor * edited[] = {weights, muted};
    ggml_tensor * node     = editing_node(build.ctx, is.in_place, edited, 2, mute_op, &user);
    ggml_format_name(node, "equipoise_mute-%d", il);
    return node;
}

void interventions::muted_op(ggml_tensor * dst, int ith, int nth, void * user) {
    const auto &        at      = *static_cast<const site *>(user);
    const ggml_tensor * weights = dst->src[0];
    const auto *        cells   = static_cast<const int64_t *>(dst->src[1]->data);
    for (size_t i = (size_t) ith; i < at.applications.size(); i += (size_t) nth) {
        const site::application & act = at.applications[i];
        for (int64_t h = 0; h < dst->ne[1]; h++) {
            *mark_of(dst, act.column, h) =
                act.what->at(h) && row_of(weights, act.latest, h)[cells[act.column]] > act.what->amount;
        }
    }
}

// A column belongs to one thread with all its heads.
void interventions::mute_op(ggml_tensor * dst, int ith, int nth, void * user) {
    auto &              at    = *static_cast<site *>(user);
    const ggml_tensor * src   = dst->src[0];
    const ggml_tensor * muted = dst->src[1];
    const size_t        n     = (size_t) dst->ne[0];
    for (int64_t c = ith; !dst->view_src && c < dst->ne[1]; c += nth) {
        for (int64_t h = 0; h < dst->ne[2]; h++) {
            memcpy(row_of(dst, c, h), row_of(src, c, h), n * sizeof(float));
        }
    }
    for (site::application & act : at.applications) {
        if (act.column % nth != ith) {
            continue;
        }
        double squared = 0;
        for (int64_t h = 0; h < dst->ne[2]; h++) {
            float * row = row_of(dst, act.column, h);
            if (*mark_of(muted, act.column, h)) {
                for (size_t j = 0; j < n; j++) {
                    squared += (double) row[j] * row[j];
                }
                memset(row, 0, n * sizeof(float));
            }
        }
        act.delta = std::sqrt(squared);
    }
}

} // namespace eq
