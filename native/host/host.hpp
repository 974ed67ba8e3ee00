// What the files of the host share: errors, ownership, and the structs behind the handles.
#pragma once

#include "equipoise.h"

#include "llama.h"
#include "mtmd.h"

#include "vision.hpp"

#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace eq {

// A refusal: its status and its text go to the caller.
struct error : std::runtime_error {
    error(int32_t code, const std::string & text) : std::runtime_error(text), status(code) {}
    int32_t status;
};

[[noreturn]] void fail(int32_t status, const char * format, ...) __attribute__((format(printf, 2, 3)));

#define EQ_REQUIRE(condition, ...)                \
    do {                                          \
        if (!(condition)) {                       \
            ::eq::fail(EQ_BAD_INPUT, __VA_ARGS__); \
        }                                         \
    } while (false)

void        set_last_error(const std::string & text);
void        clear_error_log();
std::string error_log(); // what llama.cpp logged as an error on this thread since clear_error_log

// Runs the body of an exported function: no exception crosses the C ABI.
template <typename Body> int32_t guard(Body && body) noexcept {
    try {
        clear_error_log();
        body();
        return EQ_OK;
    } catch (const error & e) {
        set_last_error(e.what());
        return e.status;
    } catch (const std::bad_alloc &) {
        set_last_error("out of memory");
        return EQ_UNAVAILABLE;
    } catch (const std::exception & e) {
        set_last_error(e.what());
        return EQ_INTERNAL;
    } catch (...) {
        set_last_error("an exception of unknown type");
        return EQ_INTERNAL;
    }
}

// Counts the handles that are open.
class counted {
public:
    counted() { live.fetch_add(1, std::memory_order_relaxed); }
    ~counted() { live.fetch_sub(1, std::memory_order_relaxed); }
    counted(const counted &)             = delete;
    counted & operator=(const counted &) = delete;

    static std::atomic<int64_t> live;
};

// Positions that one embedding row carries: 4 under M-RoPE.
int32_t positions_per_embedding(const llama_model * weights);

struct model_deleter {
    void operator()(llama_model * model) const { llama_model_free(model); }
};
struct context_deleter {
    void operator()(llama_context * context) const { llama_free(context); }
};
struct sampler_deleter {
    void operator()(llama_sampler * sampler) const { llama_sampler_free(sampler); }
};

} // namespace eq

// The weights outlive every handle that was made from them, whatever order those are closed in.
struct eq_model {
    eq::counted                  count;
    std::shared_ptr<llama_model> weights;
    const llama_vocab *          vocab = nullptr;
    std::string                  chat_template;
    bool                         has_chat_template = false;
    bool                         on_gpu            = false;
};

struct eq_media {
    eq::counted                  count;
    std::shared_ptr<llama_model> weights;
    eq::encoder_watch            watch; // outlives the encoders, which call it
    mtmd::context_ptr            encoders;
    int32_t                      n_embd_inp     = 0;
    int32_t                      n_pos_per_embd = 1;
};

struct eq_encoding {
    struct chunk {
        std::vector<int32_t> tokens;
        std::vector<float>   embeddings;
        std::vector<int32_t> positions;
        std::vector<float>   saliency; // empty if it was not asked for, or has no place for each token
        std::vector<eq::encoder_states::states> states; // as asked for
        double               delta       = 0;
        int32_t              n_tokens    = 0;
        int32_t              n_positions = 0;
        bool                 non_causal  = false;
    };

    eq::counted        count;
    std::vector<chunk> chunks;
};

struct eq_sampler {
    eq::counted                                          count;
    std::shared_ptr<llama_model>                         weights;
    std::unique_ptr<llama_sampler, eq::sampler_deleter> grammar; // apart from the chain: it may mask everything
    std::unique_ptr<llama_sampler, eq::sampler_deleter> chain;
};
