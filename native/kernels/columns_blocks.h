// The bodies of the CUDA kernels on hidden states. A block works on one column and owns it, whatever acts on it.
#ifndef EQK_COLUMNS_BLOCKS_H
#define EQK_COLUMNS_BLOCKS_H

#include "block.h"
#include "equipoise_edits.h"
#include "steering.h"

#ifndef __CUDACC__
#include <bit>
#endif

namespace eqk {

constexpr int column_threads = 256; // a state is a few thousand numbers

EQK_BODY float float_of(int32_t word) {
#ifdef __CUDACC__
    return __int_as_float(word);
#else
    return std::bit_cast<float>(word);
#endif
}

// Other blocks add to the same number: the order is theirs, and with it the last bits.
EQK_BODY void add_to(double * sum, double value) {
#ifdef __CUDACC__
    atomicAdd(sum, value);
#else
    *sum += value;
#endif
}

struct all_sums {
    EQK_BODY steering_sums operator()(const steering_sums & a, const steering_sums & b) const {
        return {a.hh + b.hh, a.hv + b.hv, a.hw + b.hw, a.vv + b.vv, a.after + b.after};
    }
};

template <class Block> struct columns_shared {
    steering_sums sums[Block::threads];
    double        squared[Block::threads];
};

// x[n] becomes f(i, x[i]); of s.squared[0] the change's squared norm.
template <class Block, class F>
EQK_BODY void rewrite_column(const Block & block, columns_shared<Block> & s, float * x, int64_t n, F f) {
    block.each([&](int t) {
        double squared = 0;
        for (int64_t i = t; i < n; i += Block::threads) {
            const float  before = x[i];
            const float  after  = static_cast<float>(f(i, static_cast<double>(before)));
            const double change = static_cast<double>(after) - before;
            x[i]                = after;
            squared += change * change;
        }
        s.squared[t] = squared;
    });
    merge_all(block, s.squared, sum_of());
}

template <class Block>
EQK_BODY void steer_column(const Block & block, columns_shared<Block> & s, int32_t kind, float * h, const float * v,
                           int64_t n, double a) {
    const float * w = steers_by_two(kind) ? v + n : nullptr;
    if (kind != EQK_STEER_ADD) {
        block.each([&](int t) {
            steering_sums of = {0, 0, 0, 0, 0};
            for (int64_t i = t; i < n; i += Block::threads) {
                const double x = h[i], along = v[i], sum = x + a * along;
                of.hh += x * x;
                of.hv += x * along;
                of.hw += w ? x * w[i] : 0;
                of.vv += along * along;
                of.after += sum * sum;
            }
            s.sums[t] = of;
        });
        merge_all(block, s.sums, all_sums());
    } else {
        block.each([&](int t) {
            if (t == 0) {
                s.sums[0] = {0, 0, 0, 0, 0};
            }
        });
    }
    const steering_change to = steering_of(kind, a, s.sums[0]);
    rewrite_column(block, s, h, n, [&](int64_t i, double x) { return to.h * x + to.v * v[i] + (w ? to.w * w[i] : 0); });
}

// Column `column` of the node: copied, then edited in the order of the edits' numbers.
template <class Block>
EQK_BODY void edit_column(const Block & block, columns_shared<Block> & s, const eqk_columns_args & a, int32_t column) {
    const float * from = a.in + column * a.in_column;
    float *       x    = a.out + column * a.out_column;
    const int64_t n    = static_cast<int64_t>(a.rows) * a.width;
    block.each([&](int t) {
        for (int64_t i = t; i < n; i += Block::threads) {
            x[i] = from[i / a.width * a.in_row + i % a.width];
        }
    });
    const token_table tokens   = {a.tokens, a.n_tokens};
    const int32_t     token    = a.by_output ? tokens.token_of_output(column) : column;
    const int32_t     sequence = tokens.sequence(token);
    const edit_book   book     = {a.book, a.n_sequences, a.n_layers};
    uint64_t          mask     = tokens.mask(token);
    for (int32_t k = 0; mask != 0; k++, mask >>= 1) {
        if (!(mask & 1)) {
            continue;
        }
        const int32_t * edit  = book.edit(sequence, k);
        const int32_t   first = book.place(sequence, k, a.layer);
        if (edit[0] < 0 || edit[1] != a.point || first < 0) {
            continue;
        }
        if (edit[0] == read_states) {
            double * sums = a.sums + first;
            block.each([&](int t) {
                for (int64_t i = t; i < n; i += Block::threads) {
                    add_to(sums + i, x[i]);
                }
                if (t == 0) {
                    add_to(sums + n, 1);
                }
            });
            continue;
        }
        const float * v = a.vectors + first;
        if (edit[0] == scale_rows) {
            rewrite_column(block, s, x, n, [&](int64_t i, double h) { return h * v[i / a.width]; });
        } else {
            steer_column(block, s, edit[0], x, v, n, float_of(edit[2]));
        }
        block.each([&](int t) {
            if (t == 0) {
                add_to(a.deltas + static_cast<int64_t>(sequence) * most_edits + k, sqrt(s.squared[0]));
            }
        });
    }
}

// Column `column` of a merge.
template <class Block>
EQK_BODY void merge_column(const Block & block, columns_shared<Block> & s, const eqk_merges_args & a, int32_t column) {
    const float * from = a.in + column * a.in_column;
    float *       x    = a.out + column * a.out_column;
    block.each([&](int t) {
        for (int64_t i = t; i < a.width; i += Block::threads) {
            x[i] = from[i];
        }
    });
    const int32_t * join = join_table{a.joins}.join(column);
    if (join[0] < 0) {
        return;
    }
    const float * other  = a.rows + join[0] * a.row_stride;
    const double  weight = float_of(join[1]);
    rewrite_column(block, s, x, a.width, [&](int64_t i, double own) { return merged(own, other[i], weight); });
    block.each([&](int t) {
        if (t == 0) {
            add_to(a.deltas + join[2], sqrt(s.squared[0]));
        }
    });
}

} // namespace eqk

#endif
