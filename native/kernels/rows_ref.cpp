// The reference, and the tier "scalar": plain loops, double accumulators, nothing clever. Other tiers are judged by it.

#include "arith.h"
#include "kernel_list.h"

namespace eqk {
namespace {

float maximum(const float * x, int64_t n) {
    float max = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        if (!is_logit(x[i])) {
            return NAN;
        }
        max = x[i] > max ? x[i] : max;
    }
    return max;
}

double sum_exp(const float * x, int64_t n, float max) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += std::exp(static_cast<double>(x[i]) - max);
    }
    return sum;
}

exp_sums sum_exp_weighted(const float * x, int64_t n, float max) {
    exp_sums sums = {0, 0};
    for (int64_t i = 0; i < n; i++) {
        if (x[i] != -INFINITY) { // 0 * inf would be NaN
            const double d = static_cast<double>(x[i]) - max;
            sums.plain += std::exp(d);
            sums.weighted += std::exp(d) * -d;
        }
    }
    return sums;
}

int64_t find(const float * x, int64_t n, float value) {
    for (int64_t i = 0; i < n; i++) {
        if (x[i] == value) {
            return i;
        }
    }
    return n;
}

combined contrast(const combination & c, float cut_off, int64_t first, int64_t last, float * out) {
    combined result = {0, 0, true};
    for (int64_t y = first; y < last; y++) {
        if (!(branch_logit(c, 0, y) >= cut_off)) {
            out[y] = -INFINITY;
            continue;
        }
        const double base = branch_value<double>(c, 0, y);
        const double sum  = combine<double>(c, y);
        const float  value = static_cast<float>(sum);
        if (!is_logit(value)) {
            result.finite = false;
            out[y]        = NAN;
        } else {
            out[y] = value;
            if (value > -INFINITY) {
                result.kept++;
                result.delta_sq += (sum - base) * (sum - base);
            }
        }
    }
    return result;
}

} // namespace

#define EQK_ENTRY(name, result, parameters) name,
constinit const kernels kernels_scalar = {"scalar", EQK_KERNEL_LIST(EQK_ENTRY)};

} // namespace eqk
