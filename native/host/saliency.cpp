#include "saliency.hpp"

#include "ggml-backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

namespace eq {

namespace {

// "Qcur-3", and "Qcur_pos-3" of encoders that rotate, but not "Qcur-3 (permuted)". Blocks run in order, so that the last
// one seen is the last.
bool is_named(const ggml_tensor * tensor, const char * what) {
    const size_t n = std::strlen(what);
    if (std::strncmp(tensor->name, what, n) != 0) {
        return false;
    }
    const char * number = tensor->name + n;
    number += std::strncmp(number, "_pos", 4) == 0 ? 4 : 0;
    return *number == '-' && number[1] != 0 && number[1 + std::strspn(number + 1, "0123456789")] == 0;
}

} // namespace

void encoder_attention::watch(bool wanted) {
    on      = wanted;
    queries = {};
    keys    = {};
}

bool encoder_attention::seen(ggml_tensor * tensor, bool ask, void * user) {
    auto *     self  = static_cast<encoder_attention *>(user);
    const bool query = self->on && is_named(tensor, "Qcur");
    const bool key   = self->on && is_named(tensor, "Kcur");
    if (ask) {
        return query || key;
    }
    if (query || key) {
        take(tensor, query ? self->queries : self->keys);
    }
    return true; // false would end the encoding
}

void encoder_attention::take(const ggml_tensor * tensor, rows & to) {
    to = {};
    if (tensor->type != GGML_TYPE_F32 || tensor->ne[3] != 1 || tensor->nb[0] != sizeof(float)) {
        return;
    }
    try {
        // A view of joint queries, keys and values has gaps: all that it spans, then what is meant.
        std::vector<char> bytes(ggml_nbytes(tensor));
        ggml_backend_tensor_get(tensor, bytes.data(), 0, bytes.size());
        to.values.resize((size_t) (tensor->ne[0] * tensor->ne[1] * tensor->ne[2]));
        for (int64_t position = 0; position < tensor->ne[2]; position++) {
            for (int64_t head = 0; head < tensor->ne[1]; head++) {
                const char * from =
                    bytes.data() + (size_t) position * tensor->nb[2] + (size_t) head * tensor->nb[1];
                std::memcpy(&to.values[(size_t) ((position * tensor->ne[1] + head) * tensor->ne[0])], from,
                            (size_t) tensor->ne[0] * sizeof(float));
            }
        }
        to.size      = tensor->ne[0];
        to.heads     = tensor->ne[1];
        to.positions = tensor->ne[2];
    } catch (const std::bad_alloc &) {
        to = {}; // called from C: what was not kept was not seen
    }
}

std::vector<float> encoder_attention::over(int32_t n_rows) const {
    const int64_t n = keys.positions;
    if (n == 0 || n != n_rows || queries.positions != n || queries.size != keys.size ||
        queries.heads % keys.heads != 0) {
        return {};
    }
    const double        scale = 1 / std::sqrt((double) queries.size);
    std::vector<double> weights((size_t) n);
    std::vector<double> sums((size_t) n);
    for (int64_t head = 0; head < queries.heads; head++) {
        const int64_t key_head = head / (queries.heads / keys.heads);
        for (int64_t query = 0; query < n; query++) {
            const float * q    = &queries.values[(size_t) ((query * queries.heads + head) * queries.size)];
            double        best = -INFINITY;
            for (int64_t key = 0; key < n; key++) {
                const float * k   = &keys.values[(size_t) ((key * keys.heads + key_head) * keys.size)];
                double        dot = 0;
                for (int64_t i = 0; i < keys.size; i++) {
                    dot += (double) q[i] * k[i];
                }
                weights[(size_t) key] = dot * scale;
                best                  = std::max(best, weights[(size_t) key]);
            }
            double sum = 0;
            for (double & weight : weights) {
                weight = std::exp(weight - best);
                sum += weight;
            }
            for (size_t key = 0; key < (size_t) n; key++) {
                sums[key] += weights[key] / sum;
            }
        }
    }
    std::vector<float> mean((size_t) n_rows);
    for (size_t row = 0; row < (size_t) n_rows; row++) {
        mean[row] = (float) (sums[row] / (double) (queries.heads * n));
    }
    return mean;
}

} // namespace eq
