#include "rows_simd.h"

#include "lanes_avx512.h"

namespace eqk {

#define EQK_ENTRY(name, result, parameters) name<lanes_avx512>,
constinit const kernels kernels_avx512 = {"avx512", EQK_KERNEL_LIST(EQK_ENTRY)};

} // namespace eqk
