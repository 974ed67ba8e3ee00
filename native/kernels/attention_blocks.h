// The bodies of the CUDA kernels on rows of attention: how much of a sink each KV cell is, edits of scores and weights,
// and the norms of what they changed. The functions of attention.cpp say what is right.
#ifndef EQK_ATTENTION_BLOCKS_H
#define EQK_ATTENTION_BLOCKS_H

#include "block.h"
#include "columns_blocks.h"
#include "mask_blocks.h"

namespace eqk {

constexpr int sinks_threads     = 256; // a state is a few thousand numbers
constexpr int attention_threads = 256; // and so is a row of keys
constexpr int changes_threads   = most_edits;

template <class Block> struct sinks_shared {
    double  squared[Block::threads];
    int32_t edit[Block::threads];
};

struct lesser_of {
    template <class T> EQK_BODY T operator()(T a, T b) const { return b < a ? b : a; }
};

// Notes at a token's cell how much of a sink its state is to the first edit of its sequence that looks for sinks; 0
// where none does.
template <class Block>
EQK_BODY void note_sinkness(const Block & block, sinks_shared<Block> & s, const eqk_sinks_args & a, int32_t token) {
    static_assert(Block::threads >= most_edits);
    const edit_book book     = {a.book, a.n_sequences, a.n_layers};
    const int32_t   sequence = token_table{a.tokens, a.n_tokens}.sequence(token);
    const int64_t   cell     = a.cells[token];
    if (cell < 0 || cell >= a.n_cells) {
        return;
    }
    block.each([&](int t) {
        const bool looks = t < most_edits && sequence >= 0 && book.edit(sequence, t)[0] == drain_sinks &&
                           book.place(sequence, t, a.layer) >= 0;
        s.edit[t]        = looks ? t : most_edits;
    });
    merge_all(block, s.edit, lesser_of());
    const int32_t edit = s.edit[0];
    if (edit == most_edits) {
        block.each([&](int t) {
            if (t == 0) {
                a.sinkness[cell] = 0;
            }
        });
        return;
    }
    const float * state = a.states + token * a.column;
    block.each([&](int t) {
        double squared = 0;
        for (int64_t i = t; i < a.width; i += Block::threads) {
            squared += static_cast<double>(state[i]) * state[i];
        }
        s.squared[t] = squared;
    });
    merge_all(block, s.squared, sum_of());
    block.each([&](int t) {
        if (t != 0) {
            return;
        }
        const float * dimensions = a.vectors + book.place(sequence, edit, a.layer);
        double        largest    = 0;
        for (int32_t d = 0; d < book.edit(sequence, edit)[edit_book::dimensions]; d++) {
            largest = fmax(largest, fabs(static_cast<double>(state[static_cast<int32_t>(dimensions[d])])));
        }
        a.sinkness[cell] = s.squared[0] > 0 ? static_cast<float>(largest / sqrt(s.squared[0] / a.width)) : 0;
    });
}

// x + a |x| with both roundings, as the CPU has it: nvcc would make one of them.
EQK_BODY float raised(float x, float a) {
#ifdef __CUDACC__
    return __fadd_rn(x, __fmul_rn(a, fabsf(x)));
#else
    return x + a * fabsf(x);
#endif
}

// What the keys are to one query.
struct query_keys {
    const uint8_t * labels;
    const void *    mask;
    bool            half;

    EQK_BODY bool seen(int64_t j) const { return mask_at(mask, half, j) > -INFINITY; }
    EQK_BODY bool in(uint64_t set, int64_t j) const { return (set >> labels[j] & 1) && seen(j); }
};

// Weight that a row has on keys of two sets, and of both.
struct row_sums {
    double one;
    double other;
    double both;
};

struct all_row_sums {
    EQK_BODY row_sums operator()(const row_sums & a, const row_sums & b) const {
        return {a.one + b.one, a.other + b.other, a.both + b.both};
    }
};

template <class Block> struct attention_shared {
    row_sums sums[Block::threads];
    double   squared[Block::threads];
};

// x[j] becomes what f(j, x[j]) makes of it where f is true; of s.squared[0] the change's squared norm.
template <class Block, class F>
EQK_BODY void rewrite_row(const Block & block, attention_shared<Block> & s, float * x, int64_t n, F f) {
    block.each([&](int t) {
        double squared = 0;
        for (int64_t j = t; j < n; j += Block::threads) {
            const float before = x[j];
            float       after  = before;
            if (f(j, after)) {
                const double change = static_cast<double>(after) - before;
                x[j]                = after;
                squared += change * change;
            }
        }
        s.squared[t] = squared;
    });
    merge_all(block, s.squared, sum_of());
}

// For an edit that finds nothing to do. A phase of its own: other threads may still be reading the sums.
template <class Block> EQK_BODY void leave_row(const Block & block, attention_shared<Block> & s) {
    block.each([&](int t) { s.squared[t] = 0; });
}

template <class Block>
EQK_BODY void move_row(const Block & block, attention_shared<Block> & s, const query_keys & keys, float * x, int64_t n,
                       const int32_t * edit) {
    const uint64_t from = edit_book::set_at(edit + edit_book::labels), to = edit_book::set_at(edit + edit_book::others);
    const float    threshold = float_of(edit[edit_book::amount]), fraction = float_of(edit[edit_book::parameters]);
    block.each([&](int t) {
        row_sums of = {0, 0, 0};
        for (int64_t j = t; j < n; j += Block::threads) {
            of.one += keys.in(from, j) ? static_cast<double>(x[j]) : 0;
            of.other += keys.in(to, j) ? static_cast<double>(x[j]) : 0;
        }
        s.sums[t] = of;
    });
    merge_all(block, s.sums, all_row_sums());
    const double given = s.sums[0].one, taken = s.sums[0].other;
    if (!(taken > 0) || !(given > threshold * (given + taken))) {
        leave_row(block, s);
        return;
    }
    const double less = 1 - static_cast<double>(fraction);
    const double more = 1 + fraction * given / taken;
    rewrite_row(block, s, x, n, [&](int64_t j, float & w) {
        const bool gives = keys.in(from, j);
        if (!gives && !keys.in(to, j)) {
            return false;
        }
        w = static_cast<float>(w * (gives ? less : more));
        return true;
    });
}

template <class Block>
EQK_BODY void drain_row(const Block & block, attention_shared<Block> & s, const query_keys & keys,
                        const float * sinkness, float * x, int64_t n, const int32_t * edit) {
    const uint64_t span = edit_book::set_at(edit + edit_book::labels);
    const float    tau = float_of(edit[edit_book::amount]), rho = float_of(edit[edit_book::parameters]),
                mass = float_of(edit[edit_book::parameters + 1]), keep = float_of(edit[edit_book::parameters + 2]);
    block.each([&](int t) {
        row_sums of = {0, 0, 0};
        for (int64_t j = t; j < n; j += Block::threads) {
            if (!keys.seen(j)) {
                continue;
            }
            const double w    = x[j];
            const bool   sink = sinkness[j] > tau, inside = keys.in(span, j);
            of.one += inside ? w : 0;
            of.other += sink ? w : 0;
            of.both += inside && sink ? w : 0;
        }
        s.sums[t] = of;
    });
    merge_all(block, s.sums, all_row_sums());
    const double inside = s.sums[0].one, sunk = s.sums[0].other, sunk_inside = s.sums[0].both;
    const double rest = inside - sunk_inside;
    if (!(inside >= mass) || !(sunk_inside <= rho * inside) || !(rest > 0)) {
        leave_row(block, s);
        return;
    }
    const double more = 1 + (1 - static_cast<double>(keep)) * sunk / rest;
    rewrite_row(block, s, x, n, [&](int64_t j, float & w) {
        const bool sink = sinkness[j] > tau;
        if (!keys.seen(j) || (!sink && !keys.in(span, j))) {
            return false;
        }
        w = sink ? keep * w : static_cast<float>(w * more);
        return true;
    });
}

// Where an edit acts on rows of this node: for each head whether on its; else null.
EQK_BODY const float * edited_heads(const eqk_attention_args & a, const edit_book & book, int32_t sequence, int32_t k) {
    const int32_t * edit  = book.edit(sequence, k);
    const int32_t   first = book.place(sequence, k, a.layer);
    const bool      rows  = edit[edit_book::kind] >= raise_scores && edit[edit_book::kind] <= drain_sinks;
    return rows && edit[edit_book::point] == a.point && first >= 0 ? a.vectors + first + edit[edit_book::dimensions]
                                                                   : nullptr;
}

// One query's row of one head: carried over, then edited in the order of the edits' numbers. What each changed,
// squared, is left for add_changes.
template <class Block>
EQK_BODY void edit_row(const Block & block, attention_shared<Block> & s, const eqk_attention_args & a, int32_t token,
                       int32_t head) {
    const float * from = a.in + token * a.in_column + head * a.in_head;
    float *       x    = a.out + (static_cast<int64_t>(head) * a.n_tokens + token) * a.n_keys;
    const int64_t n    = a.n_keys;
    block.each([&](int t) {
        for (int64_t j = t; j < n; j += Block::threads) {
            x[j] = from[j];
        }
    });
    const query_keys  keys     = {a.labels, static_cast<const char *>(a.mask) + token * a.mask_column, a.half != 0};
    double * const    changes  = a.changes + (static_cast<int64_t>(token) * a.n_heads + head) * most_edits;
    const token_table tokens   = {a.tokens, a.n_tokens};
    const edit_book   book     = {a.book, a.n_sequences, a.n_layers};
    const int32_t     sequence = tokens.sequence(token);
    uint64_t          mask     = tokens.mask(token);
    for (int32_t k = 0; mask != 0; k++, mask >>= 1) {
        const float * heads = mask & 1 ? edited_heads(a, book, sequence, k) : nullptr;
        if (!heads || heads[head] == 0) {
            continue;
        }
        const int32_t * edit   = book.edit(sequence, k);
        const float     amount = float_of(edit[edit_book::amount]);
        const uint64_t  span   = edit_book::set_at(edit + edit_book::labels);
        switch (edit[edit_book::kind]) {
            case raise_scores:
                rewrite_row(block, s, x, n, [&](int64_t j, float & score) {
                    const bool acts = keys.in(span, j);
                    score           = acts ? raised(score, amount) : score;
                    return acts;
                });
                break;
            case scale_scores:
                rewrite_row(block, s, x, n, [&](int64_t j, float & score) {
                    const bool acts = keys.in(span, j);
                    score           = acts ? score * amount : score;
                    return acts;
                });
                break;
            case move_weights: move_row(block, s, keys, x, n, edit); break;
            default:           drain_row(block, s, keys, a.sinkness, x, n, edit);
        }
        block.each([&](int t) {
            if (t == 0) {
                changes[k] = s.squared[0];
            }
        });
    }
}

// What each edit changed in the rows of one query, all heads together, is added to its norms. After all blocks of
// edit_row.
template <class Block> EQK_BODY void add_changes(const Block & block, const eqk_attention_args & a, int32_t token) {
    static_assert(Block::threads == most_edits);
    const double * const changes  = a.changes + static_cast<int64_t>(token) * a.n_heads * most_edits;
    const token_table    tokens   = {a.tokens, a.n_tokens};
    const edit_book      book     = {a.book, a.n_sequences, a.n_layers};
    const int32_t        sequence = tokens.sequence(token);
    const uint64_t       mask     = tokens.mask(token);
    block.each([&](int k) {
        const float * heads = mask >> k & 1 ? edited_heads(a, book, sequence, k) : nullptr;
        if (!heads) {
            return;
        }
        double squared = 0;
        for (int32_t h = 0; h < a.n_heads; h++) {
            squared += heads[h] != 0 ? changes[static_cast<int64_t>(h) * most_edits + k] : 0;
        }
        add_to(a.deltas + static_cast<int64_t>(sequence) * most_edits + k, sqrt(squared));
    });
}

} // namespace eqk

#endif
