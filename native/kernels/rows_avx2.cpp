#include "rows_simd.h"

#include "lanes_avx2.h"

namespace eqk {

#define EQK_ENTRY(name, result, parameters) name<lanes_avx2>,
constinit const kernels kernels_avx2 = {"avx2", EQK_KERNEL_LIST(EQK_ENTRY)};

} // namespace eqk
