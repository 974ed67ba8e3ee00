// The bodies of the CUDA kernels on rows of attention, run on the host, against the CPU's functions row by row.

#include "attention_blocks.h"
#include "check.h"
#include "edits.h"
#include "emulated.h"
#include "reference.h"

#include <algorithm>
#include <memory>

using namespace test;

namespace {

using words           = eqk::edit_book;
using attention_block = emulated_block<eqk::attention_threads>;
using changes_block   = emulated_block<eqk::changes_threads>;
using sinks_block     = emulated_block<eqk::sinks_threads>;

constexpr int32_t here = 4, elsewhere = 5; // points
constexpr int32_t sequences = 2, layers = 3, layer = 1, n_cells = 3000, n_tokens = 5, n_heads = 3;

constexpr uint64_t first = uint64_t{1} << 3, last = uint64_t{1} << 63;

struct edit {
    int32_t              kind;
    int32_t              point;
    float                amount;
    uint64_t             labels;
    uint64_t             others        = 0;
    float                parameters[3] = {0, 0, 0};
    std::vector<uint8_t> heads         = {1, 1, 1};
    std::vector<int32_t> dimensions    = {};
    bool                 acts          = true; // at the layer at hand
};

// The edits of each sequence, as a device has them.
struct pages {
    edit_pages                       book{sequences, layers};
    std::unique_ptr<guarded_vectors> vectors;

    explicit pages(const std::vector<std::vector<edit>> & edits) {
        std::vector<float> floats;
        for (int32_t s = 0; s < sequences; s++) {
            for (size_t k = 0; k < edits[static_cast<size_t>(s)].size(); k++) {
                const edit & e  = edits[static_cast<size_t>(s)][k];
                int32_t *    at = book.put(s, k, e.kind, e.point, e.amount);
                words::put_set(at + words::labels, e.labels);
                words::put_set(at + words::others, e.others);
                for (int p = 0; p < 3; p++) {
                    at[words::parameters + p] = std::bit_cast<int32_t>(e.parameters[p]);
                }
                at[words::dimensions] = static_cast<int32_t>(e.dimensions.size());
                if (e.acts) {
                    book.place(s, k, layer) = static_cast<int32_t>(floats.size());
                }
                floats.insert(floats.end(), e.dimensions.begin(), e.dimensions.end());
                floats.insert(floats.end(), e.heads.begin(), e.heads.end());
            }
        }
        vectors = std::make_unique<guarded_vectors>(floats);
    }
};

// What the CPU makes of a row; the sum of squared changes is added to *squared.
void expect(const edit & e, float * row, const uint8_t * keys, const float * sinkness, int64_t n, double * squared) {
    double change = 0;
    int32_t status;
    switch (e.kind) {
        case eqk::raise_scores: status = eqk_scores_raise(row, keys, n, e.labels, e.amount, &change); break;
        case eqk::scale_scores: status = eqk_scores_scale(row, keys, n, e.labels, e.amount, &change); break;
        case eqk::move_weights:
            status = eqk_weights_move(row, keys, n, e.labels, e.others, e.amount, e.parameters[0], &change);
            break;
        default:
            status = eqk_weights_sinks(row, keys, sinkness, n, e.labels, e.amount, e.parameters[0], e.parameters[1],
                                       e.parameters[2], &change);
    }
    CHECK(status == EQK_OK, "kind %d", e.kind);
    *squared += change;
}

/*
 * A row of n_keys for each of n_tokens queries and n_heads heads, a query's heads side by side and with gaps between
 * rows, while what comes out has a head's queries side by side.
 *
 * Both sides multiply keys by factors, in double but for scores, and round once per edit; a factor comes of sums in
 * double in another order. Draining subtracts one sum from another, which may cancel, so it stands first, where both
 * sides still have the same bits, or changes nothing. So an edit's results are at most one float apart, and twice that where it starts from
 * neighbours: 4 u of a key for each edit. A norm moves by no more than the vector does.
 */
template <class T>
std::vector<float> rows(int32_t n_keys, bool weights, const std::vector<std::vector<edit>> & edits, order of) {
    random_numbers   random(static_cast<uint64_t>(n_keys) + (weights ? 5000 : 0));
    pages            p(edits);
    guarded<uint8_t> labels(n_cells);
    guarded<float>   sinkness(n_cells);
    for (size_t j = 0; j < n_cells; j++) {
        const int kind = random.below(3);
        labels[j]      = static_cast<uint8_t>(kind == 0 ? 3 : kind == 1 ? 63 : 8);
        sinkness[j]    = random.between(0, 4);
    }
    guarded<int32_t> tokens(static_cast<size_t>(eqk::token_table::n_words(n_tokens, 0)));
    const uint64_t   masks[n_tokens] = {~uint64_t{0}, ~uint64_t{0}, 0, 0b0110, 0};
    for (int32_t t = 0; t < n_tokens; t++) {
        eqk::token_table::put(tokens.data(), t, t == 4 ? -1 : t % sequences, masks[t], 0);
    }
    const int64_t column = n_keys * n_heads + 3, head = n_keys;
    guarded<float> in(static_cast<size_t>((n_tokens - 1) * column + n_heads * n_keys));
    guarded<T>     mask(static_cast<size_t>(n_tokens * n_keys));
    in.fill(NAN);
    for (int32_t t = 0; t < n_tokens; t++) {
        for (int32_t j = 0; j < n_keys; j++) {
            const bool seen = random.below(4) != 0;
            mask[static_cast<size_t>(t * n_keys + j)] = value_of<T>(seen ? random.between(-1, 0) : -INFINITY);
            for (int32_t h = 0; h < n_heads; h++) {
                in[static_cast<size_t>(t * column + h * head + j)] =
                    weights ? (seen ? random.between(0.01, 3) / n_keys : 0) : (seen ? random.between(-3, 3) : NAN);
            }
        }
    }
    guarded<float>  out(static_cast<size_t>(n_heads * n_tokens * n_keys));
    guarded<double> deltas(sequences * eqk::most_edits), changes(n_tokens * n_heads * eqk::most_edits);
    out.fill(-77);
    deltas.fill(0);
    changes.fill(NAN);

    eqk_attention_args args = {};
    args.in                 = in.data();
    args.out                = out.data();
    args.mask               = mask.data();
    args.labels             = labels.data();
    args.sinkness           = sinkness.data();
    args.tokens             = tokens.data();
    args.book               = p.book.words.data();
    args.vectors            = p.vectors->memory.data();
    args.deltas             = deltas.data();
    args.changes            = changes.data();
    args.in_column          = column;
    args.in_head            = head;
    args.mask_column        = static_cast<int64_t>(static_cast<size_t>(n_keys) * sizeof(T));
    args.n_keys             = n_keys;
    args.n_tokens           = n_tokens;
    args.n_heads            = n_heads;
    args.half               = sizeof(T) == 2;
    args.n_cells            = n_cells;
    args.n_sequences        = sequences;
    args.n_layers           = layers;
    args.point              = here;
    args.layer              = layer;
    for (int32_t t = 0; t < n_tokens; t++) {
        for (int32_t h = 0; h < n_heads; h++) {
            unwritten<eqk::attention_shared<attention_block>> memory;
            eqk::edit_row(attention_block{of}, memory.shared, args, t, h);
        }
    }
    for (int32_t t = 0; t < n_tokens; t++) {
        eqk::add_changes(changes_block{of}, args, t);
    }

    std::vector<double> want(deltas.length(), 0.0), allowed(deltas.length(), 1e-12);
    for (int32_t t = 0; t < n_tokens; t++) {
        std::vector<uint8_t> keys(static_cast<size_t>(n_keys));
        for (int32_t j = 0; j < n_keys; j++) {
            const bool seen = eqk::mask_at(mask.data() + t * n_keys, sizeof(T) == 2, j) > -INFINITY;
            keys[static_cast<size_t>(j)] = seen ? labels[static_cast<size_t>(j)] : static_cast<uint8_t>(EQK_NO_KEY);
        }
        const int32_t       s    = t % sequences;
        const auto &        list = edits[static_cast<size_t>(s)];
        std::vector<double> squared(list.size(), 0.0);
        double              apart = 0; // squared, of the whole query
        for (int32_t h = 0; h < n_heads; h++) {
            const float *      start = in.data() + t * column + h * head;
            std::vector<float> row(start, start + n_keys);
            int                acting = 0;
            for (size_t k = 0; k < list.size(); k++) {
                const edit & e = list[k];
                if ((masks[t] >> k & 1) && e.acts && e.point == here && e.kind >= eqk::raise_scores &&
                    e.heads[static_cast<size_t>(h)]) {
                    acting++;
                    expect(e, row.data(), keys.data(), sinkness.data(), n_keys, &squared[k]);
                }
            }
            const float * got = out.data() + (h * n_tokens + t) * n_keys;
            for (int32_t j = 0; j < n_keys; j++) {
                const float w = row[static_cast<size_t>(j)];
                if (acting == 0 || keys[static_cast<size_t>(j)] == EQK_NO_KEY) {
                    CHECK(memcmp(&w, got + j, sizeof(float)) == 0, "%d keys, query %d, head %d, key %d is not edited",
                          n_keys, t, h, j);
                    continue;
                }
                const double tolerance = acting * 4 * u * std::fabs(static_cast<double>(w));
                CHECK(std::fabs(static_cast<double>(got[j]) - w) <= tolerance,
                      "%d keys, query %d, head %d, key %d: %.9g, not %.9g", n_keys, t, h, j, got[j], w);
                apart += tolerance * tolerance;
            }
        }
        for (size_t k = 0; k < list.size(); k++) {
            want[static_cast<size_t>(s * eqk::most_edits) + k] += std::sqrt(squared[k]);
            allowed[static_cast<size_t>(s * eqk::most_edits) + k] += 2 * std::sqrt(apart);
        }
    }
    for (size_t k = 0; k < want.size(); k++) {
        CHECK(std::fabs(deltas[k] - want[k]) <= allowed[k], "%d keys, edit %zu: %.9g, not %.9g", n_keys, k, deltas[k],
              want[k]);
    }
    if (n_keys > 30) { // that something was there to edit
        CHECK(deltas[0] > 0 && deltas[eqk::most_edits] > 0, "%d keys: %g and %g", n_keys, deltas[0],
              deltas[eqk::most_edits]);
    }
    return {out.data(), out.data() + out.length()};
}

std::vector<std::vector<edit>> scores() {
    std::vector<edit> of = {{eqk::raise_scores, here, 0.7f, first},
                            {eqk::scale_scores, here, -1.5f, first | last, 0, {}, {0, 1, 0}},
                            {eqk::raise_scores, elsewhere, 5, first},
                            {eqk::raise_scores, here, 5, first, 0, {}, {1, 1, 1}, {}, false},
                            {eqk::scale_scores, here, 1.25f, last, 0, {}, {1, 0, 1}}};
    of.resize(eqk::most_edits, {-1, here, 0, 0}); // and the 64th is one too
    of.back() = {eqk::raise_scores, here, 0.1f, last};
    return {of, {{eqk::scale_scores, here, 3, first}, {EQK_STEER_ADD, here, 1, 0}, {eqk::raise_scores, here, 2, last}}};
}

std::vector<std::vector<edit>> weights() {
    return {{{eqk::drain_sinks, here, 2, first, 0, {0.9f, 0.1f, 0.25f}, {1, 1, 0}, {5, 9}},
             {eqk::move_weights, here, 0.2f, first, last, {0.6f}, {0, 1, 1}},
             {eqk::move_weights, here, 1, first, last, {0.6f}},          // no share is larger
             {eqk::move_weights, here, 0.5f, last, first | 256, {1}, {1, 0, 0}},
             {eqk::drain_sinks, here, 5, first, 0, {1, 0, 0.5f}}},       // no key is that much of a sink
            {{eqk::move_weights, here, 0, last, first, {0.4f}},
             {eqk::drain_sinks, here, 1, last, 0, {0, 0, 0.5f}}}};       // rho: the span itself has sinks
}

template <class T> void edits(int32_t n_keys) {
    for (const bool of_weights : {false, true}) {
        std::vector<float> bits;
        for (const order of : orders) {
            const std::vector<float> out = rows<T>(n_keys, of_weights, of_weights ? weights() : scores(), of);
            CHECK(bits.empty() || memcmp(bits.data(), out.data(), out.size() * sizeof(float)) == 0,
                  "%d keys: the order of the threads shows", n_keys);
            bits = out;
        }
    }
}

void sinks(int32_t width, order of) {
    const edit  plain = {eqk::drain_sinks, elsewhere, 1, first, 0, {}, {1, 1, 1}, {width - 1}};
    edit        wide  = plain, beyond = plain;
    wide.dimensions   = {0, width / 2, width - 1};
    beyond.acts       = false;
    // The first that acts at the layer counts, wherever it acts and whether it does on this token.
    pages            p({{{eqk::raise_scores, here, 1, first}, beyond, wide, plain}, {beyond}});
    guarded<int32_t> tokens(static_cast<size_t>(eqk::token_table::n_words(n_tokens, 0)));
    guarded<int64_t> cells(n_tokens);
    const int64_t    column = width + 3;
    guarded<float>   states(static_cast<size_t>((n_tokens - 1) * column + width)), sinkness(n_cells);
    random_numbers   random(static_cast<uint64_t>(width));
    for (size_t i = 0; i < states.length(); i++) {
        states[i] = random.between(-3, 3);
    }
    std::fill(states.data() + 2 * column, states.data() + 2 * column + width, 0.0f);
    sinkness.fill(9);
    const int32_t whose[n_tokens] = {0, 1, 0, -1, 0};
    for (int32_t t = 0; t < n_tokens; t++) {
        eqk::token_table::put(tokens.data(), t, whose[t], 0, 0);
        cells[static_cast<size_t>(t)] = t == 4 ? n_cells : n_cells - 1 - t; // the last one's is none
    }
    eqk_sinks_args args = {};
    args.states         = states.data();
    args.cells          = cells.data();
    args.tokens         = tokens.data();
    args.book           = p.book.words.data();
    args.vectors        = p.vectors->memory.data();
    args.sinkness       = sinkness.data();
    args.column         = column;
    args.width          = width;
    args.n_tokens       = n_tokens;
    args.n_cells        = n_cells;
    args.n_sequences    = sequences;
    args.n_layers       = layers;
    args.layer          = layer;
    for (int32_t t = 0; t < n_tokens; t++) {
        unwritten<eqk::sinks_shared<sinks_block>> memory;
        eqk::note_sinkness(sinks_block{of}, memory.shared, args, t);
    }
    for (int32_t t = 0; t < n_tokens - 1; t++) {
        float want = 0;
        if (whose[t] == 0) {
            CHECK(eqk_sinkness(states.data() + t * column, width, wide.dimensions.data(), 3, &want) == EQK_OK, "%d", t);
        }
        // Sums in double in another order, rounded once.
        const float got = sinkness[static_cast<size_t>(n_cells - 1 - t)];
        CHECK(std::fabs(static_cast<double>(got) - want) <= 2 * u * want, "width %d, token %d: %.9g, not %.9g", width,
              t, got, want);
        CHECK(t != 0 || want > 0, "width %d", width);
    }
    CHECK(std::count(sinkness.data(), sinkness.data() + n_cells, 9.0f) == n_cells - (n_tokens - 1),
          "width %d: other cells", width);
}

} // namespace

int main() {
    for (const int32_t n_keys : {1, 2, 3, 31, 255, 256, 257, 1000, 2999}) {
        edits<float>(n_keys);
        edits<uint16_t>(n_keys);
    }
    for (const int32_t width : {1, 2, 63, 255, 256, 257, 4099}) {
        for (const order of : orders) {
            sinks(width, of);
        }
    }
    return verdict("attention_blocks");
}
