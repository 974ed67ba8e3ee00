/*
 * The kernels each tier implements, as one list: it yields the table type, and in each tier's file the table itself.
 * They see contiguous elements and checked arguments; slices, statuses and arguments are the business of api.cpp.
 *
 * Files compiled with -mavx2 or the like must not emit a function that another file emits too: the linker keeps one
 * copy of an inline function, and the one it keeps might not run on the processor at hand. Hence anonymous namespaces
 * in rows_simd.h and the lanes, and no C++ library headers there but those of plain types.
 */
#ifndef EQK_KERNEL_LIST_H
#define EQK_KERNEL_LIST_H

#include <cstdint>

namespace eqk {

// The branches of one group; pointers as in eqk_contrast_args.
struct combination {
    const float *   rows;
    int64_t         stride;
    const int32_t * row_index;
    const float *   coefficient;
    const float *   offset; // [n_branches] subtracted from each branch, or null
    int32_t         n_branches;
};

struct exp_sums {
    double plain;    // sum of e^d
    double weighted; // sum of -d e^d, every term >= 0
};

struct combined {
    double  delta_sq;
    int64_t kept;
    bool    finite; // false: some kept token's sum is NaN or +infinity, and out holds NaN there
};

// name, result, parameters
#define EQK_KERNEL_LIST(X)                                                                                             \
    /* The largest of x[n]; -inf if n is 0 or all are masked, NaN if any is not a logit. */                            \
    X(maximum, float, (const float * x, int64_t n))                                                                    \
    /* Sum of exp(x - max), max finite. */                                                                             \
    X(sum_exp, double, (const float * x, int64_t n, float max))                                                        \
    /* The same with the weighted sum, d = x - max. */                                                                 \
    X(sum_exp_weighted, exp_sums, (const float * x, int64_t n, float max))                                             \
    /* The first index of value, or n. */                                                                              \
    X(find, int64_t, (const float * x, int64_t n, float value))                                                        \
    /* out[first .. last) of eqk_contrast. */                                                                          \
    X(contrast, combined, (const combination & c, float cut_off, int64_t first, int64_t last, float * out))

struct kernels {
    const char * tier;
#define EQK_MEMBER(name, result, parameters) result(*name) parameters;
    EQK_KERNEL_LIST(EQK_MEMBER)
#undef EQK_MEMBER
};

extern const kernels kernels_scalar;
extern const kernels kernels_sse;
extern const kernels kernels_avx2;
extern const kernels kernels_avx512;
extern const kernels kernels_neon;

// The table in use, or null when EQUIPOISE_KERNELS_TIER names no tier.
const kernels * active_kernels();

} // namespace eqk

#endif
