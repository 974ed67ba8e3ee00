#include "rows_simd.h"

#include "lanes_neon.h"

namespace eqk {

#define EQK_ENTRY(name, result, parameters) name<lanes_neon>,
constinit const kernels kernels_neon = {"neon", EQK_KERNEL_LIST(EQK_ENTRY)};

} // namespace eqk
