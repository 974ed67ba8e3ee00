// The bodies of the CUDA kernels on hidden states, run on the host, against eqk_steer, eqk_scale and eqk_merge column by
// column.

#include "check.h"
#include "columns_blocks.h"
#include "edits.h"
#include "emulated.h"
#include "reference.h"

#include <algorithm>

using namespace test;

namespace {

using block = emulated_block<eqk::column_threads>;

constexpr int32_t here = 1, elsewhere = 3; // points
constexpr int32_t sequences = 3, layers = 4, layer = 2;

// The lowest n bits.
uint64_t below(size_t n) {
    return n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
}

struct edit {
    int32_t kind;
    int32_t point;
    float   amount;
    bool    acts; // at the layer at hand
};

// A node's columns, the book and the tokens that tell what acts on them.
struct node {
    int64_t                        width;
    int32_t                        rows;
    int32_t                        n_tokens;
    int32_t                        n_columns;
    bool                           by_output;
    guarded<float>                 in;
    guarded<float>                 out;
    guarded<int32_t>               tokens;
    edit_pages                     book{sequences, layers};
    std::vector<float>             vectors;
    guarded<double>                deltas;
    guarded<double>                seen;
    std::vector<std::vector<edit>> edits; // by sequence
    std::vector<uint64_t>          masks; // by token

    node(int64_t n, int32_t heads, int32_t count, bool outputs, std::vector<std::vector<edit>> what,
         random_numbers & random)
        : width(n), rows(heads), n_tokens(count), n_columns(outputs ? (count + 1) / 2 : count), by_output(outputs),
          in(static_cast<size_t>(n_columns * heads * n)), out(in.length()),
          tokens(static_cast<size_t>(eqk::token_table::n_words(count, n_columns))),
          deltas(sequences * eqk::most_edits), seen(static_cast<size_t>(2 * (n * heads + 1))), edits(std::move(what)),
          masks(static_cast<size_t>(count)) {
        for (size_t i = 0; i < in.length(); i++) {
            in[i]  = random.between(-3, 3);
            out[i] = NAN;
        }
        deltas.fill(0);
        seen.fill(0);
        for (int32_t s = 0; s < sequences; s++) {
            for (size_t k = 0; k < edits[static_cast<size_t>(s)].size(); k++) {
                add(s, k, random);
            }
        }
        for (int32_t t = 0; t < count; t++) {
            const int32_t sequence = t % sequences;
            uint64_t      mask     = random.next() & below(edits[static_cast<size_t>(sequence)].size());
            masks[static_cast<size_t>(t)] = mask;
            eqk::token_table::put(tokens.data(), t, sequence, mask, 0);
        }
        for (int32_t c = 0; c < n_columns; c++) {
            tokens[static_cast<size_t>(eqk::token_table::token_words * count + c)] = token_of(c);
        }
    }

    int32_t token_of(int32_t column) const { return by_output ? 2 * column : column; }

    void add(int32_t s, size_t k, random_numbers & random) {
        const edit & e = edits[static_cast<size_t>(s)][k];
        book.put(s, k, e.kind, e.point, e.amount);
        if (!e.acts) {
            return;
        }
        book.place(s, k, layer) = static_cast<int32_t>(vectors.size());
        if (e.kind == eqk::scale_rows) {
            for (int32_t r = 0; r < rows; r++) {
                vectors.push_back(r % 2 ? 1 : e.amount);
            }
            return;
        }
        // Unit vectors, and two that are orthogonal: v in the even dimensions, w in the odd ones where both can be.
        const size_t        n = static_cast<size_t>(width * rows);
        std::vector<double> v(n), w(n);
        double              vv = 0, ww = 0;
        for (size_t i = 0; i < n; i++) {
            (i % 2 && eqk::steers_by_two(e.kind) ? w : v)[i] = random.between(-1, 1);
            vv += v[i] * v[i];
            ww += w[i] * w[i];
        }
        for (size_t i = 0; i < n; i++) {
            vectors.push_back(static_cast<float>(v[i] / std::sqrt(vv)));
        }
        for (size_t i = 0; i < n && eqk::steers_by_two(e.kind); i++) {
            vectors.push_back(ww > 0 ? static_cast<float>(w[i] / std::sqrt(ww)) : 0);
        }
    }

    void run(order of) {
        guarded_vectors  held(vectors);
        eqk_columns_args args = {};
        args.in               = in.data();
        args.out              = out.data();
        args.tokens           = tokens.data();
        args.book             = book.words.data();
        args.vectors          = held.memory.data();
        args.deltas           = deltas.data();
        args.sums             = seen.data();
        args.in_column = args.out_column = rows * width;
        args.in_row                      = width;
        args.width                       = static_cast<int32_t>(width);
        args.rows                        = rows;
        args.n_columns                   = n_columns;
        args.n_tokens                    = n_tokens;
        args.by_output                   = by_output;
        args.n_sequences                 = sequences;
        args.n_layers                    = layers;
        args.point                       = here;
        args.layer                       = layer;
        for (int32_t c = 0; c < n_columns; c++) {
            unwritten<eqk::columns_shared<block>> memory;
            eqk::edit_column(block{of}, memory.shared, args, c);
        }
    }

    // What the CPU's functions make of a column; the norms of the changes go to sums[edit].
    std::vector<float> expected_column(int32_t column, double * sums) {
        const size_t       n     = static_cast<size_t>(width * rows);
        const float *      start = in.data() + static_cast<size_t>(column) * n;
        std::vector<float> x(start, start + n);
        const int32_t      token    = token_of(column);
        const int32_t      sequence = token % sequences;
        const auto &       list     = edits[static_cast<size_t>(sequence)];
        for (size_t k = 0; k < list.size(); k++) {
            const edit & e = list[k];
            if (!(masks[static_cast<size_t>(token)] >> k & 1) || !e.acts || e.point != here) {
                continue;
            }
            const float * v     = vectors.data() + book.place(sequence, k, layer);
            double        delta = 0;
            if (e.kind == eqk::read_states) {
                continue;
            }
            if (e.kind == eqk::scale_rows) {
                double squared = 0;
                for (int32_t r = 0; r < rows; r++) {
                    CHECK(eqk_scale(x.data() + r * width, width, v[r], &delta) == EQK_OK, "row %d", r);
                    squared += delta * delta;
                }
                delta = std::sqrt(squared);
            } else {
                CHECK(eqk_steer(e.kind, x.data(), v, eqk::steers_by_two(e.kind) ? v + n : nullptr,
                                static_cast<int64_t>(n), e.amount, &delta) == EQK_OK, "kind %d", e.kind);
            }
            sums[sequence * eqk::most_edits + static_cast<int32_t>(k)] += delta;
        }
        return x;
    }
};

/*
 * Both sides compute in doubles and round once per edit. Their sums differ in order alone, by n 2^-53 of the sum of
 * magnitudes, so an edit's results are at most one float apart; what one edit leaves the next carries on with a factor
 * near 1 (a rotation, a projection, a unit vector) or the amount of a scale. So u of the largest value per edit, twice
 * for the rounding that starts from neighbours, times the largest scale.
 */
void agrees(node & d, int32_t most_acting, double largest_scale, const char * what) {
    std::vector<double> sums(sequences * eqk::most_edits, 0.0);
    const size_t        n = static_cast<size_t>(d.width * d.rows);
    double              largest = 3;
    for (int32_t c = 0; c < d.n_columns; c++) {
        const std::vector<float> want = d.expected_column(c, sums.data());
        const float *            got  = d.out.data() + static_cast<size_t>(c) * n;
        for (size_t i = 0; i < n; i++) {
            largest = std::max(largest, std::fabs(static_cast<double>(want[i])));
        }
        const double tolerance = most_acting * 4 * u * largest * largest_scale;
        for (size_t i = 0; i < n; i++) {
            CHECK(std::fabs(static_cast<double>(want[i]) - got[i]) <= tolerance, "%s n %zu column %d: %.9g, not %.9g",
                  what, n, c, got[i], want[i]);
        }
        if (d.masks[static_cast<size_t>(d.token_of(c))] == 0) {
            CHECK(memcmp(got, d.in.data() + static_cast<size_t>(c) * n, n * sizeof(float)) == 0, "%s column %d", what,
                  c);
        }
    }
    for (size_t k = 0; k < sums.size(); k++) {
        // A norm moves by no more than the vector does.
        const double tolerance = d.n_columns * most_acting * 8 * u * largest * largest_scale * std::sqrt(n) + 1e-12;
        CHECK(std::fabs(d.deltas[k] - sums[k]) <= tolerance, "%s n %zu edit %zu: %.9g, not %.9g", what, n, k,
              d.deltas[k], sums[k]);
    }
}

const int64_t widths[] = {2, 3, 7, 64, 255, 256, 257, 1000, 2049};

void each_kind() {
    for (int32_t kind = EQK_STEER_ADD; kind <= EQK_STEER_ADD_SIGNED; kind++) {
        for (const int64_t n : widths) {
            for (const bool outputs : {false, true}) {
                for (const order of : orders) {
                    random_numbers          random(static_cast<uint64_t>(n) + 100);
                    const std::vector<edit> one = {{kind, here, 0.7f, true}};
                    node                    d(n, 1, 7, outputs, {one, {}, one}, random);
                    d.run(of);
                    agrees(d, 1, 1, "kind");
                }
            }
        }
    }
}

void several_in_their_order() {
    const std::vector<edit> all = {{EQK_STEER_ADD, here, 2, true},          {EQK_STEER_ABLATE, here, 0, true},
                                   {EQK_STEER_ADD, elsewhere, 5, true},     {EQK_STEER_ADD, here, 9, false},
                                   {EQK_STEER_ADD_NORMED, here, -3, true},  {EQK_STEER_CLAMP, here, 1.5f, true},
                                   {EQK_STEER_ROTATE, here, 0.3f, true},    {EQK_STEER_TURN, here, 0.2f, true},
                                   {EQK_STEER_TURN_AWARE, here, 0.1f, true}};
    for (const int64_t n : widths) {
        std::vector<float> bits;
        for (const order of : orders) {
            random_numbers random(5);
            node           d(n, 1, 11, false, {all, {{EQK_STEER_ADD, here, 1, true}}, {}}, random);
            d.run(of);
            agrees(d, 7, 1, "several");
            const std::vector<float> out(d.out.data(), d.out.data() + d.out.length());
            CHECK(bits.empty() || memcmp(bits.data(), out.data(), out.size() * sizeof(float)) == 0,
                  "n %ld: the order of the threads shows", n);
            bits = out;
        }
    }
}

void rows_by_their_factors() {
    for (const int64_t n : {1, 5, 64, 128}) {
        random_numbers random(6);
        node           d(n, 6, 5, false, {{{eqk::scale_rows, here, 1.75f, true}}, {}, {}}, random);
        d.run(order::backwards);
        agrees(d, 1, 1.75, "rows");
    }
}

// The 64th edit is one too.
void the_last_bit() {
    random_numbers    random(7);
    std::vector<edit> list(eqk::most_edits, edit{EQK_STEER_ADD, elsewhere, 1, true});
    list.back() = {EQK_STEER_ADD, here, 3, true};
    node d(33, 1, 3, false, {std::vector<edit>(), list, {}}, random);
    d.masks[1] = uint64_t{1} << 63;
    d.tokens[eqk::token_table::token_words + 1] = 0;
    d.tokens[eqk::token_table::token_words + 2] = INT32_MIN;
    d.run(order::forwards);
    agrees(d, 1, 1, "last");
    CHECK(std::fabs(d.deltas[2 * eqk::most_edits - 1] - 3) < 1e-4, "%g", d.deltas[2 * eqk::most_edits - 1]);
}

// A state of zero has no direction to turn, and no norm to go back to.
void zero_states() {
    for (const int32_t kind : {EQK_STEER_TURN, EQK_STEER_TURN_AWARE, EQK_STEER_ABLATE, EQK_STEER_ADD_NORMED}) {
        random_numbers random(8);
        node           d(65, 1, 1, false, {{{kind, here, 1, true}}, {}, {}}, random);
        std::fill(d.in.data(), d.in.data() + 65, 0.0f);
        d.masks[0]  = 1;
        d.tokens[1] = 1;
        d.run(order::scattered);
        CHECK(std::all_of(d.out.data(), d.out.data() + 65, [](float x) { return x == 0; }), "kind %d", kind);
    }
}

// States are added up as the edits before left them; nothing changes.
void reading() {
    for (const int64_t n : widths) {
        for (const order of : orders) {
            random_numbers          random(12);
            const std::vector<edit> list = {{eqk::scale_rows, here, 2, true}, {eqk::read_states, here, 0, true}};
            node                    d(n, 1, 9, false, {{{eqk::read_states, here, 0, true}}, {}, list}, random);
            // Where each sequence's own sums begin.
            d.book.place(0, 0, layer) = 0;
            d.book.place(2, 1, layer) = static_cast<int32_t>(n + 1);
            d.run(of);
            std::vector<double> want(d.seen.length(), 0.0);
            for (int32_t t = 0; t < d.n_tokens; t++) {
                const int32_t s    = t % sequences;
                const bool    read = d.masks[static_cast<size_t>(t)] >> (s == 2) & 1 && s != 1;
                for (int64_t i = 0; read && i < n; i++) {
                    const bool scaled = s == 2 && (d.masks[static_cast<size_t>(t)] & 1);
                    want[static_cast<size_t>(s == 2 ? n + 1 + i : i)] +=
                        (scaled ? 2.0 : 1.0) * d.in[static_cast<size_t>(t * n + i)];
                }
                want[static_cast<size_t>(s == 2 ? 2 * n + 1 : n)] += read;
            }
            // The same doubles, added in the same order of columns; doubling is exact.
            CHECK(memcmp(want.data(), d.seen.data(), want.size() * sizeof(double)) == 0, "n %ld", n);
            CHECK(d.deltas[0] == 0 && d.deltas[2 * eqk::most_edits + 1] == 0, "n %ld: reading changed something", n);
        }
    }
}

// Some columns merge, with rows in any order; both sides compute in doubles and round once.
void merges() {
    for (const int64_t n : widths) {
        for (const order of : orders) {
            constexpr int32_t columns = 5, rows = 3;
            random_numbers    random(static_cast<uint64_t>(n));
            guarded<float>    in(static_cast<size_t>(columns * n)), out(in.length()), other(static_cast<size_t>(rows * n));
            guarded<int32_t>  joins(static_cast<size_t>(eqk::join_table::n_words(columns)));
            guarded<double>   deltas(sequences);
            for (size_t i = 0; i < in.length(); i++) {
                in[i]  = random.between(-3, 3);
                out[i] = NAN;
            }
            for (size_t i = 0; i < other.length(); i++) {
                other[i] = random.between(-3, 3);
            }
            joins.fill(-1);
            deltas.fill(1);
            const struct {
                int32_t column, row, sequence;
                float   weight;
            } all[] = {{0, 2, 2, 0.25f}, {3, 0, 0, 1}, {4, 1, 2, 0.7f}};
            for (const auto & each : all) {
                int32_t * at = joins.data() + eqk::join_table::join_words * each.column;
                at[0]        = each.row;
                at[1]        = std::bit_cast<int32_t>(each.weight);
                at[2]        = each.sequence;
            }
            const eqk_merges_args args = {in.data(), out.data(), other.data(), joins.data(), deltas.data(), n, n, n,
                                          static_cast<int32_t>(n), columns};
            for (int32_t c = 0; c < columns; c++) {
                unwritten<eqk::columns_shared<block>> memory;
                eqk::merge_column(block{of}, memory.shared, args, c);
            }
            std::vector<float>  want(in.data(), in.data() + in.length());
            std::vector<double> sums(sequences, 1.0);
            for (const auto & each : all) {
                double delta = -1;
                CHECK(eqk_merge(want.data() + each.column * n, other.data() + each.row * n, n, each.weight, &delta) ==
                          EQK_OK, "n %ld", n);
                sums[static_cast<size_t>(each.sequence)] += delta;
            }
            CHECK(memcmp(want.data(), out.data(), want.size() * sizeof(float)) == 0, "n %ld", n);
            for (size_t s = 0; s < sequences; s++) { // squares are added in another order
                CHECK(std::fabs(deltas[s] - sums[s]) <= 1e-12 * sums[s], "n %ld: %.17g, not %.17g", n, deltas[s], sums[s]);
            }
        }
    }
}

} // namespace

int main() {
    each_kind();
    several_in_their_order();
    rows_by_their_factors();
    the_last_bit();
    zero_states();
    reading();
    merges();
    return verdict("columns");
}
