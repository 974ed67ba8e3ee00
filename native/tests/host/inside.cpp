// What acts inside the network, through the C ABI: against llama.cpp's own control vector, against the same network
// fed otherwise, and against itself over threads, splits, replaced interventions and cells used again. That formulas
// are right is for the Java oracle to say.
#include "tiny_model.h"

#include "equipoise.h"

#include "llama.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace {

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
};

class session {
public:
    explicit session(eq_model * model, const setting & of = {}) {
        const eq_context_params params = {n_cells, of.n_ubatch, 4, of.n_threads, 1, of.flash_attn, of.capture};
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

int32_t decode(eq_context * context, const eq_batch & batch) {
    return eq_decode(context, &batch, nullptr, 0, nullptr, 0, nullptr, nullptr);
}

floats row(eq_context * context, int32_t column) {
    floats logits(n_vocab);
    CHECK(eq_logits(context, column, logits.data()) == EQ_OK, "%s", eq_last_error());
    return logits;
}

// Decodes columns, so many in a batch; the row of the last.
floats read(eq_context * context, columns what, int32_t each = 32) {
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
constexpr int32_t span_first   = 3; // of the prompt's span that attention edits are about
constexpr int32_t span_end     = 7;

int32_t letter(int32_t i) { return 259 + i * 7 % 26; }

// The prompt in a sequence; what acts does so from column acting on.
columns prompt(uint64_t mask = 0, int32_t acting = 0, int32_t sequence = 0) {
    columns made;
    for (int32_t i = 0; i < prompt_size; i++) {
        const bool in_span = i >= span_first && i < span_end;
        made.add(i == 0 ? 1 : letter(i), i, sequence, i >= acting ? mask : 0, in_span ? span_label : 1);
    }
    return made;
}

// The largest absolute difference, infinite if a value is not finite.
double difference(const floats & a, const floats & b) {
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
double tolerance(const floats & logits, int32_t flash_attn) {
    double squares = 0;
    for (const float x : logits) {
        squares += (double) x * x;
    }
    return (flash_attn ? 1e-2 : 2e-5) * std::max(1.0, std::sqrt(squares / (double) logits.size()));
}

void check_close(const floats & actual, const floats & expected, int32_t flash_attn, const char * what) {
    const double apart = difference(actual, expected);
    CHECK(apart <= tolerance(expected, flash_attn), "%s: %g apart, flash attention %d", what, apart, flash_attn);
}

void check_same(const floats & actual, const floats & expected, const char * what) {
    CHECK(difference(actual, expected) == 0, "%s: %g apart", what, difference(actual, expected));
}

// That two rows are further apart than any rounding explains.
void check_apart(const floats & a, const floats & b, const char * what) {
    const double apart = difference(a, b);
    CHECK(std::isfinite(apart) && apart > 10 * tolerance(b, 0), "%s: only %g apart", what, apart);
}

std::vector<int32_t> all_layers() {
    std::vector<int32_t> all(layers);
    for (int32_t il = 0; il < layers; il++) {
        all[(size_t) il] = il;
    }
    return all;
}

// An intervention and what it points at.
struct edit {
    std::vector<int32_t> at;
    floats               vectors;
    eq_intervention      raw = {};

    edit(int32_t kind, float amount, std::vector<int32_t> where = all_layers(), uint64_t seed = 3)
        : at(std::move(where)) {
        raw.kind   = kind;
        raw.amount = amount;
        raw.labels = kind == EQ_ATTENTION_BIAS ? uint64_t{1} << span_label : 0;
        if (kind <= EQ_STEER_ROTATE) {
            test::random_numbers random(seed);
            vectors.resize(at.size() * width * (kind == EQ_STEER_ROTATE ? 2 : 1));
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
        return made;
    }
};

int32_t set(eq_context * context, const std::vector<edit> & list, int32_t sequence = 0) {
    std::vector<eq_intervention> raw;
    for (const edit & one : list) {
        raw.push_back(one.get());
    }
    return eq_interventions_set(context, sequence, raw.data(), (int32_t) raw.size());
}

void must_set(eq_context * context, const std::vector<edit> & list, int32_t sequence = 0) {
    CHECK(set(context, list, sequence) == EQ_OK, "%s", eq_last_error());
}

void forget(eq_context * context) {
    for (int32_t sequence = 0; sequence < 4; sequence++) {
        CHECK(eq_sequence_remove(context, sequence, 0) == EQ_OK, "%s", eq_last_error());
    }
}

// One of each kind, at all layers, strong enough to be seen.
std::vector<edit> every_kind() {
    return {{EQ_STEER_ADD, 0.5f},    {EQ_STEER_ADD_NORMED, 0.5f}, {EQ_STEER_ABLATE, 0},         {EQ_STEER_CLAMP, 2},
            {EQ_STEER_ROTATE, 1.2f}, {EQ_ATTENTION_BIAS, 1.5f},   {EQ_ATTENTION_BIAS, -infinite},
            {EQ_QUERY_SCALE, 0.3f},  {EQ_SILENCE, 0}};
}

std::vector<edit> every_kind_but_silence() {
    std::vector<edit> kinds = every_kind();
    kinds.pop_back();
    return kinds;
}

// Where an intervention of each kind may act: what hides a span must leave the span's own columns something to see, and
// silence everywhere would leave nothing of the prompt.
int32_t acting_of(const edit & one) {
    return one.raw.amount == -infinite ? span_end : one.raw.kind == EQ_SILENCE ? prompt_size - 4 : 0;
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

void adding_is_the_control_vector(eq_model * model, const char * path, int32_t flash_attn) {
    const setting how = {flash_attn, 1, 32, 0};
    bare          theirs(path, how);
    const session ours(model, how);
    const floats  plain = theirs.read(prompt());
    check_same(read(ours, prompt()), plain, "plain");
    // Theirs has no layer 0.
    std::vector<int32_t> above = all_layers();
    above.erase(above.begin());
    // Their scale is in the vector, rounded to float; ours is applied in double. A power of two rounds nothing.
    for (const float amount : {1.0f, -0.25f, 0.37f}) {
        const edit add(EQ_STEER_ADD, amount, above);
        floats     scaled = add.vectors;
        std::for_each(scaled.begin(), scaled.end(), [amount](float & v) { v *= amount; });
        CHECK(llama_set_adapter_cvec(theirs.get(), scaled.data(), scaled.size(), width, 1, layers - 1) == 0, "refused");
        llama_memory_seq_rm(llama_get_memory(theirs.get()), 0, 0, -1);
        const floats expected = theirs.read(prompt());
        forget(ours);
        must_set(ours, {add});
        const floats actual = read(ours, prompt(1));
        check_apart(actual, plain, "a control vector");
        if (amount == 0.37f) {
            check_close(actual, expected, 0, "a control vector");
        } else {
            check_same(actual, expected, "a control vector");
        }
    }
}

void nothing_of_a_kind_is_plain(eq_model * model, int32_t flash_attn) {
    const setting how = {flash_attn, 1, 32, 0};
    const floats  plain = read(session(model, how), prompt());
    for (const auto & [kind, amount] : std::vector<std::pair<int32_t, float>>{
             {EQ_STEER_ADD, 0}, {EQ_STEER_ADD_NORMED, 0}, {EQ_ATTENTION_BIAS, 0}, {EQ_QUERY_SCALE, 1}}) {
        const session ours(model, how);
        must_set(ours, {edit(kind, amount)});
        check_same(read(ours, prompt(1)), plain, ("nothing of kind " + std::to_string(kind)).c_str());
    }
    for (const edit & one : every_kind()) {
        const std::string name = "kind " + std::to_string(one.raw.kind);
        const session     ours(model, how);
        must_set(ours, {one});
        check_same(read(ours, prompt(0)), plain, (name + ", active nowhere").c_str());
        forget(ours);
        check_apart(read(ours, prompt(1, acting_of(one))), plain, name.c_str());
    }
}

void a_hidden_span_might_not_be_there(eq_model * model, const char * path, int32_t flash_attn) {
    const setting how = {flash_attn, 1, 32, 0};
    const edit    hide(EQ_ATTENTION_BIAS, -infinite);
    {
        // Hidden from the last token only: as if its cells had been freed before that token came, which then takes one.
        bare    theirs(path, how);
        columns last = prompt();
        columns before;
        for (int32_t i = 0; i + 1 < prompt_size; i++) {
            before.add(last.tokens[(size_t) i], i, 0);
        }
        theirs.read(before);
        llama_memory_seq_rm(llama_get_memory(theirs.get()), 0, span_first, span_end);
        columns one;
        one.add(last.tokens.back(), prompt_size - 1, 0);
        const floats  expected = theirs.read(one);
        const session ours(model, how);
        must_set(ours, {hide});
        columns with = prompt(1, prompt_size - 1);
        with.outputs.back() = 0;
        CHECK(decode(ours, with.batch(0, prompt_size - 1)) == EQ_OK, "%s", eq_last_error());
        columns rest;
        rest.add(with.tokens.back(), prompt_size - 1, 0, 1, 1);
        check_close(read(ours, rest), expected, flash_attn, "a span hidden from one token");
    }
    // A leading span hidden from all that follows: what follows is then alone at its positions.
    columns whole, alone;
    for (int32_t i = 0; i < prompt_size; i++) {
        const bool in_span = i < span_end;
        whole.add(letter(i), i, 0, in_span ? 0 : 1, in_span ? span_label : 1);
        if (!in_span) {
            alone.add(letter(i), i, 0);
        }
    }
    const floats expected = read(session(model, how), alone);
    for (const int32_t each : {32, 5, 1}) {
        const session ours(model, how);
        must_set(ours, {hide});
        check_close(read(ours, whole, each), expected, flash_attn, "a leading span hidden from the rest");
        // Cells that other sequences hold now, labels and all, are not this sequence's business.
        columns second = whole;
        std::fill(second.sequences.begin(), second.sequences.end(), 1);
        must_set(ours, {hide}, 1);
        check_close(read(ours, second, each), expected, flash_attn, "the same in another sequence");
    }
}

// Softmax knows differences only: b more for a span is b less for the rest.
void attention_knows_differences_only(eq_model * model, int32_t flash_attn, bool non_causal) {
    edit more(EQ_ATTENTION_BIAS, 1.25f), less(EQ_ATTENTION_BIAS, -1.25f), everywhere(EQ_ATTENTION_BIAS, 0.75f);
    less.raw.labels       = ~(uint64_t{1} << span_label);
    everywhere.raw.labels = ~uint64_t{0};
    const auto rows       = [&](const std::vector<edit> & list) {
        const session ours(model, {flash_attn, 1, 32, 0});
        must_set(ours, list);
        columns what        = prompt(~uint64_t{0});
        what.outputs.back() = 1;
        eq_batch batch      = what.batch();
        batch.non_causal    = non_causal;
        CHECK(decode(ours, batch) == EQ_OK, "%s", eq_last_error());
        return row(ours, prompt_size - 1);
    };
    const floats plain = rows({}), up = rows({more});
    check_apart(up, plain, "more attention to a span");
    check_close(rows({less}), up, flash_attn, "less attention to the rest");
    check_close(rows({everywhere}), plain, flash_attn, "more attention to everything");
    // In the order named, one upon the other.
    check_close(rows({more, everywhere, less}), rows({more, more}), flash_attn, "three at once");
}

void query_scales_multiply(eq_model * model, int32_t flash_attn) {
    const auto rows = [&](const std::vector<edit> & list) {
        const session ours(model, {flash_attn, 1, 32, 0});
        must_set(ours, list);
        return read(ours, prompt(~uint64_t{0}));
    };
    const edit half(EQ_QUERY_SCALE, 0.5f), quarter(EQ_QUERY_SCALE, 0.25f), twice(EQ_QUERY_SCALE, 2);
    check_same(rows({half, half}), rows({quarter}), "half of a half");
    check_same(rows({half, twice}), rows({}), "half of the double");
    check_apart(rows({quarter}), rows({}), "a quarter");
}

floats captured(eq_context * context, int32_t il, int32_t expected_rows) {
    int32_t n = 0;
    floats  values((size_t) expected_rows * width);
    CHECK(eq_capture_read(context, il, values.data(), (int64_t) values.size(), &n) == EQ_OK, "%s", eq_last_error());
    CHECK(n == expected_rows, "layer %d: %d rows, expected %d", il, n, expected_rows);
    return values;
}

void silence_is_rows_of_zeros(eq_model * model) {
    const setting how = {0, 1, 32, 1};
    const session ours(model, how);
    columns       given = prompt();
    const floats  plain = read(ours, given);
    given.embeddings    = captured(ours, -1, prompt_size);
    check_same(read(session(model, how), given), plain, "the prompt as rows");
    std::fill(given.embeddings.begin() + span_first * width, given.embeddings.begin() + span_end * width, 0.0f);
    const floats expected = read(session(model, how), given);
    check_apart(expected, plain, "rows of zeros");

    columns silenced = prompt();
    std::fill(silenced.active.begin() + span_first, silenced.active.begin() + span_end, 1);
    forget(ours);
    must_set(ours, {edit(EQ_SILENCE, 0)});
    check_same(read(ours, silenced), expected, "silenced tokens");
    check_same(captured(ours, -1, prompt_size), given.embeddings, "input embeddings");
    // Rows are silenced as tokens are.
    columns rows    = silenced;
    rows.embeddings = captured(ours, -1, prompt_size);
    std::fill(rows.embeddings.begin() + span_first * width, rows.embeddings.begin() + span_end * width, 3.0f);
    forget(ours);
    check_same(read(ours, rows), expected, "silenced rows");
}

void merged_branches_are_one(eq_model * model, int32_t n_threads) {
    const int32_t layer   = 1;
    const setting how     = {0, n_threads, 32, 1};
    const float   weight  = 0.7f;
    const session ours(model, how);
    columns       both    = prompt();
    columns       other   = prompt(0, 0, 2);
    for (int32_t i = 0; i < prompt_size; i++) {
        both.add(i == 4 ? letter(i + 1) : other.tokens[(size_t) i], i, 2);
    }
    // The last layer has a row for each output.
    std::fill(both.outputs.begin(), both.outputs.end(), 0);
    both.outputs[prompt_size - 1] = both.outputs.back() = 1;
    std::fill(both.weights.begin(), both.weights.end(), weight);
    std::fill(both.weights.begin() + prompt_size, both.weights.end(), 0.1f); // only the first's count
    CHECK(decode(ours, both.batch()) == EQ_OK, "%s", eq_last_error());
    const floats apart = captured(ours, layer, 2 * prompt_size), below = captured(ours, layer - 1, 2 * prompt_size);
    const floats alone = row(ours, prompt_size - 1);
    check_apart(row(ours, 2 * prompt_size - 1), alone, "two prompts");

    forget(ours);
    CHECK(eq_merge_set(ours, 0, 2, layer) == EQ_OK, "%s", eq_last_error());
    CHECK(decode(ours, both.batch()) == EQ_OK, "%s", eq_last_error());
    check_same(captured(ours, layer - 1, 2 * prompt_size), below, "rows below the merge");
    floats expected = apart;
    for (int32_t i = 0; i < prompt_size * width; i++) {
        float & a = expected[(size_t) i];
        float & b = expected[(size_t) (i + prompt_size * width)];
        a = b = weight * a + (1 - weight) * b;
    }
    const floats merged = captured(ours, layer, 2 * prompt_size);
    // The compiler may contract one side's products and not the other's: an ulp of values of a few units.
    CHECK(difference(merged, expected) <= 1e-6, "rows at the merge: %g apart", difference(merged, expected));
    const size_t half = merged.size() / 2;
    check_same(floats(merged.begin(), merged.begin() + half), floats(merged.begin() + half, merged.end()),
               "the two at the merge");
    const floats joined = row(ours, prompt_size - 1);
    // One and the same, but for the order of the cells that each attends to and of the columns in a product.
    check_close(row(ours, 2 * prompt_size - 1), joined, 0, "the two above the merge");
    check_apart(joined, alone, "a merge");

    // Read in pieces, columns interleaved.
    forget(ours);
    columns pieces;
    for (int32_t i = 0; i < prompt_size; i++) {
        for (const int32_t from : {i, i + prompt_size}) {
            pieces.add(both.tokens[(size_t) from], i, both.sequences[(size_t) from]);
            pieces.weights.back() = weight;
        }
    }
    for (int32_t from = 0; from < pieces.count(); from += 6) {
        const int32_t to = std::min(pieces.count(), from + 6);
        pieces.outputs[(size_t) to - 2] = pieces.outputs[(size_t) to - 1] = to == pieces.count();
        CHECK(decode(ours, pieces.batch(from, to)) == EQ_OK, "%s", eq_last_error());
    }
    check_close(row(ours, 4), joined, 0, "a merge in pieces");
    check_close(row(ours, 5), row(ours, 4), 0, "the two of a merge in pieces");

    // Weights of 1 leave the first as it was; without a merge both are.
    forget(ours);
    std::fill(both.weights.begin(), both.weights.end(), 1.0f);
    CHECK(decode(ours, both.batch()) == EQ_OK, "%s", eq_last_error());
    check_same(row(ours, prompt_size - 1), alone, "a merge of weight 1");
    check_close(row(ours, 2 * prompt_size - 1), alone, 0, "the other of a merge of weight 1");
    forget(ours);
    CHECK(eq_merge_set(ours, 0, -1, 0) == EQ_OK, "%s", eq_last_error());
    CHECK(decode(ours, both.batch()) == EQ_OK, "%s", eq_last_error());
    check_same(captured(ours, layer, 2 * prompt_size), apart, "rows after the merge was taken back");
}

// Each column, and each key of a mask, is one thread's, however many there are.
void threads_agree(eq_model * model, int32_t flash_attn) {
    const columns what = prompt(~uint64_t{0}, span_end);
    floats        first;
    for (const int32_t threads : {1, 2, 3}) {
        const session ours(model, {flash_attn, threads, 32, 0});
        must_set(ours, every_kind_but_silence());
        const floats whole = read(ours, what);
        first              = first.empty() ? whole : first;
        // Each product is summed by one thread, so that without flash attention, which splits long rows of keys, not a
        // bit differs.
        if (flash_attn) {
            check_close(whole, first, flash_attn, "threads");
        } else {
            check_same(whole, first, "threads");
        }
    }
}

// Sequences with an intervention each, in one batch: as each by itself, and split as whole.
void splits_and_company(eq_model * model, int32_t flash_attn) {
    const std::vector<edit> kinds = every_kind();
    for (const edit & one : kinds) {
        const std::string name = "kind " + std::to_string(one.raw.kind);
        const columns     what = prompt(1, acting_of(one));
        const session     whole(model, {flash_attn, 1, 32, 0});
        must_set(whole, {one});
        const floats first = read(whole, what);
        for (const int32_t each : {5, 1}) {
            const session ours(model, {flash_attn, 1, each, 0});
            must_set(ours, {one});
            check_close(read(ours, what, each), first, flash_attn, (name + ", micro-batches").c_str());
        }
    }
    for (size_t k = 0; k + 2 < kinds.size(); k++) {
        const session ours(model, {flash_attn, 1, 48, 0});
        columns       together;
        for (int32_t i = 0; i < prompt_size; i++) {
            for (int32_t s = 0; s < 4; s++) {
                const columns of = s == 3 ? prompt() : prompt(1, acting_of(kinds[k + (size_t) s]));
                together.add(of.tokens[(size_t) i], i, s, of.active[(size_t) i], of.labels[(size_t) i],
                             i + 1 == prompt_size);
            }
        }
        for (int32_t s = 0; s < 3; s++) {
            must_set(ours, {kinds[k + (size_t) s]}, s);
        }
        CHECK(decode(ours, together.batch()) == EQ_OK, "%s", eq_last_error());
        for (int32_t s = 0; s < 4; s++) {
            const session alone(model, {flash_attn, 1, 48, 0});
            columns       what = prompt();
            if (s < 3) {
                must_set(alone, {kinds[k + (size_t) s]});
                what = prompt(1, acting_of(kinds[k + (size_t) s]));
            }
            check_close(row(ours, 4 * (prompt_size - 1) + s), read(alone, what), flash_attn, "in company");
        }
    }
}

void reports_count(eq_model * model) {
    const session ours(model);
    edit          add(EQ_STEER_ADD, -0.5f, {0, 1});
    edit          bias(EQ_ATTENTION_BIAS, 1.5f, {1});
    edit          hide(EQ_ATTENTION_BIAS, -infinite, {0, 2});
    edit          last(EQ_STEER_ADD, 2, {layers - 1});
    must_set(ours, {add, bias, hide, edit(EQ_SILENCE, 0), last});
    columns what = prompt();
    for (int32_t i = 0; i < prompt_size; i++) {
        // 0: on five columns; 1 and 2: behind the span; 3: nowhere; 4: on all, of which the last layer has one
        what.active[(size_t) i] = (i < 5 ? 1u : 0u) | (i >= span_end ? 6u : 0u) | 16u;
    }
    read(ours, what, 5);
    eq_intervention_report got[5] = {};
    CHECK(eq_interventions_report(ours, 0, got, 5) == EQ_OK, "%s", eq_last_error());
    const auto norm = [](const floats & v, size_t from) {
        double squares = 0;
        for (size_t i = from; i < from + width; i++) {
            squares += (double) v[i] * v[i];
        }
        return std::sqrt(squares);
    };
    const int32_t behind = prompt_size - span_end;
    // The change is read off states of a few units, rounded to float: 2^-23 of each of 32 entries.
    const double  moved  = 5 * 0.5 * (norm(add.vectors, 0) + norm(add.vectors, width));
    CHECK(got[0].columns == 5 && got[0].applications == 10, "%lld, %lld", (long long) got[0].columns,
          (long long) got[0].applications);
    CHECK(std::fabs(got[0].delta - moved) <= 1e-5 * moved, "%g, expected %g", got[0].delta, moved);
    const double raised = behind * 1.5 * std::sqrt((double) (span_end - span_first));
    CHECK(got[1].columns == behind && got[1].applications == behind, "%lld", (long long) got[1].columns);
    CHECK(std::fabs(got[1].delta - raised) <= 1e-6 * raised, "%g, expected %g", got[1].delta, raised);
    const double hidden = 2 * behind * std::sqrt((double) (span_end - span_first));
    CHECK(got[2].columns == behind && got[2].applications == 2 * behind, "%lld", (long long) got[2].columns);
    CHECK(std::fabs(got[2].delta - hidden) <= 1e-6 * hidden, "%g, expected %g", got[2].delta, hidden);
    CHECK(got[3].columns == 0 && got[3].applications == 0 && got[3].delta == 0, "%lld", (long long) got[3].columns);
    CHECK(got[4].columns == 1 && got[4].applications == 1, "%lld", (long long) got[4].columns);
    // A token more counts on; setting anew counts from nothing.
    columns more;
    more.add(letter(1), prompt_size, 0, 1, 1);
    read(ours, more);
    CHECK(eq_interventions_report(ours, 0, got, 5) == EQ_OK && got[0].columns == 6, "%lld", (long long) got[0].columns);
    must_set(ours, {add});
    CHECK(eq_interventions_report(ours, 0, got, 1) == EQ_OK && got[0].columns == 0 && got[0].delta == 0, "%lld",
          (long long) got[0].columns);
}

void nothing_is_left_behind(eq_model * model, int32_t flash_attn) {
    const setting how = {flash_attn, 1, 32, 0};
    const floats  plain = read(session(model, how), prompt());
    const session ours(model, how);
    for (const edit & one : every_kind()) {
        forget(ours);
        must_set(ours, {one});
        const floats acted = read(ours, prompt(1, acting_of(one)));
        check_apart(acted, plain, "an intervention");
        // Replaced: only the new one acts. The graph still has the old one's nodes.
        forget(ours);
        const edit other(EQ_STEER_ADD, 0.25f, {1}, 9);
        must_set(ours, {other});
        const session fresh(model, how);
        must_set(fresh, {other});
        check_same(read(ours, prompt(1)), read(fresh, prompt(1)), "replaced");
        forget(ours);
        must_set(ours, {});
        check_same(read(ours, prompt(~uint64_t{0})), plain, "cleared");
    }
    // The cells of a labelled span, used again by tokens of another label: the bias finds nothing.
    forget(ours);
    must_set(ours, {edit(EQ_ATTENTION_BIAS, 3)});
    check_apart(read(ours, prompt(1)), plain, "a bias");
    forget(ours);
    columns unlabelled = prompt(1);
    std::fill(unlabelled.labels.begin(), unlabelled.labels.end(), 1);
    check_same(read(ours, unlabelled), plain, "cells used again");
    forget(ours);
    unlabelled.outputs.back() = 1;
    read(ours, prompt(1));
    forget(ours);
    eq_batch without = unlabelled.batch();
    without.labels   = nullptr;
    CHECK(decode(ours, without) == EQ_OK, "%s", eq_last_error());
    check_same(row(ours, prompt_size - 1), plain, "cells used again by a batch without labels");
    // The end of a sequence is cut off and written anew, elsewhere than before, in the middle of a neighbour's cells.
    forget(ours);
    must_set(ours, {edit(EQ_ATTENTION_BIAS, 3)}, 1);
    read(ours, prompt());
    read(ours, prompt(1, 0, 1));
    CHECK(eq_sequence_remove(ours, 0, span_first) == EQ_OK, "%s", eq_last_error());
    CHECK(eq_sequence_remove(ours, 1, 2) == EQ_OK, "%s", eq_last_error());
    columns rest = prompt(1, 0, 1), head;
    for (int32_t i = 2; i < prompt_size; i++) {
        head.add(rest.tokens[(size_t) i], i, 1, 1, rest.labels[(size_t) i]);
    }
    const session fresh(model, how);
    must_set(fresh, {edit(EQ_ATTENTION_BIAS, 3)}, 1);
    check_close(read(ours, head), read(fresh, prompt(1, 0, 1)), flash_attn, "an end written anew");
    // A copy shares cells, so it shares labels, and has its own interventions.
    const session copied(model, how);
    must_set(copied, {edit(EQ_ATTENTION_BIAS, 3)}, 3);
    columns trunk = prompt(), tip;
    trunk.outputs.back() = 0;
    CHECK(decode(copied, trunk.batch(0, prompt_size - 1)) == EQ_OK, "%s", eq_last_error());
    CHECK(eq_sequence_copy(copied, 0, 3, prompt_size - 1) == EQ_OK, "%s", eq_last_error());
    tip.add(trunk.tokens.back(), prompt_size - 1, 3, 1, 1);
    const session single(model, how);
    must_set(single, {edit(EQ_ATTENTION_BIAS, 3)});
    check_close(read(copied, tip), read(single, prompt(1, prompt_size - 1)), flash_attn, "a copy");
}

void numbers_rebuild_no_graph(eq_model * model) {
    const session ours(model);
    int32_t       position = 0;
    // Whether the graph of the token before served this one.
    const auto    reused   = [&](uint64_t mask, uint8_t label) {
        const int64_t before = eq_context_graphs_reused(ours);
        columns       one;
        one.add(letter(position), position, 0, mask, label);
        position++;
        read(ours, one);
        return eq_context_graphs_reused(ours) == before + 1;
    };
    reused(0, 0);
    CHECK(reused(0, 0), "plain");
    for (const edit & one : every_kind()) {
        must_set(ours, {one});
        reused(0, 0); // whatever is new is built now
    }
    CHECK(eq_merge_set(ours, 1, 2, 0) == EQ_OK, "%s", eq_last_error());
    CHECK(!reused(0, 0), "a merge at a layer that had none");
    for (int32_t round = 0; round < 2; round++) {
        for (edit one : every_kind()) {
            one.raw.amount = std::isfinite(one.raw.amount) ? one.raw.amount * 2 : one.raw.amount;
            one.raw.labels <<= 1;
            std::for_each(one.vectors.begin(), one.vectors.end(), [](float & v) { v *= -0.5f; });
            must_set(ours, {one});
            CHECK(reused(one.raw.amount == -infinite ? 0 : 1, (uint8_t) round), "other numbers of kind %d",
                  one.raw.kind);
        }
    }
    must_set(ours, {});
    CHECK(reused(0, 0), "nothing acts any more");
    CHECK(eq_merge_set(ours, 1, -1, 0) == EQ_OK && reused(0, 0), "the merge was taken back");

    const session narrow(model);
    position            = 0;
    const auto narrowly = [&] {
        const int64_t before = eq_context_graphs_reused(narrow);
        columns       one;
        one.add(letter(position), position, 0, 1, 0);
        position++;
        read(narrow, one);
        return eq_context_graphs_reused(narrow) == before + 1;
    };
    must_set(narrow, {edit(EQ_STEER_ADD, 1, {0})});
    narrowly();
    CHECK(narrowly(), "one layer");
    must_set(narrow, {edit(EQ_STEER_ADD, 1, {0, 2})});
    CHECK(!narrowly() && narrowly(), "a second layer is built once");
    must_set(narrow, {edit(EQ_ATTENTION_BIAS, 1, {1})});
    CHECK(!narrowly() && narrowly(), "another seam is built once");
}

// NaN in one sequence's keys would reach all others through the cells they mask. What could bring it is refused; the
// most that is not leaves the others as they were.
void no_sequence_spoils_another(eq_model * model, int32_t flash_attn) {
    const setting how   = {flash_attn, 1, 32, 0};
    const floats  plain = read(session(model, how), prompt());
    for (const auto & [kind, amount] : std::vector<std::pair<int32_t, float>>{{EQ_STEER_ADD, 1e14f},
                                                                              {EQ_STEER_ADD, -1e14f},
                                                                              {EQ_STEER_ADD_NORMED, 1e14f},
                                                                              {EQ_STEER_CLAMP, 1e14f},
                                                                              {EQ_STEER_ROTATE, 1e14f},
                                                                              {EQ_ATTENTION_BIAS, 1000},
                                                                              {EQ_ATTENTION_BIAS, -1000},
                                                                              {EQ_QUERY_SCALE, 1e4f}}) {
        const session ours(model, how);
        must_set(ours, {edit(kind, amount)});
        const floats extreme = read(ours, prompt(1));
        CHECK(std::all_of(extreme.begin(), extreme.end(), [](float v) { return std::isfinite(v); }), "kind %d times %g",
              kind, (double) amount);
        check_close(read(ours, prompt(0, 0, 1)), plain, flash_attn, "beside it");
        CHECK(eq_sequence_remove(ours, 0, 0) == EQ_OK, "%s", eq_last_error());
        check_close(read(ours, prompt(0, 0, 2)), plain, flash_attn, "after it");
    }
}

// A picture among tokens: a batch of rows, in both directions for gemma3, at one time position under M-RoPE. Hidden
// from what follows it might be another; silenced it might too; and neither is plain.
void pictures_are_placed_as_tokens_are(const char * architecture, int32_t n_layers, int32_t flash_attn) {
    constexpr int32_t       n_rows = 6, columns_a_row = 3, before = 7, behind = 12;
    const bool              mrope  = std::string(architecture) == "qwen2vl";
    const bool              both   = std::string(architecture) == "gemma3";
    // ggml looks gemma3's GELU up at inputs rounded to 11 bits: what differs in its last bit may come out a step apart.
    const int32_t           half   = flash_attn || both;
    const test::tiny_model  file(23, architecture, n_layers);
    eq_model *              model = nullptr;
    CHECK(eq_model_open(file.path(), 0, &model) == EQ_OK, "%s", eq_last_error());
    if (!model) {
        return;
    }
    std::vector<int32_t> at;
    for (int32_t il = 0; il < n_layers; il++) {
        at.push_back(il);
    }
    const auto logits = [&](uint64_t picture, const std::vector<edit> & list, uint64_t on_rows, uint64_t on_words,
                            int32_t each) {
        const session ours(model, {flash_attn, 1, 16, 0});
        must_set(ours, list);
        columns start;
        for (int32_t i = 0; i < before; i++) {
            start.add(letter(i), i, 0, 0, 1);
        }
        read(ours, start, each);
        columns              rows;
        test::random_numbers random(picture);
        for (int32_t i = 0; i < n_rows; i++) {
            rows.add(0, before + (mrope ? 0 : i), 0, on_rows, span_label);
            for (int32_t k = 0; k < width; k++) {
                rows.embeddings.push_back(random.between(-1, 1));
            }
        }
        if (mrope) {
            // Section by section: time, row, column and one that is not used.
            for (int32_t section = 1; section < 4; section++) {
                for (int32_t i = 0; i < n_rows; i++) {
                    rows.positions.push_back(section == 1   ? before + i / columns_a_row
                                             : section == 2 ? before + i % columns_a_row
                                                            : 0);
                }
            }
        }
        eq_batch batch   = rows.batch();
        batch.non_causal = both;
        CHECK(decode(ours, batch) == EQ_OK, "%s: %s", architecture, eq_last_error());
        columns rest;
        for (int32_t i = 0; i < behind; i++) {
            rest.add(letter(i + 3), before + (mrope ? columns_a_row : n_rows) + i, 0, on_words, 1);
        }
        return read(ours, rest, each);
    };
    const floats plain = logits(1, {}, 0, 0, 16);
    check_apart(logits(2, {}, 0, 0, 16), plain, "another picture");
    const edit hide(EQ_ATTENTION_BIAS, -infinite, at), more(EQ_ATTENTION_BIAS, 1.5f, at), silence(EQ_SILENCE, 0);
    edit       less(EQ_ATTENTION_BIAS, -1.5f, at);
    less.raw.labels = ~(uint64_t{1} << span_label);
    for (const int32_t each : {16, 3}) {
        const floats hidden = logits(1, {hide}, 0, 1, each), silent = logits(1, {silence}, 1, 0, each);
        check_apart(hidden, plain, "a hidden picture");
        check_apart(silent, plain, "a silenced picture");
        check_same(logits(2, {hide}, 0, 1, each), hidden, "another hidden picture");
        check_same(logits(2, {silence}, 1, 0, each), silent, "another silenced picture");
        const floats looked = logits(1, {more}, 1, 1, each);
        check_apart(looked, plain, "more attention to a picture");
        check_close(logits(1, {less}, 1, 1, each), looked, half, "less to the rest");
    }
    check_close(logits(1, {hide}, 0, 1, 3), logits(1, {hide}, 0, 1, 16), half, "a hidden picture, split");
    eq_model_close(model);
}

void check_refused(int32_t status, int32_t expected, const char * word, const char * what) {
    CHECK(status == expected, "%s: status %d", what, status);
    CHECK(std::string(eq_last_error()).find(word) != std::string::npos, "%s: '%s' does not say '%s'", what,
          eq_last_error(), word);
}

void refusals(eq_model * model) {
    const session ours(model);
    const auto    refuse = [&](const std::function<void(eq_intervention &)> & spoil, edit from, const char * word,
                               const char * what) {
        eq_intervention one = from.get();
        spoil(one);
        check_refused(eq_interventions_set(ours, 0, &one, 1), EQ_BAD_INPUT, word, what);
    };
    const edit add(EQ_STEER_ADD, 1), bias(EQ_ATTENTION_BIAS, 1), scale(EQ_QUERY_SCALE, 1);
    refuse([](auto & one) { one.kind = 8; }, add, "kind 8", "a kind that is none");
    refuse([](auto & one) { one.kind = -1; }, add, "kind -1", "a kind below all");
    refuse([](auto & one) { one.amount = NAN; }, add, "amount", "an amount that is not a number");
    refuse([](auto & one) { one.amount = infinite; }, bias, "amount", "an infinite bias");
    refuse([](auto & one) { one.amount = 1e5f; }, bias, "amount", "a bias that F16 masks cannot hold");
    refuse([](auto & one) { one.amount = -infinite; }, scale, "amount", "queries times minus infinity");
    refuse([](auto & one) { one.amount = 1e5f; }, scale, "amount", "queries beyond what scores can hold");
    refuse([](auto & one) { one.amount = 3e38f; }, add, "longer than", "a vector that overflows");
    refuse([](auto & one) { one.amount = -1e16f; }, edit(EQ_STEER_CLAMP, 1), "longer than", "a target that overflows");
    refuse([](auto & one) { one.layers = nullptr; }, add, "no layer", "no layers");
    refuse([](auto & one) { one.n_layers = 0; }, bias, "no layer", "zero layers");
    refuse([](auto & one) { one.vectors = nullptr; }, add, "vectors", "steering without vectors");
    const float unwanted[1] = {1};
    refuse([&](auto & one) { one.vectors = unwanted; }, bias, "vectors", "a bias with vectors");
    refuse([](auto &) {}, edit(EQ_STEER_ADD, 1, {layers}), "0..2", "a layer beyond the last");
    refuse([](auto &) {}, edit(EQ_QUERY_SCALE, 1, {-1}), "no layer -1", "a negative layer");
    refuse([](auto &) {}, edit(EQ_ATTENTION_BIAS, 1, {1, 1}), "twice", "a layer twice");
    edit broken(EQ_STEER_ADD_NORMED, 1);
    broken.vectors[width + 3] = NAN;
    refuse([](auto &) {}, broken, "layer 1 is not finite", "a vector that is not finite");
    for (const int32_t kind : {EQ_STEER_ABLATE, EQ_STEER_CLAMP, EQ_STEER_ROTATE}) {
        edit none(kind, 1);
        std::fill(none.vectors.begin(), none.vectors.begin() + width, 0.0f);
        refuse([](auto &) {}, none, "length 0", "no direction");
    }
    edit parallel(EQ_STEER_ROTATE, 1, {0});
    for (int32_t i = 0; i < width; i++) {
        parallel.vectors[(size_t) (width + i)] = -3 * parallel.vectors[(size_t) i];
    }
    refuse([](auto &) {}, parallel, "no plane", "a plane of two parallel vectors");

    const eq_intervention good = add.get();
    check_refused(eq_interventions_set(nullptr, 0, &good, 1), EQ_BAD_INPUT, "null", "no context");
    check_refused(eq_interventions_set(ours, 4, &good, 1), EQ_BAD_INPUT, "sequence 4", "a sequence beyond the last");
    check_refused(eq_interventions_set(ours, -1, &good, 1), EQ_BAD_INPUT, "sequence -1", "a negative sequence");
    check_refused(eq_interventions_set(ours, 0, nullptr, 1), EQ_BAD_INPUT, "1 interventions", "a null list");
    check_refused(eq_interventions_set(ours, 0, &good, -1), EQ_BAD_INPUT, "-1", "a negative count");
    const std::vector<eq_intervention> many(65, good);
    check_refused(eq_interventions_set(ours, 0, many.data(), 65), EQ_BAD_INPUT, "64", "65 interventions");

    eq_intervention_report report = {};
    check_refused(eq_interventions_report(nullptr, 0, &report, 1), EQ_BAD_INPUT, "null", "no context");
    check_refused(eq_interventions_report(ours, 4, &report, 1), EQ_BAD_INPUT, "sequence 4", "no such sequence");
    check_refused(eq_interventions_report(ours, 0, &report, 1), EQ_BAD_INPUT, "of 0", "more reports than there are");
    check_refused(eq_interventions_report(ours, 0, nullptr, 0), EQ_BAD_INPUT, "0 reports", "nowhere to report");

    check_refused(eq_merge_set(nullptr, 0, 1, 0), EQ_BAD_INPUT, "null", "no context");
    check_refused(eq_merge_set(ours, 0, 0, 0), EQ_BAD_INPUT, "0 and 0", "a sequence with itself");
    check_refused(eq_merge_set(ours, 4, 0, 0), EQ_BAD_INPUT, "4 and 0", "no such first");
    check_refused(eq_merge_set(ours, 0, 4, 0), EQ_BAD_INPUT, "0 and 4", "no such second");
    check_refused(eq_merge_set(ours, 0, 1, -1), EQ_BAD_INPUT, "layer -1", "a negative layer");
    check_refused(eq_merge_set(ours, 0, 1, layers - 1), EQ_BAD_INPUT, "below the last", "the last layer");
    CHECK(eq_merge_set(ours, 0, 1, 0) == EQ_OK && eq_merge_set(ours, 0, 1, 1) == EQ_OK, "%s", eq_last_error());
    check_refused(eq_merge_set(ours, 1, 2, 0), EQ_BAD_INPUT, "another merge", "a second that is a first");
    check_refused(eq_merge_set(ours, 2, 0, 0), EQ_BAD_INPUT, "another merge", "a first that is a second");
    check_refused(eq_merge_set(ours, 2, 1, 0), EQ_BAD_INPUT, "another merge", "one second for two");

    columns uneven;
    uneven.add(1, 0, 0);
    uneven.add(1, 0, 1);
    uneven.add(letter(1), 1, 1);
    check_refused(decode(ours, uneven.batch()), EQ_BAD_INPUT, "1 and 2 columns", "an uneven merge");
    columns bad = prompt();
    bad.labels[2] = 64;
    check_refused(decode(ours, bad.batch()), EQ_BAD_INPUT, "label 64", "a label beyond the last");
    must_set(ours, {edit(EQ_ATTENTION_BIAS, -infinite)}, 3);
    check_refused(decode(ours, prompt(1, 0, 3).batch()), EQ_BAD_INPUT, "from itself", "a span hidden from itself");
    bad            = prompt();
    bad.weights[3] = 1.5f;
    check_refused(decode(ours, bad.batch()), EQ_BAD_INPUT, "merge weight", "a weight above 1");
    bad.weights[3] = NAN;
    check_refused(decode(ours, bad.batch()), EQ_BAD_INPUT, "merge weight", "a weight that is not a number");
    // What was refused has changed nothing.
    CHECK(eq_merge_set(ours, 0, -1, 0) == EQ_OK, "%s", eq_last_error());
    check_same(read(ours, prompt(~uint64_t{0})), read(session(model), prompt()), "after all that");
}

} // namespace

int main() {
    const test::tiny_model file(17);
    eq_model *             model = nullptr;
    CHECK(eq_start("") == EQ_OK, "%s", eq_last_error());
    CHECK(eq_model_open(file.path(), 0, &model) == EQ_OK, "%s", eq_last_error());
    if (!model) {
        return test::verdict("inside");
    }
    for (const int32_t flash_attn : {0, 1}) {
        adding_is_the_control_vector(model, file.path(), flash_attn);
        nothing_of_a_kind_is_plain(model, flash_attn);
        a_hidden_span_might_not_be_there(model, file.path(), flash_attn);
        attention_knows_differences_only(model, flash_attn, false);
        attention_knows_differences_only(model, flash_attn, true);
        query_scales_multiply(model, flash_attn);
        threads_agree(model, flash_attn);
        splits_and_company(model, flash_attn);
        nothing_is_left_behind(model, flash_attn);
        no_sequence_spoils_another(model, flash_attn);
        pictures_are_placed_as_tokens_are("qwen2vl", layers, flash_attn);
        pictures_are_placed_as_tokens_are("gemma3", 6, flash_attn);
    }
    silence_is_rows_of_zeros(model);
    merged_branches_are_one(model, 1);
    merged_branches_are_one(model, 3);
    reports_count(model);
    numbers_rebuild_no_graph(model);
    refusals(model);
    eq_model_close(model);
    char line[256];
    while (eq_log_next(line, sizeof(line)) != 0) {
    }
    CHECK(eq_live_objects() == 0, "%lld handles are left", (long long) eq_live_objects());
    return test::verdict("inside");
}
