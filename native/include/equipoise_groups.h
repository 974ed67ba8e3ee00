/*
 * The groups of one decode as the nodes of a graph see them: a table that says which rows are combined and how, and the
 * statistics that one node leaves for the next and for whoever reads the outcome. Both are plain memory, on the host or
 * on a device. Header only; C++, for the host, the kernels and their tests.
 */
#ifndef EQUIPOISE_GROUPS_H
#define EQUIPOISE_GROUPS_H

#include "equipoise_kernels.h"

#include <stddef.h>

#ifdef __CUDACC__
#define EQK_GROUPS_INLINE __host__ __device__ inline
#else
#define EQK_GROUPS_INLINE inline
#endif

namespace eqk {

/*
 * Sized for `rows` output rows; every row is member of at most one group. 32-bit words:
 *   [0] number of groups, then per group {first member, members, log-probabilities}, then per member its row,
 *   then as float32: per member its coefficient, then per group beta.
 * A group's first member is its base, whose row receives the combination. Groups follow one another without gaps.
 */
struct group_table {
    const int32_t * words;
    int32_t         rows;

    static constexpr int32_t group_words = 3;

    EQK_GROUPS_INLINE static int64_t first_float(int64_t rows) { return 1 + (group_words + 1) * rows; }
    EQK_GROUPS_INLINE static int64_t n_words(int64_t rows) { return first_float(rows) + 2 * rows; }

    EQK_GROUPS_INLINE int32_t         groups() const { return words[0]; }
    EQK_GROUPS_INLINE const int32_t * group(int32_t g) const { return words + 1 + group_words * g; }
    EQK_GROUPS_INLINE const int32_t * member_rows() const { return words + 1 + group_words * rows; }
    EQK_GROUPS_INLINE const float *   coefficients() const {
        return reinterpret_cast<const float *>(words + first_float(rows));
    }
    EQK_GROUPS_INLINE const float * beta(int32_t g) const { return coefficients() + rows + g; }
    EQK_GROUPS_INLINE int32_t       members() const {
        return groups() == 0 ? 0 : group(groups() - 1)[0] + group(groups() - 1)[1];
    }
};

/*
 * Per row r the partials of row r, then the report of group r; then per member its row_max and row_lse, for kernels
 * that cannot reduce partials where they combine (the CPU's can, and leave these alone).
 */
struct group_statistics {
    char *  memory; // aligned to 8 bytes
    int32_t rows;

    static constexpr size_t partials_bytes = EQK_SLICES * sizeof(eqk_partial);
    static constexpr size_t row_bytes      = partials_bytes + EQK_SLICES * sizeof(eqk_contrast_partial);

    EQK_GROUPS_INLINE static size_t bytes(int64_t rows) {
        return static_cast<size_t>(rows) * (row_bytes + 2 * sizeof(float));
    }
    EQK_GROUPS_INLINE static size_t report_offset(int32_t g) {
        return static_cast<size_t>(g) * row_bytes + partials_bytes;
    }

    EQK_GROUPS_INLINE eqk_partial * partials(int32_t row) const {
        return reinterpret_cast<eqk_partial *>(memory + static_cast<size_t>(row) * row_bytes);
    }
    EQK_GROUPS_INLINE eqk_contrast_partial * report(int32_t g) const {
        return reinterpret_cast<eqk_contrast_partial *>(memory + report_offset(g));
    }
    EQK_GROUPS_INLINE float * row_max() const {
        return reinterpret_cast<float *>(memory + static_cast<size_t>(rows) * row_bytes);
    }
    EQK_GROUPS_INLINE float * row_lse() const { return row_max() + rows; }
};

/*
 * Whose best tokens are looked for among `rows` output rows: [0] how many, then their numbers. What is found: int64 per
 * row of the list its token or -1, then what kernels that share a row among blocks keep in between.
 */
struct choice_list {
    const int32_t * words;

    static constexpr int64_t kept_bytes = 8; // per slice of a row

    EQK_GROUPS_INLINE static int64_t n_words(int64_t rows) { return 1 + rows; }
    EQK_GROUPS_INLINE static int64_t n_found(int64_t rows) {
        return rows + rows * EQK_SLICES * kept_bytes / static_cast<int64_t>(sizeof(int64_t));
    }

    EQK_GROUPS_INLINE int32_t count() const { return words[0]; }
    EQK_GROUPS_INLINE int32_t row(int32_t number) const { return words[1 + number]; }
};

static_assert(group_statistics::partials_bytes % alignof(eqk_contrast_partial) == 0);
static_assert(group_statistics::row_bytes % alignof(eqk_contrast_partial) == 0);

} // namespace eqk

#endif
