// The CUDA kernels against the reference where there is a device; elsewhere, that every door says so.

#include "group.h"

#ifdef EQK_TEST_CUDA
#include <cuda_runtime_api.h>
#endif

using namespace test;

namespace {

void unavailable() {
    char text[8] = "";
    CHECK(eqk_cuda_probe(text, sizeof(text)) == EQK_UNAVAILABLE && strlen(text) == sizeof(text) - 1, "%s", text);
    random_numbers           random(3);
    group                    g(33, 2, 0, kind::usual, random);
    between_sentinels<float> out(33);
    double                   delta_sq = 0;
    int64_t                  kept     = 0;
    CHECK(eqk_cuda_contrast_rows(g.rows.data(), g.stride, 33, g.row_index.data(), g.coefficient.data(), 2, 0, 0.1f,
                                 g.row_max.data(), g.row_lse.data(), out.data(), &delta_sq,
                                 &kept) == EQK_UNAVAILABLE, "contrast_rows");
    CHECK(out.untouched(), "an unavailable call wrote something");
    CHECK(*eqk_cuda_last_error() != '\0', "no reason given");
}

#ifdef EQK_TEST_CUDA

template <class T> class on_device {
public:
    explicit on_device(size_t n) : count(n) { must(cudaMalloc(reinterpret_cast<void **>(&values), n * sizeof(T))); }
    on_device(const T * from, size_t n) : on_device(n) {
        must(cudaMemcpy(values, from, n * sizeof(T), cudaMemcpyHostToDevice));
    }
    ~on_device() { cudaFree(values); }
    on_device(const on_device &)             = delete;
    on_device & operator=(const on_device &) = delete;

    T *            data() { return values; }
    std::vector<T> get() const {
        std::vector<T> host(count);
        must(cudaMemcpy(host.data(), values, count * sizeof(T), cudaMemcpyDeviceToHost));
        return host;
    }

private:
    static void must(cudaError_t error) {
        if (error != cudaSuccess) {
            fprintf(stderr, "%s\n", cudaGetErrorString(error));
            abort();
        }
    }

    size_t count;
    T *    values = nullptr;
};

void rows_on_device(int64_t n, kind k, random_numbers & random) {
    group                  g(n, 3, 7, k, random);
    on_device<float>       rows(g.rows.data(), g.rows.length());
    on_device<int32_t>     index(g.row_index.data(), 3);
    on_device<eqk_partial> partials(3 * EQK_SLICES);
    on_device<float>       maxima(3), sums(3), nats(3);
    on_device<int64_t>     best(3);
    CHECK(eqk_cuda_row_partials(rows.data(), g.stride, n, index.data(), 3, partials.data(), nullptr) == EQK_OK,
          "%ld", n);
    CHECK(eqk_cuda_row_reduce(partials.data(), 3, maxima.data(), sums.data(), nullptr) == EQK_OK, "%ld", n);
    CHECK(eqk_cuda_argmax(rows.data(), g.stride, n, index.data(), 3, best.data(), nullptr) == EQK_OK, "%ld", n);
    CHECK(eqk_cuda_entropy(rows.data(), g.stride, n, index.data(), 3, maxima.data(), nats.data(), nullptr) == EQK_OK,
          "%ld", n);
    for (int32_t b = 0; b < 3; b++) {
        const size_t at   = static_cast<size_t>(b);
        const soft   want = softmax_of(g.row(b), n);
        int64_t      argmax = -2;
        CHECK(maxima.get()[at] == want.max, "n %ld row %d", n, b);
        CHECK(loosened(want.lse, n, 1).holds(sums.get()[at]), "n %ld row %d", n, b);
        CHECK(loosened(want.entropy, n, 2 * (1 + want.entropy.value)).holds(nats.get()[at]), "n %ld row %d", n, b);
        CHECK(eqk_argmax(g.row(b), n, &argmax) == EQK_OK && best.get()[at] == argmax, "n %ld row %d", n, b);
    }
}

void contrast_on_device(int64_t n, int32_t branches, random_numbers & random) {
    group g(n, branches, 3, kind::usual, random);
    g.log_probabilities = random.below(2);
    std::vector<float> out(static_cast<size_t>(n));
    double             delta_sq = -1;
    int64_t            kept     = -1;
    const int32_t      status   = eqk_cuda_contrast_rows(
        g.rows.data(), g.stride, n, g.row_index.data(), g.coefficient.data(), branches, g.log_probabilities, g.beta,
        g.row_max.data(), g.row_lse.data(), out.data(), &delta_sq, &kept);
    CHECK(status == EQK_OK, "n %ld: %s", n, eqk_cuda_last_error());
    eqk_contrast_partial       unused[EQK_SLICES];
    const contrast_expectation want = contrast_of(g.args(nullptr, unused));
    CHECK(kept == want.kept && want.delta_sq.holds(delta_sq), "n %ld: kept %ld, not %ld", n, kept, want.kept);
    for (size_t y = 0; y < out.size(); y++) {
        const expected & w = want.out[y];
        CHECK(w.tolerance < 0 ? out[y] == -INFINITY : w.holds(out[y]), "n %ld y %zu: %.9g, not %.9g", n, y, out[y],
              w.value);
    }

    g.row(branches - 1)[n / 2] = NAN;
    CHECK(eqk_cuda_contrast_rows(g.rows.data(), g.stride, n, g.row_index.data(), g.coefficient.data(), branches, 0,
                                 g.beta, g.row_max.data(), g.row_lse.data(), out.data(), &delta_sq,
                                 &kept) == EQK_NOT_FINITE, "n %ld", n);
    CHECK(std::isnan(out[0]) && kept == 0, "n %ld", n);
}

void on_the_device() {
    random_numbers random(4);
    for (const int64_t n : sizes()) {
        for (const kind k : {kind::usual, kind::wide, kind::flat, kind::masked}) {
            rows_on_device(n, k, random);
        }
        for (const int32_t branches : {1, 2, 5}) {
            contrast_on_device(n, branches, random);
        }
    }
}

#endif

} // namespace

int main() {
    char text[256] = "";
    if (eqk_cuda_probe(text, sizeof(text)) != EQK_OK) {
        unavailable();
        printf("no CUDA: %s\n", text);
        return failures ? EXIT_FAILURE : skipped;
    }
#ifdef EQK_TEST_CUDA
    on_the_device();
#endif
    return verdict(text);
}
