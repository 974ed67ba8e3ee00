// A random float32 model of the llama architecture, small enough to be written for every test.
#ifndef EQUIPOISE_TEST_TINY_MODEL_H
#define EQUIPOISE_TEST_TINY_MODEL_H

#include "../kernels/check.h"

#include "ggml.h"
#include "gguf.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <unistd.h>
#include <vector>

namespace test {

// A file that is gone when the test is.
class tiny_model {
public:
    static constexpr int32_t layers  = 3; // one below a merge, the merge's, one above
    static constexpr int32_t width   = 32;
    static constexpr int32_t heads   = 4;
    static constexpr int32_t feed    = 48;
    static constexpr int32_t n_vocab = 3 + 256 + 26; // unknown, begin, end; every byte; the letters

    explicit tiny_model(uint64_t seed) : random(seed) {
        char      name[]     = "/tmp/equipoise-tiny-XXXXXX";
        const int descriptor = mkstemp(name);
        if (descriptor < 0) {
            perror("temporary file");
            abort();
        }
        close(descriptor);
        file  = name;
        gguf  = gguf_init_empty();
        space = ggml_init({4 << 20, nullptr, false});
        describe();
        vocabulary();
        weights();
        if (!gguf_write_to_file(gguf, name, false)) {
            fprintf(stderr, "%s: cannot be written\n", name);
            abort();
        }
        gguf_free(gguf);
        ggml_free(space);
    }
    ~tiny_model() { unlink(file.c_str()); }
    tiny_model(const tiny_model &)             = delete;
    tiny_model & operator=(const tiny_model &) = delete;

    const char * path() const { return file.c_str(); }

private:
    void describe() {
        gguf_set_val_str(gguf, "general.architecture", "llama");
        gguf_set_val_u32(gguf, "llama.context_length", 128);
        gguf_set_val_u32(gguf, "llama.embedding_length", width);
        gguf_set_val_u32(gguf, "llama.block_count", layers);
        gguf_set_val_u32(gguf, "llama.feed_forward_length", feed);
        gguf_set_val_u32(gguf, "llama.attention.head_count", heads);
        gguf_set_val_u32(gguf, "llama.attention.head_count_kv", heads);
        gguf_set_val_f32(gguf, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
        gguf_set_val_u32(gguf, "llama.rope.dimension_count", width / heads);
    }

    void vocabulary() {
        std::vector<std::string> words = {"<unk>", "<s>", "</s>"};
        std::vector<int32_t>     types = {2, 3, 3}; // unknown, control, control
        for (int byte = 0; byte < 256; byte++) {
            char word[8];
            snprintf(word, sizeof(word), "<0x%02X>", byte);
            words.emplace_back(word);
            types.push_back(6); // byte
        }
        for (char letter = 'a'; letter <= 'z'; letter++) {
            words.emplace_back(1, letter);
            types.push_back(1); // normal
        }
        std::vector<const char *> texts;
        for (const std::string & word : words) {
            texts.push_back(word.c_str());
        }
        const std::vector<float> scores(words.size(), 0.0f);
        gguf_set_val_str(gguf, "tokenizer.ggml.model", "llama");
        gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", texts.data(), texts.size());
        gguf_set_arr_data(gguf, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores.data(), scores.size());
        gguf_set_arr_data(gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
        gguf_set_val_bool(gguf, "tokenizer.ggml.add_space_prefix", false);
        gguf_set_val_u32(gguf, "tokenizer.ggml.bos_token_id", 1);
        gguf_set_val_u32(gguf, "tokenizer.ggml.eos_token_id", 2);
    }

    void weights() {
        matrix("token_embd.weight", width, n_vocab);
        norm("output_norm.weight");
        matrix("output.weight", width, n_vocab);
        for (int i = 0; i < layers; i++) {
            const std::string block = "blk." + std::to_string(i) + ".";
            norm(block + "attn_norm.weight");
            matrix(block + "attn_q.weight", width, width);
            matrix(block + "attn_k.weight", width, width);
            matrix(block + "attn_v.weight", width, width);
            matrix(block + "attn_output.weight", width, width);
            norm(block + "ffn_norm.weight");
            matrix(block + "ffn_gate.weight", width, feed);
            matrix(block + "ffn_up.weight", width, feed);
            matrix(block + "ffn_down.weight", feed, width);
        }
    }

    void norm(const std::string & name) { add(ggml_new_tensor_1d(space, GGML_TYPE_F32, width), name, 0.9, 1.1); }

    // Uniform with variance 1 / inputs: activations stay of order one.
    void matrix(const std::string & name, int64_t inputs, int64_t outputs) {
        const double bound = std::sqrt(3.0 / (double) inputs);
        add(ggml_new_tensor_2d(space, GGML_TYPE_F32, inputs, outputs), name, -bound, bound);
    }

    void add(ggml_tensor * tensor, const std::string & name, double low, double high) {
        ggml_set_name(tensor, name.c_str());
        for (int64_t i = 0; i < ggml_nelements(tensor); i++) {
            static_cast<float *>(tensor->data)[i] = random.between(low, high);
        }
        gguf_add_tensor(gguf, tensor);
    }

    random_numbers random;
    std::string    file;
    gguf_context * gguf  = nullptr;
    ggml_context * space = nullptr;
};

} // namespace test

#endif
