// Plain loops for the reference functions of the records: no cleverness.
#pragma once
#include <cmath>

#include <functional>

#include "compiler/ir/op.h"

namespace kroton::ops {

using Position = std::vector<std::int64_t>;

// The row-major offset of a position.
std::int64_t offset_of(const std::vector<std::int64_t>& shape, const Position& position);
// Every position of `shape`, in row-major order.
void for_each_position(const std::vector<std::int64_t>& shape,
                       const std::function<void(const Position&)>& body);

// A sum with what rounding takes from it added up beside it (Neumaier): a sum of f64 in any order
// can be held to this one. A sum of integers is exact.
class CompensatedSum {
 public:
  CompensatedSum() = default;
  explicit CompensatedSum(const Number& first) : sum_(first) {}
  void add(const Number& term) {
    const Number next = sum_ + term;
    lost_ += std::abs(sum_) >= std::abs(term) ? (sum_ - next) + term : (term - next) + sum_;
    sum_ = next;
  }
  // Where the sum is infinite or NaN, nothing is known of what was lost.
  // A sum that nothing was lost of keeps the sign of its zero.
  Number value() const { return lost_ != 0 && std::isfinite(sum_) ? sum_ + lost_ : sum_; }

 private:
  Number sum_ = 0, lost_ = 0;
};

// The index counted from the start of an axis of `size`; ValueError outside [-size, size).
std::int64_t checked_index(const Number& index, std::int64_t size, int axis, std::string_view op);

}  // namespace kroton::ops
