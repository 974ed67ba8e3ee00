// The formulas of equipoise_kernels.h once more, in doubles and without slices, with the error each result may have.
#ifndef EQK_TEST_REFERENCE_H
#define EQK_TEST_REFERENCE_H

#include "equipoise_kernels.h"

#include <cfloat>
#include <cmath>
#include <vector>

namespace test {

constexpr double u = 0x1p-24; // unit roundoff of a float

// A value and how far from it a correct implementation may be. NaN on either side is outside.
struct expected {
    double value;
    double tolerance;

    bool holds(double found) const { return std::fabs(found - value) <= tolerance; }
};

// The vector exponential's bound (rows_simd.h), relative, for arguments down to -87.
constexpr double exp_bound = 2.1 * u;

struct soft {
    float    max;
    expected sum;     // of e^d, d = x - max
    expected lse;
    expected entropy;
};

/*
 * d is rounded to a float, an error of |d| u in the exponent and so relative in e^d; the exponential adds its bound; a
 * product with d two more roundings. Sums are made in doubles and rounded once. Below -87 an e^d is lost, 1.7e-38.
 */
inline soft softmax_of(const float * x, int64_t n) {
    soft r = {-INFINITY, {0, 0}, {0, 0}, {0, 0}};
    for (int64_t i = 0; i < n; i++) {
        r.max = std::fmax(r.max, x[i]);
    }
    double sum = 0, weighted = 0, sum_error = 0, weighted_error = 0;
    for (int64_t i = 0; i < n; i++) {
        if (x[i] == -INFINITY) {
            continue;
        }
        const double d = static_cast<double>(x[i]) - r.max, e = std::exp(d);
        sum += e;
        weighted += e * -d;
        sum_error += e * (exp_bound - d * u) + 2e-38;
        weighted_error += e * -d * (exp_bound - d * u + 2 * u) + 88 * 2e-38;
    }
    const double rest = 1e-13 + n * 0x1p-52; // the doubles themselves, ours and theirs
    r.sum     = {sum, sum_error + sum * (u + rest)};
    r.lse     = {r.max + std::log(sum), sum_error / sum + u + rest + u * std::fabs(r.max + std::log(sum))};
    const double entropy = std::log(sum) + weighted / sum;
    r.entropy = {entropy, sum_error / sum * (1 + weighted / sum) + weighted_error / sum + (u + rest) * (1 + entropy)};
    return r;
}

// For the bodies of CUDA kernels: expf is within 2 units in the last place, 4 u, where the vectors' is within 2.1 u.
// Sums are floats within a thread, at most n / (64 * 256) + 1 terms in a slice and n / 1024 + 1 in a row, and over a
// tree of at most 10 levels.
inline expected loosened(expected e, int64_t n, double scale) {
    return {e.value, e.tolerance + (4 + static_cast<double>(n) / 1024 + 11) * u * scale};
}

struct contrast_expectation {
    std::vector<expected> out; // tolerance < 0: masked
    expected              delta_sq;
    int64_t               kept;
};

/*
 * Each branch value is rounded once (log-probabilities) and each term's product and addition once each: with n branches
 * no term passes through more than n + 2 roundings of something no larger than the sum of magnitudes.
 */
inline contrast_expectation contrast_of(const eqk_contrast_args & a) {
    contrast_expectation r;
    const float          limit = static_cast<float>(a.row_max[0] + std::log(static_cast<double>(*a.beta)));
    double               delta_sq = 0, delta_error = 0;
    r.kept = 0;
    for (int64_t y = 0; y < a.n_vocab; y++) {
        const auto value = [&](int32_t b) {
            const double logit = a.rows[a.row_index[b] * a.stride + y];
            return a.log_probabilities ? logit - static_cast<double>(a.row_lse[b]) : logit;
        };
        const float base = a.rows[a.row_index[0] * a.stride + y];
        double      sum = 0, magnitude = 0;
        for (int32_t b = 0; b < a.n_branches; b++) {
            if (a.coefficient[b] != 0) {
                sum += a.coefficient[b] * value(b);
                magnitude += std::fabs(a.coefficient[b] * value(b));
            }
        }
        if (!(base > -INFINITY && base >= limit) || sum == -INFINITY) {
            r.out.push_back({-INFINITY, -1});
            continue;
        }
        const double tolerance = (a.n_branches + 2) * u * magnitude * 1.001 + FLT_MIN;
        r.out.push_back({sum, tolerance});
        r.kept++;
        // Twice that, since combined and base are rounded alike; and the rounding of their difference.
        const double delta = sum - value(0);
        const double error = tolerance + u * std::fabs(value(0)) + u * std::fabs(delta);
        delta_sq += delta * delta;
        delta_error += 2 * std::fabs(delta) * error + error * error;
    }
    r.delta_sq = {delta_sq, delta_error + delta_sq * (1e-13 + static_cast<double>(a.n_vocab) * 0x1p-52)};
    return r;
}

} // namespace test

#endif
