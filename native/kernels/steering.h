// The arithmetic of steering that the CPU's loops and the CUDA kernels share: from sums over a state to its change.
#ifndef EQK_STEERING_H
#define EQK_STEERING_H

#include "arith.h"

namespace eqk {

// Over a state h and its vectors; what a kind does not read may be anything.
struct steering_sums {
    double hh;    // h.h
    double hv;    // h.v
    double hw;    // h.w
    double vv;    // v.v
    double after; // |h + a v|^2
};

// The state becomes h * itself + v * V + w * W.
struct steering_change {
    double h;
    double v;
    double w;
};

// In double, so that a device that fuses products and sums rounds to the same float.
EQK_SHARED double merged(double a, double b, double weight) { return weight * a + (1 - weight) * b; }

EQK_SHARED bool steers_by_two(int32_t kind) {
    return kind == EQK_STEER_ROTATE || kind == EQK_STEER_ROTATE_TOWARD;
}

EQK_SHARED steering_change steering_of(int32_t kind, double a, const steering_sums & s) {
    switch (kind) {
        case EQK_STEER_ADD: return {1, a, 0};
        case EQK_STEER_ADD_NORMED: {
            const double back = s.after > 0 ? sqrt(s.hh / s.after) : 0;
            return {back, back * a, 0};
        }
        case EQK_STEER_ADD_CAPPED: {
            const double back = s.after > s.hh ? sqrt(s.hh / s.after) : 1;
            return {back, back * a, 0};
        }
        case EQK_STEER_ADD_SIGNED: return {1, s.hv > 0 ? a : s.hv < 0 ? -a : 0, 0};
        case EQK_STEER_ABLATE: return {1, -s.hv, 0};
        case EQK_STEER_CLAMP:  return {1, a - s.hv, 0};
        case EQK_STEER_TURN:
        case EQK_STEER_TURN_AWARE: {
            const double length = sqrt(s.hh);
            if (length == 0) {
                return {1, 0, 0};
            }
            const double along = s.hv / length;
            const double push  = kind == EQK_STEER_TURN ? a : a * (1 + fmax(0.0, -along));
            // |unit(h) + push v|, v being a unit vector only up to rounding
            const double turned = sqrt(fmax(0.0, 1 + 2 * push * along + push * push * s.vv));
            const double back   = turned > 0 ? length / turned : 0;
            return {back / length, back * push, 0};
        }
        case EQK_STEER_ROTATE_TOWARD:
        case EQK_STEER_ROTATE: {
            if (kind == EQK_STEER_ROTATE_TOWARD && !(s.hv > 0)) {
                return {1, 0, 0};
            }
            const double length = hypot(s.hv, s.hw);
            return {1, length * cos(a) - s.hv, length * sin(a) - s.hw};
        }
        default: return {1, 0, 0};
    }
}

} // namespace eqk

#endif
