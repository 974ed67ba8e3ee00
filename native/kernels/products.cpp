// The C ABI of the products, and their reference: the arithmetic of equipoise_products.h with nothing around it.

#include "products.h"

#include "equipoise_products.h"
#include "half.h"

#include <algorithm>
#include <cmath>

namespace eqk {
namespace {

static_assert(sizeof(eight_rows_q4_0) == EQK_EIGHT_ROWS_BYTES);
static_assert(quantised_columns::block == EQK_BLOCK);

void quantise(const float * x, const quantised_columns & to, int64_t c, int64_t first, int64_t last) {
    for (int64_t b = first; b < last; b++) {
        const float * from    = x + b * EQK_BLOCK;
        const int64_t at      = to.index(c, b);
        float         largest = 0;
        bool          finite  = true;
        for (int i = 0; i < EQK_BLOCK; i++) {
            largest = std::fmax(largest, std::fabs(from[i]));
            finite  = finite && std::isfinite(from[i]);
        }
        const float scale   = float_of_half(half_of_float(largest / 127));
        const float inverse = finite && scale > 0 ? 127 / largest : 0;
        int32_t     sums[2] = {0, 0};
        for (int i = 0; i < EQK_BLOCK; i++) {
            const auto value = static_cast<int8_t>(finite ? std::nearbyint(from[i] * inverse) : 0);
            to.values[at * EQK_BLOCK + i] = value;
            sums[i / 4 % 2] += value;
        }
        to.scales[at] = finite ? scale : NAN;
        for (int part = 0; part < 2; part++) {
            to.offsets[at * 2 + part] = -8 * sums[part];
        }
    }
}

// The weight of a row of eight, as the integer that its scale multiplies.
int value_of(const eight_rows_q4_0 & w, int row, int i) {
    const int     byte = i % 16;
    const uint8_t two  = w.values[byte / 8 * 64 + row * 8 + byte % 8];
    const int     bits = i < 16 ? two & 15 : two >> 4;
    return bits < 8 ? bits : bits - 16;
}

void multiply_q4_0(const eight_rows_q4_0 * w, int64_t first, int64_t last, const quantised_columns & x, float * y,
                   int64_t stride) {
    const int64_t blocks = x.blocks();
    for (int64_t row = first * 8; row < last * 8; row++) {
        for (int64_t c = 0; c < x.n_columns; c++) {
            float parts[2] = {0, 0};
            for (int64_t b = 0; b < blocks; b++) {
                const eight_rows_q4_0 & of     = w[row / 8 * blocks + b];
                const int64_t           at     = x.index(c, b);
                const int8_t *          values = x.values + at * EQK_BLOCK;
                int32_t                 n[2]   = {0, 0};
                for (int i = 0; i < EQK_BLOCK; i++) {
                    n[i / 4 % 2] += value_of(of, static_cast<int>(row % 8), i) * values[i];
                }
                const float scale = float_of_half(of.scales[row % 8]) * x.scales[at];
                for (int part = 0; part < 2; part++) {
                    parts[part] = std::fma(static_cast<float>(n[part]), scale, parts[part]);
                }
            }
            y[c * stride + row] = parts[0] + parts[1];
        }
    }
}

bool are_counts(int64_t n_in, int64_t n_columns) {
    return n_in >= EQK_BLOCK && n_in % EQK_BLOCK == 0 && n_in <= INT32_MAX && n_columns >= 1 && n_columns <= INT32_MAX;
}

bool is_product(const eqk_product_args * a) {
    return a && a->weights == EQK_WEIGHTS_Q4_0_EIGHT_ROWS && a->w && a->x && a->y && a->scratch &&
           are_counts(a->n_in, a->n_columns) && a->n_out >= 8 && a->n_out % 8 == 0 && a->n_out <= INT32_MAX &&
           a->x_stride >= a->n_in && a->y_stride >= a->n_out;
}

quantised_columns columns_of(const eqk_product_args & a) {
    const int64_t blocks  = a.n_in / EQK_BLOCK;
    auto *        scales  = static_cast<float *>(a.scratch);
    auto *        offsets = reinterpret_cast<int32_t *>(scales + a.n_columns * blocks);
    return {reinterpret_cast<int8_t *>(offsets + a.n_columns * blocks * 2), scales, offsets, a.n_in, a.n_columns};
}

} // namespace

const products products_scalar = {"scalar", quantise, multiply_q4_0};

} // namespace eqk

using namespace eqk;

const char * eqk_product_tier(void) {
    return active_products().tier;
}

size_t eqk_product_scratch(int64_t n_in, int64_t n_columns) {
    if (!are_counts(n_in, n_columns)) {
        return 0;
    }
    const auto blocks = static_cast<size_t>(n_in / EQK_BLOCK);
    return static_cast<size_t>(n_columns) * blocks * (EQK_BLOCK + sizeof(float) + 2 * sizeof(int32_t));
}

int32_t eqk_product_prepare(const eqk_product_args * args, int64_t first, int64_t last) {
    const int64_t blocks = is_product(args) ? args->n_in / EQK_BLOCK : 0;
    if (blocks == 0 || first < 0 || first > last || last > args->n_columns * blocks) {
        return EQK_BAD_ARGUMENT;
    }
    for (int64_t at = first; at < last;) {
        const int64_t c = at / blocks, end = std::min(last, (c + 1) * blocks);
        active_products().quantise(args->x + c * args->x_stride, columns_of(*args), c, at - c * blocks,
                                   end - c * blocks);
        at = end;
    }
    return EQK_OK;
}

int32_t eqk_product_multiply(const eqk_product_args * args, int64_t first, int64_t last) {
    if (!is_product(args) || first < 0 || first % 8 != 0 || first > last || last % 8 != 0 || last > args->n_out) {
        return EQK_BAD_ARGUMENT;
    }
    active_products().multiply_q4_0(static_cast<const eight_rows_q4_0 *>(args->w), first / 8, last / 8,
                                    columns_of(*args), args->y, args->y_stride);
    return EQK_OK;
}
