/*
 * The bodies of the CUDA kernels on the logits of early exits. A row is shared among blocks by slices, so an edit takes
 * four launches: log-sum-exps of the rows it reads, their divergences from the last one's, the row itself, and what
 * becomes known of all of it. A pass is one edit of every row: of those that act on it, that of the pass's number.
 */
#ifndef EQK_EXITS_BLOCKS_H
#define EQK_EXITS_BLOCKS_H

#include "columns_blocks.h"
#include "exits.h"
#include "rows_blocks.h"

namespace eqk {

constexpr int exits_threads = slice_threads;

template <class Block> struct exits_shared {
    float   max[Block::threads];
    double  sum[Block::threads];
    double  most;
    int32_t chosen;
    int32_t failed;
};

EQK_BODY bool is_nan(double x) { return !(x == x); }

// The edit of a row in a pass; number -1: there is none.
struct row_exit {
    const int32_t * edit;
    int32_t         sequence;
    int32_t         number;

    EQK_BODY bool contrasts() const { return number >= 0 && edit[edit_book::kind] == exits_contrast; }

    EQK_BODY int32_t divergence() const {
        return float_of(edit[edit_book::parameters + 1]) == 0 ? EQK_JENSEN_SHANNON : EQK_ARITHMETIC_GEOMETRIC;
    }

    EQK_BODY bool reads(const eqk_exits_args & a, int32_t exit) const {
        const edit_book book = {a.book, a.n_sequences, a.n_layers};
        return a.layers[exit] < 0 ? edit[edit_book::labels] != 0 : book.place(sequence, number, a.layers[exit]) >= 0;
    }
    EQK_BODY const float * logits(const eqk_exits_args & a, int32_t exit, int32_t row) const {
        const bool bare = float_of(edit[edit_book::parameters]) == 0;
        return (bare ? a.bare : a.normed) + (static_cast<int64_t>(exit) * a.n_rows + row) * a.exit_stride;
    }
};

EQK_BODY row_exit exit_of(const eqk_exits_args & a, int32_t row, int32_t pass) {
    const token_table tokens   = {a.tokens, a.n_tokens};
    const edit_book   book     = {a.book, a.n_sequences, a.n_layers};
    const int32_t     token    = tokens.token_of_output(row);
    const int32_t     sequence = tokens.sequence(token);
    uint64_t          mask     = tokens.mask(token);
    for (int32_t k = 0; mask != 0; k++, mask >>= 1) {
        if (!(mask & 1)) {
            continue;
        }
        const int32_t * edit = book.edit(sequence, k);
        const int32_t   kind = edit[edit_book::kind];
        if ((kind == exits_mean || kind == exits_contrast) && edit[edit_book::point] == a.point && pass-- == 0) {
            return {edit, sequence, k};
        }
    }
    return {nullptr, sequence, -1};
}

// A row as the pass finds it.
EQK_BODY const float * standing(const eqk_exits_args & a, int32_t row, int32_t pass) {
    return pass == 0 ? a.logits + row * a.stride : a.out + row * a.out_stride;
}

// Slice `slice` of what a row is (exit -1) or would have been: its maximum, and the sum of exponentials below that.
template <class Block>
EQK_BODY void exits_logs(const Block & block, exits_shared<Block> & s, const eqk_exits_args & a, int32_t pass,
                         int32_t slice, int32_t exit, int32_t row) {
    const row_exit of = exit_of(a, row, pass);
    if (!of.contrasts() || (exit >= 0 && !of.reads(a, exit))) {
        return;
    }
    const float * z  = exit < 0 ? standing(a, row, pass) : of.logits(a, exit, row);
    const span    at = slice_span(a.n_vocab, slice);
    block.each([&](int t) {
        float max = -INFINITY;
        for (int64_t i = at.first + t; i < at.last; i += Block::threads) {
            max = larger_logit()(max, z[i]);
        }
        s.max[t] = max;
    });
    merge_all(block, s.max, larger_logit());
    const float max = s.max[0];
    block.each([&](int t) {
        double sum = 0;
        if (row_status(max) == EQK_OK) {
            for (int64_t i = at.first + t; i < at.last; i += Block::threads) {
                sum += exp(static_cast<double>(z[i]) - max);
            }
        }
        s.sum[t] = sum;
    });
    merge_all(block, s.sum, sum_of());
    block.each([&](int t) {
        if (t == 0) {
            double * to = exits_scratch{a.scratch, a.n_exits}.logs(row, exit) + 2 * slice;
            to[0]       = max;
            to[1]       = s.sum[0];
        }
    });
}

// Of a row: its maximum, and ln sum e^z, NaN where it has no softmax.
struct log_sum {
    float  max;
    double value;
};

template <class Block>
EQK_BODY log_sum log_sum_of(const Block & block, exits_shared<Block> & s, const double * slices) {
    block.each([&](int t) { s.max[t] = t < EQK_SLICES ? static_cast<float>(slices[2 * t]) : -INFINITY; });
    merge_all(block, s.max, larger_logit());
    const float max = s.max[0];
    block.each([&](int t) {
        const bool counts = t < EQK_SLICES && row_status(max) == EQK_OK && slices[2 * t + 1] > 0;
        s.sum[t]          = counts ? slices[2 * t + 1] * exp(slices[2 * t] - max) : 0;
    });
    merge_all(block, s.sum, sum_of());
    const double sum = s.sum[0];
    block.each([](int) {}); // everybody has it: what follows may write there again
    return {max, row_status(max) == EQK_OK ? max + log(sum) : NAN};
}

// Slice `slice` of twice the divergence of what a row is from what it would have been at an exit.
template <class Block>
EQK_BODY void exits_divergence(const Block & block, exits_shared<Block> & s, const eqk_exits_args & a, int32_t pass,
                               int32_t slice, int32_t exit, int32_t row) {
    const row_exit of = exit_of(a, row, pass);
    if (!of.contrasts() || !of.reads(a, exit)) {
        return;
    }
    const exits_scratch found = {a.scratch, a.n_exits};
    const double        log_x = log_sum_of(block, s, found.logs(row, -1)).value;
    const double        log_y = log_sum_of(block, s, found.logs(row, exit)).value;
    const bool          both  = !is_nan(log_x) && !is_nan(log_y);
    const float *       x     = standing(a, row, pass);
    const float *       y     = of.logits(a, exit, row);
    const int32_t       kind  = of.divergence();
    const span          at    = slice_span(a.n_vocab, slice);
    block.each([&](int t) {
        double sum = both ? 0 : NAN;
        for (int64_t i = at.first + t; both && i < at.last; i += Block::threads) {
            sum += divergence_of(kind, x[i] - log_x, y[i] - log_y);
        }
        s.sum[t] = sum;
    });
    merge_all(block, s.sum, sum_of());
    block.each([&](int t) {
        if (t == 0) {
            found.divergences(row, exit)[slice] = s.sum[0];
        }
    });
}

// The exit that is farthest from the row, the first of equals; -1 where the row or an exit has no distribution.
template <class Block>
EQK_BODY int32_t farthest(const Block & block, exits_shared<Block> & s, const eqk_exits_args & a, const row_exit & of,
                          int32_t row) {
    block.each([&](int t) {
        if (t == 0) {
            s.most   = -1;
            s.chosen = -1;
            s.failed = 0;
        }
    });
    for (int32_t exit = 0; exit < a.n_exits; exit++) {
        if (!of.reads(a, exit)) {
            continue;
        }
        const double * slices = exits_scratch{a.scratch, a.n_exits}.divergences(row, exit);
        block.each([&](int t) { s.sum[t] = t < EQK_SLICES ? slices[t] : 0; });
        merge_all(block, s.sum, sum_of());
        block.each([&](int t) {
            if (t == 0) {
                s.failed |= is_nan(s.sum[0]);
                if (s.sum[0] > s.most) {
                    s.most   = s.sum[0];
                    s.chosen = exit;
                }
            }
        });
    }
    return s.failed ? -1 : s.chosen;
}

// Slice `slice` of a row becomes f(i, z[i]), and its squared change is noted.
template <class Block, class F>
EQK_BODY void rewrite_slice(const Block & block, exits_shared<Block> & s, const eqk_exits_args & a, int32_t pass,
                            int32_t slice, int32_t row, F f) {
    const float * z   = standing(a, row, pass);
    float *       out = a.out + row * a.out_stride;
    const span    at  = slice_span(a.n_vocab, slice);
    block.each([&](int t) {
        double squared = 0;
        for (int64_t i = at.first + t; i < at.last; i += Block::threads) {
            const float  before = z[i];
            const float  after  = f(i, before);
            const double change = exits_change(before, after);
            out[i]              = after;
            squared += change * change;
        }
        s.sum[t] = squared;
    });
    merge_all(block, s.sum, sum_of());
    block.each([&](int t) {
        if (t == 0) {
            exits_scratch{a.scratch, a.n_exits}.changes(row)[slice] = s.sum[0];
        }
    });
}

// What is no edit's, or could not be edited: carried over.
template <class Block>
EQK_BODY void keep_slice(const Block & block, const eqk_exits_args & a, int32_t pass, int32_t slice, int32_t row,
                         bool failed) {
    const span at = slice_span(a.n_vocab, slice);
    block.each([&](int t) {
        for (int64_t i = at.first + t; pass == 0 && i < at.last; i += Block::threads) {
            a.out[row * a.out_stride + i] = a.logits[row * a.stride + i];
        }
        if (t == 0 && failed) {
            exits_scratch{a.scratch, a.n_exits}.changes(row)[slice] = -1;
        }
    });
}

// Slice `slice` of row `row`, edited.
template <class Block>
EQK_BODY void exits_edit(const Block & block, exits_shared<Block> & s, const eqk_exits_args & a, int32_t pass,
                         int32_t slice, int32_t row) {
    const row_exit of = exit_of(a, row, pass);
    if (of.number < 0) {
        keep_slice(block, a, pass, slice, row, false);
        return;
    }
    const float amount = float_of(of.edit[edit_book::amount]);
    if (!of.contrasts()) {
        int32_t read = 0;
        for (int32_t exit = 0; exit < a.n_exits; exit++) {
            read += of.reads(a, exit);
        }
        if (read == 0) {
            keep_slice(block, a, pass, slice, row, true);
            return;
        }
        rewrite_slice(block, s, a, pass, slice, row, [&](int64_t i, float z) {
            double sum = 0;
            for (int32_t exit = 0; exit < a.n_exits; exit++) {
                sum += of.reads(a, exit) ? of.logits(a, exit, row)[i] : 0;
            }
            return static_cast<float>(exits_mixed(z, sum / read, amount));
        });
        return;
    }
    const int32_t chosen = farthest(block, s, a, of, row);
    if (chosen < 0) {
        keep_slice(block, a, pass, slice, row, true);
        return;
    }
    const exits_scratch found = {a.scratch, a.n_exits};
    const log_sum       own   = log_sum_of(block, s, found.logs(row, -1));
    const log_sum       other = log_sum_of(block, s, found.logs(row, chosen));
    const double        cut   = exits_cut(own.max, amount);
    const float *       early = of.logits(a, chosen, row);
    rewrite_slice(block, s, a, pass, slice, row, [&](int64_t i, float z) {
        return exits_keep(z, cut) ? static_cast<float>((z - own.value) - (early[i] - other.value)) : -INFINITY;
    });
}

// What the pass did to a row: the norm of its change, or a mark for whoever reads the row. A thread for each slice.
template <class Block>
EQK_BODY void exits_report(const Block & block, exits_shared<Block> & s, const eqk_exits_args & a, int32_t pass,
                           int32_t row) {
    static_assert(Block::threads == EQK_SLICES);
    const row_exit of = exit_of(a, row, pass);
    if (of.number < 0) {
        return;
    }
    const double * changes = exits_scratch{a.scratch, a.n_exits}.changes(row);
    block.each([&](int t) { s.sum[t] = changes[t]; });
    merge_all(block, s.sum, sum_of());
    block.each([&](int t) {
        if (t == 0 && changes[0] < 0) {
            a.out[row * a.out_stride] = NAN;
        } else if (t == 0) {
            add_to(a.deltas + static_cast<int64_t>(of.sequence) * most_edits + of.number, sqrt(s.sum[0]));
        }
    });
}

} // namespace eqk

#endif
