// Which tier's kernels run: chosen once, when the library is loaded.

#include "equipoise_kernels.h"
#include "kernel_list.h"
#include "products.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace eqk {
namespace {

bool always() {
    return true;
}

#if defined(__x86_64__)

struct cpu {
    unsigned leaf_1_ecx = 0;
    unsigned leaf_7_ebx = 0;
    unsigned leaf_7_ecx = 0;
    unsigned saved      = 0; // XCR0: the register files the operating system saves for a thread

    cpu() {
        unsigned a = 0, b = 0, c = 0, d = 0;
        if (__get_cpuid(1, &a, &b, &c, &d)) {
            leaf_1_ecx = c;
        }
        if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
            leaf_7_ebx = b;
            leaf_7_ecx = c;
        }
        if (leaf_1_ecx & bit_OSXSAVE) {
            unsigned high = 0;
            __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
        }
    }
};

// A processor may have what the operating system does not save: using it would then corrupt other threads.
constexpr unsigned saves_ymm = 0x06;
constexpr unsigned saves_zmm = 0xe6;

bool has_avx2() {
    const cpu          here;
    constexpr unsigned with_it = bit_FMA | bit_POPCNT | bit_F16C;
    return (here.saved & saves_ymm) == saves_ymm && (here.leaf_1_ecx & with_it) == with_it &&
           (here.leaf_7_ebx & bit_AVX2) != 0;
}

bool has_avx512() {
    return has_avx2() && (cpu().saved & saves_zmm) == saves_zmm && (cpu().leaf_7_ebx & bit_AVX512F) != 0;
}

bool has_avx512vnni() {
    constexpr unsigned with_it = bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    return has_avx512() && (cpu().leaf_7_ebx & with_it) == with_it && (cpu().leaf_7_ecx & bit_AVX512VNNI) != 0;
}

#endif

struct tier {
    const kernels * table;
    bool (*supported)();
};

// From the plainest to the widest.
const tier tiers[] = {
    {&kernels_scalar, always},
#if defined(__x86_64__)
    {&kernels_sse, always},
    {&kernels_avx2, has_avx2},
    {&kernels_avx512, has_avx512},
#elif defined(__aarch64__)
    {&kernels_neon, always},
#endif
};

struct choice {
    const kernels * table      = nullptr;
    char            error[256] = "";

    explicit choice(const char * cap) {
        const kernels * best   = nullptr;
        bool            capped = false;
        for (const tier & t : tiers) {
            if (!capped && t.supported()) {
                best = t.table;
            }
            capped = capped || (cap && strcmp(cap, t.table->tier) == 0);
        }
        if (cap && !capped) {
            refuse(cap);
        } else {
            table = best;
        }
    }

private:
    void refuse(const char * cap) {
        size_t length = static_cast<size_t>(
            snprintf(error, sizeof(error), "EQUIPOISE_KERNELS_TIER is \"%.40s\"; this library knows", cap));
        for (const tier & t : tiers) {
            length += static_cast<size_t>(snprintf(error + length, sizeof(error) - length, " %s", t.table->tier));
        }
    }
};

const char * cap_from_environment() {
    const char * cap = getenv("EQUIPOISE_KERNELS_TIER");
    return cap && *cap ? cap : nullptr;
}

const choice chosen(cap_from_environment());

const products & best_products() {
#if defined(__x86_64__)
    if (chosen.table == &kernels_avx512 && has_avx512vnni()) {
        return products_avx512vnni;
    }
    if (chosen.table == &kernels_avx2 || chosen.table == &kernels_avx512) {
        return products_avx2;
    }
#endif
    return products_scalar;
}

} // namespace

const kernels * active_kernels() {
    return chosen.table;
}

const products & active_products() {
    static const products & best = best_products();
    return best;
}

} // namespace eqk

const char * eqk_tier(void) {
    return eqk::chosen.table ? eqk::chosen.table->tier : nullptr;
}

const char * eqk_tier_error(void) {
    return eqk::chosen.table ? nullptr : eqk::chosen.error;
}
