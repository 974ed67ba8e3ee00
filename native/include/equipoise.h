/*
 * libequipoise: llama.cpp hosted for Equipoise. The only door between Java and llama.cpp, and it shows none of its types.
 *
 * Rules of the house
 *   status    every call that can fail returns one; eq_last_error() then says what, with the arguments in it
 *   handles   are made by eq_*_open and given back by eq_*_close, in any order: what is still needed by another handle
 *             lives on until that one closes. close(NULL) does nothing.
 *   threads   a handle is used by one thread at a time; different handles may be used at once. eq_last_error is per
 *             thread. eq_log_next and eq_live_objects may be called from anywhere.
 *   refusal   llama.cpp aborts the process on bad input, so the caller refuses first what it can see; this library
 *             refuses again what would be a crash (counts, ranges, null pointers).
 *   text      UTF-8, zero-terminated where no length stands beside it.
 */
#ifndef EQUIPOISE_H
#define EQUIPOISE_H

#include <stdint.h>

#if defined(_WIN32)
#define EQ_API __declspec(dllexport)
#else
#define EQ_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised with every change of this file that a caller compiled earlier would notice. */
#define EQ_ABI_VERSION 11u

typedef enum eq_status {
    EQ_OK          = 0,
    EQ_BAD_INPUT   = 1, /* a file, text, number or order of calls that cannot be used; nothing was changed */
    EQ_UNAVAILABLE = 2, /* this build, machine or model does not have it */
    EQ_INTERNAL    = 3, /* a bug here or below */
    EQ_FULL        = 4  /* no free KV cells for the batch; nothing was changed, but that a merge's second sequence may
                           have lost cells at the batch's first position, where a picture shares one under M-RoPE */
} eq_status;

/* ---- the library -------------------------------------------------------------------------------------------------- */

EQ_API uint32_t     eq_abi_version(void);
EQ_API const char * eq_llama_version(void); /* version of llama.cpp this was built against */
EQ_API const char * eq_patch_hash(void);    /* sha256 of the patch it carries */
EQ_API const char * eq_last_error(void);    /* of the calling thread; never NULL */

/*
 * Takes over the logs of llama.cpp, ggml and libmtmd, and loads the backends, where none is linked: those in a directory,
 * if one is named that has any, else those beside ggml. Idempotent.
 */
EQ_API int32_t eq_start(const char * backend_directory);

/* Name of the variant of ggml's CPU backend in use, such as "haswell"; valid after eq_start. */
EQ_API const char * eq_cpu_variant(void);

/* ggml's CPU features in use, such as "AVX2 FMA F16C"; valid after eq_start. */
EQ_API const char * eq_cpu_features(void);

/*
 * Who multiplies weights of the types of equipoise_products.h on the CPU: the tier of our kernels, or "llama.cpp" where
 * the processor has no fast tier, or the environment variable EQUIPOISE_PRODUCTS is "llama" (else "own"); valid after
 * eq_start.
 */
EQ_API const char * eq_products(void);

/* Name of GPU number index, or NULL when there are not so many. */
EQ_API const char * eq_gpu_name(int32_t index);

/* Takes the oldest waiting log line. Returns its level (1 debug, 2 info, 3 warning, 4 error), 0 when none waits. */
EQ_API int32_t eq_log_next(char * text, int32_t capacity);

/* Handles that are open now: models, encoders, contexts, encodings and samplers. */
EQ_API int64_t eq_live_objects(void);

/* ---- models ------------------------------------------------------------------------------------------------------- */

typedef struct eq_model eq_model;

typedef struct eq_model_info {
    char    description[128];
    char    architecture[64];
    int64_t n_params;
    int32_t n_layer;
    int32_t n_embd;
    int32_t n_embd_inp;    /* width of an input embedding row; larger than n_embd for deep-stack models */
    int32_t n_vocab;
    int32_t n_ctx_train;
    int32_t n_pos_per_embd; /* positions an embedding row carries: 1, or 4 under M-RoPE */
    int32_t bos;           /* token id, or -1 */
    int32_t eos;           /* token id, or -1 */
    int32_t add_bos;       /* 1 if prompts begin with bos */
    int32_t has_memory;    /* 1 unless recurrent or hybrid state would be needed */
    int32_t n_head;        /* heads of the first block's queries */
    int32_t n_swa;         /* tokens of the sliding window that some blocks have, or 0 */
} eq_model_info;

EQ_API int32_t eq_model_open(const char * path, int32_t n_gpu_layers, eq_model ** model);
EQ_API void    eq_model_close(eq_model * model);
EQ_API int32_t eq_model_describe(const eq_model * model, eq_model_info * info);

/*
 * How much of what a decode reads is multiplied by our kernels: the share, in bytes, of the matrices of the blocks and of
 * the output.
 */
EQ_API double eq_model_products(const eq_model * model);

/* The model's own chat template, or NULL; lives as long as the model. */
EQ_API const char * eq_model_chat_template(const eq_model * model);

/* Tokens of text[length]. *n_tokens: how many there are, also when they exceed capacity (then EQ_BAD_INPUT). */
EQ_API int32_t eq_tokenize(const eq_model * model, const char * text, int32_t length, int32_t parse_special,
                           int32_t * tokens, int32_t capacity, int32_t * n_tokens);

/* The bytes of one token, not zero-terminated; special: whether control tokens are written out or empty. */
EQ_API int32_t eq_token_bytes(const eq_model * model, int32_t token, int32_t special, char * bytes, int32_t capacity,
                              int32_t * n_bytes);

/* 1 if the token ends a turn. */
EQ_API int32_t eq_token_ends(const eq_model * model, int32_t token);

/*
 * What tokens are as rows of eq_batch.embeddings, rows[n][n_embd]: read so, they give what they give as tokens.
 * EQ_UNAVAILABLE: an architecture of which that is not known.
 */
EQ_API int32_t eq_token_embeddings(const eq_model * model, const int32_t * tokens, int32_t n, float * rows);

/* ---- pictures and sounds ------------------------------------------------------------------------------------------ */

typedef struct eq_media    eq_media;    /* the encoders of one mmproj file, for one model */
typedef struct eq_encoding eq_encoding; /* one medium, encoded: text chunks and embedding chunks in order */

typedef struct eq_media_info {
    int32_t vision;
    int32_t audio;
    int32_t audio_sample_rate; /* Hz, or 0 */
} eq_media_info;

EQ_API int32_t eq_media_open(const char * path, const eq_model * model, int32_t n_threads, int32_t use_gpu,
                             eq_media ** media);
EQ_API void    eq_media_close(eq_media * media);
EQ_API int32_t eq_media_describe(const eq_media * media, eq_media_info * info);

typedef enum eq_medium_kind {
    EQ_MEDIUM_IMAGE_FILE = 0, /* bytes of an encoded picture */
    EQ_MEDIUM_IMAGE_RGB  = 1, /* [height][width][3] bytes */
    EQ_MEDIUM_AUDIO_FILE = 2, /* bytes of an encoded sound */
    EQ_MEDIUM_AUDIO_PCM  = 3  /* float32 mono samples at the model's rate */
} eq_medium_kind;

/* States of the picture encoder's blocks, one for each position of its graph: a class token if it has one, then
   patches, row by row. */
typedef enum eq_captured {
    EQ_CAPTURED_LAYER = 1, /* the output of each block */
    EQ_CAPTURED_MLP   = 2  /* what the feed-forward part of each block gives, before it is turned */
} eq_captured;

/* How a medium is encoded. As it is: zeros, and -1 for noise_step. All of it is for pictures only. */
typedef struct eq_encode_params {
    uint64_t        noise_seed;
    const uint8_t * masked;     /* [masked_side][masked_side], or NULL: 1 where a patch of the normalised pixels, all of
                                   which are square then, becomes the means of the picture's channels, before noise */
    const int32_t * layers;     /* [n_layers], each once: blocks whose feed-forward output m becomes, at each position,
                                   |m| unit(unit(m) + amount unit(d)); where d or m is 0 it stays. EQ_UNAVAILABLE: the
                                   encoder's graph does not offer such a block */
    const float *   directions; /* d: [n_layers][n_positions][width] */
    float           amount;
    int32_t         noise_step; /* -1: none; 0 .. 999: forward diffusion of the normalised pixels (eqk_diffuse) */
    int32_t         watch;      /* 1: chunks have a saliency, where the encoder allows */
    int32_t         masked_side;
    int32_t         n_layers;
    int32_t         n_positions;
    int32_t         width;
    int32_t         captured;   /* a sum of eq_captured: chunks have those states */
} eq_encode_params;

EQ_API int32_t eq_media_encode(eq_media * media, int32_t kind, const void * data, int64_t n_bytes, int32_t width,
                               int32_t height, const eq_encode_params * params, eq_encoding ** encoding);
EQ_API void    eq_encoding_close(eq_encoding * encoding);

typedef struct eq_chunk {
    const int32_t * tokens;     /* [n_tokens], or NULL for embeddings */
    const float *   embeddings; /* [n_tokens][n_embd_inp], or NULL for tokens */
    const int32_t * positions;  /* [n_pos_per_embd][n_tokens], relative to the chunk's first; NULL for tokens */
    const float *   saliency;   /* [n_tokens], see eq_encode_params; NULL where there is none */
    double          delta;      /* sum over layers and positions of the L2 norm of what turning changed */
    int32_t         n_tokens;
    int32_t         n_positions; /* time positions it takes: n_tokens, or less under M-RoPE */
    int32_t         non_causal;  /* 1 if its tokens see each other in both directions */
    int32_t         n_states;    /* see eq_encoding_states */
} eq_chunk;

typedef struct eq_block_states {
    const float * values;   /* [n_positions][width] */
    int32_t       layer;
    int32_t       captured; /* one eq_captured */
    int32_t       n_positions;
    int32_t       width;
} eq_block_states;

EQ_API int32_t eq_encoding_chunks(const eq_encoding * encoding); /* how many */
EQ_API int32_t eq_encoding_chunk(const eq_encoding * encoding, int32_t index, eq_chunk * chunk);

/* The nth states of a chunk, in the order in which the encoder had them; they live as long as the encoding. */
EQ_API int32_t eq_encoding_states(const eq_encoding * encoding, int32_t index, int32_t nth, eq_block_states * states);

/* ---- contexts ----------------------------------------------------------------------------------------------------- */

typedef struct eq_context eq_context;
typedef struct eq_sampler eq_sampler;

typedef struct eq_context_params {
    int32_t n_ctx;        /* KV cells, shared by all sequences */
    int32_t n_ubatch;     /* most tokens of one graph execution */
    int32_t n_seq_max;    /* sequences 0 .. n_seq_max - 1, at most 255; one more serves eq_batch.n_padding */
    int32_t n_threads;
    int32_t kv_type;      /* 0 f16, 1 f32, 2 q8_0 */
    int32_t flash_attn;   /* -1 auto, 0 off, 1 on */
    int32_t capture;      /* 1: keep input embeddings and layer outputs for eq_capture_read */
    int32_t draw;         /* where best tokens are found, see eq_pick: 0 host, 1 graph, -1 graph if layers are on a GPU */
} eq_context_params;

EQ_API int32_t eq_context_open(eq_model * model, const eq_context_params * params, eq_context ** context);
EQ_API void    eq_context_close(eq_context * context);

/* Whether flash attention is on, resolved. */
EQ_API int32_t eq_context_flash_attn(const eq_context * context);

/* Whether best tokens are found in the graph, resolved. */
EQ_API int32_t eq_context_draws_in_graph(const eq_context * context);

/* Rows of logits so far that left the graph's memory for the host's eyes. */
EQ_API int64_t eq_context_rows_read(const eq_context * context);

/* Micro-batches so far that ran the graph of the one before: all but those of another shape, or after a new layer. */
EQ_API int64_t eq_context_graphs_reused(const eq_context * context);

/* Copies sequence from's first n_positions to sequence to (sharing cells); removes a sequence from first_position on. */
EQ_API int32_t eq_sequence_copy(eq_context * context, int32_t from, int32_t to, int32_t n_positions);
EQ_API int32_t eq_sequence_remove(eq_context * context, int32_t sequence, int32_t first_position);

/*
 * Interventions: what acts inside the network on columns of one sequence. They stay until they are replaced; which
 * columns they act on is said with every batch (eq_batch.active). Layers that are asked for for the first time cost a
 * new graph; other vectors, amounts and columns do not.
 */
typedef enum eq_intervention_kind {
    /* What eq_steering_place says, as eqk_steering says; those that do not add make unit vectors of what is given. */
    EQ_STEER_ADD           = 0,
    EQ_STEER_ADD_NORMED    = 1,
    EQ_STEER_ABLATE        = 2,
    EQ_STEER_CLAMP         = 3,
    EQ_STEER_ROTATE        = 4,
    EQ_STEER_TURN          = 5,
    EQ_STEER_TURN_AWARE    = 6,
    EQ_STEER_ROTATE_TOWARD = 7,
    EQ_STEER_ADD_CAPPED    = 8,
    EQ_STEER_ADD_SIGNED    = 9,
    EQ_ATTENTION_BIAS = 16, /* amount, within +-1000, is added to the scores of labelled keys before the softmax;
                               -INFINITY hides them, but never a token from itself */
    EQ_QUERY_SCALE    = 17, /* queries are multiplied by amount, within +-10000, and so are their scores */
    EQ_SILENCE        = 18, /* input embeddings become 0 */
    /* These take the attention of their layers off the flash path, from the first one that is set on. */
    EQ_SCORES_RAISE   = 19, /* eqk_scores_raise: labels; amount is alpha, within +-100 */
    EQ_SCORES_SCALE   = 20, /* eqk_scores_scale: labels, within +-100 */
    EQ_WEIGHTS_MOVE   = 21, /* eqk_weights_move: labels to other_labels; amount is the threshold, 0 .. 1,
                               parameters {fraction} */
    EQ_WEIGHTS_SINKS  = 22, /* eqk_weights_sinks: labels; amount is tau, at least 0, parameters {rho, mass, keep};
                               dimensions are those by which a key is a sink, read from the state that enters the block */
    EQ_WEIGHTS_READ   = 23, /* changes nothing: eq_attention_read tells what was seen */
    EQ_ATTENDED_BIAS  = 28, /* amount, within +-1000, is added at layers to the scores of what eqk_keys_attended finds in a
                               lower layer, in the same decode and for each column by itself: labels, parameters {keep,
                               that layer}, which alone leaves the flash path. One a sequence at most */
    /* The rest changes no attention. */
    EQ_STATES_READ    = 24, /* changes nothing: eq_states_read tells what was seen, at eq_steering_place */
    /* Early exits: layers may have -1, the input embeddings; parameters {1: after the final norm, 0: without it}. */
    EQ_EXITS_MEAN     = 25, /* eqk_exits_mean over the layers' logits; amount is the weight */
    EQ_EXITS_CONTRAST = 26, /* eqk_exits_contrast; amount is relative_top, a second parameter the eqk_divergence */
    EQ_MUTE           = 27, /* what eq_steering_place says becomes 0 */
    /* And one more that takes attention off the flash path. */
    EQ_WEIGHTS_MUTE   = 29  /* a query's weights become 0 in each head, but the values' sum with them, where the latest
                               column of its sequence in the micro-batch has a weight of more than amount, 0 .. 1, on its
                               key in that head; after all other edits of weights. One a sequence at most */
} eq_intervention_kind;

/* Which of a block's tensors steering acts on. Within a block: only where it is plain, norm, attention, add, norm,
   feed-forward, add. */
typedef enum eq_steering_place {
    EQ_AT_LAYER     = 0, /* the output of the block */
    EQ_AT_MLP       = 1, /* what its feed-forward adds to the residual */
    EQ_AT_ATTENTION = 2, /* what its attention adds to the residual */
    EQ_AT_NORM      = 3, /* the outputs of both its norms */
    EQ_AT_EMBEDDING = 4  /* of layer 0 alone: the embeddings that enter it, before any factor that a model puts on them */
} eq_steering_place;

typedef struct eq_intervention {
    const int32_t * layers;     /* [n_layers], each once; NULL for EQ_SILENCE */
    const float *   vectors;    /* steering: [n_layers][n_embd], for rotations [n_layers][2][n_embd]; else NULL.
                                   amount times a vector is at most 1e15 long */
    const uint8_t * heads;      /* attention: [n_heads], 0 or 1, NULL for all; n_heads as the layers have */
    const int32_t * dimensions; /* EQ_WEIGHTS_SINKS: [n_dimensions], 0 .. n_embd - 1 */
    uint64_t        labels;     /* bit l: keys that carry label l */
    uint64_t        other_labels;
    int32_t         kind;
    int32_t         n_layers;
    int32_t         n_heads;
    int32_t         n_dimensions;
    int32_t         at;         /* eq_steering_place */
    float           amount;
    float           parameters[3];
    int32_t         reserved; /* 0 */
} eq_intervention;

typedef struct eq_intervention_report {
    int64_t columns;      /* columns it acted on, counted at its lowest layer */
    int64_t applications; /* columns times layers */
    double  delta;        /* sum over applications of the L2 norm of the change: of the hidden state, the queries, the
                             embedding or the logits; of the scores or weights of all heads together, where
                             EQ_ATTENTION_BIAS counts a hidden key as 1 and one head */
} eq_intervention_report;

/* Replaces the interventions of a sequence by list[n], n <= 64, copied. EQ_UNAVAILABLE: the model has no such seam. */
EQ_API int32_t eq_interventions_set(eq_context * context, int32_t sequence, const eq_intervention * list, int32_t n);

/* What a sequence's n interventions have done since they were set: reports[n]. */
EQ_API int32_t eq_interventions_report(eq_context * context, int32_t sequence, eq_intervention_report * reports,
                                       int32_t n);

/*
 * What EQ_WEIGHTS_READ, a sequence's intervention number index, has seen at one of its layers since it was set.
 * mass[n_heads][64]: weight on the keys of each label, summed over *n_queries queries. rows[n_heads][n_columns]: of the
 * latest query, each head's weight on each of its branch's columns (eq_batch.columns), 0 of heads that are not read;
 * after eq_sequence_remove the next one is the latest. n_heads must be the layer's.
 */
EQ_API int32_t eq_attention_read(eq_context * context, int32_t sequence, int32_t index, int32_t layer, double * mass,
                                 int32_t n_heads, float * rows, int32_t n_columns, int64_t * n_queries);

/* What EQ_STATES_READ has seen at one of its layers since it was set: sum[n_embd] over *n_states states. */
EQ_API int32_t eq_states_read(eq_context * context, int32_t sequence, int32_t index, int32_t layer, double * sum,
                              int64_t * n_states);

/* Heads of a layer's queries, 0 where the graph has no seam for attention. */
EQ_API int32_t eq_context_heads(const eq_context * context, int32_t layer);

/*
 * Merges two sequences at the output of a block below the last: the k-th column of the first in a batch becomes
 * w * first + (1 - w) * second with the k-th of the second, w being eq_batch.merge_weights of the first. Of the second
 * nothing is computed above that block: its columns cannot be outputs, its cells there hold nothing, and what is set on
 * it does not act there. Every batch must hold equally many columns of both, or none of the second. A sequence is in one
 * merge at most, which may change or end (second -1) when the second is empty.
 */
EQ_API int32_t eq_merge_set(eq_context * context, int32_t first, int32_t second, int32_t layer);

/* What the merge of a first sequence did to its columns since it was set. */
EQ_API int32_t eq_merge_report(eq_context * context, int32_t first, eq_intervention_report * report);

/* A node of ours in a graph. */
typedef struct eq_placement {
    const char * why;       /* what keeps it on the CPU, in words, for as long as the library is loaded; NULL on a device */
    int32_t      item;      /* whose: number in the list; n the merge's, n + 1 the groups', n + 2 that of best tokens */
    int32_t      layer;     /* -1: the input embeddings' or the logits' */
    int32_t      on_device;
    int32_t      reserved;
} eq_placement;

/*
 * Where what acts would run in a step: all that was ever set, and list[n] and a merge at a layer (-1: none) besides, which
 * are not set. As llama.cpp divides that graph, not as it should. Nothing is decoded, but the rows of the last decode are
 * gone, and the next one builds its graph anew. *n_placements: 0 where all of the context is on the CPU; more than capacity:
 * EQ_BAD_INPUT. n_splits[2]: parts that alternate between devices, of the graph as it is and of that one.
 */
EQ_API int32_t eq_context_placements(eq_context * context, const eq_intervention * list, int32_t n, int32_t merge_layer,
                                     eq_placement * placements, int32_t capacity, int32_t * n_placements,
                                     int32_t * n_splits);

#define EQ_SHARER_WORDS 4 /* of 64 sequences each */

/* Tokens or embedding rows for one decode, in column order. */
typedef struct eq_batch {
    const int32_t * tokens;     /* [n_tokens], or NULL */
    const float *   embeddings; /* [n_tokens][n_embd_inp], or NULL */
    const int32_t * positions;  /* tokens: [n_tokens]; embeddings: [n_pos_per_embd][n_tokens], absolute */
    const int32_t * sequences;  /* [n_tokens] */
    const int8_t *  outputs;    /* [n_tokens]: 1 where a logits row is wanted */
    /* What follows may be NULL: nothing is active, labels are 0, weights 0.5. */
    const uint64_t * active;       /* [n_tokens]: bit k: intervention k of the column's sequence acts on it */
    const uint8_t * labels;        /* [n_tokens]: 0 .. 63, what the column is to attention edits, as a key; forgotten of
                                      what is decoded before the context's first EQ_ATTENTION_BIAS is set */
    const float *   merge_weights; /* [n_tokens]: weight of the first sequence of a merge, at its columns, 0 .. 1 */
    const int32_t * columns;       /* [n_tokens]: number of the column in its branch, for EQ_WEIGHTS_READ and
                                      EQ_ATTENDED_BIAS; NULL: none */
    const uint64_t * sharers;      /* [n_tokens][EQ_SHARER_WORDS]: bit s: the column's cell is sequence s's too, which has
                                      the same cells before the batch and no part in a merge; what acts is the column's
                                      own sequence's. NULL: nobody's */
    int32_t         n_tokens;
    int32_t         non_causal; /* 1: all of it in one micro-batch, attending in both directions */
    int32_t         n_padding;  /* that many columns at the end are nobody's: tokens of sequence n_seq_max, not outputs,
                                   which is emptied again after the decode; each takes a free cell meanwhile */
    int32_t         reserved;   /* 0 */
} eq_batch;

/*
 * One request's branches: their rows become one, written over the base row. Branch k is the column of the batch whose
 * sequence is sequences[k] and which is an output; all of a group's columns must lie in one micro-batch.
 *
 * With `after` the same arithmetic runs when the graph has ended, as the group's pick is drawn: then rows may be such as
 * a gate kept (eq_pick.gate), and the combined row is written over that of the pick's column, which is any column of the
 * group.
 */
typedef struct eq_group {
    const int32_t * sequences;         /* [n_branches], base first */
    const float *   coefficients;      /* [n_branches] */
    int32_t         n_branches;
    int32_t         log_probabilities; /* 0 or 1 */
    float           plausibility;      /* beta, 0 .. 1 */
    int32_t         after;             /* 0: in the graph; 1: after it */
    /* With `after`, or NULL: called by eq_decode's thread before the group is combined, with the entropies of the rows'
       softmax in nats, entropies[n_branches]; it writes the coefficients that the group points at. */
    void (*weigh)(int32_t group, const float * entropies);
    float           cut_value;         /* what the pick's row has where the cut-off takes a token; 0: -INFINITY */
    int32_t         reserved;          /* 0 */
} eq_group;

/*
 * Whether a row as it stands is enough. Of a pick without a group an open gate keeps the row as that of its column's
 * sequence, until something of the sequence is removed or another is kept, and draws nothing. Of a pick with one,
 * which combines after the graph and whose base row is that of the pick's column, it is combined and drawn from where
 * the gate is open; where it is shut, the base row is.
 */
typedef enum eq_gate_kind {
    EQ_GATE_NONE             = 0,
    EQ_GATE_ENTROPY_ABOVE    = 1, /* open: entropy of the softmax, in nats, > gate_threshold */
    EQ_GATE_CONFIDENCE_BELOW = 2  /* open: largest probability of the softmax < gate_threshold */
} eq_gate_kind;

/*
 * How one row becomes a token, and what is told of it. Of a pick without sampler, gate, best tokens to report and a group
 * that combines after the graph, a context that draws in the graph brings the token's id out and leaves the row where it
 * is; it is the token that the host would take.
 */
typedef struct eq_pick {
    eq_sampler * sampler;     /* NULL: the best token */
    int32_t      column;      /* in: the batch column whose row it is */
    int32_t      group;       /* in: index of the row's group, or -1 */
    int32_t      n_top;       /* in: how many best tokens to report, at most EQ_TOP_MAX */
    int32_t      gate;        /* in: eq_gate_kind */
    float        gate_threshold; /* in */
    int32_t      status;      /* out: EQ_OK; EQ_BAD_INPUT: grammar and cut-off leave no token; EQ_INTERNAL: the row is
                                 not finite. A pick that fails leaves the others alone. */
    int32_t      token;       /* out, -1 on failure or when the row was kept */
    float        log_probability; /* out: of the token, when n_top > 0 */
    int32_t      ends;        /* out: 1 if the token ends the turn */
    int32_t      n_bytes;     /* out: length of bytes */
    int32_t      gate_open;   /* out: 1 if the row was kept, or combined, instead of drawn from */
    float        gate_value;  /* out: what the gate compared with its threshold */
    int32_t      changed;     /* out: 1 if the best token of a group combined after the graph is another than its base
                                 row's */
    int32_t      reserved;    /* 0 */
    double       delta_norm;  /* out: L2 norm of the group's change to its base row, over kept tokens */
    int64_t      kept;        /* out: tokens the cut-off kept */
    char         bytes[256];  /* out: the token's text, not zero-terminated */
} eq_pick;

#define EQ_TOP_MAX 100

/*
 * Decodes a batch: groups are combined inside the graph, then every pick is drawn. top_tokens and top_log_probabilities
 * are [n_picks][EQ_TOP_MAX] or NULL when no pick wants any. Groups and picks may be empty (prefill).
 */
EQ_API int32_t eq_decode(eq_context * context, const eq_batch * batch, const eq_group * groups, int32_t n_groups,
                         eq_pick * picks, int32_t n_picks, int32_t * top_tokens, float * top_log_probabilities);

/* Copies the row of a column of the last batch, as combined: logits[n_vocab]. */
EQ_API int32_t eq_logits(eq_context * context, int32_t column, float * logits);

/*
 * What the seams saw of layer il (-1: input embeddings) during the last eq_decode, one row of n_embd per column (of the
 * last layer, in most models: per output). The columns of merges' second sequences come before all others, as they are
 * before they are merged, and above the highest of these merges not at all. *n_rows: how many there are. values may be
 * NULL to ask for the number.
 */
EQ_API int32_t eq_capture_read(eq_context * context, int32_t il, float * values, int64_t capacity, int32_t * n_rows);

/* ---- samplers ----------------------------------------------------------------------------------------------------- */

typedef struct eq_sampler_params {
    double       temperature; /* 0: the best token that grammar and penalties leave */
    int32_t      top_k;       /* 0: all */
    double       top_p;       /* 1: all */
    double       min_p;       /* 0: all */
    double       repeat_penalty;
    int32_t      repeat_window;
    uint32_t     seed;
    const char * grammar;     /* GBNF, or NULL */
    const int32_t * bias_tokens; /* [n_bias], or NULL: tokens whose logits are shifted before all else */
    const float *   bias;        /* [n_bias], finite: by how much */
    int32_t         n_bias;
    double          frequency_penalty; /* taken from the logit of a recent token each time it occurs; 0: none */
    double          presence_penalty;  /* taken from it once; 0: none */
} eq_sampler_params;

EQ_API int32_t eq_sampler_open(const eq_model * model, const eq_sampler_params * params, eq_sampler ** sampler);
EQ_API void    eq_sampler_close(eq_sampler * sampler);

#ifdef __cplusplus
}
#endif

#endif
