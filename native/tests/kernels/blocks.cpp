// The bodies of the CUDA kernels on rows, run on the host block by block: the text that nvcc compiles, against the
// reference, over every tail, at guard pages, in three orders of the threads.

#include "emulated.h"
#include "group.h"
#include "rows_blocks.h"

#include <algorithm>

using namespace test;

namespace {

using slice_block  = emulated_block<eqk::slice_threads>;
using row_block    = emulated_block<eqk::row_threads>;
using reduce_block = emulated_block<eqk::reduce_threads>;

struct row_results {
    float   max;
    float   lse;
    float   nats;
    int64_t best;
};

row_results run_row(const float * row, int64_t n, order of) {
    row_results          r = {};
    guarded<eqk_partial> partials(EQK_SLICES);
    for (int32_t s = 0; s < EQK_SLICES; s++) {
        unwritten<eqk::partials_shared<slice_block>> memory;
        eqk::slice_partials(slice_block{of}, memory.shared, row, n, s, partials.data());
    }
    unwritten<eqk::reduce_shared<reduce_block>> reduce;
    eqk::row_reduce(reduce_block{of}, reduce.shared, partials.data(), &r.max, &r.lse);
    unwritten<eqk::argmax_shared<row_block>> argmax;
    eqk::row_argmax(row_block{of}, argmax.shared, row, n, &r.best);
    unwritten<eqk::entropy_shared<row_block>> entropy;
    eqk::row_entropy(row_block{of}, entropy.shared, row, n, r.max, &r.nats);
    return r;
}

void rows_against_reference(random_numbers & random) {
    for (const int64_t n : sizes()) {
        for (const kind k : {kind::usual, kind::wide, kind::flat, kind::masked}) {
            group             g(n, 2, 3, k, random);
            const float *     row   = g.row(0);
            const row_results found = run_row(row, n, order::forwards);
            const soft        want  = softmax_of(row, n);
            int64_t           best  = -2;
            CHECK(found.max == want.max, "n %ld: %.9g, not %.9g", n, found.max, want.max);
            CHECK(loosened(want.lse, n, 1).holds(found.lse), "n %ld: %.9g, not %.9g", n, found.lse, want.lse.value);
            CHECK(loosened(want.entropy, n, 2 * (1 + want.entropy.value)).holds(found.nats), "n %ld: %.9g, not %.9g", n,
                  found.nats, want.entropy.value);
            CHECK(eqk_argmax(row, n, &best) == EQK_OK && found.best == best, "n %ld: %ld, not %ld", n, found.best,
                  best);
            for (const order of : orders) {
                const row_results again = run_row(row, n, of);
                CHECK(memcmp(&again, &found, sizeof(found)) == 0, "n %ld: the order of the threads shows", n);
            }
        }
    }
}

void rows_that_cannot_be(random_numbers & random) {
    for (const int64_t n : sizes()) {
        group g(n, 1, 0, kind::usual, random);
        for (const float what : {NAN, INFINITY}) {
            const int64_t at     = random.below(static_cast<int>(n));
            const float   before = g.row(0)[at];
            g.row(0)[at]         = what;
            const row_results r  = run_row(g.row(0), n, order::scattered);
            CHECK(std::isnan(r.max) && std::isnan(r.lse) && std::isnan(r.nats) && r.best == -1, "n %ld at %ld", n, at);
            g.row(0)[at] = before;
        }
        std::fill(g.row(0), g.row(0) + n, -INFINITY);
        const row_results r = run_row(g.row(0), n, order::scattered);
        CHECK(r.max == -INFINITY && r.lse == -INFINITY && std::isnan(r.nats) && r.best == -1, "n %ld", n);
    }
}

// The best tokens of listed rows, of which some have none; nothing is written for those that are not listed.
void best_tokens(random_numbers & random) {
    constexpr int32_t n_rows = 5;
    for (const int64_t n : sizes()) {
        const int64_t  stride = n + 3;
        guarded<float> logits(static_cast<size_t>((n_rows - 1) * stride + n));
        for (int32_t r = 0; r < n_rows; r++) {
            fill_row(logits.data() + r * stride, n, r == 1 ? kind::flat : kind::usual, random);
        }
        std::fill(logits.data() + 2 * stride, logits.data() + 2 * stride + n, -INFINITY);
        logits[static_cast<size_t>(3 * stride + random.below(static_cast<int>(n)))] = NAN;
        for (const std::vector<int32_t> & list : {std::vector<int32_t>{}, {4}, {1, 3}, {0, 1, 2, 3, 4}}) {
            for (const order of : orders) {
                guarded<int32_t> wanted(static_cast<size_t>(eqk::choice_list::n_words(n_rows)));
                guarded<int64_t> found(static_cast<size_t>(eqk::choice_list::n_found(n_rows)));
                std::fill(wanted.data(), wanted.data() + wanted.length(), INT32_MAX); // never read behind the list
                std::fill(found.data(), found.data() + found.length(), -2);
                wanted[0] = static_cast<int32_t>(list.size());
                std::copy(list.begin(), list.end(), wanted.data() + 1);
                const eqk_choice_args args = {logits.data(), stride, n, wanted.data(), found.data(), n_rows};
                for (int32_t y = 0; y < n_rows; y++) {
                    for (int32_t x = 0; x < EQK_SLICES; x++) {
                        unwritten<eqk::argmax_shared<slice_block>> memory;
                        eqk::choose_in_slice(slice_block{of}, memory.shared, args, x, y);
                    }
                }
                for (int32_t x = 0; x < n_rows; x++) {
                    unwritten<eqk::argmax_shared<reduce_block>> memory;
                    eqk::choose_of_slices(reduce_block{of}, memory.shared, args, x);
                }
                for (size_t k = 0; k < n_rows; k++) {
                    int64_t want = -2;
                    if (k < list.size()) {
                        eqk_argmax(logits.data() + list[k] * stride, n, &want);
                    }
                    CHECK(found[k] == want, "n %ld, %zu of %zu: %ld, not %ld", n, k, list.size(), found[k], want);
                }
            }
        }
    }
}

// What a decode hands to its graph: logits, a table of groups over them, statistics, and where the result goes.
struct decode {
    int64_t              n_vocab;
    int32_t              n_rows;
    guarded<float>       logits;
    guarded<int32_t>     table;
    guarded<char>        statistics;
    guarded<float>       apart;
    std::vector<int32_t> members; // of group g: sizes
    bool                 in_place = false;

    decode(int64_t n, int32_t rows, std::vector<int32_t> sizes_of, random_numbers & random)
        : n_vocab(n), n_rows(rows), logits(static_cast<size_t>(rows * n)),
          table(static_cast<size_t>(eqk::group_table::n_words(rows))), statistics(eqk::group_statistics::bytes(rows)),
          apart(static_cast<size_t>(rows * n)), members(std::move(sizes_of)) {
        memset(statistics.data(), 0xA5, statistics.length());
        memset(table.data(), 0xFF, table.length() * sizeof(int32_t)); // what the table does not use is never read
        for (int32_t r = 0; r < rows; r++) {
            fill_row(logits.data() + r * n, n, kind::usual, random);
        }
        std::vector<int32_t> free_rows;
        for (int32_t r = 0; r < rows; r++) {
            free_rows.insert(free_rows.begin() + random.below(r + 1), r);
        }
        table[0]              = static_cast<int32_t>(members.size());
        int32_t * const group = table.data() + 1;
        int32_t * const row   = group + eqk::group_table::group_words * rows;
        int32_t         first = 0;
        for (size_t g = 0; g < members.size(); g++) {
            group[3 * g]     = first;
            group[3 * g + 1] = members[g];
            group[3 * g + 2] = random.below(2);
            float rest       = 1;
            for (int32_t b = members[g]; b-- > 0;) {
                const float coefficient = b == 0 ? rest : random.between(-1.5, 0.5);
                rest -= coefficient;
                row[first + b] = free_rows[static_cast<size_t>(first + b)];
                put(first + b, coefficient);
            }
            constexpr float betas[] = {0, 0.1f, 1}; // 1 keeps what equals the largest
            put(rows + static_cast<int32_t>(g), betas[random.below(3)]);
            first += members[g];
        }
    }

    void put(int32_t number, float value) {
        memcpy(table.data() + eqk::group_table::first_float(n_rows) + number, &value, sizeof(value));
    }

    eqk::group_table found() { return {table.data(), n_rows}; }
    float *          out() { return in_place ? logits.data() : apart.data(); }

    void run(order of) {
        const eqk_groups_args args = {logits.data(), n_vocab, n_vocab, table.data(), statistics.data(),
                                      out(),         n_vocab, n_rows};
        for (int32_t y = 0; y < n_rows; y++) {
            for (int32_t x = 0; x < EQK_SLICES; x++) {
                unwritten<eqk::partials_shared<slice_block>> memory;
                eqk::groups_partials(slice_block{of}, memory.shared, args, x, y);
            }
        }
        for (int32_t x = 0; x < n_rows; x++) {
            unwritten<eqk::reduce_shared<reduce_block>> memory;
            eqk::groups_reduce(reduce_block{of}, memory.shared, args, x);
        }
        for (int32_t y = 0; y < n_rows; y++) {
            for (int32_t x = 0; x < EQK_SLICES; x++) {
                unwritten<eqk::contrast_shared<slice_block>> memory;
                eqk::groups_contrast(slice_block{of}, memory.shared, args, x, y);
            }
        }
    }
};

void groups_agree(decode & d, const std::vector<float> & before) {
    const eqk::group_table      table = d.found();
    const eqk::group_statistics left  = {d.statistics.data(), d.n_rows};
    std::vector<bool>           base(static_cast<size_t>(d.n_rows), false);
    for (int32_t g = 0; g < table.groups(); g++) {
        const int32_t * head  = table.group(g);
        const int32_t * rows  = table.member_rows() + head[0];
        std::vector<float> max(static_cast<size_t>(head[1])), lse(static_cast<size_t>(head[1]));
        for (int32_t b = 0; b < head[1]; b++) {
            const soft want = softmax_of(before.data() + rows[b] * d.n_vocab, d.n_vocab);
            max[static_cast<size_t>(b)] = want.max;
            lse[static_cast<size_t>(b)] = left.row_lse()[head[0] + b]; // the combination is judged by the one it used
            CHECK(left.row_max()[head[0] + b] == want.max, "n %ld group %d branch %d", d.n_vocab, g, b);
            CHECK(loosened(want.lse, d.n_vocab, 1).holds(left.row_lse()[head[0] + b]), "n %ld group %d branch %d",
                  d.n_vocab, g, b);
        }
        const contrast_expectation want = contrast_of({before.data(), d.n_vocab, d.n_vocab, rows,
                                                       table.coefficients() + head[0], table.beta(g), max.data(),
                                                       lse.data(), nullptr, nullptr, head[1], head[2], 0, EQK_SLICES});
        double                     delta_sq = -1;
        int64_t                    kept     = -1;
        CHECK(eqk_contrast_reduce(left.report(g), &delta_sq, &kept) == EQK_OK, "n %ld group %d", d.n_vocab, g);
        CHECK(kept == want.kept && want.delta_sq.holds(delta_sq), "n %ld group %d: kept %ld, not %ld", d.n_vocab, g,
              kept, want.kept);
        base[static_cast<size_t>(rows[0])] = true;
        for (int64_t y = 0; y < d.n_vocab; y++) {
            const expected & w = want.out[static_cast<size_t>(y)];
            const float      o = d.out()[rows[0] * d.n_vocab + y];
            CHECK(w.tolerance < 0 ? o == -INFINITY : w.holds(o), "n %ld group %d y %ld: %.9g, not %.9g", d.n_vocab, g,
                  y, o, w.value);
        }
    }
    for (int32_t r = 0; r < d.n_rows; r++) {
        CHECK(base[static_cast<size_t>(r)] || memcmp(d.out() + r * d.n_vocab, before.data() + r * d.n_vocab,
                                                     static_cast<size_t>(d.n_vocab) * sizeof(float)) == 0,
              "n %ld: row %d belongs to no group's base and changed", d.n_vocab, r);
    }
}

void groups_against_reference() {
    const std::vector<std::vector<int32_t>> shapes = {{}, {1}, {2}, {3, 1, 2}};
    for (const int64_t n : {1, 2, 15, 16, 17, 33, 257, 1025, 4099, 32001}) {
        for (const auto & shape : shapes) {
            for (const bool in_place : {false, true}) {
                std::vector<float> bits;
                for (const order of : orders) {
                    random_numbers random(static_cast<uint64_t>(n) + shape.size()); // the same numbers for each order
                    decode         d(n, 7, shape, random);
                    d.in_place = in_place;
                    const std::vector<float> before(d.logits.data(), d.logits.data() + 7 * n);
                    d.run(of);
                    groups_agree(d, before);
                    const std::vector<float> out(d.out(), d.out() + 7 * n);
                    CHECK(bits.empty() || memcmp(bits.data(), out.data(), out.size() * sizeof(float)) == 0,
                          "n %ld: the order of the threads shows", n);
                    bits = out;
                }
            }
        }
    }
}

// With no group the statistics are nobody's business.
void nothing_to_do() {
    random_numbers random(8);
    decode         d(65, 3, {}, random);
    d.run(order::forwards);
    for (size_t i = 0; i < d.statistics.length(); i++) {
        CHECK(static_cast<unsigned char>(d.statistics[i]) == 0xA5, "byte %zu was written", i);
    }
}

// A row that is not finite spoils its own group and no other.
void failures_stay_at_home() {
    for (const int64_t n : {1, 33, 4099}) {
        random_numbers random(9);
        decode         d(n, 4, {2, 2}, random);
        const int32_t  bad = d.found().member_rows()[1];
        d.logits[static_cast<size_t>(bad * n + n / 2)] = NAN;
        const std::vector<float> before(d.logits.data(), d.logits.data() + 4 * n);
        d.run(order::scattered);
        const eqk::group_statistics left = {d.statistics.data(), 4};
        double                      delta_sq = 0;
        int64_t                     kept     = -1;
        CHECK(eqk_contrast_reduce(left.report(0), &delta_sq, &kept) == EQK_NOT_FINITE && kept == 0, "n %ld", n);
        const float * base = d.out() + d.found().member_rows()[0] * n;
        CHECK(std::all_of(base, base + n, [](float x) { return std::isnan(x); }), "n %ld", n);
        CHECK(eqk_contrast_reduce(left.report(1), &delta_sq, &kept) == EQK_OK && kept > 0, "n %ld", n);
    }
}

} // namespace

int main() {
    random_numbers random(7);
    rows_against_reference(random);
    rows_that_cannot_be(random);
    best_tokens(random);
    groups_against_reference();
    nothing_to_do();
    failures_stay_at_home();
    return verdict("blocks");
}
