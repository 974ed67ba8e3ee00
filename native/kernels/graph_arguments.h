// What graphs may ask of their kernels: the same on a device and where it is emulated. Only what the host can see is
// looked at; the tables lie on the device.
#ifndef EQK_GRAPH_ARGUMENTS_H
#define EQK_GRAPH_ARGUMENTS_H

#include "arguments.h"

namespace eqk {

constexpr int32_t most_in_grid = 65535; // what the second and third dimension of a grid hold

// The tables by which nodes know what acts on which token.
template <class Args> bool has_edits(const Args & a) {
    return a.tokens && a.book && a.n_tokens >= 1 && a.n_sequences >= 1 && a.n_layers >= 1;
}

template <class Args> bool has_edits_of_layer(const Args & a) {
    return has_edits(a) && a.layer >= 0 && a.layer < a.n_layers;
}

inline bool are_groups(const eqk_groups_args * a) {
    return a && is_row(a->logits, a->n_vocab) && a->stride >= a->n_vocab && a->table && a->statistics &&
           a->n_rows >= 1 && a->n_rows <= most_in_grid;
}

inline bool are_combined_groups(const eqk_groups_args * a) {
    return are_groups(a) && a->out && a->out_stride >= a->n_vocab;
}

inline bool is_choice(const eqk_choice_args * a) {
    return a && is_row(a->logits, a->n_vocab) && a->stride >= a->n_vocab && a->wanted && a->found && a->n_rows >= 1 &&
           a->n_rows <= most_in_grid;
}

inline bool are_columns(const eqk_columns_args * a) {
    return a && a->in && a->out && a->vectors && a->deltas && a->sums && a->width >= 1 && a->rows >= 1 &&
           a->n_columns >= 0 && has_edits_of_layer(*a);
}

inline bool are_merges(const eqk_merges_args * a) {
    return a && a->in && a->out && a->rows && a->joins && a->deltas && a->width >= 1 && a->n_columns >= 0;
}

inline bool is_ledger(const eqk_ledger_args * a) {
    return a && a->cells && a->tokens && a->labels && a->n_tokens >= 1 && a->n_cells >= 1;
}

inline bool is_mask(const eqk_mask_args * a) {
    return a && a->in && a->out && a->labels && a->deltas && a->n_keys >= 1 && a->n_keys <= a->n_cells &&
           a->n_columns >= 1 && (!a->attended || a->attended_column >= a->n_keys) && has_edits_of_layer(*a);
}

inline bool are_sinks(const eqk_sinks_args * a) {
    return a && a->states && a->cells && a->vectors && a->sinkness && a->width >= 1 && a->n_cells >= 1 &&
           has_edits_of_layer(*a);
}

inline bool is_attention(const eqk_attention_args * a) {
    return a && a->in && a->out && a->mask && a->labels && a->vectors && a->deltas && a->changes && a->n_keys >= 1 &&
           a->n_keys <= a->n_cells && a->n_heads >= 1 && a->n_heads <= most_in_grid && has_edits_of_layer(*a);
}

inline bool are_exits(const eqk_exits_args * a) {
    return a && is_row(a->logits, a->n_vocab) && a->normed && a->bare && a->out && a->layers && a->deltas &&
           a->scratch && a->stride >= a->n_vocab && a->exit_stride >= a->n_vocab && a->out_stride >= a->n_vocab &&
           a->n_rows >= 0 && a->n_rows <= most_in_grid && a->n_exits >= 1 && a->n_exits < most_in_grid &&
           a->passes >= 1 && has_edits(*a);
}

} // namespace eqk

#endif
