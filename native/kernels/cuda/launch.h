// What the CUDA files share: a CUDA error as a status and a text, and kernels loaded before a graph wants them.
#ifndef EQK_LAUNCH_H
#define EQK_LAUNCH_H

#include "equipoise_kernels.h"

#include <cuda_runtime_api.h>

namespace eqk {

// EQK_OK, or EQK_CUDA_ERROR with the text kept for eqk_cuda_last_error.
int32_t checked(cudaError_t error, const char * what);

// The same of the kernels launched since this was asked last.
inline int32_t launched(const char * what) {
    return checked(cudaGetLastError(), what);
}

inline cudaStream_t as_stream(void * stream) {
    return static_cast<cudaStream_t>(stream);
}

// Loads kernels onto the current device, up to the first for which this library holds no code.
template <class... Kernels> int32_t load_kernels(Kernels *... kernels) {
    cudaFuncAttributes attributes;
    int32_t            status = EQK_OK;
    const auto         load   = [&](const void * kernel) {
        status = checked(cudaFuncGetAttributes(&attributes, kernel), "loading kernels");
        return status == EQK_OK;
    };
    static_cast<void>((load(reinterpret_cast<const void *>(kernels)) && ...));
    return status;
}

// Loads what graphs launch onto the current device; fails where this library holds no code for it.
int32_t load_group_kernels();
int32_t load_column_kernels();
int32_t load_mask_kernels();
int32_t load_attention_kernels();
int32_t load_exits_kernels();

} // namespace eqk

#endif
