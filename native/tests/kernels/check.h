// What every test programme here uses: checks that count, seeded numbers, memory that notices a stray access.
#ifndef EQK_TEST_CHECK_H
#define EQK_TEST_CHECK_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace test {

inline int failures = 0;

// ctest's word for "this machine cannot run it" (SKIP_RETURN_CODE).
constexpr int skipped = 77;

inline int verdict(const char * name) {
    printf("%s: %s\n", name, failures ? "FAILED" : "ok");
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

// Prints the first failures with what was being tried, and counts the rest.
#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition) && ++test::failures <= 20) {                                                                  \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                            \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
        }                                                                                                              \
    } while (0)

// SplitMix64: the same numbers everywhere.
class random_numbers {
public:
    explicit random_numbers(uint64_t seed) : state(seed) {}

    uint64_t next() {
        uint64_t z = state += 0x9E3779B97F4A7C15u;
        z          = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z          = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    // [0, 1)
    double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
    float  between(double low, double high) { return static_cast<float>(low + (high - low) * uniform()); }
    int    below(int n) { return static_cast<int>(next() % static_cast<uint64_t>(n)); }

private:
    uint64_t state;
};

// n values that end where an inaccessible page begins: reading or writing one more ends the programme.
template <class T> class guarded {
public:
    explicit guarded(size_t n) : count(n) {
        const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        const size_t used = (n * sizeof(T) + page - 1) / page * page;
        size              = used + page;
        memory = static_cast<char *>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (memory == MAP_FAILED || mprotect(memory + used, page, PROT_NONE) != 0) {
            perror("guarded memory");
            abort();
        }
        values = reinterpret_cast<T *>(memory + used - n * sizeof(T));
    }
    ~guarded() { munmap(memory, size); }
    guarded(const guarded &)             = delete;
    guarded & operator=(const guarded &) = delete;

    T *    data() { return values; }
    T &    operator[](size_t i) { return values[i]; }
    size_t length() const { return count; }
    void   fill(T value) {
        for (size_t i = 0; i < count; i++) {
            values[i] = value;
        }
    }

private:
    size_t count;
    size_t size;
    char * memory;
    T *    values;
};

// n values between two stretches of a pattern that must not change.
template <class T> class between_sentinels {
public:
    explicit between_sentinels(size_t n) : count(n), memory(n * sizeof(T) + 2 * margin, pattern) {}

    T *  data() { return reinterpret_cast<T *>(memory.data() + margin); }
    T &  operator[](size_t i) { return data()[i]; }
    bool intact() const {
        for (size_t i = 0; i < margin; i++) {
            if (memory[i] != pattern || memory[memory.size() - 1 - i] != pattern) {
                return false;
            }
        }
        return true;
    }
    bool untouched() const {
        for (const unsigned char byte : memory) {
            if (byte != pattern) {
                return false;
            }
        }
        return true;
    }

private:
    static constexpr size_t        margin  = 256; // keeps the alignment of vector's memory
    static constexpr unsigned char pattern = 0xA5;

    size_t                     count;
    std::vector<unsigned char> memory;
};

// Lane counts are 4, 8 and 16, four vectors are unrolled, slices are multiples of 16: every tail, and real sizes.
inline std::vector<int64_t> sizes() {
    return {1,  2,  3,  4,  5,  7,  8,  9,  15, 16, 17,  31,  32,  33,  47,   48,   63,
            64, 65, 95, 96, 97, 127, 128, 129, 255, 257, 1000, 1024, 1025, 4099, 32000, 32001};
}

} // namespace test

#endif
