// Four lanes of SSE2, which every x86-64 processor has. See rows_simd.h.
#ifndef EQK_LANES_SSE_H
#define EQK_LANES_SSE_H

#include <cstdint>
#include <emmintrin.h>

namespace eqk {
namespace {

struct lanes_sse {
    static constexpr int width = 4;

    using F = __m128;
    using M = __m128; // all bits of a lane, or none
    struct D {
        __m128d low;
        __m128d high;
    };

    static F set(float x) { return _mm_set1_ps(x); }
    static F load(const float * p) { return _mm_loadu_ps(p); }
    static F load_first(const float * p, int n, float fill) {
        float lane[width] = {fill, fill, fill, fill};
        for (int i = 0; i < n; i++) {
            lane[i] = p[i];
        }
        return load(lane);
    }
    static void store(float * p, F v) { _mm_storeu_ps(p, v); }
    static void store_first(float * p, int n, F v) {
        float lane[width];
        store(lane, v);
        for (int i = 0; i < n; i++) {
            p[i] = lane[i];
        }
    }

    static F add(F a, F b) { return _mm_add_ps(a, b); }
    static F sub(F a, F b) { return _mm_sub_ps(a, b); }
    static F mul(F a, F b) { return _mm_mul_ps(a, b); }
    static F multiply_add(F a, F b, F c) { return add(mul(a, b), c); }
    static F max(F a, F b) { return _mm_max_ps(a, b); }
    static F round(F a) { return _mm_cvtepi32_ps(_mm_cvtps_epi32(a)); }
    static F power_of_two(F k) {
        return _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32(_mm_cvtps_epi32(k), _mm_set1_epi32(127)), 23));
    }

    static M nowhere() { return _mm_setzero_ps(); }
    static M equal(F a, F b) { return _mm_cmpeq_ps(a, b); }
    static M at_least(F a, F b) { return _mm_cmpge_ps(a, b); }
    static M not_less(F a, F b) { return _mm_cmpnlt_ps(a, b); } // true for NaN
    static M both(M a, M b) { return _mm_and_ps(a, b); }
    static M either(M a, M b) { return _mm_or_ps(a, b); }
    static bool any(M m) { return _mm_movemask_ps(m) != 0; }
    static int count(M m) { return __builtin_popcount(static_cast<unsigned>(_mm_movemask_ps(m))); }
    static F select(M m, F yes, F no) { return _mm_or_ps(_mm_and_ps(m, yes), _mm_andnot_ps(m, no)); }

    static float largest(F v) {
        v = max(v, _mm_movehl_ps(v, v));
        return _mm_cvtss_f32(max(v, _mm_shuffle_ps(v, v, 1)));
    }
    static D zero_sum() { return {_mm_setzero_pd(), _mm_setzero_pd()}; }
    static D accumulate(D sum, F v) {
        return {_mm_add_pd(sum.low, _mm_cvtps_pd(v)), _mm_add_pd(sum.high, _mm_cvtps_pd(_mm_movehl_ps(v, v)))};
    }
    static D accumulate_square(D sum, F v) {
        const __m128d low = _mm_cvtps_pd(v), high = _mm_cvtps_pd(_mm_movehl_ps(v, v));
        return {_mm_add_pd(sum.low, _mm_mul_pd(low, low)), _mm_add_pd(sum.high, _mm_mul_pd(high, high))};
    }
    static double total(D sum) {
        const __m128d both = _mm_add_pd(sum.low, sum.high);
        return _mm_cvtsd_f64(_mm_add_sd(both, _mm_unpackhi_pd(both, both)));
    }
};

} // namespace
} // namespace eqk

#endif
