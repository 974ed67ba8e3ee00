// The kernels on rows of attention, and their launchers.

#include "attention_blocks.h"
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

constexpr int32_t most_heads = 65535; // what the second dimension of a grid holds

} // namespace

int32_t load_attention_kernels() {
    for (const void * kernel : {reinterpret_cast<const void *>(sinks_kernel),
                                reinterpret_cast<const void *>(attention_kernel),
                                reinterpret_cast<const void *>(changes_kernel)}) {
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

int32_t eqk_cuda_sinks(const eqk_sinks_args * args, void * stream) {
    if (!args || !args->states || !args->cells || !args->tokens || !args->book || !args->vectors || !args->sinkness ||
        args->width < 1 || args->n_tokens < 1 || args->n_cells < 1 || args->n_sequences < 1 || args->layer < 0 ||
        args->layer >= args->n_layers) {
        return EQK_BAD_ARGUMENT;
    }
    sinks_kernel<<<static_cast<unsigned>(args->n_tokens), sinks_threads, 0, static_cast<cudaStream_t>(stream)>>>(*args);
    return checked(cudaGetLastError(), "sinks");
}

int32_t eqk_cuda_attention(const eqk_attention_args * args, void * stream) {
    if (!args || !args->in || !args->out || !args->mask || !args->labels || !args->tokens || !args->book ||
        !args->vectors || !args->deltas || !args->changes || args->n_keys < 1 || args->n_keys > args->n_cells ||
        args->n_tokens < 1 || args->n_heads < 1 || args->n_heads > most_heads || args->n_sequences < 1 ||
        args->layer < 0 || args->layer >= args->n_layers) {
        return EQK_BAD_ARGUMENT;
    }
    const dim3 rows(static_cast<unsigned>(args->n_tokens), static_cast<unsigned>(args->n_heads));
    attention_kernel<<<rows, attention_threads, 0, static_cast<cudaStream_t>(stream)>>>(*args);
    const int32_t status = checked(cudaGetLastError(), "attention");
    if (status != EQK_OK) {
        return status;
    }
    changes_kernel<<<static_cast<unsigned>(args->n_tokens), changes_threads, 0, static_cast<cudaStream_t>(stream)>>>(
        *args);
    return checked(cudaGetLastError(), "changes of attention");
}
