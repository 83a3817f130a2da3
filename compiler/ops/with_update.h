// What builders of loops know of values that carry an update (with_update).
#pragma once
#include <map>
#include <span>

#include "compiler/ir/node.h"

namespace kroton {

// The number of the last call of with_update; later calls have larger ones.
std::uint64_t last_update();

// The values among what `roots` and the new values themselves are computed from that carry an
// update of a later number, in the order of the calls.
std::map<std::uint64_t, Tensor> updates_since(std::span<const Tensor> roots, std::uint64_t last);

// The same value with an update under a number of its own. Values with one number are one update.
Tensor carrying(const Tensor& x, const Tensor& variable, const Tensor& new_value,
                std::uint64_t number);
std::uint64_t new_update();

}  // namespace kroton
