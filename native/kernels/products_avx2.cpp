// Products with AVX2: 32 products of bytes an instruction, summed in pairs of 16 bits; four rows of weights a register.

#include "products.h"

#include <cstddef>
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

// 32 numbers as bytes. Packing works within halves of 128 bits: the fours come out in the order 0 2 4 6 1 3 5 7.
EQK_INLINE __m256i bytes_of(const __m256i (&q)[4]) {
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
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
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(to.values + at * 32), bytes_of(q));
        to.scales[at]          = all ? scale : __builtin_nanf("");
        to.offsets[at * 2]     = -to.bias * sum_of(_mm256_castsi256_si128(sums));
        to.offsets[at * 2 + 1] = -to.bias * sum_of(_mm256_extracti128_si256(sums, 1));
    }
}

void quantise_k(const float * x, const quantised_columns_k & to, int64_t c, int64_t from, int64_t until) {
    const __m256 limit = _mm256_set1_ps(__builtin_huge_valf());
    for (int64_t b = from; b < until; b++) {
        const float * values  = x + b * 256;
        const int64_t at      = to.index(c, b);
        __m256        largest = _mm256_setzero_ps();
        __m256        finite  = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
        for (int i = 0; i < 256; i += 8) {
            const __m256 size = magnitude(_mm256_loadu_ps(values + i));
            largest           = _mm256_max_ps(largest, size);
            finite            = _mm256_and_ps(finite, _mm256_cmp_ps(size, limit, _CMP_LT_OQ));
        }
        const bool   all     = _mm256_movemask_ps(finite) == 0xff;
        const float  scale   = 127 / largest_of(largest);
        const bool   counts  = all && scale < __builtin_huge_valf();
        const __m256 inverse = _mm256_set1_ps(scale);
        for (int i = 0; i < 256; i += 32) {
            __m256i q[4];
            for (int j = 0; j < 4; j++) {
                q[j] = counts ? _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(values + i + j * 8), inverse))
                              : _mm256_setzero_si256();
            }
            const __m256i bytes = bytes_of(q);
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(to.values + at * 256 + i), bytes);
            // Of sixteen values a half: sums of four, then the two parts twice, then their sum.
            const __m256i fours = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes),
                                                    _mm256_set1_epi16(1));
            const __m256i parts = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0x4e));
            const __m256i whole = _mm256_add_epi32(parts, _mm256_shuffle_epi32(parts, 0xb1));
            const __m256i less  = _mm256_slli_epi32(_mm256_sub_epi32(_mm256_setzero_si256(), parts), 5);
            int32_t *     out   = to.offsets + at * 32 + i / 8;
            _mm_storel_epi64(reinterpret_cast<__m128i *>(out), _mm256_castsi256_si128(less));
            _mm_storel_epi64(reinterpret_cast<__m128i *>(out + 2), _mm256_extracti128_si256(less, 1));
            to.sums[at * 16 + i / 16]     = static_cast<int16_t>(_mm256_extract_epi32(whole, 0));
            to.sums[at * 16 + i / 16 + 1] = static_cast<int16_t>(_mm256_extract_epi32(whole, 4));
        }
        to.scales[at] = counts ? 1 / scale : all ? 0 : __builtin_nanf("");
    }
}

EQK_INLINE __m256i eight_bytes_everywhere(const void * p) {
    int64_t bytes;
    __builtin_memcpy(&bytes, p, sizeof(bytes));
    return _mm256_set1_epi64x(bytes);
}

EQK_INLINE __m256i sixteen_bytes_everywhere(const void * p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i *>(p)));
}

// Four numbers of half precision, each in the two lanes of its row.
EQK_INLINE __m256 two_lanes_of(__m128i halves) {
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_cvtph_ps(halves)),
                                    _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}

EQK_INLINE __m128i four_numbers(const void * p) {
    return _mm_loadl_epi64(static_cast<const __m128i *>(p));
}

// Of each row's two lanes, x and y, the first of x.
EQK_INLINE __m128 first_lanes(__m256 x) {
    return _mm_shuffle_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1), 0x88);
}

EQK_INLINE __m128 rows_of(__m256 x) {
    const __m256 sums = _mm256_hadd_ps(x, x);
    return _mm_movelh_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
}

// The sums of four rows, but for the first ones that another call writes.
EQK_INLINE void store(float * y, __m128 rows, int skipped) {
    if (skipped == 0) {
        _mm_storeu_ps(y, rows);
    } else {
        _mm_maskstore_ps(y, _mm_cmpgt_epi32(_mm_setr_epi32(1, 2, 3, 4), _mm_set1_epi32(skipped)), rows);
    }
}

// Four rows of a file, one behind the other.
struct four_plain_rows {
    const char * first;
    int64_t      stride; // bytes from a row to the next

    // Several streams are more than the processor looks ahead in, so what is 16 rows on is fetched in its own order, as
    // much as is read here: measured on zen4, q8_0, 1 column of 1024 values, 2.0 for 6.9 ms.
    template <int bytes> EQK_INLINE void look_ahead(int64_t offset) const {
        const char * const p = first + 16 * stride + 4 * offset;
        for (int line = 0; line < 4 * bytes; line += 64) {
            _mm_prefetch(p + line, _MM_HINT_T1);
        }
    }
    // Of 32 bytes of each row, the eights j in out[j].
    EQK_INLINE void turn(int64_t offset, __m256i (&out)[4]) const {
        for (int half = 0; half < 2; half++) {
            turn(offset + half * 16, out[half * 2], out[half * 2 + 1]);
        }
    }
    // Of 16 bytes of each row, the first eight and the others.
    EQK_INLINE void turn(int64_t offset, __m256i & first_eight, __m256i & others) const {
        const char * const p    = first + offset;
        const __m256i      even = both(p, p + 2 * stride);
        const __m256i      odd  = both(p + stride, p + 3 * stride);
        first_eight             = _mm256_unpacklo_epi64(even, odd);
        others                  = _mm256_unpackhi_epi64(even, odd);
    }
    // A number of half precision of each row.
    EQK_INLINE __m256 halves(int64_t offset) const {
        const char * const p    = first + offset;
        __m128i            four = _mm_cvtsi32_si128(half(p));
        four                    = _mm_insert_epi16(four, half(p + stride), 1);
        four                    = _mm_insert_epi16(four, half(p + 2 * stride), 2);
        four                    = _mm_insert_epi16(four, half(p + 3 * stride), 3);
        return two_lanes_of(four);
    }

private:
    EQK_INLINE static __m256i both(const char * p, const char * q) {
        return _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p))),
            _mm_loadu_si128(reinterpret_cast<const __m128i *>(q)), 1);
    }
    EQK_INLINE static int half(const char * p) {
        uint16_t bits;
        __builtin_memcpy(&bits, p, sizeof(bits));
        return bits;
    }
};

// Four rows, two lanes a row: the values whose index leaves 0..3 modulo 8, and the others.
struct rows_q4_0 {
    const eight_rows_q4_0 * w;
    int                     half;

    struct unpacked {
        __m256i values[4]; // 0..7, 8..15, 16..23, 24..31 of each row, made 8 larger: the instruction wants no sign
        __m256  scale;

        EQK_INLINE __m256i times(const int8_t * x, const int32_t * offsets) const {
            // Four pairs of at most 2 * 15 * 127 fit in 16 bits.
            __m256i pairs = _mm256_setzero_si256();
            for (int piece = 0; piece < 4; piece++) {
                pairs = _mm256_add_epi16(
                    pairs, _mm256_maddubs_epi16(values[piece], eight_bytes_everywhere(x + piece * 8)));
            }
            return _mm256_add_epi32(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)), eight_bytes_everywhere(offsets));
        }
    };

    EQK_INLINE unpacked unpack(int64_t b) const {
        const __m256i low    = _mm256_set1_epi8(15);
        const __m256i offset = _mm256_set1_epi8(static_cast<char>(0x88)); // of a number of 4 bits, adds 8
        const auto *  values = reinterpret_cast<const __m256i *>(w[b].values);
        const __m256i first  = _mm256_xor_si256(_mm256_loadu_si256(values + half), offset);
        const __m256i second = _mm256_xor_si256(_mm256_loadu_si256(values + 2 + half), offset);
        return {{_mm256_and_si256(first, low), _mm256_and_si256(second, low),
                 _mm256_and_si256(_mm256_srli_epi16(first, 4), low),
                 _mm256_and_si256(_mm256_srli_epi16(second, 4), low)},
                two_lanes_of(four_numbers(w[b].scales + half * 4))};
    }
};

struct rows_q8_0 {
    four_plain_rows w;

    struct unpacked {
        __m256i values[4];
        __m256  scale;

        // The instruction wants no sign on one side, and 128 more would not fit in its pairs: the sign changes sides.
        // Two of at most 128 * 127 fit in 16 bits, four do not.
        EQK_INLINE __m256i times(const int8_t * x, const int32_t *) const {
            __m256i n = _mm256_setzero_si256();
            for (int piece = 0; piece < 4; piece++) {
                const __m256i eight = _mm256_sign_epi8(eight_bytes_everywhere(x + piece * 8), values[piece]);
                const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(values[piece]), eight);
                n                   = _mm256_add_epi32(n, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
            return n;
        }
    };

    EQK_INLINE unpacked unpack(int64_t b) const {
        constexpr int size = sizeof(block_q8_0);
        const int64_t at   = b * size;
        unpacked      of;
        w.look_ahead<size>(at);
        w.turn(at + static_cast<int64_t>(offsetof(block_q8_0, values)), of.values);
        of.scale = w.halves(at);
        return of;
    }
};

// Four rows by some columns from c on of a tile. All sums are in registers, so the loops over them must be unrolled:
// -O3.
template <int columns, class rows>
EQK_INLINE void part(const rows & w, const quantised_columns & x, int64_t c, float * y, int64_t stride, int skipped) {
    __m256 total[columns];
    for (int k = 0; k < columns; k++) {
        total[k] = _mm256_setzero_ps();
    }
    int64_t       at    = x.index(c, 0);
    const int64_t width = x.width(c);
    for (int64_t b = 0; b < x.blocks(); b++, at += width) {
        const auto of = w.unpack(b);
        for (int k = 0; k < columns; k++) {
            const __m256i n     = of.times(x.values + (at + k) * 32, x.offsets + (at + k) * 2);
            const __m256  scale = _mm256_mul_ps(of.scale, _mm256_set1_ps(x.scales[at + k]));
            total[k]            = _mm256_fmadd_ps(_mm256_cvtepi32_ps(n), scale, total[k]);
        }
    }
    for (int k = 0; k < columns; k++) {
        store(y + (c + k) * stride, rows_of(total[k]), skipped);
    }
}

EQK_INLINE __m256i lanes_added(__m256i n) {
    return _mm256_add_epi32(n, _mm256_shuffle_epi32(n, 0xb1));
}

// Of a byte of each of four rows from bytes[row] on, and others 8 behind, what is to become of each row's: bytes of the
// first, where the order has 0, of the other, where it has 8, or 0, where it has 80.
EQK_INLINE __m256i of_each_row(__m256i bytes, int row, int64_t order) {
    const __m256i rows = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i more = _mm256_add_epi8(rows, _mm256_set1_epi8(static_cast<char>(row)));
    return _mm256_shuffle_epi8(bytes, _mm256_add_epi8(more, _mm256_set1_epi64x(order)));
}

struct rows_q4_k {
    const eight_rows_q4_k * w;
    int                     half;
};

// The eight rows' scales and minima of each 32 values: for each eight bytes of scales, then of minima.
EQK_INLINE void unpack_parts(const eight_rows_q4_k & w, uint8_t (&to)[128]) {
    for (int i = 0; i < 8; i += 2) {
        // The words of twelve bytes are called a b c; what comes out is a, a and c, b, b and c.
        const __m256i raw = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(w.parts[i]))),
            _mm_loadu_si128(reinterpret_cast<const __m128i *>(w.parts[i + 1])), 1); // reaches into the values
        const __m256i tops = _mm256_shuffle_epi32(raw, 0x50);
        const __m256i lows = _mm256_srlv_epi32(_mm256_shuffle_epi32(raw, 0xaa),
                                               _mm256_setr_epi32(0, 0, 0, 4, 0, 0, 0, 4));
        const __m256i four = _mm256_and_si256(tops, _mm256_set1_epi8(63));
        const __m256i last = _mm256_or_si256(_mm256_and_si256(lows, _mm256_set1_epi8(15)),
                                             _mm256_and_si256(_mm256_srli_epi32(tops, 2), _mm256_set1_epi8(48)));
        _mm256_store_si256(reinterpret_cast<__m256i *>(to + i * 16), _mm256_blend_epi32(four, last, 0xaa));
    }
}

template <int columns>
EQK_INLINE void part(const rows_q4_k & w, const quantised_columns_k & x, int64_t c, float * y, int64_t stride,
                     int skipped) {
    const __m256i low = _mm256_set1_epi8(15);
    const int     row = w.half * 4;
    __m256        total[columns];
    for (int k = 0; k < columns; k++) {
        total[k] = _mm256_setzero_ps();
    }
    int64_t       at    = x.index(c, 0);
    const int64_t width = x.width(c);
    for (int64_t b = 0; b < x.blocks(); b++, at += width) {
        const eight_rows_q4_k & of = w.w[b];
        alignas(32) uint8_t     parts[128];
        unpack_parts(of, parts);
        __m256i n[columns], m[columns];
        for (int k = 0; k < columns; k++) {
            n[k] = m[k] = _mm256_setzero_si256();
        }
        for (int pair = 0; pair < 4; pair++) {
            const __m256i first  = sixteen_bytes_everywhere(parts + pair * 32);
            const __m256i second = sixteen_bytes_everywhere(parts + pair * 32 + 16);
            // The low halves of bytes are one part's values, the high ones the next part's.
            for (int part = 0; part < 2; part++) {
                __m256i values[4];
                for (int piece = 0; piece < 4; piece++) {
                    const __m256i raw = _mm256_loadu_si256(
                        reinterpret_cast<const __m256i *>(of.values + pair * 256 + piece * 64 + w.half * 32));
                    values[piece] = _mm256_and_si256(part ? _mm256_srli_epi16(raw, 4) : raw, low);
                }
                const __m256i scales =
                    of_each_row(part ? second : first, row, static_cast<int64_t>(0x8000800080008000));
                for (int k = 0; k < columns; k++) {
                    const int8_t * from  = x.values + (at + k) * 256 + pair * 64 + part * 32;
                    __m256i        pairs = _mm256_setzero_si256(); // of eight values of at most 15 * 127
                    for (int piece = 0; piece < 4; piece++) {
                        pairs = _mm256_add_epi16(
                            pairs, _mm256_maddubs_epi16(values[piece], eight_bytes_everywhere(from + piece * 8)));
                    }
                    n[k] = _mm256_add_epi32(n[k], _mm256_madd_epi16(pairs, scales));
                }
            }
            const __m256i minima = _mm256_blend_epi32(
                of_each_row(first, row, static_cast<int64_t>(0x8008800880088008)),
                of_each_row(second, row, static_cast<int64_t>(0x8008800880088008)), 0xaa);
            for (int k = 0; k < columns; k++) {
                const __m256i sums = eight_bytes_everywhere(x.sums + (at + k) * 16 + pair * 4);
                m[k]               = _mm256_add_epi32(m[k], _mm256_madd_epi16(minima, sums));
            }
        }
        const __m256 scale = two_lanes_of(four_numbers(of.scales + row));
        const __m256 least = two_lanes_of(four_numbers(of.least + row));
        for (int k = 0; k < columns; k++) {
            const __m256 d = _mm256_set1_ps(x.scales[at + k]);
            total[k] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(lanes_added(n[k])), _mm256_mul_ps(scale, d), total[k]);
            total[k] = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(lanes_added(m[k])), _mm256_mul_ps(least, d), total[k]);
        }
    }
    for (int k = 0; k < columns; k++) {
        store(y + (c + k) * stride, first_lanes(total[k]), skipped);
    }
}

struct rows_q6_k {
    four_plain_rows w;
};

// Values 32 t .. 32 t + 31 of half a block, of low halves and upper bits.
template <int t> EQK_INLINE __m256i six_bits(__m256i low, __m256i high) {
    const __m256i four = _mm256_and_si256(t < 2 ? low : _mm256_srli_epi16(low, 4), _mm256_set1_epi8(15));
    const __m256i top  = t == 0   ? _mm256_slli_epi16(high, 4)
                         : t == 1 ? _mm256_slli_epi16(high, 2)
                         : t == 2 ? high
                                  : _mm256_srli_epi16(high, 2);
    return _mm256_or_si256(four, _mm256_and_si256(top, _mm256_set1_epi8(48)));
}

// Of the eight signed bytes of each row four, in 16 bits each: the one counted first, four times over, or it and those
// behind it.
constexpr int64_t repeated   = 0x0080008000800080;
constexpr int64_t successive = 0x0380028001800080;

EQK_INLINE __m256i scales_of(__m256i parts, int64_t first, int64_t order) {
    const __m256i row = _mm256_setr_epi64x(0, 0x0808080808080808, 0, 0x0808080808080808);
    const __m256i all = _mm256_add_epi8(row, _mm256_set1_epi64x(order + first * 0x0100010001000100));
    return _mm256_srai_epi16(_mm256_shuffle_epi8(parts, all), 8);
}

// The 32 values t of half a block: two parts. In 16 bits two sums of two values of at most 63 * 127.
template <int t, int columns>
EQK_INLINE void add_parts(__m256i (&n)[columns], const __m256i (&low)[4], const __m256i (&high)[4], __m256i parts,
                          const int8_t * values) {
    for (int part = 0; part < 2; part++) {
        const __m256i scales = scales_of(parts, 2 * t + part, repeated);
        const __m256i one    = six_bits<t>(low[part * 2], high[part * 2]);
        const __m256i two    = six_bits<t>(low[part * 2 + 1], high[part * 2 + 1]);
        for (int k = 0; k < columns; k++) {
            const int8_t * from  = values + k * 256 + t * 32 + part * 16;
            const __m256i  pairs = _mm256_add_epi16(_mm256_maddubs_epi16(one, eight_bytes_everywhere(from)),
                                                    _mm256_maddubs_epi16(two, eight_bytes_everywhere(from + 8)));
            n[k]                 = _mm256_add_epi32(n[k], _mm256_madd_epi16(pairs, scales));
        }
    }
}

template <int columns>
EQK_INLINE void part(const rows_q6_k & w, const quantised_columns_k & x, int64_t c, float * y, int64_t stride,
                     int skipped) {
    __m256 total[columns];
    for (int k = 0; k < columns; k++) {
        total[k] = _mm256_setzero_ps();
    }
    int64_t       at    = x.index(c, 0);
    const int64_t width = x.width(c);
    for (int64_t b = 0; b < x.blocks(); b++, at += width) {
        constexpr int size = sizeof(block_q6_k);
        const int64_t of   = b * size;
        __m256i       n[columns], less[columns], parts[2];
        for (int k = 0; k < columns; k++) {
            n[k] = less[k] = _mm256_setzero_si256();
        }
        w.w.turn(of + static_cast<int64_t>(offsetof(block_q6_k, parts)), parts[0], parts[1]);
        for (int half = 0; half < 2; half++) {
            const int8_t * values = x.values + at * 256 + half * 128;
            __m256i        low[4], high[4];
            w.w.look_ahead<size / 2>(of + half * (size / 2));
            w.w.turn(of + static_cast<int64_t>(offsetof(block_q6_k, high)) + half * 32, high);
            w.w.turn(of + half * 64, low);
            add_parts<0>(n, low, high, parts[half], values);
            add_parts<2>(n, low, high, parts[half], values);
            w.w.turn(of + half * 64 + 32, low);
            add_parts<1>(n, low, high, parts[half], values);
            add_parts<3>(n, low, high, parts[half], values);
            for (int i = 0; i < 2; i++) {
                const __m256i scales = scales_of(parts[half], 4 * i, successive);
                for (int k = 0; k < columns; k++) {
                    const __m256i sums = eight_bytes_everywhere(x.sums + (at + k) * 16 + half * 8 + i * 4);
                    less[k]            = _mm256_add_epi32(less[k], _mm256_madd_epi16(scales, sums));
                }
            }
        }
        const __m256 scale = w.w.halves(of + static_cast<int64_t>(offsetof(block_q6_k, scale)));
        for (int k = 0; k < columns; k++) {
            const __m256i sum = lanes_added(_mm256_sub_epi32(n[k], _mm256_slli_epi32(less[k], 5)));
            total[k]          = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum),
                                                _mm256_mul_ps(scale, _mm256_set1_ps(x.scales[at + k])), total[k]);
        }
    }
    for (int k = 0; k < columns; k++) {
        store(y + (c + k) * stride, first_lanes(total[k]), skipped);
    }
}

// Four rows by all columns.
template <class rows, class columns>
EQK_INLINE void multiply(const rows & w, const columns & x, float * y, int64_t stride, int skipped = 0) {
    for (int64_t c = 0; c < x.n_columns;) {
        const int64_t n = x.width(c) - c % x.tile;
        switch (n) {
            case 1: part<1>(w, x, c, y, stride, skipped); break;
            case 2: part<2>(w, x, c, y, stride, skipped); break;
            case 3: part<3>(w, x, c, y, stride, skipped); break;
            default: part<4>(w, x, c, y, stride, skipped);
        }
        c += n < 4 ? n : 4;
    }
}

template <class rows, class eight, class columns>
EQK_INLINE void multiply_eights(const eight * w, const columns & x, const some_rows & of) {
    for (int64_t row = of.first; row < of.last; row += 4) {
        multiply(rows{w + row / 8 * x.blocks(), static_cast<int>(row / 4 % 2)}, x, of.y + row, of.stride);
    }
}

// The last rows, where fewer than four are left, are the last ones of four.
template <class rows, class block, class columns>
EQK_INLINE void multiply_plain(const block * w, const columns & x, const some_rows & of) {
    const auto stride = x.blocks() * static_cast<int64_t>(sizeof(block));
    for (int64_t row = of.first; row < of.last; row += 4) {
        const int64_t first = row + 4 <= of.n_out ? row : of.n_out - 4;
        multiply(rows{{reinterpret_cast<const char *>(w) + first * stride, stride}}, x, of.y + first, of.stride,
                 static_cast<int>(row - first));
    }
}

void multiply_q4_0(const eight_rows_q4_0 * w, const quantised_columns & x, const some_rows & of) {
    multiply_eights<rows_q4_0>(w, x, of);
}

void multiply_q4_k(const eight_rows_q4_k * w, const quantised_columns_k & x, const some_rows & of) {
    multiply_eights<rows_q4_k>(w, x, of);
}

void multiply_q8_0(const block_q8_0 * w, const quantised_columns & x, const some_rows & of) {
    of.n_out < 4 ? products_scalar.multiply_q8_0(w, x, of) : multiply_plain<rows_q8_0>(w, x, of);
}

void multiply_q6_k(const block_q6_k * w, const quantised_columns_k & x, const some_rows & of) {
    of.n_out < 4 ? products_scalar.multiply_q6_k(w, x, of) : multiply_plain<rows_q6_k>(w, x, of);
}

} // namespace

const products products_avx2 = {"avx2",        quantise,      quantise_k,   multiply_q4_0,
                                multiply_q8_0, multiply_q4_k, multiply_q6_k};

} // namespace eqk
