// Pictures without correlation.
#include "frontend/data/zca.h"

#include <kroton/augment.h>
#include <kroton/error.h>
#include <kroton/function.h>
#include <kroton/linalg.h>
#include <kroton/ops.h>
#include <kroton/variables.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

namespace kroton::data {

Array zca_matrix(const Dataset& dataset, double epsilon) {
  constexpr std::int64_t at_once = 256;
  const auto name = std::string("zca_matrix: ");
  if (!(epsilon >= 0) || std::isinf(epsilon)) {
    throw ValueError(name + "epsilon is " + to_string(Array(epsilon)) +
                     ", expected a finite one of at least 0");
  }
  if (!dataset.make) throw ValueError(name + "the data set makes no batches");
  if (dataset.count == 0) throw ValueError(name + "the data set has no examples");
  const Tensor x = matrix("x"), products = matrix("products", f64);
  const Tensor wide = cast(x, f64);
  const auto add = function({x, products}, products + dot(transpose(wide), wide));
  Array sum;
  Shape shape;
  for (std::int64_t first = 0; first < dataset.count; first += at_once) {
    std::vector<std::uint32_t> rows(
        static_cast<std::size_t>(std::min(at_once, dataset.count - first)));
    std::iota(rows.begin(), rows.end(), static_cast<std::uint32_t>(first));
    const Array pictures = dataset.make(rows, 0).x.contiguous();
    const std::string expected = name + "expected pictures f32 (batch, channels, rows, cols), got ";
    if (pictures.dtype() != f32) {
      throw TypeError(expected + std::string(name_of(pictures.dtype())));
    }
    const Shape& now = pictures.shape();
    if (now.rank() != 4 || pictures.size() == 0) throw ShapeError(expected + to_string(now));
    const std::int64_t values = pictures.size() / now[0];
    if (first == 0) {
      shape = now;
      sum = Array::zeros({values, values}, f64);
    } else if (!std::equal(shape.begin() + 1, shape.end(), now.begin() + 1)) {
      throw ShapeError(name + "pictures " + to_string(shape) + ", then " + to_string(now));
    }
    for (const float value : pictures.data<float>()) {
      if (!std::isfinite(value)) {
        throw ValueError(name + "a picture holds " + to_string(Array(value)));
      }
    }
    sum = add(pictures.reshape({now[0], values}), sum);
  }
  // The squares of the singular values, of which rounding leaves some beside 0.
  const auto [squares, vectors] = eigh(products);
  const double count = static_cast<double>(dataset.count);
  const double least = static_cast<double>(sum.shape()[0]) * std::numeric_limits<double>::epsilon();
  const Tensor counts = gt(squares, least * max(squares));
  const Tensor lengths = sqrt(where(counts, squares, 1));
  const Tensor factors = where(counts, std::sqrt(count) / (lengths + epsilon), 0);
  return function({products}, cast(dot(vectors * factors, transpose(vectors)), f32))(sum);
}

void whiten(std::span<float> picture, const Array& matrix, std::vector<float>& scratch) {
  scratch.assign(picture.begin(), picture.end());
  std::ranges::fill(picture, 0.0F);
  const float* row = matrix.data<float>().data();
  for (const float value : scratch) {
    for (float& to : picture) to += value * *row++;
  }
}

}  // namespace kroton::data
