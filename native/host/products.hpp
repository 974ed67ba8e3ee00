#pragma once

#include "host.hpp"

namespace eq {

// Chooses, before any graph is planned, who multiplies: eq_products.
void start_products();

// Whether our kernels multiply this matrix of a model.
bool multiplies(const ggml_tensor * weights);

} // namespace eq
