// Columns that are turned to the sinks of their prompt, and sinks that gather from all of it, through the C ABI. What the
// formulas give is for the kernels' tests and the Java oracle to say; here is whose columns they act on.
#include "inside.h"

#include <numeric>

using namespace inside;

namespace {

// Above the first layer some columns of this model's prompt have larger elements, but not all, nor the last one.
constexpr float some_above = 2.6f;

edit turn(float gamma, int32_t every, float threshold, std::vector<int32_t> where = all_layers(), float factor = 0) {
    edit made(EQ_SINKS_TURN, gamma, std::move(where));
    made.raw.labels        = 0;
    made.raw.parameters[0] = 0.1f;
    made.raw.parameters[1] = threshold;
    made.raw.parameters[2] = factor;
    made.raw.parameters[3] = (float) every;
    return made;
}

// Columns from one on in one batch, numbered; the row of the last.
floats read_from(eq_context * context, columns what, int32_t from) {
    std::vector<int32_t> numbers((size_t) what.count());
    std::iota(numbers.begin(), numbers.end(), 0);
    what.outputs.back() = 1;
    eq_batch batch      = what.batch(from, what.count());
    batch.columns       = numbers.data() + from;
    CHECK(decode(context, batch) == EQ_OK, "%s", eq_last_error());
    return row(context, what.count() - 1 - from);
}

floats read_whole(eq_context * context, const columns & what) { return read_from(context, what, 0); }

columns longer(int32_t sequence = 0) {
    columns made = prompt(1, 0, sequence);
    for (int32_t i = 0; i < 3; i++) {
        made.add(letter(20 + i), prompt_size + i, sequence, 1, other_label);
    }
    return made;
}

// The largest elements of the prompt's embeddings, which enter the first block.
std::vector<float> largest_of(eq_model * model) {
    const columns words = prompt();
    floats        all((size_t) words.count() * width);
    CHECK(eq_token_embeddings(model, words.tokens.data(), words.count(), all.data()) == EQ_OK, "%s", eq_last_error());
    std::vector<float> largest((size_t) words.count());
    for (size_t i = 0; i < all.size(); i++) {
        largest[i / width] = std::max(largest[i / width], std::fabs(all[i]));
    }
    return largest;
}

// A threshold that so many tokens of the first block pass.
float threshold_of(eq_model * model, size_t some) {
    std::vector<float> largest = largest_of(model);
    std::sort(largest.rbegin(), largest.rend());
    return (largest[some - 1] + largest[some]) / 2;
}

// What nothing passes, or what is to change nothing, changes not one bit.
void without_sinks_or_strength(eq_model * model, int32_t flash_attn) {
    const setting how = {flash_attn, 2, 32, 0};
    const session reading(model, how);
    must_set(reading, {edit(EQ_WEIGHTS_READ, 0)}); // leaves the flash path too
    const floats plain = read_whole(reading, prompt(1));
    const float  some  = threshold_of(model, 4);
    for (const edit & none : {turn(3, 1, 1000), turn(3, 1, 0, all_layers(), 1000), turn(0, 0, some)}) {
        const session ours(model, how);
        must_set(ours, {none});
        check_same(read_whole(ours, prompt(1)), plain, "nothing");
        check_same(read_from(ours, longer(), prompt_size), read_from(reading, longer(), prompt_size), "nothing behind it");
        CHECK(eq_sequence_remove(reading, 0, prompt_size) == EQ_OK, "%s", eq_last_error());
    }
    // A token alone is no prompt with sinks.
    columns one;
    one.add(1, 0, 1, 1, other_label);
    const session ours(model, how);
    must_set(ours, {turn(3, 1, 0)}, 1);
    must_set(reading, {edit(EQ_WEIGHTS_READ, 0)}, 1);
    check_same(read_whole(ours, one), read_whole(reading, one), "a token alone");
}

// Each part does something, alone and with the other, and at layers that are named.
void both_parts_act(eq_model * model, int32_t flash_attn, int32_t n_threads) {
    const setting       how = {flash_attn, n_threads, 32, 0};
    std::vector<floats> rows;
    for (const edit & one : {turn(3, 1, 1000), turn(3, 0, some_above), turn(0, 1, some_above), turn(3, 1, some_above),
                             turn(3, 1, some_above, {1}), turn(3, 0, some_above, {1}), turn(1, 0, some_above)}) {
        const session ours(model, how);
        must_set(ours, {one});
        rows.push_back(read_whole(ours, prompt(1)));
        eq_intervention_report got = {};
        CHECK(eq_interventions_report(ours, 0, &got, 1) == EQ_OK, "%s", eq_last_error());
        CHECK(got.columns == prompt_size && got.applications == prompt_size * (int64_t) one.at.size(), "%lld, %lld",
              (long long) got.columns, (long long) got.applications);
        CHECK((got.delta > 0) == (rows.size() > 1) && std::isfinite(got.delta), "%g", got.delta);
    }
    for (size_t a = 0; a < rows.size(); a++) {
        for (size_t b = 0; b < a; b++) {
            // Ten times what rounding explains; half precision would hide the smaller of these differences.
            const bool alike = difference(rows[a], rows[b]) <= 10 * tolerance(rows[b], 0);
            CHECK(!alike, "%zu and %zu: %g apart", a, b, difference(rows[a], rows[b]));
        }
    }
}

// Three sequences in one batch, columns mixed: two with sinks of their own, one with none; then one more token of each.
void each_has_its_own(eq_model * model, int32_t flash_attn) {
    const setting           how = {flash_attn, 2, 64, 0};
    const std::vector<edit> edits[] = {{turn(3, 1, some_above)}, {turn(2, 2, 1.5f, {0, 2})}, {}};
    const session           together(model, how);
    columns                 of, last;
    std::vector<int32_t>    numbers;
    // Cells of those before are others' now, and must not be sinks any more.
    must_set(together, {turn(3, 1, 0)}, 3);
    read_whole(together, longer(3));
    CHECK(eq_sequence_remove(together, 3, 0) == EQ_OK, "%s", eq_last_error());
    for (int32_t s = 0; s < 3; s++) {
        if (!edits[s].empty()) {
            must_set(together, edits[s], s);
        }
        last.add(letter(20), prompt_size, s, !edits[s].empty(), other_label, true);
    }
    const columns words = prompt();
    for (int32_t i = 0; i < prompt_size; i++) {
        for (int32_t s = 0; s < 3; s++) {
            of.add(words.tokens[(size_t) i], i, s, !edits[s].empty(), words.labels[(size_t) i], i + 1 == prompt_size);
            numbers.push_back(i);
        }
    }
    eq_batch batch = of.batch();
    batch.columns  = numbers.data();
    CHECK(decode(together, batch) == EQ_OK, "%s", eq_last_error());
    std::vector<floats> first, next;
    for (int32_t s = 0; s < 3; s++) {
        first.push_back(row(together, 3 * prompt_size - 3 + s));
    }
    const std::vector<int32_t> behind(3, prompt_size);
    batch         = last.batch();
    batch.columns = behind.data();
    CHECK(decode(together, batch) == EQ_OK, "%s", eq_last_error());
    for (int32_t s = 0; s < 3; s++) {
        next.push_back(row(together, s));
        const session alone(model, how);
        columns       mine = prompt(!edits[s].empty());
        if (!edits[s].empty()) {
            must_set(alone, edits[s]);
        }
        check_close(first[(size_t) s], read_whole(alone, mine), flash_attn, "the prompt beside others");
        mine.add(letter(20), prompt_size, 0, !edits[s].empty(), other_label);
        check_close(next[(size_t) s], read_from(alone, mine, prompt_size), flash_attn, "a token beside others");
    }
}

// Behind a prompt whose first token is a sink nothing is turned, behind others it is, in any pieces.
void later_tokens(eq_model * model) {
    const std::vector<float> largest = largest_of(model);
    const float              most    = *std::max_element(largest.begin(), largest.end());
    CHECK(largest[0] < most, "the first token has the largest element");
    for (const bool first : {false, true}) {
        const float   threshold = first ? 0 : (largest[0] + most) / 2;
        const session ours(model), pieces(model);
        must_set(ours, {turn(3, 0, threshold, {0})});
        must_set(pieces, {turn(3, 0, threshold, {0})});
        read_whole(ours, prompt(1));
        read_whole(pieces, prompt(1));
        eq_intervention_report before = {}, after = {};
        CHECK(eq_interventions_report(ours, 0, &before, 1) == EQ_OK, "%s", eq_last_error());
        const floats together = read_from(ours, longer(), prompt_size);
        CHECK(eq_interventions_report(ours, 0, &after, 1) == EQ_OK, "%s", eq_last_error());
        CHECK((after.delta > before.delta) == !first && after.columns == prompt_size + 3, "%g, then %g", before.delta,
              after.delta);
        columns so_far = prompt(1);
        floats  alone;
        for (int32_t i = 0; i < 3; i++) {
            so_far.add(letter(20 + i), prompt_size + i, 0, 1, other_label);
            alone = read_from(pieces, so_far, prompt_size + i);
        }
        check_close(together, alone, 0, "in pieces");
    }
}

// A sequence that shares a prompt's cells goes on as the one that read it.
void cells_are_shared(eq_model * model) {
    const std::vector<float> largest   = largest_of(model);
    const float              threshold = (largest[0] + *std::max_element(largest.begin(), largest.end())) / 2;
    const session            ours(model);
    must_set(ours, {turn(3, 1, threshold)});
    must_set(ours, {turn(3, 1, threshold)}, 1);
    read_whole(ours, prompt(1));
    CHECK(eq_sequence_copy(ours, 0, 1, prompt_size) == EQ_OK, "%s", eq_last_error());
    check_close(read_from(ours, longer(1), prompt_size), read_from(ours, longer(0), prompt_size), 0, "shared");
}

void refusals(eq_model * model) {
    const session ours(model);
    for (const float bad : {-1.0f, NAN, infinite, 1e7f}) {
        for (const size_t at : {0u, 1u, 2u, 3u}) {
            edit one              = turn(3, 1, 1);
            one.raw.parameters[at] = at == 3 && bad == 1e7f ? 1.5f : bad;
            CHECK(set(ours, {one}) == EQ_BAD_INPUT, "parameter %zu of %g accepted", at, (double) bad);
        }
        CHECK(set(ours, {turn(bad, 1, 1)}) == EQ_BAD_INPUT, "gamma %g accepted", (double) bad);
    }
    CHECK(set(ours, {turn(3, 1, 1, {0}), turn(3, 1, 1, {1})}) == EQ_BAD_INPUT, "two accepted");
    CHECK(set(ours, {turn(3, 1, 1), {EQ_QUERY_SCALE, 0.5f}}) == EQ_BAD_INPUT, "another attention edit accepted");
    CHECK(set(ours, {turn(3, 1, 1, {layers})}) == EQ_BAD_INPUT, "no such layer");
    must_set(ours, {turn(3, 1, 1), {EQ_STEER_ADD, 0.5f}, edit(EQ_WEIGHTS_READ, 0)});
    check_refused(decode(ours, prompt(1).batch()), EQ_BAD_INPUT, "number", "columns without numbers");
}

} // namespace

int main() {
    return run("turns", 31, [](eq_model * model, const char *) {
        for (const int32_t flash_attn : {0, 1}) {
            without_sinks_or_strength(model, flash_attn);
            both_parts_act(model, flash_attn, 1);
            both_parts_act(model, flash_attn, 3);
            each_has_its_own(model, flash_attn);
        }
        later_tokens(model);
        cells_are_shared(model);
        refusals(model);
    });
}
