// Products with AVX-512 VNNI: 64 products of bytes an instruction, eight rows of weights a register.

#include "products.h"

#include <immintrin.h>

namespace eqk {
namespace {

EQK_INLINE __m512 magnitude(__m512 x) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)));
}

EQK_INLINE __mmask16 is_finite(__m512 magnitude) {
    return _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(__builtin_huge_valf()), _CMP_LT_OQ);
}

void quantise(const float * x, const quantised_columns & to, int64_t c, int64_t from, int64_t until) {
    for (int64_t b = from; b < until; b++) {
        const int64_t   at      = to.index(c, b);
        const __m512    low     = _mm512_loadu_ps(x + b * 32);
        const __m512    high    = _mm512_loadu_ps(x + b * 32 + 16);
        const __m512    l       = magnitude(low);
        const __m512    h       = magnitude(high);
        const __mmask16 finite  = (is_finite(l) & is_finite(h)) == 0xffff ? 0xffff : 0;
        const float     largest = _mm512_reduce_max_ps(_mm512_max_ps(l, h));
        const __m128i   half    = _mm_cvtps_ph(_mm_set_ss(largest / 127), _MM_FROUND_TO_NEAREST_INT);
        const float     scale   = _mm_cvtss_f32(_mm_cvtph_ps(half));
        const __m512    inverse = _mm512_set1_ps(finite && scale > 0 ? 127 / largest : 0);
        const __m512i   first   = _mm512_maskz_cvtps_epi32(finite, _mm512_mul_ps(low, inverse));
        const __m512i   second  = _mm512_maskz_cvtps_epi32(finite, _mm512_mul_ps(high, inverse));
        const __m512i   sums    = _mm512_add_epi32(first, second);
        auto *          values  = reinterpret_cast<__m128i *>(to.values + at * 32);
        _mm_storeu_si128(values, _mm512_cvtepi32_epi8(first));
        _mm_storeu_si128(values + 1, _mm512_cvtepi32_epi8(second));
        to.scales[at]          = finite ? scale : __builtin_nanf("");
        to.offsets[at * 2]     = -8 * _mm512_mask_reduce_add_epi32(0x0f0f, sums);
        to.offsets[at * 2 + 1] = -8 * _mm512_mask_reduce_add_epi32(0xf0f0, sums);
    }
}

// A block of eight rows, two lanes a row: the values whose index leaves 0..3 modulo 8, and the others.
struct unpacked {
    __m512i values[4]; // 0..7, 8..15, 16..23, 24..31 of each row, made 8 larger: the instruction wants no sign
    __m512  scale;
};

EQK_INLINE unpacked unpack(const eight_rows_q4_0 & w) {
    const __m512i low    = _mm512_set1_epi8(15);
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(0x88)); // of a number of 4 bits, adds 8
    const __m512i first  = _mm512_xor_si512(_mm512_loadu_si512(w.values), offset);
    const __m512i second = _mm512_xor_si512(_mm512_loadu_si512(w.values + 64), offset);
    const __m256i half   = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(w.scales)));
    return {{_mm512_and_si512(first, low), _mm512_and_si512(second, low),
             _mm512_and_si512(_mm512_srli_epi16(first, 4), low), _mm512_and_si512(_mm512_srli_epi16(second, 4), low)},
            _mm512_cvtph_ps(_mm256_or_si256(half, _mm256_slli_epi32(half, 16)))};
}

EQK_INLINE __m512i eight_bytes_everywhere(const void * p) {
    int64_t bytes;
    __builtin_memcpy(&bytes, p, sizeof(bytes));
    return _mm512_set1_epi64(bytes);
}

// The two lanes of each row added.
EQK_INLINE __m256 rows_of(__m512 lanes) {
    const __m512i order  = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    const __m512  sorted = _mm512_permutexvar_ps(order, lanes);
    return _mm256_add_ps(_mm512_castps512_ps256(sorted), _mm512_extractf32x8_ps(sorted, 1));
}

constexpr int64_t ahead = 2048; // bytes

// A group of eight rows by some columns from c on, which lie in one tile. All sums are in registers, so the loop over
// them must be unrolled: -O3.
template <int columns>
EQK_INLINE void part(const eight_rows_q4_0 * w, const quantised_columns & x, int64_t c, float * y, int64_t stride) {
    __m512 total[columns];
    for (int k = 0; k < columns; k++) {
        total[k] = _mm512_setzero_ps();
    }
    int64_t at = x.index(c, 0);
    for (int64_t b = 0; b < x.blocks(); b++, at += columns) {
        if constexpr (columns >= 4) {
            // The rows follow each other in memory. Where arithmetic takes longer than reading, the processor's own
            // looking ahead stops at what it can reorder: measured on zen4, 8 columns of 2816 values, 10.7 for 15.5 ms.
            for (int line = 0; line < 3; line++) {
                _mm_prefetch(reinterpret_cast<const char *>(w + b) + ahead + line * 64, _MM_HINT_T0);
            }
        }
        const unpacked rows = unpack(w[b]);
        for (int k = 0; k < columns; k++) {
            __m512i n = eight_bytes_everywhere(x.offsets + (at + k) * 2);
            for (int piece = 0; piece < 4; piece++) {
                n = _mm512_dpbusd_epi32(n, rows.values[piece],
                                        eight_bytes_everywhere(x.values + (at + k) * 32 + piece * 8));
            }
            const __m512 scale = _mm512_mul_ps(rows.scale, _mm512_set1_ps(x.scales[at + k]));
            total[k]           = _mm512_fmadd_ps(_mm512_cvtepi32_ps(n), scale, total[k]);
        }
    }
    for (int k = 0; k < columns; k++) {
        _mm256_storeu_ps(y + (c + k) * stride, rows_of(total[k]));
    }
}

void multiply_q4_0(const eight_rows_q4_0 * w, int64_t first, int64_t last, const quantised_columns & x, float * y,
                   int64_t stride) {
    for (int64_t g = first; g < last; g++) {
        const eight_rows_q4_0 * rows = w + g * x.blocks();
        float * const           to   = y + g * 8;
        for (int64_t c = 0; c < x.n_columns; c += x.tile) {
            switch (x.width(c)) {
                case 1: part<1>(rows, x, c, to, stride); break;
                case 2: part<2>(rows, x, c, to, stride); break;
                case 3: part<3>(rows, x, c, to, stride); break;
                case 4: part<4>(rows, x, c, to, stride); break;
                case 5: part<5>(rows, x, c, to, stride); break;
                case 6: part<6>(rows, x, c, to, stride); break;
                case 7: part<7>(rows, x, c, to, stride); break;
                default: part<8>(rows, x, c, to, stride);
            }
        }
    }
}

} // namespace

const products products_avx512vnni = {"avx512vnni", quantise, multiply_q4_0};

} // namespace eqk
