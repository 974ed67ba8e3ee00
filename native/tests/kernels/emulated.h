// A block of a CUDA device on the host: phase by phase, one thread after the other, in the order asked for. A body that
// needs what its own phase wrote, or reads shared memory before it is written, gives other bits in another order.
#ifndef EQK_TEST_EMULATED_H
#define EQK_TEST_EMULATED_H

#include <cstring>

namespace test {

enum class order { forwards, backwards, scattered };

constexpr order orders[] = {order::forwards, order::backwards, order::scattered};

template <int N> struct emulated_block {
    static constexpr int threads = N;

    order of;

    template <class F> void each(F f) const {
        for (int i = 0; i < N; i++) {
            switch (of) {
                case order::forwards:  f(i); break;
                case order::backwards: f(N - 1 - i); break;
                case order::scattered: f(i * 37 % N); break; // N is a power of two: every thread once
            }
        }
    }
};

// Shared memory holds anything when a block begins; a NaN in every float shows where somebody relies on it.
template <class Shared> struct unwritten {
    Shared shared;
    unwritten() { memset(static_cast<void *>(&shared), 0xFF, sizeof(shared)); }
};

} // namespace test

#endif
