// Attention edits that live in the mask or in the queries, through the C ABI: against the same network without the span,
// against each other, and with pictures among the tokens.
#include "inside.h"

#include <functional>

using namespace inside;

namespace {

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

} // namespace

int main() {
    return run("masks", 17, [](eq_model * model, const char * path) {
        for (const int32_t flash_attn : {0, 1}) {
            a_hidden_span_might_not_be_there(model, path, flash_attn);
            attention_knows_differences_only(model, flash_attn, false);
            attention_knows_differences_only(model, flash_attn, true);
            query_scales_multiply(model, flash_attn);
            pictures_are_placed_as_tokens_are("qwen2vl", layers, flash_attn);
            pictures_are_placed_as_tokens_are("gemma3", 6, flash_attn);
        }
    });
}
