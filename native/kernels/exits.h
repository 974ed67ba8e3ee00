// The arithmetic of early exits that the CPU's loops and the CUDA kernels share, one token at a time.
#ifndef EQK_EXITS_H
#define EQK_EXITS_H

#include "arith.h"

namespace eqk {

// A token's part in twice the Jensen-Shannon divergence of two distributions, in nats.
EQK_SHARED double divergence_to_mean(double p, double q) {
    const double m = 0.5 * (p + q);
    return (p > 0 ? p * log(p / m) : 0) + (q > 0 ? q * log(q / m) : 0);
}

// And in twice the arithmetic-geometric one. Of log-probabilities: a token too unlikely for a double still counts.
EQK_SHARED double divergence_from_mean(double log_p, double log_q) {
    const double m = 0.5 * (exp(log_p) + exp(log_q));
    return m > 0 ? m * ((log(m) - log_p) + (log(m) - log_q)) : 0;
}

EQK_SHARED double divergence_of(int32_t kind, double log_p, double log_q) {
    return kind == EQK_JENSEN_SHANNON ? divergence_to_mean(exp(log_p), exp(log_q)) : divergence_from_mean(log_p, log_q);
}

// The least logit that a row with this maximum keeps.
EQK_SHARED double exits_cut(float largest, float relative_top) {
    return static_cast<double>(largest) + log(static_cast<double>(relative_top));
}

EQK_SHARED bool exits_keep(float z, double cut) { return !(z < cut || z == -INFINITY); }

EQK_SHARED double exits_mixed(double z, double mean, float weight) {
    return (1 - static_cast<double>(weight)) * z + weight * mean;
}

// What is dropped has no finite change, and is not counted.
EQK_SHARED double exits_change(float before, float after) {
    return after == -INFINITY ? 0 : static_cast<double>(after) - before;
}

} // namespace eqk

#endif
