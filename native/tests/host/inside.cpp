// What acts inside the network, through the C ABI: against llama.cpp's own control vector, against the same network
// fed otherwise, and against itself over threads, splits, replaced interventions and cells used again. That formulas
// are right is for the Java oracle to say.
#include "inside.h"

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

} // namespace

int main() {
    return run("inside", 17, [](eq_model * model, const char * path) {
        for (const int32_t flash_attn : {0, 1}) {
            adding_is_the_control_vector(model, path, flash_attn);
            nothing_of_a_kind_is_plain(model, flash_attn);
            threads_agree(model, flash_attn);
            splits_and_company(model, flash_attn);
            nothing_is_left_behind(model, flash_attn);
            cells_are_used_again(model, flash_attn);
        }
        silence_is_rows_of_zeros(model);
        padding_is_nobodys(model);
        reports_count(model);
        numbers_rebuild_no_graph(model);
    });
}
