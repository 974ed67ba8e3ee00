// Best tokens found in the graph: the ones that the host would take, and nothing else leaves it.
#include "inside.h"

#include "ggml-backend.h"
#include "llama-seams.h"

using namespace inside;

namespace {

constexpr int32_t n_steps = 12;

struct sampler {
    eq_sampler * chain = nullptr;

    sampler(eq_model * model, uint32_t seed) {
        const eq_sampler_params params = {1.0, 0, 1.0, 0.0, 1.0, 0, seed, nullptr, nullptr, nullptr, 0, 0, 0};
        CHECK(eq_sampler_open(model, &params, &chain) == EQ_OK, "%s", eq_last_error());
    }
    ~sampler() { eq_sampler_close(chain); }
    sampler(const sampler &)             = delete;
    sampler & operator=(const sampler &) = delete;
};

// Four columns, a token of each of four sequences, all outputs.
columns step(const std::vector<int32_t> & tokens, int32_t position) {
    columns made;
    for (int32_t sequence = 0; sequence < 4; sequence++) {
        made.add(tokens[(size_t) sequence], position, sequence, 0, 0, true);
    }
    return made;
}

void check_equal(const eq_pick & ours, const eq_pick & theirs, int32_t at, int32_t p) {
    CHECK(ours.status == theirs.status && ours.token == theirs.token && ours.ends == theirs.ends,
          "step %d, pick %d: token %d, not %d", at, p, ours.token, theirs.token);
    CHECK(ours.kept == theirs.kept && ours.delta_norm == theirs.delta_norm, "step %d, pick %d: %lld kept", at, p,
          (long long) ours.kept);
    CHECK(ours.n_bytes == theirs.n_bytes && std::equal(ours.bytes, ours.bytes + ours.n_bytes, theirs.bytes),
          "step %d, pick %d: another text", at, p);
}

// A contrast whose base is not its first column, a plain pick, and one that a chain draws.
void ids_are_those_of_the_host(eq_model * model, int32_t n_threads) {
    const session host(model, {0, n_threads, 32, 0, 0}), graph(model, {0, n_threads, 32, 0, 1});
    const sampler of_host(model, 5), of_graph(model, 5);
    CHECK(!eq_context_draws_in_graph(host) && eq_context_draws_in_graph(graph), "the other way round");
    const int32_t        members[]      = {2, 0};
    const float          coefficients[] = {2.0f, -1.0f};
    const eq_group       group          = {members, coefficients, 2, 0, 0.1f, 0, nullptr, 0, 0};
    std::vector<int32_t> tokens         = {65, 66, 67, 68};
    for (int32_t at = 0; at < n_steps; at++) {
        const columns  columns_of = step(tokens, at);
        const eq_batch batch      = columns_of.batch();
        eq_pick        picks[2][3] = {};
        for (eq_pick(&of)[3] : picks) {
            of[0].column = 2;
            of[1].column = 1;
            of[1].group  = -1;
            of[2].column = 3;
            of[2].group  = -1;
        }
        picks[0][2].sampler = of_host.chain;
        picks[1][2].sampler = of_graph.chain;
        CHECK(eq_decode(host, &batch, &group, 1, picks[0], 3, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
        CHECK(eq_decode(graph, &batch, &group, 1, picks[1], 3, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
        for (int32_t p = 0; p < 3; p++) {
            check_equal(picks[1][p], picks[0][p], at, p);
        }
        tokens = {picks[1][0].token, picks[1][1].token, picks[1][0].token, picks[1][2].token};
    }
    CHECK(eq_context_rows_read(host) == 3 * n_steps, "%lld rows", (long long) eq_context_rows_read(host));
    CHECK(eq_context_rows_read(graph) == n_steps, "%lld rows, of %d that a chain reads",
          (long long) eq_context_rows_read(graph), n_steps);
    // A row is there for those who ask, until the next decode.
    CHECK(row(graph, 2) == row(host, 2), "the combined row is another");
    CHECK(eq_context_rows_read(graph) == n_steps + 1, "%lld rows", (long long) eq_context_rows_read(graph));
    const columns  columns_of = step(tokens, n_steps);
    eq_batch       beyond     = columns_of.batch();
    floats         logits(n_vocab);
    beyond.n_tokens = 1;
    CHECK(decode(graph, beyond) == EQ_OK, "%s", eq_last_error());
    CHECK(eq_logits(graph, 1, logits.data()) == EQ_BAD_INPUT, "a row of the decode before");
    beyond.positions = nullptr;
    CHECK(decode(graph, beyond) == EQ_BAD_INPUT, "no positions");
    CHECK(eq_logits(graph, 0, logits.data()) == EQ_OK, "what was refused changed something: %s", eq_last_error());
}

// There is no row of a decode that found no cells, and none of the one before any more.
void a_failed_decode_has_no_rows(eq_model * model) {
    const session full(model, {0, 2, n_cells, 0, 1});
    columns       all;
    for (int32_t i = 0; i < n_cells; i++) {
        all.add(65, i, 0, 0, 0, i + 1 == n_cells);
    }
    CHECK(decode(full, all.batch()) == EQ_OK, "%s", eq_last_error());
    floats logits(n_vocab);
    CHECK(eq_logits(full, n_cells - 1, logits.data()) == EQ_OK, "%s", eq_last_error());
    columns more;
    more.add(65, n_cells, 0, 0, 0, true);
    CHECK(decode(full, more.batch()) == EQ_FULL, "%d cells for %d tokens", n_cells, n_cells + 1);
    CHECK(eq_logits(full, 0, logits.data()) == EQ_BAD_INPUT, "a row of a decode that failed");
}

// A gate, best tokens to report and a combination after the graph read their rows.
void what_needs_rows_gets_them(eq_model * model) {
    const session  graph(model, {0, 2, 32, 0, 1});
    const columns  columns_of     = step({65, 66, 67, 68}, 0);
    const eq_batch batch          = columns_of.batch();
    const int32_t  members[]      = {0, 1};
    const float    coefficients[] = {2.0f, -1.0f};
    const eq_group after          = {members, coefficients, 2, 0, 0.1f, 1, nullptr, 0, 0};
    eq_pick        picks[3]       = {};
    picks[0].column               = 0;
    picks[1].column               = 2;
    picks[1].group                = -1;
    picks[1].gate                 = EQ_GATE_ENTROPY_ABOVE;
    picks[1].gate_threshold       = 0;
    picks[2].column               = 3;
    picks[2].group                = -1;
    picks[2].n_top                = 1;
    std::vector<int32_t> top(3 * EQ_TOP_MAX);
    floats               log_probabilities(top.size());
    CHECK(eq_decode(graph, &batch, &after, 1, picks, 3, top.data(), log_probabilities.data()) == EQ_OK, "%s",
          eq_last_error());
    CHECK(eq_context_rows_read(graph) == 4, "%lld rows", (long long) eq_context_rows_read(graph));
    CHECK(picks[1].gate_open && picks[1].token == -1, "an entropy is above 0");
    CHECK(picks[2].token == top[2 * EQ_TOP_MAX], "token %d, best %d", picks[2].token, top[2 * EQ_TOP_MAX]);
    const floats combined = row(graph, 0);
    CHECK(picks[0].token == std::max_element(combined.begin(), combined.end()) - combined.begin(), "token %d",
          picks[0].token);
}

// One group, its pick, and a plain one beside it: what becomes of them on the host and in the graph.
void both_say(eq_model * model, const std::vector<float> & coefficients, float plausibility,
              const std::vector<edit> & edits, int32_t status, int32_t token, const char * what) {
    for (const int32_t draw : {0, 1}) {
        const session  ours(model, {0, 2, 32, 0, draw});
        const columns  columns_of = step({65, 66, 67, 68}, 0);
        columns        active     = columns_of;
        const int32_t  members[]  = {0, 1, 2};
        const eq_group group = {members, coefficients.data(), (int32_t) coefficients.size(), 0, plausibility, 0, nullptr, 0, 0};
        for (int32_t sequence = 0; sequence < 2 && !edits.empty(); sequence++) {
            must_set(ours, edits, sequence);
            active.active[(size_t) sequence] = 1;
        }
        const eq_batch batch    = active.batch();
        eq_pick        picks[2] = {};
        picks[1].column         = 3;
        picks[1].group          = -1;
        CHECK(eq_decode(ours, &batch, &group, 1, picks, 2, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
        CHECK(picks[0].status == status && picks[0].token == token, "%s, drawn in %d: status %d, token %d", what, draw,
              picks[0].status, picks[0].token);
        CHECK(picks[1].status == EQ_OK && picks[1].token >= 0, "%s: the pick beside it has status %d", what,
              picks[1].status);
    }
}

void rows_without_a_token_say_so(eq_model * model) {
    // 3e38 times a logit of order one is beyond float32.
    both_say(model, {3e38f, 3e38f}, 0, {}, EQ_INTERNAL, -1, "overflow");
    // Every logit is 0: the first token is the best.
    both_say(model, {0.0f}, 0, {}, EQ_OK, 0, "a row of ties");
    // Each branch keeps its best token alone, and they are not the same.
    const session plain(model);
    const columns columns_of = step({65, 66, 67, 68}, 0);
    CHECK(decode(plain, columns_of.batch()) == EQ_OK, "%s", eq_last_error());
    const edit only_the_best(EQ_EXITS_CONTRAST, 1, {0});
    const auto best = [](const floats & of) { return std::max_element(of.begin(), of.end()) - of.begin(); };
    CHECK(best(row(plain, 0)) != best(row(plain, 1)), "the test's branches agree");
    both_say(model, {1.0f, 1.0f}, 0, {only_the_best}, EQ_INTERNAL, -1, "a row cut to nothing");
}

// The patch's side: with seams llama.cpp copies no logits, and the tensor that was returned holds them.
void seams_keep_the_logits(const char * path) {
    struct seen {
        ggml_tensor * logits = nullptr;
    } kept;
    llama_seams seams = {};
    seams.user        = &kept;
    seams.key         = [](void *) -> uint64_t { return 0; };
    seams.graph_init  = [](void * user) { return user; };
    seams.graph_free  = [](void *) {};
    seams.wants       = [](void *, llama_seam_point, int) { return false; };
    seams.apply       = [](void * graph, const llama_seam_build *, llama_seam_point point, ggml_tensor * cur, int) {
        if (point == LLAMA_SEAM_LOGITS) {
            static_cast<seen *>(graph)->logits = cur;
        }
        return cur;
    };
    seams.set_input = [](void *, const llama_seam_tokens *) {};

    bare         theirs(path, {0, 2, 32, 0});
    const floats plain = theirs.read(prompt());
    llama_memory_seq_rm(llama_get_memory(theirs.get()), 0, 0, -1);
    llama_set_seams(theirs.get(), &seams);
    // The room that its rows go to when they leave the graph, with a mark on it.
    float * room = llama_get_logits_ith(theirs.get(), -1);
    std::fill_n(room, n_vocab, 12345.0f);
    const floats read = theirs.read(prompt());
    CHECK(llama_get_logits_ith(theirs.get(), -1) == room, "other room");
    CHECK(std::all_of(read.begin(), read.end(), [](float z) { return z == 12345.0f; }), "a row was copied");
    floats stayed(n_vocab);
    ggml_backend_tensor_get(kept.logits, stayed.data(), 0, stayed.size() * sizeof(float));
    check_same(stayed, plain, "the row in the graph");
    llama_set_seams(theirs.get(), nullptr);
    llama_memory_seq_rm(llama_get_memory(theirs.get()), 0, 0, -1);
    check_same(theirs.read(prompt()), plain, "without seams");
}

} // namespace

int main() {
    CHECK(eq_start("") == EQ_OK, "%s", eq_last_error());
    for (const uint64_t seed : {19, 20, 21}) {
        const test::tiny_model file(seed);
        eq_model *             model = nullptr;
        if (eq_model_open(file.path(), 0, &model) != EQ_OK) {
            fprintf(stderr, "%s\n", eq_last_error());
            return EXIT_FAILURE;
        }
        for (const int32_t n_threads : {1, 2, 3}) {
            ids_are_those_of_the_host(model, n_threads);
        }
        a_failed_decode_has_no_rows(model);
        what_needs_rows_gets_them(model);
        rows_without_a_token_say_so(model);
        seams_keep_the_logits(file.path());
        eq_model_close(model);
    }
    char line[256];
    while (eq_log_next(line, sizeof(line)) != 0) {
    }
    CHECK(eq_live_objects() == 0, "%lld handles are left", (long long) eq_live_objects());
    return test::verdict("draw");
}
