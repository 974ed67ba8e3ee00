// What one encoding of a picture does inside its encoder: pixels that are diffused or overwritten before it,
// feed-forward outputs that are turned in it, and block states that are read from it.
#pragma once

#include "equipoise.h"

#include "mtmd.h"

#include "saliency.hpp"

#include <cstdint>
#include <utility>
#include <vector>

namespace eq {

// Hooks of libmtmd for as long as it lives.
class picture_hooks {
public:
    // What params names must stay until this is gone. Throws where params cannot be meant.
    picture_hooks(mtmd_context * encoders, const eq_encode_params & params);
    ~picture_hooks() { mtmd_set_hooks(to, nullptr); }
    picture_hooks(const picture_hooks &)             = delete;
    picture_hooks & operator=(const picture_hooks &) = delete;

    // Throws if something that was asked for was not done in the encoding before.
    void require_done() const;

    // Sum of the norms of what was turned in the encoding before, over layers and positions.
    double delta() const;

private:
    // One layer's feed-forward output.
    struct site {
        const eq_encode_params * params;
        const float *            directions; // [n_positions][width]
        std::vector<double>      deltas;     // [n_positions]
        bool                     fired = false;
    };

    static void          pixels(float * values, size_t n, void * user);
    static ggml_tensor * ffn_out(ggml_context * ctx, ggml_tensor * cur, int il, void * user);
    static void          turn(ggml_tensor * dst, int ith, int nth, void * user);

    void overwrite(float * values, size_t n);

    mtmd_context *           to;
    const eq_encode_params & params;
    std::vector<site>        sites;
    mtmd_hooks               hooks = {};
    bool                     cut   = true; // whether the picture has the patches that were to be overwritten
    int32_t                  noised;
    int64_t                  found_width     = 0; // of the first output that directions do not fit
    int64_t                  found_positions = 0;
};

// The hidden states of an encoder's blocks.
class encoder_states {
public:
    struct states {
        int32_t            layer;
        int32_t            place; // eq_captured
        int64_t            width;
        int64_t            positions;
        std::vector<float> values; // [positions][width]
    };

    // Which states of what is encoded from now on are kept, a sum of eq_captured.
    void watch(int32_t captured);

    bool wants(const ggml_tensor * tensor) const;
    void take(const ggml_tensor * tensor);

    std::vector<states> taken() { return std::move(kept); }

private:
    int32_t             on = 0;
    std::vector<states> kept;
};

// What looks into the encoders; libmtmd's cb_eval takes one of it.
struct encoder_watch {
    encoder_attention attention;
    encoder_states    states;

    static bool seen(ggml_tensor * tensor, bool ask, void * user);
};

} // namespace eq
