/*
 * Products of quantised weights with a few columns of activations:  y[c][r] = sum over i of w[r][i] * x[c][i].
 *
 * A decode of several branches has as many columns as branches. Its weights come from memory once; what a further
 * column costs is arithmetic alone, so these kernels unpack a weight once for all columns that they hold in registers.
 *
 * The numbers are those of llama.cpp's own product: activations become q8_0 (blocks of EQK_BLOCK values, q = round(x *
 * 127 / max|x|) with ties to even, scale d = max|x| / 127 rounded to half precision), integers are multiplied exactly,
 * and
 *
 *   y[c][r] = (sum over blocks b of float(n0[b]) * (dw[r][b] * d[c][b])) + (the same of n1)
 *
 * in float32, block by block, one fused multiply-add each. n0 and n1 are the integer products of those values of a
 * block whose index leaves 0..3 or 4..7 modulo 8. So a result depends neither on how many columns or rows a call holds,
 * nor on the threads, nor on the tier. A value of x that is not finite makes its column's results NaN; one whose scale half
 * precision cannot hold (from 8.3e6 on) makes them NaN or infinite.
 */
#ifndef EQUIPOISE_PRODUCTS_H
#define EQUIPOISE_PRODUCTS_H

#include "equipoise_kernels.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Values per block of weights and of activations. */
#define EQK_BLOCK 32

typedef enum eqk_weights {
    /*
     * q4_0 as ggml's CPU_REPACK buffer keeps it on x86 (block_q4_0x8): of eight rows the block b, EQK_EIGHT_ROWS_BYTES:
     * eight scales of half precision, then for p in {0, 8} and each row its bytes p .. p + 7. Byte j of a row holds in
     * its low half the value j, in its high half the value j + 16, each as a signed number of 4 bits.
     */
    EQK_WEIGHTS_Q4_0_EIGHT_ROWS = 0
} eqk_weights;

#define EQK_EIGHT_ROWS_BYTES 144

/*
 * One product, shared among threads: prepare takes any part of the columns' blocks, and when all are done, multiply any
 * part of the rows. Threads must not take the same part, and nothing is allocated.
 */
typedef struct eqk_product_args {
    int32_t       weights;   /* eqk_weights */
    const void *  w;         /* n_out / 8 times n_in / EQK_BLOCK blocks, the blocks of eight rows in sequence */
    int64_t       n_in;      /* a positive multiple of EQK_BLOCK */
    int64_t       n_out;     /* a positive multiple of 8 */
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

/* Bytes of scratch; 0 where the counts are out of range. */
EQK_API size_t eqk_product_scratch(int64_t n_in, int64_t n_columns);

/*
 * Readies blocks [first, last) of n_columns * n_in / EQK_BLOCK, column behind column. EQK_OK or EQK_BAD_ARGUMENT.
 */
EQK_API int32_t eqk_product_prepare(const eqk_product_args * args, int64_t first, int64_t last);

/* Writes rows [first, last), multiples of 8, of every column. EQK_OK or EQK_BAD_ARGUMENT. */
EQK_API int32_t eqk_product_multiply(const eqk_product_args * args, int64_t first, int64_t last);

#ifdef __cplusplus
}
#endif

#endif
