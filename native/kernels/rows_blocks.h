// The bodies of the CUDA kernels on rows of logits. One block works on one slice (partials, contrast) or one row
// (reduce, argmax, entropy), so sums are made in an order that depends on neither device nor load.
#ifndef EQK_ROWS_BLOCKS_H
#define EQK_ROWS_BLOCKS_H

#include "arith.h"
#include "block.h"
#include "equipoise_groups.h"

namespace eqk {

constexpr int slice_threads  = 256; // a slice is a few thousand logits
constexpr int row_threads    = 1024; // a row is over a hundred thousand
constexpr int reduce_threads = EQK_SLICES;

// NaN as soon as one of them is no logit.
struct larger_logit {
    EQK_BODY float operator()(float a, float b) const { return is_logit(a) && is_logit(b) ? fmaxf(a, b) : NAN; }
};

template <class Block> struct partials_shared {
    float max[Block::threads];
    float sum[Block::threads];
};

template <class Block>
EQK_BODY void slice_partials(const Block & block, partials_shared<Block> & s, const float * row, int64_t n_vocab,
                             int32_t slice, eqk_partial * partials) {
    const span at = slice_span(n_vocab, slice);
    block.each([&](int t) {
        float max = -INFINITY;
        for (int64_t i = at.first + t; i < at.last; i += Block::threads) {
            max = larger_logit()(max, row[i]);
        }
        s.max[t] = max;
    });
    merge_all(block, s.max, larger_logit());
    const float max = s.max[0];
    block.each([&](int t) {
        float sum = 0;
        if (row_status(max) == EQK_OK) {
            for (int64_t i = at.first + t; i < at.last; i += Block::threads) {
                sum += expf(row[i] - max);
            }
        }
        s.sum[t] = sum;
    });
    merge_all(block, s.sum, sum_of());
    block.each([&](int t) {
        if (t == 0) {
            partials[slice] = is_logit(max) ? eqk_partial{max, s.sum[0]} : eqk_partial{NAN, NAN};
        }
    });
}

template <class Block> struct reduce_shared {
    float  max[Block::threads];
    double sum[Block::threads];
};

// A thread for each slice.
template <class Block>
EQK_BODY void row_reduce(const Block & block, reduce_shared<Block> & s, const eqk_partial * partials, float * row_max,
                         float * row_lse) {
    static_assert(Block::threads == EQK_SLICES);
    block.each([&](int t) { s.max[t] = partials[t].max; });
    merge_all(block, s.max, larger_logit());
    const float max = s.max[0];
    block.each([&](int t) { s.sum[t] = row_status(max) == EQK_OK ? rescaled_sum(partials[t], max) : 0; });
    merge_all(block, s.sum, sum_of());
    block.each([&](int t) {
        if (t == 0) {
            *row_max = max;
            *row_lse = row_status(max) == EQK_OK ? static_cast<float>(max + log(s.sum[0])) : max;
        }
    });
}

// Tokens kept, or -1 where some sum is no logit.
struct kept_of {
    EQK_BODY int32_t operator()(int32_t a, int32_t b) const { return a < 0 || b < 0 ? -1 : a + b; }
};

template <class Block> struct contrast_shared {
    int32_t status;
    float   limit;
    int32_t kept[Block::threads];
    double  delta_sq[Block::threads];
};

template <class Block>
EQK_BODY void slice_contrast(const Block & block, contrast_shared<Block> & s, const eqk_contrast_args & a,
                             int32_t slice) {
    const combination group = {a.rows,        a.stride,
                               a.row_index,   a.coefficient,
                               a.log_probabilities ? a.row_lse : nullptr, a.n_branches};
    const span at = slice_span(a.n_vocab, slice);
    block.each([&](int t) {
        if (t == 0) {
            s.status = rows_status(a.row_max, a.row_lse, a.n_branches);
            s.limit  = cut_off(a.row_max[0], *a.beta);
        }
    });
    const int32_t status = s.status;
    const float   limit  = s.limit;
    block.each([&](int t) {
        int32_t kept     = status == EQK_OK ? 0 : -1;
        double  delta_sq = 0;
        for (int64_t y = at.first + t; y < at.last; y += Block::threads) {
            // Everything of one token is read before its place is written: out may be one of the rows.
            float value = -INFINITY;
            if (status != EQK_OK) {
                value = NAN;
            } else if (branch_logit(group, 0, y) >= limit) {
                const float base = branch_value<float>(group, 0, y);
                value            = combine<float>(group, y);
                if (!is_logit(value)) {
                    kept  = -1;
                    value = NAN;
                } else if (value > -INFINITY) {
                    const double delta = value - base;
                    delta_sq += delta * delta;
                    kept = kept_of()(kept, 1);
                }
            }
            a.out[y] = value;
        }
        s.kept[t]     = kept;
        s.delta_sq[t] = delta_sq;
    });
    merge_all(block, s.kept, kept_of());
    merge_all(block, s.delta_sq, sum_of());
    block.each([&](int t) {
        if (t == 0) {
            const int32_t mark = status != EQK_OK ? status : EQK_NOT_FINITE;
            a.report[slice]    = s.kept[0] < 0 ? eqk_contrast_partial{NAN, -mark}
                                               : eqk_contrast_partial{s.delta_sq[0], s.kept[0]};
        }
    });
}

struct candidate {
    float   value;
    int32_t index; // INT32_MAX: none
};

// The first of the largest; index -1 as soon as something is no logit.
struct first_larger {
    EQK_BODY candidate operator()(candidate a, candidate b) const {
        if (a.index < 0 || b.index < 0) {
            return {NAN, -1};
        }
        return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
    }
};

template <class Block> struct argmax_shared {
    candidate best[Block::threads];
};

// s.best[0] becomes the best of a row's logits first .. last - 1.
template <class Block>
EQK_BODY void find_best(const Block & block, argmax_shared<Block> & s, const float * row, int64_t first, int64_t last) {
    block.each([&](int t) {
        candidate best = {-INFINITY, INT32_MAX};
        for (int64_t i = first + t; i < last; i += Block::threads) {
            const float x = row[i]; // without a way out of the loop, several loads are under way at once
            best = !is_logit(x) ? candidate{NAN, -1} : x > best.value ? candidate{x, static_cast<int32_t>(i)} : best;
        }
        s.best[t] = best;
    });
    merge_all(block, s.best, first_larger());
}

EQK_BODY int64_t token_of(const candidate & best) {
    return best.index == INT32_MAX ? -1 : best.index;
}

template <class Block>
EQK_BODY void row_argmax(const Block & block, argmax_shared<Block> & s, const float * row, int64_t n, int64_t * index) {
    find_best(block, s, row, 0, n);
    block.each([&](int t) {
        if (t == 0) {
            *index = token_of(s.best[0]);
        }
    });
}

template <class Block> struct entropy_shared {
    double plain[Block::threads];
    double weighted[Block::threads];
};

template <class Block>
EQK_BODY void row_entropy(const Block & block, entropy_shared<Block> & s, const float * row, int64_t n, float max,
                          float * nats) {
    block.each([&](int t) {
        float plain = 0, weighted = 0;
        if (row_status(max) == EQK_OK) {
            for (int64_t i = t; i < n; i += Block::threads) {
                if (row[i] != -INFINITY) { // 0 * inf would be NaN
                    const float d = row[i] - max;
                    const float e = expf(d);
                    plain += e;
                    weighted += e * -d;
                }
            }
        }
        s.plain[t]    = plain;
        s.weighted[t] = weighted;
    });
    merge_all(block, s.plain, sum_of());
    merge_all(block, s.weighted, sum_of());
    block.each([&](int t) {
        if (t == 0) {
            *nats = row_status(max) == EQK_OK ? static_cast<float>(log(s.plain[0]) + s.weighted[0] / s.plain[0]) : NAN;
        }
    });
}

/*
 * The groups of a decode, by tables in device memory: grids are sized by the number of rows, which the graph's shape
 * fixes, and blocks that the table has no work for return. Nothing the host knows only at run time is a parameter.
 */

// Slice `slice` of member number `member`.
template <class Block>
EQK_BODY void groups_partials(const Block & block, partials_shared<Block> & s, const eqk_groups_args & a, int32_t slice,
                              int32_t member) {
    const group_table table = {a.table, a.n_rows};
    if (member < table.members()) {
        const int32_t row = table.member_rows()[member];
        slice_partials(block, s, a.logits + row * a.stride, a.n_vocab, slice,
                       group_statistics{static_cast<char *>(a.statistics), a.n_rows}.partials(row));
    }
}

// Maximum and log-sum-exp of member number `member`.
template <class Block>
EQK_BODY void groups_reduce(const Block & block, reduce_shared<Block> & s, const eqk_groups_args & a, int32_t member) {
    const group_table table = {a.table, a.n_rows};
    if (member < table.members()) {
        const group_statistics to = {static_cast<char *>(a.statistics), a.n_rows};
        row_reduce(block, s, to.partials(table.member_rows()[member]), to.row_max() + member, to.row_lse() + member);
    }
}

// Slice `slice` of output row `row`: the group's combination where the row is a group's base, else the row as it is.
template <class Block>
EQK_BODY void groups_contrast(const Block & block, contrast_shared<Block> & s, const eqk_groups_args & a, int32_t slice,
                              int32_t row) {
    const group_table table = {a.table, a.n_rows};
    int32_t           g     = 0;
    while (g < table.groups() && table.member_rows()[table.group(g)[0]] != row) {
        g++;
    }
    if (g == table.groups()) {
        const span    at   = slice_span(a.n_vocab, slice);
        const float * from = a.logits + row * a.stride;
        float *       to   = a.out + row * a.out_stride;
        block.each([&](int t) {
            for (int64_t y = at.first + t; y < at.last; y += Block::threads) {
                to[y] = from[y];
            }
        });
        return;
    }
    const group_statistics found = {static_cast<char *>(a.statistics), a.n_rows};
    const int32_t          first = table.group(g)[0];
    const eqk_contrast_args group = {a.logits,
                                     a.stride,
                                     a.n_vocab,
                                     table.member_rows() + first,
                                     table.coefficients() + first,
                                     table.beta(g),
                                     found.row_max() + first,
                                     found.row_lse() + first,
                                     a.out + row * a.out_stride,
                                     found.report(g),
                                     table.group(g)[1],
                                     table.group(g)[2],
                                     0,
                                     EQK_SLICES};
    slice_contrast(block, s, group, slice);
}

// Behind the tokens, the best of each slice of each row of the list.
EQK_BODY candidate * candidates_of(const eqk_choice_args & a, int32_t number) {
    static_assert(sizeof(candidate) == choice_list::kept_bytes);
    return reinterpret_cast<candidate *>(a.found + a.n_rows) + static_cast<int64_t>(number) * EQK_SLICES;
}

// Slice `slice` of row number `number` of the list.
template <class Block>
EQK_BODY void choose_in_slice(const Block & block, argmax_shared<Block> & s, const eqk_choice_args & a, int32_t slice,
                              int32_t number) {
    const choice_list wanted = {a.wanted};
    if (number >= wanted.count()) {
        return;
    }
    const span at = slice_span(a.n_vocab, slice);
    find_best(block, s, a.logits + wanted.row(number) * a.stride, at.first, at.last);
    block.each([&](int t) {
        if (t == 0) {
            candidates_of(a, number)[slice] = s.best[0];
        }
    });
}

// Then that row's token. A thread for each slice.
template <class Block>
EQK_BODY void choose_of_slices(const Block & block, argmax_shared<Block> & s, const eqk_choice_args & a, int32_t number) {
    static_assert(Block::threads == EQK_SLICES);
    if (number >= choice_list{a.wanted}.count()) {
        return;
    }
    block.each([&](int t) { s.best[t] = candidates_of(a, number)[t]; });
    merge_all(block, s.best, first_larger());
    block.each([&](int t) {
        if (t == 0) {
            a.found[number] = token_of(s.best[0]);
        }
    });
}

} // namespace eqk

#endif
