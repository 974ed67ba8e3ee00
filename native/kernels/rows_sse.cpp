#include "rows_simd.h"

#include "lanes_sse.h"

namespace eqk {

#define EQK_ENTRY(name, result, parameters) name<lanes_sse>,
constinit const kernels kernels_sse = {"sse", EQK_KERNEL_LIST(EQK_ENTRY)};

} // namespace eqk
