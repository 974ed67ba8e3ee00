// A session on a tiny model, prompts with a labelled span, one intervention of each kind, and how results are compared.
#ifndef EQUIPOISE_TEST_INSIDE_H
#define EQUIPOISE_TEST_INSIDE_H

#include "tiny_model.h"

#include "equipoise.h"
#include "equipoise_kernels.h"

#include "llama.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace inside {

constexpr int32_t layers   = test::tiny_model::layers;
constexpr int32_t width    = test::tiny_model::width;
constexpr int32_t n_vocab  = test::tiny_model::n_vocab;
constexpr int32_t n_cells  = 256; // what llama.cpp pads to: the mask has the same size throughout
constexpr float   infinite = std::numeric_limits<float>::infinity();

using floats = std::vector<float>;

struct setting {
    int32_t flash_attn = 0;
    int32_t n_threads  = 1;
    int32_t n_ubatch   = 32;
    int32_t capture    = 0;
    int32_t draw       = 0;
};

class session {
public:
    explicit session(eq_model * model, const setting & of = {}) {
        const eq_context_params params = {n_cells, of.n_ubatch, 4, of.n_threads, 1, of.flash_attn, of.capture,
                                          of.draw};
        CHECK(eq_context_open(model, &params, &context) == EQ_OK, "%s", eq_last_error());
    }
    ~session() { eq_context_close(context); }
    session(const session &)             = delete;
    session & operator=(const session &) = delete;

    operator eq_context *() const { return context; }

private:
    eq_context * context = nullptr;
};

// Columns of one batch or of several, with what acts on them.
struct columns {
    std::vector<int32_t>  tokens, positions, sequences;
    std::vector<int8_t>   outputs;
    std::vector<uint64_t> active;
    std::vector<uint8_t>  labels;
    floats                weights;
    floats                embeddings; // rows instead of tokens, if there are any

    void add(int32_t token, int32_t position, int32_t sequence, uint64_t mask = 0, uint8_t label = 0,
             bool output = false) {
        tokens.push_back(token);
        positions.push_back(position);
        sequences.push_back(sequence);
        outputs.push_back(output);
        active.push_back(mask);
        labels.push_back(label);
        weights.push_back(0.5f);
    }

    int32_t count() const { return (int32_t) tokens.size(); }

    eq_batch batch(int32_t from, int32_t to) const {
        eq_batch made = {};
        made.tokens        = embeddings.empty() ? tokens.data() + from : nullptr;
        made.embeddings    = embeddings.empty() ? nullptr : embeddings.data() + (size_t) from * width;
        made.positions     = positions.data() + from;
        made.sequences     = sequences.data() + from;
        made.outputs       = outputs.data() + from;
        made.active        = active.data() + from;
        made.labels        = labels.data() + from;
        made.merge_weights = weights.data() + from;
        made.n_tokens      = to - from;
        return made;
    }
    eq_batch batch() const { return batch(0, count()); }
};

inline int32_t decode(eq_context * context, const eq_batch & batch) {
    return eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr);
}

inline floats row(eq_context * context, int32_t column) {
    floats logits(n_vocab);
    CHECK(eq_logits(context, column, logits.data()) == EQ_OK, "%s", eq_last_error());
    return logits;
}

// Decodes columns, so many in a batch; the row of the last.
inline floats read(eq_context * context, columns what, int32_t each = 32) {
    what.outputs.back() = 1;
    int32_t in_last     = 0;
    for (int32_t from = 0; from < what.count(); from += each) {
        const int32_t to = std::min(what.count(), from + each);
        CHECK(decode(context, what.batch(from, to)) == EQ_OK, "%s", eq_last_error());
        in_last = to - from - 1;
    }
    return row(context, in_last);
}

constexpr int32_t prompt_size  = 12;
constexpr uint8_t span_label   = 5;
constexpr uint8_t other_label  = 1; // of the prompt's other columns
constexpr int32_t span_first   = 3; // of the prompt's span that attention edits are about
constexpr int32_t span_end     = 7;

inline int32_t letter(int32_t i) { return 259 + i * 7 % 26; }

// The prompt in a sequence; what acts does so from column acting on.
inline columns prompt(uint64_t mask = 0, int32_t acting = 0, int32_t sequence = 0) {
    columns made;
    for (int32_t i = 0; i < prompt_size; i++) {
        const bool in_span = i >= span_first && i < span_end;
        made.add(i == 0 ? 1 : letter(i), i, sequence, i >= acting ? mask : 0, in_span ? span_label : other_label);
    }
    return made;
}

// The largest absolute difference, infinite if a value is not finite.
inline double difference(const floats & a, const floats & b) {
    double largest = a.size() == b.size() ? 0 : infinite;
    for (size_t i = 0; i < std::min(a.size(), b.size()); i++) {
        const double here = std::fabs((double) a[i] - b[i]);
        largest           = std::isfinite(here) ? std::max(largest, here) : infinite;
    }
    return largest;
}

// Rounding of a sum of float32 products whose terms come in another order: some ten stages a layer err by a few 2^-24
// of the root mean square (as runtime's Tolerance.f32, whose measured errors are 1e-6 to 4e-6). Inputs of flash
// attention's products are rounded to 11 bits.
inline double tolerance(const floats & logits, int32_t flash_attn) {
    double squares = 0;
    for (const float x : logits) {
        squares += (double) x * x;
    }
    return (flash_attn ? 1e-2 : 2e-5) * std::max(1.0, std::sqrt(squares / (double) logits.size()));
}

inline void check_close(const floats & actual, const floats & expected, int32_t flash_attn, const char * what) {
    const double apart = difference(actual, expected);
    CHECK(apart <= tolerance(expected, flash_attn), "%s: %g apart, flash attention %d", what, apart, flash_attn);
}

inline void check_same(const floats & actual, const floats & expected, const char * what) {
    CHECK(difference(actual, expected) == 0, "%s: %g apart", what, difference(actual, expected));
}

// That two rows are further apart than any rounding explains.
inline void check_apart(const floats & a, const floats & b, const char * what) {
    const double apart = difference(a, b);
    CHECK(std::isfinite(apart) && apart > 10 * tolerance(b, 0), "%s: only %g apart", what, apart);
}

inline std::vector<int32_t> all_layers() {
    std::vector<int32_t> all(layers);
    for (int32_t il = 0; il < layers; il++) {
        all[(size_t) il] = il;
    }
    return all;
}

// Whether a kind takes the attention of its layers off the flash path.
inline bool leaves_flash(int32_t kind) {
    return (kind >= EQ_SCORES_RAISE && kind <= EQ_WEIGHTS_READ) || kind == EQ_ATTENDED_BIAS || kind == EQ_WEIGHTS_MUTE;
}

// An intervention and what it points at.
struct edit {
    std::vector<int32_t> at;
    std::vector<int32_t> dimensions;
    floats               vectors;
    eq_intervention      raw = {};

    edit(int32_t kind, float amount, std::vector<int32_t> where = all_layers(), uint64_t seed = 3)
        : at(std::move(where)) {
        raw.kind   = kind;
        raw.amount = amount;
        raw.labels = leaves_flash(kind) || kind == EQ_ATTENTION_BIAS ? uint64_t{1} << span_label : 0;
        if (kind <= EQ_STEER_ADD_SIGNED) {
            test::random_numbers random(seed);
            const bool           plane = kind == EQ_STEER_ROTATE || kind == EQ_STEER_ROTATE_TOWARD;
            vectors.resize(at.size() * width * (plane ? 2 : 1));
            for (float & v : vectors) {
                v = random.between(-1, 1);
            }
        }
        if (kind == EQ_SILENCE) {
            at.clear();
        }
    }

    eq_intervention get() const {
        eq_intervention made = raw;
        made.layers          = at.empty() ? nullptr : at.data();
        made.n_layers        = (int32_t) at.size();
        made.vectors         = vectors.empty() ? nullptr : vectors.data();
        made.dimensions      = dimensions.empty() ? nullptr : dimensions.data();
        made.n_dimensions    = (int32_t) dimensions.size();
        return made;
    }
};

inline int32_t set(eq_context * context, const std::vector<edit> & list, int32_t sequence = 0) {
    std::vector<eq_intervention> raw;
    for (const edit & one : list) {
        raw.push_back(one.get());
    }
    return eq_interventions_set(context, sequence, raw.data(), (int32_t) raw.size());
}

inline void must_set(eq_context * context, const std::vector<edit> & list, int32_t sequence = 0) {
    CHECK(set(context, list, sequence) == EQ_OK, "%s", eq_last_error());
}

inline void forget(eq_context * context) {
    for (int32_t sequence = 0; sequence < 4; sequence++) {
        CHECK(eq_sequence_remove(context, sequence, 0) == EQ_OK, "%s", eq_last_error());
    }
}

// Steering of a part of every block.
inline edit steer(int32_t kind, float amount, int32_t place) {
    edit made(kind, amount);
    made.raw.at = place;
    return made;
}

// Steering of what enters the first block.
inline edit enter(int32_t kind, float amount) {
    edit made(kind, amount, {0});
    made.raw.at = EQ_AT_EMBEDDING;
    return made;
}

inline edit move_weights(float threshold, float fraction, std::vector<int32_t> where = all_layers()) {
    edit made(EQ_WEIGHTS_MOVE, threshold, std::move(where));
    made.raw.other_labels  = uint64_t{1} << other_label;
    made.raw.parameters[0] = fraction;
    return made;
}

// A bias on the span's keys but for those that a column attends to least at a layer.
inline edit bias_attended(float amount, int32_t keep, std::vector<int32_t> where = {1, 2}, int32_t looked = 0) {
    edit made(EQ_ATTENDED_BIAS, amount, std::move(where));
    made.raw.parameters[0] = (float) keep;
    made.raw.parameters[1] = (float) looked;
    return made;
}

// A key is a sink by any of a few dimensions, so that some are and some are not.
inline edit drain_sinks(float tau, std::vector<int32_t> where = all_layers()) {
    edit made(EQ_WEIGHTS_SINKS, tau, std::move(where));
    made.dimensions        = {0, 7, width - 1};
    made.raw.parameters[0] = 1;    // rho: however much of the span is sinks
    made.raw.parameters[1] = 0;    // mass: however little the span holds
    made.raw.parameters[2] = 0.1f; // keep
    return made;
}

inline edit mean_of_exits(float weight, bool normed) {
    edit made(EQ_EXITS_MEAN, weight, {0, 1});
    made.raw.parameters[0] = normed ? 1 : 0;
    return made;
}

// By eqk_divergence, without a cut-off: every logit stays a number.
inline edit contrast_of_exits(int32_t divergence, std::vector<int32_t> where = {0, 1}) {
    edit made(EQ_EXITS_CONTRAST, 0, std::move(where));
    made.raw.parameters[1] = (float) divergence;
    return made;
}

// One of each kind that changes something, at all layers, strong enough to be seen. What leaves the flash path stands
// last: an engine does not come back to it.
inline std::vector<edit> every_kind() {
    return {{EQ_STEER_ADD, 0.5f},
            {EQ_STEER_ADD_NORMED, 0.5f},
            {EQ_STEER_ABLATE, 0},
            {EQ_STEER_CLAMP, 2},
            {EQ_STEER_ROTATE, 1.2f},
            {EQ_STEER_TURN, 0.5f},
            {EQ_STEER_TURN_AWARE, 0.5f},
            {EQ_STEER_ROTATE_TOWARD, 1.2f},
            {EQ_STEER_ADD_CAPPED, 0.5f},
            {EQ_STEER_ADD_SIGNED, 0.5f},
            steer(EQ_STEER_ADD, 0.5f, EQ_AT_MLP),
            steer(EQ_STEER_ABLATE, 0, EQ_AT_ATTENTION),
            steer(EQ_STEER_ADD_NORMED, 0.5f, EQ_AT_NORM),
            enter(EQ_STEER_ADD, 0.5f),
            {EQ_ATTENTION_BIAS, 1.5f},
            {EQ_ATTENTION_BIAS, -infinite},
            {EQ_QUERY_SCALE, 0.3f},
            {EQ_SILENCE, 0},
            mean_of_exits(0.4f, true),
            mean_of_exits(0.4f, false),
            contrast_of_exits(EQK_JENSEN_SHANNON),
            contrast_of_exits(EQK_ARITHMETIC_GEOMETRIC),
            {EQ_SCORES_RAISE, 2},
            {EQ_SCORES_SCALE, 4},
            move_weights(0.05f, 0.8f),
            drain_sinks(0.8f),
            bias_attended(-8, 1)};
}

inline std::vector<edit> every_kind_but_silence() {
    std::vector<edit> kinds = every_kind();
    std::erase_if(kinds, [](const edit & one) { return one.raw.kind == EQ_SILENCE; });
    return kinds;
}

// Where an intervention of each kind may act: what hides a span must leave the span's own columns something to see, and
// silence everywhere would leave nothing of the prompt.
inline int32_t acting_of(const edit & one) {
    return one.raw.amount == -infinite ? span_end : one.raw.kind == EQ_SILENCE ? prompt_size - 4 : 0;
}

inline floats captured(eq_context * context, int32_t il, int32_t expected_rows) {
    int32_t n = 0;
    floats  values((size_t) expected_rows * width);
    CHECK(eq_capture_read(context, il, values.data(), (int64_t) values.size(), &n) == EQ_OK, "%s", eq_last_error());
    CHECK(n == expected_rows, "layer %d: %d rows, expected %d", il, n, expected_rows);
    return values;
}

// llama.cpp by itself, in a context like ours.
class bare {
public:
    bare(const char * path, const setting & of) {
        llama_model_params how = llama_model_default_params();
        how.n_gpu_layers       = 0;
        model.reset(llama_model_load_from_file(path, how));
        llama_context_params params = llama_context_default_params();
        params.n_ctx           = n_cells;
        params.n_batch         = (uint32_t) of.n_ubatch;
        params.n_ubatch        = (uint32_t) of.n_ubatch;
        params.n_seq_max       = 4;
        params.n_outputs_max   = 4;
        params.n_threads       = of.n_threads;
        params.n_threads_batch = of.n_threads;
        params.type_k          = GGML_TYPE_F32;
        params.type_v          = GGML_TYPE_F32;
        params.flash_attn_type = of.flash_attn ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
        params.kv_unified      = true;
        context.reset(llama_init_from_model(model.get(), params));
        CHECK(context != nullptr, "%s", path);
    }

    floats read(const columns & what) {
        llama_batch batch = llama_batch_init(what.count(), 0, 1);
        for (int32_t i = 0; i < what.count(); i++) {
            batch.token[i]     = what.tokens[(size_t) i];
            batch.pos[i]       = what.positions[(size_t) i];
            batch.n_seq_id[i]  = 1;
            batch.seq_id[i][0] = what.sequences[(size_t) i];
            batch.logits[i]    = i + 1 == what.count();
        }
        batch.n_tokens = what.count();
        CHECK(llama_decode(context.get(), batch) == 0, "bare llama.cpp does not decode");
        llama_batch_free(batch);
        const float * logits = llama_get_logits_ith(context.get(), -1);
        return {logits, logits + n_vocab};
    }

    llama_context * get() const { return context.get(); }

private:
    struct close {
        void operator()(llama_model * m) const { llama_model_free(m); }
        void operator()(llama_context * c) const { llama_free(c); }
    };
    std::unique_ptr<llama_model, close>   model;
    std::unique_ptr<llama_context, close> context;
};

// That a call was refused, in words that say what it was about.
inline void check_refused(int32_t status, int32_t expected, const char * word, const char * what) {
    CHECK(status == expected, "%s: status %d", what, status);
    CHECK(std::string(eq_last_error()).find(word) != std::string::npos, "%s: '%s' does not say '%s'", what,
          eq_last_error(), word);
}

// A programme's tests over a tiny model; its exit status, when they have left no handle behind.
template <class Tests> int run(const char * name, uint64_t seed, Tests && tests) {
    const test::tiny_model file(seed);
    eq_model *             model = nullptr;
    CHECK(eq_start("") == EQ_OK, "%s", eq_last_error());
    CHECK(eq_model_open(file.path(), 0, &model) == EQ_OK, "%s", eq_last_error());
    if (!model) {
        return test::verdict(name);
    }
    tests(model, file.path());
    eq_model_close(model);
    char line[256];
    while (eq_log_next(line, sizeof(line)) != 0) {
    }
    CHECK(eq_live_objects() == 0, "%lld handles are left", (long long) eq_live_objects());
    return test::verdict(name);
}

} // namespace inside

#endif
