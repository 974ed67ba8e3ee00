// Forward diffusion: the generator's published words, the schedule's published values, statistics of the noise.

#include "check.h"
#include "equipoise_kernels.h"

#include <cmath>

using namespace test;

namespace {

constexpr double u = 0x1p-24;

// Share of the signal's variance at a step, from the formula of the header.
double share(int step) {
    double a = 1;
    for (int t = 0; t <= step; t++) {
        a *= 1 - (1e-5 + (5e-3 - 1e-5) / (1 + std::exp(6 - 12.0 * t / 999)));
    }
    return a;
}

// Philox4x32-10 of key 0 and counter 0 is 6627e8d5 e169c58d bc57ac4c 9b00dbd8 (Random123's known answers).
void known_answer() {
    const double words[4] = {0x6627e8d5p0, 0xe169c58dp0, 0xbc57ac4cp0, 0x9b00dbd8p0};
    float        pixels[4] = {};
    CHECK(eqk_diffuse(pixels, 4, 999, 0) == EQK_OK, "diffuse");
    for (int j = 0; j < 4; j++) {
        const double radius = std::sqrt(-2 * std::log((words[j & 2] + 0.5) / 0x1p32));
        const double angle  = 2 * M_PI * (words[(j & 2) + 1] + 0.5) / 0x1p32;
        const double want   = std::sqrt(1 - share(999)) * radius * (j % 2 ? std::sin(angle) : std::cos(angle));
        CHECK(std::fabs(pixels[j] - want) <= 4 * u * std::fabs(want), "%d: %.9g, not %.9g", j, pixels[j], want);
    }
}

// A picture of ones and one of zeros under the same noise differ by the signal's gain.
void schedule() {
    const struct {
        int    step;
        double gain_squared;
    } published[] = {{200, 0.988}, {500, 0.745}, {700, 0.351}, {900, 0.133}, {999, 0.081}};
    for (const auto & p : published) {
        float ones[5] = {1, 1, 1, 1, 1}, zeros[5] = {};
        CHECK(eqk_diffuse(ones, 5, p.step, 42) == EQK_OK && eqk_diffuse(zeros, 5, p.step, 42) == EQK_OK, "%d", p.step);
        for (int i = 0; i < 5; i++) {
            const double gain = ones[i] - zeros[i];
            CHECK(std::fabs(gain * gain - p.gain_squared) <= 6e-4, "step %d: %.6f", p.step, gain * gain);
        }
    }
}

// Mean and variance of n normal numbers lie within 6 standard errors: 1 / sqrt(n) and sqrt(2 / n). So does the
// correlation of neighbours.
void statistics() {
    const size_t       n = 200000;
    std::vector<float> noise(n);
    for (const uint64_t seed : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) {
        std::fill(noise.begin(), noise.end(), 0.0f);
        CHECK(eqk_diffuse(noise.data(), static_cast<int64_t>(n), 999, seed) == EQK_OK, "diffuse");
        const double scale = std::sqrt(1 - share(999));
        double       sum = 0, squares = 0, neighbours = 0;
        for (size_t i = 0; i < n; i++) {
            const double x = noise[i] / scale;
            sum += x;
            squares += x * x;
            neighbours += i ? x * noise[i - 1] / scale : 0;
        }
        const double of_mean = 6 / std::sqrt(n), of_variance = 6 * std::sqrt(2.0 / n);
        CHECK(std::fabs(sum / n) <= of_mean, "mean %g", sum / n);
        CHECK(std::fabs(squares / n - 1) <= of_variance, "variance %g", squares / n);
        CHECK(std::fabs(neighbours / n) <= of_mean, "correlation %g", neighbours / n);
    }
}

// Noise depends on seed and index alone: a shorter picture is a prefix of a longer one.
void prefixes_and_edges() {
    std::vector<float> longest(40, 0.25f);
    CHECK(eqk_diffuse(longest.data(), 40, 500, 7) == EQK_OK, "diffuse");
    for (size_t n = 0; n <= 39; n++) {
        guarded<float> pixels(n);
        for (size_t i = 0; i < n; i++) {
            pixels[i] = 0.25f;
        }
        CHECK(eqk_diffuse(pixels.data(), static_cast<int64_t>(n), 500, 7) == EQK_OK, "n %zu", n);
        CHECK(memcmp(pixels.data(), longest.data(), n * sizeof(float)) == 0, "n %zu", n);
    }
    std::vector<float> other(40, 0.25f);
    CHECK(eqk_diffuse(other.data(), 40, 500, uint64_t{7} << 32) == EQK_OK, "diffuse");
    CHECK(memcmp(other.data(), longest.data(), 40 * sizeof(float)) != 0, "the seed's high half counts");
}

void refusals() {
    float pixels[3] = {1, 2, 3};
    CHECK(eqk_diffuse(nullptr, 3, 0, 0) == EQK_BAD_ARGUMENT, "pixels");
    CHECK(eqk_diffuse(pixels, -1, 0, 0) == EQK_BAD_ARGUMENT, "n");
    CHECK(eqk_diffuse(pixels, 3, -1, 0) == EQK_BAD_ARGUMENT, "step");
    CHECK(eqk_diffuse(pixels, 3, EQK_DIFFUSION_STEPS, 0) == EQK_BAD_ARGUMENT, "step");
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
        pixels[2] = bad;
        CHECK(eqk_diffuse(pixels, 3, 10, 0) == EQK_NOT_FINITE, "%g", bad);
        CHECK(pixels[0] == 1 && pixels[1] == 2, "a refused picture changed");
    }
}

} // namespace

int main() {
    known_answer();
    schedule();
    statistics();
    prefixes_and_edges();
    refusals();
    return verdict("diffuse");
}
