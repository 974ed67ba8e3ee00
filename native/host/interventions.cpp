// What acts on each sequence, what graphs therefore have nodes for, and the batch at hand.
#include "intervention_nodes.hpp"

#include "host.hpp"

#include "equipoise_edits.h"

#include <algorithm>

namespace eq {

interventions::interventions(const limits & of)
    : is(of), items((size_t) of.sequences + 1), merges((size_t) of.sequences), ends(items.size(), -1),
      wants_at((size_t) (n_points * (of.layers + 1)), 0), fired(wants_at.size(), 0), heads((size_t) of.layers, 0),
      joins((size_t) of.layers, 0), head_masks((size_t) of.layers, 0), sinks((size_t) of.layers, 0),
      chooses((size_t) of.layers, 0), misses((size_t) of.layers, 0),
      mutes((size_t) of.layers, 0), watched(wants_at.size(), 0),
      books(of.sequences, of.places) {}

interventions::~interventions() = default;

void interventions::set_cells(int32_t n_cells) { cells = n_cells; }

int32_t interventions::heads_of(int32_t il) const {
    return il >= 0 && il < is.layers ? heads[(size_t) il] : 0;
}

bool interventions::wanted(llama_seam_point point, int32_t il) const {
    return wants_at[index_of(is.layers, point, il)] != 0;
}

bool interventions::wants(llama_seam_point point, int32_t il) const {
    if (point == LLAMA_SEAM_LOGITS) {
        return wanted(LLAMA_SEAM_LOGITS, -1);
    }
    return il >= 0 && il < is.layers &&
           (wanted(LLAMA_SEAM_SCORES, il) || wanted(LLAMA_SEAM_WEIGHTS, il) || chooses[(size_t) il] ||
            mutes[(size_t) il]);
}

bool interventions::wants_attention() const {
    for (int32_t il = 0; il < is.layers; il++) {
        if (wanted(LLAMA_SEAM_ATTN_MASK, il) || wants(LLAMA_SEAM_WEIGHTS, il)) {
            return true;
        }
    }
    return false;
}

void interventions::want(llama_seam_point point, int32_t il) {
    uint8_t & at = wants_at[index_of(is.layers, point, il)];
    version += at == 0;
    at = 1;
}

void interventions::want(const item & what) {
    const llama_seam_point point = what.point();
    if (point == LLAMA_SEAM_INP_EMBD || point == LLAMA_SEAM_LOGITS) {
        want(point, -1);
    }
    if (exits(what.kind)) {
        version += (!exits_bare && what.parameters[0] == 0) + (!exits_input && what.embedding);
        exits_bare |= what.parameters[0] == 0;
        exits_input |= what.embedding;
    }
    const auto raise = [&](std::vector<uint8_t> & flags, size_t at) {
        version += flags[at] == 0;
        flags[at] = 1;
    };
    if (what.looked >= 0) {
        raise(chooses, (size_t) what.looked);
        raise(watched, index_of(is.layers, LLAMA_SEAM_WEIGHTS, what.looked));
    }
    for (int32_t il = 0; il < is.layers; il++) {
        if (what.slot_of_layer[(size_t) il] < 0 || point == LLAMA_SEAM_INP_EMBD) {
            continue;
        }
        if (what.kind == EQ_WEIGHTS_MUTE) {
            raise(mutes, (size_t) il);
            continue;
        }
        want(point, il);
        const auto need = [&](std::vector<uint8_t> & flags) { raise(flags, (size_t) il); };
        if (what.kind == EQ_ATTENTION_BIAS && !what.heads.empty()) {
            need(head_masks);
        }
        if (what.kind == EQ_WEIGHTS_SINKS) {
            need(sinks);
        }
        if (what.kind == EQ_ATTENDED_BIAS) {
            need(misses);
        }
        if (what.kind == EQ_WEIGHTS_READ) {
            raise(watched, index_of(is.layers, point, il));
        }
    }
}

void interventions::set(int32_t sequence, const eq_intervention * list, int32_t n) {
    EQ_REQUIRE(sequence >= 0 && sequence < is.sequences, "no sequence %d", sequence);
    EQ_REQUIRE(n >= 0 && n <= eqk::most_edits && (list || n == 0), "%d interventions, at most %d", n, eqk::most_edits);
    std::vector<item> made;
    for (int32_t k = 0; k < n; k++) {
        made.push_back(make(list[k], k));
    }
    const auto n_choices = std::count_if(made.begin(), made.end(), [](const item & one) { return one.looked >= 0; });
    EQ_REQUIRE(n_choices <= 1, "%td choices of keys in one sequence, at most 1", n_choices);
    const auto n_mutes =
        std::count_if(made.begin(), made.end(), [](const item & one) { return one.kind == EQ_WEIGHTS_MUTE; });
    EQ_REQUIRE(n_mutes <= 1, "%td choices of queries in one sequence, at most 1", n_mutes);
    for (const item & one : made) {
        want(one);
    }
    const auto n_exits = (int32_t) std::count_if(made.begin(), made.end(), [](const item & one) { return exits(one.kind); });
    version += n_exits > most_exits;
    most_exits = std::max(most_exits, n_exits);
    items[(size_t) sequence] = std::move(made);
    book_due = true;
    books.clear_deltas(sequence);
}

void interventions::read_anew(int32_t sequence) {
    for (item & what : items[(size_t) sequence]) {
        for (item::view & seen : what.views) {
            seen.latest = -1;
        }
    }
}

void interventions::begin(const eq_batch & next) {
    for (int32_t i = 0; i < next.n_tokens; i++) {
        EQ_REQUIRE(!next.labels || (next.labels[i] >= 0 && next.labels[i] < n_labels), "column %d: label %d", i,
                   next.labels[i]);
        EQ_REQUIRE(!next.merge_weights || (next.merge_weights[i] >= 0 && next.merge_weights[i] <= 1),
                   "column %d: merge weight %g", i, (double) next.merge_weights[i]);
        if (next.active && next.active[i] != 0) {
            // A token that does not even see itself may see nothing, and softmax has no value then.
            const uint64_t own  = uint64_t{1} << (next.labels ? next.labels[i] : 0);
            const auto &   list = items[(size_t) next.sequences[i]];
            for (size_t k = 0; k < list.size(); k++) {
                EQ_REQUIRE(!(next.active[i] >> k & 1) || !list[k].hides() || !(list[k].labels & own),
                           "column %d: intervention %zu would hide it from itself", i, k);
            }
        }
    }
    for (const pair & join : merges) {
        if (join.second < 0) {
            continue;
        }
        const auto count = [&](int32_t sequence) {
            return std::count(next.sequences, next.sequences + next.n_tokens, sequence);
        };
        // Before the branches part, what the first decodes is shared with the second: nothing to merge.
        EQ_REQUIRE(count(join.second) == 0 || count(join.first) == count(join.second),
                   "sequences %d and %d are merged, but have %td and %td columns", join.first, join.second,
                   count(join.first), count(join.second));
    }
    for (int32_t i = 0; i < next.n_tokens; i++) {
        EQ_REQUIRE(!next.outputs[i] || ends_at(next.sequences[i]) < 0,
                   "column %d: an output of sequence %d, which ends at layer %d", i, next.sequences[i],
                   ends_at(next.sequences[i]));
    }
    for (pair & join : merges) {
        join.rows.clear();
    }
    write_book();
    batch = &next;
    ran   = nullptr;
}

void interventions::begin_graph(const std::vector<int32_t> & of, int32_t ends_at) {
    running    = &of;
    last_block = ends_at;
}

} // namespace eq
