// Rows of any length sorted by loops of their own.
#pragma once
#include <functional>

#include "compiler/ir/op.h"

namespace kroton::ops {

// The element at `position` of a row of input 0 comes at `place` of the result's row.
using PutPosition =
    std::function<void(const Index& row, const loop::Expr& place, const loop::Expr& position)>;

// A stable sort of input 0 along the last axis; the result has its shape. Nothing where `runs` is
// 0, not 1.
void sort_by_loops(WriteContext& context, bool descending, const Dim& runs, const PutPosition& put);

}  // namespace kroton::ops
