// Where the nodes of interventions would run, and why there: of a graph that is built for the question alone.
#include "intervention_nodes.hpp"

#include "cuda_nodes.hpp"
#include "host.hpp"

#include <map>
#include <tuple>

namespace eq {

const char * interventions::why_on_cpu(const site & at, const ggml_tensor * node) const {
    const bool logits = at.point == LLAMA_SEAM_LOGITS;
    if (at.point == LLAMA_SEAM_INP_EMBD) {
        return "llama.cpp keeps input embeddings there";
    }
    if (!books.has(logits ? is.layers : at.il)) {
        return logits ? "the output matrix is there, or the GPU takes no kernels of ours"
                      : "the block is there, or the GPU takes no kernels of ours";
    }
    if (has_launcher(node)) {
        return "what it acts on is there";
    }
    if (watched[index_of(is.layers, at.point, at.il)]) {
        return "the block's attention weights are read, which the CPU does";
    }
    if (at.point == LLAMA_SEAM_ATTN_MASK && head_masks[(size_t) at.il]) {
        return "it makes a mask for each head, which CUDA's flash attention does not take, so that it runs there too";
    }
    return "it has no CUDA kernel";
}

std::vector<eq_placement> interventions::placements(const eq_intervention * list, int32_t n, int32_t merge_layer,
                                                    const std::function<split_graph()> & build) {
    std::vector<item> supposed;
    for (int32_t k = 0; k < n; k++) {
        supposed.push_back(make(list[k], k));
    }
    EQ_REQUIRE(merge_layer < is.layers - 1, "merge at layer %d: choose one below the last, %d", merge_layer, is.layers - 1);
    const auto as_it_was =
        std::make_tuple(wants_at, joins, head_masks, sinks, chooses, misses, mutes, turns, watched, exits_bare, exits_input);
    const auto forget    = [&] {
        std::tie(wants_at, joins, head_masks, sinks, chooses, misses, mutes, turns, watched, exits_bare, exits_input) =
            as_it_was;
        version++;
    };
    std::vector<eq_placement> found;
    try {
        for (const item & one : supposed) {
            want(one);
        }
        if (merge_layer >= 0) {
            require_seam(LLAMA_SEAM_LAYER_OUT, merge_layer, "a merge");
            joins[(size_t) merge_layer] = 1;
        }
        version++;
        const split_graph at = build();
        enum class role { acting, watching, choosing, merging };
        std::map<const void *, std::pair<const site *, role>> ours;
        const auto take = [&](const auto & sites, role as) {
            for (const auto & each : sites) {
                ours[each.get()] = {each.get(), as};
            }
        };
        take(at.ours->sites, role::acting);
        take(at.ours->watches, role::watching);
        take(at.ours->choices, role::choosing);
        take(at.ours->merges, role::merging);
        const auto is_for = [&](int32_t k, const site & of, role as) {
            if (as == role::merging || k == n) {
                return as == role::merging && k == n && of.il == merge_layer;
            }
            const item & what = supposed[(size_t) k];
            if (as == role::choosing) {
                return what.looked >= 0 && what.looked <= of.il;
            }
            const int32_t watches = of.own < 0 ? EQ_WEIGHTS_SINKS : of.own;
            return as == role::watching ? what.kind == watches && what.slot_of_layer[(size_t) of.il] >= 0
                                        : of.takes(what);
        };
        for (int i = 0; i < ggml_graph_n_nodes(at.nodes); i++) {
            ggml_tensor * node  = ggml_graph_node(at.nodes, i);
            const auto    known = node->op == GGML_OP_CUSTOM ? ours.find(user_of(node)) : ours.end();
            for (int32_t k = 0; known != ours.end() && k <= n; k++) {
                const auto & [of, as] = known->second;
                if (is_for(k, *of, as)) {
                    const bool on_device = runs_on_device(at.scheduler, node);
                    found.push_back({on_device ? nullptr : why_on_cpu(*of, node), k, of->il, on_device, 0});
                }
            }
        }
    } catch (...) {
        forget();
        throw;
    }
    forget();
    return found;
}

} // namespace eq
