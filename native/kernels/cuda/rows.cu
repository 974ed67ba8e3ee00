// The kernels on rows of logits: a block for each body of rows_blocks.h, and their launchers.

#include "graph_arguments.h"
#include "launch.h"
#include "rows_blocks.h"

namespace eqk {
namespace {

using slice_block  = device_block<slice_threads>;
using row_block    = device_block<row_threads>;
using reduce_block = device_block<reduce_threads>;

__global__ void row_partials_kernel(const float * rows, int64_t stride, int64_t n_vocab, const int32_t * row_index,
                                    eqk_partial * partials) {
    __shared__ partials_shared<slice_block> shared;
    slice_partials(slice_block(), shared, rows + row_index[blockIdx.y] * stride, n_vocab,
                   static_cast<int32_t>(blockIdx.x), partials + blockIdx.y * EQK_SLICES);
}

__global__ void row_reduce_kernel(const eqk_partial * partials, float * row_max, float * row_lse) {
    __shared__ reduce_shared<reduce_block> shared;
    row_reduce(reduce_block(), shared, partials + blockIdx.x * EQK_SLICES, row_max + blockIdx.x, row_lse + blockIdx.x);
}

__global__ void contrast_kernel(eqk_contrast_args a) {
    __shared__ contrast_shared<slice_block> shared;
    slice_contrast(slice_block(), shared, a, a.slice_first + static_cast<int32_t>(blockIdx.x));
}

__global__ void argmax_kernel(const float * rows, int64_t stride, int64_t n, const int32_t * row_index,
                              int64_t * index) {
    __shared__ argmax_shared<row_block> shared;
    row_argmax(row_block(), shared, rows + row_index[blockIdx.x] * stride, n, index + blockIdx.x);
}

__global__ void entropy_kernel(const float * rows, int64_t stride, int64_t n, const int32_t * row_index,
                               const float * row_max, float * nats) {
    __shared__ entropy_shared<row_block> shared;
    row_entropy(row_block(), shared, rows + row_index[blockIdx.x] * stride, n, row_max[blockIdx.x], nats + blockIdx.x);
}

__global__ void groups_partials_kernel(eqk_groups_args a) {
    __shared__ partials_shared<slice_block> shared;
    groups_partials(slice_block(), shared, a, static_cast<int32_t>(blockIdx.x), static_cast<int32_t>(blockIdx.y));
}

__global__ void groups_reduce_kernel(eqk_groups_args a) {
    __shared__ reduce_shared<reduce_block> shared;
    groups_reduce(reduce_block(), shared, a, static_cast<int32_t>(blockIdx.x));
}

__global__ void groups_contrast_kernel(eqk_groups_args a) {
    __shared__ contrast_shared<slice_block> shared;
    groups_contrast(slice_block(), shared, a, static_cast<int32_t>(blockIdx.x), static_cast<int32_t>(blockIdx.y));
}

__global__ void choice_slices_kernel(eqk_choice_args a) {
    __shared__ argmax_shared<slice_block> shared;
    choose_in_slice(slice_block(), shared, a, static_cast<int32_t>(blockIdx.x), static_cast<int32_t>(blockIdx.y));
}

__global__ void choice_rows_kernel(eqk_choice_args a) {
    __shared__ argmax_shared<reduce_block> shared;
    choose_of_slices(reduce_block(), shared, a, static_cast<int32_t>(blockIdx.x));
}

bool are_rows(const float * rows, int64_t stride, int64_t n, const int32_t * row_index, int32_t n_rows) {
    return is_row(rows, n) && stride >= n && row_index && n_rows >= 1 && n_rows <= most_in_grid;
}

dim3 slices_of(int32_t n_rows) {
    return dim3(EQK_SLICES, static_cast<unsigned>(n_rows));
}

} // namespace

int32_t load_group_kernels() {
    return load_kernels(groups_partials_kernel, groups_reduce_kernel, groups_contrast_kernel, choice_slices_kernel,
                        choice_rows_kernel);
}

} // namespace eqk

using namespace eqk;

int32_t eqk_cuda_row_partials(const float * rows, int64_t stride, int64_t n_vocab, const int32_t * row_index,
                              int32_t n_rows, eqk_partial * partials, void * stream) {
    if (!are_rows(rows, stride, n_vocab, row_index, n_rows) || !partials) {
        return EQK_BAD_ARGUMENT;
    }
    row_partials_kernel<<<slices_of(n_rows), slice_threads, 0, as_stream(stream)>>>(rows, stride, n_vocab, row_index,
                                                                                    partials);
    return launched("row_partials");
}

int32_t eqk_cuda_row_reduce(const eqk_partial * partials, int32_t n_rows, float * row_max, float * row_lse,
                            void * stream) {
    if (!partials || n_rows < 1 || !row_max || !row_lse) {
        return EQK_BAD_ARGUMENT;
    }
    row_reduce_kernel<<<static_cast<unsigned>(n_rows), reduce_threads, 0, as_stream(stream)>>>(partials, row_max,
                                                                                             row_lse);
    return launched("row_reduce");
}

int32_t eqk_cuda_contrast(const eqk_contrast_args * args, void * stream) {
    if (!args || !are_rows(args->rows, args->stride, args->n_vocab, args->row_index, args->n_branches) ||
        !are_slices(args->slice_first, args->slice_last) || !args->coefficient || !args->beta || !args->row_max ||
        !args->row_lse || !args->out || !args->report || args->log_probabilities < 0 || args->log_probabilities > 1) {
        return EQK_BAD_ARGUMENT;
    }
    const unsigned slices = static_cast<unsigned>(args->slice_last - args->slice_first);
    if (slices == 0) {
        return EQK_OK;
    }
    contrast_kernel<<<slices, slice_threads, 0, as_stream(stream)>>>(*args);
    return launched("contrast");
}

int32_t eqk_cuda_argmax(const float * rows, int64_t stride, int64_t n, const int32_t * row_index, int32_t n_rows,
                        int64_t * index, void * stream) {
    if (!are_rows(rows, stride, n, row_index, n_rows) || !index) {
        return EQK_BAD_ARGUMENT;
    }
    argmax_kernel<<<static_cast<unsigned>(n_rows), row_threads, 0, as_stream(stream)>>>(rows, stride, n, row_index,
                                                                                      index);
    return launched("argmax");
}

int32_t eqk_cuda_entropy(const float * rows, int64_t stride, int64_t n, const int32_t * row_index, int32_t n_rows,
                         const float * row_max, float * nats, void * stream) {
    if (!are_rows(rows, stride, n, row_index, n_rows) || !row_max || !nats) {
        return EQK_BAD_ARGUMENT;
    }
    entropy_kernel<<<static_cast<unsigned>(n_rows), row_threads, 0, as_stream(stream)>>>(rows, stride, n, row_index,
                                                                                       row_max, nats);
    return launched("entropy");
}

int32_t eqk_cuda_groups_partials(const eqk_groups_args * args, void * stream) {
    if (!are_groups(args)) {
        return EQK_BAD_ARGUMENT;
    }
    groups_partials_kernel<<<slices_of(args->n_rows), slice_threads, 0, as_stream(stream)>>>(*args);
    groups_reduce_kernel<<<static_cast<unsigned>(args->n_rows), reduce_threads, 0, as_stream(stream)>>>(*args);
    return launched("groups_partials");
}

int32_t eqk_cuda_groups_contrast(const eqk_groups_args * args, void * stream) {
    if (!are_combined_groups(args)) {
        return EQK_BAD_ARGUMENT;
    }
    groups_contrast_kernel<<<slices_of(args->n_rows), slice_threads, 0, as_stream(stream)>>>(*args);
    return launched("groups_contrast");
}

int32_t eqk_cuda_choice(const eqk_choice_args * args, void * stream) {
    if (!is_choice(args)) {
        return EQK_BAD_ARGUMENT;
    }
    choice_slices_kernel<<<slices_of(args->n_rows), slice_threads, 0, as_stream(stream)>>>(*args);
    choice_rows_kernel<<<static_cast<unsigned>(args->n_rows), reduce_threads, 0, as_stream(stream)>>>(*args);
    return launched("choice");
}
