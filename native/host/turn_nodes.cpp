// The nodes by which a sequence is turned to its sinks (OutRo): one says what each column does about them at a layer, one
// edits the weights, whose sum of values then is what the method gives its heads. On the CPU.
#include "intervention_nodes.hpp"

#include "host.hpp"

#include "equipoise_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace eq {

namespace {

// What a column does at a layer.
enum part : uint8_t {
    nothing,
    gathers,   // a sink, from the whole prompt
    is_turned, // to the sinks of the prompt that is being read
    follows,   // is turned to those of a prompt that was read before
};

// What a column was in lower layers of the same pass.
constexpr uint8_t was_sink     = 1;
constexpr uint8_t has_gathered = 2;

// What is known of a cell: whether its token is a sink of its prompt, and that prompt's first.
constexpr uint8_t sink       = 1;
constexpr uint8_t first_sink = 2;

// A cache's values as rows of float32, one for each cell, of those that a thread has asked for.
class value_rows {
public:
    // Forgets what was there: a cell holds something else in every graph.
    void begin(const ggml_tensor * of, bool as_rows) {
        from    = of;
        by_cell = as_rows;
        there.assign((size_t) of->ne[by_cell ? 1 : 0], 0);
        floats.resize(there.size() * (size_t) width());
    }

    int64_t       width() const { return from->ne[by_cell ? 0 : 1]; } // of all heads
    const float * data() const { return floats.data(); }

    void want(int64_t cell) {
        if (there[(size_t) cell]) {
            return;
        }
        there[(size_t) cell] = 1;
        const char * first   = static_cast<const char *>(from->data) + (size_t) cell * from->nb[by_cell ? 1 : 0];
        float *      to      = floats.data() + cell * width();
        if (by_cell) {
            convert(first, to, width());
        } else {
            for (int64_t i = 0; i < width(); i++) {
                convert(first + (size_t) i * from->nb[1], to + i, 1);
            }
        }
    }

private:
    void convert(const char * values, float * to, int64_t n) const {
        if (from->type == GGML_TYPE_F32) {
            memcpy(to, values, (size_t) n * sizeof(float));
        } else {
            ggml_get_type_traits(from->type)->to_float(values, to, n);
        }
    }

    const ggml_tensor *  from    = nullptr;
    bool                 by_cell = true;
    std::vector<float>   floats;
    std::vector<uint8_t> there;
};

ggml_tensor * through(ggml_tensor * node, ggml_op op, ggml_op or_op) {
    return node && (node->op == op || node->op == or_op) ? node->src[0] : nullptr;
}

} // namespace

// The last thing in the graph, as the mask is shown, is the write of the layer's values to its cache.
void interventions::note_values(graph & to, const llama_seam_build & build, int il) {
    to.values     = {};
    const int n   = ggml_graph_n_nodes(build.gf);
    auto *    put = n > 0 ? ggml_graph_node(build.gf, n - 1) : nullptr;
    if (put && put->op == GGML_OP_SET_ROWS && put->view_src) {
        ggml_tensor * from    = put->src[0];
        const bool    by_cell = put->ne[0] > 1;
        if (!by_cell) {
            // A row for each number, of values that were two-dimensional, and perhaps padded, before.
            from = through(from, GGML_OP_RESHAPE, GGML_OP_RESHAPE);
            from = from && from->op == GGML_OP_PAD ? from->src[0] : from;
            from = through(from, GGML_OP_RESHAPE, GGML_OP_CONT);
        } else {
            from = through(from, GGML_OP_VIEW, GGML_OP_VIEW);
        }
        // [width of a head, heads, n_tokens]
        if (from && from->ne[2] == build.n_tokens && heads[(size_t) il] % (int32_t) from->ne[1] == 0) {
            to.values = {put->view_src, by_cell, from->ne[0] * from->ne[1], (int32_t) from->ne[1]};
        }
    }
    valued[(size_t) il] = to.values.cells != nullptr;
}

void interventions::add_parts(graph & to, const llama_seam_build & build, int il) {
    site & user = add_site(to.watches, to, LLAMA_SEAM_WEIGHTS, il);
    user.own    = EQ_SINKS_TURN;
    user.cache  = to.at->index;
    ledgers[user.cache].sunken[(size_t) il].resize((size_t) cells, nothing);
    ggml_tensor * read[] = {to.residual, build.cells};
    to.parts = ggml_custom_4d(build.ctx, GGML_TYPE_I8, build.n_tokens, 1, 1, 1, read, 2, parts_op, GGML_N_TASKS_MAX, &user);
    ggml_format_name(to.parts, "equipoise_parts-%d", il);
    ggml_build_forward_expand(build.gf, to.parts);
}

// A sequence belongs to one thread.
void interventions::parts_op(ggml_tensor * dst, int ith, int nth, void * user) {
    const auto & at    = *static_cast<const site *>(user);
    const auto * cells = static_cast<const int64_t *>(dst->src[1]->data);
    for (int32_t s = ith; s < (int32_t) at.owner->items.size(); s += nth) {
        at.owner->take_parts(at, s, static_cast<uint8_t *>(dst->data), dst->src[0], cells);
    }
}

// Every column of a sequence gets its part, and its cell what is known of it.
void interventions::take_parts(const site & at, int32_t sequence, uint8_t * parts, const ggml_tensor * states,
                               const int64_t * cell_of) {
    const graph & of   = *at.of;
    const auto &  list = items[(size_t) sequence];
    size_t        k    = 0;
    while (k < list.size() && !(list[k].kind == EQ_SINKS_TURN && list[k].slot_of_layer[(size_t) at.il] >= 0)) {
        k++;
    }
    auto &               known = ledgers[at.cache].sunken[(size_t) at.il];
    std::vector<size_t>  own;
    bool                 whole = false;
    for (size_t i = 0; i < of.sequences.size(); i++) {
        if (of.sequences[i] == sequence) {
            parts[i]                 = nothing;
            known[(size_t) cell_of[i]] = nothing;
            if (k < list.size() && (of.active[i] >> k & 1)) {
                own.push_back(i);
                whole |= of.numbers[i] == 0;
            }
        }
    }
    if (!whole) {
        for (const size_t i : own) {
            parts[i] = follows;
        }
        return;
    }
    if (own.size() < 2) {
        return; // a token alone is none of a prompt's, to the method
    }
    std::vector<const float *> rows;
    std::vector<uint8_t>       sunk(own.size());
    int64_t                    n_sinks = 0;
    for (const size_t i : own) {
        rows.push_back(column_of(states, 1, (int64_t) i));
    }
    const item & what  = list[k];
    const auto   every = (int32_t) what.parameters[3];
    eqk_sinks_among(rows.data(), (int64_t) own.size(), states->ne[0], what.parameters[1], what.parameters[2], sunk.data(),
                    &n_sinks);
    for (size_t m = 0; n_sinks > 0 && m < own.size(); m++) {
        const size_t i = own[m];
        if (sunk[m]) {
            known[(size_t) cell_of[i]] = of.numbers[i] == 0 ? first_sink : sink;
            const bool now           = every > 0 && at.il % every == 0 && !(passed[i] & has_gathered);
            parts[i]                 = now ? gathers : nothing;
            passed[i] |= was_sink | (now ? has_gathered : 0);
        } else {
            parts[i] = passed[i] & was_sink ? nothing : is_turned;
        }
    }
}

// weights is [n_kv, n_tokens, n_head]; softmax is what gave them, before any edit. Values are read from the cache as they
// are: in most steps nobody needs them.
ggml_tensor * interventions::add_turns(graph & to, const llama_seam_build & build, ggml_tensor * weights,
                                       const ggml_tensor * softmax, int il) {
    const graph::value_cache & from = to.values;
    EQ_REQUIRE(softmax->op == GGML_OP_SOFT_MAX && from.cells && from.width % from.kv_heads == 0,
               "layer %d shows no scores or values", il);
    site & user    = add_site(to.sites, to, LLAMA_SEAM_WEIGHTS, il);
    user.own       = EQ_SINKS_TURN;
    user.cache     = to.at->index;
    user.kv_heads  = from.kv_heads;
    memcpy(&user.scale, softmax->op_params, sizeof(float));
    user.by_cell   = from.by_cell;
    const int64_t n      = weights->ne[0];
    ggml_tensor * values = from.by_cell
                               ? ggml_view_2d(build.ctx, from.cells, from.width, n, from.cells->nb[1], 0)
                               : ggml_view_2d(build.ctx, from.cells, n, from.width,
                                              ggml_row_size(from.cells->type, from.cells->ne[1]), 0);
    // Models whose softmax has a further score for each head have it last.
    ggml_tensor * read[] = {weights, to.parts, values, softmax->src[0], to.mask, to.at->cells, softmax->src[2]};
    ggml_tensor * node   = editing_node(build.ctx, is.in_place, read, softmax->src[2] ? 7 : 6, turn_op, &user);
    ggml_format_name(node, "equipoise_turn-%d", il);
    return node;
}

// A column belongs to one thread with all its heads.
void interventions::turn_op(ggml_tensor * dst, int ith, int nth, void * user) {
    auto &              at     = *static_cast<site *>(user);
    const graph &       of     = *at.of;
    const ggml_tensor * src    = dst->src[0];
    const auto *        parts  = static_cast<const uint8_t *>(dst->src[1]->data);
    const ggml_tensor * values = dst->src[2];
    const ggml_tensor * scores = dst->src[3];
    const ggml_tensor * mask   = dst->src[4];
    const auto *        cells  = static_cast<const int64_t *>(dst->src[5]->data);
    const auto *        apart  = dst->src[6] ? static_cast<const float *>(dst->src[6]->data) : nullptr;
    const auto &        known  = at.owner->ledgers[at.cache].sunken[(size_t) at.il];
    const int64_t       n      = dst->ne[0];
    const int64_t       all    = values->ne[at.by_cell ? 0 : 1];
    const int64_t       width  = all / at.kv_heads;           // of a head
    const int64_t       shared = dst->ne[2] / at.kv_heads;    // heads that have their values in common
    for (int64_t c = ith; !dst->view_src && c < dst->ne[1]; c += nth) {
        for (int64_t h = 0; h < dst->ne[2]; h++) {
            memcpy(row_of(dst, c, h), row_of(src, c, h), (size_t) n * sizeof(float));
        }
    }
    thread_local std::vector<int64_t> prompt;
    thread_local std::vector<int64_t> sunk;
    thread_local std::vector<uint8_t> keys;
    thread_local value_rows           rows;
    bool                              begun  = false;
    int32_t                           listed = -1; // whose prompt and sinks these are
    for (site::application & act : at.applications) {
        const uint8_t part = parts[act.column];
        if (act.column % nth != ith || part == nothing) {
            continue;
        }
        const int32_t sequence = of.sequences[(size_t) act.token];
        bool          first    = false;
        if (part == follows) {
            listed = -1;
            sunk.clear();
            visible(mask, act.column, known, keys);
            for (int64_t j = 0; j < n; j++) {
                if (keys[(size_t) j] == sink || keys[(size_t) j] == first_sink) {
                    sunk.push_back(j);
                    first |= keys[(size_t) j] == first_sink;
                }
            }
        } else if (listed != sequence) {
            listed = sequence;
            prompt.clear();
            sunk.clear();
            for (size_t i = 0; i < of.sequences.size(); i++) {
                if (of.sequences[i] == sequence) {
                    prompt.push_back(cells[i]);
                    if (known[(size_t) cells[i]] != nothing) {
                        sunk.push_back(cells[i]);
                    }
                }
            }
        }
        // Where the first token is a sink, the method takes a later one for it, and leaves it.
        if (sunk.empty() || first || (part != gathers && act.what->amount == 0)) {
            continue;
        }
        if (!begun) {
            rows.begin(values, at.by_cell);
            begun = true;
        }
        std::for_each(sunk.begin(), sunk.end(), [](int64_t cell) { rows.want(cell); });
        double squared = 0;
        for (int64_t h = 0; h < dst->ne[2]; h++) {
            float * row    = row_of(dst, act.column, h);
            double  change = 0;
            for (int64_t j = 0; part != gathers && j < n; j++) {
                if (row[j] != 0) {
                    rows.want(j);
                }
            }
            if (part == gathers) {
                eqk_weights_gather(row, row_of(scores, act.column, h), n, prompt.data(), (int64_t) prompt.size(), at.scale,
                                   apart ? apart[h] : -INFINITY, &change);
            } else {
                eqk_weights_turn(row, n, rows.data() + h / shared * width, all, width, sunk.data(),
                                 (int64_t) sunk.size(), act.what->amount, act.what->parameters[0], &change);
            }
            squared += change;
        }
        act.delta = std::sqrt(squared);
    }
}

} // namespace eq
