// The probe, and eqk_contrast_rows for rows in host memory.

#include "arguments.h"
#include "launch.h"

#include <cstdio>
#include <vector>

namespace eqk {
namespace {

thread_local char last_error[256] = "no CUDA call has failed";

// What the machine code and PTX of this library start at (cuda.cmake).
constexpr int least_major = 8;

// Device memory of one call, in the order of one stream; freed at the end of its scope.
template <class T> class device_array {
public:
    device_array(int64_t n, cudaStream_t stream) : size(static_cast<size_t>(n) * sizeof(T)), stream(stream) {
        status = checked(cudaMallocAsync(reinterpret_cast<void **>(&data), size, stream), "cudaMallocAsync");
    }
    ~device_array() {
        if (data) {
            cudaFreeAsync(data, stream);
        }
    }
    device_array(const device_array &)             = delete;
    device_array & operator=(const device_array &) = delete;

    int32_t put(const T * from) { return copy(data, from, size, cudaMemcpyHostToDevice); }
    int32_t get(T * to) const { return copy(to, data, size, cudaMemcpyDeviceToHost); }
    int32_t put_row(int64_t row, const T * from, int64_t n) {
        return copy(data + row * n, from, static_cast<size_t>(n) * sizeof(T), cudaMemcpyHostToDevice);
    }

    T *     data = nullptr;
    int32_t status;

private:
    int32_t copy(void * to, const void * from, size_t bytes, cudaMemcpyKind kind) const {
        return status == EQK_OK ? checked(cudaMemcpyAsync(to, from, bytes, kind, stream), "cudaMemcpyAsync") : status;
    }

    size_t       size;
    cudaStream_t stream;
};

// The first failure of a sequence of steps, all of which are written down without asking in between.
struct steps {
    int32_t status = EQK_OK;

    template <class Step> steps & then(Step && step) {
        if (status == EQK_OK) {
            status = step();
        }
        return *this;
    }
};

// The first device's name, or why one of the first `wanted` cannot run what this library holds.
int32_t describe(int32_t wanted, char * text, size_t capacity) {
    const auto unavailable = [&](const char * words) {
        cudaGetLastError(); // asking is no failure of a later launch
        snprintf(text, capacity, "%s", words);
        return EQK_UNAVAILABLE;
    };
    int               devices = 0;
    const cudaError_t counted = cudaGetDeviceCount(&devices);
    if (counted != cudaSuccess || devices == 0) {
        return unavailable(counted != cudaSuccess ? cudaGetErrorString(counted) : "no CUDA device");
    }
    for (int32_t d = devices < wanted ? devices : wanted; d-- > 0;) { // the first one's name stays in text
        cudaDeviceProp    device;
        const cudaError_t described = cudaGetDeviceProperties(&device, d);
        if (described != cudaSuccess) {
            return unavailable(cudaGetErrorString(described));
        }
        if (device.major < least_major) {
            snprintf(text, capacity, "%.200s has compute capability %d.%d, %d.0 is the least", device.name,
                     device.major, device.minor, least_major);
            return EQK_UNAVAILABLE;
        }
        snprintf(text, capacity, "%s", device.name);
    }
    return EQK_OK;
}

} // namespace

int32_t checked(cudaError_t error, const char * what) {
    if (error == cudaSuccess) {
        return EQK_OK;
    }
    snprintf(last_error, sizeof(last_error), "%s: %s", what, cudaGetErrorString(error));
    return EQK_CUDA_ERROR;
}

} // namespace eqk

using namespace eqk;

const char * eqk_cuda_last_error(void) {
    return last_error;
}

int32_t eqk_cuda_probe(char * text, int64_t capacity) {
    return text && capacity >= 1 ? describe(1, text, static_cast<size_t>(capacity)) : EQK_BAD_ARGUMENT;
}

int32_t eqk_cuda_graph_probe(char * text, int64_t capacity) {
    if (!text || capacity < 1) {
        return EQK_BAD_ARGUMENT;
    }
    const int32_t status = describe(INT32_MAX, text, static_cast<size_t>(capacity));
    if (status == EQK_OK && (load_group_kernels() != EQK_OK || load_column_kernels() != EQK_OK ||
                             load_mask_kernels() != EQK_OK || load_attention_kernels() != EQK_OK ||
                             load_exits_kernels() != EQK_OK)) {
        snprintf(text, static_cast<size_t>(capacity), "%s", last_error);
        return EQK_UNAVAILABLE;
    }
    return status;
}

int32_t eqk_cuda_contrast_rows(const float * rows, int64_t stride, int64_t n_vocab, const int32_t * row_index,
                               const float * coefficient, int32_t n_branches, int32_t log_probabilities, float beta,
                               float * row_max, float * row_lse, float * out, double * delta_sq, int64_t * kept) {
    eqk_contrast_partial    report[EQK_SLICES];
    const eqk_contrast_args host = {rows,    stride,  n_vocab, row_index, coefficient, &beta,
                                    row_max, row_lse, out,     report,    n_branches,  log_probabilities,
                                    0,       EQK_SLICES};
    if (!is_row(rows, n_vocab) || !is_group(host) || !delta_sq || !kept) {
        return EQK_BAD_ARGUMENT;
    }
    char reason[256];
    if (eqk_cuda_probe(reason, sizeof(reason)) != EQK_OK) {
        snprintf(last_error, sizeof(last_error), "%s", reason);
        return EQK_UNAVAILABLE;
    }

    const cudaStream_t                 stream = cudaStreamPerThread;
    device_array<float>                matrix(n_branches * n_vocab, stream); // the group's rows, packed
    device_array<int32_t>              index(n_branches, stream);
    device_array<float>                factors(n_branches, stream), cut(1, stream);
    device_array<eqk_partial>          partials(int64_t{n_branches} * EQK_SLICES, stream);
    device_array<float>                maxima(n_branches, stream), sums(n_branches, stream), combined(n_vocab, stream);
    device_array<eqk_contrast_partial> slices(EQK_SLICES, stream);

    std::vector<int32_t> packed(static_cast<size_t>(n_branches));
    for (int32_t b = 0; b < n_branches; b++) {
        packed[static_cast<size_t>(b)] = b;
    }
    const eqk_contrast_args device = {matrix.data,  n_vocab,     n_vocab,           index.data,    factors.data,
                                      cut.data,     maxima.data, sums.data,         combined.data, slices.data,
                                      n_branches,   log_probabilities, 0,           EQK_SLICES};
    steps work;
    for (int32_t b = 0; b < n_branches; b++) {
        work.then([&] { return matrix.put_row(b, rows + row_index[b] * stride, n_vocab); });
    }
    work.then([&] { return index.put(packed.data()); })
        .then([&] { return factors.put(coefficient); })
        .then([&] { return cut.put(&beta); })
        .then([&] { return partials.status; })
        .then([&] { return maxima.status; })
        .then([&] { return sums.status; })
        .then([&] { return combined.status; })
        .then([&] { return slices.status; })
        .then([&] {
            return eqk_cuda_row_partials(matrix.data, n_vocab, n_vocab, index.data, n_branches, partials.data, stream);
        })
        .then([&] { return eqk_cuda_row_reduce(partials.data, n_branches, maxima.data, sums.data, stream); })
        .then([&] { return eqk_cuda_contrast(&device, stream); })
        .then([&] { return maxima.get(row_max); })
        .then([&] { return sums.get(row_lse); })
        .then([&] { return combined.get(out); })
        .then([&] { return slices.get(report); });
    // Waits even after a failure: copies already under way read the caller's memory.
    const int32_t waited = checked(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    work.then([&] { return waited; });
    return work.status == EQK_OK ? eqk_contrast_reduce(report, delta_sq, kept) : work.status;
}
