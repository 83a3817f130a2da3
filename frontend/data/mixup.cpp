#include "frontend/data/mixup.h"

#include <kroton/error.h>

#include <cmath>
#include <numbers>
#include <string>

namespace kroton::data {

namespace {

// The logarithm of a number from Gamma(alpha, 1), which for a small alpha may be too small for a
// double itself. Marsaglia, Tsang, "A simple method for generating gamma variables", ACM TOMS 26
// (2000).
double log_gamma_number(Random& random, double alpha) {
  const auto positive = [&] { return 1 - random.uniform(); };
  if (alpha < 1) return log_gamma_number(random, alpha + 1) + std::log(positive()) / alpha;
  const double d = alpha - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double radius = std::sqrt(-2 * std::log(positive()));
    const double normal = radius * std::cos(2 * std::numbers::pi * random.uniform());
    const double root = 1 + c * normal;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log(positive()) < 0.5 * normal * normal + d - d * v + d * std::log(v)) {
      return std::log(d * v);
    }
  }
}

}  // namespace

double symmetric_beta(Random& random, double alpha) {
  const double a = log_gamma_number(random, alpha), b = log_gamma_number(random, alpha);
  return 1 / (1 + std::exp(b - a));
}

Array class_probabilities(const Array& labels, std::int64_t examples, std::int64_t classes) {
  const Shape& shape = labels.shape();
  const auto expected = [&](const std::string& got) {
    return "augmented: mixup expects labels i64 (" + std::to_string(examples) + ",) or f32 (" +
           std::to_string(examples) + ", classes), got " + got;
  };
  if (labels.dtype() == f32) {
    if (shape.rank() != 2 || shape[0] != examples || (classes != 0 && shape[1] != classes)) {
      throw ShapeError(expected(to_string(shape)) +
                       (classes != 0 ? " for " + std::to_string(classes) + " classes" : ""));
    }
    return labels.contiguous();
  }
  if (labels.dtype() != i64) throw TypeError(expected(std::string(name_of(labels.dtype()))));
  if (shape.rank() != 1 || shape[0] != examples) throw ShapeError(expected(to_string(shape)));
  if (classes == 0) {
    throw ValueError("augmented: mixup needs the number of classes for labels i64 (batch)");
  }
  Array result = Array::zeros({examples, classes});
  float* to = result.data<float>().data();
  const Array values = labels.contiguous();
  for (const std::int64_t label : values.data<std::int64_t>()) {
    if (label < 0 || label >= classes) {
      throw ValueError("augmented: label " + std::to_string(label) + " is none of " +
                       std::to_string(classes) + " classes");
    }
    to[label] = 1;
    to += classes;
  }
  return result;
}

Array blended(const Array& rows, const std::vector<float>& parts,
              const std::vector<std::size_t>& others) {
  Array result = Array::empty(rows.shape());
  if (result.size() == 0) return result;
  const std::size_t length = static_cast<std::size_t>(rows.size()) / parts.size();
  const float* all = rows.data<float>().data();
  float* to = result.data<float>().data();
  for (std::size_t k = 0; k < parts.size(); ++k) {
    const float* one = all + k * length;
    const float* other = all + others[k] * length;
    const float part = parts[k];
    for (std::size_t i = 0; i < length; ++i) *to++ = part * one[i] + (1 - part) * other[i];
  }
  return result;
}

}  // namespace kroton::data
