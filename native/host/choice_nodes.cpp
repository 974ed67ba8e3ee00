// The nodes that choose keys: what a layer's weights say of them, for masks of the layers above in the same graph.
#include "intervention_nodes.hpp"

#include "equipoise_kernels.h"
#include "host.hpp"

#include <algorithm>
#include <cstring>

namespace eq {

namespace {

uint8_t * bytes_of(const ggml_tensor * chosen, int64_t column) {
    return static_cast<uint8_t *>(chosen->data) + (size_t) column * chosen->nb[1];
}

} // namespace

// weights is [n_kv, n_tokens, n_head]. What other columns chose in a layer below is carried on.
void interventions::add_choice(graph & to, const llama_seam_build & build, ggml_tensor * weights, int il) {
    ggml_tensor * below  = to.attended.empty() ? nullptr : attended_of(to, build, il);
    site &        user   = add_site(to.choices, to, LLAMA_SEAM_WEIGHTS, il);
    user.cache           = to.at->index;
    ggml_tensor * read[] = {weights, to.mask, to.at->written, below};
    ggml_tensor * node   = ggml_custom_4d(build.ctx, GGML_TYPE_I8, weights->ne[0], weights->ne[1], 1, 1, read,
                                          below ? 4 : 3, choice_op, GGML_N_TASKS_MAX, &user);
    ggml_format_name(node, "equipoise_choice-%d", il);
    ggml_build_forward_expand(build.gf, node);
    to.attended = {{to.at->index, node}};
}

void interventions::choice_op(ggml_tensor * dst, int ith, int nth, void * user) {
    const auto &                      at = *static_cast<const site *>(user);
    const ledger &                    of = at.owner->ledgers[at.cache];
    const ggml_tensor *               weights = dst->src[0];
    thread_local std::vector<uint8_t> keys;
    for (size_t i = (size_t) ith; i < at.applications.size(); i += (size_t) nth) {
        const int64_t column = at.applications[i].column;
        const item &  what   = *at.applications[i].what;
        if (what.looked != at.il) {
            memcpy(bytes_of(dst, column), bytes_of(dst->src[3], column), (size_t) dst->ne[0]);
            continue;
        }
        visible(dst->src[1], column, of.labels, keys);
        int64_t found = 0;
        // Columns are chosen in their own order, wherever their cells lie.
        eqk_keys_attended(row_of(weights, column, 0), (int64_t) (weights->nb[2] / sizeof(float)),
                          (int32_t) weights->ne[2], keys.data(), of.numbers.data(), dst->ne[0], what.labels,
                          (int64_t) what.parameters[0], bytes_of(dst, column), &found);
    }
}

// The chosen keys as the cells of the cache at hand: another cache has the same columns elsewhere.
ggml_tensor * interventions::attended_of(graph & to, const llama_seam_build & build, int il) {
    for (const auto & [cache, chosen] : to.attended) {
        if (cache == to.at->index) {
            return chosen;
        }
    }
    if (to.attended.empty()) {
        fail(EQ_INTERNAL, "layer %d is to miss keys that no layer below has chosen", il);
    }
    const auto [from, chosen] = to.attended.front();
    site & user          = add_site(to.choices, to, LLAMA_SEAM_WEIGHTS, il);
    user.cache           = to.at->index;
    user.moves           = true;
    user.from            = from;
    ggml_tensor * read[] = {chosen, to.at->written};
    ggml_tensor * node   = ggml_custom_4d(build.ctx, GGML_TYPE_I8, to.mask->ne[0], chosen->ne[1], 1, 1, read, 2,
                                          moved_op, GGML_N_TASKS_MAX, &user);
    ggml_format_name(node, "equipoise_moved-%d", il);
    ggml_build_forward_expand(build.gf, node);
    to.attended.emplace_back(to.at->index, node);
    return node;
}

// Cells of other sequences may have the same numbers: masks hide them from the column anyway.
void interventions::moved_op(ggml_tensor * dst, int ith, int nth, void * user) {
    const auto &                   at     = *static_cast<const site *>(user);
    const ggml_tensor *            chosen = dst->src[0];
    const auto &                   before = at.owner->ledgers[at.from].numbers;
    const auto &                   now    = at.owner->ledgers[at.cache].numbers;
    thread_local std::vector<char> missed; // by number
    for (size_t i = (size_t) ith; i < at.applications.size(); i += (size_t) nth) {
        const uint8_t * from = bytes_of(chosen, at.applications[i].column);
        uint8_t *       to   = bytes_of(dst, at.applications[i].column);
        missed.clear();
        for (int64_t j = 0; j < chosen->ne[0]; j++) {
            if (from[j] && before[(size_t) j] >= 0) {
                missed.resize(std::max(missed.size(), (size_t) before[(size_t) j] + 1), 0);
                missed[(size_t) before[(size_t) j]] = 1;
            }
        }
        for (int64_t j = 0; j < dst->ne[0]; j++) {
            const int32_t number = now[(size_t) j];
            to[j]                = number >= 0 && (size_t) number < missed.size() && missed[(size_t) number];
        }
    }
}

} // namespace eq
