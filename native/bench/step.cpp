// What a step costs beside llama.cpp's own: eq_decode and llama_decode in one process, over the same weights, in short
// blocks that take turns, so that neither the place of pages nor the state of the machine comes between them.
//
//   equipoise-step MODEL.gguf [--gpu-layers N] [--threads N] [--rounds N] [--tokens N] [--depth N] [--branches N]
//
// Prints a line of JSON: per arm the median of microseconds a step, and against bare llama.cpp the median of the rounds'
// ratios with the interval that holds it with 95 % confidence (ranks by binomial odds). Bare llama.cpp decodes, waits
// and leaves its logits where it copied them, as llama-bench does; "draw" then takes the best token of them. All arms
// multiply alike: ours, or with EQUIPOISE_PRODUCTS=llama ggml's kernels.

#include "../host/host.hpp"

#include "equipoise.h"
#include "equipoise_kernels.h"

#include "llama.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

struct settings {
    const char * path     = nullptr;
    int32_t      layers   = 0;
    int32_t      threads  = 2;
    int32_t      rounds   = 101;
    int32_t      tokens   = 16;
    int32_t      depth    = 64;
    int32_t      branches = 1;
    int32_t      cells() const { return (branches * (depth + tokens) + 255) / 256 * 256; }
};

[[noreturn]] void give_up(const char * what) {
    fprintf(stderr, "equipoise-step: %s: %s\n", what, eq_last_error());
    exit(1);
}

settings read(int argc, char ** argv) {
    settings of;
    of.path = argc > 1 ? argv[1] : nullptr;
    for (int i = 2; i + 1 < argc; i += 2) {
        const std::string name = argv[i];
        int32_t * const   to   = name == "--gpu-layers" ? &of.layers
                                 : name == "--threads"  ? &of.threads
                                 : name == "--rounds"   ? &of.rounds
                                 : name == "--tokens"   ? &of.tokens
                                 : name == "--depth"    ? &of.depth
                                 : name == "--branches" ? &of.branches
                                                        : nullptr;
        if (!to || (*to = atoi(argv[i + 1])) < (to == &of.layers ? 0 : 1)) {
            of.path = nullptr;
        }
    }
    if (!of.path || of.branches > 8 || argc % 2 != 0) {
        fprintf(stderr, "usage: equipoise-step MODEL.gguf [--gpu-layers N] [--threads N] [--rounds N] [--tokens N] "
                        "[--depth N] [--branches 1..8]\n");
        exit(2);
    }
    return of;
}

// One way to make steps: a prompt, then a token of each branch a step.
class arm {
public:
    explicit arm(const settings & of) : with(of) {}
    virtual ~arm() = default;

    // Seconds of a block of steps behind a fresh prompt.
    double block() {
        prefill();
        const auto begin = std::chrono::steady_clock::now();
        for (int32_t i = 0; i < with.tokens; i++) {
            step(with.depth + i);
        }
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }

protected:
    virtual void prefill()              = 0;
    virtual void step(int32_t position) = 0;

    // Any tokens do: speed does not depend on them.
    static int32_t token(int32_t position) { return 16 + position % 64; }

    const settings with;
};

class bare : public arm {
public:
    bare(const settings & of, llama_model * weights, bool draws) : arm(of), draw(draws) {
        llama_context_params params = llama_context_default_params();
        params.n_ctx                = (uint32_t) of.cells();
        params.n_batch              = 512;
        params.n_ubatch             = 512;
        params.n_seq_max            = (uint32_t) of.branches;
        params.n_outputs_max        = (uint32_t) of.branches;
        params.n_threads            = of.threads;
        params.n_threads_batch      = of.threads;
        params.kv_unified           = true;
        context.reset(llama_init_from_model(weights, params));
        n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(weights));
        batch   = llama_batch_init(512, 0, 1);
    }
    ~bare() override { llama_batch_free(batch); }

private:
    void add(int32_t token, int32_t position, int32_t sequence, bool output) {
        const int32_t i    = batch.n_tokens++;
        batch.token[i]     = token;
        batch.pos[i]       = position;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = sequence;
        batch.logits[i]    = output;
    }

    void decode() {
        if (llama_decode(context.get(), batch) != 0) {
            give_up("llama_decode");
        }
        llama_synchronize(context.get());
    }

    void prefill() override {
        llama_memory_clear(llama_get_memory(context.get()), false);
        for (int32_t b = 0; b < with.branches; b++) {
            batch.n_tokens = 0;
            for (int32_t i = 0; i < with.depth; i++) {
                add(token(i), i, b, i + 1 == with.depth);
            }
            decode();
        }
    }

    void step(int32_t position) override {
        batch.n_tokens = 0;
        for (int32_t b = 0; b < with.branches; b++) {
            add(token(position), position, b, true);
        }
        decode();
        int64_t best = 0;
        if (draw) {
            eqk_argmax(llama_get_logits_ith(context.get(), 0), n_vocab, &best);
        }
    }

    const bool                                           draw;
    std::unique_ptr<llama_context, eq::context_deleter> context;
    llama_batch                                          batch   = {};
    int32_t                                              n_vocab = 0;
};

class ours : public arm {
public:
    ours(const settings & of, eq_model * model, int32_t draw) : arm(of) {
        const eq_context_params params = {of.cells(), 512, of.branches, of.threads, 0, -1, 0, draw};
        if (eq_context_open(model, &params, &context) != EQ_OK) {
            give_up("eq_context_open");
        }
        for (int32_t b = 0; b < of.branches; b++) {
            members.push_back(b);
            weights.push_back(b == 0 ? 2.0f : -1.0f / (float) (of.branches - 1));
        }
    }
    ~ours() override { eq_context_close(context); }

private:
    void add(int32_t token, int32_t position, int32_t sequence, bool output) {
        tokens.push_back(token);
        positions.push_back(position);
        sequences.push_back(sequence);
        outputs.push_back(output);
    }

    void decode(const eq_group * group, eq_pick * pick) {
        eq_batch batch  = {};
        batch.tokens    = tokens.data();
        batch.positions = positions.data();
        batch.sequences = sequences.data();
        batch.outputs   = outputs.data();
        batch.n_tokens  = (int32_t) tokens.size();
        if (eq_decode(context, &batch, group, group ? 1 : 0, pick, pick ? 1 : 0, nullptr, nullptr) != EQ_OK) {
            give_up("eq_decode");
        }
        tokens.clear();
        positions.clear();
        sequences.clear();
        outputs.clear();
    }

    void prefill() override {
        for (int32_t b = 0; b < with.branches; b++) {
            eq_sequence_remove(context, b, 0);
        }
        for (int32_t b = 0; b < with.branches; b++) {
            for (int32_t i = 0; i < with.depth; i++) {
                add(token(i), i, b, i + 1 == with.depth);
            }
            decode(nullptr, nullptr);
        }
    }

    void step(int32_t position) override {
        for (int32_t b = 0; b < with.branches; b++) {
            add(token(position), position, b, true);
        }
        eq_group group       = {};
        group.sequences      = members.data();
        group.coefficients   = weights.data();
        group.n_branches     = with.branches;
        group.plausibility   = 0.1f;
        eq_pick pick         = {};
        pick.group           = with.branches > 1 ? 0 : -1;
        decode(with.branches > 1 ? &group : nullptr, &pick);
    }

    eq_context *         context = nullptr;
    std::vector<int32_t> tokens, positions, sequences, members;
    std::vector<int8_t>  outputs;
    std::vector<float>   weights;
};

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

// The k-th smallest and k-th largest bracket the median with the odds that a fair coin gives.
std::string spread(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const size_t n    = values.size();
    double       each = std::pow(0.5, (double) n);
    double       tail = 0;
    size_t       k    = 0;
    for (size_t i = 0; i < n && tail + each <= 0.025; i++) {
        tail += each;
        each *= (double) (n - i) / (double) (i + 1);
        k = i + 1;
    }
    char text[160];
    snprintf(text, sizeof(text), "{\"median\":%.4f,\"ci95\":[%.4f,%.4f],\"n\":%zu}", median(values),
             values[k > 0 ? k - 1 : 0], values[k > 0 ? n - k : n - 1], n);
    return text;
}

} // namespace

int main(int argc, char ** argv) {
    const settings with = read(argc, argv);
    eq_model * model = nullptr;
    if (eq_start(nullptr) != EQ_OK) {
        give_up("eq_start");
    }
    if (eq_model_open(with.path, with.layers, &model) != EQ_OK) {
        give_up("eq_model_open");
    }
    const char * const names[] = {"bare", "bare, draw", "ours, draw on the host", "ours, draw in the graph"};
    std::vector<std::unique_ptr<arm>> arms;
    arms.push_back(std::make_unique<bare>(with, model->weights.get(), false));
    arms.push_back(std::make_unique<bare>(with, model->weights.get(), true));
    arms.push_back(std::make_unique<ours>(with, model, 0));
    arms.push_back(std::make_unique<ours>(with, model, 1));
    std::vector<std::vector<double>> seconds(arms.size());
    for (int32_t round = -3; round < with.rounds; round++) {
        for (size_t i = 0; i < arms.size(); i++) {
            const size_t a    = (i + (size_t) (round + 3)) % arms.size();
            const double took = arms[a]->block();
            if (round >= 0) {
                seconds[a].push_back(took / with.tokens);
            }
        }
    }
    printf("{\"model\":\"%s\",\"gpu_layers\":%d,\"threads\":%d,\"branches\":%d,\"tokens\":%d,\"depth\":%d,\"arms\":[",
           strrchr(with.path, '/') ? strrchr(with.path, '/') + 1 : with.path, with.layers, with.threads, with.branches,
           with.tokens, with.depth);
    for (size_t a = 0; a < arms.size(); a++) {
        std::vector<double> ratios;
        for (size_t r = 0; r < seconds[a].size(); r++) {
            ratios.push_back(seconds[a][r] / seconds[0][r]);
        }
        printf("%s{\"arm\":\"%s\",\"us_per_step\":%.1f,\"time_by_bare\":%s}", a ? "," : "", names[a],
               median(seconds[a]) * 1e6, spread(ratios).c_str());
    }
    printf("]}\n");
    arms.clear();
    eq_model_close(model);
}
