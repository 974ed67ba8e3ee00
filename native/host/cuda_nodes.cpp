#include "cuda_nodes.hpp"

#include "host.hpp"

#include "equipoise_kernels.h"

#include "ggml-backend.h"
#include "ggml-cuda.h"
#include "ggml-impl.h"

#include "llama-model.h"

#include <cstring>

namespace eq {

namespace {

// ggml's own parameters of a custom node end before ours begin, and ours before the space does.
static_assert(sizeof(ggml_custom_op_params) <= GGML_CUDA_CUSTOM_OFFSET);
static_assert(GGML_CUDA_CUSTOM_OFFSET + sizeof(ggml_cuda_custom) <= GGML_MAX_OP_PARAMS);

thread_local int32_t failed_launch = EQK_OK;

// ggml-cuda.cu also makes backends for other makers' devices, by other names: those do not take a CUDA kernel.
ggml_backend_reg_t cuda_backends() { return ggml_backend_reg_by_name("CUDA"); }

bool cuda_launches() {
    static const bool they_do = [] {
        char text[256];
        return (device_is_emulated || cuda_backends()) && eqk_cuda_graph_probe(text, sizeof(text)) == EQK_OK;
    }();
    return they_do;
}

ggml_cuda_custom custom_of(const ggml_tensor * node) {
    ggml_cuda_custom custom;
    memcpy(&custom, reinterpret_cast<const char *>(node->op_params) + GGML_CUDA_CUSTOM_OFFSET, sizeof(custom));
    return custom;
}

#ifdef EQUIPOISE_EMULATED_DEVICE
void emulate(ggml_tensor * dst, int ith, int, void *) {
    if (ith == 0) { // every thread of the graph calls
        custom_of(dst).launch(dst, nullptr);
    }
}
#endif

} // namespace

ggml_tensor * with_launcher(ggml_tensor * node, cuda_launcher launch) {
    if (cuda_launches()) {
        const ggml_cuda_custom custom = {GGML_CUDA_CUSTOM_MAGIC, launch};
        memcpy(reinterpret_cast<char *>(node->op_params) + GGML_CUDA_CUSTOM_OFFSET, &custom, sizeof(custom));
#ifdef EQUIPOISE_EMULATED_DEVICE
        ggml_custom_op_params params;
        memcpy(&params, node->op_params, sizeof(params));
        params.fun = emulate;
        memcpy(node->op_params, &params, sizeof(params));
#endif
    }
    return node;
}

std::vector<ggml_backend_buffer_type_t> launch_places(const llama_model & weights) {
    const int32_t                           layers = llama_model_n_layer(&weights);
    std::vector<ggml_backend_buffer_type_t> places((size_t) layers + 1, nullptr);
    if (cuda_launches()) {
        for (size_t il = 0; il < places.size(); il++) {
            const ggml_backend_dev_t device = (int32_t) il < layers ? weights.dev_layer((int) il) : weights.dev_output();
            if (device_is_emulated || (device && ggml_backend_dev_backend_reg(device) == cuda_backends())) {
                places[il] = ggml_backend_dev_buffer_type(device);
            }
        }
    }
    return places;
}

bool has_launcher(const ggml_tensor * node) { return custom_of(node).magic == GGML_CUDA_CUSTOM_MAGIC; }

bool runs_on_device(ggml_backend_sched_t scheduler, ggml_tensor * node) {
    if (device_is_emulated) {
        return has_launcher(node);
    }
    const ggml_backend_t at = ggml_backend_sched_get_tensor_backend(scheduler, node);
    return at && ggml_backend_dev_type(ggml_backend_get_device(at)) != GGML_BACKEND_DEVICE_TYPE_CPU;
}

void * user_of(const ggml_tensor * node) {
    ggml_custom_op_params params;
    memcpy(&params, node->op_params, sizeof(params));
    return params.userdata;
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
