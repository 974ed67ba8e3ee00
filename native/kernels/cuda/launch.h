// What the CUDA files share: turning a CUDA error into a status and a text.
#ifndef EQK_LAUNCH_H
#define EQK_LAUNCH_H

#include "equipoise_kernels.h"

#include <cuda_runtime_api.h>

namespace eqk {

// EQK_OK, or EQK_CUDA_ERROR with the text kept for eqk_cuda_last_error.
int32_t checked(cudaError_t error, const char * what);

} // namespace eqk

#endif
