// The kernels on attention masks, and their launchers.

#include "arguments.h"
#include "launch.h"
#include "mask_blocks.h"

namespace eqk {
namespace {

using ledger_block = device_block<ledger_threads>;
using mask_block   = device_block<mask_threads>;

__global__ void ledger_kernel(eqk_ledger_args a) {
    note_labels(ledger_block(), a);
}

__global__ void mask_kernel(eqk_mask_args a) {
    __shared__ mask_shared<mask_block> shared;
    bias_row(mask_block(), shared, a, static_cast<int32_t>(blockIdx.x));
}

} // namespace

int32_t load_mask_kernels() {
    for (const void * kernel : {reinterpret_cast<const void *>(ledger_kernel),
                                reinterpret_cast<const void *>(mask_kernel)}) {
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

int32_t eqk_cuda_ledger(const eqk_ledger_args * args, void * stream) {
    if (!args || !args->cells || !args->tokens || !args->labels || args->n_tokens < 1 || args->n_cells < 1) {
        return EQK_BAD_ARGUMENT;
    }
    ledger_kernel<<<1, ledger_threads, 0, static_cast<cudaStream_t>(stream)>>>(*args);
    return checked(cudaGetLastError(), "ledger");
}

int32_t eqk_cuda_mask(const eqk_mask_args * args, void * stream) {
    if (!args || !args->in || !args->out || args->n_keys < 1 || args->n_keys > args->n_cells || args->n_columns < 1 ||
        !args->labels || !args->tokens || args->n_tokens < 1 || !args->book || !args->deltas ||
        args->n_sequences < 1 || args->layer < 0 || args->layer >= args->n_layers) {
        return EQK_BAD_ARGUMENT;
    }
    mask_kernel<<<static_cast<unsigned>(args->n_columns), mask_threads, 0, static_cast<cudaStream_t>(stream)>>>(*args);
    return checked(cudaGetLastError(), "mask");
}
