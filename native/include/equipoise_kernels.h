/*
 * libequipoise-kernels: the arithmetic of contrastive decoding on rows of logits, and of steering hidden states. No llama.cpp, no state; but for
 * eqk_cuda_contrast_rows no allocation. Any number of threads may call any function at once, inside a compute graph or
 * from Java.
 *
 * Words used below
 *   row        n_vocab float32 logits, contiguous. Row r of a matrix starts at rows + r * stride (in elements).
 *   slice      one of EQK_SLICES contiguous parts of a row. Slice s is [s * w, (s + 1) * w) cut at n_vocab, where
 *              w = ceil(n_vocab / EQK_SLICES) rounded up to a multiple of 16; the last slices of a short row are empty.
 *              Work is shared among threads by whole slices and sums are kept per slice, so a result never depends on
 *              how many threads took part. Results of two tiers agree within rounding, not bit by bit.
 *   masked     a logit of -infinity: a token that cannot be drawn. Always allowed.
 *   not finite NaN or +infinity in a row, or a combination that overflows upwards. Never allowed, always reported: the
 *              status is EQK_NOT_FINITE, marks in partials and reports carry it to the matching reduce call, and the
 *              output row holds NaN, for which eqk_argmax gives no token.
 *   empty      a row whose every logit is masked: it has no softmax. Reported as EQK_EMPTY_ROW in the same way.
 *   marks      inside a graph nobody looks at the status of one thread's share. So eqk_row_partials and eqk_contrast
 *              leave every failure, of arguments too, where the next reader finds it, as far as pointers and slices
 *              allow: NaN in partials and in the output row, -status in reports.
 *   nats, ln   every logarithm is natural.
 */
#ifndef EQUIPOISE_KERNELS_H
#define EQUIPOISE_KERNELS_H

#include <stdint.h>

#define EQK_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* Raised with every change of this file that a caller compiled earlier would notice. */
#define EQK_ABI_VERSION 7u

#define EQK_SLICES 64

/* Diffusion steps are 0 .. EQK_DIFFUSION_STEPS - 1. */
#define EQK_DIFFUSION_STEPS 1000

typedef enum eqk_status {
    EQK_OK           = 0,
    EQK_BAD_ARGUMENT = 1, /* a null pointer, a count below 1, a slice or a value out of range */
    EQK_NOT_FINITE   = 2, /* see "not finite" above */
    EQK_EMPTY_ROW    = 3, /* see "empty" above */
    EQK_UNAVAILABLE  = 4, /* the tier asked for is unknown (eqk_tier_error), or no CUDA: build or machine lack it */
    EQK_CUDA_ERROR   = 5  /* a CUDA call or launch failed: eqk_cuda_last_error says how */
} eqk_status;

/* ---- the library ------------------------------------------------------------------------------------------------ */

EQK_API uint32_t eqk_abi_version(void);

/*
 * The instruction tier in use, chosen once when the library is loaded: "scalar", "sse", "avx2", "avx512" or "neon".
 * The environment variable EQUIPOISE_KERNELS_TIER caps it (the best tier not above the named one that processor and
 * operating system support). NULL if that variable names no tier of this architecture: then eqk_tier_error says so, and
 * partials, contrast, argmax and entropy answer EQK_UNAVAILABLE.
 */
EQK_API const char * eqk_tier(void);
EQK_API const char * eqk_tier_error(void); /* NULL when there is none */

/* A status in words; never NULL. */
EQK_API const char * eqk_status_text(int32_t status);

/* ---- rows: maximum and log-sum-exp ----------------------------------------------------------------------------- */

/* One slice: its maximum m and sum(exp(x - m)). Empty or all masked: {-inf, 0}. Not finite: {NaN, NaN}. */
typedef struct eqk_partial {
    float max;
    float sum_exp;
} eqk_partial;

/* First and last (exclusive) element of a slice; 0 <= slice < EQK_SLICES, n_vocab >= 1. */
EQK_API int32_t eqk_slice_bounds(int64_t n_vocab, int32_t slice, int64_t * first, int64_t * last);

/*
 * Fills partials[s] for s in [slice_first, slice_last), 0 <= slice_first <= slice_last <= EQK_SLICES; the other entries
 * of partials[EQK_SLICES] are not touched. 1 <= n_vocab <= INT32_MAX. EQK_OK or EQK_NOT_FINITE (for the slices seen).
 */
EQK_API int32_t eqk_row_partials(const float * row, int64_t n_vocab, int32_t slice_first, int32_t slice_last,
                                 eqk_partial * partials);

/*
 * Merges partials[EQK_SLICES] of one row: *row_max = max(x), *row_lse = max + ln(sum(exp(x - max))).
 * EQK_NOT_FINITE: both NaN. EQK_EMPTY_ROW: both -inf.
 */
EQK_API int32_t eqk_row_reduce(const eqk_partial * partials, float * row_max, float * row_lse);

/* ---- contrast --------------------------------------------------------------------------------------------------- */

/* One slice: kept tokens and the sum of (out - base)^2 over them. kept < 0 marks a failure: -status. */
typedef struct eqk_contrast_partial {
    double  delta_sq;
    int64_t kept;
} eqk_contrast_partial;

/*
 * One group: n_branches >= 1 rows of one matrix, combined into one row.
 *
 *   v_b[y] = log_probabilities ? z_b[y] - row_lse[b] : z_b[y]        z_b = row row_index[b]; b = 0 is the base row
 *   y is kept if z_0[y] is not masked, z_0[y] >= row_max[0] + ln(beta), and the sum is not -inf
 *   out[y] = sum over b of coefficient[b] * v_b[y]                   kept; -inf otherwise
 *
 * beta is in [0, 1]: 0 switches the cut-off off, 1 keeps the base row's maxima. The cut-off is the same for logits and
 * log-probabilities, since both sides of its comparison shift alike. A coefficient of 0 removes its branch from the sum
 * (a masked logit there does no harm), not from the check for finite rows.
 * A masked logit in another branch than the base: with a positive coefficient the token is dropped; with a negative one
 * the sum is +infinity and the call reports EQK_NOT_FINITE.
 *
 * delta_sq compares like with like and is not centred: base is z_0 for logits and z_0 - row_lse[0] for
 * log-probabilities. One branch with coefficient 1 gives exactly 0, and out equal to the base row on what is kept.
 *
 * out[n_vocab] may be exactly one of the group's rows (the base row, usually); any other overlap is not allowed. The
 * call reads and writes only elements of slices [slice_first, slice_last).
 *
 * For CUDA every pointer is a device pointer, so that a captured graph sees new numbers in old places.
 */
typedef struct eqk_contrast_args {
    const float *          rows;
    int64_t                stride;            /* elements from one row to the next, >= n_vocab */
    int64_t                n_vocab;           /* 1 .. INT32_MAX */
    const int32_t *        row_index;         /* [n_branches], each >= 0 */
    const float *          coefficient;       /* [n_branches], finite */
    const float *          beta;              /* [1], in [0, 1] */
    const float *          row_max;           /* [n_branches], from eqk_row_reduce */
    const float *          row_lse;           /* [n_branches], from eqk_row_reduce */
    float *                out;               /* [n_vocab] */
    eqk_contrast_partial * report;            /* [EQK_SLICES] */
    int32_t                n_branches;
    int32_t                log_probabilities; /* 0 or 1 */
    int32_t                slice_first;
    int32_t                slice_last;
} eqk_contrast_args;

EQK_API int32_t eqk_contrast(const eqk_contrast_args * args);

/*
 * Merges report[EQK_SLICES] when every slice has been written: how many tokens were kept, and the squared L2 distance
 * of combined and base row over them. A failure of any slice is this call's status, and no token kept is EQK_EMPTY_ROW:
 * then *kept = 0 and *delta_sq = NaN.
 */
EQK_API int32_t eqk_contrast_reduce(const eqk_contrast_partial * report, double * delta_sq, int64_t * kept);

/*
 * The whole of it in one call on one thread: partials, reduce and contrast over all the vocabulary. row_max and row_lse
 * [n_branches] are written. Parameters as in eqk_contrast_args; delta_sq and kept as in eqk_contrast_reduce.
 */
EQK_API int32_t eqk_contrast_rows(const float * rows, int64_t stride, int64_t n_vocab, const int32_t * row_index,
                                  const float * coefficient, int32_t n_branches, int32_t log_probabilities, float beta,
                                  float * row_max, float * row_lse, float * out, double * delta_sq, int64_t * kept);

/* ---- reading a row ---------------------------------------------------------------------------------------------- */

/* The first index of the largest logit. EQK_NOT_FINITE and EQK_EMPTY_ROW: -1. 1 <= n <= INT32_MAX. */
EQK_API int32_t eqk_argmax(const float * row, int64_t n, int64_t * index);

/*
 * Shannon entropy of softmax(row) in nats, from 0 to ln n; row_max from eqk_row_reduce, which is also how this call
 * sees EQK_NOT_FINITE and EQK_EMPTY_ROW: NaN.
 */
EQK_API int32_t eqk_entropy(const float * row, int64_t n, float row_max, float * nats);

/* ---- pictures --------------------------------------------------------------------------------------------------- */

/*
 * The forward diffusion of visual contrastive decoding, in place, on pixels normalised for the vision encoder:
 *
 *   pixel[i] <- sqrt(a) * pixel[i] + sqrt(1 - a) * normal(seed, i)
 *   a = product over t = 0 .. noise_step of (1 - b_t),  b_t = 1e-5 + (5e-3 - 1e-5) / (1 + exp(6 - 12 t / 999))
 *
 * 0 <= noise_step < EQK_DIFFUSION_STEPS, n >= 0. The same seed gives the same noise whatever the number of calls'
 * threads or the machine. EQK_NOT_FINITE (an infinite or NaN pixel): nothing was written.
 *
 * normal(seed, i): Philox4x32-10 (Salmon et al. 2011) with key {low, high 32 bits of seed} and counter
 * {low, high 32 bits of i / 4, 0, 0} gives words w[0..3]; with u = (w + 0.5) / 2^32 in double precision and
 * j = i mod 4, h = j & ~1:  sqrt(-2 ln u[h]) * (j even ? cos : sin)(2 pi u[h + 1]), rounded to float32 once.
 */
EQK_API int32_t eqk_diffuse(float * pixels, int64_t n, int32_t noise_step, uint64_t seed);

/* ---- CUDA ------------------------------------------------------------------------------------------------------- */
/*
 * Present in every build; without CUDA each answers EQK_UNAVAILABLE. Pointers are device pointers, stream is a
 * cudaStream_t. The status speaks of arguments and launch only, since nothing is waited for: what the data were shows
 * in the same marks as on the CPU (NaN or -inf in row_max, kept < 0 in reports, index -1, NaN nats). Argument arrays in
 * device memory (row_index, coefficient, beta) are trusted: the caller checked them on the host.
 */

/* EQK_OK and the device's name, or EQK_UNAVAILABLE and the reason, as text of at most capacity bytes with its zero. */
EQK_API int32_t eqk_cuda_probe(char * text, int64_t capacity);

/* The calling thread's last CUDA failure in words; never NULL. */
EQK_API const char * eqk_cuda_last_error(void);

/* partials[n_rows][EQK_SLICES] of the rows row_index[0 .. n_rows). */
EQK_API int32_t eqk_cuda_row_partials(const float * rows, int64_t stride, int64_t n_vocab, const int32_t * row_index,
                                      int32_t n_rows, eqk_partial * partials, void * stream);
/* row_max[n_rows], row_lse[n_rows]. */
EQK_API int32_t eqk_cuda_row_reduce(const eqk_partial * partials, int32_t n_rows, float * row_max, float * row_lse,
                                    void * stream);
/* args itself is in host memory, what it points to in device memory; slices as on the CPU. */
EQK_API int32_t eqk_cuda_contrast(const eqk_contrast_args * args, void * stream);
/* index[n_rows] */
EQK_API int32_t eqk_cuda_argmax(const float * rows, int64_t stride, int64_t n, const int32_t * row_index,
                                int32_t n_rows, int64_t * index, void * stream);
/* nats[n_rows] */
EQK_API int32_t eqk_cuda_entropy(const float * rows, int64_t stride, int64_t n, const int32_t * row_index,
                                 int32_t n_rows, const float * row_max, float * nats, void * stream);

/*
 * EQK_OK if every CUDA device of this process can run the launchers below, which a graph calls without asking; else
 * EQK_UNAVAILABLE and the reason, as text of at most capacity bytes with its zero. Loads the kernels of the current
 * device, so that no launch inside a stream capture has to.
 */
EQK_API int32_t eqk_cuda_graph_probe(char * text, int64_t capacity);

/*
 * All groups of a decode, told by a table on the device (equipoise_groups.h): for nodes of a graph, whose parameters
 * depend on its shape alone. Nothing is allocated, read back or waited for, so a stream capture may hold the launches.
 */
typedef struct eqk_groups_args {
    const float *   logits;     /* [n_rows], rows stride apart */
    int64_t         stride;     /* elements, >= n_vocab */
    int64_t         n_vocab;
    const int32_t * table;      /* eqk::group_table */
    void *          statistics; /* eqk::group_statistics */
    float *         out;        /* eqk_cuda_groups_contrast: [n_rows]; logits itself, or disjoint from it */
    int64_t         out_stride;
    int32_t         n_rows;     /* 1 .. 65535 */
} eqk_groups_args;

/* Partials, row_max and row_lse of every member; out is not looked at. */
EQK_API int32_t eqk_cuda_groups_partials(const eqk_groups_args * args, void * stream);
/* Then each group's combination into its base's row of out, other rows as they are, and each group's report. */
EQK_API int32_t eqk_cuda_groups_contrast(const eqk_groups_args * args, void * stream);

/* The best tokens of some of the rows, as eqk_argmax finds them, told by a list on the device; -1 where a row has none. */
typedef struct eqk_choice_args {
    const float *   logits;   /* [n_rows], rows stride apart */
    int64_t         stride;   /* elements, >= n_vocab */
    int64_t         n_vocab;
    const int32_t * wanted;   /* eqk::choice_list */
    int64_t *       found;    /* likewise */
    int32_t         n_rows;   /* 1 .. 65535 */
} eqk_choice_args;

EQK_API int32_t eqk_cuda_choice(const eqk_choice_args * args, void * stream);

/*
 * What acts on hidden states, told by a book and a table of tokens on the device (equipoise_edits.h): each column of a
 * node, carried over and then edited, as eqk_steer and eqk_scale do it. For nodes of a graph, like the groups above.
 */
typedef struct eqk_columns_args {
    const float *   in;
    float *         out;         /* [n_columns][rows][width], a column's rows without gaps; disjoint from in */
    const int32_t * tokens;      /* eqk::token_table */
    const int32_t * book;        /* eqk::edit_book */
    const float *   vectors;
    double *        deltas;      /* [n_sequences][64]: the norm of each change is added to its edit's */
    double *        sums;        /* of states that are only read */
    int64_t         in_column;   /* elements from one column to the next */
    int64_t         in_row;      /* and from one row of a column to the next */
    int64_t         out_column;
    int32_t         width;
    int32_t         rows;        /* per column: heads, or 1 */
    int32_t         n_columns;
    int32_t         n_tokens;
    int32_t         by_output;   /* columns are outputs, not tokens */
    int32_t         n_sequences;
    int32_t         n_layers;
    int32_t         point;       /* edits of this point and layer act */
    int32_t         layer;
} eqk_columns_args;

EQK_API int32_t eqk_cuda_columns(const eqk_columns_args * args, void * stream);

/* Columns carried over, and those that a table names merged with rows of another branch, as eqk_merge does it. */
typedef struct eqk_merges_args {
    const float *   in;
    float *         out;         /* disjoint from in */
    const float *   rows;
    const int32_t * joins;       /* eqk::join_table */
    double *        deltas;      /* [n_sequences]: the norm of each change is added to its sequence's */
    int64_t         in_column;   /* elements from one column to the next */
    int64_t         out_column;
    int64_t         row_stride;
    int32_t         width;
    int32_t         n_columns;
} eqk_merges_args;

EQK_API int32_t eqk_cuda_merges(const eqk_merges_args * args, void * stream);

/*
 * Rows of logits carried over, and edited by the logits of early exits as eqk_exits_mean and eqk_exits_contrast do it;
 * a row for which those would fail is left as it is but for a NaN in its first place.
 */
typedef struct eqk_exits_args {
    const float *   logits;      /* [n_rows], rows stride apart */
    const float *   normed;      /* [n_exits][n_rows], rows exit_stride apart: through the final norm */
    const float *   bare;        /* and without it; read where edits ask for it alone */
    float *         out;         /* [n_rows], out_stride apart; disjoint from the others */
    const int32_t * layers;      /* [n_exits], of each its layer, -1 the input's, ascending */
    const int32_t * tokens;      /* eqk::token_table, whose outputs the rows are */
    const int32_t * book;        /* eqk::edit_book */
    double *        deltas;      /* [n_sequences][64]: the norm of each change is added to its edit's */
    double *        scratch;     /* eqk::exits_scratch */
    int64_t         n_vocab;
    int64_t         stride;
    int64_t         exit_stride;
    int64_t         out_stride;
    int32_t         n_rows;      /* up to 65535 */
    int32_t         n_exits;     /* below 65535 */
    int32_t         passes;      /* at least as many as there are such edits on any row */
    int32_t         n_tokens;
    int32_t         n_sequences;
    int32_t         n_layers;
    int32_t         point;       /* edits of this point act */
} eqk_exits_args;

EQK_API int32_t eqk_cuda_exits(const eqk_exits_args * args, void * stream);

/* Notes in labels[n_cells] what each token's KV cell holds. */
typedef struct eqk_ledger_args {
    const int64_t * cells;       /* [n_tokens], each below n_cells */
    const int32_t * tokens;      /* eqk::token_table */
    uint8_t *       labels;
    int32_t         n_tokens;
    int32_t         n_cells;
} eqk_ledger_args;

EQK_API int32_t eqk_cuda_ledger(const eqk_ledger_args * args, void * stream);

/* An attention mask of one row per token, carried over and then biased on the keys of spans; what is hidden stays so. */
typedef struct eqk_mask_args {
    const void *    in;
    void *          out;         /* disjoint from in */
    const int32_t * tokens;      /* eqk::token_table */
    const int32_t * book;        /* eqk::edit_book */
    const uint8_t * labels;      /* [n_cells] */
    const uint8_t * attended;    /* [n_tokens][n_keys]: of the rows that such an edit is on, the keys that it biases; NULL
                                    where none is */
    double *        deltas;      /* sqrt(keys) |bias| is added to an edit's, 1 for a bias that hides */
    int64_t         in_column;   /* bytes from one row to the next */
    int64_t         out_column;
    int64_t         attended_column;
    int32_t         n_keys;      /* per row, at most n_cells */
    int32_t         n_columns;   /* rows; those beyond n_tokens are carried over */
    int32_t         half;        /* F16, else float32 */
    int32_t         n_tokens;
    int32_t         n_cells;
    int32_t         n_sequences;
    int32_t         n_layers;
    int32_t         point;
    int32_t         layer;
} eqk_mask_args;

EQK_API int32_t eqk_cuda_mask(const eqk_mask_args * args, void * stream);

/* Notes in sinkness[n_cells] what eqk_sinkness says of each token whose sequence looks for sinks; 0 of the others. */
typedef struct eqk_sinks_args {
    const float *   states;      /* [n_tokens][width], as the tokens enter the layer */
    const int64_t * cells;       /* [n_tokens], each below n_cells */
    const int32_t * tokens;      /* eqk::token_table */
    const int32_t * book;        /* eqk::edit_book */
    const float *   vectors;
    float *         sinkness;
    int64_t         column;      /* elements from one state to the next */
    int32_t         width;
    int32_t         n_tokens;
    int32_t         n_cells;
    int32_t         n_sequences;
    int32_t         n_layers;
    int32_t         layer;
} eqk_sinks_args;

EQK_API int32_t eqk_cuda_sinks(const eqk_sinks_args * args, void * stream);

/*
 * Attention scores or weights of a layer, a row of keys for each query and head, carried over and then edited, as
 * eqk_scores_raise, eqk_scores_scale, eqk_weights_move and eqk_weights_sinks do it.
 */
typedef struct eqk_attention_args {
    const float *   in;
    float *         out;         /* [n_heads][n_tokens][n_keys]; disjoint from in */
    const void *    mask;        /* a row for each query: where it is -infinity, the query does not see the key */
    const uint8_t * labels;      /* [n_cells] */
    const float *   sinkness;    /* [n_cells]; NULL where no edit looks for sinks */
    const int32_t * tokens;      /* eqk::token_table */
    const int32_t * book;        /* eqk::edit_book */
    const float *   vectors;
    double *        deltas;      /* [n_sequences][64]: the norm of each change, over all heads, is added to its edit's */
    double *        changes;     /* [n_tokens][n_heads][64], room to work in */
    int64_t         in_column;   /* elements from one query's row to the next */
    int64_t         in_head;     /* and from one head's to the next */
    int64_t         mask_column; /* bytes from one row to the next */
    int32_t         n_keys;      /* per row, at most n_cells */
    int32_t         n_tokens;
    int32_t         n_heads;
    int32_t         half;        /* the mask is F16, else float32 */
    int32_t         n_cells;
    int32_t         n_sequences;
    int32_t         n_layers;
    int32_t         point;       /* edits of this point and layer act */
    int32_t         layer;
} eqk_attention_args;

EQK_API int32_t eqk_cuda_attention(const eqk_attention_args * args, void * stream);

/*
 * eqk_contrast_rows on the first CUDA device for rows in host memory: copies in, launches, waits, copies out. For
 * parity tests and the direct door, where copies dwarf the arithmetic; a graph on the device calls the launchers above.
 */
EQK_API int32_t eqk_cuda_contrast_rows(const float * rows, int64_t stride, int64_t n_vocab, const int32_t * row_index,
                                       const float * coefficient, int32_t n_branches, int32_t log_probabilities,
                                       float beta, float * row_max, float * row_lse, float * out, double * delta_sq,
                                       int64_t * kept);

/* ---- hidden states ------------------------------------------------------------------------------------------------ */

/* What steering does to a hidden state h[n], given v[n], w[n] and an amount a; (x.y) is accumulated in double. */
typedef enum eqk_steering {
    EQK_STEER_ADD        = 0, /* h + a v */
    EQK_STEER_ADD_NORMED = 1, /* h + a v, rescaled to the norm that h had; where the sum is zero it stays zero */
    EQK_STEER_ABLATE     = 2, /* h - (h.v) v, v of unit length */
    EQK_STEER_CLAMP      = 3, /* h + (a - h.v) v, v of unit length */
    EQK_STEER_ROTATE     = 4, /* h - P h + |P h| (cos(a) v + sin(a) w), v and w orthonormal, P onto their plane */
    EQK_STEER_TURN       = 5, /* |h| unit(unit(h) + a v), whatever the length of v; 0 stays 0: VTI's edit */
    EQK_STEER_TURN_AWARE = 6, /* the same with a (1 + max(0, -(unit(h).v))) for a: VISTA's edit */
    EQK_STEER_ROTATE_TOWARD = 7, /* EQK_STEER_ROTATE where h.v > 0, else h: adaptive angular steering */
    EQK_STEER_ADD_CAPPED = 8, /* h + a v, rescaled to the norm that h had where it is longer: CAST's preventive norm */
    EQK_STEER_ADD_SIGNED = 9  /* h + a sign(h.v) v: RepE's piecewise-linear operator */
} eqk_steering;

/*
 * Steers one hidden state in place. w: for the two rotations only, else NULL. *delta_norm: L2 norm of the change.
 * 1 <= n <= INT32_MAX. EQK_OK or EQK_BAD_ARGUMENT; what is not finite in h stays so.
 */
EQK_API int32_t eqk_steer(int32_t kind, float * h, const float * v, const float * w, int64_t n, float amount,
                          double * delta_norm);

/* a[n] becomes weight * a + (1 - weight) * b; *delta_norm: L2 norm of the change. 0 <= weight <= 1. */
EQK_API int32_t eqk_merge(float * a, const float * b, int64_t n, float weight, double * delta_norm);

/* x[n] *= factor; *delta_norm: L2 norm of the change. */
EQK_API int32_t eqk_scale(float * x, int64_t n, float factor, double * delta_norm);

/* ---- attention ---------------------------------------------------------------------------------------------------- */

/*
 * One query's row of one head over n keys: scores s before the softmax or weights w after it, edited in place.
 * labels[n] says what each key is: 0 .. 63, or EQK_NO_KEY for a key that the query does not see, which is left as it
 * is whatever stands there. Sets of labels are masks: bit l of a set is label l. Sums are accumulated in double in the
 * order of the keys. *change_sq: sum of the squared changes. 1 <= n <= INT32_MAX. EQK_OK or EQK_BAD_ARGUMENT.
 */
#define EQK_NO_KEY 255

/* s += alpha |s| for the keys of span (PAI, arXiv 2407.21771). */
EQK_API int32_t eqk_scores_raise(float * s, const uint8_t * labels, int64_t n, uint64_t span, float alpha,
                                 double * change_sq);

/* s *= factor for the keys of span (VAF, arXiv 2503.13107); a negative score falls when factor is above 1. */
EQK_API int32_t eqk_scores_scale(float * s, const uint8_t * labels, int64_t n, uint64_t span, float factor,
                                 double * change_sq);

/*
 * Where the keys of from hold more than threshold of what from and to hold together, moves fraction of from's weight to
 * the keys of to, in proportion to theirs. The sum of the row stays; where to holds nothing, so does the row.
 */
EQK_API int32_t eqk_weights_move(float * w, const uint8_t * labels, int64_t n, uint64_t from, uint64_t to,
                                 float threshold, float fraction, double * change_sq);

/*
 * VAR (ICLR 2025): sinks are the keys whose sinkness[n] exceeds tau. Where the span holds at least mass of the row, and
 * its sinks at most rho of what the span holds, every sink's weight, inside the span or not, is multiplied by keep, and
 * what that frees goes to the span's other keys in proportion to their weights.
 */
EQK_API int32_t eqk_weights_sinks(float * w, const uint8_t * labels, const float * sinkness, int64_t n, uint64_t span,
                                  float tau, float rho, float mass, float keep, double * change_sq);

/* mass[l] += the weight of the keys that carry label l. mass[64]. */
EQK_API int32_t eqk_weights_mass(const float * w, const uint8_t * labels, int64_t n, double * mass);

/*
 * Of one query's weights w, rows of n_heads heads stride elements apart: attended[j] becomes 1 for the keys of span but
 * for the `keep` of them whose weight, summed over the heads, is least, of equal ones those of lowest order[j]; 0 for all
 * other keys (SID, arXiv 2408.02032). *n_attended: how many became 1.
 */
EQK_API int32_t eqk_keys_attended(const float * w, int64_t stride, int32_t n_heads, const uint8_t * labels,
                                  const int32_t * order, int64_t n, uint64_t span, int64_t keep, uint8_t * attended,
                                  int64_t * n_attended);

/* The largest |h[d]| / rms(h) over the given dimensions, 0 where h is 0: how much of a sink a state h[n] is (VAR). */
EQK_API int32_t eqk_sinkness(const float * h, int64_t n, const int32_t * dimensions, int32_t n_dimensions,
                             float * sinkness);

/*
 * OutRo (arXiv 2603.14337, as its code runs): which of the states h[n], each h[t][width], are sinks among each other:
 * sinks[t] becomes 1 where the largest |h[t][i]| is at least threshold and at least factor times the median of all
 * |h[t][i]|, of two in the middle the lower one; else 0. *n_sinks: how many became 1.
 */
EQK_API int32_t eqk_sinks_among(const float * const * h, int64_t n, int64_t width, float threshold, float factor,
                                uint8_t * sinks, int64_t * n_sinks);

/*
 * What a sink gathers there: w[n] becomes the softmax of scale * s[n] over keys[n_keys], each below n and once, whatever
 * else the query saw; 0 elsewhere. apart: a further score of the softmax that no key has, -INFINITY for none.
 */
EQK_API int32_t eqk_weights_gather(float * w, const float * s, int64_t n, const int64_t * keys, int64_t n_keys,
                                   float scale, float apart, double * change_sq);

/*
 * And how others are turned towards sinks there. With o the sum of the values under the weights w[n] and v the mean of
 * those of keys[n_keys], w becomes the weights whose sum of values is o + c v at the length of o,
 *   c = gamma tanh(max(0, cos(o, v)) / temperature) |o . v| / (|v|^2 + 1e-8).
 * Value j is values[j * stride .. + width], and not looked at where w[j] is 0 and j no key. o is summed in float. gamma
 * and temperature > 0. c is at most 2^15 n_keys, so that what multiplies weights in half precision has finite ones: more
 * is asked for where v is 10^4 times shorter than o.
 */
EQK_API int32_t eqk_weights_turn(float * w, int64_t n, const float * values, int64_t stride, int64_t width,
                                 const int64_t * keys, int64_t n_keys, float gamma, float temperature,
                                 double * change_sq);

/* ---- early exits -------------------------------------------------------------------------------------------------- */

/* How far two distributions P and Q are from each other, with M = (P + Q) / 2. */
typedef enum eqk_divergence {
    EQK_JENSEN_SHANNON       = 0, /* KL(P, M) / 2 + KL(Q, M) / 2, at most ln 2 */
    EQK_ARITHMETIC_GEOMETRIC = 1  /* KL(M, P) / 2 + KL(M, Q) / 2, infinite where P or Q lacks a token that the other has */
} eqk_divergence;

/*
 * rows[n_rows][n_vocab] are logits of earlier layers, one pointer each.
 *
 * z = (1 - weight) z + weight mean_k rows[k] (VISTA's augmentation, arXiv 2502.03628). 0 <= weight <= 1.
 */
EQK_API int32_t eqk_exits_mean(float * z, const float * const * rows, int64_t n_vocab, int32_t n_rows, float weight,
                               double * change_sq);

/*
 * z = ln softmax(z) - ln softmax(rows[M]) for the row M whose distribution is farthest from z's by an eqk_divergence, the
 * first of equals; tokens less likely under z than relative_top times the likeliest become -infinity (DoLa, arXiv
 * 2309.03883: its paper has the first divergence, its code the second). *chosen: M; *change_sq: over the tokens that are
 * kept. EQK_NOT_FINITE if z or a row has no distribution; z is then untouched.
 */
EQK_API int32_t eqk_exits_contrast(float * z, const float * const * rows, int64_t n_vocab, int32_t n_rows,
                                   float relative_top, int32_t divergence, int32_t * chosen, double * change_sq);

#ifdef __cplusplus
}
#endif

#endif
