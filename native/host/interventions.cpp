#include "intervention_nodes.hpp"

#include "cuda_nodes.hpp"
#include "host.hpp"

#include "equipoise_edits.h"

#include "ggml-backend.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <tuple>

namespace eq {

namespace {

constexpr int32_t most_items  = eqk::most_edits; // bits of eq_batch.active
// e^1000 is all or nothing already, and even most_items of them stay within F16's 65504: a mask never becomes infinite
// by what is finite.
constexpr float   most_bias   = 1000;
// Scores and hidden states must not overflow: NaN in one sequence's keys would reach all others through the cells that
// they mask. Squares of the longest change, as norms take them, stay within float, also of most_items at each layer.
constexpr float   most_scale  = 1e4f;
constexpr float   most_factor = 100;
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

} // namespace

interventions::interventions(const limits & of)
    : is(of), items((size_t) of.sequences + 1), merges((size_t) of.sequences), ends(items.size(), -1),
      wants_at((size_t) (n_points * (of.layers + 1)), 0), fired(wants_at.size(), 0), heads((size_t) of.layers, 0),
      joins((size_t) of.layers, 0), head_masks((size_t) of.layers, 0), sinks((size_t) of.layers, 0),
      watched(wants_at.size(), 0), books(of.sequences, of.places) {}

interventions::~interventions() = default;

void interventions::set_cells(int32_t n_cells) { cells = n_cells; }

int32_t interventions::heads_of(int32_t il) const {
    return il >= 0 && il < is.layers ? heads[(size_t) il] : 0;
}

bool interventions::wanted(llama_seam_point point, int32_t il) const {
    return wants_at[index_of(is.layers, point, il)] != 0;
}

bool interventions::wants(llama_seam_point point, int32_t il) const {
    if (point == LLAMA_SEAM_LOGITS) {
        return wanted(LLAMA_SEAM_LOGITS, -1);
    }
    return il >= 0 && il < is.layers && (wanted(LLAMA_SEAM_SCORES, il) || wanted(LLAMA_SEAM_WEIGHTS, il));
}

bool interventions::wants_attention() const {
    for (int32_t il = 0; il < is.layers; il++) {
        if (wanted(LLAMA_SEAM_ATTN_MASK, il) || wants(LLAMA_SEAM_WEIGHTS, il)) {
            return true;
        }
    }
    return false;
}

void interventions::want(llama_seam_point point, int32_t il) {
    uint8_t & at = wants_at[index_of(is.layers, point, il)];
    version += at == 0;
    at = 1;
}

void interventions::want(const item & what) {
    const llama_seam_point point = what.point();
    if (point == LLAMA_SEAM_INP_EMBD || point == LLAMA_SEAM_LOGITS) {
        want(point, -1);
    }
    if (exits(what.kind)) {
        version += (!exits_bare && what.parameters[0] == 0) + (!exits_input && what.embedding);
        exits_bare |= what.parameters[0] == 0;
        exits_input |= what.embedding;
    }
    for (int32_t il = 0; il < is.layers; il++) {
        if (what.slot_of_layer[(size_t) il] < 0 || point == LLAMA_SEAM_INP_EMBD) {
            continue;
        }
        want(point, il);
        const auto need = [&](std::vector<uint8_t> & flags) {
            version += flags[(size_t) il] == 0;
            flags[(size_t) il] = 1;
        };
        if (what.kind == EQ_ATTENTION_BIAS && !what.heads.empty()) {
            need(head_masks);
        }
        if (what.kind == EQ_WEIGHTS_SINKS) {
            need(sinks);
        }
        if (what.kind == EQ_WEIGHTS_READ) {
            uint8_t & here = watched[index_of(is.layers, point, il)];
            version += here == 0;
            here = 1;
        }
    }
}

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

namespace {

bool within(float value, float low, float high) { return value >= low && value <= high; }

// Numbers that the kinds allow; k is the intervention's number.
void require_numbers(const eq_intervention & from, int32_t k) {
    const float   a = from.amount;
    const float * p = from.parameters;
    bool          ok;
    switch (from.kind) {
        case EQ_ATTENTION_BIAS: ok = a == -INFINITY || within(a, -most_bias, most_bias); break;
        case EQ_QUERY_SCALE:    ok = within(a, -most_scale, most_scale); break;
        case EQ_SCORES_RAISE:
        case EQ_SCORES_SCALE:   ok = within(a, -most_factor, most_factor); break;
        case EQ_WEIGHTS_MOVE:   ok = within(a, 0, 1) && within(p[0], 0, 1); break;
        case EQ_WEIGHTS_SINKS:
            ok = a >= 0 && std::isfinite(a) && within(p[0], 0, 1) && within(p[1], 0, 1) && within(p[2], 0, 1);
            break;
        case EQ_EXITS_MEAN:
        case EQ_EXITS_CONTRAST: ok = within(a, 0, 1) && (p[0] == 0 || p[0] == 1); break;
        default:                ok = std::isfinite(a);
    }
    EQ_REQUIRE(ok, "intervention %d of kind %d: amount %g with %g, %g, %g is out of range", k, from.kind, (double) a,
               (double) p[0], (double) p[1], (double) p[2]);
    EQ_REQUIRE(from.kind != EQ_WEIGHTS_MOVE || (from.labels & from.other_labels) == 0,
               "intervention %d: moves weight from keys to themselves", k);
}

} // namespace

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
    std::copy(from.parameters, from.parameters + 3, to.parameters);
    to.slot_of_layer.assign((size_t) is.layers, -1);
    if (from.kind == EQ_SILENCE) {
        require_seam(LLAMA_SEAM_INP_EMBD, -1, "silence");
        return to;
    }
    require_numbers(from, k);
    EQ_REQUIRE(from.layers && from.n_layers >= 1, "intervention %d: no layer", k);
    EQ_REQUIRE(steers(from.kind) == (from.vectors != nullptr), "intervention %d: vectors", k);
    EQ_REQUIRE(!from.heads || (edits_attention(from.kind) && from.n_heads >= 1), "intervention %d: heads", k);
    if (from.kind == EQ_ATTENTION_BIAS && is.alibi) {
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
    if (looks) {
        to.views.resize((size_t) from.n_layers);
        for (int32_t l = 0; l < from.n_layers; l++) {
            const int32_t rows = from.kind == EQ_WEIGHTS_READ ? heads[(size_t) from.layers[l]] * n_labels : is.width;
            to.views[(size_t) l].sums.assign((size_t) rows, 0);
        }
    }
    return to;
}

void interventions::set(int32_t sequence, const eq_intervention * list, int32_t n) {
    EQ_REQUIRE(sequence >= 0 && sequence < is.sequences, "no sequence %d", sequence);
    EQ_REQUIRE(n >= 0 && n <= most_items && (list || n == 0), "%d interventions, at most %d", n, most_items);
    std::vector<item> made;
    for (int32_t k = 0; k < n; k++) {
        made.push_back(make(list[k], k));
    }
    for (const item & one : made) {
        want(one);
    }
    const auto n_exits = (int32_t) std::count_if(made.begin(), made.end(), [](const item & one) { return exits(one.kind); });
    version += n_exits > most_exits;
    most_exits = std::max(most_exits, n_exits);
    items[(size_t) sequence] = std::move(made);
    book_due = true;
    books.clear_deltas(sequence);
}

namespace {

// The book's word for a kind, -1 for what is the CPU's alone.
int32_t device_kind_of(int32_t kind) {
    switch (kind) {
        case EQ_MUTE:
        case EQ_QUERY_SCALE:    return eqk::scale_rows;
        case EQ_STATES_READ:    return eqk::read_states;
        case EQ_ATTENTION_BIAS: return eqk::bias_keys;
        case EQ_SCORES_RAISE:   return eqk::raise_scores;
        case EQ_SCORES_SCALE:   return eqk::scale_scores;
        case EQ_WEIGHTS_MOVE:   return eqk::move_weights;
        case EQ_WEIGHTS_SINKS:  return eqk::drain_sinks;
        case EQ_EXITS_MEAN:     return eqk::exits_mean;
        case EQ_EXITS_CONTRAST: return eqk::exits_contrast;
        default:                return steers(kind) ? kind : -1;
    }
}

void write_set(int32_t * halves, uint64_t set) {
    halves[0] = (int32_t) (uint32_t) set;
    halves[1] = (int32_t) (uint32_t) (set >> 32);
}

} // namespace

void interventions::write_edit(int32_t * words, int32_t kind, const item & what) {
    using book         = eqk::edit_book;
    words[book::kind]  = kind;
    words[book::point] = what.point();
    words[book::amount] = std::bit_cast<int32_t>(what.amount);
    write_set(words + book::labels, exits(what.kind) ? what.embedding : what.labels);
    write_set(words + book::others, what.other_labels);
    for (int32_t p = 0; p < 3; p++) {
        words[book::parameters + p] = std::bit_cast<int32_t>(what.parameters[p]);
    }
    words[book::dimensions] = (int32_t) what.dimensions.size();
}

void interventions::write_floats(std::vector<float> & to, const item & what, int32_t il) const {
    if (steers(what.kind)) {
        const size_t  each = (size_t) is.width * (rotates(what.kind) ? 2 : 1);
        const float * own  = what.vectors.data() + what.slot(il) * each;
        to.insert(to.end(), own, own + each);
    } else if (what.kind == EQ_MUTE) {
        to.push_back(0);
    } else if (what.kind != EQ_ATTENTION_BIAS && !exits(what.kind)) {
        to.insert(to.end(), what.dimensions.begin(), what.dimensions.end()); // exact: there are fewer than 2^24
        const bool scales = what.kind == EQ_QUERY_SCALE;
        for (int32_t h = 0; h < heads[(size_t) il]; h++) {
            to.push_back(what.at(h) ? (scales ? what.amount : 1.0f) : (scales ? 1.0f : 0.0f));
        }
    }
}

// What acts on a device, for all sequences: the rest is the CPU's.
void interventions::write_book() {
    if (!book_due || !books.any()) {
        return;
    }
    book_due = false;
    std::vector<int32_t> words((size_t) eqk::edit_book::n_words(is.sequences, is.layers), -1);
    std::vector<float>   floats;
    sums = 0;
    for (int32_t s = 0; s < is.sequences; s++) {
        auto & list = items[(size_t) s];
        for (size_t k = 0; k < list.size(); k++) {
            item &        what = list[k];
            const int32_t kind = device_kind_of(what.kind);
            if (kind < 0) {
                continue;
            }
            write_edit(words.data() + eqk::edit_book::edit_at(s, (int32_t) k), kind, what);
            for (int32_t il = 0; il < is.layers; il++) {
                const int32_t slot = what.slot_of_layer[(size_t) il];
                if (slot < 0 || (ends_at(s) >= 0 && il > ends_at(s))) {
                    continue;
                }
                int32_t & place = words[(size_t) eqk::edit_book::place_at(is.sequences, is.layers, s, (int32_t) k, il)];
                place           = (int32_t) floats.size();
                if (what.kind == EQ_STATES_READ) {
                    place                              = (int32_t) sums;
                    what.views[(size_t) slot].on_device = sums;
                    sums += is.width + 1;
                } else {
                    write_floats(floats, what, il);
                }
            }
        }
    }
    EQ_REQUIRE(floats.size() <= INT32_MAX && sums <= INT32_MAX, "%zu numbers of vectors and %lld of states in force at once",
               floats.size(), (long long) sums);
    version += books.reserve((int64_t) floats.size());
    version += books.reserve_sums(sums);
    books.write(std::move(words), std::move(floats));
}

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
    const auto as_it_was = std::make_tuple(wants_at, joins, head_masks, sinks, watched, exits_bare, exits_input);
    const auto forget    = [&] {
        std::tie(wants_at, joins, head_masks, sinks, watched, exits_bare, exits_input) = as_it_was;
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
        enum class role { acting, watching, merging };
        std::map<const void *, std::pair<const site *, role>> ours;
        const auto take = [&](const auto & sites, role as) {
            for (const auto & each : sites) {
                ours[each.get()] = {each.get(), as};
            }
        };
        take(at.ours->sites, role::acting);
        take(at.ours->watches, role::watching);
        take(at.ours->merges, role::merging);
        const auto is_for = [&](int32_t k, const site & of, role as) {
            if (as == role::merging || k == n) {
                return as == role::merging && k == n && of.il == merge_layer;
            }
            const item & what = supposed[(size_t) k];
            return as == role::watching ? what.kind == EQ_WEIGHTS_SINKS && what.slot_of_layer[(size_t) of.il] >= 0
                                       : what.acts(of.point, of.il);
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

void interventions::report(int32_t sequence, eq_intervention_report * reports, int32_t n) const {
    EQ_REQUIRE(sequence >= 0 && sequence < is.sequences, "no sequence %d", sequence);
    const auto & of = items[(size_t) sequence];
    EQ_REQUIRE(reports && (size_t) n == of.size(), "%d reports of %zu interventions", n, of.size());
    double on_devices[most_items] = {};
    books.add_deltas(sequence, on_devices);
    for (int32_t k = 0; k < n; k++) {
        const item & one = of[(size_t) k];
        reports[k]       = {one.columns, one.applications, one.delta + on_devices[k]};
    }
}

const interventions::item & interventions::reader(int32_t sequence, int32_t index, int32_t il, int32_t kind) const {
    EQ_REQUIRE(sequence >= 0 && sequence < is.sequences, "no sequence %d", sequence);
    const auto & of = items[(size_t) sequence];
    EQ_REQUIRE(index >= 0 && (size_t) index < of.size() && of[(size_t) index].kind == kind,
               "sequence %d: intervention %d does not read that", sequence, index);
    EQ_REQUIRE(il >= 0 && il < is.layers && of[(size_t) index].slot_of_layer[(size_t) il] >= 0,
               "intervention %d does not read layer %d", index, il);
    return of[(size_t) index];
}

void interventions::attention_read(int32_t sequence, int32_t index, int32_t il, double * mass, int32_t n_heads,
                                   float * row, int32_t n_columns, int64_t * n_queries) const {
    const item &       of   = reader(sequence, index, il, EQ_WEIGHTS_READ);
    const item::view & seen = of.views[(size_t) of.slot_of_layer[(size_t) il]];
    EQ_REQUIRE(mass && n_heads == heads[(size_t) il], "layer %d has %d heads, not %d", il, heads[(size_t) il], n_heads);
    EQ_REQUIRE(n_queries && n_columns >= 0 && (row || n_columns == 0), "eq_attention_read: a null pointer");
    std::copy(seen.sums.begin(), seen.sums.end(), mass);
    for (int32_t i = 0; i < n_columns; i++) {
        row[i] = (size_t) i < seen.row.size() ? seen.row[(size_t) i] : 0;
    }
    *n_queries = seen.count;
}

void interventions::states_read(int32_t sequence, int32_t index, int32_t il, double * sum, int64_t * n_states) const {
    const item &       of   = reader(sequence, index, il, EQ_STATES_READ);
    const item::view & seen = of.views[(size_t) of.slot_of_layer[(size_t) il]];
    EQ_REQUIRE(sum && n_states, "eq_states_read: a null pointer");
    std::copy(seen.sums.begin(), seen.sums.end(), sum);
    *n_states = seen.count;
}

void interventions::set_merge(int32_t first, int32_t second, int32_t layer) {
    EQ_REQUIRE(first >= 0 && first < is.sequences && second < is.sequences && first != second, "merge of %d and %d",
               first, second);
    book_due   = true;
    pair & own = merges[(size_t) first];
    if (second < 0) {
        if (own.second >= 0) {
            ends[(size_t) own.second] = -1;
        }
        own = {};
        books.clear_merged(first);
        return;
    }
    EQ_REQUIRE(layer >= 0 && layer < is.layers - 1, "merge at layer %d: choose one below the last, %d", layer,
               is.layers - 1);
    for (const pair & other : merges) {
        EQ_REQUIRE(other.second < 0 || other.first == first ||
                       (other.first != second && other.second != first && other.second != second),
                   "merge of %d and %d: one of them is in another merge, of %d and %d", first, second, other.first,
                   other.second);
    }
    require_seam(LLAMA_SEAM_LAYER_OUT, layer, "a merge");
    version += joins[(size_t) layer] == 0;
    joins[(size_t) layer] = 1;
    if (own.second >= 0) {
        ends[(size_t) own.second] = -1;
    }
    own                   = {first, second, layer, {}};
    books.clear_merged(first);
    ends[(size_t) second] = layer;
}

void interventions::begin(const eq_batch & next) {
    for (int32_t i = 0; i < next.n_tokens; i++) {
        EQ_REQUIRE(!next.labels || (next.labels[i] >= 0 && next.labels[i] < n_labels), "column %d: label %d", i,
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
    for (int32_t i = 0; i < next.n_tokens; i++) {
        EQ_REQUIRE(!next.outputs[i] || ends_at(next.sequences[i]) < 0,
                   "column %d: an output of sequence %d, which ends at layer %d", i, next.sequences[i],
                   ends_at(next.sequences[i]));
    }
    for (pair & join : merges) {
        join.rows.clear();
    }
    write_book();
    batch = &next;
    ran   = nullptr;
}

void interventions::begin_graph(const std::vector<int32_t> & of, int32_t ends_at) {
    running    = &of;
    last_block = ends_at;
}

void interventions::take_rows(const graph & from) {
    for (const graph::end & at : from.ends) {
        for (pair & join : merges) {
            if (join.second < 0 || join.layer != at.il) {
                continue;
            }
            for (size_t i = 0; i < from.sequences.size(); i++) {
                if (from.sequences[i] == join.second) {
                    join.rows.resize(join.rows.size() + (size_t) is.width);
                    ggml_backend_tensor_get(at.rows, join.rows.data() + join.rows.size() - (size_t) is.width,
                                            i * at.rows->nb[1], (size_t) is.width * sizeof(float));
                }
            }
        }
    }
}

// What nodes on devices added up of states that are read.
void interventions::take_states() {
    std::vector<double> found((size_t) sums);
    books.take_sums(found.data(), found.size());
    for (auto & list : items) {
        for (item & what : list) {
            for (item::view & seen : what.views) {
                const double * own = found.data() + seen.on_device;
                for (size_t d = 0; seen.on_device >= 0 && d < seen.sums.size(); d++) {
                    seen.sums[d] += own[d];
                }
                seen.count += seen.on_device >= 0 ? (int64_t) own[seen.sums.size()] : 0;
            }
        }
    }
}

void interventions::collect() {
    if (!ran) {
        return;
    }
    take_rows(*ran);
    bool states = false;
    for (const auto & at : ran->sites) {
        for (const site::application & done : at->applications) {
            item & what = *done.what;
            what.columns += (at->il == what.lowest || at->point == LLAMA_SEAM_LOGITS) && !at->again;
            what.applications++;
            states |= what.kind == EQ_STATES_READ;
            // A span that is hidden has no finite change of its score: the keys are counted as if by 1 each.
            what.delta += what.kind == EQ_ATTENTION_BIAS
                              ? std::sqrt((double) done.keys) * (std::isfinite(what.amount) ? std::fabs(what.amount) : 1)
                              : done.delta;
        }
        at->applications.clear();
    }
    if (states && books.any()) {
        take_states();
    }
    for (const auto & at : ran->merges) {
        for (const site::join & done : at->joins) {
            pair & own = merges[(size_t) ran->sequences[(size_t) done.column]];
            own.columns++;
            own.delta += done.delta;
        }
        at->joins.clear();
    }
    ran = nullptr;
}

void interventions::merge_report(int32_t first, eq_intervention_report * report) const {
    EQ_REQUIRE(first >= 0 && first < is.sequences && report, "eq_merge_report: no sequence %d, or a null pointer", first);
    const pair & own = merges[(size_t) first];
    EQ_REQUIRE(own.second >= 0, "sequence %d is the first of no merge", first);
    *report = {own.columns, own.columns, own.delta + books.merged(first)};
}

} // namespace eq
