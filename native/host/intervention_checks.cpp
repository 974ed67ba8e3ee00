// What may be asked for: an intervention as the caller has it, checked and taken over. Nothing changes meanwhile.
#include "intervention_nodes.hpp"

#include "host.hpp"

#include <algorithm>
#include <cmath>

namespace eq {

namespace {

// e^1000 is all or nothing already, and even most_edits of them stay within F16's 65504: a mask never becomes infinite
// by what is finite.
constexpr float   most_bias   = 1000;
// Scores and hidden states must not overflow: NaN in one sequence's keys would reach all others through the cells that
// they mask. Squares of the longest change, as norms take them, stay within float, also of most_edits at each layer.
constexpr float   most_scale  = 1e4f;
constexpr float   most_factor = 100;
constexpr double  most_change = 1e15;
// Turned to a sink: what is added is of finite length before the length is taken back.
constexpr float   most_turn         = 1000;
constexpr float   least_temperature = 1e-3f;
constexpr float   most_state        = 1e6f;

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
    if (!adds(kind)) {
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

bool within(float value, float low, float high) { return value >= low && value <= high; }

// Numbers that the kinds allow; k is the intervention's number.
void require_numbers(const eq_intervention & from, int32_t k) {
    const float   a = from.amount;
    const float * p = from.parameters;
    bool          ok;
    switch (from.kind) {
        case EQ_ATTENDED_BIAS:
            // Both are counts, which float32 holds.
            ok = within(a, -most_bias, most_bias) && within(p[0], 0, 1 << 24) && p[0] == std::floor(p[0]) &&
                 within(p[1], 0, 1 << 24) && p[1] == std::floor(p[1]);
            break;
        case EQ_ATTENTION_BIAS: ok = a == -INFINITY || within(a, -most_bias, most_bias); break;
        case EQ_QUERY_SCALE:    ok = within(a, -most_scale, most_scale); break;
        case EQ_SCORES_RAISE:
        case EQ_SCORES_SCALE:   ok = within(a, -most_factor, most_factor); break;
        case EQ_WEIGHTS_MOVE:   ok = within(a, 0, 1) && within(p[0], 0, 1); break;
        case EQ_WEIGHTS_MUTE:   ok = within(a, 0, 1); break;
        case EQ_WEIGHTS_SINKS:
            ok = a >= 0 && std::isfinite(a) && within(p[0], 0, 1) && within(p[1], 0, 1) && within(p[2], 0, 1);
            break;
        case EQ_SINKS_TURN:
            ok = within(a, 0, most_turn) && within(p[0], least_temperature, 1 / least_temperature) &&
                 within(p[1], 0, most_state) && within(p[2], 0, most_state) && within(p[3], 0, 1 << 24) &&
                 p[3] == std::floor(p[3]);
            break;
        case EQ_EXITS_MEAN:     ok = within(a, 0, 1) && (p[0] == 0 || p[0] == 1); break;
        case EQ_EXITS_CONTRAST: // the second is an eqk_divergence
            ok = within(a, 0, 1) && (p[0] == 0 || p[0] == 1) && (p[1] == 0 || p[1] == 1);
            break;
        default:                ok = std::isfinite(a);
    }
    EQ_REQUIRE(ok, "intervention %d of kind %d: amount %g with %g, %g, %g is out of range", k, from.kind, (double) a,
               (double) p[0], (double) p[1], (double) p[2]);
    EQ_REQUIRE(from.kind != EQ_WEIGHTS_MOVE || (from.labels & from.other_labels) == 0,
               "intervention %d: moves weight from keys to themselves", k);
}

} // namespace

void interventions::require_seam(llama_seam_point point, int32_t il, const char * what) const {
    bool there;
    switch (point) {
        case LLAMA_SEAM_SCORES:
        case LLAMA_SEAM_WEIGHTS:
            // Shown only where they are wanted: on the way from the mask to the values.
            there = fired[index_of(is.layers, LLAMA_SEAM_ATTN_MASK, il)] != 0;
            break;
        case LLAMA_SEAM_LOGITS:
            there = is.exits &&
                    fired[index_of(is.layers, il < 0 ? LLAMA_SEAM_INP_EMBD : LLAMA_SEAM_LAYER_OUT, il)] != 0;
            break;
        case LLAMA_SEAM_ATTN_OUT:
        case LLAMA_SEAM_FFN_OUT:
        case LLAMA_SEAM_NORM_OUT:
            // A second norm after attention, or a feed-forward in two parts: not what meets the residual.
            there = is.plain && fired[index_of(is.layers, LLAMA_SEAM_ATTN_OUT, il)] == 1 &&
                    fired[index_of(is.layers, LLAMA_SEAM_FFN_OUT, il)] == 1 &&
                    fired[index_of(is.layers, LLAMA_SEAM_NORM_OUT, il)] == 2;
            break;
        default: there = fired[index_of(is.layers, point, il)] != 0;
    }
    if (!there) {
        fail(EQ_UNAVAILABLE, "the graph of this architecture has no place for %s at layer %d", what, il);
    }
}

// Layer number l of an intervention's list.
void interventions::take_layer(item & to, const eq_intervention & from, int32_t k, int32_t l) const {
    const int32_t il = from.layers[l];
    if (il == -1 && exits(to.kind)) {
        EQ_REQUIRE(!to.embedding, "intervention %d: the input twice", k);
        require_seam(to.point(), il, "an early exit");
        to.embedding = true;
        return;
    }
    EQ_REQUIRE(il >= 0 && il < is.layers, "intervention %d: no layer %d, the model has 0..%d", k, il, is.layers - 1);
    EQ_REQUIRE(to.slot_of_layer[(size_t) il] < 0, "intervention %d: layer %d twice", k, il);
    const bool input = to.point() == LLAMA_SEAM_INP_EMBD;
    require_seam(to.point(), input ? -1 : il,
                 edits_attention(to.kind) ? "an attention edit" : exits(to.kind) ? "an early exit" : "steering");
    EQ_REQUIRE(to.heads.empty() || (int32_t) to.heads.size() == heads[(size_t) il],
               "intervention %d: %zu heads, layer %d has %d", k, to.heads.size(), il, heads[(size_t) il]);
    to.slot_of_layer[(size_t) il] = l;
    to.lowest                     = input ? -1 : to.lowest < 0 ? il : std::min(to.lowest, il);
    if (!steers(from.kind)) {
        return;
    }
    const size_t each = (size_t) is.width * (rotates(from.kind) ? 2 : 1);
    to.vectors.insert(to.vectors.end(), from.vectors + (size_t) l * each, from.vectors + (size_t) (l + 1) * each);
    float * own = to.vectors.data() + (size_t) l * each;
    EQ_REQUIRE(std::all_of(own, own + each, [](float v) { return std::isfinite(v); }),
               "intervention %d: the vector of layer %d is not finite", k, il);
    EQ_REQUIRE(longest_change(from.kind, from.amount, own, is.width) <= most_change,
               "intervention %d: at layer %d the change is longer than %g", k, il, most_change);
    if (rotates(from.kind)) {
        orthonormalise(own, own + is.width, is.width, il);
    } else if (!adds(from.kind)) {
        normalise(own, is.width, il);
    }
}

// What finds and turns needs to know of the model.
void interventions::require_values(const eq_intervention & from, int32_t k) const {
    EQ_REQUIRE(!from.heads, "intervention %d: all heads are turned to sinks", k);
    if (is.alibi) {
        fail(EQ_UNAVAILABLE, "sinks that gather from what the mask hides under ALiBi, which is part of the mask");
    }
    for (int32_t l = 0; l < from.n_layers; l++) {
        if (!valued[(size_t) from.layers[l]]) {
            fail(EQ_UNAVAILABLE, "the graph of this architecture has no place for a turn to sinks at layer %d, which keeps "
                 "its values elsewhere", from.layers[l]);
        }
    }
}

interventions::item interventions::make(const eq_intervention & from, int32_t k) const {
    const bool looks = from.kind == EQ_WEIGHTS_READ || from.kind == EQ_STATES_READ;
    const bool bare  = from.kind == EQ_SILENCE || from.kind == EQ_MUTE;
    EQ_REQUIRE(steers(from.kind) || edits_attention(from.kind) || exits(from.kind) || looks || bare,
               "intervention %d: no kind %d", k, from.kind);
    EQ_REQUIRE(from.at >= EQ_AT_LAYER && from.at <= EQ_AT_EMBEDDING, "intervention %d: no place %d", k, from.at);
    EQ_REQUIRE(from.at != EQ_AT_EMBEDDING || (from.n_layers == 1 && from.layers && from.layers[0] == 0),
               "intervention %d: embeddings enter layer 0 alone", k);
    item to;
    to.kind         = from.kind;
    to.place        = from.at;
    to.amount       = from.amount;
    to.labels       = from.labels;
    to.other_labels = from.other_labels;
    std::copy(from.parameters, from.parameters + 4, to.parameters);
    to.slot_of_layer.assign((size_t) is.layers, -1);
    if (from.kind == EQ_SILENCE) {
        require_seam(LLAMA_SEAM_INP_EMBD, -1, "silence");
        return to;
    }
    require_numbers(from, k);
    EQ_REQUIRE(from.layers && from.n_layers >= 1, "intervention %d: no layer", k);
    EQ_REQUIRE(steers(from.kind) == (from.vectors != nullptr), "intervention %d: vectors", k);
    EQ_REQUIRE(!from.heads || (edits_attention(from.kind) && from.n_heads >= 1), "intervention %d: heads", k);
    EQ_REQUIRE(!from.heads || from.kind != EQ_ATTENDED_BIAS, "intervention %d: keys are chosen for all heads", k);
    if (to.point() == LLAMA_SEAM_ATTN_MASK && is.alibi) {
        fail(EQ_UNAVAILABLE, "a bias on attention under ALiBi, which scales the mask it would be part of");
    }
    if (from.heads) {
        to.heads.assign(from.heads, from.heads + from.n_heads);
        EQ_REQUIRE(std::any_of(to.heads.begin(), to.heads.end(), [](uint8_t on) { return on != 0; }),
                   "intervention %d: no head", k);
    }
    if (from.kind == EQ_WEIGHTS_SINKS) {
        EQ_REQUIRE(from.dimensions && from.n_dimensions >= 1, "intervention %d: no dimension to know sinks by", k);
        to.dimensions.assign(from.dimensions, from.dimensions + from.n_dimensions);
        EQ_REQUIRE(std::all_of(to.dimensions.begin(), to.dimensions.end(),
                               [&](int32_t d) { return d >= 0 && d < is.width; }),
                   "intervention %d: a dimension beyond 0..%d", k, is.width - 1);
    }
    for (int32_t l = 0; l < from.n_layers; l++) {
        take_layer(to, from, k, l);
    }
    if (from.kind == EQ_SINKS_TURN) {
        require_values(from, k);
    }
    if (from.kind == EQ_ATTENDED_BIAS) {
        to.looked = (int32_t) from.parameters[1];
        EQ_REQUIRE(to.looked < to.lowest, "intervention %d: layer %d chooses keys for layer %d", k, to.looked,
                   to.lowest);
        require_seam(LLAMA_SEAM_WEIGHTS, to.looked, "a choice of keys");
    }
    if (looks) {
        to.views.resize((size_t) from.n_layers);
        for (int32_t l = 0; l < from.n_layers; l++) {
            const int32_t rows = from.kind == EQ_WEIGHTS_READ ? heads[(size_t) from.layers[l]] * n_labels : is.width;
            to.views[(size_t) l].sums.assign((size_t) rows, 0);
        }
    }
    return to;
}

} // namespace eq
