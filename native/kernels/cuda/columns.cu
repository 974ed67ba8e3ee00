// The kernels on hidden states, and their launchers.

#include "columns_blocks.h"
#include "graph_arguments.h"
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
    return load_kernels(columns_kernel, merges_kernel);
}

} // namespace eqk

using namespace eqk;

int32_t eqk_cuda_columns(const eqk_columns_args * args, void * stream) {
    if (!are_columns(args)) {
        return EQK_BAD_ARGUMENT;
    }
    if (args->n_columns == 0) {
        return EQK_OK;
    }
    columns_kernel<<<static_cast<unsigned>(args->n_columns), column_threads, 0, as_stream(stream)>>>(*args);
    return launched("columns");
}

int32_t eqk_cuda_merges(const eqk_merges_args * args, void * stream) {
    if (!are_merges(args)) {
        return EQK_BAD_ARGUMENT;
    }
    if (args->n_columns == 0) {
        return EQK_OK;
    }
    merges_kernel<<<static_cast<unsigned>(args->n_columns), column_threads, 0, as_stream(stream)>>>(*args);
    return launched("merges");
}
