// What bounds.cpp measures: operations, and operands of many shapes.
#pragma once

#include <kroton/kroton.h>

#include <string>
#include <vector>

#include "bench.h"

namespace bench {

enum class View { whole, transposed, second_rows, second_columns, inner };
enum class Second { same, row, column, transposed };

// How the operands of an operation lie in memory.
struct Layout {
  std::string name;
  kroton::Shape shape;  // of the first operand, as the operation sees it
  View view = View::whole;
  Second second = Second::same;
  bool is_free = false;  // all sizes are free; else the first is, and the others are known
  bool has_f32_only = false;
};

// Makes the operands of an operation, with their arrays.
class Operands {
 public:
  Operands(const Layout& layout, kroton::DType dtype);

  const kroton::Shape& shape() const { return layout_.shape; }
  std::size_t rank() const { return static_cast<std::size_t>(layout_.shape.rank()); }
  // The first operand, and a second one as the layout has it.
  const kroton::Tensor& x() const { return x_; }
  kroton::Tensor y();
  kroton::Tensor more(const kroton::Shape& shape);
  kroton::Tensor indices(std::int64_t count, std::int64_t below);

  // For operations that do not look at every element of every operand once, or do other arithmetic
  // than so much for each element.
  void reads(double bytes) { bytes_ = bytes; }
  void multiplies(double pairs) { flops_ = 2 * pairs; }
  // So many additions that wait for each other.
  void waits(std::int64_t additions) { chain_ = static_cast<double>(additions); }

  const std::vector<kroton::Tensor>& inputs() const { return inputs_; }
  const std::vector<kroton::Array>& arrays() const { return arrays_; }
  bool has_second() const { return has_second_; }
  double bytes() const;  // that are read
  double flops(double for_each, double elements) const;
  double chain() const { return chain_; }

 private:
  kroton::Tensor add(const kroton::Array& array, bool all_free);
  kroton::Tensor seen(const kroton::Shape& shape, View view);

  Layout layout_;
  kroton::DType dtype_;
  kroton::Tensor x_;
  std::vector<kroton::Tensor> inputs_;
  std::vector<kroton::Array> arrays_;
  bool has_second_ = false;
  double bytes_ = -1, flops_ = -1, chain_ = 0;
};

struct Operation {
  std::string name;
  double flops;  // for each element
  kroton::Tensor (*apply)(Operands& in);
  std::size_t least_rank = 1, most_rank = 4;
  bool in_other_dtypes = false;  // is measured in f64 and i32, too
};

std::vector<Layout> layouts(bool quick);
std::vector<Operation> operations();

}  // namespace bench
