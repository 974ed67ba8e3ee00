// Nodes of ours that CUDA devices run too: ggml-cuda launches what a custom node carries (the patch; ggml-cuda.h).
#pragma once

#include "ggml.h"
#include "ggml-backend.h"

#include <vector>

struct llama_model;

namespace eq {

// A build for tests: launchers run the kernels' bodies on the host, so that tables and nodes are tried with no device.
#ifdef EQUIPOISE_EMULATED_DEVICE
constexpr bool device_is_emulated = true;
#else
constexpr bool device_is_emulated = false;
#endif

// Asynchronous, on the stream given; called on the thread that decodes, also while a stream is being captured.
using cuda_launcher = void (*)(ggml_tensor * dst, void * stream);

// Gives a custom node a launcher, where this build and every CUDA device of this process can run it. Elsewhere the node
// stays what it is: the CPU's, and llama.cpp copies its sources there and its result back.
ggml_tensor * with_launcher(ggml_tensor * node, cuda_launcher launch);

// Where each layer's nodes with a launcher run, and behind the last the head's, as memory that is theirs; null where that
// is the CPU.
std::vector<ggml_backend_buffer_type_t> launch_places(const llama_model & weights);

// Whether a node was given a launcher.
bool has_launcher(const ggml_tensor * node);

// Whether a node of a graph that the scheduler has split is run by a device.
bool runs_on_device(ggml_backend_sched_t scheduler, ggml_tensor * node);

// The user data that a custom node was made with.
void * user_of(const ggml_tensor * node);

// What a launcher calls with the status of its launch: nobody looks at it inside a graph.
void note_launch(int32_t status);

// Throws if a launch has failed on this thread since the last forget_launches.
void forget_launches();
void require_launches();

} // namespace eq
