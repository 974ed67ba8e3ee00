// What interventions.cpp (what acts) and intervention_nodes.cpp (the nodes that do it) share.
#pragma once

#include "interventions.hpp"

#include <cmath>
#include <memory>
#include <vector>

namespace eq {

constexpr int32_t n_points = LLAMA_SEAM_LOGITS;

inline bool steers(int32_t kind) { return kind >= EQ_STEER_ADD && kind <= EQ_STEER_ROTATE; }

inline llama_seam_point point_of(int32_t kind) {
    switch (kind) {
        case EQ_ATTENTION_BIAS: return LLAMA_SEAM_ATTN_MASK;
        case EQ_QUERY_SCALE:    return LLAMA_SEAM_QUERIES;
        case EQ_SILENCE:        return LLAMA_SEAM_INP_EMBD;
        default:                return LLAMA_SEAM_LAYER_OUT;
    }
}

// Index into tables by point and layer; layer -1 is the input.
inline size_t index_of(int32_t layers, llama_seam_point point, int32_t il) {
    return (size_t) (point * (layers + 1) + il + 1);
}

// One intervention, as it was set, with what it has done since.
struct interventions::item {
    int32_t              kind   = 0;
    float                amount = 0;
    uint64_t             labels = 0;
    int32_t              lowest = -1;    // layer whose touches count as tokens
    std::vector<int32_t> slot_of_layer;  // index into vectors, -1 where it does not act
    std::vector<float>   vectors;
    int64_t              columns      = 0;
    int64_t              applications = 0;
    double               delta        = 0;

    bool hides() const { return kind == EQ_ATTENTION_BIAS && amount == -INFINITY; }

    bool acts(llama_seam_point point, int32_t il) const {
        return point_of(kind) == point && (point == LLAMA_SEAM_INP_EMBD || slot_of_layer[(size_t) il] >= 0);
    }
};

// A node of ours: what it has to do in the micro-batch about to run.
struct interventions::site {
    struct application {
        int32_t       column; // of the node's tensor
        item *        what;
        const float * vectors;
        double        delta; // norm of the change, left by the op
        int64_t       keys;  // attention: keys touched, left by the op
    };
    struct join {
        int32_t first;
        int32_t second;
        float   weight;
    };

    const interventions *    owner;
    const graph *            of;
    llama_seam_point         point;
    int32_t                  il;
    int64_t                  width;      // of a steering vector
    bool                     by_output;  // columns are outputs, not tokens
    std::vector<application> applications; // columns ascending; of one column in the order in which they act
    std::vector<join>        joins;
};

// The nodes of ours in one built graph, and the labels of its tokens.
struct interventions::graph {
    struct cache {
        interventions *     owner;
        const graph *       of;
        const ggml_tensor * cells;
        ggml_tensor *       written; // the node that has noted the tokens' labels
        size_t              index;
    };

    std::vector<std::unique_ptr<site>>  sites;
    std::vector<std::unique_ptr<site>>  merges;
    std::vector<std::unique_ptr<cache>> caches;
    std::vector<uint8_t>                labels;
    std::vector<int32_t>                sequences;
    std::vector<int32_t>                output_of; // row among the outputs, or -1
};

} // namespace eq
