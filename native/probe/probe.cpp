// Loads a model, and encoders if named, the way the JVM is about to, and decodes a little with them. It exists to die in
// the JVM's place: llama.cpp and libmtmd abort on what they did not expect.
//
//   equipoise-probe MODEL [MMPROJ]     exit 0: they load; 3: refused, the reason on standard output; a signal: so be it
#include "equipoise.h"

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

int refuse() {
    printf("%s\n", eq_last_error());
    return 3;
}

// A picture and a sound as small as can be: what is tried is the encoders, not the media.
bool encode(eq_media * media, const eq_media_info & info) {
    const int32_t    side   = 64;
    eq_encode_params params = {};
    params.noise_step       = -1;
    if (info.vision) {
        params.watch    = 1;
        params.captured = EQ_CAPTURED_LAYER;
        const std::vector<uint8_t> grey(3 * side * side, 128);
        eq_encoding *              encoding = nullptr;
        if (eq_media_encode(media, EQ_MEDIUM_IMAGE_RGB, grey.data(), (int64_t) grey.size(), side, side, &params,
                            &encoding) != EQ_OK) {
            return false;
        }
        eq_encoding_close(encoding);
    }
    if (info.audio) {
        params.watch    = 0;
        params.captured = 0;
        const std::vector<float> silence((size_t) info.audio_sample_rate, 0.0f);
        eq_encoding *            encoding = nullptr;
        if (eq_media_encode(media, EQ_MEDIUM_AUDIO_PCM, silence.data(), (int64_t) (silence.size() * sizeof(float)), 0, 0,
                            &params, &encoding) != EQ_OK) {
            return false;
        }
        eq_encoding_close(encoding);
    }
    return true;
}

bool decode(eq_model * model) {
    eq_context_params params = {};
    params.n_ctx             = 64;
    params.n_ubatch          = 8;
    params.n_seq_max         = 2;
    params.n_threads         = 1;
    params.flash_attn        = -1;
    eq_context * context     = nullptr;
    if (eq_context_open(model, &params, &context) != EQ_OK) {
        return false;
    }
    const int32_t tokens[]    = {0, 0};
    const int32_t positions[] = {0, 1};
    const int32_t sequences[] = {0, 0};
    const int8_t  outputs[]   = {0, 1};
    eq_batch      batch       = {};
    batch.tokens              = tokens;
    batch.positions           = positions;
    batch.sequences           = sequences;
    batch.outputs             = outputs;
    batch.n_tokens            = 2;
    const int32_t status      = eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr);
    eq_context_close(context);
    return status == EQ_OK;
}

} // namespace

int main(int argc, char ** argv) {
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: equipoise-probe MODEL [MMPROJ]\n");
        return 2;
    }
    eq_model *      model = nullptr;
    eq_media *      media = nullptr;
    eq_media_info   about = {};
    const std::string self(argv[0]);
    const std::string directory = self.substr(0, self.find_last_of('/') + 1);
    if (eq_start(directory.c_str()) != EQ_OK || eq_model_open(argv[1], 0, &model) != EQ_OK || !decode(model)) {
        return refuse();
    }
    if (argc == 3 && (eq_media_open(argv[2], model, 1, 0, &media) != EQ_OK || eq_media_describe(media, &about) != EQ_OK ||
                      !encode(media, about))) {
        return refuse();
    }
    eq_media_close(media);
    eq_model_close(model);
    return 0;
}
