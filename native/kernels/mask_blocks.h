// The bodies of the CUDA kernels on attention masks: what each KV cell holds, and the bias on the keys of a span.
#ifndef EQK_MASK_BLOCKS_H
#define EQK_MASK_BLOCKS_H

#include "arith.h"
#include "block.h"
#include "columns_blocks.h"
#include "half.h"

namespace eqk {

constexpr int ledger_threads = 256;
constexpr int mask_threads   = 1024; // a row is one block's, so that it can count the keys it touched

// Notes the label of every token at the cell it was written to. One block.
template <class Block> EQK_BODY void note_labels(const Block & block, const eqk_ledger_args & a) {
    const token_table tokens = {a.tokens, a.n_tokens};
    block.each([&](int t) {
        for (int32_t i = t; i < a.n_tokens; i += Block::threads) {
            if (a.cells[i] >= 0 && a.cells[i] < a.n_cells) {
                a.labels[a.cells[i]] = static_cast<uint8_t>(tokens.label(i));
            }
        }
    });
}

template <class Block> struct mask_shared {
    int32_t keys[Block::threads];
};

// What a mask has for a key, as its type has it.
EQK_BODY float mask_at(const void * row, bool half, int64_t j) {
    return half ? float_of_half(static_cast<const uint16_t *>(row)[j]) : static_cast<const float *>(row)[j];
}

// One row of a mask.
struct mask_row {
    void * data;
    bool   half;

    EQK_BODY float get(int64_t j) const { return mask_at(data, half, j); }
    EQK_BODY void put(int64_t j, float x) const {
        if (half) {
            static_cast<uint16_t *>(data)[j] = half_of_float(x);
        } else {
            static_cast<float *>(data)[j] = x;
        }
    }
};

// The row of column `column`: carried over, then biased in the order of the edits' numbers.
template <class Block>
EQK_BODY void bias_row(const Block & block, mask_shared<Block> & s, const eqk_mask_args & a, int32_t column) {
    const mask_row to = {static_cast<char *>(a.out) + column * a.out_column, a.half != 0};
    block.each([&](int t) { // bit by bit: a NaN would not survive the way through float
        const char * from = static_cast<const char *>(a.in) + column * a.in_column;
        for (int64_t j = t; j < a.n_keys; j += Block::threads) {
            if (a.half) {
                static_cast<uint16_t *>(to.data)[j] = reinterpret_cast<const uint16_t *>(from)[j];
            } else {
                static_cast<float *>(to.data)[j] = reinterpret_cast<const float *>(from)[j];
            }
        }
    });
    if (column >= a.n_tokens) {
        return; // padding of the mask
    }
    const token_table tokens   = {a.tokens, a.n_tokens};
    const edit_book   book     = {a.book, a.n_sequences, a.n_layers};
    const int32_t     sequence = tokens.sequence(column);
    uint64_t          mask     = tokens.mask(column);
    for (int32_t k = 0; mask != 0; k++, mask >>= 1) {
        if (!(mask & 1)) {
            continue;
        }
        const int32_t * edit = book.edit(sequence, k);
        const bool chosen = edit[0] == bias_attended && a.attended;
        if ((edit[0] != bias_keys && !chosen) || edit[1] != a.point || book.place(sequence, k, a.layer) < 0) {
            continue;
        }
        const float           bias     = float_of(edit[edit_book::amount]);
        const uint64_t        set      = edit_book::set_at(edit + edit_book::labels);
        const uint8_t * const attended = chosen ? a.attended + column * a.attended_column : nullptr;
        block.each([&](int t) {
            int32_t keys = 0;
            for (int64_t j = t; j < a.n_keys; j += Block::threads) {
                const bool  meant = attended ? attended[j] != 0 : (set >> a.labels[j] & 1) != 0;
                const float was   = meant ? to.get(j) : -INFINITY;
                if (was > -INFINITY) {
                    to.put(j, was + bias);
                    keys++;
                }
            }
            s.keys[t] = keys;
        });
        merge_all(block, s.keys, sum_of());
        block.each([&](int t) {
            if (t == 0) { // a span that is hidden has no finite change: its keys count as if by 1 each
                const double each = is_logit(fabsf(bias)) ? fabs(static_cast<double>(bias)) : 1;
                add_to(a.deltas + static_cast<int64_t>(sequence) * most_edits + k,
                       sqrt(static_cast<double>(s.keys[0])) * each);
            }
        });
    }
}

} // namespace eqk

#endif
