// The bodies of the CUDA kernels on attention masks, run on the host: half precision, the ledger of cells, the bias.

#include "check.h"
#include "edits.h"
#include "emulated.h"
#include "mask_blocks.h"

using namespace test;

namespace {

// Every half is itself again, and what lies between two of them goes to the nearer, from the middle to the even one.
void halves() {
    for (uint32_t bits = 0; bits <= 0xFFFF; bits++) {
        const auto  half = static_cast<uint16_t>(bits);
        const float x    = eqk::float_of_half(half);
        if (std::isnan(x)) {
            CHECK(std::isnan(eqk::float_of_half(eqk::half_of_float(x))), "%04x", bits);
            continue;
        }
        CHECK(eqk::half_of_float(x) == half, "%04x: %.9g, %04x", bits, x, eqk::half_of_float(x));
        if ((bits & 0x7FFF) < 0x7BFF) { // the next one is finite too
            const float next   = eqk::float_of_half(static_cast<uint16_t>(bits + 1));
            const float middle = static_cast<float>((static_cast<double>(x) + next) / 2); // exact: one more bit
            const auto  even   = static_cast<uint16_t>(bits + (bits & 1));
            CHECK(eqk::half_of_float(middle) == even, "%04x and a half", bits);
            CHECK(eqk::half_of_float(std::nextafter(middle, x)) == half, "%04x and less", bits);
            CHECK(eqk::half_of_float(std::nextafter(middle, next)) == bits + 1, "%04x and more", bits);
        }
    }
    CHECK(eqk::half_of_float(1e9f) == 0x7C00 && eqk::half_of_float(-1e9f) == 0xFC00, "overflow");
    CHECK(eqk::half_of_float(65519.99f) == 0x7BFF && eqk::half_of_float(65520) == 0x7C00, "the largest");
}

constexpr int32_t point = 2, layer = 1, layers = 3, sequences = 2, n_cells = 3000;

using mask_block   = emulated_block<eqk::mask_threads>;
using ledger_block = emulated_block<eqk::ledger_threads>;

struct bias {
    uint64_t labels;
    float    amount;
    bool     acts;
    bool     chosen = false; // on keys that each column chose below
};

// Two sequences' edits over labelled cells; token t is of sequence t % 2 and has edits by its bits.
struct scene {
    edit_pages        book{sequences, layers};
    guarded<uint8_t>  labels{n_cells};
    std::vector<bias> edits;

    scene(std::vector<bias> what, random_numbers & random) : edits(std::move(what)) {
        for (int32_t s = 0; s < sequences; s++) {
            for (size_t k = 0; k < edits.size(); k++) {
                int32_t * at = book.put(s, k, edits[k].chosen ? eqk::bias_attended : eqk::bias_keys, point, edits[k].amount);
                eqk::edit_book::put_set(at + eqk::edit_book::labels, edits[k].labels);
                if (edits[k].acts) {
                    book.place(s, k, layer) = 0;
                }
            }
        }
        for (size_t i = 0; i < n_cells; i++) {
            labels[i] = static_cast<uint8_t>(random.below(4) == 0 ? 63 : random.below(3));
        }
    }
};

template <class T> void biases(int32_t n_keys, order of) {
    constexpr int32_t n_tokens = 4, n_columns = 5; // the last row is padding
    random_numbers    random(static_cast<uint64_t>(n_keys));
    scene             s({{1, 0.75f, true},
                         {uint64_t{1} << 63 | 2, -INFINITY, true},
                         {7, 3, false},
                         {3, -2.5f, true},
                         {0, -1000, true, true}},
                        random);
    guarded<int32_t>  tokens(static_cast<size_t>(eqk::token_table::n_words(n_tokens, 0)));
    const uint64_t    masks[n_tokens] = {0, 0b11111, 0b01001, 0b10110};
    for (int32_t t = 0; t < n_tokens; t++) {
        eqk::token_table::put(tokens.data(), t, t % sequences, masks[t], 0);
    }
    guarded<T> in(static_cast<size_t>(n_columns * n_keys)), out(in.length());
    for (size_t i = 0; i < in.length(); i++) {
        in[i]  = value_of<T>(random.below(4) == 0 ? -INFINITY : 0);
        out[i] = value_of<T>(NAN);
    }
    guarded<double> deltas(sequences * eqk::most_edits);
    deltas.fill(0);
    const int64_t    apart = n_keys + 7;
    guarded<uint8_t> attended(static_cast<size_t>(n_tokens * apart));
    for (size_t i = 0; i < attended.length(); i++) {
        attended[i] = random.below(3) == 0;
    }

    eqk_mask_args args = {};
    args.in            = in.data();
    args.out           = out.data();
    args.tokens        = tokens.data();
    args.book          = s.book.words.data();
    args.labels        = s.labels.data();
    args.attended      = attended.data();
    args.deltas        = deltas.data();
    args.attended_column = apart;
    args.in_column = args.out_column = static_cast<int64_t>(static_cast<size_t>(n_keys) * sizeof(T));
    args.n_keys                      = n_keys;
    args.n_columns                   = n_columns;
    args.half                        = sizeof(T) == 2;
    args.n_tokens                    = n_tokens;
    args.n_cells                     = n_cells;
    args.n_sequences                 = sequences;
    args.n_layers                    = layers;
    args.point                       = point;
    args.layer                       = layer;
    for (int32_t c = 0; c < n_columns; c++) {
        unwritten<eqk::mask_shared<mask_block>> memory;
        eqk::bias_row(mask_block{of}, memory.shared, args, c);
    }

    std::vector<double> want(deltas.length(), 0.0);
    for (int32_t c = 0; c < n_columns; c++) {
        std::vector<T> row(in.data() + c * n_keys, in.data() + (c + 1) * n_keys);
        for (size_t k = 0; c < n_tokens && k < s.edits.size(); k++) {
            if (!(masks[c] >> k & 1) || !s.edits[k].acts) {
                continue;
            }
            int64_t keys = 0;
            for (int32_t j = 0; j < n_keys; j++) {
                T & x = row[static_cast<size_t>(j)];
                const bool meant = s.edits[k].chosen
                                       ? attended[static_cast<size_t>(c * apart + j)] != 0
                                       : (s.edits[k].labels >> s.labels[static_cast<size_t>(j)] & 1) != 0;
                if (meant && number_of(x) > -INFINITY) {
                    x = value_of<T>(number_of(x) + s.edits[k].amount);
                    keys++;
                }
            }
            const double each = std::isinf(s.edits[k].amount) ? 1 : std::fabs(s.edits[k].amount);
            want[static_cast<size_t>(c % sequences * eqk::most_edits) + k] +=
                std::sqrt(static_cast<double>(keys)) * each;
        }
        CHECK(memcmp(row.data(), out.data() + c * n_keys, row.size() * sizeof(T)) == 0, "%d keys, row %d", n_keys, c);
    }
    for (size_t k = 0; k < want.size(); k++) { // the same numbers, added in the same order
        CHECK(std::fabs(deltas[k] - want[k]) <= 1e-12 * want[k], "%d keys, edit %zu: %g, not %g", n_keys, k, deltas[k],
              want[k]);
    }
}

void ledgers() {
    for (const int32_t n : {1, 255, 256, 257, 700}) {
        guarded<int64_t> cells(static_cast<size_t>(n));
        guarded<int32_t> tokens(static_cast<size_t>(eqk::token_table::n_words(n, 0)));
        guarded<uint8_t> labels(n_cells);
        memset(labels.data(), 9, n_cells);
        for (int32_t i = 0; i < n; i++) {
            cells[static_cast<size_t>(i)] = n_cells - 1 - 3 * i;
            tokens[static_cast<size_t>(eqk::token_table::token_words * i + 3)] = i % 64;
        }
        for (const order of : orders) {
            eqk::note_labels(ledger_block{of}, eqk_ledger_args{cells.data(), tokens.data(), labels.data(), n, n_cells});
            for (int32_t i = 0; i < n_cells; i++) {
                const int32_t token = (n_cells - 1 - i) / 3;
                const bool    known = (n_cells - 1 - i) % 3 == 0 && token < n;
                CHECK(labels[static_cast<size_t>(i)] == (known ? token % 64 : 9), "%d tokens, cell %d", n, i);
            }
        }
    }
}

} // namespace

int main() {
    halves();
    for (const int32_t n_keys : {1, 2, 31, 256, 1023, 1024, 1025, 2999}) {
        for (const order of : orders) {
            biases<uint16_t>(n_keys, of);
            biases<float>(n_keys, of);
        }
    }
    ledgers();
    return verdict("mask");
}
