// What a vision encoder attends to, computed again from the queries and keys that libmtmd's callback shows.
#pragma once

#include "ggml.h"

#include <cstdint>
#include <vector>

namespace eq {

// N of a tensor called "what-N", as libmtmd names those of block N; -1 of all others, such as "what-N (permuted)".
int32_t block_of(const ggml_tensor * tensor, const char * what);

class encoder_attention {
public:
    // Whether queries and keys of what is encoded from now on are kept.
    void watch(bool wanted);

    bool wants(const ggml_tensor * tensor) const;
    void take(const ggml_tensor * tensor);

    /*
     * The weight on each of n_rows rows in the last block that ran, the mean of heads: what a class token pays, where the
     * encoder has one, else the mean of all queries. Empty where its positions are not its rows, as with merged patches,
     * no block ran, or what was seen is not understood. Scores are divided by the square root of the head's size, as encoders do that have a row for each position.
     */
    std::vector<float> over(int32_t n_rows) const;

private:
    // Of one block: [positions][heads][size].
    struct rows {
        int64_t            size      = 0;
        int64_t            heads     = 0;
        int64_t            positions = 0;
        std::vector<float> values;
    };

    static void take(const ggml_tensor * tensor, rows & to);

    bool on = false;
    rows queries;
    rows keys;
};

} // namespace eq
