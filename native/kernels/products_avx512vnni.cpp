// Products with AVX-512 VNNI: 64 products of bytes an instruction, eight rows of weights a register.

#include "products.h"

#include <cstddef>
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
        to.offsets[at * 2]     = -to.bias * _mm512_mask_reduce_add_epi32(0x0f0f, sums);
        to.offsets[at * 2 + 1] = -to.bias * _mm512_mask_reduce_add_epi32(0xf0f0, sums);
    }
}

void quantise_k(const float * x, const quantised_columns_k & to, int64_t c, int64_t from, int64_t until) {
    for (int64_t b = from; b < until; b++) {
        const float * values  = x + b * 256;
        const int64_t at      = to.index(c, b);
        __m512        largest = _mm512_setzero_ps();
        __mmask16     finite  = 0xffff;
        for (int i = 0; i < 256; i += 16) {
            const __m512 size = magnitude(_mm512_loadu_ps(values + i));
            largest           = _mm512_max_ps(largest, size);
            finite &= is_finite(size);
        }
        const float     scale   = 127 / _mm512_reduce_max_ps(largest);
        const __mmask16 counts  = finite == 0xffff && scale < __builtin_huge_valf() ? 0xffff : 0;
        const __m512    inverse = _mm512_set1_ps(scale);
        auto *          out     = to.values + at * 256;
        for (int i = 0; i < 256; i += 16) {
            const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(values + i), inverse);
            _mm_storeu_si128(reinterpret_cast<__m128i *>(out + i),
                             _mm512_cvtepi32_epi8(_mm512_maskz_cvtps_epi32(counts, scaled)));
        }
        for (int i = 0; i < 256; i += 64) { // four sums of sixteen values
            const __m512i fours = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1),
                                                      _mm512_loadu_si512(out + i));
            const __m512i parts = _mm512_add_epi32(fours, _mm512_shuffle_epi32(fours, _MM_PERM_BADC));
            const __m512i whole = _mm512_add_epi32(parts, _mm512_shuffle_epi32(parts, _MM_PERM_CDAB));
            const __m512i less  = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), parts), 5);
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(to.offsets + at * 32 + i / 8),
                                _mm512_castsi512_si256(_mm512_maskz_compress_epi32(0x3333, less)));
            _mm_storel_epi64(reinterpret_cast<__m128i *>(to.sums + at * 16 + i / 16),
                             _mm256_castsi256_si128(
                                 _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(0x1111, whole))));
        }
        to.scales[at] = counts ? 1 / scale : finite == 0xffff ? 0 : __builtin_nanf("");
    }
}

EQK_INLINE __m512i eight_bytes_everywhere(const void * p) {
    int64_t bytes;
    __builtin_memcpy(&bytes, p, sizeof(bytes));
    return _mm512_set1_epi64(bytes);
}

// Sixteen bytes in each quarter.
EQK_INLINE __m512i sixteen_bytes_everywhere(const void * p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i *>(p)));
}

// Eight numbers of half precision, each in the two lanes of its row.
EQK_INLINE __m512 two_lanes_of(__m128i halves) {
    const __m256i wide = _mm256_cvtepu16_epi32(halves);
    return _mm512_cvtph_ps(_mm256_or_si256(wide, _mm256_slli_epi32(wide, 16)));
}

// The two lanes of each row added.
EQK_INLINE __m256 rows_of(__m512 lanes) {
    const __m512i order  = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    const __m512  sorted = _mm512_permutexvar_ps(order, lanes);
    return _mm256_add_ps(_mm512_castps512_ps256(sorted), _mm512_extractf32x8_ps(sorted, 1));
}

// Where arithmetic takes longer than reading, the processor's own looking ahead stops at what it can reorder: measured
// on zen4, q4_0, 8 columns of 2816 values, 10.7 for 15.5 ms.
template <int bytes> EQK_INLINE void look_ahead(const void * p) {
    for (int line = 0; line < bytes; line += 64) {
        _mm_prefetch(static_cast<const char *>(p) + 2048 + line, _MM_HINT_T0);
    }
}

// Eight rows of a file, one behind the other.
struct eight_plain_rows {
    const char * first;
    int64_t      stride; // bytes from a row to the next

    // Eight streams are more than the processor looks ahead in, so what is 16 rows on is fetched in its own order, as
    // much as is read here: measured on zen4, q8_0, 1 column of 1024 values, 1.8 for 6.0 ms. Into the second level: so
    // many rows may be more than the first one holds.
    template <int bytes> EQK_INLINE void look_ahead(int64_t offset) const {
        const char * const p = first + 16 * stride + 8 * offset;
        for (int line = 0; line < 8 * bytes; line += 64) {
            _mm_prefetch(p + line, _MM_HINT_T1);
        }
    }
    // Of 32 bytes of each row, the eights j in out[j].
    EQK_INLINE void turn(int64_t offset, __m512i (&out)[4]) const {
        const char * const p    = first + offset;
        const char * const q    = p + 4 * stride;
        const __m512i      r02  = both(p, p + 2 * stride);
        const __m512i      r13  = both(p + stride, p + 3 * stride);
        const __m512i      r46  = both(q, q + 2 * stride);
        const __m512i      r57  = both(q + stride, q + 3 * stride);
        const __m512i      low  = _mm512_unpacklo_epi64(r02, r13);
        const __m512i      high = _mm512_unpackhi_epi64(r02, r13);
        const __m512i      low4 = _mm512_unpacklo_epi64(r46, r57), high4 = _mm512_unpackhi_epi64(r46, r57);
        out[0]                  = _mm512_shuffle_i64x2(low, low4, 0x88);
        out[1]                  = _mm512_shuffle_i64x2(high, high4, 0x88);
        out[2]                  = _mm512_shuffle_i64x2(low, low4, 0xdd);
        out[3]                  = _mm512_shuffle_i64x2(high, high4, 0xdd);
    }
    // Of 16 bytes of each row, the first eight and the others.
    EQK_INLINE void turn(int64_t offset, __m512i (&out)[2]) const {
        const char * const p    = first + offset;
        const __m512i      even = quarters(p, 2 * stride);
        const __m512i      odd  = quarters(p + stride, 2 * stride);
        out[0]                  = _mm512_unpacklo_epi64(even, odd);
        out[1]                  = _mm512_unpackhi_epi64(even, odd);
    }
    // A number of half precision of each row.
    EQK_INLINE __m512 halves(int64_t offset) const {
        const char * const p    = first + offset;
        const char * const q    = p + 4 * stride;
        const __m128i      low  = four_halves(p);
        const __m128i      high = four_halves(q);
        return two_lanes_of(_mm_unpacklo_epi64(low, high));
    }

private:
    EQK_INLINE static __m256i load(const char * p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
    EQK_INLINE static __m512i both(const char * p, const char * q) {
        return _mm512_inserti64x4(_mm512_castsi256_si512(load(p)), load(q), 1);
    }
    EQK_INLINE static __m512i quarters(const char * p, int64_t step) {
        const auto at   = [=](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(p + i * step)); };
        const auto low  = _mm256_inserti128_si256(_mm256_castsi128_si256(at(0)), at(1), 1);
        const auto high = _mm256_inserti128_si256(_mm256_castsi128_si256(at(2)), at(3), 1);
        return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
    EQK_INLINE static int half(const char * p) {
        uint16_t bits;
        __builtin_memcpy(&bits, p, sizeof(bits));
        return bits;
    }
    EQK_INLINE __m128i four_halves(const char * p) const {
        __m128i four = _mm_cvtsi32_si128(half(p));
        four         = _mm_insert_epi16(four, half(p + stride), 1);
        four         = _mm_insert_epi16(four, half(p + 2 * stride), 2);
        return _mm_insert_epi16(four, half(p + 3 * stride), 3);
    }
};

// A block of eight rows, two lanes a row: the values whose index leaves 0..3 modulo 8, and the others.
struct unpacked {
    __m512i values[4]; // 0..7, 8..15, 16..23, 24..31 of each row, larger by the bias: the instruction wants no sign
    __m512  scale;
};

struct rows_q4_0 {
    const eight_rows_q4_0 * w;

    template <int columns> EQK_INLINE unpacked unpack(int64_t b) const {
        if constexpr (columns >= 4) {
            look_ahead<sizeof(eight_rows_q4_0)>(w + b);
        }
        const __m512i low    = _mm512_set1_epi8(15);
        const __m512i offset = _mm512_set1_epi8(static_cast<char>(0x88)); // of a number of 4 bits, adds 8
        const __m512i first  = _mm512_xor_si512(_mm512_loadu_si512(w[b].values), offset);
        const __m512i second = _mm512_xor_si512(_mm512_loadu_si512(w[b].values + 64), offset);
        return {{_mm512_and_si512(first, low), _mm512_and_si512(second, low),
                 _mm512_and_si512(_mm512_srli_epi16(first, 4), low),
                 _mm512_and_si512(_mm512_srli_epi16(second, 4), low)},
                two_lanes_of(_mm_loadu_si128(reinterpret_cast<const __m128i *>(w[b].scales)))};
    }
};

struct rows_q8_0 {
    eight_plain_rows w;

    template <int> EQK_INLINE unpacked unpack(int64_t b) const {
        constexpr int size = sizeof(block_q8_0);
        const int64_t at   = b * size;
        unpacked      of;
        w.look_ahead<size>(at);
        w.turn(at + static_cast<int64_t>(offsetof(block_q8_0, values)), of.values);
        for (__m512i & values : of.values) {
            values = _mm512_xor_si512(values, _mm512_set1_epi8(static_cast<char>(0x80))); // adds 128
        }
        of.scale = w.halves(at);
        return of;
    }
};

// Eight rows by some columns from c on, which lie in one tile. All sums are in registers, so the loops over them must
// be unrolled: -O3.
template <int columns, class rows>
EQK_INLINE void part(const rows & w, const quantised_columns & x, int64_t c, float * y, int64_t stride,
                     __mmask8 wanted) {
    __m512 total[columns];
    for (int k = 0; k < columns; k++) {
        total[k] = _mm512_setzero_ps();
    }
    int64_t at = x.index(c, 0);
    for (int64_t b = 0; b < x.blocks(); b++, at += columns) {
        const unpacked of = w.template unpack<columns>(b);
        for (int k = 0; k < columns; k++) {
            __m512i n = eight_bytes_everywhere(x.offsets + (at + k) * 2);
            for (int piece = 0; piece < 4; piece++) {
                n = _mm512_dpbusd_epi32(n, of.values[piece],
                                        eight_bytes_everywhere(x.values + (at + k) * 32 + piece * 8));
            }
            const __m512 scale = _mm512_mul_ps(of.scale, _mm512_set1_ps(x.scales[at + k]));
            total[k]           = _mm512_fmadd_ps(_mm512_cvtepi32_ps(n), scale, total[k]);
        }
    }
    for (int k = 0; k < columns; k++) {
        _mm256_mask_storeu_ps(y + (c + k) * stride, wanted, rows_of(total[k]));
    }
}

// The first lane of each row.
EQK_INLINE __m256 first_lanes(__m512 lanes) {
    return _mm512_castps512_ps256(
        _mm512_permutexvar_ps(_mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0), lanes));
}

EQK_INLINE __m512i lanes_added(__m512i n) {
    return _mm512_add_epi32(n, _mm512_shuffle_epi32(n, _MM_PERM_CDAB));
}

// acc, and of two parts of a block the sums n0 and n1, which fit in 16 bits, times the parts' scales.
EQK_INLINE __m512i scaled(__m512i acc, __m512i n0, __m512i n1, __m512i scales) {
    return _mm512_dpwssd_epi32(acc, _mm512_mask_blend_epi16(0xaaaaaaaa, n0, _mm512_slli_epi32(n1, 16)), scales);
}

struct rows_q4_k {
    const eight_rows_q4_k * w;
};

// The eight rows' scales and minima of each 32 values: for four of them eight bytes each of scales, then of minima.
EQK_INLINE void unpack_parts(const eight_rows_q4_k & w, uint8_t * to) {
    // The words of twelve bytes are called a b c; what comes out is a, a and c, b, b and c.
    const __m512i ab = _mm512_setr_epi32(0, 0, 1, 1, 3, 3, 4, 4, 6, 6, 7, 7, 9, 9, 10, 10);
    const __m512i c  = _mm512_setr_epi32(2, 2, 2, 2, 5, 5, 5, 5, 8, 8, 8, 8, 11, 11, 11, 11);
    for (int half = 0; half < 2; half++) {
        const __m512i raw  = _mm512_loadu_si512(w.parts[4 * half]); // reaches into the values
        const __m512i tops = _mm512_permutexvar_epi32(ab, raw);
        const __m512i lows = _mm512_srlv_epi32(_mm512_permutexvar_epi32(c, raw),
                                               _mm512_setr_epi32(0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4));
        const __m512i four = _mm512_and_si512(tops, _mm512_set1_epi8(63));
        const __m512i last = _mm512_or_si512(_mm512_and_si512(lows, _mm512_set1_epi8(15)),
                                             _mm512_and_si512(_mm512_srli_epi32(tops, 2), _mm512_set1_epi8(48)));
        const __m512i eights = _mm512_mask_blend_epi32(0xaaaa, four, last);
        _mm512_store_si512(to + half * 64,
                           _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), eights));
    }
}

// Of a byte of each row, eight rows of them, and eight others behind, what is to become of each row's: bytes of the
// first, where the order has 0, of the other, where it has 8, or 0, where it has 80.
EQK_INLINE __m512i of_each_row(__m512i bytes, int64_t order) {
    const __m512i row = _mm512_mullo_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7),
                                           _mm512_set1_epi64(0x0101010101010101));
    return _mm512_shuffle_epi8(bytes, _mm512_add_epi8(row, _mm512_set1_epi64(order)));
}

template <int columns>
EQK_INLINE void part(const rows_q4_k & w, const quantised_columns_k & x, int64_t c, float * y, int64_t stride,
                     __mmask8 wanted) {
    const __m512i low = _mm512_set1_epi8(15);
    __m512        total[columns];
    for (int k = 0; k < columns; k++) {
        total[k] = _mm512_setzero_ps();
    }
    int64_t at = x.index(c, 0);
    for (int64_t b = 0; b < x.blocks(); b++, at += columns) {
        const eight_rows_q4_k & of = w.w[b];
        alignas(64) uint8_t     parts[128];
        unpack_parts(of, parts);
        __m512i n[columns];
        for (int k = 0; k < columns; k++) {
            n[k] = _mm512_setzero_si512();
        }
        for (int pair = 0; pair < 4; pair++) {
            if constexpr (columns >= 4) {
                look_ahead<256>(of.values + pair * 256);
            }
            __m512i first[4], second[4];
            for (int piece = 0; piece < 4; piece++) {
                const __m512i raw = _mm512_loadu_si512(of.values + pair * 256 + piece * 64);
                first[piece]      = _mm512_and_si512(raw, low);
                second[piece]     = _mm512_and_si512(_mm512_srli_epi16(raw, 4), low);
            }
            const __m512i scales = of_each_row(sixteen_bytes_everywhere(parts + pair / 2 * 64 + pair % 2 * 16),
                                               static_cast<int64_t>(0x8008800080088000));
            for (int k = 0; k < columns; k++) {
                const int8_t * values = x.values + (at + k) * 256 + pair * 64;
                __m512i        n0 = _mm512_setzero_si512(), n1 = n0;
                for (int piece = 0; piece < 4; piece++) { // 16 values of at most 15 * 127 a lane
                    n0 = _mm512_dpbusd_epi32(n0, first[piece], eight_bytes_everywhere(values + piece * 8));
                    n1 = _mm512_dpbusd_epi32(n1, second[piece], eight_bytes_everywhere(values + 32 + piece * 8));
                }
                n[k] = scaled(n[k], n0, n1, scales);
            }
        }
        __m512i minima[4];
        for (int i = 0; i < 4; i++) {
            minima[i] = of_each_row(sixteen_bytes_everywhere(parts + i / 2 * 64 + 32 + i % 2 * 16),
                                    static_cast<int64_t>(0x8008800880008000));
        }
        const __m512 scale = two_lanes_of(_mm_loadu_si128(reinterpret_cast<const __m128i *>(of.scales)));
        const __m512 least = two_lanes_of(_mm_loadu_si128(reinterpret_cast<const __m128i *>(of.least)));
        for (int k = 0; k < columns; k++) {
            __m512i m = _mm512_setzero_si512();
            for (int i = 0; i < 4; i++) {
                m = _mm512_dpwssd_epi32(m, minima[i], eight_bytes_everywhere(x.sums + (at + k) * 16 + i * 4));
            }
            const __m512 d = _mm512_set1_ps(x.scales[at + k]);
            total[k] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(lanes_added(n[k])), _mm512_mul_ps(scale, d), total[k]);
            total[k] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(lanes_added(m)), _mm512_mul_ps(least, d), total[k]);
        }
    }
    for (int k = 0; k < columns; k++) {
        _mm256_mask_storeu_ps(y + (c + k) * stride, wanted, first_lanes(total[k]));
    }
}

struct rows_q6_k {
    eight_plain_rows w;
};

// Values 32 t .. 32 t + 31 of half a block, of low halves and upper bits.
template <int t> EQK_INLINE __m512i six_bits(__m512i low, __m512i high) {
    const __m512i four = _mm512_and_si512(t < 2 ? low : _mm512_srli_epi16(low, 4), _mm512_set1_epi8(15));
    const __m512i top  = t == 0   ? _mm512_slli_epi16(high, 4)
                         : t == 1 ? _mm512_slli_epi16(high, 2)
                         : t == 2 ? high
                                  : _mm512_srli_epi16(high, 2);
    return _mm512_or_si512(four, _mm512_and_si512(top, _mm512_set1_epi8(48)));
}

// The 32 values t of half a block: two parts. Eight values of at most 32 * 127 a lane fit in 16 bits, with their sign.
template <int t, int columns>
EQK_INLINE void add_parts(__m512i (&n)[columns], const __m512i (&low)[4], const __m512i (&high)[4], __m512i parts,
                          const int8_t * values, const int32_t * offsets) {
    // Byte 2 t of each row's eight and the next one, at the top of 16 bits.
    constexpr int64_t even   = 0x0180008001800080 + t * 0x0200020002000200;
    constexpr int64_t odd    = even + 0x0800080008000800; // of the second row in 128 bits
    const __m512i     scales =
        _mm512_srai_epi16(_mm512_shuffle_epi8(parts, _mm512_set4_epi64(odd, even, odd, even)), 8);
    __m512i of[4];
    for (int piece = 0; piece < 4; piece++) {
        of[piece] = six_bits<t>(low[piece], high[piece]);
    }
    for (int k = 0; k < columns; k++) {
        const int8_t * from = values + k * 256 + t * 32;
        __m512i        n0   = eight_bytes_everywhere(offsets + k * 32 + t * 4);
        __m512i        n1   = eight_bytes_everywhere(offsets + k * 32 + t * 4 + 2);
        for (int piece = 0; piece < 2; piece++) {
            n0 = _mm512_dpbusd_epi32(n0, of[piece], eight_bytes_everywhere(from + piece * 8));
            n1 = _mm512_dpbusd_epi32(n1, of[piece + 2], eight_bytes_everywhere(from + 16 + piece * 8));
        }
        n[k] = scaled(n[k], n0, n1, scales);
    }
}

template <int columns>
EQK_INLINE void part(const rows_q6_k & w, const quantised_columns_k & x, int64_t c, float * y, int64_t stride,
                     __mmask8 wanted) {
    __m512 total[columns];
    for (int k = 0; k < columns; k++) {
        total[k] = _mm512_setzero_ps();
    }
    int64_t at = x.index(c, 0);
    for (int64_t b = 0; b < x.blocks(); b++, at += columns) {
        constexpr int size = sizeof(block_q6_k);
        const int64_t of   = b * size;
        __m512i       n[columns], parts[2];
        for (int k = 0; k < columns; k++) {
            n[k] = _mm512_setzero_si512();
        }
        w.w.turn(of + static_cast<int64_t>(offsetof(block_q6_k, parts)), parts);
        for (int half = 0; half < 2; half++) {
            w.w.look_ahead<size / 2>(of + half * (size / 2));
            __m512i low[4], above[4], high[4];
            w.w.turn(of + half * 64, low);
            w.w.turn(of + half * 64 + 32, above);
            w.w.turn(of + static_cast<int64_t>(offsetof(block_q6_k, high)) + half * 32, high);
            const int8_t *  values  = x.values + at * 256 + half * 128;
            const int32_t * offsets = x.offsets + at * 32 + half * 16;
            add_parts<0>(n, low, high, parts[half], values, offsets);
            add_parts<1>(n, above, high, parts[half], values, offsets);
            add_parts<2>(n, low, high, parts[half], values, offsets);
            add_parts<3>(n, above, high, parts[half], values, offsets);
        }
        const __m512 scale = w.w.halves(of + static_cast<int64_t>(offsetof(block_q6_k, scale)));
        for (int k = 0; k < columns; k++) {
            total[k] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(lanes_added(n[k])),
                                       _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[at + k])), total[k]);
        }
    }
    for (int k = 0; k < columns; k++) {
        _mm256_mask_storeu_ps(y + (c + k) * stride, wanted, first_lanes(total[k]));
    }
}

// Eight rows by all columns.
template <class rows, class columns>
EQK_INLINE void multiply(const rows & w, const columns & x, float * y, int64_t stride, __mmask8 wanted = 0xff) {
    for (int64_t c = 0; c < x.n_columns; c += x.tile) {
        switch (x.width(c)) {
            case 1: part<1>(w, x, c, y, stride, wanted); break;
            case 2: part<2>(w, x, c, y, stride, wanted); break;
            case 3: part<3>(w, x, c, y, stride, wanted); break;
            case 4: part<4>(w, x, c, y, stride, wanted); break;
            case 5: part<5>(w, x, c, y, stride, wanted); break;
            case 6: part<6>(w, x, c, y, stride, wanted); break;
            case 7: part<7>(w, x, c, y, stride, wanted); break;
            default: part<8>(w, x, c, y, stride, wanted);
        }
    }
}

void multiply_q4_0(const eight_rows_q4_0 * w, const quantised_columns & x, const some_rows & of) {
    for (int64_t row = of.first; row < of.last; row += 8) {
        multiply(rows_q4_0{w + row / 8 * x.blocks()}, x, of.y + row, of.stride);
    }
}

void multiply_q4_k(const eight_rows_q4_k * w, const quantised_columns_k & x, const some_rows & of) {
    for (int64_t row = of.first; row < of.last; row += 8) {
        multiply(rows_q4_k{w + row / 8 * x.blocks()}, x, of.y + row, of.stride);
    }
}

// The last rows, where fewer than eight are left, are the last ones of eight.
template <class rows, class block, class columns>
EQK_INLINE void multiply_plain(const block * w, const columns & x, const some_rows & of) {
    const auto stride = x.blocks() * static_cast<int64_t>(sizeof(block));
    for (int64_t row = of.first; row < of.last; row += 8) {
        const int64_t first = row + 8 <= of.n_out ? row : of.n_out - 8;
        multiply(rows{{reinterpret_cast<const char *>(w) + first * stride, stride}}, x, of.y + first, of.stride,
                 static_cast<__mmask8>(0xff << (row - first)));
    }
}

void multiply_q8_0(const block_q8_0 * w, const quantised_columns & x, const some_rows & of) {
    of.n_out < 8 ? products_scalar.multiply_q8_0(w, x, of) : multiply_plain<rows_q8_0>(w, x, of);
}

void multiply_q6_k(const block_q6_k * w, const quantised_columns_k & x, const some_rows & of) {
    of.n_out < 8 ? products_scalar.multiply_q6_k(w, x, of) : multiply_plain<rows_q6_k>(w, x, of);
}

} // namespace

const products products_avx512vnni = {"avx512vnni",  quantise,      quantise_k,   multiply_q4_0,
                                      multiply_q8_0, multiply_q4_k, multiply_q6_k};

} // namespace eqk
