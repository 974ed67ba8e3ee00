// Products against their definition in long double, at sizes with every tail, against guard pages; and whether a result
// depends on anything but its row and its column.

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
    int64_t n_in, n_out, n_columns;
};

const sizes_of shapes[] = {{32, 8, 1},   {64, 16, 2},  {96, 8, 3},   {160, 24, 4},  {1024, 40, 5}, {32, 8, 6},
                           {352, 16, 7}, {96, 48, 8},  {128, 8, 9},  {2816, 16, 8}, {64, 8, 15},   {64, 24, 16},
                           {96, 16, 17}, {32, 16, 24}, {256, 8, 33}, {4096, 8, 3}};

// Weights of eight rows in blocks, as ggml repacks them, and what they are.
struct weights {
    weights(const sizes_of & of, random_numbers & random)
        : n_in(of.n_in), packed(static_cast<size_t>(of.n_out / 8 * (of.n_in / EQK_BLOCK) * EQK_EIGHT_ROWS_BYTES)) {
        for (size_t i = 0; i < packed.length(); i++) {
            packed[i] = static_cast<uint8_t>(random.next());
        }
        for (size_t block = 0; block < packed.length(); block += EQK_EIGHT_ROWS_BYTES) {
            for (size_t row = 0; row < 8; row++) {
                // Of either sign, between 2^-9 and 2^-6.
                const auto half = static_cast<uint16_t>((random.next() & 0x8000) | (0x1800 + random.below(0xc00)));
                memcpy(&packed[block + row * 2], &half, sizeof(half));
            }
        }
    }

    const uint8_t * block(int64_t row, int64_t b) {
        return packed.data() + (row / 8 * (n_in / EQK_BLOCK) + b) * EQK_EIGHT_ROWS_BYTES;
    }
    real scale(int64_t row, int64_t b) {
        uint16_t bits;
        memcpy(&bits, block(row, b) + row % 8 * 2, sizeof(bits));
        const int exponent = bits >> 10 & 31; // never 0 here
        return std::ldexp(static_cast<real>(1024 + (bits & 1023)), exponent - 25) * (bits & 0x8000 ? -1 : 1);
    }
    int value(int64_t row, int64_t i) {
        const int64_t in   = i % EQK_BLOCK, byte = in % 16;
        const uint8_t two  = block(row, i / EQK_BLOCK)[16 + byte / 8 * 64 + row % 8 * 8 + byte % 8];
        const int     four = in < 16 ? two & 15 : two >> 4;
        return four < 8 ? four : four - 16;
    }

    int64_t          n_in;
    guarded<uint8_t> packed;
};

// A scale of activations: 11 bits of precision, in steps of 2^-24 below 2^-14.
real half_precision(real x) {
    int exponent;
    std::frexp(x, &exponent);
    const int unit = x < 0x1p-14L ? -24 : exponent - 11;
    return std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
}

// One product over memory that ends where inaccessible pages begin.
struct product {
    product(const sizes_of & of, random_numbers & random, int64_t x_gap = 0, int64_t y_gap = 0)
        : size(of), w(of, random), x(static_cast<size_t>((of.n_columns - 1) * (of.n_in + x_gap) + of.n_in)),
          y(static_cast<size_t>((of.n_columns - 1) * (of.n_out + y_gap) + of.n_out)),
          scratch(eqk_product_scratch(of.n_in, of.n_columns)) {
        for (size_t i = 0; i < x.length(); i++) {
            x[i] = random.between(-3, 3) * (random.below(40) == 0 ? 20 : 1);
        }
        y.fill(-777);
        args = {EQK_WEIGHTS_Q4_0_EIGHT_ROWS, w.packed.data(), of.n_in, of.n_out, x.data(), of.n_in + x_gap,
                of.n_columns, y.data(), of.n_out + y_gap, scratch.data()};
    }

    void run() {
        CHECK(eqk_product_prepare(&args, 0, blocks()) == EQK_OK, "prepare");
        CHECK(eqk_product_multiply(&args, 0, size.n_out) == EQK_OK, "multiply");
    }
    int64_t blocks() const { return size.n_columns * (size.n_in / EQK_BLOCK); }
    float   result(int64_t c, int64_t row) { return y[static_cast<size_t>(c * args.y_stride + row)]; }

    // Also the sum of the terms' sizes, by which rounding is measured.
    real expected(int64_t c, int64_t row, real & terms) {
        real sum = 0;
        terms    = 0;
        for (int64_t b = 0; b < size.n_in / EQK_BLOCK; b++) {
            const float * from    = x.data() + c * args.x_stride + b * EQK_BLOCK;
            float         largest = 0;
            for (int i = 0; i < EQK_BLOCK; i++) {
                largest = std::fmax(largest, std::fabs(from[i]));
            }
            const real d = half_precision(largest / 127);
            int64_t    n[2] = {0, 0};
            for (int i = 0; i < EQK_BLOCK && d > 0; i++) {
                // In float, as the definition has it: a tie must fall the same way.
                const float q = std::nearbyint(from[i] * (127 / largest));
                n[i / 4 % 2] += static_cast<int64_t>(q) * w.value(row, b * EQK_BLOCK + i);
            }
            for (const int64_t part : n) {
                sum += static_cast<real>(part) * w.scale(row, b) * d;
                terms += std::fabs(static_cast<real>(part) * w.scale(row, b) * d);
            }
        }
        return sum;
    }

    sizes_of           size;
    weights            w;
    guarded<float>     x;
    guarded<float>     y;
    guarded<char>      scratch;
    eqk_product_args   args;
};

void by_definition() {
    random_numbers random(1);
    for (const sizes_of & of : shapes) {
        product p(of, random, of.n_columns % 3 * 5, of.n_columns % 2 * 8);
        p.run();
        for (int64_t c = 0; c < of.n_columns; c++) {
            for (int64_t row = 0; row < of.n_out; row++) {
                real       terms;
                const real wanted = p.expected(c, row, terms);
                // A term has the rounding of its two scales' product; a sum of n adds n more at most, and the last one.
                const real tolerance = static_cast<real>(of.n_in / EQK_BLOCK + 2) * 0x1p-24L * terms + 1e-30L;
                CHECK(std::fabs(p.result(c, row) - wanted) <= tolerance,
                      "%lld values, column %lld of %lld, row %lld: %g, not %Lg", (long long) of.n_in, (long long) c,
                      (long long) of.n_columns, (long long) row, p.result(c, row), wanted);
            }
            for (int64_t gap = of.n_out; c + 1 < of.n_columns && gap < p.args.y_stride; gap++) {
                CHECK(p.result(c, gap) == -777, "between columns %lld and the next", (long long) c);
            }
        }
    }
}

// Alone, in other company, or in parts: the same bits.
void by_row_and_column_alone() {
    random_numbers random(2);
    for (const sizes_of & of : shapes) {
        product whole(of, random);
        whole.run();
        std::vector<float> all(whole.y.data(), whole.y.data() + whole.y.length());
        whole.y.fill(0);
        // In parts of odd sizes, the last first.
        for (int64_t last = whole.blocks(); last > 0; last -= 3) {
            CHECK(eqk_product_prepare(&whole.args, std::max<int64_t>(0, last - 3), last) == EQK_OK, "part");
        }
        for (int64_t row = of.n_out; row > 0; row -= 8) {
            CHECK(eqk_product_multiply(&whole.args, row - 8, row) == EQK_OK, "part");
        }
        CHECK(memcmp(all.data(), whole.y.data(), all.size() * sizeof(float)) == 0, "parts of %lld columns",
              (long long) of.n_columns);
        for (int64_t first = 0; first < of.n_columns; first++) {
            for (int64_t n = 1; first + n <= of.n_columns; n += 4) {
                eqk_product_args some = whole.args;
                std::vector<char> scratch(eqk_product_scratch(of.n_in, n));
                std::vector<float> y(static_cast<size_t>(n * of.n_out));
                some.x += first * of.n_in;
                some.n_columns = n;
                some.scratch   = scratch.data();
                some.y         = y.data();
                CHECK(eqk_product_prepare(&some, 0, n * (of.n_in / EQK_BLOCK)) == EQK_OK, "some");
                CHECK(eqk_product_multiply(&some, 0, of.n_out) == EQK_OK, "some");
                CHECK(memcmp(y.data(), all.data() + first * of.n_out, y.size() * sizeof(float)) == 0,
                      "columns %lld and %lld on of %lld", (long long) first, (long long) n, (long long) of.n_columns);
            }
        }
    }
}

void of_strange_values() {
    random_numbers random(3);
    product        p({96, 8, 5}, random);
    for (int i = 0; i < 96; i++) {
        p.x[static_cast<size_t>(i)] = 0;                                   // nothing
        p.x[static_cast<size_t>(96 + i)] = i % 2 ? 1e-38f : -1e-41f;       // below what half precision holds
        p.x[static_cast<size_t>(4 * 96 + i)] = static_cast<float>(i % 32 - 16) + 0.5f; // ties: 127 / 16.5 divides none
    }
    p.x[2 * 96 + 40] = NAN;
    p.x[3 * 96 + 95] = -INFINITY;
    p.run();
    for (int64_t row = 0; row < 8; row++) {
        CHECK(p.result(0, row) == 0, "nothing: %g", p.result(0, row));
        CHECK(p.result(1, row) == 0, "next to nothing: %g", p.result(1, row));
        CHECK(std::isnan(p.result(2, row)), "NaN: %g", p.result(2, row));
        CHECK(std::isnan(p.result(3, row)), "infinity: %g", p.result(3, row));
        real       terms;
        const real wanted = p.expected(4, row, terms);
        CHECK(std::fabs(p.result(4, row) - wanted) <= 5 * 0x1p-24L * terms, "%g, not %Lg", p.result(4, row), wanted);
    }
}

void refusals() {
    random_numbers random(4);
    product        p({64, 16, 2}, random);
    const auto     refused = [&](auto change) {
        eqk_product_args args = p.args;
        change(args);
        return eqk_product_prepare(&args, 0, 0) == EQK_BAD_ARGUMENT &&
               eqk_product_multiply(&args, 0, 0) == EQK_BAD_ARGUMENT;
    };
    CHECK(!refused([](eqk_product_args &) {}), "a good one");
    CHECK(refused([](eqk_product_args & a) { a.weights = 1; }), "weights");
    CHECK(refused([](eqk_product_args & a) { a.w = nullptr; }), "w");
    CHECK(refused([](eqk_product_args & a) { a.n_in = 48; }), "n_in");
    CHECK(refused([](eqk_product_args & a) { a.n_in = 0; }), "n_in");
    CHECK(refused([](eqk_product_args & a) { a.n_out = 12; }), "n_out");
    CHECK(refused([](eqk_product_args & a) { a.x = nullptr; }), "x");
    CHECK(refused([](eqk_product_args & a) { a.x_stride = 63; }), "x_stride");
    CHECK(refused([](eqk_product_args & a) { a.n_columns = 0; }), "n_columns");
    CHECK(refused([](eqk_product_args & a) { a.y = nullptr; }), "y");
    CHECK(refused([](eqk_product_args & a) { a.y_stride = 15; }), "y_stride");
    CHECK(refused([](eqk_product_args & a) { a.scratch = nullptr; }), "scratch");
    CHECK(eqk_product_prepare(nullptr, 0, 0) == EQK_BAD_ARGUMENT, "nothing");
    CHECK(eqk_product_multiply(nullptr, 0, 0) == EQK_BAD_ARGUMENT, "nothing");
    CHECK(eqk_product_prepare(&p.args, 0, 5) == EQK_BAD_ARGUMENT, "beyond the blocks");
    CHECK(eqk_product_prepare(&p.args, 2, 1) == EQK_BAD_ARGUMENT, "backwards");
    CHECK(eqk_product_multiply(&p.args, 0, 24) == EQK_BAD_ARGUMENT, "beyond the rows");
    CHECK(eqk_product_multiply(&p.args, 4, 16) == EQK_BAD_ARGUMENT, "half of eight rows");
    CHECK(eqk_product_scratch(33, 1) == 0 && eqk_product_scratch(32, 0) == 0, "scratch of no product");
}

} // namespace

// The tier to be tested, or nothing to take what there is.
int main(int argc, char ** argv) {
    if (argc > 1 && strcmp(eqk_product_tier(), argv[1]) != 0) {
        printf("products: this machine has %s, not %s\n", eqk_product_tier(), argv[1]);
        return skipped;
    }
    by_definition();
    by_row_and_column_alone();
    of_strange_values();
    refusals();
    return verdict(eqk_product_tier());
}
