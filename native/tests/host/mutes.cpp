// Queries that lose their weights in heads where the latest column attends to them, and what reading a branch so takes:
// words as rows, and groups of rows that gates kept. Through the C ABI.
#include "inside.h"

#include <numeric>

using namespace inside;

namespace {

constexpr int32_t heads = test::tiny_model::heads;

// All of some columns in one batch, numbered.
floats read_whole(eq_context * context, columns what) {
    std::vector<int32_t> numbers((size_t) what.count());
    std::iota(numbers.begin(), numbers.end(), 0);
    what.outputs.back() = 1;
    eq_batch batch      = what.batch();
    batch.columns       = numbers.data();
    CHECK(decode(context, batch) == EQ_OK, "%s", eq_last_error());
    return row(context, what.count() - 1);
}

// The first columns of the prompt, so many.
columns head(int32_t n, uint64_t mask, int32_t sequence = 0) {
    const columns whole = prompt(mask, 0, sequence);
    columns       made;
    for (int32_t i = 0; i < n; i++) {
        made.add(whole.tokens[(size_t) i], i, sequence, mask, whole.labels[(size_t) i]);
    }
    return made;
}

// The weights of column i at the first layer, [heads][prompt_size].
floats weights_of(eq_model * model, int32_t i, const setting & how) {
    const session looking(model, how);
    must_set(looking, {edit(EQ_WEIGHTS_READ, 0, {0})});
    read_whole(looking, head(i + 1, 1));
    std::vector<double> mass((size_t) heads * 64);
    floats              rows((size_t) heads * prompt_size);
    int64_t             n = 0;
    CHECK(eq_attention_read(looking, 0, 0, 0, mass.data(), heads, rows.data(), prompt_size, &n) == EQ_OK, "%s",
          eq_last_error());
    return rows;
}

// Of the first layer, whose weights no mask has changed: which heads of which columns lose theirs, by what is taken.
void the_latest_column_chooses(eq_model * model, int32_t flash_attn, int32_t n_threads) {
    const setting       how = {flash_attn, n_threads, 32, 0};
    std::vector<floats> all;
    for (int32_t i = 0; i < prompt_size; i++) {
        all.push_back(weights_of(model, i, how));
    }
    floats sorted = all.back();
    std::sort(sorted.begin(), sorted.end());
    const session plain(model, how);
    must_set(plain, {edit(EQ_WEIGHTS_READ, 0)});
    const floats as_it_is = read_whole(plain, prompt(1));
    // Between two weights, so that rounding cannot move one across.
    for (const size_t at : {sorted.size() / 8, sorted.size() / 2, sorted.size() - 3}) {
        const float   amount = (sorted[at] + sorted[at + 1]) / 2;
        const session ours(model, how);
        must_set(ours, {edit(EQ_WEIGHTS_MUTE, amount, {0})});
        // Another sequence's cells come first: keys are found by them.
        read_whole(ours, head(5, 0, 3));
        const floats actual  = read_whole(ours, prompt(1));
        double       removed = 0;
        int32_t      touched = 0;
        for (int32_t i = 0; i < prompt_size; i++) {
            double squared = 0;
            for (int32_t h = 0; h < heads; h++) {
                const size_t first = (size_t) h * prompt_size;
                if (all.back()[first + (size_t) i] > amount) {
                    touched++;
                    for (int32_t j = 0; j <= i; j++) {
                        squared += std::pow((double) all[(size_t) i][first + (size_t) j], 2);
                    }
                }
            }
            removed += std::sqrt(squared);
        }
        CHECK(touched == (int32_t) (sorted.size() - 1 - at), "%d heads of columns, not %zu", touched,
              sorted.size() - 1 - at);
        eq_intervention_report got = {};
        CHECK(eq_interventions_report(ours, 0, &got, 1) == EQ_OK, "%s", eq_last_error());
        CHECK(got.columns == prompt_size && got.applications == prompt_size, "%lld, %lld", (long long) got.columns,
              (long long) got.applications);
        // Weights sum to 1 within 1e-6, see rows.cpp; of each column as many heads.
        CHECK(std::fabs(got.delta - removed) <= 1e-6 * prompt_size * heads, "%g, not %g", got.delta, removed);
        check_apart(actual, as_it_is, "muted in some heads");
    }
}

// Where the latest column's weight is more than nothing, which it always is, all heads of a column lose theirs; where it
// is to be more than everything, none does.
void all_or_nothing(eq_model * model, int32_t flash_attn) {
    const setting how = {flash_attn, 2, 32, 0};
    columns       some = prompt();
    for (const size_t i : {3u, 4u, 7u}) {
        some.active[i] = 1;
    }
    const session ours(model, how), theirs(model, how), plain(model, how), reading(model, how);
    must_set(ours, {edit(EQ_WEIGHTS_MUTE, 0)});
    // The second leaves the flash path, as the first does.
    must_set(theirs, {steer(EQ_MUTE, 0, EQ_AT_ATTENTION), edit(EQ_WEIGHTS_READ, 0)});
    const floats muted = read_whole(ours, some);
    check_same(muted, read_whole(theirs, some), "all heads");
    must_set(plain, {edit(EQ_WEIGHTS_MUTE, 1)});
    must_set(reading, {edit(EQ_WEIGHTS_READ, 0)});
    check_same(read_whole(plain, some), read_whole(reading, some), "no head");
    check_apart(muted, read_whole(session(model, how), prompt()), "all heads");
    // Nobody else's columns lose anything, and the choice is each sequence's own.
    const session together(model, {flash_attn, 2, 48, 0});
    must_set(together, {edit(EQ_WEIGHTS_MUTE, 0)});
    must_set(together, {edit(EQ_WEIGHTS_MUTE, 0.1f)}, 2);
    columns of;
    for (int32_t i = 0; i < prompt_size; i++) {
        for (const int32_t s : {0, 1, 2}) {
            of.add(some.tokens[(size_t) i], i, s, s == 2 || some.active[(size_t) i], some.labels[(size_t) i],
                   i + 1 == prompt_size);
        }
    }
    CHECK(decode(together, of.batch()) == EQ_OK, "%s", eq_last_error());
    check_close(row(together, 3 * prompt_size - 3), muted, flash_attn, "beside others");
    check_close(row(together, 3 * prompt_size - 2), read_whole(session(model, how), prompt()), flash_attn, "the others");
    const session third(model, how);
    must_set(third, {edit(EQ_WEIGHTS_MUTE, 0.1f)});
    check_close(row(together, 3 * prompt_size - 1), read_whole(third, prompt(1)), flash_attn, "another's choice");
}

void words_are_read_as_rows(eq_model * model) {
    const columns words = prompt();
    columns       rows  = words;
    rows.embeddings.resize((size_t) rows.count() * width);
    CHECK(eq_token_embeddings(model, words.tokens.data(), words.count(), rows.embeddings.data()) == EQ_OK, "%s",
          eq_last_error());
    check_same(read(session(model), rows), read(session(model), words), "rows for words");
    floats        one(width);
    const int32_t beyond = n_vocab;
    CHECK(eq_token_embeddings(model, &beyond, 1, one.data()) == EQ_BAD_INPUT, "no such token");
    CHECK(eq_token_embeddings(model, &beyond, 0, one.data()) == EQ_OK, "%s", eq_last_error());
    const test::tiny_model file(29, "gemma3", 6);
    eq_model *             scales = nullptr;
    CHECK(eq_model_open(file.path(), 0, &scales) == EQ_OK, "%s", eq_last_error());
    CHECK(eq_token_embeddings(scales, words.tokens.data(), 1, one.data()) == EQ_UNAVAILABLE, "%s",
          "rows for words that are scaled");
    eq_model_close(scales);
}

// Three branches read one after another, each row kept but the last: bit by bit what they give together.
void rows_of_several_decodes_combine(eq_model * model) {
    const session ours(model), theirs(model);
    const int32_t sequences[]    = {0, 1, 2};
    const float   coefficients[] = {2.5f, -1.0f, -0.5f};
    eq_group      group          = {sequences, coefficients, 3, 0, 0.01f, 1, nullptr, 0, 0};
    eq_pick       last           = {};
    std::vector<floats> plain;
    for (const int32_t s : {0, 1, 2}) {
        columns of                   = head(prompt_size - s, 0, s);
        of.outputs.back()            = 1;
        const eq_batch batch         = of.batch();
        eq_pick        pick          = {};
        pick.column                  = of.count() - 1;
        pick.group                   = -1;
        pick.gate                    = EQ_GATE_ENTROPY_ABOVE;
        pick.gate_threshold          = -1;
        if (s == 2) {
            pick.gate  = EQ_GATE_NONE;
            pick.group = 0;
        }
        CHECK(eq_decode(ours, &batch, s == 2 ? &group : nullptr, s == 2, &pick, 1, nullptr, nullptr) == EQ_OK, "%s",
              eq_last_error());
        CHECK(s == 2 || (pick.gate_open && pick.token == -1), "branch %d: open %d, token %d", s, pick.gate_open, pick.token);
        last = pick;
        CHECK(decode(theirs, batch) == EQ_OK, "%s", eq_last_error());
        plain.push_back(row(theirs, of.count() - 1));
    }
    floats      expected(n_vocab);
    const float largest = *std::max_element(plain[0].begin(), plain[0].end());
    for (int32_t y = 0; y < n_vocab; y++) {
        const auto z = (size_t) y;
        expected[z]  = plain[0][z] < largest + std::log(0.01f)
                           ? -infinite
                           : coefficients[0] * plain[0][z] + coefficients[1] * plain[1][z] + coefficients[2] * plain[2][z];
    }
    const floats actual = row(ours, prompt_size - 3);
    for (size_t y = 0; y < actual.size(); y++) {
        CHECK(actual[y] == expected[y] || std::fabs(actual[y] - expected[y]) <= 1e-5, "token %zu: %g, not %g", y,
              (double) actual[y], (double) expected[y]);
    }
    CHECK(last.token == std::max_element(expected.begin(), expected.end()) - expected.begin(), "token %d", last.token);
    // A row that was not kept, or is gone.
    CHECK(eq_sequence_remove(ours, 1, 0) == EQ_OK && eq_sequence_remove(ours, 2, 0) == EQ_OK, "%s", eq_last_error());
    columns of           = head(prompt_size - 2, 0, 2);
    of.outputs.back()    = 1;
    const eq_batch batch = of.batch();
    CHECK(eq_decode(ours, &batch, &group, 1, &last, 1, nullptr, nullptr) == EQ_BAD_INPUT, "a row that is gone");
}

void refusals(eq_model * model) {
    const session ours(model);
    for (const float amount : {-0.1f, 1.1f, NAN, infinite}) {
        CHECK(set(ours, {edit(EQ_WEIGHTS_MUTE, amount)}) == EQ_BAD_INPUT, "amount %g accepted", (double) amount);
    }
    CHECK(set(ours, {edit(EQ_WEIGHTS_MUTE, 0.1f, {0}), edit(EQ_WEIGHTS_MUTE, 0.1f, {1})}) == EQ_BAD_INPUT, "two accepted");
    CHECK(set(ours, {edit(EQ_WEIGHTS_MUTE, 0.1f, {layers})}) == EQ_BAD_INPUT, "no such layer");
}

} // namespace

int main() {
    return run("mutes", 23, [](eq_model * model, const char *) {
        for (const int32_t flash_attn : {0, 1}) {
            the_latest_column_chooses(model, flash_attn, 1);
            the_latest_column_chooses(model, flash_attn, 3);
            all_or_nothing(model, flash_attn);
        }
        words_are_read_as_rows(model);
        rows_of_several_decodes_combine(model);
        refusals(model);
    });
}
