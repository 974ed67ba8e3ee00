// Steering of hidden states. A state is a few thousand floats and is touched once per layer and token, so plain loops
// that the compiler vectorises are enough; sums are kept in double, in four lanes, so that it can.

#include "steering.h"

#include <cmath>

namespace {

bool is_state(const float * x, int64_t n) {
    return x && n >= 1 && n <= INT32_MAX;
}

// sum_i f(i) for i in [0, n)
template <typename F> double sum(int64_t n, F f) {
    double  lanes[4] = {0, 0, 0, 0};
    int64_t i        = 0;
    for (; i + 4 <= n; i += 4) {
        for (int64_t lane = 0; lane < 4; lane++) {
            lanes[lane] += f(i + lane);
        }
    }
    for (; i < n; i++) {
        lanes[0] += f(i);
    }
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

double dot(const float * x, const float * y, int64_t n) {
    return sum(n, [x, y](int64_t i) { return (double) x[i] * y[i]; });
}

// h[i] becomes f(i); the norm of the change.
template <typename F> double rewrite(float * h, int64_t n, F f) {
    return std::sqrt(sum(n, [h, f](int64_t i) {
        const float  before = h[i];
        const float  after  = (float) f(i);
        const double change = (double) after - before;
        h[i]                = after;
        return change * change;
    }));
}

} // namespace

int32_t eqk_steer(int32_t kind, float * h, const float * v, const float * w, int64_t n, float amount,
                  double * delta_norm) {
    if (!is_state(h, n) || !v || !delta_norm || !std::isfinite(amount) || (w != nullptr) != (kind == EQK_STEER_ROTATE || kind == EQK_STEER_ROTATE_TOWARD)) {
        return EQK_BAD_ARGUMENT;
    }
    if (kind < EQK_STEER_ADD || kind > EQK_STEER_ADD_SIGNED) {
        return EQK_BAD_ARGUMENT;
    }
    const double       a    = amount;
    eqk::steering_sums sums = {};
    const bool rescaled = kind == EQK_STEER_ADD_NORMED || kind == EQK_STEER_ADD_CAPPED;
    if (rescaled || kind == EQK_STEER_TURN || kind == EQK_STEER_TURN_AWARE) {
        sums.hh = dot(h, h, n);
    }
    if (rescaled) {
        sums.after = sum(n, [=](int64_t i) {
            const double x = h[i] + a * v[i];
            return x * x;
        });
    } else if (kind != EQK_STEER_ADD) {
        sums.hv = dot(h, v, n);
    }
    if (kind == EQK_STEER_TURN || kind == EQK_STEER_TURN_AWARE) {
        sums.vv = dot(v, v, n);
    }
    if (w) {
        sums.hw = dot(h, w, n);
    }
    const eqk::steering_change to = eqk::steering_of(kind, a, sums);
    if (w) {
        *delta_norm = rewrite(h, n, [=](int64_t i) { return h[i] + to.v * v[i] + to.w * w[i]; });
    } else if (to.h == 1) {
        *delta_norm = rewrite(h, n, [=](int64_t i) { return h[i] + to.v * v[i]; });
    } else {
        *delta_norm = rewrite(h, n, [=](int64_t i) { return to.h * h[i] + to.v * v[i]; });
    }
    return EQK_OK;
}

int32_t eqk_merge(float * a, const float * b, int64_t n, float weight, double * delta_norm) {
    if (!is_state(a, n) || !b || !delta_norm || !(weight >= 0 && weight <= 1)) {
        return EQK_BAD_ARGUMENT;
    }
    *delta_norm = rewrite(a, n, [=](int64_t i) { return eqk::merged(a[i], b[i], weight); });
    return EQK_OK;
}

int32_t eqk_scale(float * x, int64_t n, float factor, double * delta_norm) {
    if (!is_state(x, n) || !std::isfinite(factor) || !delta_norm) {
        return EQK_BAD_ARGUMENT;
    }
    *delta_norm = rewrite(x, n, [=](int64_t i) { return x[i] * factor; });
    return EQK_OK;
}
