// A build without CUDA answers the same symbols, so that nobody needs to look which build they have.

#include "equipoise_kernels.h"

#include <cstdio>

int32_t eqk_cuda_probe(char * text, int64_t capacity) {
    if (text && capacity > 0) {
        snprintf(text, static_cast<size_t>(capacity), "%s", eqk_cuda_last_error());
    }
    return EQK_UNAVAILABLE;
}

const char * eqk_cuda_last_error(void) {
    return "this library was built without CUDA";
}

int32_t eqk_cuda_row_partials(const float *, int64_t, int64_t, const int32_t *, int32_t, eqk_partial *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_row_reduce(const eqk_partial *, int32_t, float *, float *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_contrast(const eqk_contrast_args *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_argmax(const float *, int64_t, int64_t, const int32_t *, int32_t, int64_t *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_entropy(const float *, int64_t, int64_t, const int32_t *, int32_t, const float *, float *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_contrast_rows(const float *, int64_t, int64_t, const int32_t *, const float *, int32_t, int32_t, float,
                               float *, float *, float *, double *, int64_t *) {
    return EQK_UNAVAILABLE;
}

#ifndef EQUIPOISE_EMULATED_DEVICE // which has these, for the host's graphs

int32_t eqk_cuda_graph_probe(char * text, int64_t capacity) {
    return eqk_cuda_probe(text, capacity);
}

int32_t eqk_cuda_groups_partials(const eqk_groups_args *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_groups_contrast(const eqk_groups_args *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_choice(const eqk_choice_args *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_columns(const eqk_columns_args *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_merges(const eqk_merges_args *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_exits(const eqk_exits_args *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_ledger(const eqk_ledger_args *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_mask(const eqk_mask_args *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_sinks(const eqk_sinks_args *, void *) {
    return EQK_UNAVAILABLE;
}

int32_t eqk_cuda_attention(const eqk_attention_args *, void *) {
    return EQK_UNAVAILABLE;
}

#endif
