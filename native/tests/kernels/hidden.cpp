// Steering of hidden states against the formulas in long double, at sizes with every tail, against guard pages.

#include "check.h"
#include "equipoise_kernels.h"

#include <cmath>
#include <vector>

using namespace test;

namespace {

using real = long double;

real dot(const std::vector<real> & x, const std::vector<real> & y) {
    real sum = 0;
    for (size_t i = 0; i < x.size(); i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

std::vector<real> expected(int kind, std::vector<real> h, const std::vector<real> & v, const std::vector<real> & w,
                           real a) {
    const real before = dot(h, h), along = dot(h, v), across = dot(h, w), length = std::hypot(along, across);
    const real cosine = along / std::sqrt(before);
    if (kind == EQK_STEER_ROTATE_TOWARD) {
        if (!(along > 0)) {
            return h;
        }
        kind = EQK_STEER_ROTATE;
    }
    if (kind == EQK_STEER_TURN || kind == EQK_STEER_TURN_AWARE) {
        const real push = kind == EQK_STEER_TURN ? a : a * (1 + std::fmax(0.0L, -cosine));
        for (size_t i = 0; i < h.size(); i++) {
            h[i] = h[i] / std::sqrt(before) + push * v[i];
        }
        const real after = dot(h, h);
        for (real & x : h) {
            x *= std::sqrt(before / after);
        }
        return h;
    }
    for (size_t i = 0; i < h.size(); i++) {
        switch (kind) {
            case EQK_STEER_ABLATE: h[i] -= along * v[i]; break;
            case EQK_STEER_CLAMP: h[i] += (a - along) * v[i]; break;
            case EQK_STEER_ROTATE:
                h[i] += (length * std::cos(a) - along) * v[i] + (length * std::sin(a) - across) * w[i];
                break;
            case EQK_STEER_ADD_SIGNED: h[i] += (along > 0 ? a : -a) * v[i]; break;
            default: h[i] += a * v[i];
        }
    }
    if (kind == EQK_STEER_ADD_NORMED || (kind == EQK_STEER_ADD_CAPPED && dot(h, h) > before)) {
        const real after = dot(h, h);
        for (real & x : h) {
            x *= after > 0 ? std::sqrt(before / after) : 0;
        }
    }
    return h;
}

void steer(int kind, int n, random_numbers & random) {
    guarded<float>    h(n), v(n), w(n);
    std::vector<real> rh(n), rv(n), rw(n);
    // An orthonormal pair; n = 1 has none, so rotation starts at 2.
    real norm_v = 0, cross = 0, norm_w = 0;
    for (int i = 0; i < n; i++) {
        rh[i] = h.data()[i] = random.between(-3, 3);
        rv[i]               = random.between(-1, 1);
        rw[i]               = random.between(-1, 1);
        norm_v += rv[i] * rv[i];
    }
    for (int i = 0; i < n; i++) {
        rv[i] /= std::sqrt(norm_v);
    }
    cross = dot(rv, rw);
    for (int i = 0; i < n; i++) {
        rw[i] -= cross * rv[i];
        norm_w += rw[i] * rw[i];
    }
    for (int i = 0; i < n; i++) {
        rv[i] = v.data()[i] = (float) rv[i];
        rw[i] = w.data()[i] = (float) (norm_w > 0 ? rw[i] / std::sqrt(norm_w) : 0);
    }
    const float             amount = random.between(-2, 2);
    const bool              plane  = kind == EQK_STEER_ROTATE || kind == EQK_STEER_ROTATE_TOWARD;
    const std::vector<real> want   = expected(kind, rh, rv, rw, amount);
    double                  delta  = -1;
    CHECK(eqk_steer(kind, h.data(), v.data(), plane ? w.data() : nullptr, n, amount, &delta) == EQK_OK, "kind %d n %d",
          kind, n);
    real change = 0;
    for (int i = 0; i < n; i++) {
        // One rounding to float of a value computed in double.
        const real tolerance = 0x1.01p-24L * std::fabs(want[i]) + 1e-13L;
        CHECK(std::fabs(h.data()[i] - want[i]) <= tolerance, "kind %d n %d [%d]: %.9g, not %.9Lg", kind, n, i,
              (double) h.data()[i], want[i]);
        change += (h.data()[i] - rh[i]) * (h.data()[i] - rh[i]);
    }
    CHECK(std::fabs(delta - std::sqrt(change)) <= 1e-12L * (1 + std::sqrt(change)), "kind %d n %d: norm %g, not %Lg",
          kind, n, delta, std::sqrt(change));
}

void merge(int n, random_numbers & random) {
    guarded<float>     a(n), b(n);
    std::vector<float> before_a(n), before_b(n);
    const float        weight = random.between(0, 1);
    for (int i = 0; i < n; i++) {
        before_a[i] = a.data()[i] = random.between(-3, 3);
        before_b[i] = b.data()[i] = random.between(-3, 3);
    }
    double delta = -1, squared = 0;
    CHECK(eqk_merge(a.data(), b.data(), n, weight, &delta) == EQK_OK, "n %d", n);
    for (int i = 0; i < n; i++) {
        const double want = (double) weight * before_a[i] + (1 - (double) weight) * before_b[i];
        // Two products, their sum and 1 - weight are rounded.
        CHECK(std::fabs(a.data()[i] - want) <= 4 * 0x1p-24 * 3 && b.data()[i] == before_b[i], "n %d [%d]", n, i);
        squared += ((double) a.data()[i] - before_a[i]) * ((double) a.data()[i] - before_a[i]);
    }
    CHECK(std::fabs(delta - std::sqrt(squared)) <= 1e-12 * (1 + std::sqrt(squared)), "n %d: norm %g, not %g", n, delta,
          std::sqrt(squared));
}

void refusals() {
    float  x[2] = {1, 2}, y[2] = {0, 1};
    double delta;
    CHECK(eqk_steer(EQK_STEER_ADD, nullptr, y, nullptr, 2, 1, &delta) == EQK_BAD_ARGUMENT, "no state");
    CHECK(eqk_steer(EQK_STEER_ADD, x, y, nullptr, 0, 1, &delta) == EQK_BAD_ARGUMENT, "no entry");
    CHECK(eqk_steer(EQK_STEER_ADD, x, y, nullptr, 2, NAN, &delta) == EQK_BAD_ARGUMENT, "NaN");
    CHECK(eqk_steer(EQK_STEER_ROTATE, x, y, nullptr, 2, 1, &delta) == EQK_BAD_ARGUMENT, "half a plane");
    CHECK(eqk_steer(EQK_STEER_ADD, x, y, y, 2, 1, &delta) == EQK_BAD_ARGUMENT, "a plane too many");
    CHECK(eqk_steer(99, x, y, nullptr, 2, 1, &delta) == EQK_BAD_ARGUMENT, "no such kind");
    CHECK(eqk_merge(x, y, 2, 1.5f, &delta) == EQK_BAD_ARGUMENT && eqk_merge(x, y, 2, NAN, &delta) == EQK_BAD_ARGUMENT,
          "weight");
    CHECK(eqk_merge(x, y, 2, 0.5f, nullptr) == EQK_BAD_ARGUMENT, "nowhere to put the norm");
    CHECK(eqk_scale(x, 2, INFINITY, &delta) == EQK_BAD_ARGUMENT, "factor");
    CHECK(x[0] == 1 && x[1] == 2, "a refusal changes nothing");
    CHECK(eqk_scale(x, 2, -1, &delta) == EQK_OK && x[0] == -1 && std::fabs(delta - std::sqrt(20.0)) <= 1e-12, "scale");
}

} // namespace

int main() {
    random_numbers random(5);
    for (const int n : {1, 2, 3, 4, 5, 7, 64, 127, 1023}) {
        for (int kind = EQK_STEER_ADD; kind <= EQK_STEER_ADD_SIGNED; kind++) {
            // One dimension has no plane, and turning there may end at 0.
            if (n > 1 || kind <= EQK_STEER_CLAMP) {
                steer(kind, n, random);
            }
        }
        merge(n, random);
    }
    refusals();
    return verdict("hidden");
}
