// Sixteen lanes of AVX-512F; nothing of its extensions is used. See rows_simd.h.
#ifndef EQK_LANES_AVX512_H
#define EQK_LANES_AVX512_H

#include <cstdint>
#include <immintrin.h>

namespace eqk {
namespace {

struct lanes_avx512 {
    static constexpr int width = 16;

    using F = __m512;
    using M = __mmask16;
    struct D {
        __m512d low;
        __m512d high;
    };

    static F set(float x) { return _mm512_set1_ps(x); }
    static F load(const float * p) { return _mm512_loadu_ps(p); }
    static F load_first(const float * p, int n, float fill) {
        return _mm512_mask_loadu_ps(set(fill), first(n), p); // a masked-off lane is never read
    }
    static void store(float * p, F v) { _mm512_storeu_ps(p, v); }
    static void store_first(float * p, int n, F v) { _mm512_mask_storeu_ps(p, first(n), v); }

    static F add(F a, F b) { return _mm512_add_ps(a, b); }
    static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
    static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
    static F multiply_add(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
    static F max(F a, F b) { return _mm512_max_ps(a, b); }
    static F round(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static F power_of_two(F k) {
        const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(k), _mm512_set1_epi32(127));
        return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
    }

    static M nowhere() { return 0; }
    static M equal(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
    static M at_least(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
    static M not_less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ); } // true for NaN
    static M both(M a, M b) { return static_cast<M>(a & b); }
    static M either(M a, M b) { return static_cast<M>(a | b); }
    static bool any(M m) { return m != 0; }
    static int count(M m) { return __builtin_popcount(m); }
    static F select(M m, F yes, F no) { return _mm512_mask_blend_ps(m, no, yes); }

    static float largest(F v) { return _mm512_reduce_max_ps(v); }
    static D zero_sum() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
    static D accumulate(D sum, F v) {
        return {_mm512_add_pd(sum.low, low(v)), _mm512_add_pd(sum.high, high(v))};
    }
    static D accumulate_square(D sum, F v) {
        return {_mm512_fmadd_pd(low(v), low(v), sum.low), _mm512_fmadd_pd(high(v), high(v), sum.high)};
    }
    static double total(D sum) { return _mm512_reduce_add_pd(_mm512_add_pd(sum.low, sum.high)); }

private:
    static M first(int n) { return static_cast<M>((1u << n) - 1); }
    static __m512d low(F v) { return _mm512_cvtps_pd(_mm512_castps512_ps256(v)); }
    static __m512d high(F v) {
        return _mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)));
    }
};

} // namespace
} // namespace eqk

#endif
