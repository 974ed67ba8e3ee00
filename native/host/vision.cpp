#include "vision.hpp"

#include "host.hpp"

#include "equipoise_kernels.h"

#include "ggml-backend.h"

#include <cmath>
#include <cstring>
#include <new>

namespace eq {

picture_hooks::picture_hooks(mtmd_context * encoders, const eq_encode_params & asked)
    : to(encoders), params(asked), noised(EQK_OK) {
    EQ_REQUIRE(!params.masked || params.masked_side >= 1, "patches to overwrite, %d a side", params.masked_side);
    EQ_REQUIRE(params.n_layers == 0 || (params.n_layers > 0 && params.layers && params.directions &&
                                        params.n_positions >= 1 && params.width >= 1 && std::isfinite(params.amount)),
               "directions of %d layers, %d positions, %d wide, by %g", params.n_layers, params.n_positions, params.width,
               (double) params.amount);
    for (int32_t k = 0; k < params.n_layers; k++) {
        const size_t n = (size_t) params.n_positions;
        sites.push_back({&params, params.directions + (size_t) k * n * (size_t) params.width, std::vector<double>(n)});
    }
    hooks.user    = this;
    hooks.pixels  = params.masked || params.noise_step >= 0 ? pixels : nullptr;
    hooks.ffn_out = sites.empty() ? nullptr : ffn_out;
    mtmd_set_hooks(to, &hooks);
}

void picture_hooks::pixels(float * values, size_t n, void * user) {
    auto * self = static_cast<picture_hooks *>(user);
    if (self->params.masked) {
        self->overwrite(values, n);
    }
    if (self->params.noise_step >= 0) {
        self->noised = eqk_diffuse(values, (int64_t) n, self->params.noise_step, self->params.noise_seed);
    }
}

// Each channel's mean of the whole picture, in the patches that are marked.
void picture_hooks::overwrite(float * values, size_t n) {
    const size_t plane = n / 3;
    const auto   side  = (size_t) std::lround(std::sqrt((double) plane));
    const auto   cells = (size_t) params.masked_side;
    cut                = 3 * side * side == n && side % cells == 0;
    if (!cut) {
        return;
    }
    const size_t patch = side / cells;
    for (float * channel = values; channel < values + n; channel += plane) {
        double sum = 0;
        for (size_t i = 0; i < plane; i++) {
            sum += channel[i];
        }
        const auto mean = (float) (sum / (double) plane);
        for (size_t y = 0; y < side; y++) {
            for (size_t x = 0; x < side; x++) {
                if (params.masked[y / patch * cells + x / patch]) {
                    channel[y * side + x] = mean;
                }
            }
        }
    }
}

ggml_tensor * picture_hooks::ffn_out(ggml_context * ctx, ggml_tensor * cur, int il, void * user) {
    auto * self = static_cast<picture_hooks *>(user);
    for (int32_t k = 0; k < self->params.n_layers; k++) {
        if (self->params.layers[k] != il) {
            continue;
        }
        if (cur->type != GGML_TYPE_F32 || cur->ne[0] != self->params.width || cur->ne[1] != self->params.n_positions ||
            cur->ne[2] != 1 || cur->ne[3] != 1 || !ggml_is_contiguous(cur)) {
            self->found_width     = cur->ne[0];
            self->found_positions = cur->ne[1];
            return cur;
        }
        site & at       = self->sites[(size_t) k];
        at.fired        = true;
        ggml_tensor * y = ggml_custom_4d(ctx, GGML_TYPE_F32, cur->ne[0], cur->ne[1], 1, 1, &cur, 1, turn,
                                         GGML_N_TASKS_MAX, &at);
        ggml_format_name(y, "ffn_turned-%d", il);
        return y;
    }
    return cur;
}

void picture_hooks::turn(ggml_tensor * dst, int ith, int nth, void * user) {
    auto *        at    = static_cast<site *>(user);
    const int64_t width = dst->ne[0];
    for (int64_t p = ith; p < dst->ne[1]; p += nth) {
        auto *        h = (float *) ((char *) dst->data + (size_t) p * dst->nb[1]);
        const float * v = at->directions + p * width;
        std::memcpy(h, (const char *) dst->src[0]->data + (size_t) p * dst->src[0]->nb[1],
                    (size_t) width * sizeof(float));
        double squares = 0;
        for (int64_t i = 0; i < width; i++) {
            squares += (double) v[i] * v[i];
        }
        double & delta = at->deltas[(size_t) p];
        delta          = 0;
        if (squares > 0) {
            // The kernel takes a direction of any length: what it adds is the amount times it.
            eqk_steer(EQK_STEER_TURN, h, v, nullptr, width, (float) (at->params->amount / std::sqrt(squares)), &delta);
        }
    }
}

void picture_hooks::require_done() const {
    EQ_REQUIRE(cut, "the picture has no %d patches a side", params.masked_side);
    EQ_REQUIRE(noised == EQK_OK, "pixels cannot be diffused: %s", eqk_status_text(noised));
    EQ_REQUIRE(found_width == 0, "directions of %d positions, %d wide, for an encoder of %lld positions, %lld wide",
               params.n_positions, params.width, (long long) found_positions, (long long) found_width);
    for (size_t k = 0; k < sites.size(); k++) {
        if (!sites[k].fired) {
            fail(EQ_UNAVAILABLE, "the picture encoder has no seam in a block %d", params.layers[k]);
        }
    }
}

double picture_hooks::delta() const {
    double sum = 0;
    for (const site & at : sites) {
        for (const double delta : at.deltas) {
            sum += delta;
        }
    }
    return sum;
}

void encoder_states::watch(int32_t captured) {
    on   = captured;
    kept = {};
}

bool encoder_states::wants(const ggml_tensor * tensor) const {
    return ((on & EQ_CAPTURED_LAYER) != 0 && block_of(tensor, "layer_out") >= 0) ||
           ((on & EQ_CAPTURED_MLP) != 0 && block_of(tensor, "ffn_out") >= 0);
}

void encoder_states::take(const ggml_tensor * tensor) {
    if (tensor->type != GGML_TYPE_F32 || tensor->ne[2] != 1 || tensor->ne[3] != 1 || !ggml_is_contiguous(tensor)) {
        return;
    }
    try {
        const int32_t layer = block_of(tensor, "layer_out");
        states        seen  = {
            layer >= 0 ? layer : block_of(tensor, "ffn_out"),
            layer >= 0 ? EQ_CAPTURED_LAYER : EQ_CAPTURED_MLP,
            tensor->ne[0],
            tensor->ne[1],
            std::vector<float>((size_t) ggml_nelements(tensor)),
        };
        ggml_backend_tensor_get(tensor, seen.values.data(), 0, ggml_nbytes(tensor));
        kept.push_back(std::move(seen));
    } catch (const std::bad_alloc &) {
        // called from C: what was not kept was not seen
    }
}

bool encoder_watch::seen(ggml_tensor * tensor, bool ask, void * user) {
    auto *     self      = static_cast<encoder_watch *>(user);
    const bool attention = self->attention.wants(tensor);
    const bool states    = self->states.wants(tensor);
    if (ask) {
        return attention || states;
    }
    if (attention) {
        self->attention.take(tensor);
    }
    if (states) {
        self->states.take(tensor);
    }
    return true; // false would end the encoding
}

} // namespace eq
