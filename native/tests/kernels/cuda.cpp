// The CUDA kernels against the reference where there is a device; elsewhere, that every door says so.

#include "group.h"

#ifdef EQK_TEST_CUDA
#include "equipoise_edits.h"
#include "equipoise_groups.h"

#include <algorithm>
#include <bit>
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

// What graphs launch, where the bodies' own tests on the host have shown the arithmetic: grids, addresses, barriers.

void choice_on_device(int64_t n, random_numbers & random) {
    constexpr int32_t  n_rows = 4;
    std::vector<float> logits(static_cast<size_t>(n_rows * n));
    for (int32_t r = 0; r < n_rows; r++) {
        fill_row(logits.data() + r * n, n, r == 1 ? kind::flat : kind::usual, random);
    }
    logits[static_cast<size_t>(3 * n - 1)] = NAN;
    const int32_t          list[] = {3, 0, 1, 2, INT32_MAX};
    on_device<float>       rows(logits.data(), logits.size());
    on_device<int32_t>     wanted(list, n_rows + 1);
    on_device<int64_t>     found(static_cast<size_t>(eqk::choice_list::n_found(n_rows)));
    const eqk_choice_args  args = {rows.data(), n, n, wanted.data(), found.data(), n_rows};
    CHECK(eqk_cuda_choice(&args, nullptr) == EQK_OK, "%s", eqk_cuda_last_error());
    const std::vector<int64_t> tokens = found.get();
    for (int32_t r = 0; r < 3; r++) {
        int64_t want = -2;
        eqk_argmax(logits.data() + r * n, n, &want);
        CHECK(tokens[static_cast<size_t>(r)] == want, "n %ld row %d: %ld, not %ld", n, r, tokens[static_cast<size_t>(r)],
              want);
    }
}

void merges_on_device(int64_t n, random_numbers & random) {
    std::vector<float> in(static_cast<size_t>(3 * n)), other(static_cast<size_t>(2 * n));
    std::generate(in.begin(), in.end(), [&] { return random.between(-3, 3); });
    std::generate(other.begin(), other.end(), [&] { return random.between(-3, 3); });
    const float         weight  = 0.7f;
    const int32_t       words[] = {1, std::bit_cast<int32_t>(weight), 0, -1, -1, -1, 0, std::bit_cast<int32_t>(weight), 1};
    const double        nothing[2] = {0, 0};
    on_device<float>    columns(in.data(), in.size()), rows(other.data(), other.size()), out(in.size());
    on_device<int32_t>  joins(words, 9);
    on_device<double>   deltas(nothing, 2);
    const eqk_merges_args args = {columns.data(), out.data(), rows.data(), joins.data(), deltas.data(), n, n, n,
                                  static_cast<int32_t>(n), 3};
    CHECK(eqk_cuda_merges(&args, nullptr) == EQK_OK, "%s", eqk_cuda_last_error());
    double want[2];
    CHECK(eqk_merge(in.data(), other.data() + n, n, weight, want) == EQK_OK, "%ld", n);
    CHECK(eqk_merge(in.data() + 2 * n, other.data(), n, weight, want + 1) == EQK_OK, "%ld", n);
    const std::vector<float> found = out.get();
    for (size_t i = 0; i < in.size(); i++) { // one rounding each, from doubles that may differ in their last bit
        CHECK(std::fabs(static_cast<double>(found[i]) - in[i]) <= 2 * u * 3, "n %ld [%zu]: %.9g, not %.9g", n, i, found[i],
              in[i]);
    }
    for (size_t s = 0; s < 2; s++) {
        CHECK(std::fabs(deltas.get()[s] - want[s]) <= 2 * u * 3 * std::sqrt(n), "n %ld: %.9g, not %.9g", n,
              deltas.get()[s], want[s]);
    }
}

// A state is added to sums; another, on which nothing acts, is not.
void reading_on_device(int64_t n, random_numbers & random) {
    std::vector<float> in(static_cast<size_t>(2 * n));
    std::generate(in.begin(), in.end(), [&] { return random.between(-3, 3); });
    std::vector<int32_t> words(static_cast<size_t>(eqk::edit_book::n_words(1, 1)), -1);
    words[eqk::edit_book::kind]                                                    = eqk::read_states;
    words[eqk::edit_book::point]                                                   = 1;
    words[static_cast<size_t>(eqk::edit_book::place_at(1, 1, 0, 0, 0))]            = 0;
    const int32_t             of[] = {0, 1, 0, 0, 0, 0, 0, 0};
    const std::vector<double> nothing(static_cast<size_t>(n + 1), 0.0);
    on_device<float>          columns(in.data(), in.size()), out(in.size()), vectors(1);
    on_device<int32_t>        tokens(of, 8), book(words.data(), words.size());
    on_device<double>         deltas(eqk::most_edits), sums(nothing.data(), nothing.size());
    eqk_columns_args          args = {};
    args.in                        = columns.data();
    args.out                       = out.data();
    args.tokens                    = tokens.data();
    args.book                      = book.data();
    args.vectors                   = vectors.data();
    args.deltas                    = deltas.data();
    args.sums                      = sums.data();
    args.in_column = args.in_row = args.out_column = n;
    args.width                                     = static_cast<int32_t>(n);
    args.rows = args.n_sequences = args.n_layers = args.point = 1;
    args.n_columns = args.n_tokens = 2;
    CHECK(eqk_cuda_columns(&args, nullptr) == EQK_OK, "%s", eqk_cuda_last_error());
    CHECK(out.get() == in, "n %ld: reading changes nothing", n);
    const std::vector<double> found = sums.get();
    for (size_t i = 0; i < static_cast<size_t>(n); i++) {
        CHECK(found[i] == in[i], "n %ld [%zu]", n, i);
    }
    CHECK(found.back() == 1, "n %ld: %g states", n, found.back());
}

// Two rows with a mean and then a contrast of two exits, the third exit not among them.
void exits_on_device(int64_t n, int32_t divergence, random_numbers & random) {
    std::vector<float> z(static_cast<size_t>(2 * n)), early(static_cast<size_t>(6 * n));
    std::generate(z.begin(), z.end(), [&] { return random.between(-8, 8); });
    std::generate(early.begin(), early.end(), [&] { return random.between(-8, 8); });
    using book_of                   = eqk::edit_book;
    constexpr float      weight     = 0.3f, top = 0.01f;
    const int32_t        at_layer[] = {-1, 0, 1};
    std::vector<int32_t> words(static_cast<size_t>(book_of::n_words(1, 2)), -1);
    for (int32_t k = 0; k < 2; k++) {
        int32_t * edit           = words.data() + book_of::edit_at(0, k);
        edit[book_of::kind]       = k == 0 ? eqk::exits_mean : eqk::exits_contrast;
        edit[book_of::point]      = 7;
        edit[book_of::amount]     = std::bit_cast<int32_t>(k == 0 ? weight : top);
        edit[book_of::labels]     = 1;
        edit[book_of::parameters] = std::bit_cast<int32_t>(1.0f);
        edit[book_of::parameters + 1] = std::bit_cast<int32_t>(static_cast<float>(divergence));
        words[static_cast<size_t>(book_of::place_at(1, 2, 0, k, 1))] = 0;
    }
    const int32_t             of[] = {0, 3, 0, 0, 0, 3, 0, 0, 0, 1};
    const std::vector<double> nothing(eqk::most_edits, 0.0);
    on_device<float>          logits(z.data(), z.size()), normed(early.data(), early.size()), out(z.size());
    on_device<int32_t>        layers(at_layer, 3), tokens(of, 10), book(words.data(), words.size());
    on_device<double>         deltas(nothing.data(), nothing.size());
    on_device<double>         scratch(static_cast<size_t>(eqk::exits_scratch::n_doubles(2, 3)));
    const eqk_exits_args      args = {logits.data(), normed.data(), normed.data(), out.data(), layers.data(),
                                      tokens.data(), book.data(),   deltas.data(), scratch.data(), n, n, n, n,
                                      2, 3, 2, 2, 1, 2, 7};
    CHECK(eqk_cuda_exits(&args, nullptr) == EQK_OK, "%s", eqk_cuda_last_error());
    const std::vector<float> found   = out.get();
    double                   sums[2] = {0, 0};
    for (int64_t r = 0; r < 2; r++) {
        const float * exits[] = {early.data() + r * n, early.data() + (4 + r) * n};
        double        change[2];
        int32_t       chosen = -1;
        CHECK(eqk_exits_mean(z.data() + r * n, exits, n, 2, weight, change) == EQK_OK, "%ld", n);
        CHECK(eqk_exits_contrast(z.data() + r * n, exits, n, 2, top, divergence, &chosen, change + 1) == EQK_OK, "%ld", n);
        sums[0] += std::sqrt(change[0]);
        sums[1] += std::sqrt(change[1]);
    }
    for (size_t i = 0; i < z.size(); i++) { // two roundings, of numbers up to 40
        CHECK(z[i] == found[i] || std::fabs(static_cast<double>(z[i]) - found[i]) <= 3 * u * 40,
              "n %ld [%zu]: %.9g, not %.9g", n, i, found[i], z[i]);
    }
    for (size_t k = 0; k < 2; k++) {
        CHECK(std::fabs(deltas.get()[k] - sums[k]) <= 2 * 3 * u * 40 * std::sqrt(n), "n %ld edit %zu: %.9g, not %.9g", n, k,
              deltas.get()[k], sums[k]);
    }
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
        choice_on_device(n, random);
        merges_on_device(n, random);
        reading_on_device(n, random);
        exits_on_device(n, EQK_JENSEN_SHANNON, random);
        exits_on_device(n, EQK_ARITHMETIC_GEOMETRIC, random);
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
