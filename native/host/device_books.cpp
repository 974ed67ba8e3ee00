#include "device_books.hpp"

#include "equipoise_edits.h"

#include "ggml-alloc.h"
#include "ggml-backend.h"

#include <algorithm>

namespace eq {

namespace {

// A context for descriptions alone; the data go into a buffer of the device.
ggml_context_ptr descriptions() {
    return ggml_context_ptr(ggml_init({8 * ggml_tensor_overhead(), nullptr, true}));
}

// As weights, since the scheduler runs a node where its weights are, and copies nothing then.
ggml_backend_buffer_ptr buffer_of(ggml_context * context, ggml_backend_buffer_type_t where) {
    ggml_backend_buffer_ptr made(ggml_backend_alloc_ctx_tensors_from_buft(context, where));
    if (made) {
        ggml_backend_buffer_set_usage(made.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        ggml_backend_buffer_clear(made.get(), 0);
    }
    return made;
}

// So many numbers with what they are at first; without a buffer where there is no memory for them.
void make(device_books::numbers & to, ggml_type type, size_t n, const void * first, ggml_backend_buffer_type_t where) {
    to.context = descriptions();
    to.tensor  = ggml_new_tensor_1d(to.context.get(), type, (int64_t) n);
    to.buffer  = buffer_of(to.context.get(), where);
    if (to.buffer) {
        ggml_backend_tensor_set(to.tensor, first, 0, ggml_nbytes(to.tensor));
    }
}

} // namespace

device_books::device_books(int32_t n_sequences, std::vector<ggml_backend_buffer_type_t> by_layer)
    : sequences(n_sequences), places(std::move(by_layer)) {
    for (const ggml_backend_buffer_type_t where : places) {
        const auto same = [&](const auto & known) { return known->where == where; };
        if (where && std::none_of(devices.begin(), devices.end(), same)) {
            devices.push_back(std::make_unique<book>());
            devices.back()->where = where;
        }
    }
}

const device_books::book * device_books::of(int32_t il) { return find(il); }

device_books::book * device_books::known_of(int32_t il) const {
    if (il < 0 || (size_t) il >= places.size() || !places[(size_t) il]) {
        return nullptr;
    }
    for (const auto & known : devices) {
        if (known->where == places[(size_t) il]) {
            return known.get();
        }
    }
    return nullptr;
}

device_books::book * device_books::find(int32_t il) {
    book * const known = known_of(il);
    return known && allocate(*known) && allocate_vectors(*known) && allocate_sums(*known) ? known : nullptr;
}

ggml_tensor * device_books::ledger_of(int32_t il, size_t cache, const std::vector<uint8_t> & labels) {
    book * const of = find(il);
    if (!of) {
        return nullptr;
    }
    numbers & to = of->ledgers[cache].labels;
    if (!to.buffer) {
        make(to, GGML_TYPE_I8, labels.size(), labels.data(), of->where);
    }
    return to.buffer ? to.tensor : nullptr;
}

ggml_tensor * device_books::sinkness_of(int32_t il, size_t cache, const std::vector<float> & known, bool & is_new) {
    book * const of = find(il);
    is_new          = false;
    if (!of) {
        return nullptr;
    }
    numbers & to = of->ledgers[cache].sinkness[il];
    if (!to.buffer) {
        make(to, GGML_TYPE_F32, known.size(), known.data(), of->where);
        is_new = to.buffer != nullptr;
    }
    return to.buffer ? to.tensor : nullptr;
}

bool device_books::take_sinkness(int32_t il, size_t cache, std::vector<float> & to) {
    book * const of = known_of(il);
    if (!of) {
        return false;
    }
    auto &     layers = of->ledgers[cache].sinkness;
    const auto at     = layers.find(il);
    if (at == layers.end() || !at->second.buffer) {
        return false;
    }
    ggml_backend_tensor_get(at->second.tensor, to.data(), 0, to.size() * sizeof(float));
    layers.erase(at);
    return true;
}

std::vector<ggml_tensor *> device_books::ledgers_of(size_t cache) const {
    std::vector<ggml_tensor *> found;
    for (const auto & each : devices) {
        const auto at = each->ledgers.find(cache);
        if (at != each->ledgers.end() && at->second.labels.buffer) {
            found.push_back(at->second.labels.tensor);
        }
    }
    return found;
}

bool device_books::allocate(book & to) {
    if (!to.buffer) {
        to.context = descriptions();
        to.words   = ggml_new_tensor_1d(to.context.get(), GGML_TYPE_I32,
                                        eqk::edit_book::n_words(sequences, (int32_t) places.size() - 1));
        to.deltas  = ggml_new_tensor_1d(to.context.get(), GGML_TYPE_F32, (int64_t) sequences * eqk::most_edits * 2);
        to.merged  = ggml_new_tensor_1d(to.context.get(), GGML_TYPE_F32, (int64_t) sequences * 2);
        to.buffer  = buffer_of(to.context.get(), to.where);
        stale      = true;
    }
    return to.buffer != nullptr;
}

bool device_books::allocate_vectors(book & to) {
    if (!to.vectors_buffer) {
        to.vectors_context = descriptions();
        const int64_t n    = std::max<int64_t>(capacity, 1);
        to.vectors         = ggml_new_tensor_1d(to.vectors_context.get(), GGML_TYPE_F32, n);
        to.vectors_buffer  = buffer_of(to.vectors_context.get(), to.where);
        stale              = true;
    }
    return to.vectors_buffer != nullptr;
}

bool device_books::reserve(int64_t n_floats) {
    if (n_floats <= capacity) {
        return false;
    }
    // Twice as much, so that requests that come and go settle soon: graphs are built again each time.
    capacity = std::max(n_floats, 2 * capacity);
    for (const auto & each : devices) {
        each->vectors_buffer.reset();
    }
    return true;
}

bool device_books::allocate_sums(book & to) {
    if (!to.sums.buffer) {
        const std::vector<double> nothing((size_t) std::max<int64_t>(room, 1), 0.0);
        make(to.sums, GGML_TYPE_F32, 2 * nothing.size(), nothing.data(), to.where);
    }
    return to.sums.buffer != nullptr;
}

bool device_books::reserve_sums(int64_t n_doubles) {
    if (n_doubles <= room) {
        return false;
    }
    room = std::max(n_doubles, 2 * room);
    for (const auto & each : devices) {
        each->sums = {};
    }
    return true;
}

void device_books::take_sums(double * to, size_t n) {
    std::vector<double> found(n);
    for (const auto & each : devices) {
        if (each->sums.buffer) {
            ggml_backend_tensor_get(each->sums.tensor, found.data(), 0, n * sizeof(double));
            ggml_backend_buffer_clear(each->sums.buffer.get(), 0);
            for (size_t i = 0; i < n; i++) {
                to[i] += found[i];
            }
        }
    }
}

void device_books::write(std::vector<int32_t> words, std::vector<float> vectors) {
    image   = std::move(words);
    floats  = std::move(vectors);
    stale   = true;
}

void device_books::upload() {
    if (!stale || image.empty()) {
        return;
    }
    for (const auto & each : devices) {
        if (each->buffer && each->vectors_buffer) {
            ggml_backend_tensor_set(each->words, image.data(), 0, image.size() * sizeof(int32_t));
            ggml_backend_tensor_set(each->vectors, floats.data(), 0, floats.size() * sizeof(float));
        }
    }
    stale = false;
}

void device_books::clear_deltas(int32_t sequence) {
    constexpr double nothing[eqk::most_edits] = {};
    for (const auto & each : devices) {
        if (each->buffer) {
            ggml_backend_tensor_set(each->deltas, nothing, (size_t) sequence * sizeof(nothing), sizeof(nothing));
        }
    }
}

void device_books::add_deltas(int32_t sequence, double * sums) const {
    double found[eqk::most_edits];
    for (const auto & each : devices) {
        if (each->buffer) {
            ggml_backend_tensor_get(each->deltas, found, (size_t) sequence * sizeof(found), sizeof(found));
            for (size_t k = 0; k < eqk::most_edits; k++) {
                sums[k] += found[k];
            }
        }
    }
}

void device_books::clear_merged(int32_t sequence) {
    constexpr double nothing = 0;
    for (const auto & each : devices) {
        if (each->buffer) {
            ggml_backend_tensor_set(each->merged, &nothing, (size_t) sequence * sizeof(nothing), sizeof(nothing));
        }
    }
}

double device_books::merged(int32_t sequence) const {
    double sum = 0;
    for (const auto & each : devices) {
        if (each->buffer) {
            double found = 0;
            ggml_backend_tensor_get(each->merged, &found, (size_t) sequence * sizeof(found), sizeof(found));
            sum += found;
        }
    }
    return sum;
}

} // namespace eq
