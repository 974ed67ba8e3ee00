// Eight lanes of AVX2 with fused multiply-add. See rows_simd.h.
#ifndef EQK_LANES_AVX2_H
#define EQK_LANES_AVX2_H

#include <cstdint>
#include <immintrin.h>

namespace eqk {
namespace {

struct lanes_avx2 {
    static constexpr int width = 8;

    using F = __m256;
    using M = __m256; // all bits of a lane, or none
    struct D {
        __m256d low;
        __m256d high;
    };

    static F set(float x) { return _mm256_set1_ps(x); }
    static F load(const float * p) { return _mm256_loadu_ps(p); }
    static F load_first(const float * p, int n, float fill) {
        const __m256i wanted = first(n); // a masked-off lane is never read, not even across a page that is not there
        return _mm256_blendv_ps(set(fill), _mm256_maskload_ps(p, wanted), _mm256_castsi256_ps(wanted));
    }
    static void store(float * p, F v) { _mm256_storeu_ps(p, v); }
    static void store_first(float * p, int n, F v) { _mm256_maskstore_ps(p, first(n), v); }

    static F add(F a, F b) { return _mm256_add_ps(a, b); }
    static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
    static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
    static F multiply_add(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
    static F max(F a, F b) { return _mm256_max_ps(a, b); }
    static F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static F power_of_two(F k) {
        const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(k), _mm256_set1_epi32(127));
        return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
    }

    static M nowhere() { return _mm256_setzero_ps(); }
    static M equal(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
    static M at_least(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
    static M not_less(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_NLT_UQ); } // true for NaN
    static M both(M a, M b) { return _mm256_and_ps(a, b); }
    static M either(M a, M b) { return _mm256_or_ps(a, b); }
    static bool any(M m) { return _mm256_movemask_ps(m) != 0; }
    static int count(M m) { return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(m))); }
    static F select(M m, F yes, F no) { return _mm256_blendv_ps(no, yes, m); }

    static float largest(F v) {
        __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        half        = _mm_max_ps(half, _mm_movehl_ps(half, half));
        return _mm_cvtss_f32(_mm_max_ps(half, _mm_shuffle_ps(half, half, 1)));
    }
    static D zero_sum() { return {_mm256_setzero_pd(), _mm256_setzero_pd()}; }
    static D accumulate(D sum, F v) {
        return {_mm256_add_pd(sum.low, low(v)), _mm256_add_pd(sum.high, high(v))};
    }
    static D accumulate_square(D sum, F v) {
        return {_mm256_fmadd_pd(low(v), low(v), sum.low), _mm256_fmadd_pd(high(v), high(v), sum.high)};
    }
    static double total(D sum) {
        const __m256d both = _mm256_add_pd(sum.low, sum.high);
        const __m128d half = _mm_add_pd(_mm256_castpd256_pd128(both), _mm256_extractf128_pd(both, 1));
        return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
    }

private:
    static __m256i first(int n) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
    static __m256d low(F v) { return _mm256_cvtps_pd(_mm256_castps256_ps128(v)); }
    static __m256d high(F v) { return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)); }
};

} // namespace
} // namespace eqk

#endif
