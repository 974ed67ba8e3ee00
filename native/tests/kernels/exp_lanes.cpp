// Compiled with a tier's flags, EXP_LANES naming its lane type and EXP_HEADER where that is.

#include "rows_simd.h"

#include EXP_HEADER

#include <bit>
#include <cmath>

namespace {

using lanes = eqk::EXP_LANES;

} // namespace

double largest_exp_error(uint32_t stride, float & at) {
    // From -2^-30, where 1 is right, to beyond -87, where 0 is; -0, -inf and a subnormal besides.
    const uint32_t first = std::bit_cast<uint32_t>(-0x1p-30f), last = std::bit_cast<uint32_t>(-90.0f);
    double         largest = 0;
    const auto     judge   = [&](const float * x, const float * e) {
        for (int i = 0; i < lanes::width; i++) {
            const double want  = x[i] >= -87.0f ? std::exp(static_cast<double>(x[i])) : 0;
            const double error = want == 0 ? std::fabs(static_cast<double>(e[i])) : std::fabs(e[i] - want) / want;
            if (!(error <= largest)) { // NaN is the largest error of all
                largest = std::isnan(error) ? INFINITY : error;
                at      = x[i];
            }
        }
    };
    float x[lanes::width], e[lanes::width];
    for (uint64_t bits = first; bits <= last; bits += uint64_t{stride} * lanes::width) {
        for (int i = 0; i < lanes::width; i++) {
            const uint64_t here = bits + uint64_t{stride} * static_cast<uint64_t>(i);
            x[i]                = std::bit_cast<float>(static_cast<uint32_t>(here < last ? here : last));
        }
        lanes::store(e, eqk::exp_nonpositive<lanes>(lanes::load(x)));
        judge(x, e);
    }
    const float edges[] = {0.0f, -0.0f, -INFINITY, -1e-40f, -87.0f, -87.00001f, -3.4e38f, -0x1p-126f};
    for (const float edge : edges) {
        lanes::store(e, eqk::exp_nonpositive<lanes>(lanes::set(edge)));
        for (float & same : x) {
            same = edge;
        }
        judge(x, e);
    }
    return largest;
}
