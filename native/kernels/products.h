/*
 * The products each tier implements. Like the files of kernel_list.h, those with a tier's flags must not emit a
 * function that another file emits too: anonymous namespaces or EQK_INLINE, and no C++ library headers but those of
 * plain types.
 */
#ifndef EQK_PRODUCTS_H
#define EQK_PRODUCTS_H

#include <cstdint>

// Forced: also because what holds sums in registers would, as a function of its own, hold them in memory.
#define EQK_INLINE __attribute__((always_inline)) inline

namespace eqk {

/*
 * Where blocks of columns lie. Columns come in tiles of eight, the last one maybe narrower; in a tile, block b of each
 * column beside that of the next, for a product walks all columns of a tile at once: far apart, columns of a power of
 * two would fall upon the same lines of the cache.
 */
template <int64_t values_per_block> struct column_blocks {
    int64_t n_in;
    int64_t n_columns;

    static constexpr int64_t block = values_per_block;
    static constexpr int64_t tile  = 8;

    EQK_INLINE int64_t blocks() const { return n_in / block; }
    EQK_INLINE int64_t width(int64_t c) const { return c / tile == n_columns / tile ? n_columns % tile : tile; }
    // Of block b of column c.
    EQK_INLINE int64_t index(int64_t c, int64_t b) const {
        return c / tile * tile * blocks() + b * width(c) + c % tile;
    }
};

// Activations as q8_0.
struct quantised_columns : column_blocks<32> {
    int8_t *  values;  // [index][32]
    float *   scales;  // [index], of half precision
    int32_t * offsets; // [index][2]: -bias times the sum of the values whose index leaves 0..3 modulo 8; of the others
    int32_t   bias;    // what a tier may add to each weight of the type at hand, so that it has no sign
};

// Activations as q8_K.
struct quantised_columns_k : column_blocks<256> {
    int8_t *  values;  // [index][256]
    float *   scales;  // [index]
    int32_t * offsets; // [index][16][2]: of sixteen values, -32 times the sums as above
    int16_t * sums;    // [index][16]: of sixteen values
};

struct eight_rows_q4_0 {
    uint16_t scales[8];
    uint8_t  values[128];
};

// Every row by itself, as in a file.
struct block_q8_0 {
    uint16_t scale;
    int8_t   values[32];
};

struct eight_rows_q4_k {
    uint16_t scales[8];
    uint16_t least[8];
    uint8_t  parts[8][12]; // of each 32 values, the eight rows' scales and minima in 6 bits: equipoise_products.h
    uint8_t  values[1024];
};

struct block_q6_k {
    uint8_t  low[128];
    uint8_t  high[64];
    int8_t   parts[16];
    uint16_t scale;
};

// Of a product: rows [first, last) of n_out, of every column: y[c * stride + row]. first is a multiple of eight; so is
// last, or it is n_out.
struct some_rows {
    int64_t first, last, n_out;
    float * y;
    int64_t stride;
};

struct products {
    const char * tier;
    // Blocks [first, last) of column c, from all of its values x.
    void (*quantise)(const float * x, const quantised_columns & to, int64_t c, int64_t first, int64_t last);
    void (*quantise_k)(const float * x, const quantised_columns_k & to, int64_t c, int64_t first, int64_t last);
    void (*multiply_q4_0)(const eight_rows_q4_0 * w, const quantised_columns & x, const some_rows & rows);
    void (*multiply_q8_0)(const block_q8_0 * w, const quantised_columns & x, const some_rows & rows);
    void (*multiply_q4_k)(const eight_rows_q4_k * w, const quantised_columns_k & x, const some_rows & rows);
    void (*multiply_q6_k)(const block_q6_k * w, const quantised_columns_k & x, const some_rows & rows);
};

extern const products products_scalar;
#if defined(__x86_64__)
extern const products products_avx2;
extern const products products_avx512vnni;
#endif

// The best tier that processor, operating system and EQUIPOISE_KERNELS_TIER allow; tier.cpp.
const products & active_products();

} // namespace eqk

#endif
