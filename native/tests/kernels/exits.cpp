// The bodies of the CUDA kernels on the logits of early exits, run on the host launch by launch, against eqk_exits_mean
// and eqk_exits_contrast row by row.

#include "check.h"
#include "edits.h"
#include "emulated.h"
#include "exits_blocks.h"

#include <algorithm>

using namespace test;

namespace {

using wide   = emulated_block<eqk::exits_threads>;
using narrow = emulated_block<eqk::reduce_threads>;

constexpr int32_t point = 7, sequences = 3, layers = 6, n_rows = 4, n_tokens = 2 * n_rows;
constexpr int32_t at_layer[] = {-1, 1, 2, 4}; // what the graph has; the book knows of more
constexpr int32_t n_exits    = 4;

struct edit {
    int32_t              kind;
    float                amount;
    bool                 bare;
    bool                 input;
    std::vector<int32_t> at;
    int32_t              divergence = EQK_JENSEN_SHANNON;
};

// Rows of a graph, their early exits, and what acts on them: row r is of sequence r % 3.
struct scene {
    int64_t                        n;
    int64_t                        stride;
    guarded<float>                 logits, normed, bare, out;
    guarded<int32_t>               numbers{n_exits};
    guarded<int32_t>               tokens{static_cast<size_t>(eqk::token_table::n_words(n_tokens, n_rows))};
    edit_pages                     book{sequences, layers};
    guarded<double>                deltas{sequences * eqk::most_edits};
    guarded<double>                scratch{static_cast<size_t>(eqk::exits_scratch::n_doubles(n_rows, n_exits))};
    std::vector<std::vector<edit>> edits; // by sequence

    scene(int64_t n_vocab, std::vector<std::vector<edit>> what, random_numbers & random)
        : n(n_vocab), stride(n_vocab + 5), logits(static_cast<size_t>((n_rows - 1) * stride + n)),
          normed(static_cast<size_t>(n_exits * n_rows * n)), bare(normed.length()), out(static_cast<size_t>(n_rows * n)),
          edits(std::move(what)) {
        for (size_t i = 0; i < logits.length(); i++) {
            logits[i] = random.between(-8, 8);
        }
        for (size_t i = 0; i < normed.length(); i++) {
            normed[i] = random.between(-8, 8);
            bare[i]   = random.between(-2, 2);
        }
        out.fill(1e30f);
        scratch.fill(NAN); // nothing is read before it is written
        deltas.fill(0);
        std::copy(at_layer, at_layer + n_exits, numbers.data());
        tokens.fill(0);
        for (int32_t s = 0; s < sequences; s++) {
            const auto & list = edits[static_cast<size_t>(s)];
            for (size_t k = 0; k < list.size(); k++) {
                const size_t number = 2 * k + 1; // others of other points stand between
                int32_t *    at     = book.put(s, number, list[k].kind, point, list[k].amount);
                at[eqk::edit_book::labels]     = list[k].input;
                at[eqk::edit_book::parameters] = std::bit_cast<int32_t>(list[k].bare ? 0.0f : 1.0f);
                at[eqk::edit_book::parameters + 1] = std::bit_cast<int32_t>(static_cast<float>(list[k].divergence));
                for (const int32_t il : list[k].at) {
                    book.place(s, number, il) = 0;
                }
            }
        }
        for (int32_t r = 0; r < n_rows; r++) {
            eqk::token_table::put(tokens.data(), 2 * r + 1, r % sequences, UINT32_MAX, 0); // all that there are
            tokens[static_cast<size_t>(eqk::token_table::token_words * n_tokens + r)] = 2 * r + 1;
        }
    }

    float *       row(int32_t r) { return logits.data() + r * stride; }
    const float * exit(bool raw, int32_t k, int32_t r) {
        return (raw ? bare : normed).data() + (static_cast<int64_t>(k) * n_rows + r) * n;
    }

    void run(order of, int32_t passes) {
        eqk_exits_args args = {};
        args.logits         = logits.data();
        args.normed         = normed.data();
        args.bare           = bare.data();
        args.out            = out.data();
        args.layers         = numbers.data();
        args.tokens         = tokens.data();
        args.book           = book.words.data();
        args.deltas         = deltas.data();
        args.scratch        = scratch.data();
        args.n_vocab        = n;
        args.stride         = stride;
        args.exit_stride    = n;
        args.out_stride     = n;
        args.n_rows         = n_rows;
        args.n_exits        = n_exits;
        args.n_tokens       = n_tokens;
        args.n_sequences    = sequences;
        args.n_layers       = layers;
        args.point          = point;
        for (int32_t pass = 0; pass < passes; pass++) {
            each<wide>(of, n_exits + 1, [&](auto block, auto & s, int32_t x, int32_t y, int32_t r) {
                eqk::exits_logs(block, s, args, pass, x, y - 1, r);
            });
            each<wide>(of, n_exits, [&](auto block, auto & s, int32_t x, int32_t y, int32_t r) {
                eqk::exits_divergence(block, s, args, pass, x, y, r);
            });
            each<wide>(of, 1, [&](auto block, auto & s, int32_t x, int32_t, int32_t r) {
                eqk::exits_edit(block, s, args, pass, x, r);
            });
            for (int32_t r = 0; r < n_rows; r++) {
                unwritten<eqk::exits_shared<narrow>> memory;
                eqk::exits_report(narrow{of}, memory.shared, args, pass, r);
            }
        }
    }

    template <class Block, class Body> static void each(order of, int32_t height, Body body) {
        for (int32_t r = 0; r < n_rows; r++) {
            for (int32_t y = 0; y < height; y++) {
                for (int32_t x = 0; x < EQK_SLICES; x++) {
                    unwritten<eqk::exits_shared<Block>> memory;
                    body(Block{of}, memory.shared, x, y, r);
                }
            }
        }
    }

    // What the reference makes of a row; norms of changes go to sums[edit].
    std::vector<float> expected(int32_t r, std::vector<double> & sums) {
        std::vector<float> z(row(r), row(r) + n);
        const int32_t      s    = r % sequences;
        const auto &       list = edits[static_cast<size_t>(s)];
        for (size_t k = 0; k < list.size(); k++) {
            std::vector<const float *> rows;
            for (int32_t e = 0; e < n_exits; e++) {
                const auto & at = list[k].at;
                if (at_layer[e] < 0 ? list[k].input : std::count(at.begin(), at.end(), at_layer[e]) > 0) {
                    rows.push_back(exit(list[k].bare, e, r));
                }
            }
            double        change = 0;
            int32_t       chosen = -1;
            const auto    count  = static_cast<int32_t>(rows.size());
            const int32_t status =
                list[k].kind == eqk::exits_mean
                    ? eqk_exits_mean(z.data(), rows.data(), n, count, list[k].amount, &change)
                    : eqk_exits_contrast(z.data(), rows.data(), n, count, list[k].amount, list[k].divergence, &chosen,
                                         &change);
            if (status != EQK_OK) {
                z[0]   = NAN;
                change = 0;
            }
            sums[static_cast<size_t>(s * eqk::most_edits) + 2 * k + 1] += std::sqrt(change);
        }
        return z;
    }
};

bool same(float a, float b, double tolerance) {
    return a == b || (std::isnan(a) && std::isnan(b)) || std::fabs(static_cast<double>(a) - b) <= tolerance;
}

/*
 * Both sides compute in doubles and round once per edit; their sums differ in order alone, by about n 2^-53. So an
 * edit's results are one float apart at most, 2^-23 of the largest, and with up to three edits, whose factors are at
 * most 1, no more than three times that. A logit at the very cut could go either way; seeded numbers have none there.
 */
void agrees(scene & d, const char * what) {
    std::vector<double> sums(sequences * eqk::most_edits, 0.0);
    float               most = 40;
    for (int32_t r = 0; r < n_rows; r++) {
        const std::vector<float> want    = d.expected(r, sums);
        float                    largest = 8;
        for (const float x : want) {
            largest = std::isfinite(x) ? std::max(largest, std::fabs(x)) : largest;
        }
        most = std::max(most, largest);
        for (int64_t i = 0; i < d.n; i++) {
            CHECK(same(d.out[static_cast<size_t>(r * d.n + i)], want[static_cast<size_t>(i)], 3 * 0x1p-23 * largest),
                  "%s n %ld row %d [%ld]: %.9g, not %.9g", what, d.n, r, i, d.out[static_cast<size_t>(r * d.n + i)],
                  want[static_cast<size_t>(i)]);
        }
        if (d.edits[static_cast<size_t>(r % sequences)].empty()) {
            CHECK(memcmp(d.out.data() + r * d.n, d.row(r), static_cast<size_t>(d.n) * sizeof(float)) == 0, "%s row %d",
                  what, r);
        }
    }
    for (size_t k = 0; k < sums.size(); k++) { // the norm moves by no more than the vector, of n floats up to that
        CHECK(std::fabs(d.deltas[k] - sums[k]) <= most * 3 * 0x1p-23 * std::sqrt(static_cast<double>(d.n)) * n_rows,
              "%s n %ld edit %zu: %.9g, not %.9g", what, d.n, k, d.deltas[k], sums[k]);
    }
}

const int64_t widths[] = {1, 2, 15, 16, 17, 33, 257, 1025, 4099, 32001};

void edits_against_reference() {
    const edit mean     = {eqk::exits_mean, 0.3f, false, true, {1, 4}};
    const edit bare     = {eqk::exits_mean, 0.8f, true, false, {2}};
    const edit contrast = {eqk::exits_contrast, 0.01f, false, true, {1, 2, 4}};
    const edit uncut    = {eqk::exits_contrast, 0, true, false, {2, 4}};
    const edit other    = {eqk::exits_contrast, 0.01f, false, true, {1, 2, 4}, EQK_ARITHMETIC_GEOMETRIC};
    const edit others   = {eqk::exits_contrast, 0, true, false, {2, 4}, EQK_ARITHMETIC_GEOMETRIC};
    const std::vector<std::vector<std::vector<edit>>> scenes = {
        {{mean}, {contrast}, {}}, {{bare}, {uncut}, {contrast}}, {{mean, uncut, bare}, {mean, contrast}, {uncut}},
        {{other}, {others}, {contrast}}, {{mean, others, bare}, {mean, other}, {others, uncut}}};
    for (const int64_t n : widths) {
        for (const auto & what : scenes) {
            std::vector<float> bits;
            for (const order of : orders) {
                random_numbers random(static_cast<uint64_t>(n));
                scene          d(n, what, random);
                d.run(of, 4); // one more than needed
                agrees(d, "edits");
                const std::vector<float> found(d.out.data(), d.out.data() + d.out.length());
                CHECK(bits.empty() || memcmp(bits.data(), found.data(), found.size() * sizeof(float)) == 0,
                      "n %ld: the order of the threads shows", n);
                bits = found;
            }
        }
    }
}

// Of exits that are equally far, the first; of the farthest, that one, wherever it stands.
void the_choice() {
    for (const int32_t far : {0, 1, 3, 4, 5, 7}) {
        random_numbers random(9);
        const int32_t  kind = far < 4 ? EQK_JENSEN_SHANNON : EQK_ARITHMETIC_GEOMETRIC;
        scene          d(1025, {{{eqk::exits_contrast, 0, false, true, {1, 2, 4}, kind}}, {}, {}}, random);
        for (int32_t k = 0; k < n_exits; k++) {
            float * to = d.normed.data() + static_cast<int64_t>(k) * n_rows * d.n;
            for (int64_t i = 0; i < d.n; i++) {
                to[i] = k >= far % 4 ? -d.row(0)[i] : d.row(0)[i] / 2;
            }
        }
        d.run(order::scattered, 1);
        agrees(d, "choice");
    }
}

// The exits of attention.cpp's rows of three tokens: one and the same row chooses another of them by either divergence.
void the_divergences_choose_differently() {
    const float late[] = {0, 0, -14}, early[n_exits][3] = {{0, -70, -14}, {0, 0, 7}, {0, -2000, -14}, {0, -3000, -14}};
    std::vector<std::vector<float>> found;
    for (const int32_t kind : {EQK_JENSEN_SHANNON, EQK_ARITHMETIC_GEOMETRIC}) {
        for (const std::vector<int32_t> & at : {std::vector<int32_t>{1}, {1, 2}, {1, 2, 4}}) {
            random_numbers random(12);
            scene          d(3, {{{eqk::exits_contrast, 0, false, true, at, kind}}, {}, {}}, random);
            std::copy(late, late + 3, d.row(0));
            for (int32_t k = 0; k < n_exits; k++) {
                std::copy(early[k], early[k] + 3, d.normed.data() + static_cast<int64_t>(k) * n_rows * d.n);
            }
            d.run(order::scattered, 1);
            agrees(d, "divergences");
            found.emplace_back(d.out.data(), d.out.data() + 3);
        }
    }
    CHECK(found[0] == found[1] && found[0] == found[2], "the other words are farthest");
    CHECK(found[3] != found[0] && found[4] != found[3] && found[5] != found[4], "the less likely the farther");
}

// A row without a distribution, and an exit without one: the mark, and nothing else changes.
void marks_of_failure() {
    for (const int32_t where : {-1, 0, 3}) {
        for (const int32_t what : {0, 1, 2, 3}) {
            const float    bad  = what % 2 ? INFINITY : NAN;
            const int32_t  kind = what / 2 ? EQK_ARITHMETIC_GEOMETRIC : EQK_JENSEN_SHANNON;
            random_numbers random(10);
            scene          d(1025, {{{eqk::exits_contrast, 0.1f, false, true, {1, 2, 4}, kind}}, {}, {}}, random);
            (where < 0 ? d.row(0) : d.normed.data() + static_cast<int64_t>(where) * n_rows * d.n)[700] = bad;
            d.run(order::forwards, 2);
            CHECK(std::isnan(d.out[0]), "%d", where);
            CHECK(memcmp(d.out.data() + 1, d.row(0) + 1, static_cast<size_t>(d.n - 1) * sizeof(float)) == 0, "%d", where);
            agrees(d, "failures");
        }
    }
    random_numbers random(11);
    scene          d(33, {{{eqk::exits_mean, 0.5f, false, false, {3}}}, {}, {}}, random); // a layer that is not there
    d.run(order::backwards, 1);
    agrees(d, "no exit");
}

} // namespace

int main() {
    edits_against_reference();
    the_choice();
    the_divergences_choose_differently();
    marks_of_failure();
    return verdict("exits");
}
