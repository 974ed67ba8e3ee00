// Partials, log-sum-exp, argmax and entropy of one row, against the reference.

#include "group.h"

using namespace test;

namespace {

void one_row(int64_t n, kind k, random_numbers & random) {
    guarded<float> row(static_cast<size_t>(n));
    fill_row(row.data(), n, k, random);
    const soft want = softmax_of(row.data(), n);

    between_sentinels<eqk_partial> partials(EQK_SLICES);
    CHECK(eqk_row_partials(row.data(), n, 0, EQK_SLICES, partials.data()) == EQK_OK, "n %ld", n);
    CHECK(partials.intact(), "n %ld", n);
    int64_t covered = 0;
    for (int32_t s = 0; s < EQK_SLICES; s++) {
        int64_t first = -1, last = -1;
        CHECK(eqk_slice_bounds(n, s, &first, &last) == EQK_OK && first == covered && last <= n, "n %ld slice %d", n, s);
        covered = last;
        const soft of_slice = softmax_of(row.data() + first, last - first);
        CHECK(partials[s].max == of_slice.max, "n %ld slice %d", n, s);
        if (of_slice.max > -INFINITY) {
            CHECK(of_slice.sum.holds(partials[s].sum_exp), "n %ld slice %d: %.9g, not %.9g", n, s, partials[s].sum_exp,
                  of_slice.sum.value);
        } else {
            CHECK(partials[s].sum_exp == 0, "n %ld slice %d", n, s);
        }
    }
    CHECK(covered == n, "n %ld", n);

    float max = 0, lse = 0, nats = 0;
    CHECK(eqk_row_reduce(partials.data(), &max, &lse) == EQK_OK, "n %ld", n);
    CHECK(max == want.max && want.lse.holds(lse), "n %ld: %.9g, not %.9g", n, lse, want.lse.value);
    CHECK(eqk_entropy(row.data(), n, max, &nats) == EQK_OK, "n %ld", n);
    CHECK(want.entropy.holds(nats), "n %ld: %.9g, not %.9g within %g", n, nats, want.entropy.value,
          want.entropy.tolerance);

    int64_t index = -1, first = 0;
    CHECK(eqk_argmax(row.data(), n, &index) == EQK_OK, "n %ld", n);
    while (row[static_cast<size_t>(first)] != want.max) {
        first++;
    }
    CHECK(index == first, "n %ld: %ld, not %ld", n, index, first);
}

// Any split of the slices among threads gives the same bits.
void split_does_not_matter(random_numbers & random) {
    const int64_t  n = 4099;
    guarded<float> row(n);
    fill_row(row.data(), n, kind::usual, random);
    eqk_partial whole[EQK_SLICES], parts[EQK_SLICES];
    eqk_row_partials(row.data(), n, 0, EQK_SLICES, whole);
    for (const int threads : {2, 3, 7, 64}) {
        memset(parts, 0xA5, sizeof(parts));
        for (int t = threads - 1; t >= 0; t--) {
            eqk_row_partials(row.data(), n, EQK_SLICES * t / threads, EQK_SLICES * (t + 1) / threads, parts);
        }
        CHECK(memcmp(whole, parts, sizeof(whole)) == 0, "%d threads", threads);
    }
}

void ties_and_masks() {
    for (const int64_t n : sizes()) {
        guarded<float> row(static_cast<size_t>(n));
        float          max = 0, lse = 0, nats = 0;
        int64_t        index = -1;
        for (int64_t at : {int64_t{0}, n / 2, n - 1}) { // the first of several equals, among masked ones
            for (int64_t i = 0; i < n; i++) {
                row[static_cast<size_t>(i)] = i < at ? -INFINITY : 7.5f;
            }
            CHECK(eqk_argmax(row.data(), n, &index) == EQK_OK && index == at, "n %ld: %ld, not %ld", n, index, at);
            eqk_partial partials[EQK_SLICES];
            CHECK(eqk_row_partials(row.data(), n, 0, EQK_SLICES, partials) == EQK_OK, "n %ld", n);
            CHECK(eqk_row_reduce(partials, &max, &lse) == EQK_OK && max == 7.5f, "n %ld", n);
            const double want = std::log(static_cast<double>(n - at)); // uniform over the rest
            CHECK(std::fabs(lse - 7.5 - want) <= 30 * u, "n %ld: %.9g", n, lse);
            CHECK(eqk_entropy(row.data(), n, max, &nats) == EQK_OK && std::fabs(nats - want) <= 20 * u, "n %ld", n);
        }
        for (int64_t i = 0; i < n; i++) {
            row[static_cast<size_t>(i)] = -INFINITY;
        }
        eqk_partial partials[EQK_SLICES];
        CHECK(eqk_argmax(row.data(), n, &index) == EQK_EMPTY_ROW && index == -1, "n %ld", n);
        CHECK(eqk_row_partials(row.data(), n, 0, EQK_SLICES, partials) == EQK_OK, "n %ld", n);
        CHECK(eqk_row_reduce(partials, &max, &lse) == EQK_EMPTY_ROW, "n %ld", n);
        CHECK(max == -INFINITY && lse == -INFINITY, "n %ld", n);
        CHECK(eqk_entropy(row.data(), n, max, &nats) == EQK_EMPTY_ROW && std::isnan(nats), "n %ld", n);
    }
}

// One NaN or infinity anywhere is seen by every function, whichever lane or tail it falls into.
void not_finite_anywhere(random_numbers & random) {
    for (const int64_t n : sizes()) {
        guarded<float> row(static_cast<size_t>(n));
        fill_row(row.data(), n, kind::usual, random);
        for (int64_t at = 0; at < n; at += n <= 257 ? 1 : 1 + random.below(static_cast<int>(n / 16))) {
            for (const float bad : {NAN, -NAN, INFINITY}) {
                float &     place = row[static_cast<size_t>(at)];
                const float kept  = place;
                place             = bad;
                eqk_partial partials[EQK_SLICES];
                float       max = 0, lse = 0, nats = 0;
                int64_t     index = 0;
                CHECK(eqk_row_partials(row.data(), n, 0, EQK_SLICES, partials) == EQK_NOT_FINITE, "n %ld at %ld", n,
                      at);
                CHECK(eqk_row_reduce(partials, &max, &lse) == EQK_NOT_FINITE, "n %ld at %ld", n, at);
                CHECK(std::isnan(max) && std::isnan(lse), "n %ld at %ld", n, at);
                CHECK(eqk_entropy(row.data(), n, max, &nats) == EQK_NOT_FINITE && std::isnan(nats), "n %ld", n);
                CHECK(eqk_argmax(row.data(), n, &index) == EQK_NOT_FINITE && index == -1, "n %ld at %ld", n, at);
                place = kept;
            }
        }
    }
}

void bad_arguments() {
    float       row[4] = {1, 2, 3, 4}, max = 0, lse = 0, nats = 0;
    int64_t     index = 0, first = 0, last = 0;
    eqk_partial partials[EQK_SLICES];
    eqk_row_partials(row, 4, 0, EQK_SLICES, partials);
    const int64_t too_many = int64_t{1} << 31;
    for (const int64_t n : {int64_t{0}, int64_t{-1}, too_many, INT64_MAX, INT64_MIN}) {
        CHECK(eqk_row_partials(row, n, 0, EQK_SLICES, partials) == EQK_BAD_ARGUMENT, "n %ld", n);
        CHECK(eqk_argmax(row, n, &index) == EQK_BAD_ARGUMENT, "n %ld", n);
        CHECK(eqk_entropy(row, n, 4, &nats) == EQK_BAD_ARGUMENT, "n %ld", n);
        CHECK(eqk_slice_bounds(n, 0, &first, &last) == EQK_BAD_ARGUMENT, "n %ld", n);
    }
    CHECK(eqk_row_partials(nullptr, 4, 0, 1, partials) == EQK_BAD_ARGUMENT, "row");
    CHECK(eqk_row_reduce(partials, &max, &lse) == EQK_NOT_FINITE, "what a refused call leaves");
    CHECK(eqk_row_partials(row, 4, 0, 1, nullptr) == EQK_BAD_ARGUMENT, "partials");
    CHECK(eqk_row_partials(row, 4, -1, 1, partials) == EQK_BAD_ARGUMENT, "slice_first");
    CHECK(eqk_row_partials(row, 4, 2, 1, partials) == EQK_BAD_ARGUMENT, "slices");
    CHECK(eqk_row_partials(row, 4, 0, EQK_SLICES + 1, partials) == EQK_BAD_ARGUMENT, "slice_last");
    CHECK(eqk_row_partials(row, 4, 3, 3, partials) == EQK_OK, "no slice is some slices");
    CHECK(eqk_row_reduce(nullptr, &max, &lse) == EQK_BAD_ARGUMENT, "partials");
    CHECK(eqk_row_reduce(partials, nullptr, &lse) == EQK_BAD_ARGUMENT, "max");
    CHECK(eqk_row_reduce(partials, &max, nullptr) == EQK_BAD_ARGUMENT, "lse");
    CHECK(eqk_argmax(nullptr, 4, &index) == EQK_BAD_ARGUMENT, "row");
    CHECK(eqk_argmax(row, 4, nullptr) == EQK_BAD_ARGUMENT, "index");
    CHECK(eqk_entropy(row, 4, 4, nullptr) == EQK_BAD_ARGUMENT, "nats");
    CHECK(eqk_slice_bounds(4, -1, &first, &last) == EQK_BAD_ARGUMENT, "slice");
    CHECK(eqk_slice_bounds(4, EQK_SLICES, &first, &last) == EQK_BAD_ARGUMENT, "slice");
    for (int32_t status = -1; status <= 6; status++) {
        CHECK(eqk_status_text(status) && *eqk_status_text(status), "status %d", status);
    }
    CHECK(eqk_abi_version() == EQK_ABI_VERSION, "%u", eqk_abi_version());
}

} // namespace

int main(int argc, char ** argv) {
    if (!runs_as(argc, argv)) {
        return skipped;
    }
    random_numbers random(1);
    for (const int64_t n : sizes()) {
        for (const kind k : {kind::usual, kind::wide, kind::flat, kind::masked}) {
            one_row(n, k, random);
        }
    }
    split_does_not_matter(random);
    ties_and_masks();
    not_finite_anywhere(random);
    bad_arguments();
    return verdict(eqk_tier());
}
