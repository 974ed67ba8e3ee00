/*
 * What acts on the columns of a decode, as nodes on a device see it: a book, rewritten when a request's interventions
 * change, and the tokens of the micro-batch, which come with every execution. Plain memory; header only, C++, for the
 * host, the kernels and their tests.
 */
#ifndef EQUIPOISE_EDITS_H
#define EQUIPOISE_EDITS_H

#include "equipoise_kernels.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define EQK_EDITS_INLINE __host__ __device__ inline
#else
#define EQK_EDITS_INLINE inline
#endif

namespace eqk {

constexpr int32_t most_edits = 64; // per sequence: the bits of a token's mask

// An edit's kind beside eqk_steering: every row of a column is multiplied by a number of its own.
constexpr int32_t scale_rows = 32;

// And another: the keys of a set of labels get a bias in the attention mask.
constexpr int32_t bias_keys = 33;

// And those of attention rows: eqk_scores_raise, eqk_scores_scale, eqk_weights_move, eqk_weights_sinks.
constexpr int32_t raise_scores = 34;
constexpr int32_t scale_scores = 35;
constexpr int32_t move_weights = 36;
constexpr int32_t drain_sinks  = 37;

// And two on the logits of early exits. Where an exit is read, the edit acts at that layer; what stands in the place of
// labels says whether the input is one, the first parameter whether they go through the final norm, and the second one
// of a contrast which eqk_divergence it chooses by.
constexpr int32_t exits_mean     = 38;
constexpr int32_t exits_contrast = 39;

// And one that only looks: the states it acts on are added up.
constexpr int32_t read_states = 40;

// And the bias on keys that a lower layer found each query to attend to.
constexpr int32_t bias_attended = 41;

/*
 * 32-bit words: per sequence and edit {kind (-1: none for a device), point, amount as float32, low, high half of a set
 * of labels, and for edits of attention rows low, high half of another, three parameters as float32, how many
 * dimensions}; then per sequence, edit and layer the first of its floats among the vectors, or -1 where it does not
 * act.
 * The floats: v of the column's width, for the two rotations w behind it; for scale_rows a factor per row; for edits of
 * attention rows the dimensions that drain_sinks knows sinks by, then for each head 1 where it acts, else 0; else none.
 * For read_states it is instead the first of its doubles among the sums: the column's width of them, then the count.
 */
struct edit_book {
    const int32_t * words;
    int32_t         sequences;
    int32_t         layers;

    static constexpr int32_t edit_words = 11;

    // Words of an edit.
    static constexpr int32_t kind = 0, point = 1, amount = 2, labels = 3, others = 5, parameters = 7, dimensions = 10;

    EQK_EDITS_INLINE static uint64_t set_at(const int32_t * halves) {
        return static_cast<uint32_t>(halves[0]) | static_cast<uint64_t>(static_cast<uint32_t>(halves[1])) << 32;
    }

    EQK_EDITS_INLINE static void put_set(int32_t * halves, uint64_t set) {
        halves[0] = static_cast<int32_t>(static_cast<uint32_t>(set));
        halves[1] = static_cast<int32_t>(static_cast<uint32_t>(set >> 32));
    }

    EQK_EDITS_INLINE static int64_t edit_at(int32_t sequence, int32_t edit) {
        return (static_cast<int64_t>(sequence) * most_edits + edit) * edit_words;
    }
    EQK_EDITS_INLINE static int64_t place_at(int32_t sequences, int32_t layers, int32_t sequence, int32_t edit,
                                             int32_t layer) {
        return edit_at(sequences, 0) + (static_cast<int64_t>(sequence) * most_edits + edit) * layers + layer;
    }
    EQK_EDITS_INLINE static int64_t n_words(int32_t sequences, int32_t layers) {
        return place_at(sequences, layers, sequences, 0, 0);
    }

    EQK_EDITS_INLINE const int32_t * edit(int32_t sequence, int32_t number) const {
        return words + edit_at(sequence, number);
    }
    EQK_EDITS_INLINE int32_t place(int32_t sequence, int32_t number, int32_t layer) const {
        return words[place_at(sequences, layers, sequence, number, layer)];
    }
};

// 32-bit words: per token {sequence (-1: padding), low, high half of the mask of edits that act on it, label}; then per
// output its token.
struct token_table {
    const int32_t * words;
    int32_t         tokens;

    static constexpr int32_t token_words = 4;

    EQK_EDITS_INLINE static int64_t n_words(int64_t tokens, int64_t outputs) { return token_words * tokens + outputs; }

    EQK_EDITS_INLINE static void put(int32_t * words, int32_t token, int32_t sequence, uint64_t mask, int32_t label) {
        int32_t * const at = words + token_words * token;
        at[0]              = sequence;
        edit_book::put_set(at + 1, mask);
        at[3] = label;
    }

    EQK_EDITS_INLINE int32_t  sequence(int32_t token) const { return words[token_words * token]; }
    EQK_EDITS_INLINE uint64_t mask(int32_t token) const {
        const auto * at = reinterpret_cast<const uint32_t *>(words) + token_words * token;
        return at[1] | static_cast<uint64_t>(at[2]) << 32;
    }
    EQK_EDITS_INLINE int32_t label(int32_t token) const { return words[token_words * token + 3]; }
    EQK_EDITS_INLINE int32_t token_of_output(int32_t output) const { return words[token_words * tokens + output]; }
};

// 32-bit words: per column of a node {the row that it merges with or -1, its weight as float32, its sequence}.
struct join_table {
    const int32_t * words;

    static constexpr int32_t join_words = 3;

    EQK_EDITS_INLINE static int64_t n_words(int64_t columns) { return join_words * columns; }

    EQK_EDITS_INLINE const int32_t * join(int32_t column) const { return words + join_words * column; }
};

/*
 * What the kernels on early exits keep between launches, for each row of n_exits exits, as doubles: per slice of the
 * row and of each exit {maximum, sum of exponentials below it}, per exit and slice a part of the divergence, and per
 * slice the squared change, or -1 for an edit that failed.
 */
struct exits_scratch {
    double * memory;
    int32_t  exits;

    EQK_EDITS_INLINE static int64_t per_row(int64_t exits) { return 3 * (exits + 1) * EQK_SLICES; }
    EQK_EDITS_INLINE static int64_t n_doubles(int64_t rows, int64_t exits) { return rows * per_row(exits); }

    // Exit -1 is the row itself.
    EQK_EDITS_INLINE double * logs(int32_t row, int32_t exit) const {
        return memory + row * per_row(exits) + 2 * static_cast<int64_t>(exit + 1) * EQK_SLICES;
    }
    EQK_EDITS_INLINE double * divergences(int32_t row, int32_t exit) const {
        return memory + row * per_row(exits) + (2 * static_cast<int64_t>(exits + 1) + exit) * EQK_SLICES;
    }
    EQK_EDITS_INLINE double * changes(int32_t row) const { return divergences(row, exits); }
};

} // namespace eqk

#endif
