#pragma once

#include "host.hpp"

namespace eq {

// Chooses, before any graph is planned, who multiplies: eq_products.
void start_products();

} // namespace eq
