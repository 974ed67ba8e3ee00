// Products with AVX2: 32 products of bytes an instruction, summed in pairs of 16 bits; four rows of weights a register.

#include "products.h"

#include <immintrin.h>

namespace eqk {
namespace {

EQK_INLINE __m256 magnitude(__m256 x) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

EQK_INLINE float largest_of(__m256 x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four        = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

EQK_INLINE int32_t sum_of(__m128i x) {
    x = _mm_add_epi32(x, _mm_unpackhi_epi64(x, x));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 1)));
}

void quantise(const float * x, const quantised_columns & to, int64_t c, int64_t from, int64_t until) {
    const __m256 limit = _mm256_set1_ps(__builtin_huge_valf());
    for (int64_t b = from; b < until; b++) {
        const int64_t at = to.index(c, b);
        __m256        value[4];
        __m256        largest = _mm256_setzero_ps();
        __m256        finite  = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
        for (int i = 0; i < 4; i++) {
            value[i] = _mm256_loadu_ps(x + b * 32 + i * 8);
            largest  = _mm256_max_ps(largest, magnitude(value[i]));
            finite   = _mm256_and_ps(finite, _mm256_cmp_ps(magnitude(value[i]), limit, _CMP_LT_OQ));
        }
        const bool    all     = _mm256_movemask_ps(finite) == 0xff;
        const float   most    = largest_of(largest);
        const __m128i half    = _mm_cvtps_ph(_mm_set_ss(most / 127), _MM_FROUND_TO_NEAREST_INT);
        const float   scale   = _mm_cvtss_f32(_mm_cvtph_ps(half));
        const __m256  inverse = _mm256_set1_ps(all && scale > 0 ? 127 / most : 0);
        __m256i       q[4];
        for (int i = 0; i < 4; i++) {
            q[i] = all ? _mm256_cvtps_epi32(_mm256_mul_ps(value[i], inverse)) : _mm256_setzero_si256();
        }
        const __m256i sums = _mm256_add_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
        // Packing works within halves of 128 bits: the fours come out in the order 0 2 4 6 1 3 5 7.
        const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(to.values + at * 32),
                            _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
        to.scales[at]          = all ? scale : __builtin_nanf("");
        to.offsets[at * 2]     = -8 * sum_of(_mm256_castsi256_si128(sums));
        to.offsets[at * 2 + 1] = -8 * sum_of(_mm256_extracti128_si256(sums, 1));
    }
}

// A block of four rows, two lanes a row: the values whose index leaves 0..3 modulo 8, and the others.
struct unpacked {
    __m256i values[4]; // 0..7, 8..15, 16..23, 24..31 of each row, made 8 larger: the instruction wants no sign
    __m256  scale;
};

EQK_INLINE unpacked unpack(const eight_rows_q4_0 & w, int half) {
    const __m256i low    = _mm256_set1_epi8(15);
    const __m256i offset = _mm256_set1_epi8(static_cast<char>(0x88)); // of a number of 4 bits, adds 8
    const auto *  values = reinterpret_cast<const __m256i *>(w.values);
    const __m256i first  = _mm256_xor_si256(_mm256_loadu_si256(values + half), offset);
    const __m256i second = _mm256_xor_si256(_mm256_loadu_si256(values + 2 + half), offset);
    const __m128  scales = _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(w.scales + half * 4)));
    return {{_mm256_and_si256(first, low), _mm256_and_si256(second, low),
             _mm256_and_si256(_mm256_srli_epi16(first, 4), low), _mm256_and_si256(_mm256_srli_epi16(second, 4), low)},
            _mm256_permutevar8x32_ps(_mm256_castps128_ps256(scales), _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3))};
}

EQK_INLINE __m256i eight_bytes_everywhere(const void * p) {
    int64_t bytes;
    __builtin_memcpy(&bytes, p, sizeof(bytes));
    return _mm256_set1_epi64x(bytes);
}

// Four rows by some columns from k on of a tile, whose first block is at index. All sums are in registers, so the loop
// over them must be unrolled: -O3.
template <int columns>
EQK_INLINE void part(const eight_rows_q4_0 * w, int half, const quantised_columns & x, int64_t at, int64_t width,
                     float * y, int64_t stride) {
    __m256 total[columns];
    for (int k = 0; k < columns; k++) {
        total[k] = _mm256_setzero_ps();
    }
    for (int64_t b = 0; b < x.blocks(); b++, at += width) {
        const unpacked rows = unpack(w[b], half);
        for (int k = 0; k < columns; k++) {
            // Four pairs of at most 2 * 15 * 127 fit in 16 bits.
            __m256i pairs = _mm256_setzero_si256();
            for (int piece = 0; piece < 4; piece++) {
                const __m256i eight = eight_bytes_everywhere(x.values + (at + k) * 32 + piece * 8);
                pairs               = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(rows.values[piece], eight));
            }
            const __m256i n     = _mm256_add_epi32(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)),
                                                   eight_bytes_everywhere(x.offsets + (at + k) * 2));
            const __m256  scale = _mm256_mul_ps(rows.scale, _mm256_set1_ps(x.scales[at + k]));
            total[k]            = _mm256_fmadd_ps(_mm256_cvtepi32_ps(n), scale, total[k]);
        }
    }
    for (int k = 0; k < columns; k++) {
        const __m256 sums = _mm256_hadd_ps(total[k], total[k]);
        _mm_storeu_ps(y + k * stride, _mm_movelh_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1)));
    }
}

void multiply_q4_0(const eight_rows_q4_0 * w, int64_t first, int64_t last, const quantised_columns & x, float * y,
                   int64_t stride) {
    for (int64_t g = first; g < last; g++) {
        const eight_rows_q4_0 * rows = w + g * x.blocks();
        for (int half = 0; half < 2; half++) {
            for (int64_t c = 0; c < x.n_columns;) {
                const int64_t width = x.width(c);
                const int64_t at    = x.index(c, 0);
                const int64_t n     = width - c % x.tile;
                float * const to    = y + c * stride + g * 8 + half * 4;
                switch (n) {
                    case 1: part<1>(rows, half, x, at, width, to, stride); break;
                    case 2: part<2>(rows, half, x, at, width, to, stride); break;
                    case 3: part<3>(rows, half, x, at, width, to, stride); break;
                    default: part<4>(rows, half, x, at, width, to, stride);
                }
                c += n < 4 ? n : 4;
            }
        }
    }
}

} // namespace

const products products_avx2 = {"avx2", quantise, multiply_q4_0};

} // namespace eqk
