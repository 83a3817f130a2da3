// Gradients against differences of the interpreter's values, along one random direction for each.
#include <kroton/derivatives.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "compiler/ir/leaf.h"
#include "tests/fuzz/check.h"

namespace fuzz {
namespace {

using kt::ReferenceValue;

double product(const ReferenceValue& a, const ReferenceValue& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.data.size(); ++i) sum += a.data[i] * b.data[i];
  return sum;
}

// Whether a loop's step cuts gradients, so that they are not those of its values.
bool cuts_gradients(const kt::Body& body) {
  for (const kt::Tensor& t : kt::topological_order(body.results)) {
    if (t.node().op.name == "stop_gradient") return true;
    if (t.node().attributes.body && cuts_gradients(*t.node().attributes.body)) return true;
  }
  return false;
}

// Whether the operation bends or jumps where its operands are: there the gradient follows a
// convention, and a composition may be smooth all the same (the square of abs).
bool is_at_kink(const kt::Node& node, std::span<const ReferenceValue* const> inputs) {
  const std::string_view op = node.op.name;
  const auto any = [](const ReferenceValue& x, auto holds) {
    return std::any_of(x.data.begin(), x.data.end(), holds);
  };
  if (op == "abs" || op == "relu" || op == "sign") {
    return any(*inputs[0], [](double x) { return x == 0; });
  }
  if (op == "floor" || op == "ceil" || op == "cast") {
    return any(*inputs[0], [](double x) { return x == std::trunc(x); }) &&
           kt::is_float(inputs[0]->dtype);
  }
  if (op == "floor_div" || op == "mod") return kt::is_float(inputs[0]->dtype);
  if (op == "maximum" || op == "minimum" || op == "lt" || op == "le") {
    for (std::size_t i = 0; i < inputs[0]->data.size(); ++i) {
      if (inputs[0]->data[i] == inputs[1]->data[i]) return true;
    }
  }
  // Two equal extremes of one row: told by equal elements anywhere.
  if (op == "max" || op == "min") {
    std::vector<kt::Number> sorted = inputs[0]->data;
    std::sort(sorted.begin(), sorted.end());
    return std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
  }
  return false;
}

// One `grad` of a program at one point.
class GradientCheck {
 public:
  GradientCheck(const Gradient& how, const std::vector<kt::Tensor>& operands,
                const std::vector<kt::Tensor>& gradients, const Bindings& bindings)
      : how_(how), gradients_(gradients), bindings_(bindings) {
    auto next = operands.begin();
    const auto take = [&](int count) {
      const auto first = next;
      next += count;
      return std::vector<kt::Tensor>(first, next);
    };
    costs_ = take(how.costs);
    cotangents_ = take(how.cotangents);
    wrt_ = take(how.wrt);
    constants_ = take(how.constants);
  }

  // "" or what differs; `compared` counts the gradients that could be.
  std::string run(int& compared) {
    // Differences of what is rounded to 16 bits tell nothing.
    for (const kt::Tensor& t : kt::topological_order(gradients_)) {
      if (kt::is_only_stored(t.dtype())) return "";
    }
    std::string text = forward_difference();
    if (!text.empty() || !prepare()) return text;
    for (std::size_t k = 0; k < wrt_.size(); ++k) {
      text += difference(k, compared);
    }
    return text;
  }

 private:
  // The values at the point; gives up where the derivative is not that of the values.
  bool prepare() {
    fixed_ = bindings_;
    std::vector<kt::Tensor> given = constants_;
    for (const kt::Tensor& t : kt::topological_order(costs_)) {
      const kt::Node& node = t.node();
      if (node.op.name == "stop_gradient") given.push_back(t);
      if (!node.attributes.body) continue;
      if (cuts_gradients(*node.attributes.body)) return false;
      if (node.op.kind == kt::OpKind::scan && node.attributes.integers.at(2) >= 0) return false;
    }
    std::vector<kt::Tensor> all = given;
    for (const auto* list : {&wrt_, &gradients_, &cotangents_}) {
      all.insert(all.end(), list->begin(), list->end());
    }
    all.insert(all.end(), costs_.begin(), costs_.end());
    bool smooth = true;
    const kt::ReferenceObserver observer(
        [&](const kt::Node& node, std::span<const ReferenceValue* const> inputs,
            const ReferenceValue&) { smooth = smooth && !is_at_kink(node, inputs); });
    std::vector<ReferenceValue> values = kt::evaluate(all, bindings_);
    if (!smooth) return false;
    auto next = values.begin();
    for (const kt::Tensor& t : given) fixed_[&t.node()] = *next++;
    const auto count = static_cast<std::ptrdiff_t>(wrt_.size());
    at_.assign(next, next + count);
    gradient_values_.assign(next + count, next + 2 * count);
    weights_.assign(next + 2 * count, values.end() - how_.costs);
    return true;
  }

  // The tangent of the costs along a direction is the product of the gradients with it, at kinks
  // too.
  std::string forward_difference() const {
    if (!constants_.empty()) return "";
    Bindings at = bindings_;
    std::vector<kt::Tensor> directions;
    const std::vector<ReferenceValue> values = kt::evaluate(wrt_, bindings_);
    for (std::size_t k = 0; k < wrt_.size(); ++k) {
      directions.push_back(kt::make_input("direction", wrt_[k].type(), wrt_[k].line()));
      ReferenceValue& direction = at[&directions.back().node()] = values[k];
      std::mt19937_64 random(k + 101);
      for (kt::Number& d : direction.data) {
        d = std::uniform_real_distribution<double>(-1, 1)(random);
      }
    }
    std::vector<kt::Tensor> all = kt::jvp(costs_, wrt_, directions);
    for (const std::vector<kt::Tensor>* list :
         {&cotangents_, &gradients_, &std::as_const(directions)}) {
      all.insert(all.end(), list->begin(), list->end());
    }
    const std::vector<ReferenceValue> found = kt::evaluate(all, at);
    const ReferenceValue* next = found.data();
    double forward = 0, reverse = 0, scale = 0;
    for (std::size_t j = 0; j < costs_.size(); ++j) {
      const ReferenceValue& tangent = next[j];
      for (std::size_t i = 0; i < tangent.data.size(); ++i) {
        const double weight = cotangents_.empty() ? 1.0 : double{next[costs_.size() + j].data[i]};
        forward += weight * tangent.data[i];
        scale += std::abs(weight * tangent.data[i]);
      }
    }
    next += costs_.size() + cotangents_.size();
    for (std::size_t k = 0; k < wrt_.size(); ++k) {
      const ReferenceValue &gradient = next[k], &direction = next[wrt_.size() + k];
      for (std::size_t i = 0; i < gradient.data.size(); ++i) {
        reverse += gradient.data[i] * direction.data[i];
        scale += std::abs(gradient.data[i] * direction.data[i]);
      }
    }
    // What cancels inside is not seen in the terms.
    const bool agree = std::abs(forward - reverse) <= 1e-6 * (scale + 1);
    if (agree || !std::isfinite(forward) || !std::isfinite(reverse)) return "";
    return "the tangent along a direction is " + std::to_string(forward) + ", the gradients give " +
           std::to_string(reverse) + "\n";
  }

  // What is differentiated, where wrt k is moved by `step` along the direction.
  double objective(std::size_t k, const ReferenceValue& direction, double step) const {
    Bindings moved = fixed_;
    ReferenceValue& x = moved[&wrt_[k].node()];
    x = at_[k];
    for (std::size_t i = 0; i < x.data.size(); ++i) x.data[i] += step * direction.data[i];
    const std::vector<ReferenceValue> values = kt::evaluate(costs_, moved);
    double sum = 0;
    for (std::size_t j = 0; j < values.size(); ++j) {
      sum += weights_.empty() ? double{values[j].data[0]} : product(values[j], weights_[j]);
    }
    return sum;
  }

  std::string difference(std::size_t k, int& compared) const {
    // A variable that counts as given, or that the cost itself is, has no derivative to look at.
    if (fixed_.contains(&wrt_[k].node()) && !bindings_.contains(&wrt_[k].node())) return "";
    for (const kt::Tensor& t : constants_) {
      if (same(t, wrt_[k])) return "";
    }
    ReferenceValue direction = at_[k];
    std::mt19937_64 random(k + 1);
    for (kt::Number& d : direction.data) {
      d = std::uniform_real_distribution<double>(-1, 1)(random);
    }
    const double have = product(gradient_values_[k], direction);
    double magnitude = 0;
    for (std::size_t i = 0; i < direction.data.size(); ++i) {
      magnitude += std::abs(gradient_values_[k].data[i] * direction.data[i]);
    }
    // At three steps: where they agree, and the sides do, the derivative exists.
    std::array<double, 3> central{}, gap{};
    const double here = objective(k, direction, 0);
    double step = 1e-4;
    for (std::size_t i = 0; i < central.size(); ++i, step /= 4) {
      const double ahead = objective(k, direction, step);
      const double behind = objective(k, direction, -step);
      central[i] = (ahead - behind) / (2 * step);
      gap[i] = std::abs(ahead - 2 * here + behind) / step;
    }
    const double scale = std::abs(central[2]) + magnitude + 1e-3;
    const double noise = 1e-13 * std::abs(here) / step;
    const double unsure =
        std::max(std::abs(central[0] - central[1]), std::abs(central[1] - central[2]));
    if (!std::isfinite(here) || !(unsure <= 1e-3 * scale)) return "";       // not smooth here
    if (gap[2] > 1e-4 * scale + noise && gap[2] > 0.5 * gap[1]) return "";  // a kink
    ++compared;
    if (std::abs(have - central[2]) <= 2e-3 * scale + 10 * unsure + 10 * noise) return "";
    return "gradient " + std::to_string(k) + " along a direction is " + std::to_string(have) +
           ", differences give " + std::to_string(central[2]) + "\n";
  }

  const Gradient& how_;
  std::vector<kt::Tensor> costs_, cotangents_, wrt_, constants_, gradients_;
  const Bindings& bindings_;
  Bindings fixed_;
  std::vector<ReferenceValue> at_, gradient_values_, weights_;
};

}  // namespace

void check_gradients(const Program& program, const Built& built, const Bindings& bindings,
                     Verdict& verdict) {
  for (const Statement& statement : program.main.statements) {
    const auto* how = std::get_if<Gradient>(&statement.what);
    if (!how) continue;
    const auto tensors = [&](const std::vector<Value>& values) {
      std::vector<kt::Tensor> result;
      for (const Value v : values) result.push_back(built.tensors.at(v));
      return result;
    };
    try {
      GradientCheck check(*how, tensors(statement.operands), tensors(statement.results), bindings);
      const std::string different = check.run(verdict.gradients);
      if (!different.empty()) {
        verdict.kind = "gradient";
        verdict.failure = different;
        return;
      }
    } catch (const kt::InternalError&) {
      throw;
    } catch (const kt::Error&) {
      // A point beside this one ends in an error.
    }
  }
}

}  // namespace fuzz
