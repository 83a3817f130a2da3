#include <stdexcept>

#include "bounds.h"

namespace kt = kroton;

namespace bench {
namespace {

// Between 0.05 and 0.95, where every elementary function is defined; integers from 1 to 9.
kt::Array filled_positive(const kt::Shape& shape, std::size_t seed, kt::DType dtype) {
  kt::Array array = kt::Array::empty(shape, dtype);
  const auto fill = [&](auto elements) {
    using Element = typename decltype(elements)::value_type;
    const double scale = dtype == kt::i32 ? 10 : 1;
    for (std::size_t i = 0; i < elements.size(); ++i) {
      elements[i] = static_cast<Element>(scale * (element(i, seed, 0.9) + 0.5));
    }
  };
  if (dtype == kt::f64) {
    fill(array.data<double>());
  } else if (dtype == kt::i32) {
    fill(array.data<std::int32_t>());
  } else {
    fill(array.data<float>());
  }
  return array;
}

double byte_count(const kt::Array& array) {
  return static_cast<double>(array.shape().element_count()) *
         static_cast<double>(kt::size_of(array.dtype()));
}

}  // namespace

Operands::Operands(const Layout& layout, kt::DType dtype) : layout_(layout), dtype_(dtype) {
  x_ = seen(layout.shape, layout.view);
}

kt::Tensor Operands::add(const kt::Array& array, bool all_free) {
  kt::Dims sizes;
  for (int axis = 0; axis < array.shape().rank(); ++axis) {
    const std::int64_t size = array.shape()[axis];
    // A size of 1 is broadcast only where it is known.
    const bool is_free = size != 1 && (all_free || axis == 0);
    sizes.push_back(is_free ? kt::dim("n" + std::to_string(size)) : kt::Dim(size));
  }
  inputs_.push_back(kt::tensor("x" + std::to_string(inputs_.size()), sizes, array.dtype()));
  arrays_.push_back(array);
  return inputs_.back();
}

kt::Tensor Operands::seen(const kt::Shape& shape, View view) {
  const auto stored = [&](std::int64_t rows, std::int64_t columns) {
    return add(filled_positive({rows, columns}, arrays_.size(), dtype_), layout_.is_free);
  };
  const kt::Slice every_second = kt::slice(0, kt::end, 2), inside = kt::slice(1, -1);
  switch (view) {
    case View::whole:
      return add(filled_positive(shape, arrays_.size(), dtype_), layout_.is_free);
    case View::transposed:
      return kt::transpose(stored(shape[1], shape[0]));
    case View::second_rows:
      return stored(2 * shape[0], shape[1])(every_second);
    case View::second_columns:
      return stored(shape[0], 2 * shape[1])(kt::all, every_second);
    case View::inner:
      return stored(shape[0] + 2, shape[1] + 2)(inside, inside);
  }
  throw std::runtime_error("no such view");
}

kt::Tensor Operands::y() {
  has_second_ = true;
  const kt::Shape& shape = layout_.shape;
  switch (layout_.second) {
    case Second::same:
      return seen(shape, View::whole);
    case Second::transposed:
      return seen(shape, View::transposed);
    case Second::row:
      return kt::broadcast_to(more({shape[1]}), x_.shape());
    case Second::column:
      return kt::broadcast_to(more({shape[0], 1}), x_.shape());
  }
  throw std::runtime_error("no such operand");
}

kt::Tensor Operands::more(const kt::Shape& shape) {
  return add(filled_positive(shape, arrays_.size(), dtype_), layout_.is_free);
}

kt::Tensor Operands::indices(std::int64_t count, std::int64_t below) {
  kt::Array array = kt::Array::empty({count}, kt::i64);
  auto elements = array.data<std::int64_t>();
  for (std::size_t i = 0; i < elements.size(); ++i) {
    elements[i] = static_cast<std::int64_t>((element(i, 9) + 0.5) * static_cast<double>(below));
  }
  return add(array, true);
}

double Operands::bytes() const {
  if (bytes_ >= 0) return bytes_;
  double total = 0;
  for (const kt::Array& array : arrays_) total += byte_count(array);
  // Rows that are passed over are not read; of columns the memory's lines are.
  if (layout_.view == View::second_rows) total -= byte_count(arrays_[0]) / 2;
  return total;
}

double Operands::flops(double for_each, double elements) const {
  return flops_ >= 0 ? flops_ : for_each * elements;
}

}  // namespace bench
