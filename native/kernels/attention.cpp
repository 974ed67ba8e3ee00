// Edits of attention rows. They act on the few layers that a strategy names and on one query at a time, where reading
// the row is most of the work, so plain loops do.

#include "equipoise_kernels.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

namespace {

bool is_row(const void * row, const uint8_t * labels, int64_t n) {
    return row && labels && n >= 1 && n <= INT32_MAX;
}

bool holds(uint64_t set, uint8_t label) {
    return label < 64 && (set >> label & 1);
}

// x becomes f(x) for the keys of a set; the sum of the squared changes.
template <typename F> double rewrite(float * row, const uint8_t * labels, int64_t n, uint64_t set, F f) {
    double squared = 0;
    for (int64_t j = 0; j < n; j++) {
        if (holds(set, labels[j])) {
            const float before = row[j];
            row[j]             = f(before);
            const double change = (double) row[j] - before;
            squared += change * change;
        }
    }
    return squared;
}

// Keys of a row, each once.
bool are_keys(const int64_t * keys, int64_t n_keys, int64_t n) {
    return keys && n_keys >= 1 && n_keys <= n &&
           std::all_of(keys, keys + n_keys, [n](int64_t key) { return key >= 0 && key < n; });
}

} // namespace

int32_t eqk_scores_raise(float * s, const uint8_t * labels, int64_t n, uint64_t span, float alpha, double * change_sq) {
    if (!is_row(s, labels, n) || !std::isfinite(alpha) || !change_sq) {
        return EQK_BAD_ARGUMENT;
    }
    *change_sq = rewrite(s, labels, n, span, [alpha](float x) { return x + alpha * std::fabs(x); });
    return EQK_OK;
}

int32_t eqk_scores_scale(float * s, const uint8_t * labels, int64_t n, uint64_t span, float factor, double * change_sq) {
    if (!is_row(s, labels, n) || !std::isfinite(factor) || !change_sq) {
        return EQK_BAD_ARGUMENT;
    }
    *change_sq = rewrite(s, labels, n, span, [factor](float x) { return x * factor; });
    return EQK_OK;
}

int32_t eqk_weights_move(float * w, const uint8_t * labels, int64_t n, uint64_t from, uint64_t to, float threshold,
                         float fraction, double * change_sq) {
    if (!is_row(w, labels, n) || (from & to) != 0 || !(threshold >= 0 && threshold <= 1) ||
        !(fraction >= 0 && fraction <= 1) || !change_sq) {
        return EQK_BAD_ARGUMENT;
    }
    double given = 0, taken = 0;
    for (int64_t j = 0; j < n; j++) {
        given += holds(from, labels[j]) ? (double) w[j] : 0;
        taken += holds(to, labels[j]) ? (double) w[j] : 0;
    }
    *change_sq = 0;
    if (!(taken > 0) || !(given > threshold * (given + taken))) {
        return EQK_OK;
    }
    const double less = 1 - (double) fraction;
    const double more = 1 + fraction * given / taken;
    *change_sq = rewrite(w, labels, n, from, [less](float x) { return (float) (x * less); }) +
                 rewrite(w, labels, n, to, [more](float x) { return (float) (x * more); });
    return EQK_OK;
}

int32_t eqk_weights_sinks(float * w, const uint8_t * labels, const float * sinkness, int64_t n, uint64_t span, float tau,
                          float rho, float mass, float keep, double * change_sq) {
    if (!is_row(w, labels, n) || !sinkness || !(tau >= 0) || !(rho >= 0 && rho <= 1) || !(mass >= 0 && mass <= 1) ||
        !(keep >= 0 && keep <= 1) || !change_sq) {
        return EQK_BAD_ARGUMENT;
    }
    double seen = 0, sunk_seen = 0, sunk = 0;
    for (int64_t j = 0; j < n; j++) {
        if (labels[j] == EQK_NO_KEY) {
            continue;
        }
        const bool sink = sinkness[j] > tau;
        sunk += sink ? (double) w[j] : 0;
        if (holds(span, labels[j])) {
            seen += w[j];
            sunk_seen += sink ? (double) w[j] : 0;
        }
    }
    const double rest = seen - sunk_seen;
    *change_sq        = 0;
    if (!(seen >= mass) || !(sunk_seen <= rho * seen) || !(rest > 0)) {
        return EQK_OK;
    }
    const double more    = 1 + (1 - (double) keep) * sunk / rest;
    double       squared = 0;
    for (int64_t j = 0; j < n; j++) {
        if (labels[j] == EQK_NO_KEY) {
            continue;
        }
        const float before = w[j];
        if (sinkness[j] > tau) {
            w[j] = keep * before;
        } else if (holds(span, labels[j])) {
            w[j] = (float) (before * more);
        }
        const double change = (double) w[j] - before;
        squared += change * change;
    }
    *change_sq = squared;
    return EQK_OK;
}

int32_t eqk_weights_mass(const float * w, const uint8_t * labels, int64_t n, double * mass) {
    if (!is_row(w, labels, n) || !mass) {
        return EQK_BAD_ARGUMENT;
    }
    for (int64_t j = 0; j < n; j++) {
        if (labels[j] < 64) {
            mass[labels[j]] += w[j];
        }
    }
    return EQK_OK;
}

int32_t eqk_keys_attended(const float * w, int64_t stride, int32_t n_heads, const uint8_t * labels,
                          const int32_t * order, int64_t n, uint64_t span, int64_t keep, uint8_t * attended,
                          int64_t * n_attended) {
    if (!is_row(w, labels, n) || stride < n || n_heads < 1 || !order || keep < 0 || !attended || !n_attended) {
        return EQK_BAD_ARGUMENT;
    }
    using key = std::tuple<double, int32_t, int64_t>; // weight, order, place
    thread_local std::vector<key> keys;               // so that a token allocates nothing
    keys.clear();
    for (int64_t j = 0; j < n; j++) {
        attended[j] = 0;
        if (holds(span, labels[j])) {
            double weight = 0;
            for (int32_t h = 0; h < n_heads; h++) {
                weight += w[h * stride + j];
            }
            // NaN has no place in an order.
            keys.emplace_back(std::isnan(weight) ? INFINITY : weight, order[j], j);
        }
    }
    *n_attended = std::max<int64_t>(0, (int64_t) keys.size() - keep);
    if (*n_attended > 0) {
        std::nth_element(keys.begin(), keys.begin() + keep, keys.end());
        std::for_each(keys.begin() + keep, keys.end(), [attended](const key & one) { attended[std::get<2>(one)] = 1; });
    }
    return EQK_OK;
}

int32_t eqk_sinkness(const float * h, int64_t n, const int32_t * dimensions, int32_t n_dimensions, float * sinkness) {
    if (!h || n < 1 || n > INT32_MAX || !dimensions || n_dimensions < 1 || !sinkness) {
        return EQK_BAD_ARGUMENT;
    }
    double squared = 0;
    for (int64_t i = 0; i < n; i++) {
        squared += (double) h[i] * h[i];
    }
    double largest = 0;
    for (int32_t d = 0; d < n_dimensions; d++) {
        if (dimensions[d] < 0 || dimensions[d] >= n) {
            return EQK_BAD_ARGUMENT;
        }
        largest = std::fmax(largest, std::fabs((double) h[dimensions[d]]));
    }
    *sinkness = squared > 0 ? (float) (largest / std::sqrt(squared / (double) n)) : 0;
    return EQK_OK;
}

int32_t eqk_sinks_among(const float * const * h, int64_t n, int64_t width, float threshold, float factor, uint8_t * sinks,
                        int64_t * n_sinks) {
    if (!h || n < 1 || n > INT32_MAX || width < 1 || width > INT32_MAX || !std::isfinite(threshold) ||
        !std::isfinite(factor) || factor < 0 || !sinks || !n_sinks) {
        return EQK_BAD_ARGUMENT;
    }
    thread_local std::vector<float> largest;
    thread_local std::vector<float> all;
    largest.assign((size_t) n, 0);
    *n_sinks = 0;
    for (int64_t t = 0; t < n; t++) {
        for (int64_t i = 0; i < width; i++) {
            largest[(size_t) t] = std::fmax(largest[(size_t) t], std::fabs(h[t][i]));
        }
        sinks[t] = largest[(size_t) t] >= threshold;
        *n_sinks += sinks[t];
    }
    if (*n_sinks == 0) {
        return EQK_OK; // whatever the median is: most blocks of most models end here
    }
    all.resize((size_t) (n * width));
    for (int64_t t = 0; t < n; t++) {
        // NaN has no place in an order.
        std::transform(h[t], h[t] + width, all.begin() + t * width,
                       [](float x) { return std::isnan(x) ? INFINITY : std::fabs(x); });
    }
    const auto middle = all.begin() + (n * width - 1) / 2;
    std::nth_element(all.begin(), middle, all.end());
    const double least = (double) factor * *middle;
    *n_sinks           = 0;
    for (int64_t t = 0; t < n; t++) {
        sinks[t] = sinks[t] && largest[(size_t) t] >= least;
        *n_sinks += sinks[t];
    }
    return EQK_OK;
}

int32_t eqk_weights_gather(float * w, const float * s, int64_t n, const int64_t * keys, int64_t n_keys, float scale,
                           float apart, double * change_sq) {
    if (!w || !s || n < 1 || n > INT32_MAX || !are_keys(keys, n_keys, n) || !std::isfinite(scale) || !(apart < INFINITY) ||
        !change_sq) {
        return EQK_BAD_ARGUMENT;
    }
    thread_local std::vector<double> exps;
    exps.resize((size_t) n_keys);
    double most = apart;
    for (int64_t k = 0; k < n_keys; k++) {
        exps[(size_t) k] = (double) scale * s[keys[k]];
        most             = std::fmax(most, exps[(size_t) k]);
    }
    double sum = std::exp(apart - most);
    for (double & e : exps) {
        e = std::exp(e - most);
        sum += e;
    }
    double squared = 0;
    for (int64_t j = 0; j < n; j++) {
        squared += (double) w[j] * w[j];
    }
    for (int64_t k = 0; k < n_keys; k++) {
        const float  before = w[keys[k]];
        const double change = (float) (exps[(size_t) k] / sum) - (double) before;
        squared += change * change - (double) before * before;
        exps[(size_t) k] /= sum;
    }
    std::fill(w, w + n, 0.0f);
    for (int64_t k = 0; k < n_keys; k++) {
        w[keys[k]] = (float) exps[(size_t) k];
    }
    *change_sq = std::fmax(0, squared);
    return EQK_OK;
}

int32_t eqk_weights_turn(float * w, int64_t n, const float * values, int64_t stride, int64_t width, const int64_t * keys,
                         int64_t n_keys, float gamma, float temperature, double * change_sq) {
    if (!w || n < 1 || n > INT32_MAX || !values || width < 1 || stride < width || !are_keys(keys, n_keys, n) ||
        !(gamma > 0 && std::isfinite(gamma)) || !(temperature > 0 && std::isfinite(temperature)) || !change_sq) {
        return EQK_BAD_ARGUMENT;
    }
    *change_sq = 0;
    thread_local std::vector<float>  o;
    thread_local std::vector<double> v;
    o.assign((size_t) width, 0);
    v.assign((size_t) width, 0);
    for (int64_t j = 0; j < n; j++) {
        if (w[j] != 0) {
            const float   weight = w[j];
            const float * value  = values + j * stride;
            for (int64_t i = 0; i < width; i++) {
                o[(size_t) i] += weight * value[i];
            }
        }
    }
    for (int64_t k = 0; k < n_keys; k++) {
        const float * value = values + keys[k] * stride;
        for (int64_t i = 0; i < width; i++) {
            v[(size_t) i] += value[i];
        }
    }
    double along = 0, long_o = 0, long_v = 0; // products of the two with each other
    for (size_t i = 0; i < v.size(); i++) {
        v[i] /= (double) n_keys;
        along += v[i] * o[i];
        long_o += (double) o[i] * o[i];
        long_v += v[i] * v[i];
    }
    constexpr double shortest = 1e-12;
    const double     cosine   = along / (std::fmax(std::sqrt(long_o), shortest) * std::fmax(std::sqrt(long_v), shortest));
    if (!(cosine > 0)) {
        return EQK_OK;
    }
    const double c = std::fmin(gamma * std::tanh(cosine / temperature) * along / (long_v + 1e-8), 32768.0 * (double) n_keys);
    const double longer = std::sqrt(long_o + 2 * c * along + c * c * long_v);
    const double scale  = std::sqrt(long_o) / (longer + 1e-8);
    double       squared = 0;
    // Those of keys twice: first as what they are beside others, then by what they gain.
    for (int64_t j = 0; j < n; j++) {
        const double change = (scale - 1) * w[j];
        squared += change * change;
    }
    for (int64_t k = 0; k < n_keys; k++) {
        const double was    = w[keys[k]];
        const double before = (scale - 1) * was;
        const double change = before + scale * c / (double) n_keys;
        squared += change * change - before * before;
    }
    for (int64_t k = 0; k < n_keys; k++) {
        w[keys[k]] = (float) (w[keys[k]] + c / (double) n_keys);
    }
    for (int64_t j = 0; j < n; j++) {
        w[j] = (float) (scale * w[j]);
    }
    *change_sq = std::fmax(0, squared);
    return EQK_OK;
}
