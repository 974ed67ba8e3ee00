// The tables by which kernels know what acts on which token, filled for the tests of their bodies; and masks in two types.
#ifndef EQK_TEST_EDITS_H
#define EQK_TEST_EDITS_H

#include "check.h"
#include "equipoise_edits.h"
#include "half.h"

#include <algorithm>
#include <bit>
#include <vector>

namespace test {

// eqk::edit_book of some sequences and layers, with nothing in it but what is put there.
struct edit_pages {
    int32_t          sequences;
    int32_t          layers;
    guarded<int32_t> words;

    edit_pages(int32_t n_sequences, int32_t n_layers)
        : sequences(n_sequences), layers(n_layers),
          words(static_cast<size_t>(eqk::edit_book::n_words(n_sequences, n_layers))) {
        words.fill(-1);
    }

    // Puts an edit there; the words of it.
    int32_t * put(int32_t sequence, size_t edit, int32_t kind, int32_t point, float amount) {
        int32_t * at = words.data() + eqk::edit_book::edit_at(sequence, static_cast<int32_t>(edit));
        at[eqk::edit_book::kind]   = kind;
        at[eqk::edit_book::point]  = point;
        at[eqk::edit_book::amount] = std::bit_cast<int32_t>(amount);
        return at;
    }

    int32_t & place(int32_t sequence, size_t edit, int32_t layer) {
        return words[static_cast<size_t>(
            eqk::edit_book::place_at(sequences, layers, sequence, static_cast<int32_t>(edit), layer))];
    }
};

// What stands in a book's vectors, where reading one too many is noticed.
struct guarded_vectors {
    guarded<float> memory;

    explicit guarded_vectors(const std::vector<float> & from) : memory(std::max<size_t>(from.size(), 1)) {
        std::copy(from.begin(), from.end(), memory.data());
    }
};

// A number of a mask of halves or floats, and what one is.
template <class T> T value_of(float x) {
    if constexpr (sizeof(T) == 2) {
        return eqk::half_of_float(x);
    } else {
        return x;
    }
}

template <class T> float number_of(T x) {
    if constexpr (sizeof(T) == 2) {
        return eqk::float_of_half(x);
    } else {
        return x;
    }
}

} // namespace test

#endif
