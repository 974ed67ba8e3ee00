// Edits of attention rows and early exits against their formulas, at sizes with every tail, against guard pages.

#include "check.h"
#include "equipoise_kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

using namespace test;

namespace {

constexpr uint64_t first = 1u << 3, second = 1u << 9; // two spans

struct row {
    guarded<float>      values;
    guarded<uint8_t>    labels;
    guarded<float>      sinkness;
    std::vector<double> before;

    // Weights that sum to 1, or scores of both signs; some keys are not seen and hold what must not be read.
    row(int n, bool weights, random_numbers & random) : values(n), labels(n), sinkness(n), before(n) {
        double sum = 0;
        for (int j = 0; j < n; j++) {
            const int kind       = random.below(4);
            labels.data()[j]     = kind == 0 ? 3 : kind == 1 ? 9 : kind == 2 ? 63 : EQK_NO_KEY;
            sinkness.data()[j]   = random.between(0, 4);
            values.data()[j]     = kind == 3 ? (weights ? 0 : NAN) : random.between(weights ? 0.01 : -3, 3);
            sum += kind == 3 ? 0 : values.data()[j];
        }
        for (int j = 0; weights && sum > 0 && j < n; j++) {
            values.data()[j] = (float) (values.data()[j] / sum);
        }
        for (int j = 0; j < n; j++) {
            before[j] = values.data()[j];
        }
    }

    bool in(int j, uint64_t span) { return labels.data()[j] < 64 && (span >> labels.data()[j] & 1); }

    double sum(uint64_t span) {
        double total = 0;
        for (size_t j = 0; j < before.size(); j++) {
            total += in((int) j, span) ? before[j] : 0;
        }
        return total;
    }

    // One rounding to float of what was computed in double from floats; what is not seen stays as it is.
    void expect(const std::vector<double> & want, double change_sq, const char * what) {
        double squared = 0;
        for (size_t j = 0; j < want.size(); j++) {
            if (labels.data()[j] == EQK_NO_KEY) {
                CHECK(std::isnan(before[j]) ? std::isnan(values.data()[j]) : values.data()[j] == before[j],
                      "%s [%zu]: a key that is not seen", what, j);
                continue;
            }
            CHECK(std::fabs(values.data()[j] - want[j]) <= 4 * 0x1p-24 * (1 + std::fabs(want[j])), "%s [%zu]: %g, not %g",
                  what, j, (double) values.data()[j], want[j]);
            squared += (values.data()[j] - before[j]) * (values.data()[j] - before[j]);
        }
        CHECK(std::fabs(change_sq - squared) <= 1e-9 * (1 + squared), "%s: change %g, not %g", what, change_sq, squared);
    }
};

void scores(int n, random_numbers & random) {
    row    raised(n, false, random), scaled(n, false, random);
    double change = -1;
    CHECK(eqk_scores_raise(raised.values.data(), raised.labels.data(), n, first, 0.7f, &change) == EQK_OK, "raise");
    std::vector<double> want = raised.before;
    for (int j = 0; j < n; j++) {
        want[j] += raised.in(j, first) ? 0.7f * std::fabs(want[j]) : 0;
    }
    raised.expect(want, change, "raise");
    CHECK(eqk_scores_scale(scaled.values.data(), scaled.labels.data(), n, first | second, -1.5f, &change) == EQK_OK, "scale");
    want = scaled.before;
    for (int j = 0; j < n; j++) {
        want[j] *= scaled.in(j, first | second) ? -1.5 : 1;
    }
    scaled.expect(want, change, "scale");
}

void weights(int n, float threshold, random_numbers & random) {
    row          moved(n, true, random), drained(n, true, random);
    double       change = -1;
    const double given = moved.sum(first), taken = moved.sum(second);
    CHECK(eqk_weights_move(moved.values.data(), moved.labels.data(), n, first, second, threshold, 0.6f, &change) == EQK_OK,
          "move");
    const bool          moves = taken > 0 && given > threshold * (given + taken);
    std::vector<double> want  = moved.before;
    double              after = 0, total = 0;
    for (int j = 0; j < n; j++) {
        want[j] *= !moves ? 1 : moved.in(j, first) ? 1 - 0.6f : moved.in(j, second) ? 1 + 0.6f * given / taken : 1;
        after += moved.values.data()[j];
        total += moved.before[j];
    }
    moved.expect(want, change, "move");
    CHECK(std::fabs(after - total) <= n * 0x1p-23, "move: the row sums to %g, not %g", after, total);

    const float tau = 2, rho = 0.7f, mass = 0.1f, keep = 0.25f;
    double      seen = drained.sum(first), sunk_seen = 0, sunk = 0;
    for (int j = 0; j < n; j++) {
        const bool sink = drained.labels.data()[j] != EQK_NO_KEY && drained.sinkness.data()[j] > tau;
        sunk += sink ? drained.before[j] : 0;
        sunk_seen += sink && drained.in(j, first) ? drained.before[j] : 0;
    }
    CHECK(eqk_weights_sinks(drained.values.data(), drained.labels.data(), drained.sinkness.data(), n, first, tau, rho, mass,
                            keep, &change) == EQK_OK, "sinks");
    want = drained.before;
    if (seen >= mass && sunk_seen <= rho * seen && seen > sunk_seen) {
        for (int j = 0; j < n; j++) {
            if (drained.sinkness.data()[j] > tau) {
                want[j] *= keep;
            } else if (drained.in(j, first)) {
                want[j] *= 1 + (1 - keep) * sunk / (seen - sunk_seen);
            }
        }
    }
    drained.expect(want, change, "sinks");

    std::vector<double> masses(64, 0);
    row                 read(n, true, random);
    CHECK(eqk_weights_mass(read.values.data(), read.labels.data(), n, masses.data()) == EQK_OK, "mass");
    CHECK(std::fabs(masses[3] - read.sum(first)) <= 1e-12 && std::fabs(masses[9] - read.sum(second)) <= 1e-12, "mass");
}

// Of few different weights many are equal; cells come in another order than the tokens in them.
void least_attended(int n, int n_heads, random_numbers & random) {
    const int64_t        stride = n + 3;
    guarded<float>       w((size_t) (n_heads * stride));
    guarded<uint8_t>     labels((size_t) n), attended((size_t) n);
    guarded<int32_t>     order((size_t) n);
    std::vector<double>  sum((size_t) n, 0);
    std::vector<int64_t> span;
    w.fill(NAN);
    for (int j = 0; j < n; j++) {
        const int kind   = random.below(4);
        labels.data()[j] = kind == 0 ? 3 : kind == 1 ? 9 : kind == 2 ? 63 : EQK_NO_KEY;
        order.data()[j]  = j % 2 ? j / 2 : n - j;
        for (int h = 0; h < n_heads; h++) {
            // Multiples of 1/8 add up without rounding.
            w.data()[h * stride + j] = kind == 3 ? NAN : 0.125f * (float) random.below(3);
            sum[(size_t) j] += w.data()[h * stride + j];
        }
        if (kind < 2) {
            span.push_back(j);
        }
    }
    for (const int64_t keep : {(int64_t) 0, (int64_t) 1, (int64_t) span.size() / 2, (int64_t) span.size(), (int64_t) n + 5}) {
        int64_t count = -1, wanted = 0;
        attended.fill(7);
        CHECK(eqk_keys_attended(w.data(), stride, n_heads, labels.data(), order.data(), n, first | second, keep,
                                attended.data(), &count) == EQK_OK, "attended");
        for (int j = 0; j < n; j++) {
            const bool inside = labels.data()[j] == 3 || labels.data()[j] == 9;
            // How many of the span come before it.
            const auto before = std::count_if(span.begin(), span.end(), [&](int64_t other) {
                return sum[(size_t) other] < sum[(size_t) j] ||
                       (sum[(size_t) other] == sum[(size_t) j] && order.data()[other] < order.data()[j]);
            });
            const bool hidden = inside && before >= keep;
            wanted += hidden;
            CHECK(attended.data()[j] == (hidden ? 1 : 0), "key %d of %d, keep %lld", j, n, (long long) keep);
        }
        CHECK(count == wanted, "%lld keys, not %lld", (long long) count, (long long) wanted);
    }
}

std::vector<double> log_softmax(const float * z, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += std::exp((double) z[i]);
    }
    std::vector<double> out(n);
    for (int i = 0; i < n; i++) {
        out[i] = z[i] - std::log(sum);
    }
    return out;
}

double divergence(int32_t kind, const std::vector<double> & log_p, const std::vector<double> & log_q) {
    double to = 0, from = 0;
    for (size_t i = 0; i < log_p.size(); i++) {
        const double p = std::exp(log_p[i]), q = std::exp(log_q[i]), log_m = std::log((p + q) / 2);
        to += p * (log_p[i] - log_m) + q * (log_q[i] - log_m);
        from += (p + q) / 2 * (2 * log_m - log_p[i] - log_q[i]);
    }
    return (kind == EQK_JENSEN_SHANNON ? to : from) / 2;
}

void exits(int32_t kind, int n, random_numbers & random) {
    guarded<float>     z(n), near(n), far(n);
    std::vector<float> before(n);
    for (int i = 0; i < n; i++) {
        before[i] = z.data()[i] = random.between(-5, 5);
        near.data()[i]          = z.data()[i] + random.between(-0.1, 0.1);
        far.data()[i]           = random.between(-5, 5);
    }
    const float * rows[] = {near.data(), far.data()};
    double        change = -1;
    CHECK(eqk_exits_mean(z.data(), rows, n, 2, 0.3f, &change) == EQK_OK, "mean");
    for (int i = 0; i < n; i++) {
        const double want = 0.7 * before[i] + 0.15 * ((double) near.data()[i] + far.data()[i]);
        CHECK(std::fabs(z.data()[i] - want) <= 8 * 0x1p-24 * 5, "mean [%d]: %g, not %g", i, (double) z.data()[i], want);
        z.data()[i] = before[i];
    }
    const std::vector<double> late = log_softmax(before.data(), n), early = log_softmax(far.data(), n);
    int32_t                   chosen = -1;
    CHECK(eqk_exits_contrast(z.data(), rows, n, 2, 0, kind, &chosen, &change) == EQK_OK, "contrast");
    if (n > 3) {
        CHECK(chosen == 1, "the row that is farther: %d", chosen);
        for (int i = 0; i < n; i++) {
            CHECK(std::fabs(z.data()[i] - (late[i] - early[i])) <= 4 * 0x1p-24 * 20, "contrast [%d]", i);
        }
    }
    z.data()[0] = NAN;
    CHECK(eqk_exits_contrast(z.data(), rows, n, 2, 0, kind, &chosen, &change) == EQK_NOT_FINITE, "a row that is not finite");
    z.data()[0]       = before[0];
    far.data()[n - 1] = NAN;
    CHECK(eqk_exits_contrast(z.data(), rows, n, 2, 0, kind, &chosen, &change) == EQK_NOT_FINITE, "one of them is not finite");
    near.data()[0] = NAN;
    CHECK(eqk_exits_contrast(z.data(), rows, n, 2, 0, kind, &chosen, &change) == EQK_NOT_FINITE, "none of them is finite");
}

// The farthest of many rows, none at another's distance: sums of n terms of either divergence err by some n 2^-53.
void the_farthest(int32_t kind, int n, random_numbers & random) {
    constexpr int                    n_rows = 7;
    guarded<float>                   z(n), early(static_cast<size_t>(n_rows * n));
    std::vector<const float *>       rows;
    std::generate(z.data(), z.data() + n, [&] { return random.between(-9, 9); });
    std::generate(early.data(), early.data() + n_rows * n, [&] { return random.between(-9, 9); });
    const std::vector<double> late = log_softmax(z.data(), n);
    double                    most = -1;
    int32_t                   want = -1, chosen = -1;
    for (int32_t k = 0; k < n_rows; k++) {
        rows.push_back(early.data() + k * n);
        const double apart = divergence(kind, late, log_softmax(rows.back(), n));
        CHECK(std::fabs(apart - most) > 1e-12, "n %d: two rows are as far", n);
        if (apart > most) {
            most = apart;
            want = k;
        }
    }
    double change = -1;
    CHECK(eqk_exits_contrast(z.data(), rows.data(), n, n_rows, 0, kind, &chosen, &change) == EQK_OK && chosen == want,
          "n %d divergence %d: row %d, not %d", n, kind, chosen, want);
}

// Other words are far by the one divergence; by the other it is farther to give a likely word no chance.
void the_divergences_choose_differently() {
    const float   other[]    = {0, 0, 7};
    const float   hopeless[] = {0, -70, -14};
    const float   never[]    = {0, -2000, -14}; // too unlikely for a double
    const float   lacking[]  = {0, -INFINITY, -14};
    const float * rows[]     = {hopeless, other, never, lacking};
    for (int32_t n_rows = 2; n_rows <= 4; n_rows++) {
        for (const int32_t kind : {EQK_JENSEN_SHANNON, EQK_ARITHMETIC_GEOMETRIC}) {
            float         z[]    = {0, 0, -14};
            int32_t       chosen = -1;
            double        change = -1;
            const int32_t want   = kind == EQK_JENSEN_SHANNON ? 1 : n_rows == 2 ? 0 : n_rows - 1;
            CHECK(eqk_exits_contrast(z, rows, 3, n_rows, 0, kind, &chosen, &change) == EQK_OK && chosen == want,
                  "%d of %d by divergence %d", chosen, n_rows, kind);
        }
    }
    // What neither has is of no consequence; a word that one alone has is infinitely far: of such rows the first.
    const float   apart[] = {-9, 0, -INFINITY}, close[] = {0.1f, 0, -INFINITY}, wide[] = {0, 0, 0};
    const float * same[]  = {close, apart}, * more[] = {close, wide, wide};
    float         z[]     = {0, 0, -INFINITY}, again[] = {0, 0, -INFINITY};
    int32_t       chosen  = -1;
    double        change  = -1;
    CHECK(eqk_exits_contrast(z, same, 3, 2, 0, EQK_ARITHMETIC_GEOMETRIC, &chosen, &change) == EQK_OK && chosen == 1, "%d",
          chosen);
    CHECK(std::isfinite(change) && z[2] == -INFINITY, "%g", change);
    CHECK(eqk_exits_contrast(again, more, 3, 3, 0, EQK_ARITHMETIC_GEOMETRIC, &chosen, &change) == EQK_OK && chosen == 1, "%d",
          chosen);
}

void refusals() {
    float         w[2] = {0.5f, 0.5f};
    const uint8_t labels[2] = {3, 9};
    double        change;
    CHECK(eqk_weights_move(w, labels, 2, first, first, 0, 1, &change) == EQK_BAD_ARGUMENT, "to itself");
    CHECK(eqk_weights_move(w, labels, 2, first, second, 0, 1.5f, &change) == EQK_BAD_ARGUMENT, "a fraction above 1");
    CHECK(eqk_weights_move(w, labels, 2, first, second, NAN, 1, &change) == EQK_BAD_ARGUMENT, "NaN");
    CHECK(eqk_scores_raise(w, labels, 0, first, 1, &change) == EQK_BAD_ARGUMENT, "no key");
    CHECK(eqk_weights_sinks(w, labels, nullptr, 2, first, 1, 1, 0, 0, &change) == EQK_BAD_ARGUMENT, "no sinkness");
    const float * rows[] = {w};
    float         z[2]   = {1, 2};
    int32_t       chosen;
    for (const int32_t kind : {-1, 2}) {
        CHECK(eqk_exits_contrast(z, rows, 2, 1, 0, kind, &chosen, &change) == EQK_BAD_ARGUMENT, "divergence %d", kind);
    }
    const int32_t order[2] = {0, 1};
    uint8_t       attended[2];
    int64_t       count;
    CHECK(eqk_keys_attended(w, 2, 1, labels, order, 2, first, -1, attended, &count) == EQK_BAD_ARGUMENT, "less than none");
    CHECK(eqk_keys_attended(w, 1, 1, labels, order, 2, first, 1, attended, &count) == EQK_BAD_ARGUMENT, "rows that meet");
    CHECK(eqk_keys_attended(w, 2, 0, labels, order, 2, first, 1, attended, &count) == EQK_BAD_ARGUMENT, "no head");
    const float unknown[2] = {NAN, 0.5f};
    const uint8_t both[2]  = {3, 3};
    CHECK(eqk_keys_attended(unknown, 2, 1, both, order, 2, first, 1, attended, &count) == EQK_OK && attended[0] == 1 &&
              attended[1] == 0, "what is no number is not least");
    const int32_t beyond = 2, there = 1;
    float         sinkness;
    CHECK(eqk_sinkness(w, 2, &beyond, 1, &sinkness) == EQK_BAD_ARGUMENT, "a dimension beyond the last");
    CHECK(w[0] == 0.5f && w[1] == 0.5f, "a refusal changes nothing");
    const float state[2] = {3, -4};
    CHECK(eqk_sinkness(state, 2, &there, 1, &sinkness) == EQK_OK && std::fabs(sinkness - 4 / std::sqrt(12.5)) <= 1e-6, "%g",
          (double) sinkness);
}

} // namespace

int main() {
    random_numbers random(11);
    for (const int n : {1, 2, 3, 4, 5, 7, 64, 127, 1023}) {
        scores(n, random);
        weights(n, 0, random);
        weights(n, 0.5f, random);
        for (const int32_t kind : {EQK_JENSEN_SHANNON, EQK_ARITHMETIC_GEOMETRIC}) {
            exits(kind, n, random);
            the_farthest(kind, n + 1, random); // of one token all distributions are alike
        }
        least_attended(n, 1, random);
        least_attended(n, 5, random);
    }
    the_divergences_choose_differently();
    refusals();
    return verdict("attention");
}
