// The vector exponential at every STRIDE-th float it is made for: exp_main TIER STRIDE. Stride 1 takes seconds.

#include "group.h"

// exp_lanes.cpp, compiled for the tier: the largest error found, relative to the exponential.
double largest_exp_error(uint32_t stride, float & at);

int main(int argc, char ** argv) {
    if (!test::runs_as(argc, argv)) {
        return test::skipped;
    }
    float        at    = 0;
    const double error = largest_exp_error(argc > 2 ? static_cast<uint32_t>(atoi(argv[2])) : 1, at);
    printf("largest relative error %.3f u at %a\n", error / test::u, at);
    CHECK(error <= test::exp_bound, "%g", error);
    return test::verdict(eqk_tier());
}
