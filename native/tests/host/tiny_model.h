// Random float32 models of the llama architecture and of two that place their pictures otherwise, and a picture encoder,
// small enough to be written for every test.
#ifndef EQUIPOISE_TEST_TINY_MODEL_H
#define EQUIPOISE_TEST_TINY_MODEL_H

#include "../kernels/check.h"

#include "ggml.h"
#include "gguf.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
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
    static constexpr int32_t side    = 32; // pixels of a picture
    static constexpr int32_t patch   = 8;  // pixels of a patch
    static constexpr int32_t patches = side / patch * (side / patch);

    // llama; qwen2vl, under M-RoPE; gemma3, with a sliding window and a second cache from 6 blocks on; or clip, the
    // encoder, which runs all blocks but the last.
    explicit tiny_model(uint64_t seed, const char * of = "llama", int32_t n_blocks = layers)
        : random(seed), architecture(of), blocks(n_blocks) {
        file                 = std::filesystem::temp_directory_path() / "equipoise-tiny-XXXXXX";
        const int descriptor = mkstemp(file.data());
        if (descriptor < 0) {
            perror("temporary file");
            abort();
        }
        close(descriptor);
        gguf  = gguf_init_empty();
        space = ggml_init({4 << 20, nullptr, false});
        if (architecture == "clip") {
            encoder();
        } else {
            describe();
            vocabulary();
            weights();
        }
        if (!gguf_write_to_file(gguf, path(), false)) {
            fprintf(stderr, "%s: cannot be written\n", path());
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
    std::string key(const char * name) const { return architecture + "." + name; }

    void describe() {
        gguf_set_val_str(gguf, "general.architecture", architecture.c_str());
        gguf_set_val_u32(gguf, key("context_length").c_str(), 128);
        gguf_set_val_u32(gguf, key("embedding_length").c_str(), width);
        gguf_set_val_u32(gguf, key("block_count").c_str(), (uint32_t) blocks);
        gguf_set_val_u32(gguf, key("feed_forward_length").c_str(), feed);
        gguf_set_val_u32(gguf, key("attention.head_count").c_str(), heads);
        gguf_set_val_u32(gguf, key("attention.head_count_kv").c_str(), heads);
        gguf_set_val_f32(gguf, key("attention.layer_norm_rms_epsilon").c_str(), 1e-5f);
        if (architecture == "qwen2vl") {
            const int32_t sections[] = {1, 2, 1, 0}; // pairs of a head turned by time, row and column
            gguf_set_arr_data(gguf, key("rope.dimension_sections").c_str(), GGUF_TYPE_INT32, sections, 4);
        } else {
            gguf_set_val_u32(gguf, key("rope.dimension_count").c_str(), width / heads);
        }
        if (architecture == "gemma3") {
            gguf_set_val_u32(gguf, key("attention.key_length").c_str(), width / heads);
            gguf_set_val_u32(gguf, key("attention.value_length").c_str(), width / heads);
            gguf_set_val_u32(gguf, key("attention.sliding_window").c_str(), 8);
        }
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
        for (int i = 0; i < blocks; i++) {
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
            if (architecture == "qwen2vl") {
                norm(block + "attn_q.bias");
                norm(block + "attn_k.bias");
                norm(block + "attn_v.bias");
            }
            if (architecture == "gemma3") {
                norm(block + "attn_q_norm.weight", width / heads);
                norm(block + "attn_k_norm.weight", width / heads);
                norm(block + "post_attention_norm.weight");
                norm(block + "post_ffw_norm.weight");
            }
        }
    }

    void encoder() {
        gguf_set_val_str(gguf, "general.architecture", "clip");
        gguf_set_val_bool(gguf, "clip.has_vision_encoder", true);
        gguf_set_val_bool(gguf, "clip.use_gelu", true);
        gguf_set_val_str(gguf, "clip.vision.projector_type", "mlp");
        gguf_set_val_u32(gguf, "clip.vision.image_size", side);
        gguf_set_val_u32(gguf, "clip.vision.patch_size", patch);
        gguf_set_val_u32(gguf, "clip.vision.embedding_length", width);
        gguf_set_val_u32(gguf, "clip.vision.feed_forward_length", feed);
        gguf_set_val_u32(gguf, "clip.vision.block_count", (uint32_t) blocks);
        gguf_set_val_u32(gguf, "clip.vision.projection_dim", width);
        gguf_set_val_u32(gguf, "clip.vision.attention.head_count", heads);
        gguf_set_val_f32(gguf, "clip.vision.attention.layer_norm_epsilon", 1e-5f);
        const float mean[] = {0.5f, 0.5f, 0.5f}, deviation[] = {0.25f, 0.25f, 0.25f};
        gguf_set_arr_data(gguf, "clip.vision.image_mean", GGUF_TYPE_FLOAT32, mean, 3);
        gguf_set_arr_data(gguf, "clip.vision.image_std", GGUF_TYPE_FLOAT32, deviation, 3);
        add(ggml_new_tensor_4d(space, GGML_TYPE_F32, patch, patch, 3, width), "v.patch_embd.weight", -0.1, 0.1);
        matrix("v.position_embd.weight", width, patches);
        for (int i = 0; i < blocks; i++) {
            const std::string block = "v.blk." + std::to_string(i) + ".";
            for (const char * name : {"ln1", "ln2"}) {
                norm(block + name + ".weight");
                norm(block + name + ".bias");
            }
            for (const char * name : {"attn_q", "attn_k", "attn_v", "attn_out"}) {
                matrix(block + name + ".weight", width, width);
            }
            matrix(block + "ffn_up.weight", width, feed);
            matrix(block + "ffn_down.weight", feed, width);
        }
        for (const char * name : {"mm.0", "mm.2"}) {
            matrix(std::string(name) + ".weight", width, width);
            norm(std::string(name) + ".bias");
        }
    }

    void norm(const std::string & name, int64_t n = width) {
        add(ggml_new_tensor_1d(space, GGML_TYPE_F32, n), name, 0.9, 1.1);
    }

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
    std::string    architecture;
    int32_t        blocks;
    std::string    file;
    gguf_context * gguf  = nullptr;
    ggml_context * space = nullptr;
};

} // namespace test

#endif
