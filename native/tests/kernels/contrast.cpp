// eqk_contrast and eqk_contrast_rows against the reference, and what holds by definition.

#include "group.h"

#include <thread>

using namespace test;

namespace {

void agrees(group & g, const char * what) {
    between_sentinels<float> out(static_cast<size_t>(g.n_vocab));
    double                   delta_sq = -1;
    int64_t                  kept     = -1;
    const int32_t            status   = g.run(out.data(), delta_sq, kept);

    eqk_contrast_partial       unused[EQK_SLICES];
    const contrast_expectation want = contrast_of(g.args(nullptr, unused));
    CHECK(out.intact(), "%s n %ld", what, g.n_vocab);
    CHECK(status == (want.kept > 0 ? EQK_OK : EQK_EMPTY_ROW), "%s n %ld: %s", what, g.n_vocab, eqk_status_text(status));
    for (int64_t y = 0; y < g.n_vocab; y++) {
        const expected & w = want.out[static_cast<size_t>(y)];
        const float      o = out[static_cast<size_t>(y)];
        if (w.tolerance < 0) {
            CHECK(o == -INFINITY, "%s n %ld y %ld: %.9g should be masked", what, g.n_vocab, y, o);
        } else {
            CHECK(w.holds(o), "%s n %ld y %ld: %.9g, not %.9g", what, g.n_vocab, y, o, w.value);
        }
    }
    if (want.kept > 0) {
        CHECK(kept == want.kept, "%s n %ld: kept %ld, not %ld", what, g.n_vocab, kept, want.kept);
        CHECK(want.delta_sq.holds(delta_sq), "%s n %ld: %.9g, not %.9g", what, g.n_vocab, delta_sq,
              want.delta_sq.value);
    }
}

void against_reference(random_numbers & random) {
    for (const int64_t n : sizes()) {
        for (const int32_t branches : {1, 2, 3, 4, 17}) {
            if (n > 5000 && branches > 4) {
                continue;
            }
            for (const kind k : {kind::usual, kind::wide, kind::flat}) {
                group g(n, branches, random.below(20), k, random);
                g.log_probabilities = random.below(2);
                for (const float beta : {0.0f, 0.1f, 1.0f}) {
                    g.beta = beta;
                    agrees(g, "contrast");
                }
            }
        }
    }
}

void output_at_the_guard_page(random_numbers & random) {
    for (const int64_t n : sizes()) {
        group          g(n, 2, 0, kind::usual, random);
        guarded<float> out(static_cast<size_t>(n));
        double         delta_sq = 0;
        int64_t        kept     = 0;
        CHECK(g.run(out.data(), delta_sq, kept) == EQK_OK, "n %ld", n);
    }
}

// Writing over one of the rows gives the bits that writing elsewhere gives.
void in_place(random_numbers & random) {
    for (const int64_t n : sizes()) {
        for (int32_t over = 0; over < 3; over++) {
            group              g(n, 3, 5, kind::usual, random);
            std::vector<float> apart(static_cast<size_t>(n));
            double             delta_apart = 0, delta_over = 0;
            int64_t            kept_apart = 0, kept_over = 0;
            CHECK(g.run(apart.data(), delta_apart, kept_apart) == EQK_OK, "n %ld", n);
            CHECK(g.run(g.row(over), delta_over, kept_over) == EQK_OK, "n %ld", n);
            CHECK(memcmp(apart.data(), g.row(over), apart.size() * sizeof(float)) == 0, "n %ld over %d", n, over);
            CHECK(delta_apart == delta_over && kept_apart == kept_over, "n %ld over %d", n, over);
        }
    }
}

// In place, in slices shared by threads, in any order: the bits of one call, marks of other slices left alone.
void shared_by_threads(random_numbers & random) {
    for (const int64_t n : {int64_t{1}, int64_t{33}, int64_t{1025}, int64_t{32001}}) {
        group                g(n, 2, 3, kind::usual, random);
        std::vector<float>   whole(static_cast<size_t>(n));
        double               delta_whole = 0, delta_parts = 0;
        int64_t              kept_whole = 0, kept_parts = 0;
        CHECK(g.run(whole.data(), delta_whole, kept_whole) == EQK_OK, "n %ld", n);

        eqk_contrast_partial     report[EQK_SLICES];
        std::vector<std::thread> threads;
        for (int t = 0; t < 3; t++) {
            threads.emplace_back([&, t] {
                eqk_contrast_args a = g.args(g.row(0), report);
                a.slice_first       = EQK_SLICES * t / 3;
                a.slice_last        = EQK_SLICES * (t + 1) / 3;
                if (eqk_contrast(&a) != EQK_OK) {
                    abort();
                }
            });
        }
        for (std::thread & t : threads) {
            t.join();
        }
        CHECK(eqk_contrast_reduce(report, &delta_parts, &kept_parts) == EQK_OK, "n %ld", n);
        CHECK(memcmp(whole.data(), g.row(0), whole.size() * sizeof(float)) == 0, "n %ld", n);
        CHECK(delta_whole == delta_parts && kept_whole == kept_parts, "n %ld", n);
    }
}

void identities(random_numbers & random) {
    for (const int64_t n : {int64_t{5}, int64_t{33}, int64_t{1000}}) {
        std::vector<float> out(static_cast<size_t>(n));
        double             delta_sq = 0;
        int64_t            kept     = 0;

        group one(n, 1, 0, kind::masked, random); // plain decoding
        one.beta = 0;
        CHECK(one.run(out.data(), delta_sq, kept) == EQK_OK && delta_sq == 0, "n %ld", n);
        for (int64_t y = 0; y < n; y++) {
            CHECK(out[static_cast<size_t>(y)] == one.row(0)[y], "n %ld y %ld", n, y);
        }

        group twice(n, 2, 0, kind::usual, random); // a branch against itself
        twice.row_index[1] = twice.row_index[0];
        twice.beta         = 0;
        CHECK(twice.run(out.data(), delta_sq, kept) == EQK_OK && kept == n, "n %ld", n);
        for (int64_t y = 0; y < n; y++) {
            const double z         = twice.row(0)[y];
            const double magnitude = std::fabs(twice.coefficient[0] * z) + std::fabs(twice.coefficient[1] * z);
            // Coefficients sum to 1 but for one rounding of theirs.
            CHECK(std::fabs(out[static_cast<size_t>(y)] - z) <= 5 * u * magnitude + FLT_MIN, "n %ld y %ld", n, y);
        }

        group strict(n, 3, 0, kind::usual, random); // beta 1: the maximum alone
        strict.beta = 1;
        strict.row(0)[n / 2] = 100;
        CHECK(strict.run(out.data(), delta_sq, kept) == EQK_OK && kept == 1, "n %ld", n);
        int64_t index = -1;
        CHECK(eqk_argmax(out.data(), n, &index) == EQK_OK && index == n / 2, "n %ld", n);
    }
}

void masked_logits(random_numbers & random) {
    for (const int64_t n : sizes()) {
        if (n < 2) {
            continue;
        }
        group both(n, 2, 1, kind::masked, random); // what one branch masks the base masks too: no harm done
        both.beta = 0;
        agrees(both, "masked");

        for (int64_t at = 0; at < n; at += n <= 257 ? 1 : n / 9) {
            group g(n, 3, 0, kind::usual, random);
            g.beta         = 0;
            g.row(2)[at]   = -INFINITY;
            g.coefficient  = {1, 0.5f, 0};
            agrees(g, "masked with coefficient 0");
            g.coefficient = {1, 0.5f, 0.25f};
            agrees(g, "masked with a positive coefficient");

            std::vector<float> out(static_cast<size_t>(n));
            double             delta_sq = 0;
            int64_t            kept = -1, index = 0;
            g.coefficient = {1, 0.5f, -0.25f};
            CHECK(g.run(out.data(), delta_sq, kept) == EQK_NOT_FINITE && kept == 0, "n %ld at %ld", n, at);
            CHECK(std::isnan(out[static_cast<size_t>(at)]) && std::isnan(delta_sq), "n %ld at %ld", n, at);
            CHECK(eqk_argmax(out.data(), n, &index) == EQK_NOT_FINITE && index == -1, "n %ld at %ld", n, at);
        }
    }
}

void not_finite_and_empty(random_numbers & random) {
    for (const int64_t n : sizes()) {
        for (int32_t branch = 0; branch < 3; branch++) {
            group              g(n, 3, 0, kind::usual, random);
            std::vector<float> out(static_cast<size_t>(n));
            double             delta_sq = 0;
            int64_t            kept = -1, index = 0;
            const int64_t      at = random.below(static_cast<int>(n));
            const float        before = g.row(branch)[at];
            g.coefficient[2]          = 0; // even a branch that has no say
            g.row(branch)[at]         = random.below(2) ? NAN : INFINITY;
            CHECK(g.run(out.data(), delta_sq, kept) == EQK_NOT_FINITE, "n %ld branch %d", n, branch);
            CHECK(kept == 0 && std::isnan(delta_sq), "n %ld branch %d", n, branch);
            for (const float o : out) {
                CHECK(std::isnan(o), "n %ld branch %d", n, branch);
            }
            CHECK(eqk_argmax(out.data(), n, &index) == EQK_NOT_FINITE && index == -1, "n %ld", n);

            g.row(branch)[at] = before;
            for (int64_t y = 0; y < n; y++) {
                g.row(branch)[y] = -INFINITY;
            }
            CHECK(g.run(out.data(), delta_sq, kept) == EQK_EMPTY_ROW && std::isnan(out[0]), "n %ld", n);
            g.row((branch + 1) % 3)[0] = NAN; // outweighs the empty one
            CHECK(g.run(out.data(), delta_sq, kept) == EQK_NOT_FINITE, "n %ld", n);
        }
    }
    group              big(40, 2, 0, kind::usual, random); // a sum beyond a float
    std::vector<float> out(40);
    double             delta_sq = 0;
    int64_t            kept     = 0;
    big.row(0)[17]      = 3e38f;
    big.row(1)[17]      = 3e38f;
    big.coefficient     = {1, 1};
    CHECK(big.run(out.data(), delta_sq, kept) == EQK_NOT_FINITE && std::isnan(out[17]), "overflow");
}

void bad_arguments(random_numbers & random) {
    group                                   g(33, 2, 0, kind::usual, random);
    between_sentinels<float>                out(33);
    between_sentinels<eqk_contrast_partial> report(EQK_SLICES);
    double                                  delta_sq = 0;
    int64_t                                 kept     = 0;
    g.reduce_rows();
    const eqk_contrast_args good = g.args(out.data(), report.data());
    const float             nan = NAN, negative = -0.1f, above = 1.1f;
    const float             infinite[] = {INFINITY, 1}, no_number[] = {1, NAN};
    const int32_t           below[]    = {0, -1};

    std::vector<eqk_contrast_args> bad;
    const auto                     with = [&](auto && change) { change(bad.emplace_back(good)); };
    with([](auto & a) { a.rows = nullptr; });
    with([](auto & a) { a.row_index = nullptr; });
    with([](auto & a) { a.coefficient = nullptr; });
    with([](auto & a) { a.beta = nullptr; });
    with([](auto & a) { a.row_max = nullptr; });
    with([](auto & a) { a.row_lse = nullptr; });
    with([](auto & a) { a.out = nullptr; });
    with([](auto & a) { a.report = nullptr; });
    with([](auto & a) { a.stride = 32; });
    with([](auto & a) { a.n_vocab = 0; });
    with([](auto & a) { a.n_branches = 0; });
    with([](auto & a) { a.log_probabilities = 2; });
    with([](auto & a) { a.slice_first = -1; });
    with([](auto & a) { a.slice_last = EQK_SLICES + 1; });
    with([](auto & a) { a.slice_first = 5, a.slice_last = 4; });
    with([&](auto & a) { a.beta = &nan; });
    with([&](auto & a) { a.beta = &negative; });
    with([&](auto & a) { a.beta = &above; });
    with([&](auto & a) { a.coefficient = infinite; });
    with([&](auto & a) { a.coefficient = no_number; });
    with([&](auto & a) { a.row_index = below; });
    for (size_t i = 0; i < bad.size(); i++) {
        CHECK(eqk_contrast(&good) == EQK_OK, "before bad %zu", i);
        CHECK(eqk_contrast(&bad[i]) == EQK_BAD_ARGUMENT, "bad %zu", i);
        const bool slices = bad[i].slice_first >= 0 && bad[i].slice_first <= bad[i].slice_last &&
                            bad[i].slice_last <= EQK_SLICES;
        // The reader of the results finds out, though the caller did not look.
        CHECK(eqk_contrast_reduce(report.data(), &delta_sq, &kept) ==
                  (slices && bad[i].report ? EQK_BAD_ARGUMENT : EQK_OK), "bad %zu", i);
        CHECK(std::isnan(out[0]) == (slices && bad[i].out && bad[i].n_vocab > 0), "bad %zu", i);
    }
    CHECK(out.intact() && report.intact(), "a refused call wrote elsewhere");
    CHECK(eqk_contrast(nullptr) == EQK_BAD_ARGUMENT, "args");
    CHECK(eqk_contrast_reduce(nullptr, &delta_sq, &kept) == EQK_BAD_ARGUMENT, "report");
    CHECK(eqk_contrast(&good) == EQK_OK && out.intact() && report.intact(), "the good one");
}

} // namespace

int main(int argc, char ** argv) {
    if (!runs_as(argc, argv)) {
        return skipped;
    }
    random_numbers random(2);
    against_reference(random);
    output_at_the_guard_page(random);
    in_place(random);
    shared_by_threads(random);
    identities(random);
    masked_logits(random);
    not_finite_and_empty(random);
    bad_arguments(random);
    return verdict(eqk_tier());
}
