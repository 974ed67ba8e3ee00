// Merges through the C ABI: two sequences that become one at the output of a block, against the rows they are made of.
#include "inside.h"

using namespace inside;

namespace {

void merged_branches_are_one(eq_model * model, int32_t n_threads) {
    const int32_t layer   = 1;
    const setting how     = {0, n_threads, 32, 1};
    const float   weight  = 0.7f;
    const session ours(model, how);
    columns       both    = prompt();
    columns       other   = prompt(0, 0, 2);
    for (int32_t i = 0; i < prompt_size; i++) {
        both.add(i == 4 ? letter(i + 1) : other.tokens[(size_t) i], i, 2);
    }
    std::fill(both.outputs.begin(), both.outputs.end(), 0);
    both.outputs[prompt_size - 1] = both.outputs.back() = 1;
    std::fill(both.weights.begin(), both.weights.end(), weight);
    std::fill(both.weights.begin() + prompt_size, both.weights.end(), 0.1f); // only the first's count
    CHECK(decode(ours, both.batch()) == EQ_OK, "%s", eq_last_error());
    const floats apart = captured(ours, layer, 2 * prompt_size), below = captured(ours, layer - 1, 2 * prompt_size);
    const floats alone = row(ours, prompt_size - 1);
    check_apart(row(ours, 2 * prompt_size - 1), alone, "two prompts");

    forget(ours);
    both.outputs.back() = 0;
    CHECK(eq_merge_set(ours, 0, 2, layer) == EQ_OK, "%s", eq_last_error());
    CHECK(decode(ours, both.batch()) == EQ_OK, "%s", eq_last_error());
    // The second's come first, and up to the merge only. Each is what it was beside the other, but for the order of the
    // cells that it attends to: rounding of states of a few units, a tenth of what separates logits.
    const ptrdiff_t half    = (ptrdiff_t) prompt_size * width;
    const auto      swapped = [half](const floats & rows) {
        floats made(rows.begin() + half, rows.end());
        made.insert(made.end(), rows.begin(), rows.begin() + half);
        return made;
    };
    const floats under = captured(ours, layer - 1, 2 * prompt_size);
    CHECK(difference(under, swapped(below)) <= 1e-5, "rows below the merge: %g apart", difference(under, swapped(below)));
    floats expected = swapped(apart);
    for (ptrdiff_t i = 0; i < half; i++) {
        float & a = expected[(size_t) (i + half)];
        a         = weight * a + (1 - weight) * expected[(size_t) i];
    }
    const floats merged = captured(ours, layer, 2 * prompt_size);
    CHECK(difference(merged, expected) <= 1e-5, "rows at the merge: %g apart", difference(merged, expected));
    captured(ours, layer + 1, 1); // the last layer has a row for each output
    const floats joined = row(ours, prompt_size - 1);
    check_apart(joined, alone, "a merge");

    // Read in pieces, columns interleaved.
    forget(ours);
    columns pieces;
    for (int32_t i = 0; i < prompt_size; i++) {
        for (const int32_t from : {i, i + prompt_size}) {
            pieces.add(both.tokens[(size_t) from], i, both.sequences[(size_t) from]);
            pieces.weights.back() = weight;
        }
    }
    for (int32_t from = 0; from < pieces.count(); from += 6) {
        const int32_t to = std::min(pieces.count(), from + 6);
        pieces.outputs[(size_t) to - 2] = to == pieces.count();
        CHECK(decode(ours, pieces.batch(from, to)) == EQ_OK, "%s", eq_last_error());
    }
    check_close(row(ours, 4), joined, 0, "a merge in pieces");

    // Weights of 1 leave the first as it was; without a merge both are.
    forget(ours);
    std::fill(both.weights.begin(), both.weights.end(), 1.0f);
    CHECK(decode(ours, both.batch()) == EQ_OK, "%s", eq_last_error());
    check_close(row(ours, prompt_size - 1), alone, 0, "a merge of weight 1");
    forget(ours);
    CHECK(eq_merge_set(ours, 0, -1, 0) == EQ_OK, "%s", eq_last_error());
    both.outputs.back() = 1;
    CHECK(decode(ours, both.batch()) == EQ_OK, "%s", eq_last_error());
    check_same(captured(ours, layer, 2 * prompt_size), apart, "rows after the merge was taken back");
}

// Two branches of a prompt, merged: sequences and what is set on them.
struct fork {
    int32_t           first;
    int32_t           layer;
    std::vector<edit> edits;

    int32_t second() const { return first + 1; }

    void begin(eq_context * context) const {
        must_set(context, edits, first);
        must_set(context, edits, second());
        CHECK(eq_merge_set(context, first, second(), layer) == EQ_OK, "%s", eq_last_error());
    }

    // Columns from .. to - 1 of both.
    void add(columns & batch, int32_t from, int32_t to) const {
        const columns shown = prompt(~uint64_t{0}, span_end);
        for (const int32_t sequence : {first, second()}) {
            for (int32_t i = from; i < to; i++) {
                const bool other = sequence != first && i == 4;
                batch.add(other ? letter(i + 2) : shown.tokens[(size_t) i], i, sequence, shown.active[(size_t) i],
                          shown.labels[(size_t) i], sequence == first && i + 1 == prompt_size);
                batch.weights.back() = 0.1f * (float) (i % 10);
            }
        }
    }
};

// The row of each when they are read together, so many columns of each at once.
std::vector<floats> read_forks(eq_context * context, const std::vector<fork> & forks, int32_t each) {
    std::vector<floats> rows;
    for (const fork & one : forks) {
        one.begin(context);
    }
    for (int32_t from = 0; from < prompt_size; from += each) {
        const int32_t        to = std::min(prompt_size, from + each);
        columns              batch;
        std::vector<int32_t> last;
        for (const fork & one : forks) {
            one.add(batch, from, to);
            last.push_back(batch.count() - 1 - (to - from));
        }
        CHECK(decode(context, batch.batch()) == EQ_OK, "%s", eq_last_error());
        for (size_t k = 0; to == prompt_size && k < forks.size(); k++) {
            rows.push_back(row(context, last[k]));
        }
    }
    return rows;
}

// Branches end at different blocks of one graph, each with all kinds of edits on both sides of its end.
void merges_keep_apart(eq_model * model, int32_t flash_attn) {
    const std::vector<edit> kinds = {{EQ_STEER_ADD, 0.4f}, {EQ_ATTENTION_BIAS, 2}, {EQ_QUERY_SCALE, 0.6f},
                                     steer(EQ_STEER_ADD, 0.4f, EQ_AT_MLP), {EQ_SCORES_SCALE, 2}, drain_sinks(0.8f)};
    const std::vector<edit> none;
    for (const auto & edits : {none, kinds}) {
        const fork          low = {0, 0, edits}, high = {2, layers - 2, none};
        const setting       how = {flash_attn, 2, 48, 0};
        const session       one(model, how), other(model, how), both(model, how);
        const floats        low_alone  = read_forks(one, {low}, prompt_size)[0];
        const floats        high_alone = read_forks(other, {high}, prompt_size)[0];
        for (const int32_t each : {prompt_size, 5, 1}) {
            forget(both);
            const std::vector<floats> rows = read_forks(both, {low, high}, each);
            check_close(rows[0], low_alone, flash_attn, "a merge at the first block beside another");
            check_close(rows[1], high_alone, flash_attn, "a merge at the last but one beside another");
        }
        check_apart(low_alone, high_alone, "merges at different blocks");
    }
}

// Of the second nothing is done above the merge, and nothing is kept of a batch for which there is no room.
void what_ends_has_ended(eq_model * model) {
    const fork    one = {1, 1, {{EQ_STEER_ADD, 0.4f}, {EQ_STEER_ADD, 0.4f, {layers - 1}}}};
    const session ours(model);
    const floats  expected = read_forks(ours, {one}, prompt_size)[0];
    eq_intervention_report first[2] = {}, second[2] = {};
    CHECK(eq_interventions_report(ours, 1, first, 2) == EQ_OK && eq_interventions_report(ours, 2, second, 2) == EQ_OK,
          "%s", eq_last_error());
    const int64_t acting = prompt_size - span_end;
    CHECK(first[0].applications == 2 * acting + 1 && second[0].applications == 2 * acting, "%lld and %lld applications",
          (long long) first[0].applications, (long long) second[0].applications);
    CHECK(first[1].applications == 1 && second[1].applications == 0, "%lld and %lld applications at the last block",
          (long long) first[1].applications, (long long) second[1].applications);

    // Rows after tokens and tokens after rows.
    forget(ours);
    for (const int32_t from : {0, 4, 8}) {
        columns piece;
        one.add(piece, from, from + 4);
        if (from == 4) {
            piece.embeddings.assign((size_t) piece.count() * width, 0.5f);
        }
        CHECK(decode(ours, piece.batch()) == EQ_OK, "%s", eq_last_error());
    }

    columns output;
    one.add(output, 0, prompt_size);
    output.outputs.back() = 1;
    forget(ours);
    check_refused(decode(ours, output.batch()), EQ_BAD_INPUT, "ends at layer 1", "an output of what ends below");

    // Room for the branch that ends, not for both.
    forget(ours);
    columns filling;
    for (int32_t i = 0; i < 32; i++) {
        filling.add(letter(i), i, 3);
    }
    for (int32_t i = 0; i < n_cells - 32; i += 32) {
        CHECK(decode(ours, filling.batch()) == EQ_OK, "%s", eq_last_error());
        std::for_each(filling.positions.begin(), filling.positions.end(), [](int32_t & position) { position += 32; });
    }
    CHECK(decode(ours, filling.batch(0, 32 - prompt_size - 2)) == EQ_OK, "%s", eq_last_error());
    columns both;
    one.add(both, 0, prompt_size);
    check_refused(decode(ours, both.batch()), EQ_FULL, "no free KV cells", "more than fits");
    CHECK(eq_sequence_remove(ours, 3, 128) == EQ_OK, "%s", eq_last_error());
    CHECK(decode(ours, both.batch()) == EQ_OK, "after a batch that did not fit: %s", eq_last_error());
    check_close(row(ours, prompt_size - 1), expected, 0, "a merge among others' cells");
}

} // namespace

int main() {
    return run("merges", 17, [](eq_model * model, const char *) {
        merges_keep_apart(model, 0);
        merges_keep_apart(model, 1);
        merged_branches_are_one(model, 1);
        merged_branches_are_one(model, 3);
        what_ends_has_ended(model);
    });
}
