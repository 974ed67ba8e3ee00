// The edits of a context in the memory of the CUDA devices whose layers they act in.
#pragma once

#include "ggml-cpp.h"
#include "ggml.h"

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace eq {

// eqk::edit_book and its vectors, once per device, with the norms of the changes that nodes there add up.
class device_books {
public:
    // by_layer: see launch_places. What is asked for by a layer's number is for the head by the number of layers.
    device_books(int32_t sequences, std::vector<ggml_backend_buffer_type_t> by_layer);

    struct numbers {
        ggml_context_ptr        context;
        ggml_backend_buffer_ptr buffer;
        ggml_tensor *           tensor = nullptr;
    };

    // Of each cell of a KV cache: its label, a byte, and by layer how much of a sink it is.
    struct ledger {
        numbers                    labels;
        std::map<int32_t, numbers> sinkness;
    };

    struct book {
        ggml_backend_buffer_type_t where;
        ggml_context_ptr           context;
        ggml_backend_buffer_ptr    buffer;
        ggml_tensor *              words  = nullptr;
        ggml_tensor *              deltas = nullptr; // F32 in ggml's eyes, doubles in ours
        ggml_tensor *              merged = nullptr; // likewise, of merges: one a sequence
        ggml_context_ptr           vectors_context;
        ggml_backend_buffer_ptr    vectors_buffer;
        ggml_tensor *              vectors = nullptr;
        numbers                    sums; // of states that are read: F32 in ggml's eyes, doubles in ours
        std::map<size_t, ledger>   ledgers; // by cache
    };

    bool any() const { return !devices.empty(); }

    // Whether a layer is a device's.
    bool has(int32_t il) const { return il >= 0 && (size_t) il < places.size() && places[(size_t) il]; }

    // The book of a layer's device; null where the layer is the CPU's, or the device has no memory left: then its nodes
    // are the CPU's too. Not while a stream is being captured.
    const book * of(int32_t il);

    // The ledger of a cache on a layer's device, which knows at first what `labels` knows; null like its book.
    ggml_tensor * ledger_of(int32_t il, size_t cache, const std::vector<uint8_t> & labels);

    // All ledgers of a cache that there are.
    std::vector<ggml_tensor *> ledgers_of(size_t cache) const;

    // How much of a sink each cell is at a layer, on its device; null like its book. `is_new`: made just now, of
    // `known`. From then on the device knows it, and the host does not.
    ggml_tensor * sinkness_of(int32_t il, size_t cache, const std::vector<float> & known, bool & is_new);

    // What the device knows goes back to the host, and the tensor goes; false where there was none. Not while it runs.
    bool take_sinkness(int32_t il, size_t cache, std::vector<float> & to);

    // Makes room for so many floats; true if what graphs point at has moved.
    bool reserve(int64_t n_floats);

    // The same for doubles among the sums.
    bool reserve_sums(int64_t n_doubles);

    // Adds the sums of all devices to to[n], and forgets them there.
    void take_sums(double * to, size_t n);

    // What is in force from now on; written to the devices before the next execution.
    void write(std::vector<int32_t> words, std::vector<float> vectors);
    void upload();

    // Forgets what the edits of a sequence changed, and adds it to sums[64].
    void clear_deltas(int32_t sequence);
    void add_deltas(int32_t sequence, double * sums) const;

    // The same of the merge whose first a sequence is.
    void   clear_merged(int32_t sequence);
    double merged(int32_t sequence) const;

private:
    book * find(int32_t il);
    book * known_of(int32_t il) const;
    bool allocate(book & to);
    bool allocate_vectors(book & to);
    bool allocate_sums(book & to);

    const int32_t                                 sequences;
    const std::vector<ggml_backend_buffer_type_t> places;
    std::vector<std::unique_ptr<book>>            devices;
    std::vector<int32_t>                          image;
    std::vector<float>                            floats;
    int64_t                                       capacity = 0;
    int64_t                                       room     = 0; // among the sums
    bool                                          stale    = true;
};

} // namespace eq
