/*
 * A block of threads as the bodies of our CUDA kernels see it: work in phases, each done by every thread, a barrier
 * after each. What one phase leaves for the next lies in shared memory, never in a thread's variables. So one text runs
 * on a device and, one thread after the other, on a host, where tests hold it against the reference.
 *
 * A Block has `static constexpr int threads`, a power of two, and `each(f)`: f(t) for every thread t, then a barrier.
 */
#ifndef EQK_BLOCK_H
#define EQK_BLOCK_H

#ifdef __CUDACC__
#define EQK_BODY __device__ inline
#else
#define EQK_BODY inline
#endif

namespace eqk {

#ifdef __CUDACC__
template <int N> struct device_block {
    static constexpr int threads = N;

    template <class F> __device__ void each(F f) const {
        f(static_cast<int>(threadIdx.x));
        __syncthreads();
    }
};
#endif

// of[0] becomes what all of them merge to, in an order that depends on the block's size alone.
template <class Block, class T, class Merge> EQK_BODY void merge_all(const Block & block, T * of, Merge merge) {
    static_assert((Block::threads & (Block::threads - 1)) == 0);
    for (int half = Block::threads / 2; half > 0; half /= 2) {
        block.each([&](int t) {
            if (t < half) {
                of[t] = merge(of[t], of[t + half]);
            }
        });
    }
}

struct sum_of {
    template <class T> EQK_BODY T operator()(T a, T b) const { return a + b; }
};

} // namespace eqk

#endif
