// Operations that memory bounds: elementwise expressions, reductions of rows and columns.
#include <stdexcept>

#include "ours.h"

namespace kt = kroton;

namespace bench {
namespace {

// Runs `f` on arrays of f32, into one result or a fresh one each time.
Case array_case(const kt::Function<1>& f, const std::vector<kt::Array>& arrays, bool given) {
  const auto arguments = std::make_shared<std::vector<kt::Array>>(arrays);
  const auto call = [f, arguments] {
    const std::vector<kt::Argument> list(arguments->begin(), arguments->end());
    return f.call(list);
  };
  kt::Array result = call();
  std::function<void()> run = [call] { call(); };
  if (given && arrays.size() == 1) {
    run = [into = f.into(result), arguments]() mutable { into((*arguments)[0]); };
  } else if (given) {
    run = [into = f.into(result), arguments]() mutable { into((*arguments)[0], (*arguments)[1]); };
  }
  return {run, [call] {
            const kt::Array values = call();
            return sample(values.data<float>());
          }};
}

kt::Tensor mix(const kt::Tensor& x, const kt::Tensor& y) {
  return kt::tanh(x * y + 1) * kt::exp(-kt::square(x)) + y / 2 - x * kt::maximum(y, 0);
}

kt::Tensor polynomial(const kt::Tensor& x) {
  return ((((0.5 * x + 0.25) * x + 1.5) * x + 0.75) * x + 1.25) * x + 2.0;
}

}  // namespace

Case elementwise_case(const Parts& parts) {
  const std::int64_t count = std::stol(parts.at(2));
  const bool given = parts.at(3) == "given";
  const auto x = kt::tensor("x", {kt::dim("n")}), y = kt::tensor("y", {kt::dim("n")});
  const kt::Array xs = filled({count}, 0, 2), ys = filled({count}, 1, 2);
  if (parts.at(1) == "mix") return array_case(kt::function({x, y}, mix(x, y)), {xs, ys}, given);
  return array_case(kt::function({x}, polynomial(x)), {xs}, given);
}

Case rows_case(const Parts& parts) {
  const Parts sizes = split(parts.back(), 'x');
  const auto m = kt::matrix("m");
  kt::Tensor result;
  if (parts[0] == "softmax") {
    result = kt::softmax(m);
  } else if (parts[0] == "layernorm") {
    const auto centered = m - kt::mean(m, 1, true);
    result = centered / kt::sqrt(kt::mean(kt::square(centered), 1, true) + 1e-5);
  } else {
    result = kt::sum(m, parts.at(1) == "rows" ? 1 : 0);
  }
  return array_case(kt::function({m}, result),
                    {filled({std::stol(sizes.at(0)), std::stol(sizes.at(1))}, 0)}, true);
}

}  // namespace bench
