// The part of canonicalize about what is left of a mean: distances from it add up to 0. So the
// gradient of a norm waits for no sum of them.
#include <kroton/ops.h>

#include "compiler/ops/rules.h"
#include "compiler/passes/views.h"

namespace kroton {
namespace {

constexpr std::size_t most_terms = 16;  // of one sum

// A factor or divisor of what is added up that is the same for all of it.
struct Factor {
  Vertex repeated;  // the broadcast
  bool divides;
};

// One of the terms that are added for each element: signed, and without its factors.
struct SummedTerm {
  Vertex core;
  bool is_negative;
  std::vector<Factor> factors = {};
  std::optional<Vertex> mean = std::nullopt;  // if it is a distance from that
};

class SumOfTerms {
 public:
  SumOfTerms(Graph& graph, Vertex sum)
      : graph_(graph), sum_(sum), axes_(graph[sum].attributes.axes) {
    const Dims& whole = shape(graph, graph.operand(sum, 0));
    for (const int axis : axes_) count_ = count_ * size_at(whole, axis);
  }

  // Distances from the mean are left out, and of the other terms each is added up without its
  // factors: they may be known later than what they multiply.
  Result without_distances() {
    if (!is_float(graph_[sum_].type.dtype) || !collect(graph_.operand(sum_, 0), false)) {
      return std::nullopt;
    }
    bool has_distances = false;
    for (SummedTerm& term : terms_) {
      take_factors(term);
      term.mean = mean_below(term.core);
      has_distances = has_distances || term.mean;
    }
    if (!has_distances) return std::nullopt;
    return written();
  }

 private:
  bool collect(Vertex v, bool is_negative) {
    const OpRecord* op = graph_[v].op;
    if (op == &neg_op) return collect(graph_.operand(v, 0), !is_negative);
    if (op == &add_op || (op == &sub_op && !mean_below(v))) {
      return collect(graph_.operand(v, 0), is_negative) &&
             collect(graph_.operand(v, 1), is_negative != (op == &sub_op));
    }
    terms_.push_back({v, is_negative});
    return terms_.size() <= most_terms;
  }

  void take_factors(SummedTerm& term) const {
    for (;;) {
      const OpRecord* op = graph_[term.core].op;
      if (op == &neg_op) {
        term.is_negative = !term.is_negative;
        term.core = graph_.operand(term.core, 0);
        continue;
      }
      const bool divides = op == &div_op;
      if (op != &mul_op && !divides) return;
      const Vertex a = graph_.operand(term.core, 0), b = graph_.operand(term.core, 1);
      if (is_same_for_all(b)) {
        term.factors.push_back({b, divides});
        term.core = a;
      } else if (!divides && is_same_for_all(a)) {
        term.factors.push_back({a, false});
        term.core = b;
      } else {
        return;
      }
    }
  }

  // Whether it is repeated along all that is added up.
  bool is_same_for_all(Vertex v) const {
    if (graph_[v].op != &broadcast_op) return false;
    const std::vector<int>& mapping = graph_[v].attributes.axes;
    const Dims& repeated = shape(graph_, graph_.operand(v, 0));
    for (std::size_t k = 0; k < mapping.size(); ++k) {
      if (contains(axes_, mapping[k]) && !repeated[k].is_constant(1)) return false;
    }
    return true;
  }

  // The mean m, in the shape of the sum, of a difference x - m.
  std::optional<Vertex> mean_below(Vertex v) const {
    if (graph_[v].op != &sub_op) return std::nullopt;
    const Vertex x = graph_.operand(v, 0), repeated = graph_.operand(v, 1);
    if (!is_same_for_all(repeated)) return std::nullopt;
    const Vertex mean = graph_.operand(repeated, 0);
    if (shape(graph_, mean) != shape(graph_, sum_) || graph_[mean].op != &div_op) {
      return std::nullopt;
    }
    const Vertex total = graph_.operand(mean, 0);
    const bool is_of_x = graph_[total].op == &sum_op && graph_.operand(total, 0) == x &&
                         graph_[total].attributes.axes == axes_;
    return is_of_x && is_count(graph_.operand(mean, 1)) ? std::optional(mean) : std::nullopt;
  }

  bool is_count(Vertex v) const {
    if (const std::optional<double> value = uniform_value(graph_, v)) {
      return count_.is_constant() && static_cast<double>(count_.constant()) == *value;
    }
    if (graph_[v].op == &broadcast_op) v = graph_.operand(v, 0);
    return graph_[v].op == &size_op && graph_[v].attributes.dims == Dims{count_};
  }

  // A factor in the shape of the sum.
  Tensor for_sum(const Tensor& factor, const std::vector<int>& mapping) const {
    const TensorType type = graph_[sum_].type;
    Dims kept;
    Attributes attributes;
    attributes.dims = type.shape;
    for (std::size_t k = 0; k < mapping.size(); ++k) {
      if (contains(axes_, mapping[k])) continue;
      kept.push_back(factor.shape()[k]);
      const auto before =
          std::count_if(axes_.begin(), axes_.end(), [&](int axis) { return axis < mapping[k]; });
      attributes.axes.push_back(mapping[k] - static_cast<int>(before));
    }
    const Tensor each = reshape(factor, kept);
    return each.shape() == type.shape ? each
                                      : ops::apply(broadcast_op, {each}, std::move(attributes));
  }

  Vertex written() {
    std::vector<Vertex> operands;
    std::vector<std::vector<int>> mappings;
    for (const SummedTerm& term : terms_) {
      operands.push_back(term.mean.value_or(term.core));
      mappings.emplace_back();
      for (const Factor& factor : term.factors) {
        operands.push_back(graph_.operand(factor.repeated, 0));
        mappings.push_back(graph_[factor.repeated].attributes.axes);
      }
    }
    const DType dtype = graph_[sum_].type.dtype;
    return graph_.build(operands, graph_[sum_].line, [&](std::span<const Tensor> given) {
      struct PartialSum {
        Tensor value;
        bool is_negative;
      };
      std::vector<PartialSum> parts;
      std::optional<std::size_t> plain;  // terms without factors, added up together
      std::size_t next = 0;
      for (const SummedTerm& term : terms_) {
        const Tensor& first = given[next++];
        if (!term.mean && term.factors.empty()) {
          if (!plain) {
            plain = parts.size();
            parts.push_back({first, term.is_negative});
            continue;
          }
          PartialSum& part = parts[*plain];
          part.value =
              part.is_negative == term.is_negative ? part.value + first : part.value - first;
          continue;
        }
        // NaN where the mean is, or infinite.
        Tensor value = term.mean ? first - first : sum(first, Axes(axes_));
        for (const Factor& factor : term.factors) {
          const Tensor each = for_sum(given[next], mappings[next]);
          value = factor.divides ? value / each : value * each;
          ++next;
        }
        parts.push_back({value, term.is_negative});
      }
      if (plain) parts[*plain].value = sum(parts[*plain].value, Axes(axes_));
      Tensor total = parts.front().is_negative ? -parts.front().value : parts.front().value;
      for (std::size_t k = 1; k < parts.size(); ++k) {
        total = parts[k].is_negative ? total - parts[k].value : total + parts[k].value;
      }
      // Of nothing the sum is 0, whatever its factors and the mean.
      if (provably_at_least(count_, 1)) return total;
      return where(eq(size_of_dim(count_, dtype), 0), 0, total);
    });
  }

  Graph& graph_;
  Vertex sum_;
  std::vector<int> axes_;
  Dim count_ = 1;
  std::vector<SummedTerm> terms_;
};

}  // namespace

std::vector<Rule> mean_rules() {
  return {{"sum", [](Graph& graph, Vertex v) { return SumOfTerms(graph, v).without_distances(); }}};
}

}  // namespace kroton
