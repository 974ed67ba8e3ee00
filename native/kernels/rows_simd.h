/*
 * The kernels of every vector tier, written once over a type L of lanes (lanes_avx2.h and its siblings). Floats are
 * combined in vectors and summed in doubles, so the length of a row costs no accuracy.
 *
 * L gives: width (lanes), F (floats), M (a mask), D (doubles to sum into) and the operations used below, each one or
 * two instructions. load_first and store_first touch the first n < width elements of memory and not a byte more.
 */
#ifndef EQK_ROWS_SIMD_H
#define EQK_ROWS_SIMD_H

#include "kernel_list.h"

#include <cfloat>

namespace eqk {

namespace {

constexpr float infinity = __builtin_inff();

/*
 * exp(x) for x <= 0 or -inf; 0 below -87, where the true value is under 1.7e-38.
 *
 * x = k ln 2 + r, |r| <= 0.3466; exp(r) = 1 + r + r^2 q(r). With u = 2^-24 the error relative to exp(x) is at most
 *   0.07 u  q, a minimax polynomial of degree 4 (3.7e-9 with float coefficients)
 *   0.30 u  r: k * ln2_high is exact (9 bits times 7) and so is its difference to x; the product with ln2_low, its
 *           representation and the last subtraction (|r| < 1/2: u/4) remain
 *   0.35 u  r^2 q: a few roundings of something below 0.07
 *   0.36 u  r + r^2 q, at most 0.42, rounded: u/4, on exp(r) >= 0.707
 *   1.00 u  the sum with 1, rounded; scaling by 2^k is exact
 * together under 2.1 u, with or without fused multiply-add. The tests go through the floats and find 1.43 u at worst.
 */
template <class L> inline typename L::F exp_nonpositive(typename L::F x) {
    using F            = typename L::F;
    constexpr float lowest = -87.0f;
    const F in_range = L::max(x, L::set(lowest));
    const F k        = L::round(L::mul(in_range, L::set(1.44269504f)));
    const F high     = L::multiply_add(k, L::set(-0.693359375f), in_range);
    const F r        = L::multiply_add(k, L::set(2.12194440e-4f), high);
    F       q        = L::set(0x1.6a23d0p-10f);
    q                = L::multiply_add(q, r, L::set(0x1.123a20p-7f));
    q                = L::multiply_add(q, r, L::set(0x1.5558f2p-5f));
    q                = L::multiply_add(q, r, L::set(0x1.555492p-3f));
    q                = L::multiply_add(q, r, L::set(0x1.fffffcp-2f));
    const F p        = L::add(L::multiply_add(L::mul(r, r), q, r), L::set(1.0f));
    return L::select(L::at_least(x, L::set(lowest)), L::mul(p, L::power_of_two(k)), L::set(0.0f));
}

// Calls whole(i) for the index of each full vector in [first, last), then tail(i, n) for the n elements left, if any.
template <class L, class Whole, class Tail>
inline void for_vectors(int64_t first, int64_t last, Whole && whole, Tail && tail) {
    int64_t i = first;
    for (; i + L::width <= last; i += L::width) {
        whole(i);
    }
    if (i < last) {
        tail(i, static_cast<int>(last - i));
    }
}

template <class L> float maximum(const float * x, int64_t n) {
    using F = typename L::F;
    using M = typename L::M;
    F          max  = L::set(-infinity);
    M          bad  = L::nowhere();
    const auto take = [&](F v) {
        bad = L::either(bad, L::not_less(v, L::set(infinity)));
        max = L::max(max, v);
    };
    for_vectors<L>(0, n, [&](int64_t i) { take(L::load(x + i)); },
                   [&](int64_t i, int left) { take(L::load_first(x + i, left, -infinity)); });
    return L::any(bad) ? __builtin_nanf("") : L::largest(max);
}

template <class L> double sum_exp(const float * x, int64_t n, float max) {
    using F = typename L::F;
    typename L::D sum  = L::zero_sum();
    const F       from = L::set(max);
    const auto    take = [&](F v) { sum = L::accumulate(sum, exp_nonpositive<L>(L::sub(v, from))); };
    for_vectors<L>(0, n, [&](int64_t i) { take(L::load(x + i)); },
                   [&](int64_t i, int left) { take(L::load_first(x + i, left, -infinity)); });
    return L::total(sum);
}

template <class L> exp_sums sum_exp_weighted(const float * x, int64_t n, float max) {
    using F = typename L::F;
    typename L::D plain = L::zero_sum(), weighted = L::zero_sum();
    const F       from = L::set(max);
    const auto    take = [&](F v) {
        const F d = L::sub(v, from);
        const F e = exp_nonpositive<L>(d);
        plain     = L::accumulate(plain, e);
        // Beyond -88 e is 0, and a masked logit must not make 0 * inf of it.
        weighted = L::accumulate(weighted, L::mul(e, L::sub(L::set(0.0f), L::max(d, L::set(-88.0f)))));
    };
    for_vectors<L>(0, n, [&](int64_t i) { take(L::load(x + i)); },
                   [&](int64_t i, int left) { take(L::load_first(x + i, left, -infinity)); });
    return {L::total(plain), L::total(weighted)};
}

template <class L> int64_t find(const float * x, int64_t n, float value) {
    const typename L::F wanted = L::set(value);
    int64_t             i      = 0;
    while (i + L::width <= n && !L::any(L::equal(L::load(x + i), wanted))) {
        i += L::width;
    }
    while (i < n && x[i] != value) { // inside the vector that holds it, or in the tail
        i++;
    }
    return i;
}

template <class L> struct contrast_sink {
    typename L::D delta_sq = L::zero_sum();
    typename L::M bad      = L::nowhere();
    int64_t       kept     = 0;

    typename L::F take(typename L::F logit, typename L::F base, typename L::F sum, typename L::F cut_off) {
        using F = typename L::F;
        using M = typename L::M;
        const F masked = L::set(-infinity);
        const M wanted = L::at_least(logit, cut_off);
        const M broken = L::both(wanted, L::not_less(sum, L::set(infinity)));
        const M keep   = L::both(wanted, L::at_least(sum, L::set(-FLT_MAX)));
        const F delta  = L::select(keep, L::sub(sum, base), L::set(0.0f));
        bad            = L::either(bad, broken);
        kept += L::count(keep);
        delta_sq = L::accumulate_square(delta_sq, delta);
        return L::select(broken, L::set(__builtin_nanf("")), L::select(wanted, sum, masked));
    }
};

/*
 * Four vectors at a time, so that a branch's coefficient, offset and address are fetched once for all four. Everything
 * is loaded before anything is stored: out may be one of the rows.
 */
template <class L> combined contrast(const combination & c, float cut_off, int64_t first, int64_t last, float * out) {
    using F = typename L::F;
    constexpr int    unroll = 4; // in the pragmas too: -O2 would leave the loops, and the sums in memory
    const F          limit  = L::set(cut_off);
    contrast_sink<L> sink;

    const auto row    = [&](int32_t b) { return c.rows + c.row_index[b] * c.stride; };
    const auto offset = [&](int32_t b) { return L::set(c.offset ? c.offset[b] : 0.0f); };

    int64_t y = first;
    for (; y + unroll * L::width <= last; y += unroll * L::width) {
        F sum[unroll];
#pragma GCC unroll 4
        for (int v = 0; v < unroll; v++) {
            sum[v] = L::set(0.0f);
        }
        for (int32_t b = 0; b < c.n_branches; b++) {
            if (c.coefficient[b] == 0) { // 0 * -inf would be NaN
                continue;
            }
            const F       factor = L::set(c.coefficient[b]);
            const F       shift  = offset(b);
            const float * values = row(b) + y;
#pragma GCC unroll 4
            for (int v = 0; v < unroll; v++) {
                sum[v] = L::multiply_add(factor, L::sub(L::load(values + v * L::width), shift), sum[v]);
            }
        }
        const F shift = offset(0);
#pragma GCC unroll 4
        for (int v = 0; v < unroll; v++) {
            const F logit = L::load(row(0) + y + v * L::width);
            L::store(out + y + v * L::width, sink.take(logit, L::sub(logit, shift), sum[v], limit));
        }
    }
    const auto combine = [&](auto && load) { // the same for one vector
        F sum = L::set(0.0f);
        for (int32_t b = 0; b < c.n_branches; b++) {
            if (c.coefficient[b] != 0) {
                sum = L::multiply_add(L::set(c.coefficient[b]), L::sub(load(row(b)), offset(b)), sum);
            }
        }
        const F logit = load(row(0));
        return sink.take(logit, L::sub(logit, offset(0)), sum, limit);
    };
    for_vectors<L>(
        y, last, [&](int64_t i) { L::store(out + i, combine([&](const float * x) { return L::load(x + i); })); },
        [&](int64_t i, int left) {
            L::store_first(out + i, left,
                           combine([&](const float * x) { return L::load_first(x + i, left, -infinity); }));
        });
    return {L::total(sink.delta_sq), sink.kept, !L::any(sink.bad)};
}

} // namespace
} // namespace eqk

#endif
