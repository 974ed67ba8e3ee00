// The kernels of api.cpp on a device. One block works on one slice (partials, contrast) or one row (argmax, entropy),
// so sums are made in an order that depends on neither device nor load.

#include "arguments.h"
#include "arith.h"
#include "launch.h"

namespace eqk {
namespace {

constexpr int slice_threads = 256;  // a slice is a few thousand logits
constexpr int row_threads   = 1024; // a row is over a hundred thousand
constexpr int warp          = 32;
constexpr unsigned all_lanes = 0xffffffffu;

template <class T, class Merge> __device__ T warp_reduce(T value, Merge merge) {
    for (int distance = warp / 2; distance > 0; distance /= 2) {
        value = merge(value, __shfl_xor_sync(all_lanes, value, distance));
    }
    return value;
}

// For blocks of whole warps; the result is every thread's. neutral is merge's neutral element.
template <class T, class Merge> __device__ T block_reduce(T value, T neutral, Merge merge) {
    __shared__ T of_warp[warp];
    value = warp_reduce(value, merge);
    if (threadIdx.x % warp == 0) {
        of_warp[threadIdx.x / warp] = value;
    }
    __syncthreads();
    value = warp_reduce(threadIdx.x % warp < blockDim.x / warp ? of_warp[threadIdx.x % warp] : neutral, merge);
    __syncthreads(); // of_warp may be used again at once
    return value;
}

struct larger {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

struct sum_of {
    template <class T> __device__ T operator()(T a, T b) const { return a + b; }
};

__global__ void row_partials_kernel(const float * rows, int64_t stride, int64_t n_vocab, const int32_t * row_index,
                                    eqk_partial * partials) {
    const float * row = rows + row_index[blockIdx.y] * stride;
    const span    at  = slice_span(n_vocab, blockIdx.x);

    float max = -INFINITY;
    int   bad = 0;
    for (int64_t i = at.first + threadIdx.x; i < at.last; i += blockDim.x) {
        bad |= !is_logit(row[i]);
        max = fmaxf(max, row[i]);
    }
    bad = __syncthreads_or(bad);
    max = block_reduce(max, -INFINITY, larger());

    float sum = 0;
    if (!bad && max > -INFINITY) {
        for (int64_t i = at.first + threadIdx.x; i < at.last; i += blockDim.x) {
            sum += expf(row[i] - max);
        }
    }
    sum = block_reduce(sum, 0.0f, sum_of());
    if (threadIdx.x == 0) {
        partials[blockIdx.y * EQK_SLICES + blockIdx.x] = bad ? eqk_partial{NAN, NAN} : eqk_partial{max, sum};
    }
}

// One warp for one row.
__global__ void row_reduce_kernel(const eqk_partial * partials, float * row_max, float * row_lse) {
    static_assert(EQK_SLICES == 2 * warp, "each lane takes two slices");
    const eqk_partial a = partials[blockIdx.x * EQK_SLICES + threadIdx.x];
    const eqk_partial b = partials[blockIdx.x * EQK_SLICES + warp + threadIdx.x];

    const bool   bad = __any_sync(all_lanes, !is_logit(a.max) || !is_logit(b.max));
    const float  max = bad ? NAN : warp_reduce(fmaxf(a.max, b.max), larger());
    const bool   row = row_status(max) == EQK_OK;
    const double sum = warp_reduce(row ? rescaled_sum(a, max) + rescaled_sum(b, max) : 0.0, sum_of());
    if (threadIdx.x == 0) {
        row_max[blockIdx.x] = max;
        row_lse[blockIdx.x] = row ? static_cast<float>(max + log(sum)) : max;
    }
}

__global__ void contrast_kernel(eqk_contrast_args a) {
    const combination group = {a.rows,        a.stride,
                               a.row_index,   a.coefficient,
                               a.log_probabilities ? a.row_lse : nullptr, a.n_branches};
    const int32_t slice = a.slice_first + static_cast<int32_t>(blockIdx.x);
    const span    at    = slice_span(a.n_vocab, slice);

    __shared__ int32_t status;
    __shared__ float   limit;
    if (threadIdx.x == 0) {
        status = rows_status(a.row_max, a.row_lse, a.n_branches);
        limit  = cut_off(a.row_max[0], *a.beta);
    }
    __syncthreads();

    int    kept     = 0;
    int    bad      = status != EQK_OK;
    double delta_sq = 0;
    for (int64_t y = at.first + threadIdx.x; y < at.last; y += blockDim.x) {
        // Everything of one token is read before its place is written: out may be one of the rows.
        float value = -INFINITY;
        if (status != EQK_OK) {
            value = NAN;
        } else if (branch_logit(group, 0, y) >= limit) {
            const float base = branch_value<float>(group, 0, y);
            value            = combine<float>(group, y);
            if (!is_logit(value)) {
                bad   = 1;
                value = NAN;
            } else if (value > -INFINITY) {
                const double delta = value - base;
                delta_sq += delta * delta;
                kept++;
            }
        }
        a.out[y] = value;
    }
    bad      = __syncthreads_or(bad);
    kept     = block_reduce(kept, 0, sum_of());
    delta_sq = block_reduce(delta_sq, 0.0, sum_of());
    if (threadIdx.x == 0) {
        const int32_t mark = status != EQK_OK ? status : EQK_NOT_FINITE;
        a.report[slice]    = bad ? eqk_contrast_partial{NAN, -mark} : eqk_contrast_partial{delta_sq, kept};
    }
}

struct candidate {
    float   logit;
    int32_t index; // INT32_MAX: none yet
};

__device__ candidate first_larger(candidate a, candidate b) {
    return b.logit > a.logit || (b.logit == a.logit && b.index < a.index) ? b : a;
}

__global__ void argmax_kernel(const float * rows, int64_t stride, int64_t n, const int32_t * row_index,
                              int64_t * index) {
    const float * row  = rows + row_index[blockIdx.x] * stride;
    candidate     best = {-INFINITY, INT32_MAX};
    int           bad  = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
        bad |= !is_logit(row[i]);
        if (row[i] > best.logit) {
            best = {row[i], static_cast<int32_t>(i)};
        }
    }
    bad = __syncthreads_or(bad);

    __shared__ candidate of_thread[row_threads];
    of_thread[threadIdx.x] = best;
    for (unsigned half = row_threads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            of_thread[threadIdx.x] = first_larger(of_thread[threadIdx.x], of_thread[threadIdx.x + half]);
        }
    }
    if (threadIdx.x == 0) {
        index[blockIdx.x] = bad || of_thread[0].index == INT32_MAX ? -1 : of_thread[0].index;
    }
}

__global__ void entropy_kernel(const float * rows, int64_t stride, int64_t n, const int32_t * row_index,
                               const float * row_max, float * nats) {
    const float * row = rows + row_index[blockIdx.x] * stride;
    const float   max = row_max[blockIdx.x];
    float         plain = 0, weighted = 0;
    if (row_status(max) == EQK_OK) {
        for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
            if (row[i] != -INFINITY) { // 0 * inf would be NaN
                const float d = row[i] - max;
                const float e = expf(d);
                plain += e;
                weighted += e * -d;
            }
        }
    }
    const double total          = block_reduce(static_cast<double>(plain), 0.0, sum_of());
    const double total_weighted = block_reduce(static_cast<double>(weighted), 0.0, sum_of());
    if (threadIdx.x == 0) {
        nats[blockIdx.x] = row_status(max) == EQK_OK ? static_cast<float>(log(total) + total_weighted / total) : NAN;
    }
}

bool are_rows(const float * rows, int64_t stride, int64_t n, const int32_t * row_index, int32_t n_rows) {
    constexpr int32_t most = 65535; // what the second dimension of a grid holds
    return is_row(rows, n) && stride >= n && row_index && n_rows >= 1 && n_rows <= most;
}

cudaStream_t as_stream(void * stream) {
    return static_cast<cudaStream_t>(stream);
}

} // namespace
} // namespace eqk

using namespace eqk;

int32_t eqk_cuda_row_partials(const float * rows, int64_t stride, int64_t n_vocab, const int32_t * row_index,
                              int32_t n_rows, eqk_partial * partials, void * stream) {
    if (!are_rows(rows, stride, n_vocab, row_index, n_rows) || !partials) {
        return EQK_BAD_ARGUMENT;
    }
    const dim3 grid(EQK_SLICES, static_cast<unsigned>(n_rows));
    row_partials_kernel<<<grid, slice_threads, 0, as_stream(stream)>>>(rows, stride, n_vocab, row_index, partials);
    return checked(cudaGetLastError(), "row_partials");
}

int32_t eqk_cuda_row_reduce(const eqk_partial * partials, int32_t n_rows, float * row_max, float * row_lse,
                            void * stream) {
    if (!partials || n_rows < 1 || !row_max || !row_lse) {
        return EQK_BAD_ARGUMENT;
    }
    row_reduce_kernel<<<static_cast<unsigned>(n_rows), warp, 0, as_stream(stream)>>>(partials, row_max, row_lse);
    return checked(cudaGetLastError(), "row_reduce");
}

int32_t eqk_cuda_contrast(const eqk_contrast_args * args, void * stream) {
    if (!args || !are_rows(args->rows, args->stride, args->n_vocab, args->row_index, args->n_branches) ||
        !are_slices(args->slice_first, args->slice_last) || !args->coefficient || !args->beta || !args->row_max ||
        !args->row_lse || !args->out || !args->report || args->log_probabilities < 0 || args->log_probabilities > 1) {
        return EQK_BAD_ARGUMENT;
    }
    const unsigned slices = static_cast<unsigned>(args->slice_last - args->slice_first);
    if (slices == 0) {
        return EQK_OK;
    }
    contrast_kernel<<<slices, slice_threads, 0, as_stream(stream)>>>(*args);
    return checked(cudaGetLastError(), "contrast");
}

int32_t eqk_cuda_argmax(const float * rows, int64_t stride, int64_t n, const int32_t * row_index, int32_t n_rows,
                        int64_t * index, void * stream) {
    if (!are_rows(rows, stride, n, row_index, n_rows) || !index) {
        return EQK_BAD_ARGUMENT;
    }
    argmax_kernel<<<static_cast<unsigned>(n_rows), row_threads, 0, as_stream(stream)>>>(rows, stride, n, row_index,
                                                                                      index);
    return checked(cudaGetLastError(), "argmax");
}

int32_t eqk_cuda_entropy(const float * rows, int64_t stride, int64_t n, const int32_t * row_index, int32_t n_rows,
                         const float * row_max, float * nats, void * stream) {
    if (!are_rows(rows, stride, n, row_index, n_rows) || !row_max || !nats) {
        return EQK_BAD_ARGUMENT;
    }
    entropy_kernel<<<static_cast<unsigned>(n_rows), row_threads, 0, as_stream(stream)>>>(rows, stride, n, row_index,
                                                                                       row_max, nats);
    return checked(cudaGetLastError(), "entropy");
}
