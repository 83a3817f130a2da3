// Plain loops for the reference functions of the records: double precision, no cleverness.
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
// `value` as an element of `dtype` holds it: i32 wraps, boolean is 0 or 1; floating values keep
// their double precision.
double stored_as(DType dtype, double value);

// A sum with what rounding takes from it added up beside it (Neumaier): a sum of f64 in any order
// can be held to this one.
class CompensatedSum {
 public:
  void add(double term) {
    const double next = sum_ + term;
    lost_ += std::abs(sum_) >= std::abs(term) ? (sum_ - next) + term : (term - next) + sum_;
    sum_ = next;
  }
  // Where the sum is infinite or NaN, nothing is known of what was lost.
  double value() const { return std::isfinite(sum_) ? sum_ + lost_ : sum_; }

 private:
  double sum_ = 0, lost_ = 0;
};

// The index counted from the start of an axis of `size`; ValueError outside [-size, size).
std::int64_t checked_index(double index, std::int64_t size, int axis, std::string_view op);

}  // namespace kroton::ops
