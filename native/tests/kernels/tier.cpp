// The cap of EQUIPOISE_KERNELS_TIER, as set by ctest: no argument, "refused NAME" or "capped NAME".

#include "check.h"
#include "equipoise_kernels.h"

int main(int argc, char ** argv) {
    const std::string expectation = argc > 1 ? argv[1] : "free", name = argc > 2 ? argv[2] : "";
    float             row[3] = {1, 2, 3}, nats = 0, max = 0, lse = 0, out[3];
    int64_t           index = 0, kept = 0;
    int32_t           branch      = 0;
    float             coefficient = 1;
    double            delta_sq    = 0;
    eqk_partial       partials[EQK_SLICES];
    const int32_t     want = expectation == "refused" ? EQK_UNAVAILABLE : EQK_OK;

    CHECK(eqk_row_partials(row, 3, 0, EQK_SLICES, partials) == want, "partials");
    CHECK(eqk_argmax(row, 3, &index) == want, "argmax");
    CHECK(eqk_entropy(row, 3, 3, &nats) == want, "entropy");
    CHECK(eqk_contrast_rows(row, 3, 3, &branch, &coefficient, 1, 0, 0, &max, &lse, out, &delta_sq, &kept) == want,
          "contrast");
    if (expectation == "refused") {
        CHECK(partials[0].max != partials[0].max, "partials of a refused call must not look like any");
        CHECK(eqk_tier() == nullptr && eqk_tier_error() != nullptr, "%s", name.c_str());
        const std::string error = eqk_tier_error() ? eqk_tier_error() : "";
        CHECK(error.find(name) != std::string::npos && error.find(" scalar") != std::string::npos, "%s", error.c_str());
        printf("%s\n", error.c_str());
    } else {
        CHECK(eqk_tier() != nullptr && eqk_tier_error() == nullptr, "%s", expectation.c_str());
        CHECK(name.empty() || name == eqk_tier(), "%s, not %s", eqk_tier(), name.c_str());
        printf("tier %s\n", eqk_tier());
    }
    return test::verdict("tier");
}
