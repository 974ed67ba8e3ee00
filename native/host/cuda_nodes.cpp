#include "cuda_nodes.hpp"

#include "host.hpp"

#include "equipoise_kernels.h"

#include "ggml-backend.h"
#include "ggml-cuda.h"
#include "ggml-impl.h"

#include <cstring>

namespace eq {

namespace {

// ggml's own parameters of a custom node end before ours begin, and ours before the space does.
static_assert(sizeof(ggml_custom_op_params) <= GGML_CUDA_CUSTOM_OFFSET);
static_assert(GGML_CUDA_CUSTOM_OFFSET + sizeof(ggml_cuda_custom) <= GGML_MAX_OP_PARAMS);

thread_local int32_t failed_launch = EQK_OK;

} // namespace

bool cuda_launches() {
    // The same sources make backends for other makers' devices, by other names: those do not take a CUDA kernel.
    static const bool they_do = [] {
        char text[256];
        return ggml_backend_reg_by_name("CUDA") && eqk_cuda_graph_probe(text, sizeof(text)) == EQK_OK;
    }();
    return they_do;
}

ggml_tensor * with_launcher(ggml_tensor * node, cuda_launcher launch) {
    if (cuda_launches()) {
        const ggml_cuda_custom custom = {GGML_CUDA_CUSTOM_MAGIC, launch};
        memcpy(reinterpret_cast<char *>(node->op_params) + GGML_CUDA_CUSTOM_OFFSET, &custom, sizeof(custom));
    }
    return node;
}

void note_launch(int32_t status) {
    failed_launch = failed_launch == EQK_OK ? status : failed_launch;
}

void forget_launches() { failed_launch = EQK_OK; }

void require_launches() {
    if (failed_launch != EQK_OK) {
        fail(EQ_INTERNAL, "a kernel could not be launched: %s: %s", eqk_status_text(failed_launch),
             eqk_cuda_last_error());
    }
}

} // namespace eq
