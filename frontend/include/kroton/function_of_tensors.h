// What vmap, custom_vjp and custom_jvp give: a function of tensors that is made of another one.
#pragma once
#include <kroton/scan.h>

namespace kroton::detail {

// What the function F returns, as F does: a Tensor, a std::array of Tensors (for structured
// bindings), or a vector.
template <class F>
auto as_returned_by(std::vector<Tensor> results) {
  using Result = step_result<F>;
  if constexpr (StepValue<Result>) {
    return results[0];
  } else if constexpr (StepTuple<Result>) {
    std::array<Tensor, std::tuple_size_v<Result>> array;
    for (std::size_t k = 0; k < array.size(); ++k) array[k] = results[k];
    return array;
  } else {
    return results;
  }
}

// ValueError naming `what` unless it takes that many arguments, or any number (-1).
void check_arity(int takes, std::size_t gets, const std::string& what, SourceLine line);

// `rule` as a function of a list of tensors. It is called with as many as it takes, or with all
// in one span.
template <class Rule>
std::function<std::vector<Operand>(std::span<const Tensor>)> rule_of_list(
    Rule rule, const std::string& what, const std::source_location& at) {
  static_assert(check_step<Rule>());
  return [rule = std::move(rule), what, at](std::span<const Tensor> arguments) mutable {
    check_arity(arity<Rule>(), arguments.size(), what, SourceLine{at.file_name(), at.line()});
    return as_list<step_result<Rule>>(call_step(rule, arguments), at);
  };
}

// A function of as many tensors as F takes, literals and Arrays among them, with its results like
// those of F.
template <class F>
class FunctionOfTensors {
 public:
  using Call = std::function<std::vector<Tensor>(const std::vector<Operand>&, SourceLine)>;
  explicit FunctionOfTensors(Call call) : call_(std::move(call)) {}

  auto operator()(const Operand& a) const { return on({a}); }
  auto operator()(const Operand& a, const Operand& b) const { return on({a, b}); }
  auto operator()(const Operand& a, const Operand& b, const Operand& c) const {
    return on({a, b, c});
  }
  auto operator()(const Operand& a, const Operand& b, const Operand& c, const Operand& d) const {
    return on({a, b, c, d});
  }
  auto operator()(const Operand& a, const Operand& b, const Operand& c, const Operand& d,
                  const Operand& e) const {
    return on({a, b, c, d, e});
  }
  auto operator()(const Operand& a, const Operand& b, const Operand& c, const Operand& d,
                  const Operand& e, const Operand& f) const {
    return on({a, b, c, d, e, f});
  }
  // Of any number of them.
  auto operator()(const std::vector<Tensor>& all,
                  const std::source_location& at = std::source_location::current()) const {
    std::vector<Operand> operands;
    for (const Tensor& each : all) operands.emplace_back(each, at);
    return as_returned_by<F>(call_(operands, SourceLine{at.file_name(), at.line()}));
  }

 private:
  auto on(const std::vector<Operand>& operands) const {
    return as_returned_by<F>(call_(operands, operands[0].line()));
  }
  Call call_;
};

}  // namespace kroton::detail
