// Four lanes of NEON, which every 64-bit Arm processor has. See rows_simd.h.
#ifndef EQK_LANES_NEON_H
#define EQK_LANES_NEON_H

#include <arm_neon.h>
#include <cstdint>

namespace eqk {
namespace {

struct lanes_neon {
    static constexpr int width = 4;

    using F = float32x4_t;
    using M = uint32x4_t; // all bits of a lane, or none
    struct D {
        float64x2_t low;
        float64x2_t high;
    };

    static F set(float x) { return vdupq_n_f32(x); }
    static F load(const float * p) { return vld1q_f32(p); }
    static F load_first(const float * p, int n, float fill) {
        float lane[width] = {fill, fill, fill, fill};
        for (int i = 0; i < n; i++) {
            lane[i] = p[i];
        }
        return load(lane);
    }
    static void store(float * p, F v) { vst1q_f32(p, v); }
    static void store_first(float * p, int n, F v) {
        float lane[width];
        store(lane, v);
        for (int i = 0; i < n; i++) {
            p[i] = lane[i];
        }
    }

    static F add(F a, F b) { return vaddq_f32(a, b); }
    static F sub(F a, F b) { return vsubq_f32(a, b); }
    static F mul(F a, F b) { return vmulq_f32(a, b); }
    static F multiply_add(F a, F b, F c) { return vfmaq_f32(c, a, b); }
    static F max(F a, F b) { return vmaxq_f32(a, b); }
    static F round(F a) { return vrndnq_f32(a); }
    static F power_of_two(F k) {
        return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(k), vdupq_n_s32(127)), 23));
    }

    static M nowhere() { return vdupq_n_u32(0); }
    static M equal(F a, F b) { return vceqq_f32(a, b); }
    static M at_least(F a, F b) { return vcgeq_f32(a, b); }
    static M not_less(F a, F b) { return vmvnq_u32(vcltq_f32(a, b)); } // true for NaN
    static M both(M a, M b) { return vandq_u32(a, b); }
    static M either(M a, M b) { return vorrq_u32(a, b); }
    static bool any(M m) { return vmaxvq_u32(m) != 0; }
    static int count(M m) { return static_cast<int>(vaddvq_u32(vshrq_n_u32(m, 31))); }
    static F select(M m, F yes, F no) { return vbslq_f32(m, yes, no); }

    static float largest(F v) { return vmaxvq_f32(v); }
    static D zero_sum() { return {vdupq_n_f64(0), vdupq_n_f64(0)}; }
    static D accumulate(D sum, F v) {
        return {vaddq_f64(sum.low, vcvt_f64_f32(vget_low_f32(v))), vaddq_f64(sum.high, vcvt_high_f64_f32(v))};
    }
    static D accumulate_square(D sum, F v) {
        const float64x2_t low = vcvt_f64_f32(vget_low_f32(v)), high = vcvt_high_f64_f32(v);
        return {vfmaq_f64(sum.low, low, low), vfmaq_f64(sum.high, high, high)};
    }
    static double total(D sum) { return vaddvq_f64(vaddq_f64(sum.low, sum.high)); }
};

} // namespace
} // namespace eqk

#endif
