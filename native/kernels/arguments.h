// What may be asked of the kernels; the header of the ABI states the ranges. Host memory only.
#ifndef EQK_ARGUMENTS_H
#define EQK_ARGUMENTS_H

#include "equipoise_kernels.h"

#include <cmath>

namespace eqk {

inline bool is_row(const float * row, int64_t n) {
    return row && n >= 1 && n <= INT32_MAX;
}

inline bool are_slices(int32_t first, int32_t last) {
    return 0 <= first && first <= last && last <= EQK_SLICES;
}

// All of eqk_contrast_args but its rows and slices.
inline bool is_group(const eqk_contrast_args & a) {
    if (!a.row_index || !a.coefficient || !a.beta || !a.row_max || !a.row_lse || !a.out || !a.report ||
        a.n_branches < 1 || a.stride < a.n_vocab || a.log_probabilities < 0 || a.log_probabilities > 1) {
        return false;
    }
    for (int32_t b = 0; b < a.n_branches; b++) {
        if (a.row_index[b] < 0 || !std::isfinite(a.coefficient[b])) {
            return false;
        }
    }
    return *a.beta >= 0 && *a.beta <= 1;
}

} // namespace eqk

#endif
