// The contrast in the graph against its formula, whatever the threads and the order; samplers; what is refused.
#include "equipoise.h"

#include "tiny_model.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

namespace {

constexpr float infinite = std::numeric_limits<float>::infinity();

eq_context * open_context(eq_model * model, int n_ubatch, int n_seq_max, int n_threads) {
    eq_context_params params = {};
    params.n_ctx             = 128;
    params.n_ubatch          = n_ubatch;
    params.n_seq_max         = n_seq_max;
    params.n_threads         = n_threads;
    params.kv_type           = 1;
    params.flash_attn        = 0;
    eq_context * context     = nullptr;
    CHECK(eq_context_open(model, &params, &context) == EQ_OK, "%s", eq_last_error());
    return context;
}

// One token column per sequence, all of them outputs.
struct columns {
    std::vector<int32_t> tokens, positions, sequences;
    std::vector<int8_t>  outputs;

    void add(int token, int position, int sequence, bool output) {
        tokens.push_back(token);
        positions.push_back(position);
        sequences.push_back(sequence);
        outputs.push_back(output);
    }
    eq_batch batch() const {
        eq_batch to  = {};
        to.tokens    = tokens.data();
        to.positions = positions.data();
        to.sequences = sequences.data();
        to.outputs   = outputs.data();
        to.n_tokens  = (int32_t) tokens.size();
        return to;
    }
};

std::vector<float> row(eq_context * context, int column) {
    std::vector<float> logits(test::tiny_model::n_vocab);
    CHECK(eq_logits(context, column, logits.data()) == EQ_OK, "%s", eq_last_error());
    return logits;
}

void clear(eq_context * context, int n) {
    for (int sequence = 0; sequence < n; sequence++) {
        CHECK(eq_sequence_remove(context, sequence, 0) == EQ_OK, "%s", eq_last_error());
    }
}

// Three branches that differ in their token, and a fourth sequence that is nobody's branch.
columns four_columns() {
    columns step;
    for (int sequence = 0; sequence < 4; sequence++) {
        step.add(65 + sequence, 0, sequence, true);
    }
    return step;
}

void combines_rows_as_the_formula_says(eq_model * model) {
    for (const int n_threads : {1, 2, 3}) {
        eq_context *   context = open_context(model, 8, 4, n_threads);
        const columns  step    = four_columns();
        const eq_batch batch   = step.batch();
        CHECK(eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
        std::vector<std::vector<float>> plain;
        for (int column = 0; column < 4; column++) {
            plain.push_back(row(context, column));
        }
        clear(context, 4);

        // The base is not the first column, and its group's members are not in column order.
        const int32_t sequences[]    = {2, 0, 3};
        const float   coefficients[] = {2.5f, -1.0f, -0.5f};
        eq_group      group          = {sequences, coefficients, 3, 0, 0.25f, 0, nullptr, 0, 0};
        eq_pick       picks[2]       = {};
        picks[0].column              = 2;
        picks[0].group               = 0;
        picks[1].column              = 1;
        picks[1].group               = -1;
        CHECK(eq_decode(context, &batch, &group, 1, picks, 2, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());

        const std::vector<float> combined = row(context, 2);
        const float              cut = *std::max_element(plain[2].begin(), plain[2].end()) + std::log(0.25f);
        int64_t                  kept = 0;
        double                   squared = 0;
        int                      best    = -1;
        for (int y = 0; y < test::tiny_model::n_vocab; y++) {
            if (plain[2][y] < cut) {
                CHECK(combined[y] == -infinite, "token %d: %g", y, (double) combined[y]);
                continue;
            }
            const double wanted = 2.5 * plain[2][y] - plain[0][y] - 0.5 * plain[3][y];
            // Three products and two sums of values of order one in float32.
            CHECK(std::fabs(combined[y] - wanted) <= 1e-5, "token %d: %g, not %g", y, (double) combined[y], wanted);
            squared += (wanted - plain[2][y]) * (wanted - plain[2][y]);
            kept++;
            best = best < 0 || combined[y] > combined[best] ? y : best;
        }
        CHECK(kept > 0 && kept < test::tiny_model::n_vocab, "%lld kept", (long long) kept);
        CHECK(picks[0].kept == kept, "%lld, not %lld", (long long) picks[0].kept, (long long) kept);
        CHECK(std::fabs(picks[0].delta_norm - std::sqrt(squared)) <= 1e-4, "%g", picks[0].delta_norm);
        CHECK(picks[0].token == best, "%d, not %d", picks[0].token, best);
        CHECK(row(context, 1) == plain[1], "a row that is in no group was changed");
        CHECK(picks[1].token == std::max_element(plain[1].begin(), plain[1].end()) - plain[1].begin(), "%d",
              picks[1].token);
        eq_context_close(context);
    }
}

// An open gate keeps the row; a later decode without that sequence combines it, bit by bit as the graph would have.
void combines_a_kept_row(eq_model * model) {
    eq_context *   context = open_context(model, 8, 4, 2);
    const columns  step    = four_columns();
    const eq_batch batch   = step.batch();
    CHECK(eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    const std::vector<float> plain = row(context, 2);
    clear(context, 4);
    const int32_t sequences[]    = {2, 0, 3};
    const float   coefficients[] = {2.5f, -1.0f, -0.5f};
    eq_group      group          = {sequences, coefficients, 3, 1, 0.25f, 0, nullptr, 0, 0};
    eq_pick       whole          = {};
    whole.column                 = 2;
    CHECK(eq_decode(context, &batch, &group, 1, &whole, 1, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    const std::vector<float> combined = row(context, 2);
    clear(context, 4);

    double sum = 0, weighted = 0;
    float  best = -infinite;
    for (const float z : plain) {
        sum += std::exp((double) z);
        best = std::max(best, z);
    }
    for (const float z : plain) {
        weighted += std::exp((double) z) / sum * (std::log(sum) - z);
    }
    eq_pick gated        = {};
    gated.column         = 2;
    gated.group          = -1;
    gated.gate           = EQ_GATE_CONFIDENCE_BELOW;
    gated.gate_threshold = 0;
    CHECK(eq_decode(context, &batch, nullptr, 0, &gated, 1, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    CHECK(!gated.gate_open && gated.token >= 0, "no probability is below 0, but token %d", gated.token);
    // One division and some two hundred sums in float32.
    CHECK(std::fabs(gated.gate_value - std::exp((double) best) / sum) <= 1e-5, "%g", (double) gated.gate_value);
    clear(context, 4);
    gated.gate           = EQ_GATE_ENTROPY_ABOVE;
    gated.gate_threshold = 0;
    CHECK(eq_decode(context, &batch, nullptr, 0, &gated, 1, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    CHECK(gated.gate_open && gated.token == -1, "open %d, token %d", gated.gate_open, gated.token);
    CHECK(std::fabs(gated.gate_value - weighted) <= 1e-4, "%g, not %g", (double) gated.gate_value, weighted);

    // The base's column is gone; the others run again in a batch of the same shape, with padding for it.
    columns again;
    again.add(65, 0, 0, true);
    again.add(66, 0, 1, true);
    again.add(68, 0, 3, true);
    again.add(67, 0, 4, false);
    eq_batch rest  = again.batch();
    rest.n_padding = 1;
    for (const int sequence : {0, 1, 3}) {
        CHECK(eq_sequence_remove(context, sequence, 0) == EQ_OK, "%s", eq_last_error());
    }
    group.after    = 1;
    eq_pick after  = {};
    after.column   = 2;
    CHECK(eq_decode(context, &rest, &group, 1, &after, 1, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    CHECK(after.token == whole.token && after.kept == whole.kept, "token %d of %lld kept, not %d of %lld", after.token,
          (long long) after.kept, whole.token, (long long) whole.kept);
    CHECK(after.changed == (whole.token != std::max_element(plain.begin(), plain.end()) - plain.begin()), "%d",
          after.changed);
    const std::vector<float> late = row(context, 2);
    for (int y = 0; y < test::tiny_model::n_vocab; y++) {
        // The branches' rows come from a graph of the same columns in another order.
        CHECK(late[y] == combined[y] || std::fabs(late[y] - combined[y]) <= 1e-5, "token %d: %g, not %g", y,
              (double) late[y], (double) combined[y]);
    }
    CHECK(eq_sequence_remove(context, 2, 0) == EQ_OK, "%s", eq_last_error());
    CHECK(eq_decode(context, &rest, &group, 1, &after, 1, nullptr, nullptr) == EQ_BAD_INPUT, "a row that is gone");
    eq_context_close(context);
}

// A group behind a gate of its own: combined where the gate is open, its base row as it stands where it is shut.
void gates_a_group(eq_model * model) {
    eq_context *   context = open_context(model, 8, 4, 2);
    const columns  step    = four_columns();
    const eq_batch batch   = step.batch();
    const int32_t  sequences[]    = {2, 0, 3};
    const float    coefficients[] = {2.5f, -1.0f, -0.5f};
    eq_group       group          = {sequences, coefficients, 3, 1, 0.25f, 1, nullptr, 0, 0};
    eq_pick        pick           = {};
    pick.column                   = 2;
    CHECK(eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    const std::vector<float> plain = row(context, 2);
    const int32_t            best  = (int32_t) (std::max_element(plain.begin(), plain.end()) - plain.begin());
    clear(context, 4);
    CHECK(eq_decode(context, &batch, &group, 1, &pick, 1, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    const eq_pick            whole    = pick;
    const std::vector<float> combined = row(context, 2);
    clear(context, 4);

    pick.gate           = EQ_GATE_ENTROPY_ABOVE;
    pick.gate_threshold = 0;
    CHECK(eq_decode(context, &batch, &group, 1, &pick, 1, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    CHECK(pick.gate_open && pick.token == whole.token && pick.kept == whole.kept && pick.changed == whole.changed &&
              pick.delta_norm == whole.delta_norm,
          "open %d, token %d, not %d", pick.gate_open, pick.token, whole.token);
    CHECK(row(context, 2) == combined, "an open gate's row is not the combined one");
    clear(context, 4);

    pick.gate_threshold = 100;
    CHECK(eq_decode(context, &batch, &group, 1, &pick, 1, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    CHECK(!pick.gate_open && pick.token == best && pick.kept == test::tiny_model::n_vocab && pick.delta_norm == 0 &&
              !pick.changed,
          "open %d, token %d, not %d", pick.gate_open, pick.token, best);
    CHECK(row(context, 2) == plain, "a shut gate has changed the base row");
    clear(context, 4);

    pick.column = 0;
    CHECK(eq_decode(context, &batch, &group, 1, &pick, 1, nullptr, nullptr) == EQ_BAD_INPUT, "a gate on another row");
    pick.column = 2;
    group.after = 0;
    CHECK(eq_decode(context, &batch, &group, 1, &pick, 1, nullptr, nullptr) == EQ_BAD_INPUT, "a gate in the graph");
    eq_context_close(context);
}

// Padding is nobody's: it can be decoded at its first position again and again, and refuses to be an output.
void padding_leaves_nothing(eq_model * model) {
    eq_context * context = open_context(model, 4, 1, 1);
    for (int i = 0; i < 40; i++) {
        columns step;
        step.add(65, i, 0, true);
        step.add(65, 0, 1, false);
        eq_batch batch  = step.batch();
        batch.n_padding = 1;
        CHECK(eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    }
    columns step;
    step.add(65, 40, 0, true);
    step.add(65, 0, 1, true);
    eq_batch batch  = step.batch();
    batch.n_padding = 1;
    CHECK(eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_BAD_INPUT, "padding as output");
    batch.n_padding = 2;
    CHECK(eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_BAD_INPUT, "only padding");
    eq_context_close(context);
}

void combines_log_probabilities(eq_model * model) {
    eq_context *   context = open_context(model, 8, 4, 2);
    const columns  step    = four_columns();
    const eq_batch batch   = step.batch();
    CHECK(eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    const std::vector<float> a = row(context, 0), b = row(context, 1);
    clear(context, 4);
    const auto lse = [](const std::vector<float> & z) {
        double sum = 0;
        for (const float value : z) {
            sum += std::exp((double) value);
        }
        return std::log(sum);
    };
    const int32_t sequences[]    = {0, 1};
    const float   coefficients[] = {1.5f, -0.5f};
    eq_group      group          = {sequences, coefficients, 2, 1, 0.0f, 0, nullptr, 0, 0};
    CHECK(eq_decode(context, &batch, &group, 1, nullptr, 0, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    const std::vector<float> combined = row(context, 0);
    for (int y = 0; y < test::tiny_model::n_vocab; y++) {
        const double wanted = 1.5 * (a[y] - lse(a)) - 0.5 * (b[y] - lse(b));
        CHECK(std::fabs(combined[y] - wanted) <= 2e-5, "token %d: %g, not %g", y, (double) combined[y], wanted);
    }
    eq_context_close(context);
}

float coefficients_to_be[2];
float seen_entropies[2];

void by_entropy(int32_t group, const float * entropies) {
    CHECK(group == 0, "group %d", group);
    for (int b = 0; b < 2; b++) {
        seen_entropies[b] = entropies[b];
    }
    coefficients_to_be[0] = 1 + entropies[1];
    coefficients_to_be[1] = -entropies[0];
}

void without_a_number(int32_t, const float *) { coefficients_to_be[1] = NAN; }

// Weights that are known when the rows are, and a cut-off that leaves a number.
void weighs_rows_by_their_entropies(eq_model * model) {
    eq_context *   context = open_context(model, 8, 4, 2);
    const columns  step    = four_columns();
    const eq_batch batch   = step.batch();
    CHECK(eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    const std::vector<float> a = row(context, 0), b = row(context, 1);
    clear(context, 4);
    const auto entropy = [](const std::vector<float> & z) {
        double sum = 0, weighted = 0;
        for (const float value : z) {
            sum += std::exp((double) value);
            weighted += std::exp((double) value) * value;
        }
        return std::log(sum) - weighted / sum;
    };
    const int32_t sequences[] = {0, 1};
    eq_group      group       = {sequences, coefficients_to_be, 2, 0, 0.5f, 1, by_entropy, -1e-4f, 0};
    eq_pick       pick        = {};
    std::fill(coefficients_to_be, coefficients_to_be + 2, 0.0f);
    CHECK(eq_decode(context, &batch, &group, 1, &pick, 1, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    CHECK(std::fabs(seen_entropies[0] - entropy(a)) <= 1e-5 && std::fabs(seen_entropies[1] - entropy(b)) <= 1e-5,
          "entropies %g and %g", (double) seen_entropies[0], (double) seen_entropies[1]);
    const std::vector<float> combined = row(context, 0);
    const float              cut      = *std::max_element(a.begin(), a.end()) + std::log(0.5f);
    int64_t                  left     = 0;
    for (int y = 0; y < test::tiny_model::n_vocab; y++) {
        const double wanted = a[y] < cut ? -1e-4f : (1 + entropy(b)) * a[y] - entropy(a) * b[y];
        left += a[y] < cut;
        CHECK(std::fabs(combined[y] - wanted) <= 1e-4, "token %d: %g, not %g", y, (double) combined[y], wanted);
    }
    CHECK(left > 0 && pick.kept == test::tiny_model::n_vocab - left, "%lld kept", (long long) pick.kept);
    CHECK(pick.token == std::distance(combined.begin(), std::max_element(combined.begin(), combined.end())),
          "token %d", pick.token);
    clear(context, 4);
    group.weigh = without_a_number;
    CHECK(eq_decode(context, &batch, &group, 1, &pick, 1, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    CHECK(pick.status == EQ_INTERNAL && pick.token == -1, "status %d", pick.status);
    clear(context, 4);
    group.weigh = by_entropy;
    group.after = 0;
    CHECK(eq_decode(context, &batch, &group, 1, &pick, 1, nullptr, nullptr) == EQ_BAD_INPUT, "weighed in the graph");
    group           = {sequences, coefficients_to_be, 2, 0, 0.5f, 1, nullptr, INFINITY, 0};
    CHECK(eq_decode(context, &batch, &group, 1, &pick, 1, nullptr, nullptr) == EQ_BAD_INPUT, "an infinite logit");
    eq_context_close(context);
}

void shares_cells_and_forgets(eq_model * model) {
    eq_context * context = open_context(model, 8, 2, 2);
    columns      prefix, step;
    for (int i = 0; i < 5; i++) {
        prefix.add(70 + i, i, 0, false);
    }
    const eq_batch first = prefix.batch();
    CHECK(eq_decode(context, &first, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    CHECK(eq_sequence_copy(context, 0, 1, 5) == EQ_OK, "%s", eq_last_error());
    step.add(80, 5, 0, true);
    step.add(80, 5, 1, true);
    const eq_batch second = step.batch();
    CHECK(eq_decode(context, &second, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    const std::vector<float> a = row(context, 0), b = row(context, 1);
    for (int y = 0; y < test::tiny_model::n_vocab; y++) {
        CHECK(std::fabs(a[y] - b[y]) <= 1e-6f, "token %d: %g and %g", y, (double) a[y], (double) b[y]);
    }
    clear(context, 2);
    CHECK(eq_decode(context, &first, nullptr, 0, nullptr, 0, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    eq_context_close(context);
}

void draws_within_the_grammar(eq_model * model) {
    eq_sampler_params params = {1.0, 0, 1.0, 0.0, 1.0, 0, 7, "root ::= [a-c]+", nullptr, nullptr, 0, 0, 0};
    eq_sampler *      sampler = nullptr;
    CHECK(eq_sampler_open(model, &params, &sampler) == EQ_OK, "%s", eq_last_error());
    eq_context * context = open_context(model, 8, 1, 2);
    for (int i = 0; i < 20; i++) {
        columns step;
        step.add(65, i, 0, true);
        const eq_batch batch = step.batch();
        eq_pick        pick  = {};
        pick.sampler         = sampler;
        pick.group           = -1;
        pick.n_top           = 3;
        std::vector<int32_t> tokens(EQ_TOP_MAX);
        std::vector<float>   log_probabilities(EQ_TOP_MAX);
        CHECK(eq_decode(context, &batch, nullptr, 0, &pick, 1, tokens.data(), log_probabilities.data()) == EQ_OK, "%s",
              eq_last_error());
        CHECK(pick.status == EQ_OK, "status %d", pick.status);
        if (pick.ends) {
            break;
        }
        CHECK(pick.n_bytes == 1 && pick.bytes[0] >= 'a' && pick.bytes[0] <= 'c', "byte %d", pick.bytes[0]);
        CHECK(log_probabilities[0] >= log_probabilities[1] && log_probabilities[1] >= log_probabilities[2] &&
                  log_probabilities[0] <= 0,
              "not in order");
    }
    // A cut-off that leaves only the best token, which the grammar forbids, leaves none.
    params.grammar = "root ::= \"\\x01\"";
    eq_sampler * narrow = nullptr;
    CHECK(eq_sampler_open(model, &params, &narrow) == EQ_OK, "%s", eq_last_error());
    clear(context, 1);
    columns step;
    step.add(65, 0, 0, true);
    const eq_batch batch          = step.batch();
    const int32_t  sequences[]    = {0};
    const float    coefficients[] = {1.0f};
    const eq_group group          = {sequences, coefficients, 1, 0, 1.0f, 0, nullptr, 0, 0};
    eq_pick        pick           = {};
    pick.sampler                  = narrow;
    CHECK(eq_decode(context, &batch, &group, 1, &pick, 1, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    CHECK(pick.status == EQ_BAD_INPUT && pick.token == -1, "status %d, token %d", pick.status, pick.token);
    eq_context_close(context);
    eq_sampler_close(narrow);
    eq_sampler_close(sampler);

    params.grammar = "root ::= (";
    CHECK(eq_sampler_open(model, &params, &sampler) == EQ_BAD_INPUT, "that is no grammar");
}

void draws_a_shifted_token(eq_model * model) {
    const int32_t     tokens[] = {'q', 'z'};
    const float       shifts[] = {1e3f, -1e3f};
    eq_sampler_params params   = {0, 0, 1.0, 0.0, 1.0, 0, 7, nullptr, tokens, shifts, 2, 0, 0};
    eq_sampler *      sampler  = nullptr;
    CHECK(eq_sampler_open(model, &params, &sampler) == EQ_OK, "%s", eq_last_error());
    eq_context * context = open_context(model, 8, 1, 2);
    columns      step;
    step.add(65, 0, 0, true);
    const eq_batch batch = step.batch();
    eq_pick        pick  = {};
    pick.sampler         = sampler;
    pick.group           = -1;
    CHECK(eq_decode(context, &batch, nullptr, 0, &pick, 1, nullptr, nullptr) == EQ_OK, "%s", eq_last_error());
    CHECK(pick.status == EQ_OK && pick.token == 'q', "token %d", pick.token);
    eq_context_close(context);
    eq_sampler_close(sampler);

    const int32_t beyond[] = {test::tiny_model::n_vocab};
    params.bias_tokens     = beyond;
    params.n_bias          = 1;
    CHECK(eq_sampler_open(model, &params, &sampler) == EQ_BAD_INPUT, "there is no such token");
    params.bias_tokens = nullptr;
    CHECK(eq_sampler_open(model, &params, &sampler) == EQ_BAD_INPUT, "a null pointer");
    const float endless[] = {INFINITY, 0};
    params.bias_tokens    = tokens;
    params.bias           = endless;
    CHECK(eq_sampler_open(model, &params, &sampler) == EQ_BAD_INPUT, "a shift without end");
}

void refuses_what_would_abort(eq_model * model) {
    eq_context *   context = open_context(model, 4, 2, 2);
    const auto     refused = [&](const columns & step, const eq_group * groups, int n_groups, eq_pick * picks,
                             int n_picks) {
        const eq_batch batch = step.batch();
        return eq_decode(context, &batch, groups, n_groups, picks, n_picks, nullptr, nullptr) == EQ_BAD_INPUT;
    };
    columns none, too_many, no_such_token, no_such_sequence, negative, good;
    for (int i = 0; i < 5; i++) {
        too_many.add(65, i, 0, false);
    }
    no_such_token.add(test::tiny_model::n_vocab, 0, 0, true);
    no_such_sequence.add(65, 0, 2, true);
    negative.add(65, -1, 0, true);
    good.add(65, 0, 0, true);
    CHECK(refused(none, nullptr, 0, nullptr, 0), "an empty batch");
    CHECK(refused(too_many, nullptr, 0, nullptr, 0), "more than a micro-batch");
    CHECK(refused(no_such_token, nullptr, 0, nullptr, 0), "a token that is not there");
    CHECK(refused(no_such_sequence, nullptr, 0, nullptr, 0), "a sequence that is not there");
    CHECK(refused(negative, nullptr, 0, nullptr, 0), "a position below 0");

    const int32_t sequences[] = {0, 1}, twice[] = {0, 0}, outside[] = {0, 7};
    const float   coefficients[] = {1, 1}, broken[] = {1, NAN};
    const eq_group absent  = {sequences, coefficients, 2, 0, 0, 0, nullptr, 0, 0};
    const eq_group doubled = {twice, coefficients, 2, 0, 0, 0, nullptr, 0, 0};
    const eq_group far     = {outside, coefficients, 2, 0, 0, 0, nullptr, 0, 0};
    const eq_group nan     = {sequences, broken, 2, 0, 0, 0, nullptr, 0, 0};
    const eq_group beta    = {sequences, coefficients, 2, 0, 1.5f, 0, nullptr, 0, 0};
    CHECK(refused(good, &doubled, 1, nullptr, 0), "a sequence twice in a group");
    CHECK(refused(good, &far, 1, nullptr, 0), "a group of a sequence that is not there");
    CHECK(refused(good, &nan, 1, nullptr, 0), "a coefficient that is no number");
    CHECK(refused(good, &beta, 1, nullptr, 0), "a plausibility above 1");
    eq_pick pick = {};
    CHECK(refused(good, &absent, 1, &pick, 1), "a branch that is not in the batch");
    pick.column = 1;
    CHECK(refused(good, nullptr, 0, &pick, 1), "a pick of a column that is not there");
    float logits[test::tiny_model::n_vocab];
    CHECK(eq_logits(context, 3, logits) == EQ_BAD_INPUT, "a row of a column that is not there");
    eq_context_close(context);

    int32_t n = 0, tokens[4];
    char    bytes[4];
    CHECK(eq_tokenize(model, "more than four", 14, 0, tokens, 4, &n) == EQ_BAD_INPUT && n > 4, "%d tokens", n);
    CHECK(eq_token_bytes(model, -1, 0, bytes, 4, &n) == EQ_BAD_INPUT, "no token -1");
    eq_model * other = nullptr;
    CHECK(eq_model_open("/nonexistent", 0, &other) == EQ_BAD_INPUT && other == nullptr, "no file");
    CHECK(std::string(eq_last_error()).find("/nonexistent") != std::string::npos, "%s", eq_last_error());
}

} // namespace

int main() {
    const test::tiny_model file(11);
    CHECK(eq_start(nullptr) == EQ_OK, "%s", eq_last_error());
    eq_model * model = nullptr;
    if (eq_model_open(file.path(), 0, &model) != EQ_OK) {
        fprintf(stderr, "%s\n", eq_last_error());
        return EXIT_FAILURE;
    }
    combines_rows_as_the_formula_says(model);
    combines_a_kept_row(model);
    gates_a_group(model);
    padding_leaves_nothing(model);
    combines_log_probabilities(model);
    weighs_rows_by_their_entropies(model);
    shares_cells_and_forgets(model);
    draws_within_the_grammar(model);
    draws_a_shifted_token(model);
    refuses_what_would_abort(model);
    eq_model_close(model);
    CHECK(eq_live_objects() == 0, "%lld handles are open", (long long) eq_live_objects());
    return test::verdict("decode");
}
