// Pictures from end to end on a tiny encoder: what is turned and overwritten in their encoding, what is read from it,
// and what cannot be meant.
#include "tiny_model.h"

#include "equipoise.h"

#include <cmath>
#include <cstring>
#include <vector>

namespace {

constexpr int32_t width     = test::tiny_model::width;
constexpr int32_t positions = test::tiny_model::patches;
constexpr int32_t side      = test::tiny_model::side;

struct seen {
    std::vector<float> embeddings;
    std::vector<float> states[2][2]; // [block][layer output, feed-forward]
    double             delta = 0;
};

std::vector<uint8_t> picture() {
    std::vector<uint8_t> rgb(3 * side * side);
    for (size_t i = 0; i < rgb.size(); i++) {
        rgb[i] = (uint8_t) (i * 37 % 251);
    }
    return rgb;
}

int32_t try_encode(eq_media * media, const eq_encode_params & params, eq_encoding ** encoding) {
    const std::vector<uint8_t> rgb = picture();
    return eq_media_encode(media, EQ_MEDIUM_IMAGE_RGB, rgb.data(), (int64_t) rgb.size(), side, side, &params, encoding);
}

seen encode(eq_media * media, eq_encode_params params) {
    params.captured        = EQ_CAPTURED_LAYER | EQ_CAPTURED_MLP;
    eq_encoding * encoding = nullptr;
    CHECK(try_encode(media, params, &encoding) == EQ_OK, "%s", eq_last_error());
    if (!encoding) {
        exit(test::verdict("media"));
    }
    eq_chunk chunk = {};
    CHECK(eq_encoding_chunks(encoding) == 1 && eq_encoding_chunk(encoding, 0, &chunk) == EQ_OK, "%s", eq_last_error());
    CHECK(chunk.n_tokens == positions && chunk.n_states == 4, "%d tokens, %d states", chunk.n_tokens, chunk.n_states);
    seen found;
    found.delta = chunk.delta;
    found.embeddings.assign(chunk.embeddings, chunk.embeddings + positions * width);
    for (int32_t nth = 0; nth < chunk.n_states; nth++) {
        eq_block_states states = {};
        CHECK(eq_encoding_states(encoding, 0, nth, &states) == EQ_OK, "%s", eq_last_error());
        CHECK(states.layer >= 0 && states.layer < 2 && states.n_positions == positions && states.width == width,
              "block %d, %d x %d", states.layer, states.n_positions, states.width);
        found.states[states.layer][states.captured == EQ_CAPTURED_MLP].assign(states.values,
                                                                              states.values + positions * width);
    }
    eq_block_states beyond = {};
    CHECK(eq_encoding_states(encoding, 0, 4, &beyond) == EQ_BAD_INPUT, "a fifth of four states");
    eq_encoding_close(encoding);
    return found;
}

double norm(const float * x) {
    double sum = 0;
    for (int32_t i = 0; i < width; i++) {
        sum += (double) x[i] * x[i];
    }
    return std::sqrt(sum);
}

void outputs_are_turned(eq_media * media) {
    test::random_numbers random(7);
    std::vector<float>   directions((size_t) positions * width);
    for (float & value : directions) {
        value = random.between(-3, 3);
    }
    const eq_encode_params plain  = {0, nullptr, nullptr, nullptr, 0, -1, 0, 0, 0, 0, 0, 0};
    eq_encode_params       params = plain;
    const int32_t          layer  = 0;
    params.layers                 = &layer;
    params.directions             = directions.data();
    params.amount                 = 0.7f;
    params.n_layers               = 1;
    params.n_positions            = positions;
    params.width                  = width;

    const seen before = encode(media, plain);
    const seen after  = encode(media, params);
    CHECK(before.delta == 0 && after.delta > 0, "delta %g and %g", before.delta, after.delta);
    CHECK(before.states[0][1] == after.states[0][1], "what is turned comes before its turning");
    CHECK(before.states[1][0] != after.states[1][0] && before.embeddings != after.embeddings, "nothing follows");
    double delta = 0;
    for (int32_t p = 0; p < positions; p++) {
        const float * m = &after.states[0][1][(size_t) p * width];
        const float * d = &directions[(size_t) p * width];
        double        turned[width];
        double        squares = 0;
        for (int32_t i = 0; i < width; i++) {
            turned[i] = m[i] / norm(m) + (double) params.amount * d[i] / norm(d);
            squares += turned[i] * turned[i];
        }
        double change = 0;
        for (int32_t i = 0; i < width; i++) {
            turned[i] *= norm(m) / std::sqrt(squares);
            change += (turned[i] - m[i]) * (turned[i] - m[i]);
            const double with    = after.states[0][0][(size_t) (p * width + i)];
            const double without = before.states[0][0][(size_t) (p * width + i)];
            // The residual's addition rounds both sums to float32, the op its result and its amount.
            const double tolerance = 6e-8 * (std::fabs(with) + std::fabs(without) + 2 * norm(m));
            CHECK(std::fabs(with - without - (turned[i] - m[i])) <= tolerance, "position %d, value %d", p, i);
        }
        delta += std::sqrt(change);
    }
    CHECK(std::fabs(after.delta - delta) <= 1e-5 * delta, "delta %g instead of %g", after.delta, delta);
    CHECK(encode(media, plain).embeddings == before.embeddings, "the next encoding is turned too");
}

void patches_are_overwritten(eq_media * media) {
    const int32_t        cells = side / test::tiny_model::patch;
    std::vector<uint8_t> all(cells * cells, 1), none(cells * cells, 0);
    eq_encode_params     params = {0, none.data(), nullptr, nullptr, 0, -1, 0, cells, 0, 0, 0, 0};
    const seen           clean  = encode(media, params);
    params.masked               = nullptr;
    CHECK(encode(media, params).embeddings == clean.embeddings, "no patch is marked");
    params.masked     = all.data();
    const seen masked = encode(media, params);
    CHECK(masked.embeddings != clean.embeddings, "all patches are marked");
    params.noise_step = 0; // little of it
    params.masked     = none.data();
    CHECK(encode(media, params).embeddings != clean.embeddings, "noise beside a mask");
}

void what_cannot_be_meant_is_refused(eq_media * media) {
    const int32_t      layers[] = {0, 5};
    std::vector<float> directions((size_t) 2 * positions * width, 1.0f);
    std::vector<uint8_t> marks(49, 1);
    eq_encoding *      encoding = nullptr;
    const auto         refused  = [&](const eq_encode_params & params, int32_t status, const char * part) {
        CHECK(try_encode(media, params, &encoding) == status && std::strstr(eq_last_error(), part), "%s",
              eq_last_error());
    };
    refused({0, nullptr, layers, directions.data(), 1, -1, 0, 0, 1, positions + 1, width, 0}, EQ_BAD_INPUT, "17 positions");
    refused({0, nullptr, layers, directions.data(), 1, -1, 0, 0, 1, positions, width / 2, 0}, EQ_BAD_INPUT, "16 wide");
    refused({0, nullptr, layers, directions.data(), 1, -1, 0, 0, 2, positions, width, 0}, EQ_UNAVAILABLE, "block 5");
    refused({0, nullptr, layers, nullptr, 1, -1, 0, 0, 1, positions, width, 0}, EQ_BAD_INPUT, "directions");
    refused({0, nullptr, layers, directions.data(), NAN, -1, 0, 0, 1, positions, width, 0}, EQ_BAD_INPUT, "nan");
    refused({0, marks.data(), nullptr, nullptr, 0, -1, 0, 7, 0, 0, 0, 0}, EQ_BAD_INPUT, "7 patches");
    refused({0, marks.data(), nullptr, nullptr, 0, -1, 0, 0, 0, 0, 0, 0}, EQ_BAD_INPUT, "patches to overwrite");
    refused({0, nullptr, nullptr, nullptr, 0, 1000, 0, 0, 0, 0, 0, 0}, EQ_BAD_INPUT, "noise step");
    CHECK(encoding == nullptr, "a refused encoding was given back");
}

} // namespace

int main() {
    CHECK(eq_start("") == EQ_OK, "%s", eq_last_error());
    const test::tiny_model text(1);
    const test::tiny_model eyes(2, "clip");
    eq_model *             model = nullptr;
    CHECK(eq_model_open(text.path(), 0, &model) == EQ_OK, "%s", eq_last_error());
    eq_media * media = nullptr;
    CHECK(eq_media_open(eyes.path(), model, 3, 0, &media) == EQ_OK, "%s", eq_last_error());
    if (!media) {
        return test::verdict("media");
    }
    outputs_are_turned(media);
    patches_are_overwritten(media);
    what_cannot_be_meant_is_refused(media);
    eq_media_close(media);
    eq_model_close(model);
    CHECK(eq_live_objects() == 0, "%lld objects are left", (long long) eq_live_objects());
    return test::verdict("media");
}
