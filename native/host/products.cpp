// Products of weights with activations: where a tier of our kernels multiplies faster than ggml's CPU backend, it does.
#include "products.hpp"

#include "equipoise_products.h"

#include "ggml-backend.h"
#include "ggml-cpu.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

namespace {

// Ahead of the kernels' scratch, shared by the threads of one product.
struct alignas(64) progress {
    std::atomic<int64_t> next_row;
};

progress & progress_of(void * scratch) {
    const auto at = (reinterpret_cast<uintptr_t>(scratch) + alignof(progress) - 1) & ~(alignof(progress) - 1);
    return *reinterpret_cast<progress *>(at);
}

// The layout of a matrix of a model that our kernels multiply; -1 for others.
int32_t layout_of(const ggml_tensor * w) {
    if (!w->buffer || w->op != GGML_OP_NONE || w->view_src || w->ne[2] != 1 || w->ne[3] != 1) {
        return -1;
    }
    // On x86 a CPU_REPACK buffer holds these types in eight rows only; what has no multiple of eight rows is not in
    // one.
    if (strcmp(ggml_backend_buft_name(ggml_backend_buffer_get_type(w->buffer)), "CPU_REPACK") == 0) {
        return w->type == GGML_TYPE_Q4_0   ? EQK_WEIGHTS_Q4_0_EIGHT_ROWS
               : w->type == GGML_TYPE_Q4_K ? EQK_WEIGHTS_Q4_K_EIGHT_ROWS
                                           : -1;
    }
    // Other buffers whose rows are not as in the file say that they are no memory of the host.
    if (!ggml_backend_buffer_is_host(w->buffer) || !ggml_is_contiguous(w)) {
        return -1;
    }
    return w->type == GGML_TYPE_Q8_0 ? EQK_WEIGHTS_Q8_0 : w->type == GGML_TYPE_Q6_K ? EQK_WEIGHTS_Q6_K : -1;
}

bool takes(const ggml_tensor * op) {
    if (op->op != GGML_OP_MUL_MAT) {
        return false;
    }
    const ggml_tensor * x = op->src[1];
    return x->type == GGML_TYPE_F32 && op->type == GGML_TYPE_F32 && x->ne[2] == 1 && x->ne[3] == 1 && x->ne[1] > 0 &&
           x->nb[0] == sizeof(float) && x->nb[1] >= ggml_row_size(x->type, x->ne[0]) && op->nb[0] == sizeof(float) &&
           layout_of(op->src[0]) >= 0;
}

eqk_product_args arguments(const ggml_tensor * op, void * scratch) {
    const ggml_tensor * w    = op->src[0];
    const ggml_tensor * x    = op->src[1];
    eqk_product_args    args = {};
    args.weights             = layout_of(w);
    args.w                   = w->data;
    args.n_in                = w->ne[0];
    args.n_out               = w->ne[1];
    args.x                   = static_cast<const float *>(x->data);
    args.x_stride            = static_cast<int64_t>(x->nb[1] / sizeof(float));
    args.n_columns           = x->ne[1];
    args.y                   = static_cast<float *>(op->data);
    args.y_stride            = static_cast<int64_t>(op->nb[1] / sizeof(float));
    args.scratch             = &progress_of(scratch) + 1;
    return args;
}

size_t scratch(const ggml_tensor * op) {
    const ggml_tensor * w = op->src[0];
    return 2 * sizeof(progress) + eqk_product_scratch(layout_of(w), w->ne[0], op->src[1]->ne[1]);
}

void prepare(const ggml_tensor * op, void * memory, int thread, int threads) {
    const eqk_product_args args   = arguments(op, memory);
    const int64_t          blocks = eqk_product_blocks(args.weights, args.n_in, args.n_columns);
    if (thread == 0) {
        progress_of(memory).next_row.store(0, std::memory_order_relaxed);
    }
    eqk_product_prepare(&args, blocks * thread / threads, blocks * (thread + 1) / threads);
}

// Rows go to who is free: beside other work on the machine, threads are not equally fast.
void multiply(const ggml_tensor * op, void * memory, int, int threads) {
    constexpr int64_t      parts_per_thread = 8;
    const eqk_product_args args             = arguments(op, memory);
    const int64_t          parts            = threads == 1 ? 1 : threads * parts_per_thread;
    const int64_t          part             = ((args.n_out + 7) / 8 + parts - 1) / parts * 8;
    std::atomic<int64_t> & next             = progress_of(memory).next_row;
    for (int64_t row; (row = next.fetch_add(part, std::memory_order_relaxed)) < args.n_out;) {
        eqk_product_multiply(&args, row, std::min(row + part, args.n_out));
    }
}

constexpr ggml_cpu_products own = {takes, scratch, prepare, multiply};

const char * in_use = "llama.cpp";

} // namespace

void eq::start_products() {
    const char * wanted = getenv("EQUIPOISE_PRODUCTS");
    if (wanted && *wanted && strcmp(wanted, "own") != 0 && strcmp(wanted, "llama") != 0) {
        eq::fail(EQ_BAD_INPUT, "EQUIPOISE_PRODUCTS is \"%.40s\": own or llama", wanted);
    }
    if (strcmp(eqk_product_tier(), "scalar") == 0 || (wanted && strcmp(wanted, "llama") == 0)) {
        return;
    }
    // ggml's CPU backend may be one of many libraries: asked through its registry, never linked.
    ggml_backend_reg_t cpu = ggml_backend_reg_by_name("CPU");
    void *             set = cpu ? ggml_backend_reg_get_proc_address(cpu, "ggml_cpu_set_products") : nullptr;
    if (set) {
        reinterpret_cast<ggml_cpu_set_products_t>(set)(&own);
        in_use = eqk_product_tier();
    }
}

bool eq::multiplies(const ggml_tensor * weights) { return strcmp(in_use, "llama.cpp") != 0 && layout_of(weights) >= 0; }

const char * eq_products(void) { return in_use; }
