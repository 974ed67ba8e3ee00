// Pictures and sounds: libmtmd's preprocessing and encoders, one medium at a time.
#include "host.hpp"

#include "equipoise_kernels.h"

#include "mtmd-helper.h"

#include <cstring>

namespace {

mtmd::bitmap_ptr bitmap_of(eq_media * media, int32_t kind, const void * data, int64_t n_bytes, int32_t width,
                           int32_t height) {
    const auto * bytes = static_cast<const unsigned char *>(data);
    switch (kind) {
        case EQ_MEDIUM_IMAGE_RGB:
            EQ_REQUIRE(width > 0 && height > 0 && n_bytes == (int64_t) 3 * width * height,
                       "picture of %d x %d pixels with %lld bytes", width, height, (long long) n_bytes);
            return mtmd::bitmap_ptr(mtmd_bitmap_init((uint32_t) width, (uint32_t) height, bytes));
        case EQ_MEDIUM_AUDIO_PCM:
            EQ_REQUIRE(n_bytes % (int64_t) sizeof(float) == 0, "samples with %lld bytes", (long long) n_bytes);
            return mtmd::bitmap_ptr(
                mtmd_bitmap_init_from_audio((size_t) n_bytes / sizeof(float), static_cast<const float *>(data)));
        default: {
            mtmd_helper_bitmap_wrapper wrapper = mtmd_helper_bitmap_init_from_buf(
                media->encoders.get(), bytes, (size_t) n_bytes, false, mtmd_helper_init_opt_default());
            mtmd::bitmap_ptr bitmap(wrapper.bitmap);
            if (wrapper.video_ctx) {
                bitmap.reset(); // a lazy bitmap reads through the video context
                mtmd_helper_video_free(wrapper.video_ctx);
                eq::fail(EQ_BAD_INPUT, "neither a picture nor a sound");
            }
            // The log names a function of llama.cpp and nothing that a caller could mend.
            EQ_REQUIRE(bitmap, "cannot be decoded: it is cut or damaged");
            return bitmap;
        }
    }
}

void take_positions(const eq_media * media, const mtmd_input_chunk * from, eq_encoding::chunk & to) {
    const size_t n = (size_t) to.n_tokens;
    to.positions.resize(n * (size_t) media->n_pos_per_embd);
    const mtmd_image_tokens * image = mtmd_input_chunk_get_tokens_image(from);
    for (size_t i = 0; i < n; i++) {
        if (media->n_pos_per_embd == 1) {
            to.positions[i] = (int32_t) i;
        } else if (image) {
            const mtmd_decoder_pos pos = mtmd_image_tokens_get_decoder_pos(image, 0, i);
            to.positions[i]            = (int32_t) pos.t;
            to.positions[i + n]        = (int32_t) pos.y;
            to.positions[i + 2 * n]    = (int32_t) pos.x;
            to.positions[i + 3 * n]    = (int32_t) pos.z;
        } else {
            // Sounds under M-RoPE: the same running position in the first three sections, as libmtmd's helper sets it.
            to.positions[i] = to.positions[i + n] = to.positions[i + 2 * n] = (int32_t) i;
            to.positions[i + 3 * n]                                         = 0;
        }
    }
}

eq_encoding::chunk encode(eq_media * media, const mtmd_input_chunk * from, const eq_encode_params & params,
                          const eq::picture_hooks & hooks) {
    eq_encoding::chunk to;
    to.n_tokens    = (int32_t) mtmd_input_chunk_get_n_tokens(from);
    to.n_positions = (int32_t) mtmd_input_chunk_get_n_pos(from);
    if (mtmd_input_chunk_get_type(from) == MTMD_INPUT_CHUNK_TYPE_TEXT) {
        size_t              n      = 0;
        const llama_token * tokens = mtmd_input_chunk_get_tokens_text(from, &n);
        to.tokens.assign(tokens, tokens + n);
        return to;
    }
    media->watch.attention.watch(params.watch != 0);
    media->watch.states.watch(params.captured);
    if (mtmd_encode_chunk(media->encoders.get(), from) != 0) {
        eq::fail(EQ_INTERNAL, "encoding failed: %s", eq::error_log().c_str());
    }
    hooks.require_done();
    const float * rows = mtmd_get_output_embd(media->encoders.get());
    to.embeddings.assign(rows, rows + (size_t) to.n_tokens * (size_t) media->n_embd_inp);
    to.non_causal = mtmd_decode_use_non_causal(media->encoders.get(), from);
    take_positions(media, from, to);
    to.saliency = media->watch.attention.over(to.n_tokens);
    to.states   = media->watch.states.taken();
    to.delta    = hooks.delta();
    return to;
}

} // namespace

int32_t eq_media_open(const char * path, const eq_model * model, int32_t n_threads, int32_t use_gpu, eq_media ** media) {
    return eq::guard([&] {
        EQ_REQUIRE(path && model && media && n_threads >= 1, "eq_media_open: a null pointer or no thread");
        mtmd_context_params params = mtmd_context_params_default();
        params.use_gpu             = use_gpu != 0;
        params.n_threads           = n_threads;
        params.print_timings       = false;
        params.warmup              = false;

        auto handle              = std::make_unique<eq_media>();
        params.cb_eval           = eq::encoder_watch::seen;
        params.cb_eval_user_data = &handle->watch;
        handle->weights        = model->weights;
        handle->n_embd_inp     = llama_model_n_embd_inp(model->weights.get());
        handle->encoders.reset(mtmd_init_from_file(path, model->weights.get(), params));
        if (!handle->encoders) {
            eq::fail(EQ_BAD_INPUT, "%s: libmtmd refuses the encoders: %s", path, eq::error_log().c_str());
        }
        handle->n_pos_per_embd = mtmd_decode_use_mrope(handle->encoders.get()) ? 4 : 1;
        *media                 = handle.release();
    });
}

void eq_media_close(eq_media * media) { delete media; }

int32_t eq_media_describe(const eq_media * media, eq_media_info * info) {
    return eq::guard([&] {
        EQ_REQUIRE(media && info, "eq_media_describe: media or info is null");
        const int rate          = mtmd_get_audio_sample_rate(media->encoders.get());
        info->vision            = mtmd_support_vision(media->encoders.get());
        info->audio             = mtmd_support_audio(media->encoders.get());
        info->audio_sample_rate = rate > 0 ? rate : 0;
    });
}

int32_t eq_media_encode(eq_media * media, int32_t kind, const void * data, int64_t n_bytes, int32_t width,
                        int32_t height, const eq_encode_params * params, eq_encoding ** encoding) {
    return eq::guard([&] {
        EQ_REQUIRE(media && data && params && encoding, "eq_media_encode: a null pointer");
        EQ_REQUIRE(kind >= EQ_MEDIUM_IMAGE_FILE && kind <= EQ_MEDIUM_AUDIO_PCM, "no medium of kind %d", kind);
        EQ_REQUIRE(n_bytes > 0, "empty medium");
        EQ_REQUIRE(params->noise_step >= -1 && params->noise_step < EQK_DIFFUSION_STEPS, "no noise step %d",
                   params->noise_step);
        const bool wants_picture = kind <= EQ_MEDIUM_IMAGE_RGB;
        const bool plain         = params->noise_step < 0 && !params->masked && params->n_layers == 0 &&
                           params->watch == 0 && params->captured == 0;
        EQ_REQUIRE(wants_picture || plain, "noise, masks, steering and what looks are for pictures, not for sounds");
        EQ_REQUIRE(!wants_picture || mtmd_support_vision(media->encoders.get()), "the model has no eyes");
        EQ_REQUIRE(wants_picture || mtmd_support_audio(media->encoders.get()), "the model has no ears");

        const mtmd::bitmap_ptr bitmap = bitmap_of(media, kind, data, n_bytes, width, height);
        EQ_REQUIRE(mtmd_bitmap_is_audio(bitmap.get()) != wants_picture, "%s",
                   wants_picture ? "a sound where a picture is expected" : "a picture where a sound is expected");

        const mtmd_input_part         part  = {nullptr, bitmap.get()};
        const mtmd_input_part * const parts = &part;
        mtmd::input_chunks            chunks(mtmd_input_chunks_init());
        if (mtmd_tokenize_from_parts(media->encoders.get(), chunks.ptr.get(), &parts, 1, false) != 0) {
            eq::fail(EQ_BAD_INPUT, "preprocessing failed: %s", eq::error_log().c_str());
        }

        const eq::picture_hooks hooks(media->encoders.get(), *params);
        auto                    handle = std::make_unique<eq_encoding>();
        for (size_t i = 0; i < chunks.size(); i++) {
            handle->chunks.push_back(encode(media, chunks[i], *params, hooks));
        }
        media->watch.attention.watch(false);
        media->watch.states.watch(0);
        *encoding = handle.release();
    });
}

void eq_encoding_close(eq_encoding * encoding) { delete encoding; }

int32_t eq_encoding_chunks(const eq_encoding * encoding) { return encoding ? (int32_t) encoding->chunks.size() : 0; }

int32_t eq_encoding_chunk(const eq_encoding * encoding, int32_t index, eq_chunk * chunk) {
    return eq::guard([&] {
        EQ_REQUIRE(encoding && chunk && index >= 0 && (size_t) index < encoding->chunks.size(),
                   "eq_encoding_chunk: no chunk %d", index);
        const eq_encoding::chunk & from = encoding->chunks[(size_t) index];
        const bool                 text = from.embeddings.empty();
        chunk->tokens                   = text ? from.tokens.data() : nullptr;
        chunk->embeddings               = text ? nullptr : from.embeddings.data();
        chunk->positions                = text ? nullptr : from.positions.data();
        chunk->saliency                 = from.saliency.empty() ? nullptr : from.saliency.data();
        chunk->delta                    = from.delta;
        chunk->n_states                 = (int32_t) from.states.size();
        chunk->n_tokens                 = from.n_tokens;
        chunk->n_positions              = from.n_positions;
        chunk->non_causal               = from.non_causal;
    });
}

int32_t eq_encoding_states(const eq_encoding * encoding, int32_t index, int32_t nth, eq_block_states * states) {
    return eq::guard([&] {
        EQ_REQUIRE(encoding && states && index >= 0 && (size_t) index < encoding->chunks.size(),
                   "eq_encoding_states: no chunk %d", index);
        const auto & seen = encoding->chunks[(size_t) index].states;
        EQ_REQUIRE(nth >= 0 && (size_t) nth < seen.size(), "eq_encoding_states: no states %d of %zu", nth, seen.size());
        const eq::encoder_states::states & from = seen[(size_t) nth];
        states->values                          = from.values.data();
        states->layer                           = from.layer;
        states->captured                        = from.place;
        states->n_positions                     = (int32_t) from.positions;
        states->width                           = (int32_t) from.width;
    });
}
