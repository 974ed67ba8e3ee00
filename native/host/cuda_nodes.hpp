// Nodes of ours that CUDA devices run too: ggml-cuda launches what a custom node carries (the patch; ggml-cuda.h).
#pragma once

#include "ggml.h"

namespace eq {

// Asynchronous, on the stream given; called on the thread that decodes, also while a stream is being captured.
using cuda_launcher = void (*)(ggml_tensor * dst, void * stream);

// Gives a custom node a launcher, where this build and every CUDA device of this process can run it. Elsewhere the node
// stays what it is: the CPU's, and llama.cpp copies its sources there and its result back.
ggml_tensor * with_launcher(ggml_tensor * node, cuda_launcher launch);

// Whether with_launcher does anything here.
bool cuda_launches();

// What a launcher calls with the status of its launch: nobody looks at it inside a graph.
void note_launch(int32_t status);

// Throws if a launch has failed on this thread since the last forget_launches.
void forget_launches();
void require_launches();

} // namespace eq
