// What acts inside the network, through the C ABI: against llama.cpp's own control vector, against the same network
// fed otherwise, and against itself over threads, splits, replaced interventions and cells used again. That formulas
// are right is for the Java oracle to say.
#include "inside.h"

#include <functional>

using namespace inside;

namespace {

// To the bit, unless one of them went the explicit way through attention and the other by flash attention.
void check_same_but_for_path(const floats & actual, const floats & expected, bool left_flash, const char * what) {
    if (left_flash) {
        check_close(actual, expected, 1, what);
    } else {
        check_same(actual, expected, what);
    }
}

void adding_is_the_control_vector(eq_model * model, const char * path, int32_t flash_attn) {
    const setting how = {flash_attn, 1, 32, 0};
    bare          theirs(path, how);
    const session ours(model, how);
    const floats  plain = theirs.read(prompt());
    check_same(read(ours, prompt()), plain, "plain");
    // Theirs has no layer 0.
    std::vector<int32_t> above = all_layers();
    above.erase(above.begin());
    // Their scale is in the vector, rounded to float; ours is applied in double. A power of two rounds nothing.
    for (const float amount : {1.0f, -0.25f, 0.37f}) {
        const edit add(EQ_STEER_ADD, amount, above);
        floats     scaled = add.vectors;
        std::for_each(scaled.begin(), scaled.end(), [amount](float & v) { v *= amount; });
        CHECK(llama_set_adapter_cvec(theirs.get(), scaled.data(), scaled.size(), width, 1, layers - 1) == 0, "refused");
        llama_memory_seq_rm(llama_get_memory(theirs.get()), 0, 0, -1);
        const floats expected = theirs.read(prompt());
        forget(ours);
        must_set(ours, {add});
        const floats actual = read(ours, prompt(1));
        check_apart(actual, plain, "a control vector");
        if (amount == 0.37f) {
            check_close(actual, expected, 0, "a control vector");
        } else {
            check_same(actual, expected, "a control vector");
        }
    }
}

void nothing_of_a_kind_is_plain(eq_model * model, int32_t flash_attn) {
    const setting how = {flash_attn, 1, 32, 0};
    const floats  plain = read(session(model, how), prompt());
    for (const auto & [kind, amount] : std::vector<std::pair<int32_t, float>>{
             {EQ_STEER_ADD, 0}, {EQ_STEER_ADD_NORMED, 0}, {EQ_STEER_ADD_CAPPED, 0}, {EQ_STEER_ADD_SIGNED, 0},
             {EQ_ATTENTION_BIAS, 0}, {EQ_QUERY_SCALE, 1}}) {
        const session ours(model, how);
        must_set(ours, {edit(kind, amount)});
        check_same(read(ours, prompt(1)), plain, ("nothing of kind " + std::to_string(kind)).c_str());
    }
    for (const edit & one : every_kind()) {
        const std::string name = "kind " + std::to_string(one.raw.kind);
        const session     ours(model, how);
        must_set(ours, {one});
        check_same_but_for_path(read(ours, prompt(0)), plain, flash_attn && leaves_flash(one.raw.kind),
                                (name + ", active nowhere").c_str());
        forget(ours);
        check_apart(read(ours, prompt(1, acting_of(one))), plain, name.c_str());
    }
}

void silence_is_rows_of_zeros(eq_model * model) {
    const setting how = {0, 1, 32, 1};
    const session ours(model, how);
    columns       given = prompt();
    const floats  plain = read(ours, given);
    given.embeddings    = captured(ours, -1, prompt_size);
    check_same(read(session(model, how), given), plain, "the prompt as rows");
    std::fill(given.embeddings.begin() + span_first * width, given.embeddings.begin() + span_end * width, 0.0f);
    const floats expected = read(session(model, how), given);
    check_apart(expected, plain, "rows of zeros");

    columns silenced = prompt();
    std::fill(silenced.active.begin() + span_first, silenced.active.begin() + span_end, 1);
    forget(ours);
    must_set(ours, {edit(EQ_SILENCE, 0)});
    check_same(read(ours, silenced), expected, "silenced tokens");
    check_same(captured(ours, -1, prompt_size), given.embeddings, "input embeddings");
    // Rows are silenced as tokens are.
    columns rows    = silenced;
    rows.embeddings = captured(ours, -1, prompt_size);
    std::fill(rows.embeddings.begin() + span_first * width, rows.embeddings.begin() + span_end * width, 3.0f);
    forget(ours);
    check_same(read(ours, rows), expected, "silenced rows");
}

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

// Padding's sequence lies beyond those that something can be set on.
void padding_is_nobodys(eq_model * model) {
    for (const edit & one : every_kind()) {
        const session ours(model);
        must_set(ours, {one});
        columns      given    = prompt(1, acting_of(one));
        const floats expected = read(ours, given);
        forget(ours);
        given.outputs.back() = 1;
        given.add(1, 0, 4);
        eq_batch padded  = given.batch();
        padded.n_padding = 1;
        CHECK(decode(ours, padded) == EQ_OK, "%s", eq_last_error());
        check_close(row(ours, prompt_size - 1), expected, 0, ("kind " + std::to_string(one.raw.kind) + ", padded").c_str());
    }
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

// Each column, and each key of a mask, is one thread's, however many there are.
void threads_agree(eq_model * model, int32_t flash_attn) {
    const columns what = prompt(~uint64_t{0}, span_end);
    floats        first;
    for (const int32_t threads : {1, 2, 3}) {
        const session ours(model, {flash_attn, threads, 32, 0});
        must_set(ours, every_kind_but_silence());
        const floats whole = read(ours, what);
        first              = first.empty() ? whole : first;
        // Each product is summed by one thread, so that without flash attention, which splits long rows of keys, not a
        // bit differs.
        if (flash_attn) {
            check_close(whole, first, flash_attn, "threads");
        } else {
            check_same(whole, first, "threads");
        }
    }
}

// Sequences with an intervention each, in one batch: as each by itself, and split as whole.
void splits_and_company(eq_model * model, int32_t flash_attn) {
    const std::vector<edit> kinds = every_kind();
    for (const edit & one : kinds) {
        const std::string name = "kind " + std::to_string(one.raw.kind);
        const columns     what = prompt(1, acting_of(one));
        const session     whole(model, {flash_attn, 1, 32, 0});
        must_set(whole, {one});
        const floats first = read(whole, what);
        for (const int32_t each : {5, 1}) {
            const session ours(model, {flash_attn, 1, each, 0});
            must_set(ours, {one});
            check_close(read(ours, what, each), first, flash_attn, (name + ", micro-batches").c_str());
        }
    }
    for (size_t k = 0; k + 2 < kinds.size(); k++) {
        const session ours(model, {flash_attn, 1, 48, 0});
        columns       together;
        for (int32_t i = 0; i < prompt_size; i++) {
            for (int32_t s = 0; s < 4; s++) {
                const columns of = s == 3 ? prompt() : prompt(1, acting_of(kinds[k + (size_t) s]));
                together.add(of.tokens[(size_t) i], i, s, of.active[(size_t) i], of.labels[(size_t) i],
                             i + 1 == prompt_size);
            }
        }
        for (int32_t s = 0; s < 3; s++) {
            must_set(ours, {kinds[k + (size_t) s]}, s);
        }
        CHECK(decode(ours, together.batch()) == EQ_OK, "%s", eq_last_error());
        for (int32_t s = 0; s < 4; s++) {
            const session alone(model, {flash_attn, 1, 48, 0});
            columns       what = prompt();
            if (s < 3) {
                must_set(alone, {kinds[k + (size_t) s]});
                what = prompt(1, acting_of(kinds[k + (size_t) s]));
            }
            check_close(row(ours, 4 * (prompt_size - 1) + s), read(alone, what), flash_attn, "in company");
        }
    }
}

void reports_count(eq_model * model) {
    const session ours(model);
    edit          add(EQ_STEER_ADD, -0.5f, {0, 1});
    edit          bias(EQ_ATTENTION_BIAS, 1.5f, {1});
    edit          hide(EQ_ATTENTION_BIAS, -infinite, {0, 2});
    edit          last(EQ_STEER_ADD, 2, {layers - 1});
    must_set(ours, {add, bias, hide, edit(EQ_SILENCE, 0), last});
    columns what = prompt();
    for (int32_t i = 0; i < prompt_size; i++) {
        // 0: on five columns; 1 and 2: behind the span; 3: nowhere; 4: on all, of which the last layer has one
        what.active[(size_t) i] = (i < 5 ? 1u : 0u) | (i >= span_end ? 6u : 0u) | 16u;
    }
    read(ours, what, 5);
    eq_intervention_report got[5] = {};
    CHECK(eq_interventions_report(ours, 0, got, 5) == EQ_OK, "%s", eq_last_error());
    const auto norm = [](const floats & v, size_t from) {
        double squares = 0;
        for (size_t i = from; i < from + width; i++) {
            squares += (double) v[i] * v[i];
        }
        return std::sqrt(squares);
    };
    const int32_t behind = prompt_size - span_end;
    // The change is read off states of a few units, rounded to float: 2^-23 of each of 32 entries.
    const double  moved  = 5 * 0.5 * (norm(add.vectors, 0) + norm(add.vectors, width));
    CHECK(got[0].columns == 5 && got[0].applications == 10, "%lld, %lld", (long long) got[0].columns,
          (long long) got[0].applications);
    CHECK(std::fabs(got[0].delta - moved) <= 1e-5 * moved, "%g, expected %g", got[0].delta, moved);
    const double raised = behind * 1.5 * std::sqrt((double) (span_end - span_first));
    CHECK(got[1].columns == behind && got[1].applications == behind, "%lld", (long long) got[1].columns);
    CHECK(std::fabs(got[1].delta - raised) <= 1e-6 * raised, "%g, expected %g", got[1].delta, raised);
    const double hidden = 2 * behind * std::sqrt((double) (span_end - span_first));
    CHECK(got[2].columns == behind && got[2].applications == 2 * behind, "%lld", (long long) got[2].columns);
    CHECK(std::fabs(got[2].delta - hidden) <= 1e-6 * hidden, "%g, expected %g", got[2].delta, hidden);
    CHECK(got[3].columns == 0 && got[3].applications == 0 && got[3].delta == 0, "%lld", (long long) got[3].columns);
    CHECK(got[4].columns == 1 && got[4].applications == 1, "%lld", (long long) got[4].columns);
    // A token more counts on; setting anew counts from nothing.
    columns more;
    more.add(letter(1), prompt_size, 0, 1, 1);
    read(ours, more);
    CHECK(eq_interventions_report(ours, 0, got, 5) == EQ_OK && got[0].columns == 6, "%lld", (long long) got[0].columns);
    must_set(ours, {add});
    CHECK(eq_interventions_report(ours, 0, got, 1) == EQ_OK && got[0].columns == 0 && got[0].delta == 0, "%lld",
          (long long) got[0].columns);
}

void nothing_is_left_behind(eq_model * model, int32_t flash_attn) {
    const setting how = {flash_attn, 1, 32, 0};
    const floats  plain = read(session(model, how), prompt());
    const session ours(model, how);
    for (const edit & one : every_kind()) {
        const bool left_flash = flash_attn && leaves_flash(one.raw.kind);
        forget(ours);
        must_set(ours, {one});
        const floats acted = read(ours, prompt(1, acting_of(one)));
        check_apart(acted, plain, "an intervention");
        // Replaced: only the new one acts. The graph still has the old one's nodes.
        forget(ours);
        const edit other(EQ_STEER_ADD, 0.25f, {1}, 9);
        must_set(ours, {other});
        const session fresh(model, how);
        must_set(fresh, {other});
        check_same_but_for_path(read(ours, prompt(1)), read(fresh, prompt(1)), left_flash, "replaced");
        forget(ours);
        must_set(ours, {});
        check_same_but_for_path(read(ours, prompt(~uint64_t{0})), plain, left_flash, "cleared");
    }
}

void cells_are_used_again(eq_model * model, int32_t flash_attn) {
    const setting how   = {flash_attn, 1, 32, 0};
    const floats  plain = read(session(model, how), prompt());
    const session ours(model, how);
    // The cells of a labelled span, used again by tokens of another label: the bias finds nothing.
    must_set(ours, {edit(EQ_ATTENTION_BIAS, 3)});
    check_apart(read(ours, prompt(1)), plain, "a bias");
    forget(ours);
    columns unlabelled = prompt(1);
    std::fill(unlabelled.labels.begin(), unlabelled.labels.end(), 1);
    check_same(read(ours, unlabelled), plain, "cells used again");
    forget(ours);
    unlabelled.outputs.back() = 1;
    read(ours, prompt(1));
    forget(ours);
    eq_batch without = unlabelled.batch();
    without.labels   = nullptr;
    CHECK(decode(ours, without) == EQ_OK, "%s", eq_last_error());
    check_same(row(ours, prompt_size - 1), plain, "cells used again by a batch without labels");
    // The end of a sequence is cut off and written anew, elsewhere than before, in the middle of a neighbour's cells.
    forget(ours);
    must_set(ours, {edit(EQ_ATTENTION_BIAS, 3)}, 1);
    read(ours, prompt());
    read(ours, prompt(1, 0, 1));
    CHECK(eq_sequence_remove(ours, 0, span_first) == EQ_OK, "%s", eq_last_error());
    CHECK(eq_sequence_remove(ours, 1, 2) == EQ_OK, "%s", eq_last_error());
    columns rest = prompt(1, 0, 1), head;
    for (int32_t i = 2; i < prompt_size; i++) {
        head.add(rest.tokens[(size_t) i], i, 1, 1, rest.labels[(size_t) i]);
    }
    const session fresh(model, how);
    must_set(fresh, {edit(EQ_ATTENTION_BIAS, 3)}, 1);
    check_close(read(ours, head), read(fresh, prompt(1, 0, 1)), flash_attn, "an end written anew");
    // A copy shares cells, so it shares labels, and has its own interventions.
    const session copied(model, how);
    must_set(copied, {edit(EQ_ATTENTION_BIAS, 3)}, 3);
    columns trunk = prompt(), tip;
    trunk.outputs.back() = 0;
    CHECK(decode(copied, trunk.batch(0, prompt_size - 1)) == EQ_OK, "%s", eq_last_error());
    CHECK(eq_sequence_copy(copied, 0, 3, prompt_size - 1) == EQ_OK, "%s", eq_last_error());
    tip.add(trunk.tokens.back(), prompt_size - 1, 3, 1, 1);
    const session single(model, how);
    must_set(single, {edit(EQ_ATTENTION_BIAS, 3)});
    check_close(read(copied, tip), read(single, prompt(1, prompt_size - 1)), flash_attn, "a copy");
}

void numbers_rebuild_no_graph(eq_model * model) {
    const session ours(model);
    int32_t       position = 0;
    // Whether the graph of the token before served this one.
    const auto    reused   = [&](uint64_t mask, uint8_t label) {
        const int64_t before = eq_context_graphs_reused(ours);
        columns       one;
        one.add(letter(position), position, 0, mask, label);
        position++;
        read(ours, one);
        return eq_context_graphs_reused(ours) == before + 1;
    };
    reused(0, 0);
    CHECK(reused(0, 0), "plain");
    for (const edit & one : every_kind()) {
        must_set(ours, {one});
        reused(0, 0); // whatever is new is built now
    }
    CHECK(eq_merge_set(ours, 1, 2, 0) == EQ_OK, "%s", eq_last_error());
    CHECK(!reused(0, 0), "a merge at a layer that had none");
    for (int32_t round = 0; round < 2; round++) {
        for (edit one : every_kind()) {
            one.raw.amount = std::isfinite(one.raw.amount) ? one.raw.amount * 2 : one.raw.amount;
            one.raw.labels <<= 1;
            std::for_each(one.vectors.begin(), one.vectors.end(), [](float & v) { v *= -0.5f; });
            must_set(ours, {one});
            CHECK(reused(one.raw.amount == -infinite ? 0 : 1, (uint8_t) round), "other numbers of kind %d",
                  one.raw.kind);
        }
    }
    must_set(ours, {});
    CHECK(reused(0, 0), "nothing acts any more");
    // The two graphs of a merge take turns, and both are kept.
    int32_t    at          = 0;
    const auto both_reused = [&] {
        const int64_t before = eq_context_graphs_reused(ours);
        columns       two;
        two.add(letter(at), at, 1);
        two.add(letter(at + 1), at, 2);
        two.outputs[0] = 1;
        at++;
        CHECK(decode(ours, two.batch()) == EQ_OK, "%s", eq_last_error());
        return eq_context_graphs_reused(ours) == before + 2;
    };
    both_reused();
    CHECK(both_reused() && both_reused(), "steps of a merge");
    CHECK(eq_merge_set(ours, 1, -1, 0) == EQ_OK && reused(0, 0), "the merge was taken back");

    const session narrow(model);
    position            = 0;
    const auto narrowly = [&] {
        const int64_t before = eq_context_graphs_reused(narrow);
        columns       one;
        one.add(letter(position), position, 0, 1, 0);
        position++;
        read(narrow, one);
        return eq_context_graphs_reused(narrow) == before + 1;
    };
    must_set(narrow, {edit(EQ_STEER_ADD, 1, {0})});
    narrowly();
    CHECK(narrowly(), "one layer");
    must_set(narrow, {edit(EQ_STEER_ADD, 1, {0, 2})});
    CHECK(!narrowly() && narrowly(), "a second layer is built once");
    must_set(narrow, {edit(EQ_ATTENTION_BIAS, 1, {1})});
    CHECK(!narrowly() && narrowly(), "another seam is built once");
}

// NaN in one sequence's keys would reach all others through the cells they mask. What could bring it is refused; the
// most that is not leaves the others as they were.
void no_sequence_spoils_another(eq_model * model, int32_t flash_attn) {
    const setting how   = {flash_attn, 1, 32, 0};
    const floats  plain = read(session(model, how), prompt());
    for (const auto & [kind, amount] : std::vector<std::pair<int32_t, float>>{{EQ_STEER_ADD, 1e14f},
                                                                              {EQ_STEER_ADD, -1e14f},
                                                                              {EQ_STEER_ADD_NORMED, 1e14f},
                                                                              {EQ_STEER_CLAMP, 1e14f},
                                                                              {EQ_STEER_ROTATE, 1e14f},
                                                                              {EQ_ATTENTION_BIAS, 1000},
                                                                              {EQ_ATTENTION_BIAS, -1000},
                                                                              {EQ_QUERY_SCALE, 1e4f}}) {
        const session ours(model, how);
        must_set(ours, {edit(kind, amount)});
        const floats extreme = read(ours, prompt(1));
        CHECK(std::all_of(extreme.begin(), extreme.end(), [](float v) { return std::isfinite(v); }), "kind %d times %g",
              kind, (double) amount);
        check_close(read(ours, prompt(0, 0, 1)), plain, flash_attn, "beside it");
        CHECK(eq_sequence_remove(ours, 0, 0) == EQ_OK, "%s", eq_last_error());
        check_close(read(ours, prompt(0, 0, 2)), plain, flash_attn, "after it");
    }
}

void check_refused(int32_t status, int32_t expected, const char * word, const char * what) {
    CHECK(status == expected, "%s: status %d", what, status);
    CHECK(std::string(eq_last_error()).find(word) != std::string::npos, "%s: '%s' does not say '%s'", what,
          eq_last_error(), word);
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

void refusals(eq_model * model) {
    const session ours(model);
    const auto    refuse = [&](const std::function<void(eq_intervention &)> & spoil, edit from, const char * word,
                               const char * what) {
        eq_intervention one = from.get();
        spoil(one);
        check_refused(eq_interventions_set(ours, 0, &one, 1), EQ_BAD_INPUT, word, what);
    };
    const edit add(EQ_STEER_ADD, 1), bias(EQ_ATTENTION_BIAS, 1), scale(EQ_QUERY_SCALE, 1);
    refuse([](auto & one) { one.kind = 10; }, add, "kind 10", "a kind that is none");
    refuse([](auto & one) { one.kind = -1; }, add, "kind -1", "a kind below all");
    refuse([](auto & one) { one.amount = NAN; }, add, "amount", "an amount that is not a number");
    refuse([](auto & one) { one.amount = infinite; }, bias, "amount", "an infinite bias");
    refuse([](auto & one) { one.amount = 1e5f; }, bias, "amount", "a bias that F16 masks cannot hold");
    refuse([](auto & one) { one.amount = -infinite; }, scale, "amount", "queries times minus infinity");
    refuse([](auto & one) { one.amount = 1e5f; }, scale, "amount", "queries beyond what scores can hold");
    refuse([](auto & one) { one.amount = 3e38f; }, add, "longer than", "a vector that overflows");
    refuse([](auto & one) { one.amount = -1e16f; }, edit(EQ_STEER_CLAMP, 1), "longer than", "a target that overflows");
    refuse([](auto & one) { one.layers = nullptr; }, add, "no layer", "no layers");
    refuse([](auto & one) { one.n_layers = 0; }, bias, "no layer", "zero layers");
    refuse([](auto & one) { one.vectors = nullptr; }, add, "vectors", "steering without vectors");
    const float unwanted[1] = {1};
    refuse([&](auto & one) { one.vectors = unwanted; }, bias, "vectors", "a bias with vectors");
    refuse([](auto &) {}, edit(EQ_STEER_ADD, 1, {layers}), "0..2", "a layer beyond the last");
    refuse([](auto &) {}, edit(EQ_QUERY_SCALE, 1, {-1}), "no layer -1", "a negative layer");
    refuse([](auto &) {}, edit(EQ_ATTENTION_BIAS, 1, {1, 1}), "twice", "a layer twice");
    edit broken(EQ_STEER_ADD_NORMED, 1);
    broken.vectors[width + 3] = NAN;
    refuse([](auto &) {}, broken, "layer 1 is not finite", "a vector that is not finite");
    for (const int32_t kind : {EQ_STEER_ABLATE, EQ_STEER_CLAMP, EQ_STEER_ROTATE}) {
        edit none(kind, 1);
        std::fill(none.vectors.begin(), none.vectors.begin() + width, 0.0f);
        refuse([](auto &) {}, none, "length 0", "no direction");
    }
    edit parallel(EQ_STEER_ROTATE, 1, {0});
    for (int32_t i = 0; i < width; i++) {
        parallel.vectors[(size_t) (width + i)] = -3 * parallel.vectors[(size_t) i];
    }
    refuse([](auto &) {}, parallel, "no plane", "a plane of two parallel vectors");

    const eq_intervention good = add.get();
    check_refused(eq_interventions_set(nullptr, 0, &good, 1), EQ_BAD_INPUT, "null", "no context");
    check_refused(eq_interventions_set(ours, 4, &good, 1), EQ_BAD_INPUT, "sequence 4", "a sequence beyond the last");
    check_refused(eq_interventions_set(ours, -1, &good, 1), EQ_BAD_INPUT, "sequence -1", "a negative sequence");
    check_refused(eq_interventions_set(ours, 0, nullptr, 1), EQ_BAD_INPUT, "1 interventions", "a null list");
    check_refused(eq_interventions_set(ours, 0, &good, -1), EQ_BAD_INPUT, "-1", "a negative count");
    const std::vector<eq_intervention> many(65, good);
    check_refused(eq_interventions_set(ours, 0, many.data(), 65), EQ_BAD_INPUT, "64", "65 interventions");

    eq_intervention_report report = {};
    check_refused(eq_interventions_report(nullptr, 0, &report, 1), EQ_BAD_INPUT, "null", "no context");
    check_refused(eq_interventions_report(ours, 4, &report, 1), EQ_BAD_INPUT, "sequence 4", "no such sequence");
    check_refused(eq_interventions_report(ours, 0, &report, 1), EQ_BAD_INPUT, "of 0", "more reports than there are");
    check_refused(eq_interventions_report(ours, 0, nullptr, 0), EQ_BAD_INPUT, "0 reports", "nowhere to report");

    check_refused(eq_merge_set(nullptr, 0, 1, 0), EQ_BAD_INPUT, "null", "no context");
    check_refused(eq_merge_set(ours, 0, 0, 0), EQ_BAD_INPUT, "0 and 0", "a sequence with itself");
    check_refused(eq_merge_set(ours, 4, 0, 0), EQ_BAD_INPUT, "4 and 0", "no such first");
    check_refused(eq_merge_set(ours, 0, 4, 0), EQ_BAD_INPUT, "0 and 4", "no such second");
    check_refused(eq_merge_set(ours, 0, 1, -1), EQ_BAD_INPUT, "layer -1", "a negative layer");
    check_refused(eq_merge_set(ours, 0, 1, layers - 1), EQ_BAD_INPUT, "below the last", "the last layer");
    CHECK(eq_merge_set(ours, 0, 1, 0) == EQ_OK && eq_merge_set(ours, 0, 1, 1) == EQ_OK, "%s", eq_last_error());
    check_refused(eq_merge_set(ours, 1, 2, 0), EQ_BAD_INPUT, "another merge", "a second that is a first");
    check_refused(eq_merge_set(ours, 2, 0, 0), EQ_BAD_INPUT, "another merge", "a first that is a second");
    check_refused(eq_merge_set(ours, 2, 1, 0), EQ_BAD_INPUT, "another merge", "one second for two");

    columns uneven;
    uneven.add(1, 0, 0);
    uneven.add(1, 0, 1);
    uneven.add(letter(1), 1, 1);
    check_refused(decode(ours, uneven.batch()), EQ_BAD_INPUT, "1 and 2 columns", "an uneven merge");
    columns bad = prompt();
    bad.labels[2] = 64;
    check_refused(decode(ours, bad.batch()), EQ_BAD_INPUT, "label 64", "a label beyond the last");
    must_set(ours, {edit(EQ_ATTENTION_BIAS, -infinite)}, 3);
    check_refused(decode(ours, prompt(1, 0, 3).batch()), EQ_BAD_INPUT, "from itself", "a span hidden from itself");
    bad            = prompt();
    bad.weights[3] = 1.5f;
    check_refused(decode(ours, bad.batch()), EQ_BAD_INPUT, "merge weight", "a weight above 1");
    bad.weights[3] = NAN;
    check_refused(decode(ours, bad.batch()), EQ_BAD_INPUT, "merge weight", "a weight that is not a number");
    // What was refused has changed nothing.
    CHECK(eq_merge_set(ours, 0, -1, 0) == EQ_OK, "%s", eq_last_error());
    check_same(read(ours, prompt(~uint64_t{0})), read(session(model), prompt()), "after all that");
}

} // namespace

int main() {
    const test::tiny_model file(17);
    eq_model *             model = nullptr;
    CHECK(eq_start("") == EQ_OK, "%s", eq_last_error());
    CHECK(eq_model_open(file.path(), 0, &model) == EQ_OK, "%s", eq_last_error());
    if (!model) {
        return test::verdict("inside");
    }
    for (const int32_t flash_attn : {0, 1}) {
        adding_is_the_control_vector(model, file.path(), flash_attn);
        nothing_of_a_kind_is_plain(model, flash_attn);
        threads_agree(model, flash_attn);
        splits_and_company(model, flash_attn);
        nothing_is_left_behind(model, flash_attn);
        cells_are_used_again(model, flash_attn);
        no_sequence_spoils_another(model, flash_attn);
        merges_keep_apart(model, flash_attn);
    }
    silence_is_rows_of_zeros(model);
    merged_branches_are_one(model, 1);
    merged_branches_are_one(model, 3);
    what_ends_has_ended(model);
    padding_is_nobodys(model);
    reports_count(model);
    numbers_rebuild_no_graph(model);
    refusals(model);
    eq_model_close(model);
    char line[256];
    while (eq_log_next(line, sizeof(line)) != 0) {
    }
    CHECK(eq_live_objects() == 0, "%lld handles are left", (long long) eq_live_objects());
    return test::verdict("inside");
}
