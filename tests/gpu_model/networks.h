// Training steps of whole networks among the canonical functions.
#pragma once
#include <vector>

#include "tests/gpu_model/canonical.h"

namespace gpu_model {

// Of a classifier of pictures by convolutions, and of a transformer's block in bf16; both by Adam.
void add_networks(std::vector<Case>& list);

}  // namespace gpu_model
