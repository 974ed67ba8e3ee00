// The kernels on the logits of early exits, and their launcher.

#include "arguments.h"
#include "exits_blocks.h"
#include "launch.h"

namespace eqk {
namespace {

using exits_block  = device_block<exits_threads>;
using reduce_block = device_block<reduce_threads>;

constexpr int32_t most_in_grid = 65535; // what its second and third dimension hold

__global__ void exits_logs_kernel(eqk_exits_args a, int32_t pass) {
    __shared__ exits_shared<exits_block> shared;
    exits_logs(exits_block(), shared, a, pass, static_cast<int32_t>(blockIdx.x), static_cast<int32_t>(blockIdx.y) - 1,
               static_cast<int32_t>(blockIdx.z));
}

__global__ void exits_divergence_kernel(eqk_exits_args a, int32_t pass) {
    __shared__ exits_shared<exits_block> shared;
    exits_divergence(exits_block(), shared, a, pass, static_cast<int32_t>(blockIdx.x), static_cast<int32_t>(blockIdx.y),
                     static_cast<int32_t>(blockIdx.z));
}

__global__ void exits_edit_kernel(eqk_exits_args a, int32_t pass) {
    __shared__ exits_shared<exits_block> shared;
    exits_edit(exits_block(), shared, a, pass, static_cast<int32_t>(blockIdx.x), static_cast<int32_t>(blockIdx.y));
}

__global__ void exits_report_kernel(eqk_exits_args a, int32_t pass) {
    __shared__ exits_shared<reduce_block> shared;
    exits_report(reduce_block(), shared, a, pass, static_cast<int32_t>(blockIdx.x));
}

} // namespace

int32_t load_exits_kernels() {
    for (const void * kernel : {reinterpret_cast<const void *>(exits_logs_kernel),
                                reinterpret_cast<const void *>(exits_divergence_kernel),
                                reinterpret_cast<const void *>(exits_edit_kernel),
                                reinterpret_cast<const void *>(exits_report_kernel)}) {
        cudaFuncAttributes attributes;
        const int32_t      status = checked(cudaFuncGetAttributes(&attributes, kernel), "loading kernels");
        if (status != EQK_OK) {
            return status;
        }
    }
    return EQK_OK;
}

} // namespace eqk

using namespace eqk;

int32_t eqk_cuda_exits(const eqk_exits_args * args, void * stream) {
    if (!args || !is_row(args->logits, args->n_vocab) || !args->normed || !args->bare || !args->out || !args->layers ||
        !args->tokens || !args->book || !args->deltas || !args->scratch || args->stride < args->n_vocab ||
        args->exit_stride < args->n_vocab || args->out_stride < args->n_vocab || args->n_rows < 0 ||
        args->n_rows > most_in_grid || args->n_exits < 1 || args->n_exits >= most_in_grid || args->passes < 1 ||
        args->n_tokens < 1 || args->n_sequences < 1 || args->n_layers < 1) {
        return EQK_BAD_ARGUMENT;
    }
    if (args->n_rows == 0) {
        return EQK_OK;
    }
    const auto         rows = static_cast<unsigned>(args->n_rows), exits = static_cast<unsigned>(args->n_exits);
    const cudaStream_t on   = static_cast<cudaStream_t>(stream);
    for (int32_t pass = 0; pass < args->passes; pass++) {
        exits_logs_kernel<<<dim3(EQK_SLICES, exits + 1, rows), exits_threads, 0, on>>>(*args, pass);
        exits_divergence_kernel<<<dim3(EQK_SLICES, exits, rows), exits_threads, 0, on>>>(*args, pass);
        exits_edit_kernel<<<dim3(EQK_SLICES, rows), exits_threads, 0, on>>>(*args, pass);
        exits_report_kernel<<<rows, reduce_threads, 0, on>>>(*args, pass);
    }
    return checked(cudaGetLastError(), "exits");
}
