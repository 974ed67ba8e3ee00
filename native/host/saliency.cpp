#include "saliency.hpp"

#include "ggml-backend.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

namespace eq {

int32_t block_of(const ggml_tensor * tensor, const char * what) {
    const size_t n = std::strlen(what);
    if (std::strncmp(tensor->name, what, n) != 0 || tensor->name[n] != '-') {
        return -1;
    }
    const char * number = tensor->name + n + 1;
    const size_t digits = std::strspn(number, "0123456789");
    return digits >= 1 && digits <= 6 && number[digits] == 0 ? std::atoi(number) : -1;
}

namespace {

// Encoders that rotate have them rotated too, later. Blocks run in order, so that the last one seen is the last.
bool is_query(const ggml_tensor * tensor) { return block_of(tensor, "Qcur") >= 0 || block_of(tensor, "Qcur_pos") >= 0; }
bool is_key(const ggml_tensor * tensor) { return block_of(tensor, "Kcur") >= 0 || block_of(tensor, "Kcur_pos") >= 0; }

} // namespace

void encoder_attention::watch(bool wanted) {
    on      = wanted;
    queries = {};
    keys    = {};
}

bool encoder_attention::wants(const ggml_tensor * tensor) const { return on && (is_query(tensor) || is_key(tensor)); }

void encoder_attention::take(const ggml_tensor * tensor) { take(tensor, is_query(tensor) ? queries : keys); }

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
    const bool has_class = n == (int64_t) n_rows + 1; // then it comes first, and the rows behind it
    if (n == 0 || (n != n_rows && !has_class) || queries.positions != n || queries.size != keys.size ||
        queries.heads % keys.heads != 0) {
        return {};
    }
    const int64_t       asked = has_class ? 1 : n; // queries: the class token's alone, where there is one
    const double        scale = 1 / std::sqrt((double) queries.size);
    std::vector<double> weights((size_t) n);
    std::vector<double> sums((size_t) n);
    for (int64_t head = 0; head < queries.heads; head++) {
        const int64_t key_head = head / (queries.heads / keys.heads);
        for (int64_t query = 0; query < asked; query++) {
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
        mean[row] = (float) (sums[row + (has_class ? 1 : 0)] / (double) (queries.heads * asked));
    }
    return mean;
}

} // namespace eq
