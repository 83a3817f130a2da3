// Rows that are not long sorted many at a time, one to a lane, by compare-exchanges alone.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "compiler/ir/op.h"

namespace kroton::ops {

// What is sorted: of each element some integers, all of 4 or all of 8 bytes.
struct NetworkForm {
  using Element = std::vector<loop::Expr>;
  DType dtype = DType::i32;
  int parts = 1;
  std::function<Element(const Index& row, const loop::Expr& i)> load;
  // Whether b comes before a; without it the only part of both decides.
  std::function<loop::Expr(const Element& b, const Element& a)> is_before;
  std::function<void(const Index& row, const loop::Expr& i, const Element& element)> store;
  std::optional<std::int64_t> count = {};  // of the elements that are stored; all without it
};

// The positions of a stable sort of input 0; `store` gives the output its elements.
NetworkForm network_of_positions(WriteContext& context, bool descending);

// 1 where rows along the last axis of `shape` are sorted that way, else 0: those that are known to
// be of 2 to 4,096 elements, or 2,048 of two parts, and not known to be few; where the call tells
// how long they are, up to 4,096 elements, if there are a few of them.
Dim suits_network(const Dims& shape, int parts);

// The same where only the first `count` elements are wanted.
Dim suits_network_of_first(const Dims& shape, std::int64_t count);

// Loads all rows of `shape`, sorts them, stores them. An element whose parts are the highest of the
// dtype comes last. Nothing where `runs` is 0, not 1.
void sort_by_network(WriteContext& context, const Dims& shape, const NetworkForm& form,
                     const Dim& runs);

}  // namespace kroton::ops
