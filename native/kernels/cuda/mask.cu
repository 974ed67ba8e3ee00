// The kernels on attention masks, and their launchers.

#include "graph_arguments.h"
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
    return load_kernels(ledger_kernel, mask_kernel);
}

} // namespace eqk

using namespace eqk;

int32_t eqk_cuda_ledger(const eqk_ledger_args * args, void * stream) {
    if (!is_ledger(args)) {
        return EQK_BAD_ARGUMENT;
    }
    ledger_kernel<<<1, ledger_threads, 0, as_stream(stream)>>>(*args);
    return launched("ledger");
}

int32_t eqk_cuda_mask(const eqk_mask_args * args, void * stream) {
    if (!is_mask(args)) {
        return EQK_BAD_ARGUMENT;
    }
    mask_kernel<<<static_cast<unsigned>(args->n_columns), mask_threads, 0, as_stream(stream)>>>(*args);
    return launched("mask");
}
