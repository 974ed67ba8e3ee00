// The host from end to end on a tiny model: branches in one decode, the contrast in the graph, picks, captures, and
// handles closed in any order.
#include "tiny_model.h"

#include "equipoise.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace {

constexpr int n_vocab = test::tiny_model::n_vocab;

// What the branches read; they differ in their third token.
constexpr int32_t prompts[3][5] = {{1, 260, 261, 262, 263}, {1, 260, 270, 262, 263}, {1, 260, 280, 262, 263}};

eq_context * open_context(eq_model * model, int32_t flash_attn, int32_t n_ubatch, int32_t capture) {
    const eq_context_params params = {128, n_ubatch, 4, 2, 1, flash_attn, capture, 0};
    eq_context *            context = nullptr;
    CHECK(eq_context_open(model, &params, &context) == EQ_OK, "%s", eq_last_error());
    return context;
}

// Reads the prompts as sequences 0 .. n - 1, all but the last token in one batch and that one in another, whose columns
// are then the outputs 0 .. n - 1.
int32_t read_prompts(eq_context * context, int32_t n, const eq_group * groups, int32_t n_groups, eq_pick * picks,
                     int32_t n_picks) {
    std::vector<int32_t> tokens, positions, sequences;
    for (int32_t i = 0; i < 4; i++) {
        for (int32_t s = 0; s < n; s++) {
            tokens.push_back(prompts[s][i]);
            positions.push_back(i);
            sequences.push_back(s);
        }
    }
    std::vector<int8_t> none(tokens.size(), 0);
    const eq_batch      prefill = {tokens.data(), nullptr, positions.data(), sequences.data(), none.data(),
                                   nullptr, nullptr, nullptr, nullptr, nullptr, (int32_t) tokens.size(), 0, 0, 0};
    CHECK(eq_decode(context, &prefill, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());

    const std::vector<int32_t> last(n, prompts[0][4]), at(n, 4);
    std::vector<int32_t>       each(n);
    for (int32_t s = 0; s < n; s++) {
        each[s] = s;
    }
    const std::vector<int8_t> all(n, 1);
    const eq_batch            step = {last.data(), nullptr, at.data(), each.data(), all.data(),
                                      nullptr, nullptr, nullptr, nullptr, nullptr, n, 0, 0, 0};
    std::vector<int32_t>      top(std::max(1, n_picks) * EQ_TOP_MAX);
    std::vector<float>        log_probabilities(top.size());
    return eq_decode(context, &step, groups, n_groups, picks, n_picks, top.data(), log_probabilities.data());
}

std::vector<float> row(eq_context * context, int32_t column) {
    std::vector<float> values(n_vocab);
    CHECK(eq_logits(context, column, values.data()) == EQ_OK, "%s", eq_last_error());
    return values;
}

void contrast_is_the_sum_of_the_rows(eq_model * model, int32_t flash_attn) {
    eq_context * context = open_context(model, flash_attn, 32, 0);
    CHECK(read_prompts(context, 3, nullptr, 0, nullptr, 0) == EQ_OK, "%s", eq_last_error());
    const std::vector<float> plain[3] = {row(context, 0), row(context, 1), row(context, 2)};
    eq_context_close(context);

    context                        = open_context(model, flash_attn, 32, 0);
    const int32_t members[]        = {0, 1, 2};
    const float   coefficients[]   = {2.0f, -0.75f, -0.25f};
    const float   beta             = 0.5f;
    const eq_group group           = {members, coefficients, 3, 0, beta, 0, nullptr, 0, 0};
    eq_pick       pick             = {};
    pick.group                     = 0;
    pick.n_top                     = 5;
    CHECK(read_prompts(context, 3, &group, 1, &pick, 1) == EQ_OK, "%s", eq_last_error());
    const std::vector<float> combined = row(context, 0);

    const float limit = *std::max_element(plain[0].begin(), plain[0].end()) + std::log(beta);
    int64_t     kept  = 0;
    int32_t     best  = -1;
    for (int32_t y = 0; y < n_vocab; y++) {
        const double expected = 2.0 * plain[0][y] - 0.75 * plain[1][y] - 0.25 * plain[2][y];
        // Logits are of order 4 and three products are rounded to float: a few units of 2^-22.
        const bool   keep  = plain[0][y] >= limit;
        const double error = std::fabs(combined[y] - expected);
        // The two contexts may share the work differently: a token within rounding of the limit may fall either way.
        const bool at_limit = std::fabs(plain[0][y] - limit) <= 1e-5;
        CHECK(at_limit || (keep ? error <= 2e-5 : combined[y] == -INFINITY), "token %d: %g, expected %g", y, combined[y],
              keep ? expected : -INFINITY);
        kept += combined[y] > -INFINITY;
        best = best < 0 || combined[y] > combined[best] ? y : best;
    }
    CHECK(pick.status == EQ_OK && pick.token == best, "picked %d, best is %d", pick.token, best);
    CHECK(pick.kept == kept && kept >= 1 && kept < n_vocab, "kept %lld, counted %lld", (long long) pick.kept,
          (long long) kept);
    CHECK(pick.log_probability <= 0 && pick.delta_norm > 0, "log probability %g, norm %g", pick.log_probability,
          pick.delta_norm);
    eq_context_close(context);
}

void picks_and_sequences(eq_model * model) {
    eq_context * context = open_context(model, 0, 32, 0);
    CHECK(read_prompts(context, 1, nullptr, 0, nullptr, 0) == EQ_OK, "%s", eq_last_error());
    const std::vector<float> first = row(context, 0);

    // A copy of the prefix continues as the original does.
    CHECK(eq_sequence_copy(context, 0, 3, 4) == EQ_OK, "%s", eq_last_error());
    const int32_t token = prompts[0][4], position = 4, sequence = 3;
    const int8_t  output = 1;
    const eq_batch step  = {&token, nullptr, &position, &sequence, &output, nullptr, nullptr, nullptr, nullptr, nullptr, 1, 0, 0, 0};
    eq_sampler *   sampler = nullptr;
    const eq_sampler_params params = {0.8, 40, 0.95, 0.05, 1.1, 16, 7, "root ::= [a-c]+", nullptr, nullptr, 0, 0, 0};
    CHECK(eq_sampler_open(model, &params, &sampler) == EQ_OK, "%s", eq_last_error());
    eq_pick pick = {};
    pick.sampler = sampler;
    pick.group   = -1;
    CHECK(eq_decode(context, &step, nullptr, 0, &pick, 1, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    const std::vector<float> copied = row(context, 0);
    for (int32_t y = 0; y < n_vocab; y++) {
        // Equal sums over other cells: the same rounding at most twice.
        CHECK(std::fabs(copied[y] - first[y]) <= 1e-5, "token %d: %g against %g", y, copied[y], first[y]);
    }
    CHECK(pick.status == EQ_OK && pick.n_bytes == 1 && pick.bytes[0] >= 'a' && pick.bytes[0] <= 'c',
          "the grammar gave token %d", pick.token);
    CHECK(eq_sequence_remove(context, 3, 0) == EQ_OK, "%s", eq_last_error());
    eq_sampler_close(sampler);
    eq_context_close(context);
}

void captures(eq_model * model) {
    eq_context * context = open_context(model, 0, 32, 1);
    CHECK(read_prompts(context, 2, nullptr, 0, nullptr, 0) == EQ_OK, "%s", eq_last_error());
    for (int32_t il = -1; il < test::tiny_model::layers; il++) {
        int32_t            rows = 0;
        std::vector<float> values(2 * test::tiny_model::width);
        CHECK(eq_capture_read(context, il, values.data(), (int64_t) values.size(), &rows) == EQ_OK, "layer %d: %s", il,
              eq_last_error());
        CHECK(rows == 2, "layer %d: %d rows", il, rows);
        CHECK(std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }), "layer %d", il);
    }
    int32_t rows = 0;
    CHECK(eq_capture_read(context, 99, nullptr, 0, &rows) == EQ_UNAVAILABLE, "%s", eq_last_error());
    eq_context_close(context);
}

void refusals(eq_model * model) {
    eq_model * nothing = nullptr;
    CHECK(eq_model_open("/nonexistent/model.gguf", 0, &nothing) == EQ_BAD_INPUT && !nothing, "%s", eq_last_error());
    CHECK(std::string(eq_last_error()).find("/nonexistent/model.gguf") != std::string::npos, "%s", eq_last_error());
    eq_context * context = open_context(model, 0, 8, 0);
    const int32_t tokens[] = {1, n_vocab}, positions[] = {0, 1}, sequences[] = {0, 0}, far[] = {0, 9};
    const int8_t  outputs[] = {0, 1};
    eq_batch      batch     = {tokens, nullptr, positions, sequences, outputs, nullptr, nullptr, nullptr, nullptr, nullptr, 2, 0, 0, 0};
    CHECK(eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_BAD_INPUT, "no such token");
    batch.tokens    = positions;
    batch.sequences = far;
    CHECK(eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_BAD_INPUT, "no such sequence");
    batch.n_tokens = 9;
    CHECK(eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_BAD_INPUT, "too many tokens");
    eq_sampler *            sampler = nullptr;
    const eq_sampler_params broken  = {0.8, 0, 1, 0, 1, 0, 7, "root ::= (", nullptr, nullptr, 0, 0, 0};
    CHECK(eq_sampler_open(model, &broken, &sampler) == EQ_BAD_INPUT && !sampler, "a broken grammar");
    eq_context_close(context);
}

void text_round_trip(eq_model * model) {
    int32_t           tokens[64];
    int32_t           n    = 0;
    const std::string text = "abc\xC3\xA9!"; // letters are words, the rest falls back to bytes
    CHECK(eq_tokenize(model, text.data(), (int32_t) text.size(), 0, tokens, 64, &n) == EQ_OK, "%s", eq_last_error());
    std::string back;
    for (int32_t i = 0; i < n; i++) {
        char    bytes[16];
        int32_t n_bytes = 0;
        CHECK(eq_token_bytes(model, tokens[i], 0, bytes, 16, &n_bytes) == EQ_OK, "%s", eq_last_error());
        back.append(bytes, (size_t) n_bytes);
    }
    CHECK(back == text, "'%s' came back as '%s'", text.c_str(), back.c_str());
}

void close_in_any_order(const char * path) {
    eq_model * model = nullptr;
    CHECK(eq_model_open(path, 0, &model) == EQ_OK, "%s", eq_last_error());
    eq_context *            context = open_context(model, -1, 32, 0);
    eq_sampler *            sampler = nullptr;
    const eq_sampler_params params  = {1, 0, 1, 0, 1, 0, 1, nullptr, nullptr, nullptr, 0, 0, 0};
    CHECK(eq_sampler_open(model, &params, &sampler) == EQ_OK, "%s", eq_last_error());
    eq_model_close(model);
    CHECK(read_prompts(context, 2, nullptr, 0, nullptr, 0) == EQ_OK, "%s", eq_last_error());
    eq_context_close(context);
    eq_sampler_close(sampler);
    eq_model_close(nullptr);
}

} // namespace

int main() {
    const test::tiny_model file(11);
    eq_model *             model = nullptr;
    CHECK(eq_abi_version() == EQ_ABI_VERSION, "library %u, header %u", eq_abi_version(), EQ_ABI_VERSION);
    CHECK(eq_start("") == EQ_OK, "%s", eq_last_error());
    CHECK(eq_model_open(file.path(), 0, &model) == EQ_OK, "%s", eq_last_error());
    if (!model) {
        return test::verdict("session");
    }
    eq_model_info info = {};
    CHECK(eq_model_describe(model, &info) == EQ_OK && info.n_layer == test::tiny_model::layers && info.n_vocab == n_vocab,
          "%d layers, %d words", info.n_layer, info.n_vocab);
    CHECK(eq_model_products(model) == 0 && eq_model_products(nullptr) == 0, "weights of float32 are llama.cpp's");
    text_round_trip(model);
    contrast_is_the_sum_of_the_rows(model, 0);
    contrast_is_the_sum_of_the_rows(model, 1);
    picks_and_sequences(model);
    captures(model);
    refusals(model);
    eq_model_close(model);
    close_in_any_order(file.path());
    char line[256];
    while (eq_log_next(line, sizeof(line)) != 0) {
    }
    CHECK(eq_live_objects() == 0, "%lld handles are left", (long long) eq_live_objects());
    return test::verdict("session");
}
