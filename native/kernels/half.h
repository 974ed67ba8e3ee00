// Half precision (F16) as bits, for bodies that run on a device and on a host without the type. Rounds to nearest, ties
// to even, as ggml does.
#ifndef EQK_HALF_H
#define EQK_HALF_H

#include "block.h"

#include <cstdint>

#ifdef __CUDACC__
#include <cuda_fp16.h>
#else
#include <cmath>
#endif

namespace eqk {

EQK_BODY float float_of_half(uint16_t bits) {
#ifdef __CUDACC__
    return __half2float(__ushort_as_half(bits));
#else
    const int   exponent = bits >> 10 & 31;
    const int   fraction = bits & 1023;
    const float size     = exponent == 31 ? (fraction ? NAN : INFINITY)
                           : exponent > 0 ? std::ldexp(static_cast<float>(1024 + fraction), exponent - 25)
                                          : std::ldexp(static_cast<float>(fraction), -24);
    return bits & 0x8000 ? -size : size;
#endif
}

EQK_BODY uint16_t half_of_float(float x) {
#ifdef __CUDACC__
    return __half_as_ushort(__float2half_rn(x));
#else
    const auto  sign = static_cast<uint16_t>(std::signbit(x) ? 0x8000 : 0);
    const float size = std::fabs(x);
    if (std::isnan(x)) {
        return 0x7E00;
    }
    if (size >= 65520) { // halfway between the largest and what would follow
        return sign | 0x7C00;
    }
    int exponent = 0;
    std::frexp(size, &exponent); // size = m 2^exponent, 1/2 <= m < 1
    // Units of the last place: 2^-24 below 2^-14, else 11 bits below the leading one's power.
    const int  unit    = size < 0x1p-14f ? -24 : exponent - 11;
    const auto rounded = static_cast<int>(std::nearbyint(std::ldexp(size, -unit)));
    // Subnormal numbers are their count of units; a carry out of the fraction is the next exponent, by addition.
    return static_cast<uint16_t>(sign | (unit == -24 && rounded < 1024 ? rounded
                                                                       : ((unit + 25) << 10) + (rounded - 1024)));
#endif
}

} // namespace eqk

#endif
