// What interventions did and saw: collected when a graph has run, and read by the caller.
#include "intervention_nodes.hpp"

#include "host.hpp"

#include "equipoise_edits.h"

#include <algorithm>
#include <cmath>

namespace eq {

// What nodes on devices added up of states that are read.
void interventions::take_states() {
    std::vector<double> found((size_t) sums);
    books.take_sums(found.data(), found.size());
    for (auto & list : items) {
        for (item & what : list) {
            for (item::view & seen : what.views) {
                const double * own = found.data() + seen.on_device;
                for (size_t d = 0; seen.on_device >= 0 && d < seen.sums.size(); d++) {
                    seen.sums[d] += own[d];
                }
                seen.count += seen.on_device >= 0 ? (int64_t) own[seen.sums.size()] : 0;
            }
        }
    }
}

void interventions::collect() {
    if (!ran) {
        return;
    }
    take_rows(*ran);
    bool states = false;
    for (const auto & at : ran->sites) {
        for (const site::application & done : at->applications) {
            item & what = *done.what;
            what.columns += (at->il == what.lowest || at->point == LLAMA_SEAM_LOGITS) && !at->again;
            what.applications++;
            states |= what.kind == EQ_STATES_READ;
            // A span that is hidden has no finite change of its score: the keys are counted as if by 1 each.
            what.delta += at->point == LLAMA_SEAM_ATTN_MASK
                              ? std::sqrt((double) done.keys) * (std::isfinite(what.amount) ? std::fabs(what.amount) : 1)
                              : done.delta;
        }
        at->applications.clear();
    }
    if (states && books.any()) {
        take_states();
    }
    for (const auto & at : ran->merges) {
        for (const site::join & done : at->joins) {
            pair & own = merges[(size_t) ran->sequences[(size_t) done.column]];
            own.columns++;
            own.delta += done.delta;
        }
        at->joins.clear();
    }
    ran = nullptr;
}

void interventions::report(int32_t sequence, eq_intervention_report * reports, int32_t n) const {
    EQ_REQUIRE(sequence >= 0 && sequence < is.sequences, "no sequence %d", sequence);
    const auto & of = items[(size_t) sequence];
    EQ_REQUIRE(reports && (size_t) n == of.size(), "%d reports of %zu interventions", n, of.size());
    double on_devices[eqk::most_edits] = {};
    books.add_deltas(sequence, on_devices);
    for (int32_t k = 0; k < n; k++) {
        const item & one = of[(size_t) k];
        reports[k]       = {one.columns, one.applications, one.delta + on_devices[k]};
    }
}

const interventions::item & interventions::reader(int32_t sequence, int32_t index, int32_t il, int32_t kind) const {
    EQ_REQUIRE(sequence >= 0 && sequence < is.sequences, "no sequence %d", sequence);
    const auto & of = items[(size_t) sequence];
    EQ_REQUIRE(index >= 0 && (size_t) index < of.size() && of[(size_t) index].kind == kind,
               "sequence %d: intervention %d does not read that", sequence, index);
    EQ_REQUIRE(il >= 0 && il < is.layers && of[(size_t) index].slot_of_layer[(size_t) il] >= 0,
               "intervention %d does not read layer %d", index, il);
    return of[(size_t) index];
}

void interventions::attention_read(int32_t sequence, int32_t index, int32_t il, double * mass, int32_t n_heads,
                                   float * rows, int32_t n_columns, int64_t * n_queries) const {
    const item &       of   = reader(sequence, index, il, EQ_WEIGHTS_READ);
    const item::view & seen = of.views[(size_t) of.slot_of_layer[(size_t) il]];
    EQ_REQUIRE(mass && n_heads == heads[(size_t) il], "layer %d has %d heads, not %d", il, heads[(size_t) il], n_heads);
    EQ_REQUIRE(n_queries && n_columns >= 0 && (rows || n_columns == 0), "eq_attention_read: a null pointer");
    std::copy(seen.sums.begin(), seen.sums.end(), mass);
    std::fill_n(rows, (size_t) n_heads * (size_t) n_columns, 0.0f);
    for (size_t h = 0; h < seen.rows.size(); h++) {
        const auto known = std::min((int64_t) n_columns, (int64_t) seen.rows[h].size());
        std::copy_n(seen.rows[h].begin(), known, rows + h * (size_t) n_columns);
    }
    *n_queries = seen.count;
}

void interventions::states_read(int32_t sequence, int32_t index, int32_t il, double * sum, int64_t * n_states) const {
    const item &       of   = reader(sequence, index, il, EQ_STATES_READ);
    const item::view & seen = of.views[(size_t) of.slot_of_layer[(size_t) il]];
    EQ_REQUIRE(sum && n_states, "eq_states_read: a null pointer");
    std::copy(seen.sums.begin(), seen.sums.end(), sum);
    *n_states = seen.count;
}

} // namespace eq
