// Which nodes interventions put at which seam of a graph, and what those are told before it runs.
#include "intervention_nodes.hpp"

#include "host.hpp"

#include "equipoise_edits.h"

#include "ggml-backend.h"

#include <memory>

namespace eq {

interventions::graph * interventions::make_graph() {
    auto made = std::make_unique<graph>();
    made->outs.assign((size_t) is.layers, nullptr);
    return made.release();
}

void interventions::free_graph(graph * dead) {
    if (ran == dead) {
        ran = nullptr;
    }
    delete dead;
}

// What the model's graph turns out to have, seen while one is built.
void interventions::note_fired(llama_seam_point point, const llama_seam_build & build, const ggml_tensor * cur, int il) {
    uint8_t & count = fired[index_of(is.layers, point, il)];
    switch (point) {
        case LLAMA_SEAM_INP_EMBD:
            // The first seam of a graph: what counts is how often it has each of the others.
            for (const llama_seam_point each : {LLAMA_SEAM_ATTN_OUT, LLAMA_SEAM_FFN_OUT, LLAMA_SEAM_NORM_OUT}) {
                for (int32_t layer = 0; layer < is.layers; layer++) {
                    fired[index_of(is.layers, each, layer)] = 0;
                }
            }
            count = cur->type == GGML_TYPE_F32;
            break;
        case LLAMA_SEAM_ATTN_MASK: count = cur->ne[2] == 1 && cur->ne[3] == 1; break;
        case LLAMA_SEAM_QUERIES:
            count                    = cur->type == GGML_TYPE_F32;
            heads[(size_t) il] = (int32_t) cur->ne[1];
            break;
        case LLAMA_SEAM_ATTN_OUT:
        case LLAMA_SEAM_FFN_OUT:
        case LLAMA_SEAM_NORM_OUT: {
            // Norms of single heads are narrower, or have a dimension more.
            const bool columns = cur->ne[1] == build.n_tokens || cur->ne[1] == build.n_outputs;
            count += cur->type == GGML_TYPE_F32 && cur->ne[0] == is.width && columns && cur->ne[2] == 1;
            break;
        }
        default: count = cur->type == GGML_TYPE_F32;
    }
}

ggml_tensor * interventions::apply(graph & to, const llama_seam_build & build, llama_seam_point point, ggml_tensor * cur,
                                   int il) {
    if (point == LLAMA_SEAM_LOGITS) {
        return add_exits(to, build, cur);
    }
    if (il >= is.layers || (il < 0) != (point == LLAMA_SEAM_INP_EMBD)) {
        return cur; // layers beyond the model's own, and the norm of its head
    }
    note_fired(point, build, cur, il);
    const uint8_t nth = fired[index_of(is.layers, point, il)];
    switch (point) {
        case LLAMA_SEAM_ATTN_MASK:
            note_values(to, build, il);
            follow_cache(to, build);
            to.mask = cur;
            if (to.at && sinks[(size_t) il]) {
                add_sinks(to, build, il);
            }
            if (to.at && turns[(size_t) il]) {
                add_parts(to, build, il);
            }
            return to.at && wanted(point, il) ? add_mask(to, build, cur, il) : cur;
        case LLAMA_SEAM_SCORES:
        case LLAMA_SEAM_WEIGHTS: {
            const ggml_tensor * as_they_are = cur;
            cur = to.at && wanted(point, il) ? add_rows(to, build, point, cur, il) : cur;
            if (to.at && point == LLAMA_SEAM_WEIGHTS && chooses[(size_t) il]) {
                add_choice(to, build, cur, il);
            }
            if (to.at && point == LLAMA_SEAM_WEIGHTS && mutes[(size_t) il]) {
                cur = add_mutes(to, build, cur, il);
            }
            if (to.at && point == LLAMA_SEAM_WEIGHTS && turns[(size_t) il]) {
                cur = add_turns(to, build, cur, as_they_are, il);
            }
            return cur;
        }
        case LLAMA_SEAM_LAYER_OUT:
            if (wanted(point, il)) {
                cur = add_columns(to, build, point, cur, il, is.in_place);
            }
            if (joins[(size_t) il]) {
                cur = last_block < 0 ? add_merge(to, build, cur, il) : add_end(to, build, cur, il);
            }
            to.outs[(size_t) il] = cur;
            to.residual          = cur;
            return cur;
        case LLAMA_SEAM_INP_EMBD:
            cur         = wanted(point, il) ? add_columns(to, build, point, cur, il, false) : cur;
            to.residual = cur;
            to.input    = cur;
            return cur;
        default: {
            const bool shown = nth > 0 && (point == LLAMA_SEAM_QUERIES || cur->ne[0] == is.width);
            if (!shown || !wanted(point, il)) {
                return cur;
            }
            cur                    = add_columns(to, build, point, cur, il, false);
            to.sites.back()->again = point == LLAMA_SEAM_NORM_OUT && nth > 1;
            return cur;
        }
    }
}

interventions::site & interventions::add_site(std::vector<std::unique_ptr<site>> & list, const graph & of,
                                              llama_seam_point point, int il) {
    auto made   = std::make_unique<site>();
    made->owner = this;
    made->of    = &of;
    made->point = point;
    made->il    = il;
    list.push_back(std::move(made));
    return *list.back();
}

// What says which edits act on each token: one input for all nodes on devices.
ggml_tensor * interventions::tokens_of(graph & to, const llama_seam_build & build) {
    if (!to.tokens) {
        to.n_tokens  = build.n_tokens;
        to.n_outputs = build.n_outputs;
        to.tokens    = ggml_new_tensor_1d(build.ctx, GGML_TYPE_I32,
                                          eqk::token_table::n_words(build.n_tokens, build.n_outputs));
        ggml_set_name(to.tokens, "equipoise_tokens");
        ggml_set_input(to.tokens);
    }
    return to.tokens;
}

void interventions::lay_out(graph & to, const llama_seam_tokens & tokens) {
    if (to.sites.empty() && to.merges.empty() && to.caches.empty() && to.ends.empty()) {
        return;
    }
    const size_t n = (size_t) tokens.n_tokens;
    EQ_REQUIRE(batch && running && running->size() == n, "%zu columns were split", running ? running->size() : 0);
    to.labels.resize(n);
    to.numbers.resize(n);
    to.sequences.resize(n);
    to.active.resize(n);
    to.output_of.resize(n);
    passed.assign(n, 0);
    int32_t outputs = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t column = (*running)[i];
        to.labels[i]    = batch->labels ? (uint8_t) batch->labels[column] : 0;
        to.numbers[i]   = batch->columns ? batch->columns[column] : -1;
        to.sequences[i] = tokens.seq_id[i][0];
        to.active[i]    = batch->active ? batch->active[column] : 0;
        to.output_of[i] = tokens.output[i] ? outputs++ : -1;
    }
    for (const auto & at : to.sites) {
        lay_out_site(*at, to);
        if (at->exits && at->exits->buffer) {
            ggml_backend_tensor_set(at->exits, at->layers.data(), 0, ggml_nbytes(at->exits));
        }
    }
    for (const auto & at : to.choices) {
        lay_out_choice(*at, to);
    }
    for (const auto & at : to.merges) {
        lay_out_merge(*at, to);
    }
    lay_out_device(to);
    ran = &to;
}

void interventions::lay_out_device(graph & to) {
    if (!to.tokens || !to.tokens->buffer) {
        return;
    }
    books.upload();
    to.host_tokens.assign((size_t) eqk::token_table::n_words(to.n_tokens, to.n_outputs), 0);
    int32_t * const outputs = to.host_tokens.data() + eqk::token_table::token_words * to.n_tokens;
    for (size_t i = 0; i < to.active.size(); i++) {
        eqk::token_table::put(to.host_tokens.data(), (int32_t) i, to.sequences[i] < is.sequences ? to.sequences[i] : -1,
                              to.active[i], to.labels[i]);
        if (to.output_of[i] >= 0) {
            outputs[to.output_of[i]] = (int32_t) i;
        }
    }
    ggml_backend_tensor_set(to.tokens, to.host_tokens.data(), 0, ggml_nbytes(to.tokens));
}

void interventions::lay_out_site(site & at, const graph & of) {
    at.applications.clear();
    if (!batch->active) {
        return;
    }
    std::vector<int32_t> latest; // by sequence
    if (at.own == EQ_WEIGHTS_MUTE) {
        latest.resize(items.size());
        for (size_t i = 0; i < of.sequences.size(); i++) {
            latest[(size_t) of.sequences[i]] = (int32_t) i;
        }
    }
    for (size_t i = 0; i < of.sequences.size(); i++) {
        const uint64_t active = batch->active[(*running)[i]];
        const int32_t  column = at.by_output ? of.output_of[i] : (int32_t) i;
        const int32_t  end    = ends_at(of.sequences[i]);
        if (active == 0 || column < 0 || (end >= 0 && (at.il > end || at.point == LLAMA_SEAM_LOGITS))) {
            continue;
        }
        auto & list = items[(size_t) of.sequences[i]];
        for (size_t k = 0; k < list.size(); k++) {
            item & what = list[k];
            if ((active >> k & 1) && at.takes(what)) {
                const size_t  each    = what.vectors.empty() ? 0 : (size_t) is.width * (rotates(what.kind) ? 2 : 1);
                const float * vectors = each == 0 ? nullptr
                                                  : what.vectors.data() + each * what.slot(at.il);
                at.applications.push_back({column, (int32_t) i, &what, vectors, 0, 0,
                                           at.own == EQ_WEIGHTS_MUTE ? latest[(size_t) of.sequences[i]] : -1});
            }
        }
    }
}

// What has chosen keys so far, for the columns it acts on.
void interventions::lay_out_choice(site & at, const graph & of) {
    at.applications.clear();
    for (size_t i = 0; i < of.sequences.size(); i++) {
        const int32_t end = ends_at(of.sequences[i]);
        if (of.active[i] == 0 || (end >= 0 && at.il > end)) {
            continue;
        }
        auto & list = items[(size_t) of.sequences[i]];
        for (size_t k = 0; k < list.size(); k++) {
            const int32_t looked = list[k].looked;
            if ((of.active[i] >> k & 1) && looked >= 0 && looked <= at.il - at.moves) {
                at.applications.push_back({(int32_t) i, (int32_t) i, &list[k], nullptr, 0, 0, -1});
            }
        }
    }
}

} // namespace eq
