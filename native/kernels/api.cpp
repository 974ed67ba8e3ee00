// The C ABI over the tier's kernels: arguments, slices, statuses, marks.

#include "arguments.h"
#include "arith.h"
#include "kernel_list.h"

#include <algorithm>

namespace eqk {
namespace {

// Leaves a failure where whoever reads the results will find it; returns it.
int32_t fail(eqk_partial * partials, int32_t slice_first, int32_t slice_last, int32_t status) {
    if (partials && are_slices(slice_first, slice_last)) {
        std::fill(partials + slice_first, partials + slice_last, eqk_partial{NAN, NAN});
    }
    return status;
}

int32_t fail(const eqk_contrast_args * a, int32_t status) {
    if (!a || !are_slices(a->slice_first, a->slice_last)) {
        return status;
    }
    for (int32_t s = a->slice_first; s < a->slice_last; s++) {
        if (is_row(a->out, a->n_vocab)) {
            const span at = slice_span(a->n_vocab, s);
            std::fill(a->out + at.first, a->out + at.last, NAN);
        }
        if (a->report) {
            a->report[s] = {NAN, -status};
        }
    }
    return status;
}

int32_t contrast_slices(const kernels & k, const eqk_contrast_args & a) {
    const combination group = {a.rows,        a.stride,
                               a.row_index,   a.coefficient,
                               a.log_probabilities ? a.row_lse : nullptr, a.n_branches};
    const float       limit = cut_off(a.row_max[0], *a.beta);
    int32_t           worst = EQK_OK;
    for (int32_t s = a.slice_first; s < a.slice_last; s++) {
        const span     at   = slice_span(a.n_vocab, s);
        const combined part = k.contrast(group, limit, at.first, at.last, a.out);
        if (part.finite) {
            a.report[s] = {part.delta_sq, part.kept};
        } else {
            a.report[s] = {NAN, -EQK_NOT_FINITE};
            worst       = EQK_NOT_FINITE;
        }
    }
    return worst;
}

} // namespace
} // namespace eqk

using namespace eqk;

uint32_t eqk_abi_version(void) {
    return EQK_ABI_VERSION;
}

const char * eqk_status_text(int32_t status) {
    switch (status) {
        case EQK_OK:           return "ok";
        case EQK_BAD_ARGUMENT: return "bad argument";
        case EQK_NOT_FINITE:   return "NaN or infinity in the logits or their combination";
        case EQK_EMPTY_ROW:    return "no token can be drawn: every logit is masked";
        case EQK_UNAVAILABLE:  return "unavailable on this machine or in this build";
        case EQK_CUDA_ERROR:   return "CUDA call failed";
        default:               return "unknown status";
    }
}

int32_t eqk_slice_bounds(int64_t n_vocab, int32_t slice, int64_t * first, int64_t * last) {
    if (n_vocab < 1 || n_vocab > INT32_MAX || slice < 0 || slice >= EQK_SLICES || !first || !last) {
        return EQK_BAD_ARGUMENT;
    }
    const span at = slice_span(n_vocab, slice);
    *first        = at.first;
    *last         = at.last;
    return EQK_OK;
}

int32_t eqk_row_partials(const float * row, int64_t n_vocab, int32_t slice_first, int32_t slice_last,
                         eqk_partial * partials) {
    const kernels * k = active_kernels();
    if (!k) {
        return fail(partials, slice_first, slice_last, EQK_UNAVAILABLE);
    }
    if (!is_row(row, n_vocab) || !are_slices(slice_first, slice_last) || !partials) {
        return fail(partials, slice_first, slice_last, EQK_BAD_ARGUMENT);
    }
    int32_t worst = EQK_OK;
    for (int32_t s = slice_first; s < slice_last; s++) {
        const span  at  = slice_span(n_vocab, s);
        const float max = k->maximum(row + at.first, at.last - at.first);
        switch (row_status(max)) {
            case EQK_OK:
                partials[s] = {max, static_cast<float>(k->sum_exp(row + at.first, at.last - at.first, max))};
                break;
            case EQK_EMPTY_ROW:
                partials[s] = {-INFINITY, 0};
                break;
            default:
                partials[s] = {NAN, NAN};
                worst       = EQK_NOT_FINITE;
        }
    }
    return worst;
}

int32_t eqk_row_reduce(const eqk_partial * partials, float * row_max, float * row_lse) {
    if (!partials || !row_max || !row_lse) {
        return EQK_BAD_ARGUMENT;
    }
    float max = -INFINITY;
    for (int32_t s = 0; s < EQK_SLICES && is_logit(max); s++) {
        max = is_logit(partials[s].max) ? std::max(max, partials[s].max) : NAN;
    }
    *row_max = *row_lse = max;
    const int32_t status = row_status(max);
    if (status == EQK_OK) {
        double sum = 0;
        for (int32_t s = 0; s < EQK_SLICES; s++) {
            sum += rescaled_sum(partials[s], max);
        }
        *row_lse = static_cast<float>(max + std::log(sum));
    }
    return status;
}

int32_t eqk_contrast(const eqk_contrast_args * args) {
    const kernels * k = active_kernels();
    if (!k) {
        return fail(args, EQK_UNAVAILABLE);
    }
    if (!args || !is_row(args->rows, args->n_vocab) || !are_slices(args->slice_first, args->slice_last) ||
        !is_group(*args)) {
        return fail(args, EQK_BAD_ARGUMENT);
    }
    const int32_t status = rows_status(args->row_max, args->row_lse, args->n_branches);
    return status == EQK_OK ? contrast_slices(*k, *args) : fail(args, status);
}

int32_t eqk_contrast_reduce(const eqk_contrast_partial * report, double * delta_sq, int64_t * kept) {
    if (!report || !delta_sq || !kept) {
        return EQK_BAD_ARGUMENT;
    }
    double  sum    = 0;
    int64_t count  = 0;
    int32_t status = EQK_OK;
    for (int32_t s = 0; s < EQK_SLICES; s++) {
        if (report[s].kept >= 0) {
            sum += report[s].delta_sq;
            count += report[s].kept;
        } else if (status != EQK_NOT_FINITE) { // which outweighs whatever else was marked
            status = static_cast<int32_t>(-report[s].kept);
        }
    }
    if (status == EQK_OK && count == 0) {
        status = EQK_EMPTY_ROW;
    }
    *kept     = status == EQK_OK ? count : 0;
    *delta_sq = status == EQK_OK ? sum : NAN;
    return status;
}

int32_t eqk_contrast_rows(const float * rows, int64_t stride, int64_t n_vocab, const int32_t * row_index,
                          const float * coefficient, int32_t n_branches, int32_t log_probabilities, float beta,
                          float * row_max, float * row_lse, float * out, double * delta_sq, int64_t * kept) {
    eqk_contrast_partial    report[EQK_SLICES];
    const eqk_contrast_args args = {rows,    stride,  n_vocab, row_index, coefficient, &beta,
                                    row_max, row_lse, out,     report,    n_branches,  log_probabilities,
                                    0,       EQK_SLICES};
    if (!active_kernels()) {
        return EQK_UNAVAILABLE;
    }
    if (!is_row(rows, n_vocab) || !is_group(args) || !delta_sq || !kept) {
        return EQK_BAD_ARGUMENT;
    }
    for (int32_t b = 0; b < n_branches; b++) {
        eqk_partial partials[EQK_SLICES];
        eqk_row_partials(rows + row_index[b] * stride, n_vocab, 0, EQK_SLICES, partials); // reduce sees its marks
        eqk_row_reduce(partials, &row_max[b], &row_lse[b]);
    }
    eqk_contrast(&args);
    return eqk_contrast_reduce(report, delta_sq, kept);
}

int32_t eqk_argmax(const float * row, int64_t n, int64_t * index) {
    const kernels * k = active_kernels();
    if (!k) {
        return EQK_UNAVAILABLE;
    }
    if (!is_row(row, n) || !index) {
        return EQK_BAD_ARGUMENT;
    }
    const float   max    = k->maximum(row, n);
    const int32_t status = row_status(max);
    *index               = status == EQK_OK ? k->find(row, n, max) : -1;
    return status;
}

int32_t eqk_entropy(const float * row, int64_t n, float row_max, float * nats) {
    const kernels * k = active_kernels();
    if (!k) {
        return EQK_UNAVAILABLE;
    }
    if (!is_row(row, n) || !nats) {
        return EQK_BAD_ARGUMENT;
    }
    const int32_t status = row_status(row_max);
    if (status != EQK_OK) {
        *nats = NAN;
        return status;
    }
    // -sum p ln p with p = e^d / S is ln S + sum(-d e^d) / S: no term cancels another.
    const exp_sums sums = k->sum_exp_weighted(row, n, row_max);
    *nats               = static_cast<float>(std::log(sums.plain) + sums.weighted / sums.plain);
    return EQK_OK;
}
