// What the files of interventions share: what kinds there are, an intervention as it was set, and the nodes of a graph.
#pragma once

#include "interventions.hpp"

#include "ggml.h"

#include <cmath>
#include <memory>
#include <vector>

namespace eq {

constexpr int32_t n_points = LLAMA_SEAM_LOGITS + 1;
constexpr int32_t n_labels = 64; // bits of eq_intervention.labels

inline bool steers(int32_t kind) { return kind >= EQ_STEER_ADD && kind <= EQ_STEER_ADD_SIGNED; }
inline bool rotates(int32_t kind) { return kind == EQ_STEER_ROTATE || kind == EQ_STEER_ROTATE_TOWARD; }
inline bool adds(int32_t kind) {
    return kind == EQ_STEER_ADD || kind == EQ_STEER_ADD_NORMED || kind >= EQ_STEER_ADD_CAPPED;
}
inline bool exits(int32_t kind) { return kind == EQ_EXITS_MEAN || kind == EQ_EXITS_CONTRAST; }

// Needs the attention of its layers off the flash path.
inline bool sees_rows(int32_t kind) { return kind >= EQ_SCORES_RAISE && kind <= EQ_WEIGHTS_READ; }

// Edits weights in a node of its own.
inline bool has_node(int32_t kind) { return kind == EQ_WEIGHTS_MUTE || kind == EQ_SINKS_TURN; }

inline bool edits_attention(int32_t kind) {
    return kind == EQ_ATTENTION_BIAS || kind == EQ_ATTENDED_BIAS || kind == EQ_QUERY_SCALE ||
           has_node(kind) || sees_rows(kind);
}

inline llama_seam_point point_of(int32_t kind, int32_t place) {
    switch (kind) {
        case EQ_ATTENTION_BIAS:
        case EQ_ATTENDED_BIAS:  return LLAMA_SEAM_ATTN_MASK;
        case EQ_QUERY_SCALE:    return LLAMA_SEAM_QUERIES;
        case EQ_SILENCE:        return LLAMA_SEAM_INP_EMBD;
        case EQ_SCORES_RAISE:
        case EQ_SCORES_SCALE:   return LLAMA_SEAM_SCORES;
        case EQ_WEIGHTS_MOVE:
        case EQ_WEIGHTS_SINKS:
        case EQ_WEIGHTS_MUTE:
        case EQ_SINKS_TURN:
        case EQ_WEIGHTS_READ:   return LLAMA_SEAM_WEIGHTS;
        case EQ_EXITS_MEAN:
        case EQ_EXITS_CONTRAST: return LLAMA_SEAM_LOGITS;
        default:                break;
    }
    switch (place) {
        case EQ_AT_MLP:       return LLAMA_SEAM_FFN_OUT;
        case EQ_AT_ATTENTION: return LLAMA_SEAM_ATTN_OUT;
        case EQ_AT_NORM:      return LLAMA_SEAM_NORM_OUT;
        case EQ_AT_EMBEDDING: return LLAMA_SEAM_INP_EMBD;
        default:              return LLAMA_SEAM_LAYER_OUT;
    }
}

// Index into tables by point and layer; layer -1 is the input.
inline size_t index_of(int32_t layers, llama_seam_point point, int32_t il) {
    return (size_t) (point * (layers + 1) + il + 1);
}

inline float * column_of(const ggml_tensor * tensor, int64_t dimension, int64_t column) {
    return reinterpret_cast<float *>(static_cast<char *>(tensor->data) + (size_t) column * tensor->nb[dimension]);
}

// The row of one query and head in scores or weights, [n_kv, n_tokens, n_head].
inline float * row_of(const ggml_tensor * kq, int64_t column, int64_t head) {
    return column_of(kq, 1, column) + (size_t) head * (kq->nb[2] / sizeof(float));
}

// What each key is to a query: its label, or EQK_NO_KEY where the mask hides it.
void visible(const ggml_tensor * mask, int64_t column, const std::vector<uint8_t> & labels, std::vector<uint8_t> & keys);

// A node that edits the first of what it reads: written over it or, like it in shape, beside it.
inline ggml_tensor * editing_node(ggml_context * ctx, bool over, ggml_tensor ** read, int n_read, ggml_custom_op_t op,
                                  void * user) {
    const int64_t * ne = read[0]->ne;
    return over ? ggml_custom_inplace(ctx, read[0], read + 1, n_read - 1, op, GGML_N_TASKS_MAX, user)
                : ggml_custom_4d(ctx, GGML_TYPE_F32, ne[0], ne[1], ne[2], 1, read, n_read, op, GGML_N_TASKS_MAX, user);
}

// One intervention, as it was set, with what it has done and seen since.
struct interventions::item {
    // What a layer showed to an intervention that only looks.
    struct view {
        std::vector<double> sums; // EQ_WEIGHTS_READ: [n_heads][n_labels]; EQ_STATES_READ: [n_embd]
        std::vector<std::vector<float>> rows; // EQ_WEIGHTS_READ: by head and column, of the latest query
        int32_t             latest = -1;
        int64_t             count  = 0; // queries or states
        int64_t             on_device = -1; // EQ_STATES_READ: the first of its doubles there, if they are in the book
    };

    int32_t              kind          = 0;
    int32_t              place         = 0;
    float                amount        = 0;
    float                parameters[4] = {0, 0, 0, 0};
    uint64_t             labels        = 0;
    uint64_t             other_labels  = 0;
    int32_t              lowest        = -1; // layer whose touches count as tokens
    int32_t              looked        = -1; // EQ_ATTENDED_BIAS: the layer whose weights choose the keys
    bool                 embedding     = false; // early exits: the input embeddings are one
    std::vector<int32_t> slot_of_layer;      // index into vectors and views, -1 where it does not act
    std::vector<float>   vectors;
    std::vector<uint8_t> heads;              // empty: all
    std::vector<int32_t> dimensions;
    std::vector<view>    views;
    int64_t              columns      = 0;
    int64_t              applications = 0;
    double               delta        = 0;

    llama_seam_point point() const { return point_of(kind, place); }
    size_t           slot(int32_t il) const { return (size_t) slot_of_layer[(size_t) (il < 0 ? 0 : il)]; }
    bool             hides() const { return kind == EQ_ATTENTION_BIAS && amount == -INFINITY; }
    bool             at(int64_t head) const { return heads.empty() || heads[(size_t) head]; }

    bool acts(llama_seam_point where, int32_t il) const {
        return point() == where && (where == LLAMA_SEAM_INP_EMBD ||
                                    (where == LLAMA_SEAM_LOGITS && exits(kind)) || slot_of_layer[(size_t) il] >= 0);
    }
};

// A node of ours: what it has to do in the micro-batch about to run.
struct interventions::site {
    struct application {
        int32_t       column; // of the node's tensor
        int32_t       token;  // of the batch
        item *        what;
        const float * vectors;
        double        delta; // norm of the change, left by the op
        int64_t       keys;  // attention: keys touched, left by the op
        int32_t       latest; // weights to be muted: the latest column of its sequence
    };
    struct join {
        int32_t column;
        float   weight;
        double  delta; // norm of the change, left by the op
    };

    interventions *          owner;
    const graph *            of;
    llama_seam_point         point;
    int32_t                  il;
    bool                     by_output = false; // columns are outputs, not tokens
    bool                     again     = false; // the block has another such node before
    size_t                   cache     = 0;     // whose keys its rows are over
    bool                     moves     = false; // finds keys again that were chosen in another cache
    int32_t                  own       = -1;    // weights: the kind that has the node to itself
    int32_t                  kv_heads  = 0;     // turning: of the layer
    bool                     by_cell   = true;  // likewise: the cache of its values has a row for each cell
    float                    scale     = 0;     // likewise: of its scores
    size_t                   from      = 0;     // likewise: that cache
    int                      attended  = -1;    // masks: which of what the node reads has the keys chosen below
    std::vector<int32_t>     layers;            // early exits: those whose logits are there, in order; -1 the input's
    ggml_tensor *            exits = nullptr;   // early exits on a device: those layers, an input
    int32_t                  passes = 1;        // likewise: the most such edits of any sequence
    std::vector<application> applications;      // columns ascending; of one column in the order in which they act
    std::vector<join>        joins;             // merges: the n-th with the n-th of the other branches' rows
    ggml_tensor *            rows = nullptr;    // merges: those rows, an input
    ggml_tensor *            joint = nullptr;   // merges on a device: eqk::join_table, an input
    std::vector<int32_t>     host_joint;

    bool takes(const item & what) const { return what.acts(point, il) && (has_node(what.kind) ? what.kind : -1) == own; }
};

// The nodes of ours in one built graph, and the tokens it is about to run.
struct interventions::graph {
    struct cache {
        interventions *     owner;
        const graph *       of;
        ggml_tensor *       cells;
        ggml_tensor *       written; // the node that has noted the tokens
        size_t              index;

        // On devices: the labels there, with the node that has noted the tokens.
        std::vector<std::pair<ggml_tensor *, ggml_tensor *>> on_devices = {};
    };

    // Where a layer's cache has its values, a row for each cell or for each element of all heads.
    struct value_cache {
        ggml_tensor * cells    = nullptr; // nothing, if the layer writes none
        bool          by_cell  = true;
        int64_t       width    = 0;       // of all heads
        int32_t       kv_heads = 0;
    };

    // Outputs of a block at which branches end in others.
    struct end {
        int32_t       il;
        ggml_tensor * rows;
    };

    std::vector<std::unique_ptr<site>>  sites;
    std::vector<std::unique_ptr<site>>  merges;
    std::vector<std::unique_ptr<cache>> caches;
    std::vector<std::unique_ptr<site>>  watches; // for sinks, of either kind
    std::vector<std::unique_ptr<site>>  choices; // of keys, and where these are found again in other caches
    std::vector<end>                    ends;    // of a graph that is not whole
    std::vector<uint8_t>                labels;
    std::vector<int32_t>                numbers;
    std::vector<int32_t>                sequences;
    std::vector<uint64_t>               active;
    std::vector<int32_t>                output_of; // row among the outputs, or -1
    int32_t                             n_tokens  = 0;
    int32_t                             n_outputs = 0;
    ggml_tensor *                       tokens    = nullptr; // eqk::token_table, where nodes on a device read it
    std::vector<int32_t>                host_tokens;

    // While it is built: what the layer at hand has shown.
    cache *                    at       = nullptr; // its KV cache
    ggml_tensor *              mask     = nullptr;
    ggml_tensor *              residual = nullptr; // the state that enters the block
    ggml_tensor *              sunk     = nullptr; // the node that has noted its sinks
    ggml_tensor *              sinkness = nullptr; // where that noted them on a device, else null
    ggml_tensor *              parts    = nullptr; // what each column does about sinks among the prompt's states
    value_cache                values;
    std::vector<ggml_tensor *> outs;               // block outputs, by layer

    // Which keys were chosen so far, a byte for each and every column, by cache; those of columns that chose none hold
    // whatever was there.
    std::vector<std::pair<size_t, ggml_tensor *>> attended;

    ggml_tensor *              input    = nullptr; // embeddings
};

} // namespace eq
