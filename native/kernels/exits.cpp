// What earlier layers would have said, against or with what the last one says. One row a token: plain loops in double.

#include "equipoise_kernels.h"

#include <algorithm>
#include <cmath>

namespace {

// ln sum_i e^z[i], or NaN where z has no softmax.
double log_sum(const float * z, int64_t n) {
    double largest = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        if (!(z[i] < INFINITY)) {
            return NAN;
        }
        largest = std::fmax(largest, (double) z[i]);
    }
    if (largest == -INFINITY) {
        return NAN;
    }
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += std::exp(z[i] - largest);
    }
    return largest + std::log(sum);
}

// Jensen-Shannon divergence in nats of softmax(x) and softmax(y).
double divergence(const float * x, double log_x, const float * y, double log_y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double p = std::exp(x[i] - log_x), q = std::exp(y[i] - log_y), m = 0.5 * (p + q);
        sum += (p > 0 ? p * std::log(p / m) : 0) + (q > 0 ? q * std::log(q / m) : 0);
    }
    return 0.5 * sum;
}

bool are_rows(const float * z, const float * const * rows, int64_t n_vocab, int32_t n_rows) {
    return z && rows && n_vocab >= 1 && n_vocab <= INT32_MAX && n_rows >= 1 &&
           std::all_of(rows, rows + n_rows, [](const float * row) { return row != nullptr; });
}

} // namespace

int32_t eqk_exits_mean(float * z, const float * const * rows, int64_t n_vocab, int32_t n_rows, float weight,
                       double * change_sq) {
    if (!are_rows(z, rows, n_vocab, n_rows) || !(weight >= 0 && weight <= 1) || !change_sq) {
        return EQK_BAD_ARGUMENT;
    }
    double squared = 0;
    for (int64_t i = 0; i < n_vocab; i++) {
        double sum = 0;
        for (int32_t k = 0; k < n_rows; k++) {
            sum += rows[k][i];
        }
        const float before = z[i];
        z[i] = (float) ((1 - (double) weight) * before + weight * (sum / n_rows));
        const double change = (double) z[i] - before;
        squared += change * change;
    }
    *change_sq = squared;
    return EQK_OK;
}

int32_t eqk_exits_contrast(float * z, const float * const * rows, int64_t n_vocab, int32_t n_rows,
                           float relative_top, int32_t * chosen, double * change_sq) {
    if (!are_rows(z, rows, n_vocab, n_rows) || !(relative_top >= 0 && relative_top <= 1) || !chosen ||
        !change_sq) {
        return EQK_BAD_ARGUMENT;
    }
    const double log_z  = log_sum(z, n_vocab);
    double       most   = -1;
    double       log_of = NAN;
    *chosen             = -1;
    for (int32_t k = 0; k < n_rows; k++) {
        const double log_k = log_sum(rows[k], n_vocab);
        const double apart = divergence(z, log_z, rows[k], log_k, n_vocab);
        if (std::isnan(apart)) {
            return EQK_NOT_FINITE;
        }
        if (apart > most) {
            most    = apart;
            log_of  = log_k;
            *chosen = k;
        }
    }
    if (*chosen < 0) {
        return EQK_NOT_FINITE;
    }
    double largest = -INFINITY;
    for (int64_t i = 0; i < n_vocab; i++) {
        largest = std::fmax(largest, (double) z[i]);
    }
    const double  cut     = largest + std::log((double) relative_top);
    const float * early   = rows[*chosen];
    double        squared = 0;
    for (int64_t i = 0; i < n_vocab; i++) {
        const float before = z[i];
        if (before < cut || before == -INFINITY) {
            z[i] = -INFINITY;
            continue;
        }
        z[i] = (float) ((before - log_z) - (early[i] - log_of));
        const double change = (double) z[i] - before;
        squared += change * change;
    }
    *change_sq = squared;
    return EQK_OK;
}
