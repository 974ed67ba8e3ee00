// The kernels on hidden states, and their launchers.

#include "arguments.h"
#include "columns_blocks.h"
#include "launch.h"

namespace eqk {
namespace {

using column_block = device_block<column_threads>;

__global__ void columns_kernel(eqk_columns_args a) {
    __shared__ columns_shared<column_block> shared;
    edit_column(column_block(), shared, a, static_cast<int32_t>(blockIdx.x));
}

__global__ void merges_kernel(eqk_merges_args a) {
    __shared__ columns_shared<column_block> shared;
    merge_column(column_block(), shared, a, static_cast<int32_t>(blockIdx.x));
}

} // namespace

int32_t load_column_kernels() {
    for (const void * kernel : {reinterpret_cast<const void *>(columns_kernel),
                                reinterpret_cast<const void *>(merges_kernel)}) {
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

int32_t eqk_cuda_columns(const eqk_columns_args * args, void * stream) {
    if (!args || !args->in || !args->out || args->width < 1 || args->rows < 1 || args->n_columns < 0 ||
        !args->tokens || args->n_tokens < 1 || !args->book || !args->vectors || !args->deltas || !args->sums ||
        args->n_sequences < 1 || args->layer < 0 || args->layer >= args->n_layers) {
        return EQK_BAD_ARGUMENT;
    }
    if (args->n_columns == 0) {
        return EQK_OK;
    }
    columns_kernel<<<static_cast<unsigned>(args->n_columns), column_threads, 0, static_cast<cudaStream_t>(stream)>>>(
        *args);
    return checked(cudaGetLastError(), "columns");
}

int32_t eqk_cuda_merges(const eqk_merges_args * args, void * stream) {
    if (!args || !args->in || !args->out || !args->rows || !args->joins || !args->deltas || args->width < 1 ||
        args->n_columns < 0) {
        return EQK_BAD_ARGUMENT;
    }
    if (args->n_columns == 0) {
        return EQK_OK;
    }
    merges_kernel<<<static_cast<unsigned>(args->n_columns), column_threads, 0, static_cast<cudaStream_t>(stream)>>>(
        *args);
    return checked(cudaGetLastError(), "merges");
}
