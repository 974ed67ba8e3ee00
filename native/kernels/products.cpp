// The C ABI of the products, and their reference: the arithmetic of equipoise_products.h with nothing around it.

#include "products.h"

#include "equipoise_products.h"
#include "half.h"

#include <algorithm>
#include <cmath>

namespace eqk {
namespace {

static_assert(sizeof(eight_rows_q4_0) == 144);
static_assert(sizeof(block_q8_0) == 34);
static_assert(sizeof(eight_rows_q4_k) == 1152);
static_assert(sizeof(block_q6_k) == 210);
static_assert(quantised_columns::block == EQK_BLOCK);
static_assert(quantised_columns_k::block == EQK_BLOCK_K);

// The largest magnitude of n values; false if one of them is not finite.
bool measure(const float * x, int n, float & largest) {
    bool finite = true;
    largest     = 0;
    for (int i = 0; i < n; i++) {
        largest = std::fmax(largest, std::fabs(x[i]));
        finite  = finite && std::isfinite(x[i]);
    }
    return finite;
}

void quantise(const float * x, const quantised_columns & to, int64_t c, int64_t first, int64_t last) {
    for (int64_t b = first; b < last; b++) {
        const float * from = x + b * EQK_BLOCK;
        const int64_t at   = to.index(c, b);
        float         largest;
        const bool    finite  = measure(from, EQK_BLOCK, largest);
        const float   scale   = float_of_half(half_of_float(largest / 127));
        const float   inverse = finite && scale > 0 ? 127 / largest : 0;
        int32_t       sums[2] = {0, 0};
        for (int i = 0; i < EQK_BLOCK; i++) {
            const auto value = static_cast<int8_t>(finite ? std::nearbyint(from[i] * inverse) : 0);
            to.values[at * EQK_BLOCK + i] = value;
            sums[i / 4 % 2] += value;
        }
        to.scales[at] = finite ? scale : NAN;
        for (int part = 0; part < 2; part++) {
            to.offsets[at * 2 + part] = -to.bias * sums[part];
        }
    }
}

void quantise_k(const float * x, const quantised_columns_k & to, int64_t c, int64_t first, int64_t last) {
    for (int64_t b = first; b < last; b++) {
        const float * from = x + b * EQK_BLOCK_K;
        const int64_t at   = to.index(c, b);
        float         largest;
        const bool    finite  = measure(from, EQK_BLOCK_K, largest);
        const float   inverse = 127 / largest;
        const bool    counts  = finite && std::isfinite(inverse);
        for (int part = 0; part < 16; part++) {
            int32_t sums[2] = {0, 0};
            for (int i = part * 16; i < part * 16 + 16; i++) {
                const auto value = static_cast<int8_t>(counts ? std::nearbyint(from[i] * inverse) : 0);
                to.values[at * EQK_BLOCK_K + i] = value;
                sums[i / 4 % 2] += value;
            }
            to.offsets[(at * 16 + part) * 2]     = -32 * sums[0];
            to.offsets[(at * 16 + part) * 2 + 1] = -32 * sums[1];
            to.sums[at * 16 + part]              = static_cast<int16_t>(sums[0] + sums[1]);
        }
        to.scales[at] = counts ? 1 / inverse : finite ? 0 : NAN;
    }
}

// The weight of a row of eight, as the integer that its scale multiplies.
int value_of(const eight_rows_q4_0 & w, int64_t row, int i) {
    const int     byte = i % 16;
    const uint8_t two  = w.values[byte / 8 * 64 + row * 8 + byte % 8];
    const int     bits = i < 16 ? two & 15 : two >> 4;
    return bits < 8 ? bits : bits - 16;
}

// y of a row and a column, where block b has the scale scale_of(b) and the values value_of(b, i).
template <class scale, class value>
float sum_of_blocks(const quantised_columns & x, int64_t c, scale scale_of, value value_of) {
    float parts[2] = {0, 0};
    for (int64_t b = 0; b < x.blocks(); b++) {
        const int64_t  at     = x.index(c, b);
        const int8_t * values = x.values + at * EQK_BLOCK;
        int32_t        n[2]   = {0, 0};
        for (int i = 0; i < EQK_BLOCK; i++) {
            n[i / 4 % 2] += value_of(b, i) * values[i];
        }
        const float product = float_of_half(scale_of(b)) * x.scales[at];
        for (int part = 0; part < 2; part++) {
            parts[part] = std::fma(static_cast<float>(n[part]), product, parts[part]);
        }
    }
    return parts[0] + parts[1];
}

void multiply_q4_0(const eight_rows_q4_0 * w, const quantised_columns & x, const some_rows & rows) {
    for (int64_t row = rows.first; row < rows.last; row++) {
        const eight_rows_q4_0 * of = w + row / 8 * x.blocks();
        for (int64_t c = 0; c < x.n_columns; c++) {
            rows.y[c * rows.stride + row] =
                sum_of_blocks(x, c, [=](int64_t b) { return of[b].scales[row % 8]; },
                              [=](int64_t b, int i) { return value_of(of[b], row % 8, i); });
        }
    }
}

void multiply_q8_0(const block_q8_0 * w, const quantised_columns & x, const some_rows & rows) {
    for (int64_t row = rows.first; row < rows.last; row++) {
        const block_q8_0 * of = w + row * x.blocks();
        for (int64_t c = 0; c < x.n_columns; c++) {
            rows.y[c * rows.stride + row] = sum_of_blocks(x, c, [=](int64_t b) { return of[b].scale; },
                                                          [=](int64_t b, int i) { return of[b].values[i]; });
        }
    }
}

// Of 32 values of a row of eight, the integers that multiply values and their sum.
void parts_of(const uint8_t (&packed)[12], int64_t row, int & scale, int & least) {
    if (row < 4) {
        scale = packed[row] & 63;
        least = packed[4 + row] & 63;
    } else {
        scale = (packed[4 + row] & 15) | packed[row - 4] >> 6 << 4;
        least = packed[4 + row] >> 4 | packed[row] >> 6 << 4;
    }
}

void multiply_q4_k(const eight_rows_q4_k * w, const quantised_columns_k & x, const some_rows & rows) {
    for (int64_t row = rows.first; row < rows.last; row++) {
        const int64_t of = row % 8;
        for (int64_t c = 0; c < x.n_columns; c++) {
            float sum = 0;
            for (int64_t b = 0; b < x.blocks(); b++) {
                const eight_rows_q4_k & from   = w[row / 8 * x.blocks() + b];
                const int64_t           at     = x.index(c, b);
                const int8_t *          values = x.values + at * EQK_BLOCK_K;
                int32_t                 n = 0, m = 0;
                for (int part = 0; part < 8; part++) {
                    int scale, least, products = 0, total = 0;
                    parts_of(from.parts[part], of, scale, least);
                    for (int i = 0; i < 32; i++) {
                        const int     byte = part / 2 * 32 + i;
                        const uint8_t two  = from.values[byte / 8 * 64 + of * 8 + byte % 8];
                        products += (part % 2 ? two >> 4 : two & 15) * values[part * 32 + i];
                        total += values[part * 32 + i];
                    }
                    n += scale * products;
                    m += least * total;
                }
                sum = std::fma(static_cast<float>(n), float_of_half(from.scales[of]) * x.scales[at], sum);
                sum = std::fma(-static_cast<float>(m), float_of_half(from.least[of]) * x.scales[at], sum);
            }
            rows.y[c * rows.stride + row] = sum;
        }
    }
}

int value_of(const block_q6_k & w, int i) {
    const int h = i / 128, t = i / 32 % 4, j = i % 32;
    const int low = w.low[64 * h + t % 2 * 32 + j] >> t / 2 * 4 & 15;
    return (low | (w.high[32 * h + j] >> 2 * t & 3) << 4) - 32;
}

void multiply_q6_k(const block_q6_k * w, const quantised_columns_k & x, const some_rows & rows) {
    for (int64_t row = rows.first; row < rows.last; row++) {
        for (int64_t c = 0; c < x.n_columns; c++) {
            float sum = 0;
            for (int64_t b = 0; b < x.blocks(); b++) {
                const block_q6_k & from = w[row * x.blocks() + b];
                const int64_t      at   = x.index(c, b);
                int32_t            n    = 0;
                for (int i = 0; i < EQK_BLOCK_K; i++) {
                    n += from.parts[i / 16] * value_of(from, i) * x.values[at * EQK_BLOCK_K + i];
                }
                sum = std::fma(static_cast<float>(n), float_of_half(from.scale) * x.scales[at], sum);
            }
            rows.y[c * rows.stride + row] = sum;
        }
    }
}

// What distinguishes the types of weights; null for what is none.
struct layout {
    int64_t block;
    int64_t rows; // that lie together
    int32_t bias; // of quantised_columns
};

const layout * layout_of(int32_t weights) {
    static constexpr layout all[] = {{EQK_BLOCK, 8, 8}, {EQK_BLOCK, 1, 128}, {EQK_BLOCK_K, 8, 0}, {EQK_BLOCK_K, 1, 0}};
    return weights >= EQK_WEIGHTS_Q4_0_EIGHT_ROWS && weights <= EQK_WEIGHTS_Q6_K ? all + weights : nullptr;
}

bool are_counts(int32_t weights, int64_t n_in, int64_t n_columns) {
    const layout * of = layout_of(weights);
    return of && n_in >= of->block && n_in % of->block == 0 && n_in <= INT32_MAX && n_columns >= 1 &&
           n_columns <= INT32_MAX;
}

bool is_product(const eqk_product_args * a) {
    return a && are_counts(a->weights, a->n_in, a->n_columns) && a->w && a->x && a->y && a->scratch && a->n_out >= 1 &&
           a->n_out % layout_of(a->weights)->rows == 0 && a->n_out <= INT32_MAX && a->x_stride >= a->n_in &&
           a->y_stride >= a->n_out;
}

quantised_columns columns_of(const eqk_product_args & a) {
    const int64_t blocks  = a.n_columns * (a.n_in / EQK_BLOCK);
    auto *        scales  = static_cast<float *>(a.scratch);
    auto *        offsets = reinterpret_cast<int32_t *>(scales + blocks);
    auto *        values  = reinterpret_cast<int8_t *>(offsets + blocks * 2);
    return {{a.n_in, a.n_columns}, values, scales, offsets, layout_of(a.weights)->bias};
}

quantised_columns_k columns_k_of(const eqk_product_args & a) {
    const int64_t blocks  = a.n_columns * (a.n_in / EQK_BLOCK_K);
    auto *        scales  = static_cast<float *>(a.scratch);
    auto *        offsets = reinterpret_cast<int32_t *>(scales + blocks);
    auto *        sums    = reinterpret_cast<int16_t *>(offsets + blocks * 32);
    return {{a.n_in, a.n_columns}, reinterpret_cast<int8_t *>(sums + blocks * 16), scales, offsets, sums};
}

} // namespace

const products products_scalar = {"scalar",      quantise,      quantise_k,   multiply_q4_0,
                                  multiply_q8_0, multiply_q4_k, multiply_q6_k};

} // namespace eqk

using namespace eqk;

const char * eqk_product_tier(void) {
    return active_products().tier;
}

int64_t eqk_product_blocks(int32_t weights, int64_t n_in, int64_t n_columns) {
    return are_counts(weights, n_in, n_columns) ? n_columns * (n_in / layout_of(weights)->block) : 0;
}

size_t eqk_product_scratch(int32_t weights, int64_t n_in, int64_t n_columns) {
    constexpr size_t of_32  = EQK_BLOCK + sizeof(float) + 2 * sizeof(int32_t);
    constexpr size_t of_256 = EQK_BLOCK_K + sizeof(float) + 16 * (2 * sizeof(int32_t) + sizeof(int16_t));
    const auto       blocks = static_cast<size_t>(eqk_product_blocks(weights, n_in, n_columns));
    return blocks == 0 ? 0 : blocks * (layout_of(weights)->block == EQK_BLOCK ? of_32 : of_256);
}

int32_t eqk_product_prepare(const eqk_product_args * args, int64_t first, int64_t last) {
    if (!is_product(args) || first < 0 || first > last ||
        last > eqk_product_blocks(args->weights, args->n_in, args->n_columns)) {
        return EQK_BAD_ARGUMENT;
    }
    const products & by     = active_products();
    const int64_t    size   = layout_of(args->weights)->block;
    const int64_t    blocks = args->n_in / size;
    for (int64_t at = first; at < last;) {
        const int64_t c = at / blocks, begin = at - c * blocks, end = std::min(last - c * blocks, blocks);
        const float * x = args->x + c * args->x_stride;
        if (size == EQK_BLOCK) {
            by.quantise(x, columns_of(*args), c, begin, end);
        } else {
            by.quantise_k(x, columns_k_of(*args), c, begin, end);
        }
        at = c * blocks + end;
    }
    return EQK_OK;
}

int32_t eqk_product_multiply(const eqk_product_args * args, int64_t first, int64_t last) {
    if (!is_product(args) || first < 0 || first % 8 != 0 || first > last || last > args->n_out ||
        (last % 8 != 0 && last != args->n_out)) {
        return EQK_BAD_ARGUMENT;
    }
    const products & by   = active_products();
    const some_rows  rows = {first, last, args->n_out, args->y, args->y_stride};
    switch (args->weights) {
        case EQK_WEIGHTS_Q4_0_EIGHT_ROWS:
            by.multiply_q4_0(static_cast<const eight_rows_q4_0 *>(args->w), columns_of(*args), rows);
            break;
        case EQK_WEIGHTS_Q8_0:
            by.multiply_q8_0(static_cast<const block_q8_0 *>(args->w), columns_of(*args), rows);
            break;
        case EQK_WEIGHTS_Q4_K_EIGHT_ROWS:
            by.multiply_q4_k(static_cast<const eight_rows_q4_k *>(args->w), columns_k_of(*args), rows);
            break;
        default: by.multiply_q6_k(static_cast<const block_q6_k *>(args->w), columns_k_of(*args), rows);
    }
    return EQK_OK;
}
