// Our products inside a graph of ggml's CPU backend: taken, the same as a direct call, and those of llama.cpp but for
// the order of sums.

#include "../kernels/check.h"

#include "equipoise.h"
#include "equipoise_products.h"

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

using namespace test;

namespace {

struct kind {
    ggml_type type;
    int32_t   weights;
    int64_t   n_in, n_out;
    bool      repacked;
};

const kind kinds[] = {{GGML_TYPE_Q4_0, EQK_WEIGHTS_Q4_0_EIGHT_ROWS, 352, 200, true},
                      {GGML_TYPE_Q8_0, EQK_WEIGHTS_Q8_0, 352, 203, false},
                      {GGML_TYPE_Q4_K, EQK_WEIGHTS_Q4_K_EIGHT_ROWS, 768, 200, true},
                      {GGML_TYPE_Q6_K, EQK_WEIGHTS_Q6_K, 768, 203, false},
                      {GGML_TYPE_Q8_0, EQK_WEIGHTS_Q8_0, 64, 5, false},
                      {GGML_TYPE_Q6_K, EQK_WEIGHTS_Q6_K, 256, 3, false}};

// Weights as a model's are loaded: quantised, in the buffer that the CPU repacks, or as they are in a file.
struct layer {
    layer(const kind & what, ggml_backend_buffer_type_t repack) : of(what) {
        context = ggml_init({ggml_tensor_overhead() * 4, nullptr, true});
        weights = ggml_new_tensor_2d(context, of.type, of.n_in, of.n_out);
        buffer  = ggml_backend_alloc_ctx_tensors_from_buft(context,
                                                           of.repacked ? repack : ggml_backend_cpu_buffer_type());
        random_numbers     random(1);
        std::vector<float> rows(static_cast<size_t>(of.n_in * of.n_out));
        for (float & x : rows) {
            x = random.between(-1, 1);
        }
        std::vector<char> quantised(ggml_nbytes(weights));
        ggml_quantize_chunk(of.type, rows.data(), quantised.data(), 0, of.n_out, of.n_in, nullptr);
        ggml_backend_tensor_set(weights, quantised.data(), 0, quantised.size());
    }
    ~layer() {
        ggml_backend_buffer_free(buffer);
        ggml_free(context);
    }

    // The product with some columns, so far apart and in so many matrices, by whoever multiplies now.
    std::vector<float> by_graph(ggml_backend_t backend, const std::vector<float> & x, int64_t gap = 0,
                                int64_t matrices = 1) const {
        ggml_context * with = ggml_init({ggml_tensor_overhead() * 8 + ggml_graph_overhead(), nullptr, true});
        const auto     columns = static_cast<int64_t>(x.size()) / of.n_in;
        ggml_tensor *  wide    = ggml_new_tensor_3d(with, GGML_TYPE_F32, of.n_in + gap, columns / matrices, matrices);
        ggml_tensor *  in      = gap == 0 ? wide
                                          : ggml_view_3d(with, wide, of.n_in, wide->ne[1], matrices, wide->nb[1],
                                                         wide->nb[2], 0);
        ggml_tensor *  out     = ggml_mul_mat(with, weights, in);
        ggml_cgraph *  graph = ggml_new_graph(with);
        ggml_build_forward_expand(graph, out);
        ggml_backend_buffer_t memory = ggml_backend_alloc_ctx_tensors(with, backend);
        for (int64_t column = 0; column < columns; column++) {
            ggml_backend_tensor_set(wide, x.data() + column * of.n_in, static_cast<size_t>(column) * wide->nb[1],
                                    static_cast<size_t>(of.n_in) * sizeof(float));
        }
        CHECK(ggml_backend_graph_compute(backend, graph) == GGML_STATUS_SUCCESS, "computed");
        std::vector<float> y(static_cast<size_t>(ggml_nelements(out)));
        ggml_backend_tensor_get(out, y.data(), 0, ggml_nbytes(out));
        ggml_backend_buffer_free(memory);
        ggml_free(with);
        return y;
    }

    std::vector<float> directly(const std::vector<float> & x) const {
        const auto         columns = static_cast<int64_t>(x.size()) / of.n_in;
        std::vector<float> y(static_cast<size_t>(columns * of.n_out));
        std::vector<char>  scratch(eqk_product_scratch(of.weights, of.n_in, columns));
        const eqk_product_args args = {of.weights, weights->data, of.n_in, of.n_out, x.data(), of.n_in, columns,
                                       y.data(), of.n_out, scratch.data()};
        CHECK(eqk_product_prepare(&args, 0, eqk_product_blocks(of.weights, of.n_in, columns)) == EQK_OK, "prepared");
        CHECK(eqk_product_multiply(&args, 0, of.n_out) == EQK_OK, "multiplied");
        return y;
    }

    const kind            of;
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
    ggml_backend_t backend = ggml_backend_dev_init(device, nullptr);

    struct product {
        const layer *      of;
        std::vector<float> x, ours;
        std::vector<float> two_matrices; // of what is not in eight rows
    };
    std::vector<std::unique_ptr<layer>> layers;
    std::vector<product>                products;
    random_numbers                      random(2);
    for (const kind & of : kinds) {
        layers.push_back(std::make_unique<layer>(of, *buffer_types(device)));
        for (const int columns : {1, 2, 3, 4, 5, 8, 9, 40}) {
            std::vector<float> x(static_cast<size_t>(columns * of.n_in));
            for (float & value : x) {
                value = random.between(-2, 2);
            }
            const std::vector<float> direct = layers.back()->directly(x);
            for (const int threads : {1, 2, 3}) {
                set_threads(backend, threads);
                const std::vector<float> y = layers.back()->by_graph(backend, x);
                CHECK(memcmp(y.data(), direct.data(), y.size() * sizeof(float)) == 0, "%s, %d columns, %d threads",
                      ggml_type_name(of.type), columns, threads);
            }
            const std::vector<float> apart = layers.back()->by_graph(backend, x, 24);
            CHECK(memcmp(apart.data(), direct.data(), apart.size() * sizeof(float)) == 0, "%s, %d columns apart",
                  ggml_type_name(of.type), columns);
            products.push_back({layers.back().get(), x, direct, {}});
            if (!of.repacked && columns % 2 == 0) {
                products.back().two_matrices = layers.back()->by_graph(backend, x, 0, 2);
            }
        }
    }

    // What llama.cpp multiplies is the same but for the order of its sums, each of at most one term for every 16
    // values and eight lanes. Of n_in values that are at most 2 by weights that are at most 1, or 2 with 1 taken off,
    // and an eighth more by quantising, the terms are n_in 2 3 (9/8)^2 at most; every sum rounds by 2^-24 of what it
    // holds, on either side.
    set_products(nullptr);
    for (const product & one : products) {
        const double             terms     = 2 * 3 * 1.27 * static_cast<double>(one.of->of.n_in);
        const double             tolerance = 2 * (static_cast<double>(one.of->of.n_in) / 16 + 8) * 0x1p-24 * terms;
        const std::vector<float> theirs    = one.of->by_graph(backend, one.x);
        // More than a matrix of columns is theirs in any case.
        CHECK(one.two_matrices.empty() || one.two_matrices == one.of->by_graph(backend, one.x, 0, 2),
              "%s, two matrices of %zu columns", ggml_type_name(one.of->of.type), one.x.size() / 2);
        for (size_t at = 0; at < theirs.size(); at++) {
            CHECK(std::fabs(theirs[at] - one.ours[at]) <= tolerance, "%s: %g, not %g within %g",
                  ggml_type_name(one.of->of.type), one.ours[at], theirs[at], tolerance);
        }
    }
    layers.clear();
    ggml_backend_free(backend);
    return verdict("products in a graph");
}
