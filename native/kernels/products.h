/*
 * The products each tier implements. Like the files of kernel_list.h, those with a tier's flags must not emit a function
 * that another file emits too: anonymous namespaces or EQK_INLINE, and no C++ library headers but those of plain types.
 */
#ifndef EQK_PRODUCTS_H
#define EQK_PRODUCTS_H

#include <cstdint>

// Forced: also because what holds sums in registers would, as a function of its own, hold them in memory.
#define EQK_INLINE __attribute__((always_inline)) inline

namespace eqk {

/*
 * Activations as q8_0. Columns lie in tiles of eight, the last one maybe narrower; in a tile, block b of each column
 * beside that of the next, for a product walks all columns of a tile at once: far apart, columns of a power of two would
 * fall upon the same lines of the cache.
 */
struct quantised_columns {
    int8_t *  values;  // [index][32]
    float *   scales;  // [index], of half precision
    int32_t * offsets; // [index][2]: -8 times the sum of the values whose index leaves 0..3 modulo 8, and of the others
    int64_t   n_in;
    int64_t   n_columns;

    static constexpr int64_t block = 32;
    static constexpr int64_t tile  = 8;

    EQK_INLINE int64_t blocks() const { return n_in / block; }
    EQK_INLINE int64_t width(int64_t c) const { return c / tile == n_columns / tile ? n_columns % tile : tile; }
    // Of block b of column c.
    EQK_INLINE int64_t index(int64_t c, int64_t b) const { return c / tile * tile * blocks() + b * width(c) + c % tile; }
};

struct eight_rows_q4_0 {
    uint16_t scales[8];
    uint8_t  values[128];
};

struct products {
    const char * tier;
    // Blocks [first, last) of column c, from all of its values x.
    void (*quantise)(const float * x, const quantised_columns & to, int64_t c, int64_t first, int64_t last);
    // Eight rows after the other, groups of them [first, last), of every column: y[c * stride + row].
    void (*multiply_q4_0)(const eight_rows_q4_0 * w, int64_t first, int64_t last, const quantised_columns & x, float * y,
                          int64_t stride);
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
