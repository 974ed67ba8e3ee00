// Our products inside a graph of ggml's CPU backend: taken, the same as a direct call, and those of llama.cpp but for the
// order of sums.

#include "../kernels/check.h"

#include "equipoise.h"
#include "equipoise_products.h"

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

#include <cmath>
#include <cstring>
#include <vector>

using namespace test;

namespace {

constexpr int64_t n_in = 352, n_out = 200;

// Weights as a model's are loaded: quantised, in the buffer that the CPU repacks.
struct layer {
    explicit layer(ggml_backend_buffer_type_t repack) {
        context = ggml_init({ggml_tensor_overhead() * 4, nullptr, true});
        weights = ggml_new_tensor_2d(context, GGML_TYPE_Q4_0, n_in, n_out);
        buffer  = ggml_backend_alloc_ctx_tensors_from_buft(context, repack);
        random_numbers     random(1);
        std::vector<float> rows(n_in * n_out);
        for (float & x : rows) {
            x = random.between(-1, 1);
        }
        std::vector<char> quantised(ggml_nbytes(weights));
        ggml_quantize_chunk(GGML_TYPE_Q4_0, rows.data(), quantised.data(), 0, n_out, n_in, nullptr);
        ggml_backend_tensor_set(weights, quantised.data(), 0, quantised.size());
    }
    ~layer() {
        ggml_backend_buffer_free(buffer);
        ggml_free(context);
    }

    // The product with some columns, by whoever multiplies now.
    std::vector<float> by_graph(ggml_backend_t backend, const std::vector<float> & x) const {
        ggml_context * with = ggml_init({ggml_tensor_overhead() * 8 + ggml_graph_overhead(), nullptr, true});
        ggml_tensor *  in   = ggml_new_tensor_2d(with, GGML_TYPE_F32, n_in, static_cast<int64_t>(x.size()) / n_in);
        ggml_tensor *  out  = ggml_mul_mat(with, weights, in);
        ggml_cgraph *  graph = ggml_new_graph(with);
        ggml_build_forward_expand(graph, out);
        ggml_backend_buffer_t memory = ggml_backend_alloc_ctx_tensors(with, backend);
        ggml_backend_tensor_set(in, x.data(), 0, ggml_nbytes(in));
        CHECK(ggml_backend_graph_compute(backend, graph) == GGML_STATUS_SUCCESS, "computed");
        std::vector<float> y(static_cast<size_t>(ggml_nelements(out)));
        ggml_backend_tensor_get(out, y.data(), 0, ggml_nbytes(out));
        ggml_backend_buffer_free(memory);
        ggml_free(with);
        return y;
    }

    std::vector<float> directly(const std::vector<float> & x) const {
        const auto         columns = static_cast<int64_t>(x.size()) / n_in;
        std::vector<float> y(static_cast<size_t>(columns * n_out));
        std::vector<char>  scratch(eqk_product_scratch(n_in, columns));
        const eqk_product_args args = {EQK_WEIGHTS_Q4_0_EIGHT_ROWS, weights->data, n_in, n_out, x.data(), n_in, columns,
                                       y.data(), n_out, scratch.data()};
        CHECK(eqk_product_prepare(&args, 0, columns * (n_in / EQK_BLOCK)) == EQK_OK, "prepared");
        CHECK(eqk_product_multiply(&args, 0, n_out) == EQK_OK, "multiplied");
        return y;
    }

    ggml_context *        context;
    ggml_tensor *         weights;
    ggml_backend_buffer_t buffer;
};

} // namespace

int main() {
    CHECK(eq_start(nullptr) == EQ_OK, "%s", eq_last_error());
    if (strcmp(eq_products(), "llama.cpp") == 0) {
        printf("products: llama.cpp multiplies here\n");
        return skipped;
    }
    ggml_backend_reg_t cpu    = ggml_backend_reg_by_name("CPU");
    ggml_backend_dev_t device = ggml_backend_reg_dev_get(cpu, 0);
    const auto buffer_types   = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
        ggml_backend_reg_get_proc_address(cpu, "ggml_backend_dev_get_extra_bufts"));
    const auto set_products = reinterpret_cast<ggml_cpu_set_products_t>(
        ggml_backend_reg_get_proc_address(cpu, "ggml_cpu_set_products"));
    const auto set_threads = reinterpret_cast<ggml_backend_set_n_threads_t>(
        ggml_backend_reg_get_proc_address(cpu, "ggml_backend_set_n_threads"));
    CHECK(buffer_types && *buffer_types(device), "a buffer that repacks");
    const layer    weights(*buffer_types(device));
    ggml_backend_t backend = ggml_backend_dev_init(device, nullptr);

    random_numbers                  random(2);
    std::vector<std::vector<float>> inputs, ours;
    for (const int columns : {1, 2, 3, 4, 5, 8, 9, 40}) {
        std::vector<float> x(static_cast<size_t>(columns * n_in));
        for (float & value : x) {
            value = random.between(-2, 2);
        }
        const std::vector<float> direct = weights.directly(x);
        for (const int threads : {1, 2, 3}) {
            set_threads(backend, threads);
            const std::vector<float> y = weights.by_graph(backend, x);
            CHECK(memcmp(y.data(), direct.data(), y.size() * sizeof(float)) == 0, "%d columns, %d threads", columns,
                  threads);
        }
        inputs.push_back(x);
        ours.push_back(direct);
    }

    // What llama.cpp multiplies is the same but for the order of its sums: 2 n_in / 32 terms of at most
    // 32 / 2 * 127 * 8 of their scales' products, about (1 / 8) * (2 / 127); every sum rounds by 2^-24 of what it holds.
    set_products(nullptr);
    const double term      = 16 * 127 * 8 * (1.0 / 8) * (2.0 / 127);
    const double tolerance = 2 * (2 * n_in / 32) * 0x1p-24 * (2 * n_in / 32) * term;
    for (size_t i = 0; i < inputs.size(); i++) {
        const std::vector<float> theirs = weights.by_graph(backend, inputs[i]);
        for (size_t at = 0; at < theirs.size(); at++) {
            CHECK(std::fabs(theirs[at] - ours[i][at]) <= tolerance, "%g, not %g within %g", ours[i][at], theirs[at],
                  tolerance);
        }
    }
    ggml_backend_free(backend);
    return verdict("products in a graph");
}
