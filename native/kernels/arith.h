/*
 * The arithmetic that the scalar tier and the CUDA kernels share, one element or one row of partials at a time.
 * Host code uses it with Real = double (the reference), device code with Real = float.
 */
#ifndef EQK_ARITH_H
#define EQK_ARITH_H

#include "equipoise_kernels.h"
#include "kernel_list.h"

#include <cfloat>
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define EQK_SHARED __host__ __device__ inline
#else
#define EQK_SHARED inline
#endif

namespace eqk {

// Slice edges on multiples of 16: no vector of any tier straddles two slices, only the end of the row has a tail.
EQK_SHARED int64_t slice_width(int64_t n_vocab) {
    const int64_t width = (n_vocab + EQK_SLICES - 1) / EQK_SLICES;
    return (width + 15) / 16 * 16;
}

struct span {
    int64_t first;
    int64_t last;
};

EQK_SHARED span slice_span(int64_t n_vocab, int32_t slice) {
    const int64_t width = slice_width(n_vocab);
    const int64_t first = slice * width < n_vocab ? slice * width : n_vocab;
    const int64_t last  = first + width < n_vocab ? first + width : n_vocab;
    return {first, last};
}

// A logit a row may hold: finite or masked. False for NaN, as every comparison with it is.
EQK_SHARED bool is_logit(float x) {
    return x < INFINITY;
}

// The status a row's maximum stands for, after eqk_row_reduce.
EQK_SHARED int32_t row_status(float row_max) {
    if (!is_logit(row_max)) {
        return EQK_NOT_FINITE;
    }
    return row_max == -INFINITY ? EQK_EMPTY_ROW : EQK_OK;
}

// The worst of a group's rows: a row that is not finite outweighs an empty one, wherever it stands.
EQK_SHARED int32_t rows_status(const float * row_max, const float * row_lse, int32_t n_rows) {
    int32_t worst = EQK_OK;
    for (int32_t r = 0; r < n_rows; r++) {
        int32_t status = row_status(row_max[r]);
        if (status == EQK_OK && !(row_lse[r] < INFINITY && row_lse[r] > -INFINITY)) {
            status = EQK_NOT_FINITE;
        }
        if (status != EQK_OK && worst != EQK_NOT_FINITE) {
            worst = status;
        }
    }
    return worst;
}

// The smallest base logit that is kept. Never below the smallest finite float, so that one comparison also drops what
// is masked. ln(0) = -inf ends there too: no cut-off.
EQK_SHARED float cut_off(float row_max, float beta) {
    const float limit = static_cast<float>(static_cast<double>(row_max) + log(static_cast<double>(beta)));
    return limit > -FLT_MAX ? limit : -FLT_MAX;
}

// What a slice's sum contributes to its row's, once all are measured from the row's maximum.
EQK_SHARED double rescaled_sum(const eqk_partial & partial, float row_max) {
    if (!(partial.sum_exp > 0)) {
        return 0; // nothing but masked logits: its maximum is -inf and the difference below would be NaN
    }
    return partial.sum_exp * exp(static_cast<double>(partial.max) - static_cast<double>(row_max));
}

EQK_SHARED float branch_logit(const combination & c, int32_t branch, int64_t token) {
    return c.rows[c.row_index[branch] * c.stride + token];
}

template <class Real> EQK_SHARED Real branch_value(const combination & c, int32_t branch, int64_t token) {
    const Real offset = c.offset ? static_cast<Real>(c.offset[branch]) : Real(0);
    return static_cast<Real>(branch_logit(c, branch, token)) - offset;
}

template <class Real> EQK_SHARED Real combine(const combination & c, int64_t token) {
    Real sum = 0;
    for (int32_t b = 0; b < c.n_branches; b++) {
        if (c.coefficient[b] != 0) { // 0 * -inf would be NaN
            sum += static_cast<Real>(c.coefficient[b]) * branch_value<Real>(c, b, token);
        }
    }
    return sum;
}

} // namespace eqk

#endif
