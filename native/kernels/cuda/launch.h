// What the CUDA files share: turning a CUDA error into a status and a text.
#ifndef EQK_LAUNCH_H
#define EQK_LAUNCH_H

#include "equipoise_kernels.h"

#include <cuda_runtime_api.h>

namespace eqk {

// EQK_OK, or EQK_CUDA_ERROR with the text kept for eqk_cuda_last_error.
int32_t checked(cudaError_t error, const char * what);

// Loads what graphs launch onto the current device; fails where this library holds no code for it.
int32_t load_group_kernels();
int32_t load_column_kernels();
int32_t load_mask_kernels();
int32_t load_attention_kernels();
int32_t load_exits_kernels();

} // namespace eqk

#endif
