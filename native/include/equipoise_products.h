/*
 * Products of quantised weights with a few columns of activations:  y[c][r] = sum over i of w[r][i] * x[c][i].
 *
 * A decode of several branches has as many columns as branches. Its weights come from memory once; what a further
 * column costs is arithmetic alone, so these kernels unpack a weight once for all columns that they hold in registers.
 *
 * The numbers are those of llama.cpp's own product: activations are quantised as it quantises them for that type of
 * weights, and integers are multiplied exactly. Only the order of the float32 sums is defined here; it depends neither
 * on how many columns or rows a call holds, nor on the threads, nor on the tier.
 *
 * q4_0 and q8_0: activations become q8_0 (blocks of EQK_BLOCK values, q = round(x * 127 / max|x|) with ties to even,
 * scale d = max|x| / 127 rounded to half precision), and
 *
 *   y[c][r] = (sum over blocks b of float(n0[b]) * (dw[r][b] * d[c][b])) + (the same of n1)
 *
 * block by block, one fused multiply-add each. n0 and n1 are the integer products of those values of a block whose
 * index leaves 0..3 or 4..7 modulo 8.
 *
 * q4_K and q6_K: activations become q8_K (blocks of EQK_BLOCK_K values, q = round(x * s) with ties to even, s = 127 /
 * max|x|, scale d = 1 / s; all 0 where s is not finite), and
 *
 *   y[c][r] = sum over blocks b of (float(n[b]) * (dw[r][b] * d[c][b])  -  float(m[b]) * (dmin[r][b] * d[c][b]))
 *
 * from the first block on, one fused multiply-add for the first product and then one for the second, which q6_K has
 * not. n is the sum of the integer products, each times the integer scale of its part of the block, and m that of the
 * part's activations times its integer minimum. Conversions to float32 round to nearest.
 *
 * A value of x that is not finite makes its column's results NaN. With q4_0 and q8_0, one whose scale half precision
 * cannot hold (from 8.3e6 on) makes them NaN or infinite.
 */
#ifndef EQUIPOISE_PRODUCTS_H
#define EQUIPOISE_PRODUCTS_H

#include "equipoise_kernels.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Values per block of weights and of activations: q4_0 and q8_0; q4_K and q6_K. */
#define EQK_BLOCK   32
#define EQK_BLOCK_K 256

typedef enum eqk_weights {
    /*
     * q4_0 as ggml's CPU_REPACK buffer keeps it on x86 (block_q4_0x8): of eight rows the block b, 144 bytes: eight
     * scales of half precision, then for p in {0, 8} and each row its bytes p .. p + 7. Byte j of a row holds in its
     * low half the value j, in its high half the value j + 16, each as a signed number of 4 bits.
     */
    EQK_WEIGHTS_Q4_0_EIGHT_ROWS = 0,
    /* q8_0 as in a file, row behind row: of each block 34 bytes, a scale of half precision and the values. */
    EQK_WEIGHTS_Q8_0 = 1,
    /*
     * q4_K as ggml's CPU_REPACK buffer keeps it on x86 (block_q4_Kx8): of eight rows the block b, 1152 bytes: eight
     * scales and eight scales of minima of half precision; for each part of 32 values 12 bytes, a 6-bit scale and a
     * 6-bit minimum for each row, packed as ggml packs those of eight parts of one row: scales 0..3, minima 0..3, and
     * four bytes with the low halves of scales 4..7 and minima 4..7, whose upper two bits top the others; then for p
     * in 0, 8 .. 120 and each row its bytes p .. p + 7. Byte 32 h + j of a row holds the value 64 h + j in its low
     * half, 64 h + 32 + j in its high.
     */
    EQK_WEIGHTS_Q4_K_EIGHT_ROWS = 2,
    /*
     * q6_K as in a file, row behind row: of each block 210 bytes: for h in {0, 1} 64 bytes of low halves, then 32
     * bytes of upper two bits for each, then sixteen signed scales, one for each 16 values, and a scale of half
     * precision. Of the value 128 h + 32 t + j the lower half is in byte j + 32 (t % 2) of its 64, low where t < 2,
     * and the upper bits are 2 t and on of byte j of its 32; the number is 32 less than these 6 bits say.
     */
    EQK_WEIGHTS_Q6_K = 3
} eqk_weights;

/*
 * One product, shared among threads: prepare takes any part of the columns' blocks, and when all are done, multiply any
 * part of the rows. Threads must not take the same part, and nothing is allocated.
 */
typedef struct eqk_product_args {
    int32_t       weights;   /* eqk_weights */
    const void *  w;         /* n_out rows of n_in / (values per block) blocks; or n_out / 8 such of eight rows */
    int64_t       n_in;      /* a positive multiple of the values per block */
    int64_t       n_out;     /* positive; of types in eight rows, a multiple of 8 */
    const float * x;         /* column c starts at x + c * x_stride */
    int64_t       x_stride;  /* in elements, at least n_in */
    int64_t       n_columns; /* at least 1 */
    float *       y;         /* column c starts at y + c * y_stride */
    int64_t       y_stride;  /* in elements, at least n_out */
    void *        scratch;   /* eqk_product_scratch bytes, aligned to 4; written by prepare, read by multiply */
} eqk_product_args;

/*
 * The tier of this processor that multiplies: "avx512vnni", "avx2", or "scalar", which is a reference and slower than
 * what llama.cpp does itself. EQUIPOISE_KERNELS_TIER caps it as it caps eqk_tier.
 */
EQK_API const char * eqk_product_tier(void);

/* Bytes of scratch; 0 where the type or the counts are out of range. */
EQK_API size_t eqk_product_scratch(int32_t weights, int64_t n_in, int64_t n_columns);

/* Blocks of activations that are to be prepared; 0 where the type or the counts are out of range. */
EQK_API int64_t eqk_product_blocks(int32_t weights, int64_t n_in, int64_t n_columns);

/* Readies blocks [first, last) of eqk_product_blocks, column behind column. EQK_OK or EQK_BAD_ARGUMENT. */
EQK_API int32_t eqk_product_prepare(const eqk_product_args * args, int64_t first, int64_t last);

/*
 * Writes rows [first, last) of every column: first a multiple of 8, last too, or n_out. EQK_OK or EQK_BAD_ARGUMENT.
 */
EQK_API int32_t eqk_product_multiply(const eqk_product_args * args, int64_t first, int64_t last);

#ifdef __cplusplus
}
#endif

#endif
