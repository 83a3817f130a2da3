#include "compiler/contraction/winograd_transforms.h"

#include <array>

namespace kroton::winograd {
namespace {

loop::Expr multiple(double factor, const loop::Expr& value) {
  return factor == 1 ? value : loop::real(factor, value->dtype) * value;
}

// Σ factors[k] * values[k], without what is zero; first what is added, then what is subtracted.
loop::Expr weighted_sum(const std::vector<double>& factors, const std::vector<loop::Expr>& values) {
  loop::Expr sum;
  for (std::size_t k = 0; k < factors.size(); ++k) {
    if (factors[k] <= 0) continue;
    const loop::Expr term = multiple(factors[k], values[k]);
    sum = sum ? sum + term : term;
  }
  for (std::size_t k = 0; k < factors.size(); ++k) {
    if (factors[k] >= 0) continue;
    sum = sum ? sum - multiple(-factors[k], values[k]) : multiple(factors[k], values[k]);
  }
  return sum;
}

}  // namespace

Matrix transposed(const Matrix& matrix) {
  Matrix result(matrix.at(0).size(), std::vector<double>(matrix.size()));
  for (std::size_t i = 0; i < matrix.size(); ++i) {
    for (std::size_t j = 0; j < matrix[i].size(); ++j) result[j][i] = matrix[i][j];
  }
  return result;
}

const Transforms& transforms(int results) {
  static const auto& of = *new std::array<Transforms, 5>{
      Transforms{}, Transforms{{{1}}, {{1}}, {{1}}},
      Transforms{{{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}},
                 {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}},
                 {{1, 0}, {1, 1}, {1, -1}, {0, -1}}},
      Transforms{},
      Transforms{{{4, 0, -5, 0, 1, 0},
                  {0, -4, -4, 1, 1, 0},
                  {0, 4, -4, -1, 1, 0},
                  {0, -2, -1, 2, 1, 0},
                  {0, 2, -1, -2, 1, 0},
                  {0, 4, 0, -5, 0, 1}},
                 {{1. / 4, 0, 0},
                  {-1. / 6, -1. / 6, -1. / 6},
                  {-1. / 6, 1. / 6, -1. / 6},
                  {1. / 24, 1. / 12, 1. / 6},
                  {1. / 24, -1. / 12, 1. / 6},
                  {0, 0, 1}},
                 {{1, 0, 0, 0},
                  {1, 1, 1, 1},
                  {1, -1, 1, -1},
                  {1, 2, 4, 8},
                  {1, -2, 4, -8},
                  {0, 0, 0, 1}}}};
  return of.at(static_cast<std::size_t>(results));
}

std::vector<loop::Expr> transformed(std::vector<loop::Expr> values,
                                    const std::vector<Matrix>& matrices) {
  std::size_t before = 1, after = values.size();
  for (const Matrix& matrix : matrices) {
    const std::size_t from = matrix.at(0).size(), to = matrix.size();
    after /= from;
    std::vector<loop::Expr> next(before * to * after);
    for (std::size_t outer = 0; outer < before; ++outer) {
      for (std::size_t inner = 0; inner < after; ++inner) {
        std::vector<loop::Expr> line(from);
        for (std::size_t k = 0; k < from; ++k) {
          line[k] = values[(outer * from + k) * after + inner];
        }
        for (std::size_t k = 0; k < to; ++k) {
          next[(outer * to + k) * after + inner] = weighted_sum(matrix[k], line);
        }
      }
    }
    values = std::move(next);
    before *= to;
  }
  return values;
}

std::vector<std::vector<std::int64_t>> places_of(const std::vector<std::int64_t>& sizes) {
  std::vector<std::vector<std::int64_t>> places{{}};
  for (const std::int64_t size : sizes) {
    std::vector<std::vector<std::int64_t>> longer;
    for (const auto& place : places) {
      for (std::int64_t k = 0; k < size; ++k) {
        longer.push_back(place);
        longer.back().push_back(k);
      }
    }
    places = std::move(longer);
  }
  return places;
}

}  // namespace kroton::winograd
