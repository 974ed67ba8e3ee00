// One group of rows with everything eqk_contrast wants to know about it.
#ifndef EQK_TEST_GROUP_H
#define EQK_TEST_GROUP_H

#include "check.h"
#include "reference.h"

namespace test {

enum class kind { usual, wide, flat, masked };

// usual: like a model's logits. wide: most exponentials underflow. flat: all equal. masked: a third cannot be drawn.
inline void fill_row(float * row, int64_t n, kind k, random_numbers & random) {
    const float offset = random.between(-20, 20);
    for (int64_t y = 0; y < n; y++) {
        switch (k) {
            case kind::usual:  row[y] = offset + random.between(-12, 12); break;
            case kind::wide:   row[y] = offset + random.between(-300, 300); break;
            case kind::flat:   row[y] = offset; break;
            case kind::masked: row[y] = y % 3 == 1 ? -INFINITY : offset + random.between(-12, 12); break;
        }
    }
}

struct group {
    int64_t              n_vocab;
    int64_t              stride;
    int32_t              n_branches;
    guarded<float>       rows; // the last row ends at the guard page; gaps between rows hold NaN
    std::vector<int32_t> row_index;
    std::vector<float>   coefficient, row_max, row_lse;
    float                beta              = 0.1f;
    int32_t              log_probabilities = 0;

    // Coefficients of VCD's kind: the base outweighs what is subtracted, and they sum to 1.
    group(int64_t n, int32_t branches, int64_t gap, kind k, random_numbers & random)
        : n_vocab(n), stride(n + gap), n_branches(branches),
          rows(static_cast<size_t>((branches - 1) * (n + gap) + n)), row_max(static_cast<size_t>(branches)),
          row_lse(static_cast<size_t>(branches)) {
        for (size_t i = 0; i < rows.length(); i++) {
            rows[i] = NAN;
        }
        float rest = 1;
        for (int32_t b = 0; b < branches; b++) {
            row_index.push_back(branches - 1 - b); // the base row is the one that ends at the guard page
            coefficient.push_back(b == 0 ? 0 : random.between(-1.5, 0.5));
            rest -= coefficient.back();
            fill_row(row(b), n, k, random);
        }
        coefficient[0] = rest;
        if (k == kind::masked && n > 1) { // the same tokens everywhere, and one more in the base row
            row(0)[n - 1] = -INFINITY;
            row(0)[0]     = 0;
        }
    }

    float * row(int32_t branch) { return rows.data() + row_index[static_cast<size_t>(branch)] * stride; }

    int32_t run(float * out, double & delta_sq, int64_t & kept) {
        return eqk_contrast_rows(rows.data(), stride, n_vocab, row_index.data(), coefficient.data(), n_branches,
                                 log_probabilities, beta, row_max.data(), row_lse.data(), out, &delta_sq, &kept);
    }

    eqk_contrast_args args(float * out, eqk_contrast_partial * report) {
        return {rows.data(),    stride,         n_vocab, row_index.data(), coefficient.data(), &beta,
                row_max.data(), row_lse.data(), out,     report,           n_branches,         log_probabilities,
                0,              EQK_SLICES};
    }

    void reduce_rows() {
        for (int32_t b = 0; b < n_branches; b++) {
            eqk_partial partials[EQK_SLICES];
            eqk_row_partials(row(b), n_vocab, 0, EQK_SLICES, partials);
            eqk_row_reduce(partials, &row_max[static_cast<size_t>(b)], &row_lse[static_cast<size_t>(b)]);
        }
    }
};

// The programmes take the tier they are meant for; false if this machine does not have it.
inline bool runs_as(int argc, char ** argv) {
    const char * tier = eqk_tier();
    if (argc > 1 && (!tier || strcmp(tier, argv[1]) != 0)) {
        printf("tier %s is not supported here; best below it: %s\n", argv[1], tier ? tier : eqk_tier_error());
        return false;
    }
    return true;
}

} // namespace test

#endif
