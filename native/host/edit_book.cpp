// What acts on devices, written as kernels read it (eqk::edit_book).
#include "intervention_nodes.hpp"

#include "host.hpp"

#include "equipoise_edits.h"

#include <bit>

namespace eq {

namespace {

// The book's word for a kind, -1 for what is the CPU's alone.
int32_t device_kind_of(int32_t kind) {
    switch (kind) {
        case EQ_MUTE:
        case EQ_QUERY_SCALE:    return eqk::scale_rows;
        case EQ_STATES_READ:    return eqk::read_states;
        case EQ_ATTENTION_BIAS: return eqk::bias_keys;
        case EQ_ATTENDED_BIAS:  return eqk::bias_attended;
        case EQ_SCORES_RAISE:   return eqk::raise_scores;
        case EQ_SCORES_SCALE:   return eqk::scale_scores;
        case EQ_WEIGHTS_MOVE:   return eqk::move_weights;
        case EQ_WEIGHTS_SINKS:  return eqk::drain_sinks;
        case EQ_EXITS_MEAN:     return eqk::exits_mean;
        case EQ_EXITS_CONTRAST: return eqk::exits_contrast;
        default:                return steers(kind) ? kind : -1;
    }
}

} // namespace

void interventions::write_edit(int32_t * words, int32_t kind, const item & what) {
    using book         = eqk::edit_book;
    words[book::kind]  = kind;
    words[book::point] = what.point();
    words[book::amount] = std::bit_cast<int32_t>(what.amount);
    book::put_set(words + book::labels, exits(what.kind) ? what.embedding : what.labels);
    book::put_set(words + book::others, what.other_labels);
    for (int32_t p = 0; p < 3; p++) {
        words[book::parameters + p] = std::bit_cast<int32_t>(what.parameters[p]);
    }
    words[book::dimensions] = (int32_t) what.dimensions.size();
}

void interventions::write_floats(std::vector<float> & to, const item & what, int32_t il) const {
    if (steers(what.kind)) {
        const size_t  each = (size_t) is.width * (rotates(what.kind) ? 2 : 1);
        const float * own  = what.vectors.data() + what.slot(il) * each;
        to.insert(to.end(), own, own + each);
    } else if (what.kind == EQ_MUTE) {
        to.push_back(0);
    } else if (what.point() != LLAMA_SEAM_ATTN_MASK && !exits(what.kind)) {
        to.insert(to.end(), what.dimensions.begin(), what.dimensions.end()); // exact: there are fewer than 2^24
        const bool scales = what.kind == EQ_QUERY_SCALE;
        for (int32_t h = 0; h < heads[(size_t) il]; h++) {
            to.push_back(what.at(h) ? (scales ? what.amount : 1.0f) : (scales ? 1.0f : 0.0f));
        }
    }
}

// What acts on a device, for all sequences: the rest is the CPU's.
void interventions::write_book() {
    if (!book_due || !books.any()) {
        return;
    }
    book_due = false;
    std::vector<int32_t> words((size_t) eqk::edit_book::n_words(is.sequences, is.layers), -1);
    std::vector<float>   floats;
    sums = 0;
    for (int32_t s = 0; s < is.sequences; s++) {
        auto & list = items[(size_t) s];
        for (size_t k = 0; k < list.size(); k++) {
            item &        what = list[k];
            const int32_t kind = device_kind_of(what.kind);
            if (kind < 0) {
                continue;
            }
            write_edit(words.data() + eqk::edit_book::edit_at(s, (int32_t) k), kind, what);
            for (int32_t il = 0; il < is.layers; il++) {
                const int32_t slot = what.slot_of_layer[(size_t) il];
                if (slot < 0 || (ends_at(s) >= 0 && il > ends_at(s))) {
                    continue;
                }
                int32_t & place = words[(size_t) eqk::edit_book::place_at(is.sequences, is.layers, s, (int32_t) k, il)];
                place           = (int32_t) floats.size();
                if (what.kind == EQ_STATES_READ) {
                    place                              = (int32_t) sums;
                    what.views[(size_t) slot].on_device = sums;
                    sums += is.width + 1;
                } else {
                    write_floats(floats, what, il);
                }
            }
        }
    }
    EQ_REQUIRE(floats.size() <= INT32_MAX && sums <= INT32_MAX, "%zu numbers of vectors and %lld of states in force at once",
               floats.size(), (long long) sums);
    version += books.reserve((int64_t) floats.size());
    version += books.reserve_sums(sums);
    books.write(std::move(words), std::move(floats));
}

} // namespace eq
