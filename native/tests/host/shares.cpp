// Columns of one decode that belong to several sequences, through the C ABI: against the same columns decoded for each by
// itself.
#include "inside.h"

#include <numeric>

using namespace inside;

namespace {

constexpr int32_t shared = 7; // columns that all have in common; 2 of them are in the cache before

// Sequences 0, 1 and 3: what they have in common, then what differs, of different lengths, in one batch; 3 parts from 1
// two columns later than 1 does from 0.
struct family {
    columns               of;
    std::vector<uint64_t> sharers;

    void add(int32_t token, int32_t position, int32_t sequence, uint64_t others, bool output = false) {
        of.add(token, position, sequence, 0, 0, output);
        sharers.insert(sharers.end(), {others, 0, 0, 0});
    }
};

constexpr uint64_t bit(int32_t s) { return uint64_t{1} << s; }

int32_t token(int32_t branch, int32_t i) {
    const int32_t parts = branch == 3 ? shared + 2 : shared;
    return i < shared ? letter(i) : branch == 3 && i < parts ? letter(1 + i) : letter(branch + i);
}

int32_t length(int32_t branch) { return branch == 0 ? 10 : branch == 1 ? 12 : 11; }

family together() {
    family made;
    for (int32_t i = 2; i < shared; i++) {
        made.add(token(0, i), i, 0, bit(1) | bit(3));
    }
    for (int32_t i = shared; i < length(0); i++) {
        made.add(token(0, i), i, 0, 0, i + 1 == length(0));
    }
    for (int32_t i = shared; i < length(1); i++) {
        made.add(token(1, i), i, 1, i < shared + 2 ? bit(3) : 0, i + 1 == length(1));
    }
    for (int32_t i = shared + 2; i < length(3); i++) {
        made.add(token(3, i), i, 3, 0, i + 1 == length(3));
    }
    return made;
}

floats alone(eq_model * model, const setting & how, int32_t branch, int32_t more) {
    const session by_itself(model, how);
    columns       all;
    for (int32_t i = 0; i < length(branch) + more; i++) {
        all.add(token(branch, i), i, branch);
    }
    return read(by_itself, all);
}

int32_t decode_shared(eq_context * context, const family & what) {
    eq_batch batch = what.of.batch();
    batch.sharers  = what.sharers.data();
    return decode(context, batch);
}

void all_of_them_have_it(eq_model * model, int32_t flash_attn) {
    const setting how = {flash_attn, 2, 32, 0};
    const session ours(model, how);
    columns       first;
    first.add(token(0, 0), 0, 0);
    first.add(token(0, 1), 1, 0);
    CHECK(decode(ours, first.batch()) == EQ_OK, "%s", eq_last_error());
    CHECK(eq_sequence_copy(ours, 0, 1, 2) == EQ_OK && eq_sequence_copy(ours, 0, 3, 2) == EQ_OK, "%s", eq_last_error());
    const family what = together();
    CHECK(decode_shared(ours, what) == EQ_OK, "%s", eq_last_error());
    int32_t at = -1;
    for (const int32_t s : {0, 1, 3}) {
        at = (int32_t) (std::find(what.of.outputs.begin() + at + 1, what.of.outputs.end(), 1) - what.of.outputs.begin());
        check_close(row(ours, at), alone(model, how, s, 0), flash_attn, "read together");
    }
    // The cells stay the others' when one goes.
    CHECK(eq_sequence_remove(ours, 0, 0) == EQ_OK, "%s", eq_last_error());
    columns next;
    for (const int32_t s : {1, 3}) {
        next.add(token(s, length(s)), length(s), s, 0, 0, true);
    }
    CHECK(decode(ours, next.batch()) == EQ_OK, "%s", eq_last_error());
    check_close(row(ours, 0), alone(model, how, 1, 1), flash_attn, "stepped");
    check_close(row(ours, 1), alone(model, how, 3, 1), flash_attn, "stepped, the third");
}

void refusals(eq_model * model) {
    const session ours(model);
    family        own = together();
    own.sharers[0] |= bit(0);
    CHECK(decode_shared(ours, own) == EQ_BAD_INPUT, "shared with itself");
    family beyond = together();
    beyond.sharers[1] = 1;
    CHECK(decode_shared(ours, beyond) == EQ_BAD_INPUT, "no such sequence");
    CHECK(eq_merge_set(ours, 0, 1, 0) == EQ_OK, "%s", eq_last_error());
    CHECK(decode_shared(ours, together()) == EQ_BAD_INPUT, "shared with what is merged");
    CHECK(eq_merge_set(ours, 0, -1, 0) == EQ_OK, "%s", eq_last_error());
    // They have other cells before: llama.cpp says so.
    columns first;
    first.add(token(0, 0), 0, 0);
    first.add(token(0, 1), 1, 0);
    CHECK(decode(ours, first.batch()) == EQ_OK, "%s", eq_last_error());
    CHECK(decode_shared(ours, together()) == EQ_BAD_INPUT, "cells that are not the same");
    check_close(read(ours, prompt(0, 0, 2)), read(session(model), prompt(0, 0, 2)), 0, "after all that");
}

} // namespace

int main() {
    return run("shares", 37, [](eq_model * model, const char *) {
        all_of_them_have_it(model, 0);
        all_of_them_have_it(model, 1);
        refusals(model);
    });
}
