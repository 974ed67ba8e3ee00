// The kernels on the logits of early exits, and their launcher.

#include "exits_blocks.h"
#include "graph_arguments.h"
#include "launch.h"

namespace eqk {
namespace {

using exits_block  = device_block<exits_threads>;
using reduce_block = device_block<reduce_threads>;

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
    return load_kernels(exits_logs_kernel, exits_divergence_kernel, exits_edit_kernel, exits_report_kernel);
}

} // namespace eqk

using namespace eqk;

int32_t eqk_cuda_exits(const eqk_exits_args * args, void * stream) {
    if (!are_exits(args)) {
        return EQK_BAD_ARGUMENT;
    }
    if (args->n_rows == 0) {
        return EQK_OK;
    }
    const auto         rows = static_cast<unsigned>(args->n_rows), exits = static_cast<unsigned>(args->n_exits);
    const cudaStream_t on   = as_stream(stream);
    for (int32_t pass = 0; pass < args->passes; pass++) {
        exits_logs_kernel<<<dim3(EQK_SLICES, exits + 1, rows), exits_threads, 0, on>>>(*args, pass);
        exits_divergence_kernel<<<dim3(EQK_SLICES, exits, rows), exits_threads, 0, on>>>(*args, pass);
        exits_edit_kernel<<<dim3(EQK_SLICES, rows), exits_threads, 0, on>>>(*args, pass);
        exits_report_kernel<<<rows, reduce_threads, 0, on>>>(*args, pass);
    }
    return launched("exits");
}
