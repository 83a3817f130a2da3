#include "tests/fuzz/expected.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>

#include "compiler/ir/leaf.h"

namespace fuzz {
namespace {

using kt::DType;
using kt::OpKind;
using kt::ReferenceValue;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double smallest_normal_f32 = std::numeric_limits<float>::min();

// How far a number is from the nearest one of a floating dtype, relative to it.
double unit_of(DType dtype) { return std::ldexp(1.0, -kt::info_of(dtype).digits); }

double largest(const ReferenceValue& value) {
  double result = 0;
  for (const double x : value.data) {
    if (std::isfinite(x)) result = std::max(result, std::abs(x));
  }
  return result;
}

bool is_whole(const ReferenceValue& value) {
  return std::all_of(value.data.begin(), value.data.end(),
                     [](double x) { return x == std::trunc(x); });
}

// Moves values as rounding may.
class Rounding {
 public:
  Rounding(std::uint64_t seed, double scale) : random_(seed), scale_(scale) {}

  void operator()(const kt::Node& node, std::span<const ReferenceValue* const> inputs,
                  ReferenceValue& value) {
    if (node.op.elementwise.is_predicate && inputs.size() == 2) compare(node, inputs, value);
    if (!kt::is_float(value.dtype) || value.data.empty()) return;
    if (node.op.kind == OpKind::composite) value = expanded(node, inputs, value);
    const bool f32 = value.dtype == DType::f32, narrow = kt::is_only_stored(value.dtype);
    // The interpreter has rounded to a dtype that is only stored: what was computed a little off
    // may have gone to its neighbour.
    const double unit = scale_ * unit_of(value.dtype) * (narrow ? 2 : 1);
    // Equal terms are rounded the same way, a few hundred of them in each block.
    const double of_terms = 4 * scale_ * unit_of(kt::info_of(value.dtype).computed_in) *
                            terms_magnitude(node, inputs, value);
    const bool basic = node.op.cost <= 4;
    // A product is rounded at each factor, more often one way than the other where they are alike.
    double roundings = basic ? 1 : 4;
    if (node.op.reduction == kt::Reduction::prod && inputs[0] != nullptr) {
      roundings = static_cast<double>(inputs[0]->data.size() / value.data.size());
    }
    // What is left where operands cancel may be nothing at all.
    constexpr double cancelled = 32;
    double nothing = 0;
    const bool may_cancel = node.op.name == "add" || node.op.name == "sub";
    if ((may_cancel || of_terms > 0) && random_() % 2 == 0) {
      nothing = cancelled * of_terms;
      for (const ReferenceValue* input : inputs) {
        if (input && may_cancel) nothing = std::max(nothing, cancelled * unit * largest(*input));
      }
    }
    // Special functions are as exact as their amplitude: they may be those of a neighbour.
    const bool of_neighbours = node.op.cost >= least_cost_of_special && inputs.size() == 1 &&
                               node.op.elementwise.reference.arity == 1 && inputs[0] != nullptr &&
                               inputs[0]->data.size() == value.data.size();
    for (std::size_t i = 0; i < value.data.size(); ++i) {
      kt::Number& x = value.data[i];
      if (!std::isfinite(x)) continue;
      if (of_neighbours) {
        const kt::Number near[] = {inputs[0]->data[i] * (1 + unit * roundings * noise())};
        const kt::Number moved = node.op.elementwise.reference.of(near);
        if (std::isfinite(moved)) x = moved;
      }
      if (std::abs(x) < nothing) {
        x = 0.0;
        continue;
      }
      // What basic operations give exactly is exact.
      const bool moves = node.op.is_view || (narrow && node.op.keeps_stored);
      const bool exact = basic && of_terms == 0 &&
                         (moves || (!narrow && static_cast<double>(static_cast<float>(x)) == x));
      if (!exact) x += of_terms * noise() + x * unit * roundings * noise();
      if (f32) x = stored(x);
      if (narrow) x = kt::stored_as(value.dtype, x);
    }
  }

 private:
  static constexpr double least_cost_of_special = 60;

  double noise() { return std::uniform_real_distribution<double>(-1, 1)(random_); }

  // Numbers that differ by rounding only may as well be equal.
  void compare(const kt::Node& node, std::span<const ReferenceValue* const> inputs,
               ReferenceValue& value) {
    if (!kt::is_float(inputs[0]->dtype) || random_() % 2 == 0) return;
    const double unit = 8 * scale_ * unit_of(inputs[0]->dtype);
    for (std::size_t i = 0; i < value.data.size(); ++i) {
      const double a = inputs[0]->data[i];
      const double b = inputs[1]->data[i];
      if (a == b || !(std::abs(a - b) <= unit * std::max(std::abs(a), std::abs(b)))) continue;
      const kt::Number equal[] = {a, a};
      value.data[i] = node.op.elementwise.reference.of(equal);
    }
  }

  // In f32, where what is below the normal numbers may be lost.
  double stored(double x) {
    if (x != 0 && std::abs(x) < smallest_normal_f32 && random_() % 2 == 0) return 0;
    return static_cast<double>(static_cast<float>(x));
  }

  // Of the terms that a sum adds up, which may be much larger than the sum; 0 for other operations,
  // and for whole numbers that are added without rounding.
  static double terms_magnitude(const kt::Node& node, std::span<const ReferenceValue* const> inputs,
                                const ReferenceValue& value) {
    const bool adds = (node.op.kind == OpKind::reduce && node.op.reduction == kt::Reduction::sum) ||
                      node.op.kind == OpKind::contraction || node.op.kind == OpKind::write;
    if (!adds || inputs.empty() || inputs[0] == nullptr) return 0;
    double magnitude = largest(*inputs[0]);
    auto terms = static_cast<double>(inputs[0]->data.size());
    bool whole = is_whole(*inputs[0]);
    if (node.op.kind == OpKind::write) {
      if (!node.op.adds) return 0;
      if (node.op.starts_from >= 0) {
        const ReferenceValue& start = *inputs[static_cast<std::size_t>(node.op.starts_from)];
        magnitude = std::max(magnitude, largest(start));
        terms += 1;
        whole = whole && is_whole(start);
      }
    } else if (node.op.kind == OpKind::contraction) {
      magnitude *= largest(*inputs[1]);
      const auto shape = [&](int k) {
        const auto& sizes = inputs[static_cast<std::size_t>(k)]->shape;
        return kt::Dims(sizes.begin(), sizes.end());
      };
      terms = static_cast<double>(
          kt::element_count(node.op.roles(node.attributes, shape(0), shape(1)).inner).constant());
      whole = whole && is_whole(*inputs[1]);
    } else {
      terms /= static_cast<double>(value.data.size());
    }
    const double total = magnitude * terms;
    return whole && total < 0x1p24 ? 0 : total;
  }

  // The composition that stands for it, evaluated with the rounding of each of its operations.
  static ReferenceValue expanded(const kt::Node& node,
                                 std::span<const ReferenceValue* const> inputs,
                                 const ReferenceValue& value) {
    std::vector<kt::Tensor> stand_ins;
    Bindings bindings;
    for (const ReferenceValue* input : inputs) {
      const kt::Dims shape(input->shape.begin(), input->shape.end());
      stand_ins.push_back(kt::make_input("x", {input->dtype, shape}, node.line));
      bindings[&stand_ins.back().node()] = *input;
    }
    const kt::Tensor composition = node.op.expand(stand_ins, node.attributes);
    if (!composition) return value;
    return kt::evaluate(std::span(&composition, 1), bindings).front();
  }

  std::mt19937_64 random_;
  double scale_;
};

kt::Number rounded(const kt::Number& x, DType dtype) {
  if (kt::is_only_stored(dtype)) return kt::stored_as(dtype, x);
  return dtype == DType::f32 ? kt::Number(static_cast<float>(x)) : x;
}

// Widens the bound of an element by what one run with rounding gave.
void widen(double& bound, DType dtype, const kt::Number& exact, const kt::Number& moved) {
  if (exact == moved || (std::isnan(exact) && std::isnan(moved))) return;
  if (!kt::is_float(dtype) || !std::isfinite(exact) || !std::isfinite(moved)) {
    bound = infinity;
    return;
  }
  constexpr double margin = 8;
  bound = std::max(bound, margin * std::abs(exact - moved));
}

}  // namespace

Expected expect(const std::vector<kt::Tensor>& outputs, const Bindings& bindings, int runs,
                double scale) {
  Expected result;
  try {
    result.values = kt::evaluate(outputs, bindings);
  } catch (const kt::InternalError&) {
    throw;
  } catch (const kt::Error& error) {
    result.error = error.what();
    return result;
  }
  for (const ReferenceValue& value : result.values) {
    const double unit = 4 * unit_of(value.dtype);
    const double least = value.dtype == DType::f16   ? 0x1p-23
                         : value.dtype == DType::f64 ? 1e-300
                                                     : 1e-36;
    std::vector<double>& bounds = result.bounds.emplace_back();
    for (const double x : value.data) {
      const bool real = kt::is_float(value.dtype) && std::isfinite(x);
      bounds.push_back(real ? unit * std::abs(x) + least : 0);
    }
  }
  for (int run = 0; run < runs; ++run) {
    std::vector<ReferenceValue> moved;
    try {
      // The first time values are rounded to their dtype and not moved: large ones may be equal
      // then.
      const kt::ReferenceObserver observer(
          Rounding(static_cast<std::uint64_t>(run) + 1, run == 0 ? 0 : scale));
      moved = kt::evaluate(outputs, bindings);
    } catch (const kt::Error&) {
      // An index that hangs on rounding.
      for (auto& bounds : result.bounds) std::fill(bounds.begin(), bounds.end(), infinity);
      return result;
    }
    for (std::size_t k = 0; k < moved.size(); ++k) {
      for (std::size_t i = 0; i < moved[k].data.size(); ++i) {
        const DType dtype = moved[k].dtype;
        widen(result.bounds[k][i], dtype, rounded(result.values[k].data[i], dtype),
              rounded(moved[k].data[i], dtype));
      }
    }
  }
  return result;
}

std::string difference(const ReferenceValue& expected, const std::vector<double>& bounds,
                       const kt::Array& actual, Tally& tally) {
  const std::string type =
      std::string(kt::name_of(actual.dtype())) + " " + kt::to_string(actual.shape());
  if (actual.dtype() != expected.dtype ||
      !(actual.shape() == kt::Shape(std::span(expected.shape)))) {
    return "the result is " + type + ", expected " + std::string(kt::name_of(expected.dtype)) +
           " " + kt::to_string(kt::Shape(std::span(expected.shape)));
  }
  const std::vector<kt::Number> values = kt::from_array(actual).data;
  std::size_t wrong = 0, worst = 0;
  double worst_excess = -1;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (bounds[i] == infinity) {
      ++tally.left_out;
      continue;
    }
    ++tally.compared;
    const kt::Number want = rounded(expected.data[i], expected.dtype);
    if (values[i] == want || (std::isnan(values[i]) && std::isnan(want))) continue;
    double error = std::abs(values[i] - want);
    if (error <= bounds[i]) continue;
    if (!std::isfinite(error)) error = infinity;
    ++wrong;
    if (error > worst_excess) {
      worst_excess = error;
      worst = i;
    }
  }
  if (wrong == 0) return "";
  std::array<char, 200> numbers{};
  std::snprintf(numbers.data(), numbers.size(), " is %.9g, expected %.9g within %.2g",
                static_cast<double>(values[worst]),
                static_cast<double>(rounded(expected.data[worst], expected.dtype)), bounds[worst]);
  return "element " + std::to_string(worst) + " of " + type + numbers.data() + " (" +
         std::to_string(wrong) + " of " + std::to_string(values.size()) + " differ)";
}

}  // namespace fuzz
