// The kernels on rows of attention, and their launchers.

#include "attention_blocks.h"
#include "graph_arguments.h"
#include "launch.h"

namespace eqk {
namespace {

using sinks_block     = device_block<sinks_threads>;
using attention_block = device_block<attention_threads>;
using changes_block   = device_block<changes_threads>;

__global__ void sinks_kernel(eqk_sinks_args a) {
    __shared__ sinks_shared<sinks_block> shared;
    note_sinkness(sinks_block(), shared, a, static_cast<int32_t>(blockIdx.x));
}

__global__ void attention_kernel(eqk_attention_args a) {
    __shared__ attention_shared<attention_block> shared;
    edit_row(attention_block(), shared, a, static_cast<int32_t>(blockIdx.x), static_cast<int32_t>(blockIdx.y));
}

__global__ void changes_kernel(eqk_attention_args a) {
    add_changes(changes_block(), a, static_cast<int32_t>(blockIdx.x));
}

} // namespace

int32_t load_attention_kernels() {
    return load_kernels(sinks_kernel, attention_kernel, changes_kernel);
}

} // namespace eqk

using namespace eqk;

int32_t eqk_cuda_sinks(const eqk_sinks_args * args, void * stream) {
    if (!are_sinks(args)) {
        return EQK_BAD_ARGUMENT;
    }
    sinks_kernel<<<static_cast<unsigned>(args->n_tokens), sinks_threads, 0, as_stream(stream)>>>(*args);
    return launched("sinks");
}

int32_t eqk_cuda_attention(const eqk_attention_args * args, void * stream) {
    if (!is_attention(args)) {
        return EQK_BAD_ARGUMENT;
    }
    const dim3 rows(static_cast<unsigned>(args->n_tokens), static_cast<unsigned>(args->n_heads));
    attention_kernel<<<rows, attention_threads, 0, as_stream(stream)>>>(*args);
    const int32_t status = launched("attention");
    if (status != EQK_OK) {
        return status;
    }
    changes_kernel<<<static_cast<unsigned>(args->n_tokens), changes_threads, 0, as_stream(stream)>>>(*args);
    return launched("changes of attention");
}
