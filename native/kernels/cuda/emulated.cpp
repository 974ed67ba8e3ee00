// A build for tests: what a graph launches, on the host, block by block. The bodies are those that nvcc compiles, and
// what a device would refuse is refused.

#include "attention_blocks.h"
#include "columns_blocks.h"
#include "emulated.h"
#include "exits_blocks.h"
#include "graph_arguments.h"
#include "mask_blocks.h"
#include "rows_blocks.h"

#include <cstdio>

using namespace eqk;

namespace {

template <int N, class Body> void grid(int32_t width, int32_t height, Body body) {
    for (int32_t y = 0; y < height; y++) {
        for (int32_t x = 0; x < width; x++) {
            body(test::emulated_block<N>{test::order::scattered}, x, y);
        }
    }
}

} // namespace

int32_t eqk_cuda_graph_probe(char * text, int64_t capacity) {
    snprintf(text, static_cast<size_t>(capacity), "emulated");
    return EQK_OK;
}

int32_t eqk_cuda_groups_partials(const eqk_groups_args * args, void *) {
    if (!are_groups(args)) {
        return EQK_BAD_ARGUMENT;
    }
    grid<slice_threads>(EQK_SLICES, args->n_rows, [=](auto block, int32_t x, int32_t y) {
        test::unwritten<partials_shared<decltype(block)>> memory;
        groups_partials(block, memory.shared, *args, x, y);
    });
    grid<reduce_threads>(args->n_rows, 1, [=](auto block, int32_t x, int32_t) {
        test::unwritten<reduce_shared<decltype(block)>> memory;
        groups_reduce(block, memory.shared, *args, x);
    });
    return EQK_OK;
}

int32_t eqk_cuda_groups_contrast(const eqk_groups_args * args, void *) {
    if (!are_combined_groups(args)) {
        return EQK_BAD_ARGUMENT;
    }
    grid<slice_threads>(EQK_SLICES, args->n_rows, [=](auto block, int32_t x, int32_t y) {
        test::unwritten<contrast_shared<decltype(block)>> memory;
        groups_contrast(block, memory.shared, *args, x, y);
    });
    return EQK_OK;
}

int32_t eqk_cuda_choice(const eqk_choice_args * args, void *) {
    if (!is_choice(args)) {
        return EQK_BAD_ARGUMENT;
    }
    grid<slice_threads>(EQK_SLICES, args->n_rows, [=](auto block, int32_t x, int32_t y) {
        test::unwritten<argmax_shared<decltype(block)>> memory;
        choose_in_slice(block, memory.shared, *args, x, y);
    });
    grid<reduce_threads>(args->n_rows, 1, [=](auto block, int32_t x, int32_t) {
        test::unwritten<argmax_shared<decltype(block)>> memory;
        choose_of_slices(block, memory.shared, *args, x);
    });
    return EQK_OK;
}

int32_t eqk_cuda_columns(const eqk_columns_args * args, void *) {
    if (!are_columns(args)) {
        return EQK_BAD_ARGUMENT;
    }
    grid<column_threads>(args->n_columns, 1, [=](auto block, int32_t x, int32_t) {
        test::unwritten<columns_shared<decltype(block)>> memory;
        edit_column(block, memory.shared, *args, x);
    });
    return EQK_OK;
}

int32_t eqk_cuda_merges(const eqk_merges_args * args, void *) {
    if (!are_merges(args)) {
        return EQK_BAD_ARGUMENT;
    }
    grid<column_threads>(args->n_columns, 1, [=](auto block, int32_t x, int32_t) {
        test::unwritten<columns_shared<decltype(block)>> memory;
        merge_column(block, memory.shared, *args, x);
    });
    return EQK_OK;
}

int32_t eqk_cuda_exits(const eqk_exits_args * args, void *) {
    if (!are_exits(args)) {
        return EQK_BAD_ARGUMENT;
    }
    for (int32_t pass = 0; pass < args->passes; pass++) {
        for (int32_t row = 0; row < args->n_rows; row++) {
            grid<exits_threads>(EQK_SLICES, args->n_exits + 1, [=](auto block, int32_t x, int32_t y) {
                test::unwritten<exits_shared<decltype(block)>> memory;
                exits_logs(block, memory.shared, *args, pass, x, y - 1, row);
            });
        }
        for (int32_t row = 0; row < args->n_rows; row++) {
            grid<exits_threads>(EQK_SLICES, args->n_exits, [=](auto block, int32_t x, int32_t y) {
                test::unwritten<exits_shared<decltype(block)>> memory;
                exits_divergence(block, memory.shared, *args, pass, x, y, row);
            });
        }
        grid<exits_threads>(EQK_SLICES, args->n_rows, [=](auto block, int32_t x, int32_t y) {
            test::unwritten<exits_shared<decltype(block)>> memory;
            exits_edit(block, memory.shared, *args, pass, x, y);
        });
        grid<reduce_threads>(args->n_rows, 1, [=](auto block, int32_t x, int32_t) {
            test::unwritten<exits_shared<decltype(block)>> memory;
            exits_report(block, memory.shared, *args, pass, x);
        });
    }
    return EQK_OK;
}

int32_t eqk_cuda_ledger(const eqk_ledger_args * args, void *) {
    if (!is_ledger(args)) {
        return EQK_BAD_ARGUMENT;
    }
    grid<ledger_threads>(1, 1, [=](auto block, int32_t, int32_t) { note_labels(block, *args); });
    return EQK_OK;
}

int32_t eqk_cuda_mask(const eqk_mask_args * args, void *) {
    if (!is_mask(args)) {
        return EQK_BAD_ARGUMENT;
    }
    grid<mask_threads>(args->n_columns, 1, [=](auto block, int32_t x, int32_t) {
        test::unwritten<mask_shared<decltype(block)>> memory;
        bias_row(block, memory.shared, *args, x);
    });
    return EQK_OK;
}

int32_t eqk_cuda_sinks(const eqk_sinks_args * args, void *) {
    if (!are_sinks(args)) {
        return EQK_BAD_ARGUMENT;
    }
    grid<sinks_threads>(args->n_tokens, 1, [=](auto block, int32_t x, int32_t) {
        test::unwritten<sinks_shared<decltype(block)>> memory;
        note_sinkness(block, memory.shared, *args, x);
    });
    return EQK_OK;
}

int32_t eqk_cuda_attention(const eqk_attention_args * args, void *) {
    if (!is_attention(args)) {
        return EQK_BAD_ARGUMENT;
    }
    grid<attention_threads>(args->n_tokens, args->n_heads, [=](auto block, int32_t x, int32_t y) {
        test::unwritten<attention_shared<decltype(block)>> memory;
        edit_row(block, memory.shared, *args, x, y);
    });
    grid<changes_threads>(args->n_tokens, 1, [=](auto block, int32_t x, int32_t) { add_changes(block, *args, x); });
    return EQK_OK;
}
