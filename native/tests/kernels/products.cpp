// Products against their definition, to the bit and in long double, at sizes with every tail, against guard pages; and
// whether a result depends on anything but its row and its column.

#include "check.h"
#include "equipoise_products.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

using namespace test;

namespace {

using real = long double;

struct sizes_of {
    int64_t blocks, n_out, n_columns;
};

// In sizes that are no multiple of eight only what lies row by row.
const sizes_of shapes[] = {{1, 8, 1},  {2, 16, 2}, {3, 8, 3},   {5, 24, 4},  {32, 40, 5}, {1, 8, 6},   {11, 16, 7},
                           {3, 48, 8}, {4, 8, 9},  {88, 16, 8}, {2, 8, 15},  {2, 24, 16}, {3, 16, 17}, {1, 16, 24},
                           {8, 8, 33}, {64, 8, 3}, {3, 1, 2},   {2, 3, 9},   {1, 5, 4},   {2, 11, 8},  {5, 13, 1},
                           {1, 4, 5},  {2, 27, 33}};

const int32_t types[] = {EQK_WEIGHTS_Q4_0_EIGHT_ROWS, EQK_WEIGHTS_Q8_0, EQK_WEIGHTS_Q4_K_EIGHT_ROWS, EQK_WEIGHTS_Q6_K};
const char *  names[] = {"q4_0", "q8_0", "q4_K", "q6_K"};

bool in_eights(int32_t type) {
    return type == EQK_WEIGHTS_Q4_0_EIGHT_ROWS || type == EQK_WEIGHTS_Q4_K_EIGHT_ROWS;
}
bool by_256(int32_t type) {
    return type == EQK_WEIGHTS_Q4_K_EIGHT_ROWS || type == EQK_WEIGHTS_Q6_K;
}
int64_t block_of(int32_t type) {
    return by_256(type) ? EQK_BLOCK_K : EQK_BLOCK;
}
bool is_size_of(int32_t type, const sizes_of & of) {
    return !in_eights(type) || of.n_out % 8 == 0;
}

// Weights as ggml keeps them, of any bits but for the scales, and what they are by equipoise_products.h.
struct weights {
    weights(int32_t what, const sizes_of & of, random_numbers & random)
        : type(what), blocks(of.blocks), packed(static_cast<size_t>(of.n_out * of.blocks) * bytes()) {
        for (size_t i = 0; i < packed.length(); i++) {
            packed[i] = static_cast<uint8_t>(random.next());
        }
        for (int64_t row = 0; row < of.n_out; row++) {
            for (int64_t b = 0; b < blocks; b++) {
                for (size_t i = 0; i < (type == EQK_WEIGHTS_Q4_K_EIGHT_ROWS ? 2 : 1); i++) {
                    // Of either sign, between 2^-9 and 2^-6.
                    const auto half = static_cast<uint16_t>((random.next() & 0x8000) | (0x1800 + random.below(0xc00)));
                    memcpy(scale_at(row, b) + i * 16, &half, sizeof(half));
                }
            }
        }
    }

    // A row's share of a block.
    size_t bytes() const {
        const size_t of[] = {18, 34, 144, 210};
        return of[type];
    }
    // The block, or that of the eight rows.
    uint8_t * block(int64_t row, int64_t b) {
        return in_eights(type) ? packed.data() + static_cast<size_t>(row / 8 * blocks + b) * 8 * bytes()
                               : packed.data() + static_cast<size_t>(row * blocks + b) * bytes();
    }
    uint8_t * scale_at(int64_t row, int64_t b) {
        return block(row, b) + (in_eights(type) ? row % 8 * 2 : type == EQK_WEIGHTS_Q6_K ? 208 : 0);
    }
    static float half(const uint8_t * at) {
        uint16_t bits;
        memcpy(&bits, at, sizeof(bits));
        const int exponent = bits >> 10 & 31; // never 0 here
        return std::ldexp(static_cast<float>(1024 + (bits & 1023)), exponent - 25) * (bits & 0x8000 ? -1 : 1);
    }
    float scale(int64_t row, int64_t b) { return half(scale_at(row, b)); }
    float least_scale(int64_t row, int64_t b) {
        return type == EQK_WEIGHTS_Q4_K_EIGHT_ROWS ? half(scale_at(row, b) + 16) : 0;
    }
    // The integer that the value i of a block is.
    int value(int64_t row, int64_t b, int64_t i) {
        const uint8_t * const at = block(row, b);
        switch (type) {
            case EQK_WEIGHTS_Q4_0_EIGHT_ROWS: {
                const int64_t j   = i % 16;
                const uint8_t two = at[16 + j / 8 * 64 + row % 8 * 8 + j % 8];
                const int     four = i < 16 ? two & 15 : two >> 4;
                return four < 8 ? four : four - 16;
            }
            case EQK_WEIGHTS_Q8_0: return static_cast<int8_t>(at[2 + i]);
            case EQK_WEIGHTS_Q4_K_EIGHT_ROWS: {
                const int64_t j   = i / 64 * 32 + i % 32;
                const uint8_t two = at[128 + j / 8 * 64 + row % 8 * 8 + j % 8];
                return i % 64 < 32 ? two & 15 : two >> 4;
            }
            default: {
                const int64_t h = i / 128, t = i / 32 % 4, j = i % 32;
                const int     low = at[64 * h + 32 * (t % 2) + j] >> (t < 2 ? 0 : 4) & 15;
                return (low | (at[128 + 32 * h + j] >> 2 * t & 3) << 4) - 32;
            }
        }
    }
    // The integers that belong to the value i of a block.
    int part_scale(int64_t row, int64_t b, int64_t i) {
        if (type == EQK_WEIGHTS_Q6_K) {
            return static_cast<int8_t>(block(row, b)[192 + i / 16]);
        }
        return type == EQK_WEIGHTS_Q4_K_EIGHT_ROWS ? six_bits(row, b, i, 0) : 1;
    }
    int part_least(int64_t row, int64_t b, int64_t i) {
        return type == EQK_WEIGHTS_Q4_K_EIGHT_ROWS ? six_bits(row, b, i, 4) : 0;
    }
    int six_bits(int64_t row, int64_t b, int64_t i, int64_t first) {
        const uint8_t * const of = block(row, b) + 32 + i / 32 * 12;
        const int64_t         r  = row % 8;
        return r < 4 ? of[first + r] & 63 : (of[4 + r] >> first & 15) | of[first + r - 4] >> 6 << 4;
    }

    int32_t          type;
    int64_t          blocks;
    guarded<uint8_t> packed;
};

// A scale of activations: 11 bits of precision, in steps of 2^-24 below 2^-14.
float half_precision(float x) {
    int exponent;
    std::frexp(x, &exponent);
    const int unit = x < 0x1p-14f ? -24 : exponent - 11;
    return std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
}

// What a result should be.
struct expectation {
    float bits;      // the definition, rounding for rounding
    real  value;     // without roundings behind those of the activations
    real  terms;     // the sum of its terms' sizes, by which rounding is measured
    real  plain;     // the product of what the weights stand for with what the activations were
    real  quantised; // by how much activations of one sign could have moved it
};

// One product over memory that ends where inaccessible pages begin.
struct product {
    product(int32_t type, const sizes_of & of, random_numbers & random, int64_t x_gap = 0, int64_t y_gap = 0)
        : size(of), n_in(of.blocks * block_of(type)), w(type, of, random),
          x(static_cast<size_t>((of.n_columns - 1) * (n_in + x_gap) + n_in)),
          y(static_cast<size_t>((of.n_columns - 1) * (of.n_out + y_gap) + of.n_out)),
          scratch(eqk_product_scratch(type, n_in, of.n_columns)) {
        for (size_t i = 0; i < x.length(); i++) {
            x[i] = random.between(-3, 3) * (random.below(40) == 0 ? 20 : 1);
        }
        y.fill(-777);
        args = {type, w.packed.data(), n_in, of.n_out, x.data(), n_in + x_gap, of.n_columns, y.data(),
                of.n_out + y_gap, scratch.data()};
    }

    void run() {
        CHECK(eqk_product_prepare(&args, 0, blocks()) == EQK_OK, "prepare");
        CHECK(eqk_product_multiply(&args, 0, size.n_out) == EQK_OK, "multiply");
    }
    int64_t blocks() const { return eqk_product_blocks(args.weights, n_in, size.n_columns); }
    float   result(int64_t c, int64_t row) { return y[static_cast<size_t>(c * args.y_stride + row)]; }

    expectation expected(int64_t c, int64_t row) {
        const int64_t block = block_of(args.weights);
        const bool    of_256 = by_256(args.weights);
        expectation   is    = {};
        float         sums[2] = {0, 0};
        for (int64_t b = 0; b < size.blocks; b++) {
            const float * from    = x.data() + c * args.x_stride + b * block;
            float         largest = 0;
            for (int64_t i = 0; i < block; i++) {
                largest = std::fmax(largest, std::fabs(from[i]));
            }
            // In float, as the definition has it: a tie must fall the same way.
            const float s      = 127 / largest;
            const float d      = of_256 ? (std::isfinite(s) ? 1 / s : 0) : half_precision(largest / 127);
            const float dw     = w.scale(row, b), least = w.least_scale(row, b);
            int32_t     n[2]   = {0, 0};
            int32_t     m      = 0;
            real        size_w = 0;
            for (int64_t i = 0; i < block; i++) {
                const auto q     = static_cast<int32_t>(d > 0 ? std::nearbyint(from[i] * s) : 0);
                const int  whole = w.value(row, b, i) * w.part_scale(row, b, i);
                const int  less  = w.part_least(row, b, i);
                n[of_256 ? 0 : i / 4 % 2] += q * whole;
                m += q * less;
                const real stands_for = static_cast<real>(dw) * whole - static_cast<real>(least) * less;
                is.plain += stands_for * from[i];
                size_w += std::fabs(stands_for);
            }
            // Half a step; and 127 steps whose length was rounded to 11 bits.
            is.quantised += size_w * (largest / 127) * (0.5L + (of_256 ? 0x1p-15L : 127 * 0x1p-11L));
            for (int part = 0; part < (of_256 ? 1 : 2); part++) {
                sums[part] = std::fma(static_cast<float>(n[part]), dw * d, sums[part]);
                is.value += static_cast<real>(n[part]) * dw * d;
                is.terms += std::fabs(static_cast<real>(n[part]) * dw * d);
            }
            sums[0] = of_256 ? std::fma(-static_cast<float>(m), least * d, sums[0]) : sums[0];
            is.value -= static_cast<real>(m) * least * d;
            is.terms += std::fabs(static_cast<real>(m) * least * d);
        }
        is.bits = of_256 ? sums[0] : sums[0] + sums[1];
        return is;
    }

    sizes_of           size;
    int64_t            n_in;
    weights            w;
    guarded<float>     x;
    guarded<float>     y;
    guarded<char>      scratch;
    eqk_product_args   args;
};

bool same_bits(float a, float b) {
    return memcmp(&a, &b, sizeof(a)) == 0;
}

void by_definition(int32_t type) {
    random_numbers random(1);
    for (const sizes_of & of : shapes) {
        if (!is_size_of(type, of)) {
            continue;
        }
        product p(type, of, random, of.n_columns % 3 * 5, of.n_columns % 2 * 8);
        p.run();
        for (int64_t c = 0; c < of.n_columns; c++) {
            for (int64_t row = 0; row < of.n_out; row++) {
                const expectation is = p.expected(c, row);
                // Of each term are rounded its integer and its two scales' product; of a sum, as many steps as it has
                // terms.
                const real tolerance = static_cast<real>(2 * of.blocks + 3) * 0x1p-24L * is.terms + 1e-30L;
                const float y        = p.result(c, row);
                CHECK(same_bits(y, is.bits), "%s, %lld blocks, column %lld of %lld, row %lld: %.9g, not %.9g",
                      names[type], (long long) of.blocks, (long long) c, (long long) of.n_columns, (long long) row, y, is.bits);
                CHECK(std::fabs(y - is.value) <= tolerance, "%s, row %lld: %g, not %Lg", names[type],
                      (long long) row, y, is.value);
                CHECK(std::fabs(y - is.plain) <= is.quantised + tolerance, "%s, row %lld: %g, where %Lg was meant",
                      names[type], (long long) row, y, is.plain);
            }
            for (int64_t gap = of.n_out; c + 1 < of.n_columns && gap < p.args.y_stride; gap++) {
                CHECK(p.result(c, gap) == -777, "between columns %lld and the next", (long long) c);
            }
        }
    }
}

// Alone, in other company, or in parts: the same bits.
void by_row_and_column_alone(int32_t type) {
    random_numbers random(2);
    for (const sizes_of & of : shapes) {
        if (!is_size_of(type, of)) {
            continue;
        }
        product whole(type, of, random);
        whole.run();
        std::vector<float> all(whole.y.data(), whole.y.data() + whole.y.length());
        whole.y.fill(0);
        // In parts of odd sizes, the last first.
        for (int64_t last = whole.blocks(); last > 0; last -= 3) {
            CHECK(eqk_product_prepare(&whole.args, std::max<int64_t>(0, last - 3), last) == EQK_OK, "part");
        }
        // Rows of another part are another thread's, which may be writing them.
        const int64_t others = (of.n_out - 1) / 8 * 8;
        CHECK(eqk_product_multiply(&whole.args, others, of.n_out) == EQK_OK, "the last part");
        for (int64_t at = 0; at < of.n_columns * of.n_out; at++) {
            CHECK(at % of.n_out >= others || whole.y[static_cast<size_t>(at)] == 0, "%s, row %lld of %lld",
                  names[type], (long long) (at % of.n_out), (long long) of.n_out);
        }
        for (int64_t row = (of.n_out - 1) / 8 * 8; row >= 0; row -= 8) {
            CHECK(eqk_product_multiply(&whole.args, row, std::min(row + 8, of.n_out)) == EQK_OK, "part");
        }
        CHECK(memcmp(all.data(), whole.y.data(), all.size() * sizeof(float)) == 0, "%s, parts of %lld columns",
              names[type], (long long) of.n_columns);
        for (int64_t first = 0; first < of.n_columns; first++) {
            for (int64_t n = 1; first + n <= of.n_columns; n += 4) {
                eqk_product_args some = whole.args;
                std::vector<char> scratch(eqk_product_scratch(type, some.n_in, n));
                std::vector<float> y(static_cast<size_t>(n * of.n_out));
                some.x += first * some.n_in;
                some.n_columns = n;
                some.scratch   = scratch.data();
                some.y         = y.data();
                CHECK(eqk_product_prepare(&some, 0, eqk_product_blocks(type, some.n_in, n)) == EQK_OK, "some");
                CHECK(eqk_product_multiply(&some, 0, of.n_out) == EQK_OK, "some");
                CHECK(memcmp(y.data(), all.data() + first * of.n_out, y.size() * sizeof(float)) == 0,
                      "%s, columns %lld and %lld on of %lld", names[type], (long long) first, (long long) n,
                      (long long) of.n_columns);
            }
        }
    }
}

void of_strange_values(int32_t type) {
    random_numbers random(3);
    product        p(type, {3, 8, 5}, random);
    const int64_t  n_in = p.n_in;
    for (int64_t i = 0; i < n_in; i++) {
        const auto at = [&](int64_t column) -> float & { return p.x[static_cast<size_t>(column * n_in + i)]; };
        at(0) = 0;                            // nothing
        at(1) = i % 2 ? 1e-38f : -1e-41f;     // below what a scale holds
        at(4) = static_cast<float>(i % 32 - 16) + 0.5f; // ties, where the largest value is 127; 127 / 15.5 divides none
        if (by_256(type) && i % EQK_BLOCK_K == 7) {
            at(4) = -127;
        }
    }
    p.x[static_cast<size_t>(2 * n_in + 40)]       = NAN;
    p.x[static_cast<size_t>(3 * n_in + n_in - 1)] = -INFINITY;
    p.run();
    for (int64_t row = 0; row < 8; row++) {
        CHECK(p.result(0, row) == 0, "nothing: %g", p.result(0, row));
        CHECK(p.result(1, row) == 0, "next to nothing: %g", p.result(1, row));
        CHECK(std::isnan(p.result(2, row)), "NaN: %g", p.result(2, row));
        CHECK(std::isnan(p.result(3, row)), "infinity: %g", p.result(3, row));
        const float wanted = p.expected(4, row).bits;
        CHECK(same_bits(p.result(4, row), wanted), "%s: %g, not %g", names[type], p.result(4, row), wanted);
    }
}

// The largest numbers that can be: what is summed in 16 bits must not run over.
void of_extremes(int32_t type) {
    random_numbers random(5);
    product        p(type, {2, 16, 6}, random);
    for (int64_t i = 0; i < p.n_in * 6; i++) {
        const int64_t c = i / p.n_in;
        p.x[static_cast<size_t>(i)] = c < 2 ? (c ? -1.0f : 1.0f) : random.below(2) ? 1.0f : -1.0f;
    }
    for (const int value : {0x00, 0xff, 0x80, 0x7f}) {
        for (int64_t row = 0; row < 16; row++) {
            for (int64_t b = 0; b < 2; b++) {
                uint8_t * const at     = p.w.block(row, b);
                const size_t    scales = type == EQK_WEIGHTS_Q4_K_EIGHT_ROWS ? 32 : type == EQK_WEIGHTS_Q6_K ? 210
                                         : in_eights(type)                   ? 16
                                                                             : 2;
                if (type == EQK_WEIGHTS_Q6_K) {
                    memset(at, value, 192);
                    memset(at + 192, value == 0x7f ? 0x7f : 0x80, 16);
                } else {
                    memset(at + scales, value, p.w.bytes() * (in_eights(type) ? 8 : 1) - scales);
                }
            }
        }
        p.run();
        for (int64_t c = 0; c < 6; c++) {
            for (int64_t row = 0; row < 16; row++) {
                const float wanted = p.expected(c, row).bits;
                CHECK(same_bits(p.result(c, row), wanted), "%s of %d: %g, not %g", names[type], value, p.result(c, row),
                      wanted);
            }
        }
    }
}

void refusals() {
    random_numbers random(4);
    for (const int32_t type : types) {
        product       p(type, {2, 16, 2}, random);
        const int64_t block   = block_of(type);
        const auto    refused = [&](auto change) {
            eqk_product_args args = p.args;
            change(args);
            return eqk_product_prepare(&args, 0, 0) == EQK_BAD_ARGUMENT &&
                   eqk_product_multiply(&args, 0, 0) == EQK_BAD_ARGUMENT;
        };
        CHECK(!refused([](eqk_product_args &) {}), "a good one");
        CHECK(refused([](eqk_product_args & a) { a.weights = 4; }), "weights");
        CHECK(refused([](eqk_product_args & a) { a.weights = -1; }), "weights");
        CHECK(refused([](eqk_product_args & a) { a.w = nullptr; }), "w");
        CHECK(refused([=](eqk_product_args & a) { a.n_in = block + 16; }), "n_in");
        CHECK(refused([](eqk_product_args & a) { a.n_in = 0; }), "n_in");
        CHECK(refused([](eqk_product_args & a) { a.n_out = 12; }) == in_eights(type), "n_out");
        CHECK(refused([](eqk_product_args & a) { a.n_out = 0; }), "n_out");
        CHECK(refused([](eqk_product_args & a) { a.x = nullptr; }), "x");
        CHECK(refused([](eqk_product_args & a) { a.x_stride = a.n_in - 1; }), "x_stride");
        CHECK(refused([](eqk_product_args & a) { a.n_columns = 0; }), "n_columns");
        CHECK(refused([](eqk_product_args & a) { a.y = nullptr; }), "y");
        CHECK(refused([](eqk_product_args & a) { a.y_stride = 15; }), "y_stride");
        CHECK(refused([](eqk_product_args & a) { a.scratch = nullptr; }), "scratch");
        CHECK(eqk_product_prepare(&p.args, 0, p.blocks() + 1) == EQK_BAD_ARGUMENT, "beyond the blocks");
        CHECK(eqk_product_prepare(&p.args, 2, 1) == EQK_BAD_ARGUMENT, "backwards");
        CHECK(eqk_product_multiply(&p.args, 0, 24) == EQK_BAD_ARGUMENT, "beyond the rows");
        CHECK(eqk_product_multiply(&p.args, 4, 16) == EQK_BAD_ARGUMENT, "half of eight rows");
        CHECK(eqk_product_multiply(&p.args, 0, 12) == EQK_BAD_ARGUMENT, "half of eight rows");
        CHECK(eqk_product_scratch(type, block + 1, 1) == 0 && eqk_product_scratch(type, block, 0) == 0, "no product");
        CHECK(eqk_product_blocks(type, block + 1, 1) == 0 && eqk_product_blocks(type, block, 0) == 0, "no product");
        CHECK(eqk_product_blocks(type, 3 * block, 2) == 6, "six blocks");
    }
    CHECK(eqk_product_prepare(nullptr, 0, 0) == EQK_BAD_ARGUMENT, "nothing");
    CHECK(eqk_product_multiply(nullptr, 0, 0) == EQK_BAD_ARGUMENT, "nothing");
    CHECK(eqk_product_scratch(4, 256, 1) == 0 && eqk_product_blocks(-1, 256, 1) == 0, "no type");
}

} // namespace

// The tier to be tested, or nothing to take what there is.
int main(int argc, char ** argv) {
    if (argc > 1 && strcmp(eqk_product_tier(), argv[1]) != 0) {
        printf("products: this machine has %s, not %s\n", eqk_product_tier(), argv[1]);
        return skipped;
    }
    for (const int32_t type : types) {
        by_definition(type);
        by_row_and_column_alone(type);
        of_strange_values(type);
        of_extremes(type);
    }
    refusals();
    return verdict(eqk_product_tier());
}
