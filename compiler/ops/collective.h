// Exchanges between devices as nodes: calls of kroton_collective on operands of one axis.
#pragma once
#include "compiler/ops/call.h"
#include "runtime/communicator.h"

namespace kroton::ops {

// The result of that exchange of x, of any shape; it has `shape`.
Tensor exchanged(const Collective& what, const Tensor& x, const Dims& shape);

// What a call exchanges, if it is an exchange.
bool is_exchange(const Node& call);
Collective exchange_of(const Node& call);
// Whether it is the first result of an exchange, what comes of its value.
bool is_result_of_exchange(const Node& node);
// The result of an exchange (is_result_of_exchange) for many rows at once: x (rows, n) has the
// operand of each, what comes back is (rows, m). As many rows on every device.
Tensor exchange_of_rows(const Tensor& result, const Tensor& x);

// Of how many devices a replicate_op is.
int replicas_of(const Node& replicate);

}  // namespace kroton::ops
