// Keys that each column chooses in one layer and misses in those above, through the C ABI: against the same keys hidden
// by their labels, one column at a time against all at once, and beside others that choose elsewhere.
#include "inside.h"

#include <numeric>

using namespace inside;

namespace {

constexpr float   hidden      = -1000;
constexpr uint8_t taken_label = 6;
constexpr int32_t span_size   = span_end - span_first;

floats read_numbered(eq_context * context, columns what, int32_t each = 32) {
    std::vector<int32_t> numbers((size_t) what.count());
    std::iota(numbers.begin(), numbers.end(), 0);
    what.outputs.back() = 1;
    int32_t in_last     = 0;
    for (int32_t from = 0; from < what.count(); from += each) {
        const int32_t to    = std::min(what.count(), from + each);
        eq_batch      batch = what.batch(from, to);
        batch.columns       = numbers.data() + from;
        CHECK(decode(context, batch) == EQ_OK, "%s", eq_last_error());
        in_last = to - from - 1;
    }
    return row(context, in_last);
}

eq_intervention_report report_of(eq_context * context, int32_t index, int32_t n) {
    std::vector<eq_intervention_report> got((size_t) n);
    CHECK(eq_interventions_report(context, 0, got.data(), n) == EQ_OK, "%s", eq_last_error());
    return got[(size_t) index];
}

// What the last column attends to, read in the same layer, is hidden from it by a label of its own.
void the_last_column_misses_what_it_attends_to(eq_model * model, int32_t heads, std::vector<int32_t> where, int32_t looked,
                                               int32_t flash_attn) {
    const setting how = {flash_attn, 2, 32, 0};
    const session looking(model, how);
    must_set(looking, {edit(EQ_WEIGHTS_READ, 0, {looked})});
    const floats        plain = read_numbered(looking, prompt(1, prompt_size - 1));
    std::vector<double> mass((size_t) heads * 64);
    floats              rows((size_t) heads * prompt_size), weights((size_t) prompt_size);
    int64_t             n = 0;
    CHECK(eq_attention_read(looking, 0, 0, looked, mass.data(), heads, rows.data(), prompt_size, &n) == EQ_OK, "%s",
          eq_last_error());
    for (size_t i = 0; i < rows.size(); i++) {
        weights[i % prompt_size] += rows[i] / (float) heads;
    }
    std::vector<int32_t> by_weight((size_t) span_size);
    std::iota(by_weight.begin(), by_weight.end(), span_first);
    // What lies beyond a window is not there to be chosen.
    std::erase_if(by_weight, [&](int32_t i) { return weights[(size_t) i] == 0; });
    const auto n_seen = (int32_t) by_weight.size();
    CHECK(n_seen >= 3, "only %d of the span", n_seen);
    std::sort(by_weight.begin(), by_weight.end(),
              [&](int32_t a, int32_t b) { return weights[(size_t) a] < weights[(size_t) b]; });
    for (const int32_t keep : {0, 1, 2, span_size, 100}) {
        const session ours(model, how), theirs(model, how);
        must_set(ours, {bias_attended(hidden, keep, where, looked)});
        const floats actual = read_numbered(ours, prompt(1, prompt_size - 1));
        columns      labelled = prompt(3, prompt_size - 1);
        for (int32_t i = keep; i < n_seen; i++) {
            labelled.labels[(size_t) by_weight[(size_t) i]] = taken_label;
        }
        edit taken(EQ_ATTENTION_BIAS, hidden, where);
        taken.raw.labels = uint64_t{1} << taken_label;
        // The reader takes the same layer off the flash path.
        must_set(theirs, {taken, edit(EQ_WEIGHTS_READ, 0, {looked})});
        check_same(actual, read_numbered(theirs, labelled), ("keep " + std::to_string(keep)).c_str());
        if (keep < n_seen) {
            check_apart(actual, plain, "what is missed");
        } else {
            check_same(actual, plain, "nothing missed");
        }
        const eq_intervention_report got = report_of(ours, 0, 1);
        const double                 each = std::sqrt((double) std::max(0, n_seen - keep)) * -hidden;
        CHECK(got.columns == 1 && got.applications == (int64_t) where.size(), "%lld, %lld", (long long) got.columns,
              (long long) got.applications);
        CHECK(std::fabs(got.delta - each * (double) where.size()) <= 1e-9 * got.delta, "%g, not %g", got.delta,
              each * (double) where.size());
    }
}

// The same whether columns come one by one or were left behind and come together.
void each_column_chooses_for_itself(eq_model * model, int32_t flash_attn) {
    const columns what = prompt(1, span_end);
    const auto    all  = [&](int32_t each) {
        const session ours(model, {flash_attn, 1, 32, 0});
        must_set(ours, {bias_attended(hidden, 2)});
        return read(ours, what, each);
    };
    const floats stepped = all(1);
    check_close(all(32), stepped, flash_attn, "all at once");
    check_close(all(3), stepped, flash_attn, "three at a time");
}

// Layers that look take over from those below them what other sequences chose there.
void others_choose_elsewhere(eq_model * model, int32_t flash_attn) {
    const std::vector<edit> choices = {bias_attended(hidden, 1), bias_attended(hidden, 2, {2}, 1), {EQ_SCORES_SCALE, 4, {1}}};
    const session           ours(model, {flash_attn, 2, 48, 0});
    columns                 together;
    for (int32_t i = 0; i < prompt_size; i++) {
        for (int32_t s = 0; s < 4; s++) {
            const columns of = prompt(s < 3, span_end);
            together.add(of.tokens[(size_t) i], i, s, of.active[(size_t) i], of.labels[(size_t) i], i + 1 == prompt_size);
        }
    }
    for (int32_t s = 0; s < 3; s++) {
        must_set(ours, {choices[(size_t) s]}, s);
    }
    CHECK(decode(ours, together.batch()) == EQ_OK, "%s", eq_last_error());
    for (int32_t s = 0; s < 4; s++) {
        const session alone(model, {flash_attn, 1, 48, 0});
        if (s < 3) {
            must_set(alone, {choices[(size_t) s]});
        }
        check_close(row(ours, 4 * (prompt_size - 1) + s), read(alone, prompt(s < 3, span_end)), flash_attn, "in company");
    }
}

// Caches of their own for layers that see a window: the same columns in other cells, as far as anybody here knows.
void caches_are_told_apart(int32_t flash_attn) {
    const test::tiny_model file(29, "gemma3", 6);
    eq_model *             model = nullptr;
    CHECK(eq_model_open(file.path(), 0, &model) == EQ_OK, "%s", eq_last_error());
    if (!model) {
        return;
    }
    eq_model_info info = {};
    CHECK(eq_model_describe(model, &info) == EQ_OK, "%s", eq_last_error());
    the_last_column_misses_what_it_attends_to(model, info.n_head, {1, 2, 3, 4, 5}, 0, flash_attn);
    // From the whole cache to the window's.
    the_last_column_misses_what_it_attends_to(model, info.n_head, {5}, 2, flash_attn);
    eq_model_close(model);
}

void refusals(eq_model * model) {
    const session ours(model);
    const auto    refuse = [&](const std::vector<edit> & what, const char * word) {
        CHECK(set(ours, what) == EQ_BAD_INPUT, "%s: accepted", word);
        CHECK(std::string(eq_last_error()).find(word) != std::string::npos, "%s: %s", word, eq_last_error());
    };
    refuse({bias_attended(hidden, 1), bias_attended(hidden, 1, {2}, 1)}, "2 choices");
    refuse({bias_attended(hidden, 1, {1, 2}, 1)}, "chooses keys");
    refuse({bias_attended(hidden, -1)}, "out of range");
    refuse({bias_attended(-infinite, 1)}, "out of range");
    refuse({bias_attended(hidden, 1, {1}, -1)}, "out of range");
    edit half              = bias_attended(hidden, 1);
    half.raw.parameters[0] = 1.5f;
    refuse({half}, "out of range");
    const std::vector<uint8_t> some((size_t) test::tiny_model::heads, 1);
    edit                       heads = bias_attended(hidden, 1);
    heads.raw.heads                  = some.data();
    heads.raw.n_heads                = test::tiny_model::heads;
    refuse({heads}, "all heads");
    check_same(read(ours, prompt(1)), read(session(model), prompt()), "after all that");
}

} // namespace

int main() {
    return run("choices", 17, [](eq_model * model, const char *) {
        for (const int32_t flash_attn : {0, 1}) {
            the_last_column_misses_what_it_attends_to(model, test::tiny_model::heads, {1, 2}, 0, flash_attn);
            the_last_column_misses_what_it_attends_to(model, test::tiny_model::heads, {2}, 1, flash_attn);
            each_column_chooses_for_itself(model, flash_attn);
            others_choose_elsewhere(model, flash_attn);
            caches_are_told_apart(flash_attn);
        }
        refusals(model);
    });
}
