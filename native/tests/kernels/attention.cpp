// Edits of attention rows and early exits against their formulas, at sizes with every tail, against guard pages.

#include "check.h"
#include "equipoise_kernels.h"

#include <algorithm>
#include <cmath>
#include <deque>
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

// States of which some are far larger than others, held against each other.
void sinks_among(int n, int width, random_numbers & random) {
    std::deque<guarded<float>> states;
    std::vector<const float *> rows;
    std::vector<float>         all, largest;
    for (int t = 0; t < n; t++) {
        float * h = states.emplace_back((size_t) width).data();
        for (int i = 0; i < width; i++) {
            h[i] = random.between(-1, 1);
        }
        if (t % 3 == 1) {
            h[random.below(width)] = random.between(-300, 300);
        }
        float most = 0;
        for (int i = 0; i < width; i++) {
            most = std::max(most, std::fabs(h[i]));
            all.push_back(std::fabs(h[i]));
        }
        largest.push_back(most);
        rows.push_back(h);
    }
    std::sort(all.begin(), all.end());
    const float      median = all[(all.size() - 1) / 2];
    guarded<uint8_t> sinks((size_t) n);
    for (const float threshold : {0.0f, 0.9f, 100.0f, 1e6f}) {
        for (const float factor : {0.0f, 1.5f, 200.0f}) {
            int64_t found = -1, want = 0;
            CHECK(eqk_sinks_among(rows.data(), n, width, threshold, factor, sinks.data(), &found) == EQK_OK, "sinks");
            for (int t = 0; t < n; t++) {
                const bool is = largest[(size_t) t] >= threshold && largest[(size_t) t] >= (double) factor * median;
                want += is;
                CHECK(sinks[(size_t) t] == is, "state %d of %d by %g and %g", t, n, (double) threshold, (double) factor);
            }
            CHECK(found == want, "%lld sinks, not %lld", (long long) found, (long long) want);
        }
    }
}

// A row whose keys have values, some of which are a prompt's and some of those its sinks.
struct valued {
    static constexpr int width = 24, stride = 40;

    guarded<float>       w, s, values;
    std::vector<int64_t> prompt, sinks;
    std::vector<double>  before;

    valued(int n, double scale, random_numbers & random)
        : w((size_t) n), s((size_t) n), values((size_t) ((n - 1) * stride + width)), before((size_t) n) {
        double sum = 0;
        for (int j = 0; j < n; j++) {
            const bool hidden = random.below(3) == 0;
            s[(size_t) j]     = hidden && random.below(2) == 0 ? NAN : random.between(-30, 30);
            w[(size_t) j]     = hidden ? 0 : random.between(0.01, 1);
            sum += w[(size_t) j];
            if (!std::isnan(s[(size_t) j])) {
                prompt.push_back(j);
            }
            for (int i = 0; i < width; i++) {
                values[(size_t) (j * stride + i)] = random.between(-1, 1.5);
            }
        }
        if (prompt.empty()) {
            prompt.push_back(0);
            s[0] = 1;
        }
        for (const int64_t j : prompt) {
            if (sinks.empty() || random.below(4) == 0) {
                sinks.push_back(j);
                for (int i = 0; i < width; i++) {
                    values[(size_t) (j * stride + i)] *= (float) scale;
                }
            }
        }
        for (int j = 0; j < n; j++) {
            w[(size_t) j] = sum > 0 ? (float) (w[(size_t) j] / sum) : 0;
            // What has no weight and is no sink is not looked at.
            for (int i = 0; i < width && w[(size_t) j] == 0; i++) {
                const bool sink = std::find(sinks.begin(), sinks.end(), j) != sinks.end();
                values[(size_t) (j * stride + i)] = sink ? values[(size_t) (j * stride + i)] : NAN;
            }
            before[(size_t) j] = w[(size_t) j];
        }
    }

    std::vector<double> sum(const std::vector<double> & weights) {
        std::vector<double> o(width);
        for (size_t j = 0; j < weights.size(); j++) {
            for (int i = 0; i < width && weights[j] != 0; i++) {
                o[(size_t) i] += weights[j] * values[j * stride + (size_t) i];
            }
        }
        return o;
    }

    std::vector<double> now() { return {w.data(), w.data() + before.size()}; }

    void expect_change(double change_sq, double tolerance, const char * what) {
        double squared = 0;
        for (size_t j = 0; j < before.size(); j++) {
            squared += (w[j] - before[j]) * (w[j] - before[j]);
        }
        CHECK(std::fabs(change_sq - squared) <= tolerance * (1 + squared), "%s: change %g, not %g", what, change_sq, squared);
    }
};

double dot(const std::vector<double> & a, const std::vector<double> & b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

void gathers(int n, float apart, random_numbers & random) {
    valued       row(n, 1, random);
    const double scale = 0.17f;
    double       most = apart, sum = 0, change = -1;
    for (const int64_t j : row.prompt) {
        most = std::max(most, scale * row.s[(size_t) j]);
    }
    for (const int64_t j : row.prompt) {
        sum += std::exp(scale * row.s[(size_t) j] - most);
    }
    sum += std::exp(apart - most);
    CHECK(eqk_weights_gather(row.w.data(), row.s.data(), n, row.prompt.data(), (int64_t) row.prompt.size(), 0.17f, apart,
                             &change) == EQK_OK, "gather");
    std::vector<double> want((size_t) n);
    for (const int64_t j : row.prompt) {
        want[(size_t) j] = std::exp(scale * row.s[(size_t) j] - most) / sum;
    }
    for (int j = 0; j < n; j++) {
        // One rounding to float of what was computed in double from floats.
        CHECK(std::fabs(row.w[(size_t) j] - want[(size_t) j]) <= 2 * 0x1p-24 * want[(size_t) j], "gather [%d]: %g, not %g", j,
              (double) row.w[(size_t) j], want[(size_t) j]);
    }
    row.expect_change(change, 1e-9, "gather");
}

// Not the weights but what they sum values to is what the method says.
void turns(int n, double scale, float gamma, random_numbers & random) {
    valued                    row(n, scale, random);
    const double              temperature = 0.1f;
    const std::vector<double> o           = row.sum(row.before);
    std::vector<double>       v(valued::width), want = o;
    for (const int64_t j : row.sinks) {
        for (size_t i = 0; i < v.size(); i++) {
            v[i] += (double) row.values[(size_t) j * valued::stride + i] / (double) row.sinks.size();
        }
    }
    const double length = std::sqrt(dot(o, o)), cosine = dot(o, v) / (length * std::sqrt(dot(v, v)));
    double       change = -1;
    CHECK(eqk_weights_turn(row.w.data(), n, row.values.data(), valued::stride, valued::width, row.sinks.data(),
                           (int64_t) row.sinks.size(), gamma, 0.1f, &change) == EQK_OK, "turn");
    if (!(cosine > 0)) {
        CHECK(change == 0 && row.now() == row.before, "what points away, or is nothing, stays");
        return;
    }
    const double c = gamma * std::tanh(cosine / temperature) * dot(o, v) / (dot(v, v) + 1e-8);
    for (size_t i = 0; i < want.size(); i++) {
        want[i] += c * v[i];
    }
    const double              longer = std::sqrt(dot(want, want));
    const std::vector<double> got    = row.sum(row.now());
    // o is summed in float, of up to n products of weights that sum to 1 with values of at most 1.5: each step errs by
    // 2^-24 of the sum so far, and the direction by that against o's length. A sink's weight is rounded once.
    const double tolerance = (1 + gamma) * (n * 0x1p-24 * 1.5 * (1 + 1 / temperature) + 4 * 0x1p-24 * length);
    for (size_t i = 0; i < want.size(); i++) {
        const double expected = want[i] * length / (longer + 1e-8);
        CHECK(std::fabs(got[i] - expected) <= tolerance, "turn [%zu] of %d: %g, not %g", i, n, got[i], expected);
    }
    row.expect_change(change, 1e-5, "turn");
}

// A sink of hardly any length asks for more of it than half precision can multiply by.
void what_is_too_short() {
    float         w[2]      = {1, 0};
    const float   values[4] = {3, 4, 6e-5f, 8e-5f};
    const int64_t sink      = 1;
    double        change;
    CHECK(eqk_weights_turn(w, 2, values, 2, 2, &sink, 1, 100, 0.1f, &change) == EQK_OK, "turn");
    // Both are then multiplied by what keeps the length.
    CHECK(w[0] > 0 && w[0] < 1 && std::fabs(w[1] / w[0] - 32768) <= 0.01, "%g, %g", (double) w[0], (double) w[1]);
}

void refused_turns() {
    float         w[2] = {0.5f, 0.5f}, values[4] = {1, 2, 3, 4};
    const int64_t one = 1, beyond = 2;
    double        change;
    CHECK(eqk_weights_turn(w, 2, values, 2, 2, &beyond, 1, 3, 0.1f, &change) == EQK_BAD_ARGUMENT, "a key beyond the last");
    CHECK(eqk_weights_turn(w, 2, values, 1, 2, &one, 1, 3, 0.1f, &change) == EQK_BAD_ARGUMENT, "values that meet");
    CHECK(eqk_weights_turn(w, 2, values, 2, 2, &one, 0, 3, 0.1f, &change) == EQK_BAD_ARGUMENT, "no key");
    CHECK(eqk_weights_turn(w, 2, values, 2, 2, &one, 1, 0, 0.1f, &change) == EQK_BAD_ARGUMENT, "nothing to add");
    CHECK(eqk_weights_turn(w, 2, values, 2, 2, &one, 1, 3, 0, &change) == EQK_BAD_ARGUMENT, "no temperature");
    CHECK(eqk_weights_gather(w, values, 2, &one, 1, NAN, -INFINITY, &change) == EQK_BAD_ARGUMENT, "a scale of NaN");
    CHECK(eqk_weights_gather(w, values, 2, &beyond, 1, 1, -INFINITY, &change) == EQK_BAD_ARGUMENT, "a key beyond the last");
    CHECK(w[0] == 0.5f && w[1] == 0.5f, "a refusal changes nothing");
    const float * rows[] = {values};
    uint8_t       sinks;
    int64_t       n_sinks;
    CHECK(eqk_sinks_among(rows, 0, 4, 1, 1, &sinks, &n_sinks) == EQK_BAD_ARGUMENT, "no state");
    CHECK(eqk_sinks_among(rows, 1, 4, NAN, 1, &sinks, &n_sinks) == EQK_BAD_ARGUMENT, "a threshold of NaN");
    CHECK(eqk_sinks_among(rows, 1, 4, 1, -1, &sinks, &n_sinks) == EQK_BAD_ARGUMENT, "a factor below 0");
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
        sinks_among(n, 5, random);
        gathers(n, -INFINITY, random);
        gathers(n, 2.5f, random);
        for (const double scale : {1.0, -1.0, 0.01}) {
            turns(n, scale, 3, random);
            turns(n, scale, 0.5f, random);
        }
    }
    what_is_too_short();
    refused_turns();
    the_divergences_choose_differently();
    refusals();
    return verdict("attention");
}
