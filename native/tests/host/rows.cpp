// What sees and edits rows of attention and the logits of early exits, through the C ABI: what is read before an edit
// and after it must differ by that edit, and what only looks changes nothing.
#include "inside.h"

using namespace inside;

namespace {

constexpr int32_t heads = test::tiny_model::heads;

// What one layer showed to a reader.
struct view {
    std::vector<double> mass = std::vector<double>((size_t) heads * 64); // [heads][64]
    floats              rows = floats((size_t) heads * prompt_size);    // [heads][columns]
    int64_t             n    = 0;

    double of(int32_t head, int32_t label) const { return mass[(size_t) (head * 64 + label)]; }

    double all(int32_t head) const {
        double sum = 0;
        for (int32_t label = 0; label < 64; label++) {
            sum += of(head, label);
        }
        return sum;
    }
};

view seen(eq_context * context, int32_t sequence, int32_t index, int32_t il) {
    view made;
    CHECK(eq_attention_read(context, sequence, index, il, made.mass.data(), heads, made.rows.data(), prompt_size,
                            &made.n) == EQ_OK,
          "%s", eq_last_error());
    return made;
}

// The prompt, its columns numbered for what reads rows.
floats read_numbered(eq_context * context, const columns & what, int32_t each) {
    std::vector<int32_t> numbers;
    for (int32_t i = 0; i < what.count(); i++) {
        numbers.push_back(i);
    }
    columns of        = what;
    of.outputs.back() = 1;
    int32_t in_last   = 0;
    for (int32_t from = 0; from < of.count(); from += each) {
        const int32_t to    = std::min(of.count(), from + each);
        eq_batch      batch = of.batch(from, to);
        batch.columns       = numbers.data() + from;
        CHECK(decode(context, batch) == EQ_OK, "%s", eq_last_error());
        in_last = to - from - 1;
    }
    return row(context, in_last);
}

// Weights of a row are float32 exponentials over their sum, each off by a few 2^-24, and so is what an edit writes back:
// a row of some ten keys sums to 1 within 1e-6, so many rows within so many times that.
double rounding(int64_t rows) { return 1e-6 * (double) std::max<int64_t>(rows, 1); }

// Two readers with an edit between them.
std::vector<edit> watched(const edit & what) { return {edit(EQ_WEIGHTS_READ, 0), what, edit(EQ_WEIGHTS_READ, 0)}; }

void looking_changes_nothing(eq_model * model, int32_t flash_attn, int32_t each) {
    const setting how = {flash_attn, 2, 32, 0};
    const session ours(model, how);
    must_set(ours, {edit(EQ_WEIGHTS_READ, 0, {0, 2}), edit(EQ_STATES_READ, 0)});
    const floats rows = read_numbered(ours, prompt(3, 2), each);
    check_close(rows, read(session(model, how), prompt()), flash_attn, "looking");
    for (const int32_t il : {0, 2}) {
        const view of = seen(ours, 0, 0, il);
        // Of the last layer, too, all queries are seen: it drops columns after its attention.
        CHECK(of.n == prompt_size - 2, "%lld queries at layer %d", (long long) of.n, il);
        for (int32_t h = 0; h < heads; h++) {
            CHECK(std::fabs(of.all(h) - (double) of.n) <= rounding(of.n), "layer %d head %d sums to %g", il, h, of.all(h));
            CHECK(std::fabs(of.all(h) - of.of(h, span_label) - of.of(h, other_label)) <= rounding(of.n), "%s",
                  "weight on labels that no key has");
        }
        for (int32_t h = 0; h < heads; h++) {
            double last = 0;
            for (int32_t i = 0; i < prompt_size; i++) {
                const float w = of.rows[(size_t) (h * prompt_size + i)];
                CHECK(w > 0 && w < 1, "a weight of %g", (double) w);
                last += w;
            }
            CHECK(std::fabs(last - 1) <= rounding(1), "head %d of the last query sums to %g", h, last);
        }
    }
    int64_t             n = 0;
    std::vector<double> mass((size_t) heads * 64);
    floats              cells((size_t) heads * prompt_size);
    CHECK(eq_attention_read(ours, 0, 0, 1, mass.data(), heads, cells.data(), prompt_size, &n) == EQ_BAD_INPUT,
          "a layer that is not read");
    CHECK(eq_attention_read(ours, 0, 1, 0, mass.data(), heads, cells.data(), prompt_size, &n) == EQ_BAD_INPUT,
          "another kind of reader");
    CHECK(eq_attention_read(ours, 0, 0, 0, mass.data(), heads + 1, cells.data(), prompt_size, &n) == EQ_BAD_INPUT,
          "other heads");
}

// Where a sequence's end is taken away and another one read, the latest query is that one's, whatever its number.
void the_latest_query_is_the_one_read_last(eq_model * model) {
    constexpr int32_t kept = prompt_size - 4;
    const setting     how  = {0, 2, 32, 0};
    const session     ours(model, how), fresh(model, how);
    columns           head = prompt(1, 0);
    for (auto * of : {&head.tokens, &head.positions, &head.sequences}) {
        of->resize(kept + 1);
    }
    head.outputs.resize(kept + 1);
    head.active.resize(kept + 1);
    head.labels.resize(kept + 1);
    head.weights.resize(kept + 1);
    must_set(fresh, {edit(EQ_WEIGHTS_READ, 0)});
    read_numbered(fresh, head, 32);
    must_set(ours, {edit(EQ_WEIGHTS_READ, 0)});
    read_numbered(ours, prompt(1, 0), 32);
    CHECK(eq_sequence_remove(ours, 0, head.positions[(size_t) kept]) == EQ_OK, "%s", eq_last_error());
    const int32_t number = kept;
    eq_batch      again  = head.batch(kept, kept + 1);
    again.columns        = &number;
    CHECK(decode(ours, again) == EQ_OK, "%s", eq_last_error());
    const view expected = seen(fresh, 0, 0, 0);
    const view actual   = seen(ours, 0, 0, 0);
    for (size_t i = 0; i < expected.rows.size(); i++) {
        CHECK(std::fabs(expected.rows[i] - actual.rows[i]) <= rounding(1), "weight %zu: %g, not %g", i,
              (double) actual.rows[i], (double) expected.rows[i]);
    }
}

void states_are_those_captured(eq_model * model) {
    const session ours(model, {0, 2, 32, 1});
    must_set(ours, {edit(EQ_STATES_READ, 0, {0, 1})});
    read(ours, prompt(1, 4));
    for (const int32_t il : {0, 1}) {
        const floats        rows = captured(ours, il, prompt_size);
        std::vector<double> sum(width);
        int64_t             n = 0;
        CHECK(eq_states_read(ours, 0, 0, il, sum.data(), &n) == EQ_OK, "%s", eq_last_error());
        CHECK(n == prompt_size - 4, "%lld states", (long long) n);
        for (int32_t d = 0; d < width; d++) {
            double expected = 0;
            for (int32_t i = 4; i < prompt_size; i++) {
                expected += (double) rows[(size_t) (i * width + d)];
            }
            // Both are sums in double of the same floats, in one order.
            CHECK(std::fabs(sum[(size_t) d] - expected) <= 1e-12 * (1 + std::fabs(expected)), "layer %d: %g, not %g", il,
                  sum[(size_t) d], expected);
        }
    }
}

void moved_weight_arrives(eq_model * model, int32_t n_threads) {
    constexpr float fraction = 0.75f;
    const session   ours(model, {0, n_threads, 32, 0});
    must_set(ours, watched(move_weights(0, fraction, {1})));
    read_numbered(ours, prompt(7, span_end), 5);
    const view before = seen(ours, 0, 0, 1), after = seen(ours, 0, 2, 1);
    for (int32_t h = 0; h < heads; h++) {
        const double there = before.of(h, span_label), moved = fraction * there;
        CHECK(there > 0.05, "head %d hardly looks at the span", h);
        CHECK(std::fabs(after.of(h, span_label) - (there - moved)) <= rounding(after.n), "head %d keeps %g of %g", h,
              after.of(h, span_label), there);
        CHECK(std::fabs(after.of(h, other_label) - (before.of(h, other_label) + moved)) <= rounding(after.n),
              "head %d: %g arrived", h, after.of(h, other_label) - before.of(h, other_label));
    }
    // A threshold that nothing passes moves nothing.
    const session still(model);
    must_set(still, watched(move_weights(1, fraction)));
    check_close(read_numbered(still, prompt(7), 32), read(session(model), prompt()), 0, "no share above 1");
}

void drained_sinks_keep_row_sums(eq_model * model) {
    const session ours(model, {0, 2, 32, 0});
    must_set(ours, watched(drain_sinks(0.8f, {1})));
    read_numbered(ours, prompt(7, span_end), 32);
    const view before = seen(ours, 0, 0, 1), after = seen(ours, 0, 2, 1);
    double     apart = 0;
    for (int32_t h = 0; h < heads; h++) {
        CHECK(std::fabs(after.all(h) - before.all(h)) <= rounding(after.n), "head %d: %g became %g", h, before.all(h),
              after.all(h));
        apart = std::max(apart, after.of(h, span_label) - before.of(h, span_label));
    }
    // Sinks outside the span give to it; the span's own stay in it.
    CHECK(apart > 0.01, "the span gained %g", apart);
    // No key is a sink beyond the largest ratio there can be, sqrt(width).
    const session none(model);
    must_set(none, {drain_sinks(6)});
    check_close(read(none, prompt(1)), read(session(model), prompt()), 0, "no sinks");
}

// The norms of what the first of n interventions changed, by whoever did it.
double changed(eq_context * context, int32_t n) {
    std::vector<eq_intervention_report> got((size_t) n);
    CHECK(eq_interventions_report(context, 0, got.data(), n) == EQ_OK, "%s", eq_last_error());
    return got[0].delta;
}

/*
 * Where a device edits rows, a reader of them hands their layer to the CPU, from the start or half-way, with what is known
 * of sinks: the same answer, and the same norms. Sums in double are made in another order there, so weights differ by
 * roundings, and as many changes as there are columns and layers each by no more than a row's do.
 */
void a_reader_changes_no_edit(eq_model * model, int32_t flash_attn) {
    const setting        how = {flash_attn, 1, 32, 0};
    std::vector<uint8_t> some((size_t) heads, 0);
    some.back() = 1;
    for (edit one : {move_weights(0.05f, 0.8f), drain_sinks(0.8f), drain_sinks(0.8f, {1})}) {
        if (one.raw.kind == EQ_WEIGHTS_MOVE || one.at.size() == 1) {
            one.raw.heads   = some.data();
            one.raw.n_heads = heads;
        }
        const std::vector<edit> alone = {one}, seen = {one, edit(EQ_WEIGHTS_READ, 0, one.at)};
        const session           first(model, how), second(model, how), third(model, how);
        must_set(first, alone);
        must_set(second, seen);
        must_set(third, alone);
        const floats expected = read(first, prompt(1));
        check_apart(expected, read(session(model, how), prompt()), "an edit");
        check_close(read(second, prompt(1)), expected, 0, "read from the start");
        const double norms = changed(first, 1);
        CHECK(norms > 0 && std::fabs(changed(second, 2) - norms) <= rounding(prompt_size * layers), "%g, not %g",
              changed(second, 2), norms);
        columns half = prompt(1);
        half.outputs.back() = 1;
        CHECK(decode(third, half.batch(0, span_end)) == EQ_OK, "%s", eq_last_error());
        const double until = changed(third, 1);
        must_set(third, seen);
        CHECK(decode(third, half.batch(span_end, prompt_size)) == EQ_OK, "%s", eq_last_error());
        check_close(row(third, prompt_size - span_end - 1), expected, 0, "read from half-way");
        CHECK(until > 0 && std::fabs(until + changed(third, 2) - norms) <= rounding(prompt_size * layers),
              "%g and %g, not %g", until, changed(third, 2), norms);
    }
}

// The last layer's exit is the answer itself: a mean with it changes nothing, and a contrast with it leaves nothing.
void the_last_exit_is_the_answer(eq_model * model) {
    const floats  plain = read(session(model), prompt());
    const session ours(model);
    edit          mean = mean_of_exits(0.7f, true);
    mean.at            = {layers - 1};
    must_set(ours, {mean});
    check_close(read(ours, prompt(1)), plain, 0, "a mean with itself");
    forget(ours);
    edit contrast              = edit(EQ_EXITS_CONTRAST, 0, {layers - 1});
    contrast.raw.parameters[0] = 1;
    must_set(ours, {contrast});
    for (const float z : read(ours, prompt(1))) {
        CHECK(std::fabs(z) <= 2e-5, "a contrast with itself left %g", (double) z);
    }
    // Cut off: less than so likely as the likeliest; one token is always kept.
    forget(ours);
    must_set(ours, {edit(EQ_EXITS_CONTRAST, 1, {0})});
    const floats cut = read(ours, prompt(1));
    CHECK(std::count_if(cut.begin(), cut.end(), [](float z) { return z > -infinite; }) == 1, "more than one is likeliest");
    CHECK(std::distance(plain.begin(), std::max_element(plain.begin(), plain.end())) ==
              std::distance(cut.begin(), std::max_element(cut.begin(), cut.end())),
          "another one is");
}

std::vector<double> log_softmax(const floats & z) {
    double sum = 0;
    for (const float x : z) {
        sum += std::exp((double) x);
    }
    std::vector<double> out;
    for (const float x : z) {
        out.push_back(x - std::log(sum));
    }
    return out;
}

double divergence(int32_t kind, const std::vector<double> & log_p, const std::vector<double> & log_q) {
    double to = 0, from = 0;
    for (size_t i = 0; i < log_p.size(); i++) {
        const double p = std::exp(log_p[i]), q = std::exp(log_q[i]), log_m = std::log((p + q) / 2);
        to += p * (log_p[i] - log_m) + q * (log_q[i] - log_m);
        from += (p + q) / 2 * (2 * log_m - log_p[i] - log_q[i]);
    }
    return (kind == EQK_JENSEN_SHANNON ? to : from) / 2;
}

// What is subtracted is the exit that is farthest by the divergence that was asked for. The input is pushed against a
// vector, what the first block gives along it: the last block's words are those of the latter, which without the final
// norm is ever surer of them and gives all others ever less of a chance.
void the_farthest_exit_is_subtracted(eq_model * model) {
    const std::vector<int32_t> exits = {-1, 0};
    const columns              what  = prompt(7);
    int32_t                    apart = 0;
    for (float push = 16; push < 80; push += 8) {
        const edit against = enter(EQ_STEER_ADD, -12), along(EQ_STEER_ADD, push, {0});
        const auto row = [&](const edit & then) {
            const session ours(model);
            must_set(ours, {against, along, then});
            return read(ours, what);
        };
        const std::vector<double>        late = log_softmax(row(edit(EQ_WEIGHTS_READ, 0)));
        std::vector<std::vector<double>> early;
        for (const int32_t il : exits) {
            edit alone = mean_of_exits(1, false);
            alone.at   = {il};
            early.push_back(log_softmax(row(alone)));
        }
        size_t chosen[2];
        for (const int32_t kind : {EQK_JENSEN_SHANNON, EQK_ARITHMETIC_GEOMETRIC}) {
            chosen[kind]     = divergence(kind, late, early[0]) >= divergence(kind, late, early[1]) ? 0 : 1;
            const floats got = row(contrast_of_exits(kind, exits));
            for (size_t i = 0; i < got.size(); i++) { // float32, of up to some hundreds, in sums of another order
                const double want = late[i] - early[chosen[kind]][i];
                CHECK(std::fabs(got[i] - want) <= 1e-3, "divergence %d push %g [%zu]: %g, not %g", kind, (double) push, i,
                      (double) got[i], want);
            }
        }
        apart += chosen[0] != chosen[1];
    }
    CHECK(apart > 0, "both divergences choose the same exit however far it is pushed");
}

// What is mute in every layer ends as it began, but for feed-forward: what is before it is of no consequence to it.
void the_mute_learn_nothing(eq_model * model) {
    const session first(model), second(model);
    edit attention   = edit(EQ_MUTE, 0);
    attention.raw.at = EQ_AT_ATTENTION;
    must_set(first, {attention});
    must_set(second, {attention});
    columns what = prompt(1), other = prompt(1);
    for (int32_t i = 0; i + 1 < prompt_size; i++) {
        other.tokens[(size_t) i] = (other.tokens[(size_t) i] + 7) % test::tiny_model::n_vocab;
    }
    check_same(read(first, what), read(second, other), "whatever came before");
    eq_intervention_report got = {};
    CHECK(eq_interventions_report(first, 0, &got, 1) == EQ_OK, "%s", eq_last_error());
    CHECK(got.columns == prompt_size && got.applications == prompt_size * layers && got.delta > 0, "%lld applications",
          (long long) got.applications);
}

// The exit at the input sees the last token alone.
void the_input_is_an_exit(eq_model * model) {
    edit input = mean_of_exits(1, true);
    input.at   = {-1};
    const session first(model), second(model);
    must_set(first, {input});
    must_set(second, {input});
    columns what = prompt(1), other = prompt(1);
    for (int32_t i = 0; i + 1 < prompt_size; i++) {
        other.tokens[(size_t) i] = (other.tokens[(size_t) i] + 7) % test::tiny_model::n_vocab;
    }
    const floats seen = read(first, what);
    check_same(seen, read(second, other), "whatever came before");
    CHECK(seen != read(session(model), prompt(1)), "the exit is the answer");
}

void rows_are_counted(eq_model * model) {
    const session ours(model, {0, 2, 32, 0});
    must_set(ours, {move_weights(0, 0.5f, {0, 1}), {EQ_SCORES_SCALE, 3, {2}}, {EQ_SCORES_RAISE, 2}, mean_of_exits(0.5f, true)});
    columns what = prompt();
    for (int32_t i = 0; i < prompt_size; i++) {
        // 0 and 1: behind the span; 2: nowhere; 3: everywhere, but only the last column has logits
        what.active[(size_t) i] = (i >= span_end ? 3u : 0u) | 8u;
    }
    read(ours, what, 5);
    eq_intervention_report got[4] = {};
    CHECK(eq_interventions_report(ours, 0, got, 4) == EQ_OK, "%s", eq_last_error());
    const int64_t behind = prompt_size - span_end;
    CHECK(got[0].columns == behind && got[0].applications == 2 * behind && got[0].delta > 0, "%lld",
          (long long) got[0].applications);
    CHECK(got[1].columns == behind && got[1].applications == behind && got[1].delta > 0, "%lld",
          (long long) got[1].applications);
    CHECK(got[2].columns == 0 && got[2].applications == 0 && got[2].delta == 0, "%lld", (long long) got[2].columns);
    CHECK(got[3].columns == 1 && got[3].delta > 0, "%lld", (long long) got[3].columns);
}

void refusals(eq_model * model) {
    const session ours(model);
    const auto    refuse = [&](edit what, const char * word) {
        CHECK(set(ours, {what}) == EQ_BAD_INPUT, "%s: accepted", word);
        CHECK(std::string(eq_last_error()).find(word) != std::string::npos, "%s: %s", word, eq_last_error());
    };
    refuse({EQ_SCORES_RAISE, 101}, "out of range");
    refuse({EQ_SCORES_SCALE, NAN}, "out of range");
    refuse(move_weights(-0.1f, 0.5f), "out of range");
    refuse(move_weights(0.5f, 1.1f), "out of range");
    edit same             = move_weights(0.5f, 0.5f);
    same.raw.other_labels = same.raw.labels;
    refuse(same, "to themselves");
    refuse(drain_sinks(-1), "out of range");
    edit wide       = drain_sinks(1);
    wide.dimensions = {0, width};
    refuse(wide, "beyond 0..31");
    wide.dimensions.clear();
    refuse(wide, "no dimension");
    refuse({EQ_EXITS_CONTRAST, 1.5f}, "out of range");
    refuse(contrast_of_exits(2), "out of range");
    edit unknown              = contrast_of_exits(0);
    unknown.raw.parameters[1] = NAN;
    refuse(unknown, "out of range");
    edit neither              = mean_of_exits(0.5f, true);
    neither.raw.parameters[0] = 0.5f;
    refuse(neither, "out of range");
    refuse({EQ_SCORES_RAISE, 1, {layers}}, "no layer 3");
    refuse(steer(EQ_STEER_ADD, 1, 5), "no place 5");
    refuse(steer(EQ_STEER_ADD, 1, EQ_AT_EMBEDDING), "layer 0 alone");
    refuse({EQ_SCORES_RAISE, 1, {-1}}, "no layer -1");
    refuse({EQ_MUTE, 0, {-1}}, "no layer -1");
    edit twice = mean_of_exits(0.5f, true);
    twice.at   = {-1, 0, -1};
    refuse(twice, "twice");
    check_same(read(ours, prompt(1)), read(session(model), prompt()), "after all that");
}

} // namespace

int main() {
    return run("rows", 17, [](eq_model * model, const char *) {
        for (const int32_t flash_attn : {0, 1}) {
            looking_changes_nothing(model, flash_attn, 32);
            looking_changes_nothing(model, flash_attn, 5);
            a_reader_changes_no_edit(model, flash_attn);
        }
        the_latest_query_is_the_one_read_last(model);
        states_are_those_captured(model);
        moved_weight_arrives(model, 1);
        moved_weight_arrives(model, 3);
        drained_sinks_keep_row_sums(model);
        the_last_exit_is_the_answer(model);
        the_farthest_exit_is_subtracted(model);
        the_mute_learn_nothing(model);
        the_input_is_an_exit(model);
        rows_are_counted(model);
        refusals(model);
    });
}
