#include "interventions.hpp"

#include "host.hpp"

#include "equipoise_kernels.h"

#include "ggml-backend.h"
#include "ggml.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

namespace eq {

namespace {

constexpr int32_t most_items  = 64; // bits of eq_batch.active
constexpr int32_t most_labels = 64; // bits of eq_intervention.labels
constexpr int32_t n_points    = LLAMA_SEAM_LOGITS;
// e^1000 is all or nothing already, and even most_items of them stay within F16's 65504: a mask never becomes infinite
// by what is finite.
constexpr float   most_bias   = 1000;
// Scores and hidden states must not overflow: NaN in one sequence's keys would reach all others through the cells that
// they mask. Squares of the longest change, as norms take them, stay within float, also of most_items at each layer.
constexpr float   most_scale  = 1e4f;
constexpr double  most_change = 1e15;

bool steers(int32_t kind) { return kind >= EQ_STEER_ADD && kind <= EQ_STEER_ROTATE; }

llama_seam_point point_of(int32_t kind) {
    switch (kind) {
        case EQ_ATTENTION_BIAS: return LLAMA_SEAM_ATTN_MASK;
        case EQ_QUERY_SCALE:    return LLAMA_SEAM_QUERIES;
        case EQ_SILENCE:        return LLAMA_SEAM_INP_EMBD;
        default:                return LLAMA_SEAM_LAYER_OUT;
    }
}

float * column_of(const ggml_tensor * tensor, int64_t dimension, int64_t column) {
    return reinterpret_cast<float *>(static_cast<char *>(tensor->data) + (size_t) column * tensor->nb[dimension]);
}

// The unit vector of v[n], or an error when it has no direction.
void normalise(float * v, int64_t n, int32_t layer) {
    double squared = 0;
    for (int64_t i = 0; i < n; i++) {
        squared += (double) v[i] * v[i];
    }
    EQ_REQUIRE(squared > 0, "layer %d: a vector of length 0 has no direction", layer);
    const double inverse = 1 / std::sqrt(squared);
    for (int64_t i = 0; i < n; i++) {
        v[i] = (float) (v[i] * inverse);
    }
}

// The longest change that adding a times v[n] makes, or going to a target a.
double longest_change(int32_t kind, float a, const float * v, int64_t n) {
    if (kind == EQ_STEER_CLAMP) {
        return std::fabs((double) a);
    }
    if (kind != EQ_STEER_ADD && kind != EQ_STEER_ADD_NORMED) {
        return 0;
    }
    double squared = 0;
    for (int64_t i = 0; i < n; i++) {
        squared += (double) v[i] * v[i];
    }
    return std::fabs((double) a) * std::sqrt(squared);
}

// v and w become an orthonormal pair that spans the plane they spanned.
void orthonormalise(float * v, float * w, int64_t n, int32_t layer) {
    normalise(v, n, layer);
    double along = 0, length = 0, rest = 0;
    for (int64_t i = 0; i < n; i++) {
        along += (double) v[i] * w[i];
        length += (double) w[i] * w[i];
    }
    for (int64_t i = 0; i < n; i++) {
        w[i] = (float) (w[i] - along * v[i]);
        rest += (double) w[i] * w[i];
    }
    // What cancellation leaves of parallel vectors is rounding, not a direction: about 2^-24 of the length.
    EQ_REQUIRE(rest > 1e-10 * length, "layer %d: the two vectors span no plane", layer);
    normalise(w, n, layer);
}

} // namespace

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

interventions::interventions(const limits & of)
    : is(of), items((size_t) of.sequences), merges((size_t) of.sequences),
      wants((size_t) (n_points * (of.layers + 1)), 0), fired(wants.size(), 0), joins((size_t) of.layers, 0), ledgers(1) {}

interventions::~interventions() = default;

void interventions::set_cells(int32_t n_cells) {
    for (auto & ledger : ledgers) {
        ledger.assign((size_t) n_cells, 0);
    }
}

static size_t index_of(int32_t layers, llama_seam_point point, int32_t il) {
    return (size_t) (point * (layers + 1) + il + 1);
}

bool interventions::wanted(llama_seam_point point, int32_t il) const {
    return wants[index_of(is.layers, point, il)] != 0;
}

void interventions::want(llama_seam_point point, int32_t il) {
    uint8_t & at = wants[index_of(is.layers, point, il)];
    version += at == 0;
    at = 1;
}

void interventions::require_seam(llama_seam_point point, int32_t il, const char * what) const {
    if (!fired[index_of(is.layers, point, il)]) {
        fail(EQ_UNAVAILABLE, "the graph of this architecture has no place for %s at layer %d", what, il);
    }
}

void interventions::set(int32_t sequence, const eq_intervention * list, int32_t n) {
    EQ_REQUIRE(sequence >= 0 && sequence < is.sequences, "no sequence %d", sequence);
    EQ_REQUIRE(n >= 0 && n <= most_items && (list || n == 0), "%d interventions, at most %d", n, most_items);
    std::vector<item> made((size_t) n);
    for (int32_t k = 0; k < n; k++) {
        const eq_intervention & from  = list[k];
        item &                  to    = made[(size_t) k];
        const llama_seam_point  point = point_of(from.kind);
        to.kind                       = from.kind;
        to.amount                     = from.amount;
        to.labels                     = from.labels;
        to.slot_of_layer.assign((size_t) is.layers, -1);
        if (from.kind == EQ_SILENCE) {
            require_seam(point, -1, "silence");
            continue;
        }
        const bool hides = from.kind == EQ_ATTENTION_BIAS && from.amount == -INFINITY;
        EQ_REQUIRE(steers(from.kind) || from.kind == EQ_ATTENTION_BIAS || from.kind == EQ_QUERY_SCALE,
                   "intervention %d: no kind %d", k, from.kind);
        EQ_REQUIRE(std::isfinite(from.amount) || hides, "intervention %d: amount %g", k, (double) from.amount);
        EQ_REQUIRE(from.kind != EQ_ATTENTION_BIAS || hides || std::fabs(from.amount) <= most_bias,
                   "intervention %d: amount %g, a bias is -infinity or within +-%g", k, (double) from.amount,
                   (double) most_bias);
        EQ_REQUIRE(from.kind != EQ_QUERY_SCALE || std::fabs(from.amount) <= most_scale,
                   "intervention %d: amount %g, a scale is within +-%g", k, (double) from.amount, (double) most_scale);
        EQ_REQUIRE(from.layers && from.n_layers >= 1, "intervention %d: no layer", k);
        EQ_REQUIRE(steers(from.kind) == (from.vectors != nullptr), "intervention %d: vectors", k);
        if (from.kind == EQ_ATTENTION_BIAS && is.alibi) {
            fail(EQ_UNAVAILABLE, "a bias on attention under ALiBi, which scales the mask it would be part of");
        }
        const size_t each = steers(from.kind) ? (size_t) is.width * (from.kind == EQ_STEER_ROTATE ? 2 : 1) : 0;
        for (int32_t l = 0; l < from.n_layers; l++) {
            const int32_t il = from.layers[l];
            EQ_REQUIRE(il >= 0 && il < is.layers, "intervention %d: no layer %d, the model has 0..%d", k, il,
                       is.layers - 1);
            EQ_REQUIRE(to.slot_of_layer[(size_t) il] < 0, "intervention %d: layer %d twice", k, il);
            require_seam(point, il, steers(from.kind) ? "steering" : "an attention edit");
            to.slot_of_layer[(size_t) il] = l;
            to.lowest                     = to.lowest < 0 ? il : std::min(to.lowest, il);
            if (each > 0) {
                to.vectors.insert(to.vectors.end(), from.vectors + (size_t) l * each,
                                  from.vectors + (size_t) (l + 1) * each);
                float * own = to.vectors.data() + (size_t) l * each;
                EQ_REQUIRE(std::all_of(own, own + each, [](float v) { return std::isfinite(v); }),
                           "intervention %d: the vector of layer %d is not finite", k, il);
                EQ_REQUIRE(longest_change(from.kind, from.amount, own, is.width) <= most_change,
                           "intervention %d: at layer %d the change is longer than %g", k, il, most_change);
                if (from.kind == EQ_STEER_ABLATE || from.kind == EQ_STEER_CLAMP) {
                    normalise(own, is.width, il);
                } else if (from.kind == EQ_STEER_ROTATE) {
                    orthonormalise(own, own + is.width, is.width, il);
                }
            }
        }
    }
    for (const item & one : made) {
        if (one.kind == EQ_SILENCE) {
            want(LLAMA_SEAM_INP_EMBD, -1);
        }
        for (int32_t il = 0; il < is.layers; il++) {
            if (one.slot_of_layer[(size_t) il] >= 0) {
                want(point_of(one.kind), il);
            }
        }
    }
    items[(size_t) sequence] = std::move(made);
}

void interventions::report(int32_t sequence, eq_intervention_report * reports, int32_t n) const {
    EQ_REQUIRE(sequence >= 0 && sequence < is.sequences, "no sequence %d", sequence);
    const auto & of = items[(size_t) sequence];
    EQ_REQUIRE(reports && (size_t) n == of.size(), "%d reports of %zu interventions", n, of.size());
    for (int32_t k = 0; k < n; k++) {
        const item & one = of[(size_t) k];
        reports[k]       = {one.columns, one.applications, one.delta};
    }
}

void interventions::set_merge(int32_t first, int32_t second, int32_t layer) {
    EQ_REQUIRE(first >= 0 && first < is.sequences && second < is.sequences && first != second, "merge of %d and %d",
               first, second);
    if (second < 0) {
        merges[(size_t) first] = {};
        return;
    }
    EQ_REQUIRE(layer >= 0 && layer < is.layers - 1, "merge at layer %d: choose one below the last, %d", layer,
               is.layers - 1);
    for (const pair & other : merges) {
        // Pairs are worked on by different threads at once.
        EQ_REQUIRE(other.second < 0 || other.first == first ||
                       (other.first != second && other.second != first && other.second != second),
                   "merge of %d and %d: one of them is in another merge, of %d and %d", first, second, other.first,
                   other.second);
    }
    require_seam(LLAMA_SEAM_LAYER_OUT, layer, "a merge");
    version += joins[(size_t) layer] == 0;
    joins[(size_t) layer]  = 1;
    merges[(size_t) first] = {first, second, layer};
}

void interventions::begin(const eq_batch & next) {
    for (int32_t i = 0; i < next.n_tokens; i++) {
        EQ_REQUIRE(!next.labels || (next.labels[i] >= 0 && next.labels[i] < most_labels), "column %d: label %d", i,
                   next.labels[i]);
        EQ_REQUIRE(!next.merge_weights || (next.merge_weights[i] >= 0 && next.merge_weights[i] <= 1),
                   "column %d: merge weight %g", i, (double) next.merge_weights[i]);
        if (next.active && next.active[i] != 0) {
            // A token that does not even see itself may see nothing, and softmax has no value then.
            const uint64_t own  = uint64_t{1} << (next.labels ? next.labels[i] : 0);
            const auto &   list = items[(size_t) next.sequences[i]];
            for (size_t k = 0; k < list.size(); k++) {
                EQ_REQUIRE(!(next.active[i] >> k & 1) || !list[k].hides() || !(list[k].labels & own),
                           "column %d: intervention %zu would hide it from itself", i, k);
            }
        }
    }
    for (const pair & join : merges) {
        if (join.second < 0) {
            continue;
        }
        const auto count = [&](int32_t sequence) {
            return std::count(next.sequences, next.sequences + next.n_tokens, sequence);
        };
        // Before the branches part, what the first decodes is shared with the second: nothing to merge.
        EQ_REQUIRE(count(join.second) == 0 || count(join.first) == count(join.second),
                   "sequences %d and %d are merged, but have %td and %td columns", join.first, join.second,
                   count(join.first), count(join.second));
    }
    batch = &next;
}

void interventions::collect() {
    batch = nullptr;
    if (!ran) {
        return;
    }
    for (const auto & at : ran->sites) {
        for (const site::application & done : at->applications) {
            item & what = *done.what;
            what.columns += at->il == what.lowest;
            what.applications++;
            // A span that is hidden has no finite change of its score: the keys are counted as if by 1 each.
            what.delta += what.kind == EQ_ATTENTION_BIAS
                              ? std::sqrt((double) done.keys) * (std::isfinite(what.amount) ? std::fabs(what.amount) : 1)
                              : done.delta;
        }
        at->applications.clear();
    }
    ran = nullptr;
}

interventions::graph * interventions::make_graph() { return new graph(); }

void interventions::free_graph(graph * dead) {
    if (ran == dead) {
        ran = nullptr;
    }
    delete dead;
}

ggml_tensor * interventions::apply(graph & to, const llama_seam_build & build, llama_seam_point point, ggml_tensor * cur,
                                   int il) {
    if (il >= is.layers || cur->type == GGML_TYPE_COUNT) {
        return cur;
    }
    fired[index_of(is.layers, point, il)] =
        point == LLAMA_SEAM_ATTN_MASK ? cur->ne[2] == 1 && cur->ne[3] == 1 : cur->type == GGML_TYPE_F32;
    switch (point) {
        case LLAMA_SEAM_ATTN_MASK: return add_mask(to, build, cur, il);
        case LLAMA_SEAM_LAYER_OUT:
            if (wanted(point, il)) {
                cur = add_columns(to, build, point, cur, il, is.in_place);
            }
            return joins[(size_t) il] ? add_merge(to, build, cur, il) : cur;
        default: return wanted(point, il) ? add_columns(to, build, point, cur, il, false) : cur;
    }
}

ggml_tensor * interventions::add_columns(graph & to, const llama_seam_build & build, llama_seam_point point,
                                         ggml_tensor * cur, int il, bool overwrite) {
    const int64_t columns = cur->ne[point == LLAMA_SEAM_QUERIES ? 2 : 1];
    to.sites.push_back(std::make_unique<site>(site{this, &to, point, il, is.width, columns != build.n_tokens, {}, {}}));
    site *        user = to.sites.back().get();
    ggml_tensor * node =
        overwrite ? ggml_custom_inplace(build.ctx, cur, nullptr, 0, columns_op, GGML_N_TASKS_MAX, user)
                  : ggml_custom_4d(build.ctx, GGML_TYPE_F32, cur->ne[0], cur->ne[1], cur->ne[2], 1, &cur, 1, columns_op,
                                   GGML_N_TASKS_MAX, user);
    ggml_format_name(node, "equipoise_columns-%d-%d", (int) point, il);
    return node;
}

ggml_tensor * interventions::add_merge(graph & to, const llama_seam_build & build, ggml_tensor * cur, int il) {
    to.merges.push_back(std::make_unique<site>(
        site{this, &to, LLAMA_SEAM_LAYER_OUT, il, is.width, cur->ne[1] != build.n_tokens, {}, {}}));
    site *        user = to.merges.back().get();
    ggml_tensor * node =
        is.in_place ? ggml_custom_inplace(build.ctx, cur, nullptr, 0, merge_op, GGML_N_TASKS_MAX, user)
                    : ggml_custom_4d(build.ctx, GGML_TYPE_F32, cur->ne[0], cur->ne[1], 1, 1, &cur, 1, merge_op,
                                     GGML_N_TASKS_MAX, user);
    ggml_format_name(node, "equipoise_merge-%d", il);
    return node;
}

// The node that notes which cells the tokens went to. One per cache, in the order in which layers use them, so that a
// cache keeps its ledger from graph to graph.
ggml_tensor * interventions::ledger_of(graph & to, const llama_seam_build & build) {
    for (const auto & known : to.caches) {
        if (known->cells == build.cells) {
            return known->written;
        }
    }
    to.caches.push_back(
        std::make_unique<graph::cache>(graph::cache{this, &to, build.cells, nullptr, to.caches.size()}));
    graph::cache & made = *to.caches.back();
    if (made.index == ledgers.size()) {
        ledgers.emplace_back(ledgers.front().size(), (uint8_t) 0);
    }
    ggml_tensor *  read = build.cells;
    made.written = ggml_custom_4d(build.ctx, GGML_TYPE_F32, 1, 1, 1, 1, &read, 1, ledger_op, GGML_N_TASKS_MAX, &made);
    ggml_format_name(made.written, "equipoise_ledger-%zu", made.index);
    ggml_build_forward_expand(build.gf, made.written);
    return made.written;
}

ggml_tensor * interventions::add_mask(graph & to, const llama_seam_build & build, ggml_tensor * mask, int il) {
    bool any = false;
    for (int32_t layer = 0; layer < is.layers; layer++) {
        any |= wanted(LLAMA_SEAM_ATTN_MASK, layer);
    }
    if (!any) {
        return mask;
    }
    ggml_tensor * written = ledger_of(to, build);
    if (!wanted(LLAMA_SEAM_ATTN_MASK, il)) {
        return mask;
    }
    to.sites.push_back(
        std::make_unique<site>(site{this, &to, LLAMA_SEAM_ATTN_MASK, il, 0, false, {}, {}}));
    const auto cache = std::find_if(to.caches.begin(), to.caches.end(),
                                    [&](const auto & known) { return known->cells == build.cells; });
    site * user      = to.sites.back().get();
    user->width      = (int64_t) (*cache)->index;
    ggml_tensor * read[] = {mask, written};
    ggml_tensor * node   = ggml_custom_4d(build.ctx, mask->type, mask->ne[0], mask->ne[1], 1, 1, read, 2, mask_op,
                                          GGML_N_TASKS_MAX, user);
    ggml_format_name(node, "equipoise_mask-%d", il);
    return node;
}

void interventions::lay_out(graph & to, const llama_seam_tokens & tokens) {
    if (to.sites.empty() && to.merges.empty() && to.caches.empty()) {
        return;
    }
    EQ_REQUIRE(batch && batch->n_tokens == tokens.n_tokens, "a batch of %d tokens was split",
               batch ? batch->n_tokens : -1);
    const size_t n = (size_t) tokens.n_tokens;
    to.labels.resize(n);
    to.sequences.resize(n);
    to.output_of.resize(n);
    int32_t outputs = 0;
    for (size_t i = 0; i < n; i++) {
        to.labels[i]    = batch->labels ? (uint8_t) batch->labels[i] : 0;
        to.sequences[i] = tokens.seq_id[i][0];
        to.output_of[i] = tokens.output[i] ? outputs++ : -1;
    }
    for (const auto & at : to.sites) {
        lay_out_site(*at, to);
    }
    for (const auto & at : to.merges) {
        lay_out_merge(*at, to);
    }
    ran = &to;
}

void interventions::lay_out_site(site & at, const graph & of) {
    at.applications.clear();
    if (!batch->active) {
        return;
    }
    for (size_t i = 0; i < of.sequences.size(); i++) {
        const uint64_t active = batch->active[i];
        const int32_t  column = at.by_output ? of.output_of[i] : (int32_t) i;
        if (active == 0 || column < 0) {
            continue;
        }
        auto & list = items[(size_t) of.sequences[i]];
        for (size_t k = 0; k < list.size(); k++) {
            item & what = list[k];
            if ((active >> k & 1) && what.acts(at.point, at.il)) {
                const size_t  each    = what.vectors.empty() ? 0 : (size_t) is.width * (what.kind == EQ_STEER_ROTATE ? 2 : 1);
                const float * vectors = each == 0 ? nullptr
                                                  : what.vectors.data() + each * (size_t) what.slot_of_layer[(size_t) at.il];
                at.applications.push_back({column, &what, vectors, 0, 0});
            }
        }
    }
}

void interventions::lay_out_merge(site & at, const graph & of) {
    at.joins.clear();
    for (const pair & join : merges) {
        if (join.second < 0 || join.layer != at.il) {
            continue;
        }
        // The k-th column of the one with the k-th of the other.
        size_t b = 0;
        for (size_t a = 0; a < of.sequences.size(); a++) {
            if (of.sequences[a] != join.first) {
                continue;
            }
            while (b < of.sequences.size() && of.sequences[b] != join.second) {
                b++;
            }
            if (b == of.sequences.size()) {
                break;
            }
            at.joins.push_back({(int32_t) a, (int32_t) b, batch->merge_weights ? batch->merge_weights[a] : 0.5f});
            b++;
        }
    }
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
            case EQ_QUERY_SCALE: eqk_scale(x, rows * width, act.what->amount, &act.delta); break;
            case EQ_SILENCE:     eqk_scale(x, width, 0, &act.delta); break;
            default: {
                const float * second = act.what->kind == EQ_STEER_ROTATE ? act.vectors + at.width : nullptr;
                eqk_steer(act.what->kind, x, act.vectors, second, at.width, act.what->amount, &act.delta);
            }
        }
    }
}

void interventions::merge_op(ggml_tensor * dst, int ith, int nth, void * user) {
    const auto & at = *static_cast<const site *>(user);
    if (!dst->view_src) {
        // Every thread copies what it merges and a share of the rest: pairs are disjoint.
        for (int64_t c = 0; c < dst->ne[1]; c++) {
            int64_t turn = c;
            for (size_t j = 0; j < at.joins.size(); j++) {
                turn = at.joins[j].first == c || at.joins[j].second == c ? (int64_t) j : turn;
            }
            if (turn % nth == ith) {
                memcpy(column_of(dst, 1, c), column_of(dst->src[0], 1, c), (size_t) dst->ne[0] * sizeof(float));
            }
        }
    }
    for (size_t j = (size_t) ith; j < at.joins.size(); j += (size_t) nth) {
        const site::join & join = at.joins[j];
        eqk_merge(column_of(dst, 1, join.first), column_of(dst, 1, join.second), dst->ne[0], join.weight);
    }
}

void interventions::ledger_op(ggml_tensor * dst, int ith, int, void * user) {
    if (ith != 0) {
        return; // every thread of the graph calls
    }
    const auto & at     = *static_cast<const graph::cache *>(user);
    const auto * cells  = static_cast<const int64_t *>(dst->src[0]->data);
    auto &       ledger = at.owner->ledgers[at.index];
    for (size_t i = 0; i < at.of->labels.size(); i++) {
        ledger[(size_t) cells[i]] = at.of->labels[i];
    }
}

// Keys are shared among the threads, so that one token's long row is too.
void interventions::mask_op(ggml_tensor * dst, int ith, int nth, void * user) {
    auto &               at     = *static_cast<site *>(user);
    const ggml_tensor *  src    = dst->src[0];
    const auto &         ledger = at.owner->ledgers[(size_t) at.width];
    const int64_t        first  = dst->ne[0] * ith / nth;
    const int64_t        last   = dst->ne[0] * (ith + 1) / nth;
    const size_t         each   = ggml_type_size(dst->type);
    for (int64_t c = 0; c < dst->ne[1]; c++) {
        memcpy(static_cast<char *>(dst->data) + (size_t) c * dst->nb[1] + (size_t) first * each,
               static_cast<const char *>(src->data) + (size_t) c * src->nb[1] + (size_t) first * each,
               (size_t) (last - first) * each);
    }
    for (site::application & act : at.applications) {
        char * const   row    = static_cast<char *>(dst->data) + (size_t) act.column * dst->nb[1];
        const uint64_t labels = act.what->labels;
        const float    bias   = act.what->amount;
        int64_t        keys   = 0;
        for (int64_t j = first; j < last; j++) {
            if (!(labels >> ledger[(size_t) j] & 1)) {
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
        std::atomic_ref(act.keys).fetch_add(keys, std::memory_order_relaxed);
    }
}

} // namespace eq
