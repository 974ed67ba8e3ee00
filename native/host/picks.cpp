// What comes of the rows of a batch: read, combined after the graph, weighed by a gate, drawn from and reported.
#include "context.hpp"

#include "equipoise_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

namespace eq {

float * row_of(eq_context & context, int32_t column) {
    const int32_t number =
        column >= 0 && (size_t) column < context.output_rows.size() ? context.output_rows[(size_t) column] : -1;
    EQ_REQUIRE(number >= 0, "column %d is not an output of the last batch", column);
    float * row   = context.plan->row_of(number);
    // Pinned memory, where that makes sense.
    float * there = row ? row : llama_get_logits_ith(context.context.get(), context.place[(size_t) column]);
    if (!context.rows_seen[(size_t) number]) {
        if (!row) {
            context.plan->read_row(number, there);
        }
        context.rows_seen[(size_t) number] = 1;
        context.rows_read++;
    }
    return there;
}

namespace {

// Whether a pick needs no more of its row than the best token.
bool needs_id_alone(const eq_group * groups, const eq_pick & pick) {
    return !pick.sampler && pick.gate == EQ_GATE_NONE && pick.n_top == 0 &&
           (pick.group < 0 || (!groups[pick.group].after && groups[pick.group].cut_value == 0));
}

float log_sum_exp(const float * row, int64_t n) {
    eqk_partial partials[EQK_SLICES];
    float       max = 0;
    float       lse = 0;
    eqk_row_partials(row, n, 0, EQK_SLICES, partials);
    eqk_row_reduce(partials, &max, &lse);
    return lse;
}

void report_top(eq_context & context, const float * row, eq_pick & pick, int32_t * tokens, float * log_probabilities) {
    const float lse = log_sum_exp(row, context.n_vocab);
    context.order.resize((size_t) context.n_vocab);
    std::iota(context.order.begin(), context.order.end(), 0);
    const auto end = context.order.begin() + std::min(pick.n_top, context.n_vocab);
    std::partial_sort(context.order.begin(), end, context.order.end(),
                      [row](int32_t a, int32_t b) { return row[a] > row[b] || (row[a] == row[b] && a < b); });
    for (int32_t k = 0; k < pick.n_top; k++) {
        const bool there     = k < context.n_vocab;
        tokens[k]            = there ? context.order[(size_t) k] : -1;
        log_probabilities[k] = there ? row[tokens[k]] - lse : -std::numeric_limits<float>::infinity();
    }
    pick.log_probability = row[pick.token] - lse;
}

// Grammar first and by itself: a draw from a row on which everything is masked has no defined result.
int32_t sample(eq_context & context, eq_sampler & sampler, const float * row) {
    auto & candidates = context.candidates;
    candidates.resize((size_t) context.n_vocab);
    for (int32_t id = 0; id < context.n_vocab; id++) {
        candidates[(size_t) id] = {id, row[id], 0};
    }
    llama_token_data_array array = {candidates.data(), candidates.size(), -1, false};
    if (sampler.grammar) {
        llama_sampler_apply(sampler.grammar.get(), &array);
        if (std::none_of(candidates.begin(), candidates.end(),
                         [](const llama_token_data & one) { return std::isfinite(one.logit); })) {
            return -1;
        }
    }
    llama_sampler_apply(sampler.chain.get(), &array);
    if (array.selected < 0 || (size_t) array.selected >= array.size) {
        return -1;
    }
    const int32_t token = array.data[array.selected].id;
    if (sampler.grammar) {
        llama_sampler_accept(sampler.grammar.get(), token);
    }
    llama_sampler_accept(sampler.chain.get(), token);
    return token;
}

// The column of a batch that is a sequence's output, or -1.
int32_t output_of(const eq_batch & batch, int32_t sequence) {
    for (int32_t i = 0; i < batch.n_tokens; i++) {
        if (batch.sequences[i] == sequence && batch.outputs[i]) {
            return i;
        }
    }
    return -1;
}

// A group that is combined after the graph, and its pick: what the graph checks of its own groups, and the base row.
void check_after(const eq_context & context, const eq_batch & batch, const eq_group & group, int32_t g) {
    EQ_REQUIRE(group.sequences && group.coefficients && group.n_branches >= 1, "group %d has no branch", g);
    EQ_REQUIRE(group.plausibility >= 0 && group.plausibility <= 1, "group %d: plausibility %g is not in 0..1", g,
               (double) group.plausibility);
    for (int32_t b = 0; b < group.n_branches; b++) {
        const int32_t sequence = group.sequences[b];
        EQ_REQUIRE(sequence >= 0 && sequence < context.n_seq_max, "group %d: no sequence %d", g, sequence);
        EQ_REQUIRE(std::isfinite(group.coefficients[b]), "group %d: coefficient %d is not finite", g, b);
        EQ_REQUIRE(output_of(batch, sequence) >= 0 || !context.kept[(size_t) sequence].empty(),
                   "group %d: sequence %d has no row", g, sequence);
    }
}

// Entropy of a row's softmax in nats; not a number where it has none.
float entropy_of(const float * row, int64_t n_vocab) {
    int64_t best   = -1;
    float   result = NAN;
    if (eqk_argmax(row, n_vocab, &best) == EQK_OK) {
        eqk_entropy(row, n_vocab, row[best], &result);
    }
    return result;
}

// The graph's arithmetic by the graph's own functions, slice by slice: the same numbers for the same rows. It runs here
// and not in the graph because the base row is one of an earlier decode: as a graph input it would be a tensor of the
// vocabulary's width for each open gate, and their number would change the graph's shape from step to step.
plan::outcome combine(eq_context & context, const eq_batch & batch, const eq_group & group, eq_pick & pick) {
    const size_t  width = (size_t) context.n_vocab;
    const int32_t n     = group.n_branches;
    context.rows.resize(width * (size_t) n);
    context.row_max.resize((size_t) n);
    context.row_lse.resize((size_t) n);
    context.row_index.resize((size_t) n);
    std::iota(context.row_index.begin(), context.row_index.end(), 0);
    for (int32_t b = 0; b < n; b++) {
        const int32_t column = output_of(batch, group.sequences[b]);
        const float * from   = column >= 0 ? row_of(context, column) : context.kept[(size_t) group.sequences[b]].data();
        memcpy(context.rows.data() + width * (size_t) b, from, width * sizeof(float));
    }
    if (group.weigh) {
        context.entropies.resize((size_t) n);
        for (int32_t b = 0; b < n; b++) {
            context.entropies[(size_t) b] = entropy_of(context.rows.data() + width * (size_t) b, context.n_vocab);
        }
        group.weigh(pick.group, context.entropies.data());
        if (!std::all_of(group.coefficients, group.coefficients + n, [](float c) { return std::isfinite(c); })) {
            return {EQ_INTERNAL, 0, 0};
        }
    }
    int64_t plain_best = -1;
    int64_t best       = -1;
    float * to         = row_of(context, pick.column);
    eqk_argmax(context.rows.data(), context.n_vocab, &plain_best);

    plan::outcome result;
    double            squared = 0;
    result.status     = eqk_contrast_rows(context.rows.data(), context.n_vocab, context.n_vocab,
                                          context.row_index.data(), group.coefficients, n, group.log_probabilities,
                                          group.plausibility, context.row_max.data(), context.row_lse.data(),
                                          to, &squared, &result.kept);
    if (group.cut_value != 0) {
        std::replace(to, to + context.n_vocab, -INFINITY, group.cut_value);
    }
    eqk_argmax(to, context.n_vocab, &best);
    pick.changed = best != plain_best;
    result.delta_norm = std::sqrt(squared);
    return result;
}

// Whether a row is not enough.
bool opens(const eq_context & context, const float * row, eq_pick & pick) {
    if (pick.gate == EQ_GATE_ENTROPY_ABOVE) {
        pick.gate_value = entropy_of(row, context.n_vocab);
        pick.gate_open  = pick.gate_value > pick.gate_threshold;
    } else {
        eqk_partial partials[EQK_SLICES];
        float       max = 0;
        float       lse = 0;
        eqk_row_partials(row, context.n_vocab, 0, EQK_SLICES, partials);
        eqk_row_reduce(partials, &max, &lse);
        pick.gate_value = std::exp(max - lse);
        pick.gate_open  = pick.gate_value < pick.gate_threshold;
    }
    return pick.gate_open != 0;
}

// Whether a pick's group is to be combined: behind a gate, where the base row is not enough. Drawing from a row that is
// not finite fails, combined or not.
bool needs_group(eq_context & context, eq_pick & pick) {
    if (pick.gate == EQ_GATE_NONE) {
        return true;
    }
    const float * row  = row_of(context, pick.column);
    int64_t       best = -1;
    return eqk_argmax(row, context.n_vocab, &best) == EQK_OK && opens(context, row, pick);
}

// The token of a pick, or -1: then its status says why, if no gate is open.
void choose(eq_context & context, const eq_batch & batch, const eq_group * groups, eq_pick & pick,
            int32_t * top_tokens, float * top_log_probabilities) {
    if (context.draws && needs_id_alone(groups, pick)) {
        pick.token  = context.plan->token_of(context.output_rows[(size_t) pick.column]);
        pick.status = pick.token >= 0 ? EQ_OK : EQ_INTERNAL;
        return;
    }
    const float * row  = row_of(context, pick.column);
    int64_t       best = -1;
    // Also the check that the row is finite and has a token at all.
    if (eqk_argmax(row, context.n_vocab, &best) != EQK_OK) {
        pick.status = EQ_INTERNAL;
        return;
    }
    if (pick.gate != EQ_GATE_NONE && pick.group < 0 && opens(context, row, pick)) {
        context.kept[(size_t) batch.sequences[pick.column]].assign(row, row + context.n_vocab);
        return;
    }
    pick.token = pick.sampler ? sample(context, *pick.sampler, row) : (int32_t) best;
    if (pick.token < 0) {
        pick.status = EQ_BAD_INPUT;
    } else if (pick.n_top > 0) {
        report_top(context, row, pick, top_tokens, top_log_probabilities);
    }
}

} // namespace

void check_picks(const eq_context & context, const eq_batch & batch, const eq_group * groups, int32_t n_groups,
                 const eq_pick * picks, int32_t n_picks, bool reports) {
    for (int32_t p = 0; p < n_picks; p++) {
        EQ_REQUIRE(picks[p].column >= 0 && picks[p].column < batch.n_tokens && batch.outputs[picks[p].column],
                   "pick %d: column %d is not an output", p, picks[p].column);
        EQ_REQUIRE(picks[p].group >= -1 && picks[p].group < n_groups, "pick %d: no group %d", p, picks[p].group);
        EQ_REQUIRE(picks[p].n_top >= 0 && picks[p].n_top <= EQ_TOP_MAX, "pick %d: %d best tokens", p,
                   picks[p].n_top);
        EQ_REQUIRE(picks[p].gate >= EQ_GATE_NONE && picks[p].gate <= EQ_GATE_CONFIDENCE_BELOW &&
                       !std::isnan(picks[p].gate_threshold),
                   "pick %d: no gate %d at %g", p, picks[p].gate, (double) picks[p].gate_threshold);
        // The base row is its column's own until the group is combined.
        EQ_REQUIRE(picks[p].gate == EQ_GATE_NONE || picks[p].group < 0 ||
                       (groups[picks[p].group].after && groups[picks[p].group].sequences &&
                        groups[picks[p].group].n_branches > 0 && groups[picks[p].group].sequences[0] == batch.sequences[picks[p].column]),
                   "pick %d: a gate on a group in the graph, or on another row than its base", p);
        EQ_REQUIRE(picks[p].n_top == 0 || reports, "pick %d: nowhere to report", p);
    }
    for (int32_t g = 0; g < n_groups; g++) {
        EQ_REQUIRE(std::isfinite(groups[g].cut_value), "group %d: cut value %g", g, (double) groups[g].cut_value);
        EQ_REQUIRE(!groups[g].weigh || groups[g].after, "group %d: weighed in the graph", g);
        if (groups[g].after) {
            check_after(context, batch, groups[g], g);
        }
    }
}

// Numbers the rows of a batch, and tells the graph whose best tokens to find.
void number_rows(eq_context & context, const eq_batch & batch, const eq_group * groups, const eq_pick * picks,
                 int32_t n_picks) {
    context.next_rows.clear();
    int32_t rows = 0;
    for (int32_t i = 0; i < batch.n_tokens; i++) {
        context.next_rows.push_back(batch.outputs[i] ? rows++ : -1);
    }
    context.rows_seen.assign((size_t) rows, 0);
    context.drawn.clear();
    for (int32_t p = 0; context.draws && p < n_picks; p++) {
        if (needs_id_alone(groups, picks[p])) {
            context.drawn.push_back(context.next_rows[(size_t) picks[p].column]);
        }
    }
    std::sort(context.drawn.begin(), context.drawn.end());
    context.drawn.erase(std::unique(context.drawn.begin(), context.drawn.end()), context.drawn.end());
    context.plan->set_drawn(context.drawn);
}

void draw(eq_context & context, const eq_batch & batch, const eq_group * groups, eq_pick & pick, int32_t * top_tokens,
          float * top_log_probabilities) {
    pick.status       = EQ_OK;
    pick.token        = -1;
    pick.n_bytes      = 0;
    pick.ends         = 0;
    pick.gate_open    = 0;
    pick.gate_value   = 0;
    pick.changed      = 0;
    pick.delta_norm   = 0;
    pick.kept         = context.n_vocab;
    if (pick.group >= 0 && groups[pick.group].after) {
        if (needs_group(context, pick)) {
            const plan::outcome outcome = combine(context, batch, groups[pick.group], pick);
            pick.delta_norm                 = outcome.delta_norm;
            pick.kept                       = outcome.kept;
            if (outcome.status != EQK_OK) {
                pick.status = EQ_INTERNAL;
                return;
            }
        }
    } else if (pick.group >= 0) {
        const plan::outcome outcome = context.plan->outcome_of(pick.group);
        pick.delta_norm                 = outcome.delta_norm;
        pick.kept                       = outcome.kept;
        if (groups[pick.group].cut_value != 0) {
            float * own = row_of(context, pick.column);
            std::replace(own, own + context.n_vocab, -INFINITY, groups[pick.group].cut_value);
        }
    }
    choose(context, batch, groups, pick, top_tokens, top_log_probabilities);
    if (pick.token < 0) {
        return;
    }
    pick.ends = llama_vocab_is_eog(context.vocab, pick.token);
    pick.n_bytes =
        std::max(0, llama_token_to_piece(context.vocab, pick.token, pick.bytes, (int32_t) sizeof(pick.bytes), 0, false));
}

} // namespace eq
