// What may not act inside the network is refused; the most that may leaves other sequences as they were.
#include "inside.h"

#include <functional>

using namespace inside;

namespace {

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
    return run("refusals", 17, [](eq_model * model, const char *) {
        no_sequence_spoils_another(model, 0);
        no_sequence_spoils_another(model, 1);
        refusals(model);
    });
}
