// What earlier layers would have said, against or with what the last one says. One row a token: plain loops in double.

#include "exits.h"

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

// Divergence in nats of softmax(x) and softmax(y).
double divergence(int32_t kind, const float * x, double log_x, const float * y, double log_y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += eqk::divergence_of(kind, x[i] - log_x, y[i] - log_y);
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
        z[i] = (float) eqk::exits_mixed(before, sum / n_rows, weight);
        const double change = eqk::exits_change(before, z[i]);
        squared += change * change;
    }
    *change_sq = squared;
    return EQK_OK;
}

int32_t eqk_exits_contrast(float * z, const float * const * rows, int64_t n_vocab, int32_t n_rows,
                           float relative_top, int32_t kind, int32_t * chosen, double * change_sq) {
    if (!are_rows(z, rows, n_vocab, n_rows) || !(relative_top >= 0 && relative_top <= 1) ||
        (kind != EQK_JENSEN_SHANNON && kind != EQK_ARITHMETIC_GEOMETRIC) || !chosen || !change_sq) {
        return EQK_BAD_ARGUMENT;
    }
    const double log_z  = log_sum(z, n_vocab);
    double       most   = -1;
    double       log_of = NAN;
    *chosen             = -1;
    for (int32_t k = 0; k < n_rows; k++) {
        const double log_k = log_sum(rows[k], n_vocab);
        if (std::isnan(log_z) || std::isnan(log_k)) {
            return EQK_NOT_FINITE;
        }
        const double apart = divergence(kind, z, log_z, rows[k], log_k, n_vocab);
        if (apart > most) {
            most    = apart;
            log_of  = log_k;
            *chosen = k;
        }
    }
    if (*chosen < 0) {
        return EQK_NOT_FINITE;
    }
    const double  cut     = eqk::exits_cut(*std::max_element(z, z + n_vocab), relative_top); // no NaN: it has a softmax
    const float * early   = rows[*chosen];
    double        squared = 0;
    for (int64_t i = 0; i < n_vocab; i++) {
        const float before = z[i];
        if (!eqk::exits_keep(before, cut)) {
            z[i] = -INFINITY;
            continue;
        }
        z[i] = (float) ((before - log_z) - (early[i] - log_of));
        const double change = eqk::exits_change(before, z[i]);
        squared += change * change;
    }
    *change_sq = squared;
    return EQK_OK;
}
