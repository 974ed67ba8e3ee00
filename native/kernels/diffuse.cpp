// Forward diffusion of a normalised picture, with noise that depends on the seed and the pixel's index alone.

#include "equipoise_kernels.h"

#include <cmath>
#include <numbers>

namespace {

struct words {
    uint32_t w[4];
};

// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
words philox(uint64_t key, uint64_t counter) {
    words    x  = {{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0}};
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = uint64_t{0xD2511F53} * x.w[0];
        const uint64_t p1 = uint64_t{0xCD9E8D57} * x.w[2];
        x = {{static_cast<uint32_t>(p1 >> 32) ^ x.w[1] ^ k0, static_cast<uint32_t>(p1),
              static_cast<uint32_t>(p0 >> 32) ^ x.w[3] ^ k1, static_cast<uint32_t>(p0)}};
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    return x;
}

// Never 0, so that its logarithm is finite.
double uniform(uint32_t word) {
    return (word + 0.5) / 4294967296.0;
}

// Four independent normal numbers by Box and Muller.
void normals(uint64_t seed, uint64_t block, float * out) {
    const words x = philox(seed, block);
    for (int pair = 0; pair < 4; pair += 2) {
        const double radius = std::sqrt(-2.0 * std::log(uniform(x.w[pair])));
        const double angle  = 2.0 * std::numbers::pi * uniform(x.w[pair + 1]);
        out[pair]           = static_cast<float>(radius * std::cos(angle));
        out[pair + 1]       = static_cast<float>(radius * std::sin(angle));
    }
}

// The share of the picture's variance that is left after a step.
double signal_share(int32_t noise_step) {
    double share = 1;
    for (int32_t t = 0; t <= noise_step; t++) {
        const double x = -6.0 + 12.0 * t / (EQK_DIFFUSION_STEPS - 1);
        share *= 1.0 - ((5e-3 - 1e-5) / (1.0 + std::exp(-x)) + 1e-5);
    }
    return share;
}

} // namespace

int32_t eqk_diffuse(float * pixels, int64_t n, int32_t noise_step, uint64_t seed) {
    if (!pixels || n < 0 || noise_step < 0 || noise_step >= EQK_DIFFUSION_STEPS) {
        return EQK_BAD_ARGUMENT;
    }
    for (int64_t i = 0; i < n; i++) {
        if (!std::isfinite(pixels[i])) {
            return EQK_NOT_FINITE;
        }
    }
    const double share  = signal_share(noise_step);
    const double signal = std::sqrt(share), noise = std::sqrt(1.0 - share);
    for (int64_t i = 0; i < n; i += 4) {
        float drawn[4];
        normals(seed, static_cast<uint64_t>(i) / 4, drawn);
        for (int64_t j = i; j < n && j < i + 4; j++) {
            pixels[j] = static_cast<float>(signal * pixels[j] + noise * drawn[j - i]);
        }
    }
    return EQK_OK;
}
