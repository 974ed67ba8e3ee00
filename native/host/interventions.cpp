#include "intervention_nodes.hpp"

#include "host.hpp"

#include <algorithm>
#include <cmath>

namespace eq {

namespace {

constexpr int32_t most_items  = 64; // bits of eq_batch.active
constexpr int32_t most_labels = 64; // bits of eq_intervention.labels
// e^1000 is all or nothing already, and even most_items of them stay within F16's 65504: a mask never becomes infinite
// by what is finite.
constexpr float   most_bias   = 1000;
// Scores and hidden states must not overflow: NaN in one sequence's keys would reach all others through the cells that
// they mask. Squares of the longest change, as norms take them, stay within float, also of most_items at each layer.
constexpr float   most_scale  = 1e4f;
constexpr double  most_change = 1e15;

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

interventions::interventions(const limits & of)
    : is(of), items((size_t) of.sequences), merges((size_t) of.sequences),
      wants((size_t) (n_points * (of.layers + 1)), 0), fired(wants.size(), 0), joins((size_t) of.layers, 0), ledgers(1) {}

interventions::~interventions() = default;

void interventions::set_cells(int32_t n_cells) {
    for (auto & ledger : ledgers) {
        ledger.assign((size_t) n_cells, 0);
    }
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

} // namespace eq
