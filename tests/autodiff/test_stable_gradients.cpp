// The stable form of a loss does not depend on how its gradient is asked for: values, first and
// second derivatives at large arguments, against closed forms.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>

#include "compiler/ir/node.h"

namespace kt = kroton;
using kt::Array;
using kt::Tensor;

namespace {

using Form = Tensor (*)(const Tensor& x);
using Closed = double (*)(double x);

struct Loss {
  std::string text;
  Form form;
  Closed value, first, second;
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x))); }
double bell(double x) { return sigmoid(x) * sigmoid(-x); }

// log(1 + exp(x)), as it may be written; as a function of -x, and its negative.
double rising(double x) { return softplus(x); }
double rising_1(double x) { return sigmoid(x); }
double falling(double x) { return softplus(-x); }
double falling_1(double x) { return -sigmoid(-x); }
double minus_rising(double x) { return -softplus(x); }
double minus_rising_1(double x) { return -sigmoid(x); }
double minus_falling(double x) { return -softplus(-x); }
double minus_falling_1(double x) { return sigmoid(-x); }
double minus_bell(double x) { return -bell(x); }

const Loss losses[] = {
    {"-log(1 / (1 + exp(-x)))", [](const Tensor& x) { return -kt::log(1 / (1 + kt::exp(-x))); },
     falling, falling_1, bell},
    {"log(1 / (exp(x) + 1))", [](const Tensor& x) { return kt::log(1 / (kt::exp(x) + 1)); },
     minus_rising, minus_rising_1, minus_bell},
    {"-log(1 - 1 / (1 + exp(-x)))",
     [](const Tensor& x) { return -kt::log(1 - 1 / (1 + kt::exp(-x))); }, rising, rising_1, bell},
    {"log(exp(x) / (1 + exp(x)))",
     [](const Tensor& x) { return kt::log(kt::exp(x) / (1 + kt::exp(x))); }, minus_falling,
     minus_falling_1, minus_bell},
    {"log1p(exp(x))", [](const Tensor& x) { return kt::log1p(kt::exp(x)); }, rising, rising_1,
     bell},
    {"log(1 + exp(x))", [](const Tensor& x) { return kt::log(1 + kt::exp(x)); }, rising, rising_1,
     bell},
    {"log(1 - sigmoid(x))", [](const Tensor& x) { return kt::log(1 - kt::sigmoid(x)); },
     minus_rising, minus_rising_1, minus_bell},
    {"log1p(-sigmoid(x))", [](const Tensor& x) { return kt::log1p(-kt::sigmoid(x)); }, minus_rising,
     minus_rising_1, minus_bell},
    {"log(sigmoid(x))", [](const Tensor& x) { return kt::log(kt::sigmoid(x)); }, minus_falling,
     minus_falling_1, minus_bell},
    {"log(exp(x) + exp(0 x))", [](const Tensor& x) { return kt::log(kt::exp(x) + kt::exp(x * 0)); },
     rising, rising_1, bell},
    {"log(softmax([0, x]))[1]",
     [](const Tensor& x) {
       return kt::log(kt::softmax(kt::stack({kt::zeros_like(x), x}, -1)))(kt::all, 1);
     },
     minus_falling, minus_falling_1, minus_bell},
    {"log(exp([0, x]) / sum(exp([0, x])))[1]",
     [](const Tensor& x) {
       const Tensor e = kt::exp(kt::stack({kt::zeros_like(x), x}, -1));
       return kt::log(e / kt::sum(e, -1, true))(kt::all, 1);
     },
     minus_falling, minus_falling_1, minus_bell},
    {"log(exp([0, x])[1] / sum(exp([0, x])))",
     [](const Tensor& x) {
       const Tensor e = kt::exp(kt::stack({kt::zeros_like(x), x}, -1));
       return kt::log(e(kt::all, 1) / kt::sum(e, -1));
     },
     minus_falling, minus_falling_1, minus_bell},
    {"log(sum(exp([0, x])))",
     [](const Tensor& x) {
       return kt::log(kt::sum(kt::exp(kt::stack({kt::zeros_like(x), x}, -1)), -1));
     },
     rising, rising_1, bell},
};

using Gradient = std::vector<Tensor> (*)(Form form, const Tensor& x);

// The gradient of the sum of the losses, and that of its sum, asked for in one way.
struct Way {
  std::string text;
  Gradient gradient;
};

Tensor total(Form form, const Tensor& x) { return kt::sum(form(x)); }

// Applied to the loss, and to its gradient.
std::vector<Tensor> twice(Form form, const Tensor& x,
                          Tensor (*gradient)(const Tensor& loss, const Tensor& x)) {
  const Tensor first = gradient(form(x), x);
  return {first, gradient(first, x)};
}

// The first derivative asked for through `cost`, the second plainly.
std::vector<Tensor> with_second(const Tensor& cost, const Tensor& x) {
  const Tensor first = kt::grad(cost, x);
  return {first, kt::grad(kt::sum(first), x)};
}

const Way ways[] = {
    {"grad",
     [](Form form, const Tensor& x) {
       return twice(form, x, [](const Tensor& loss, const Tensor& at) {
         return kt::grad(kt::sum(loss), at);
       });
     }},
    {"an intermediate result among wrt",
     [](Form form, const Tensor& x) {
       const Tensor loss = form(x);
       const Tensor inside = loss.node().inputs[0];
       const auto [of_inside, first] = kt::grad(kt::sum(loss), inside, x);
       return std::vector<Tensor>{first, kt::grad(kt::sum(first), {x, first})[0]};
     }},
    {"with respect to an intermediate result",
     [](Form form, const Tensor& x) {
       const Tensor inner = x * 3 - 2 * x;
       return twice(form, inner, [](const Tensor& loss, const Tensor& at) {
         return kt::grad(kt::sum(loss), at);
       });
     }},
    {"consider_constant",
     [](Form form, const Tensor& x) {
       return twice(form, x, [](const Tensor& loss, const Tensor& at) {
         const Tensor constant = kt::tanh(at) + 2;
         return kt::grad(kt::sum(loss * constant / constant), at,
                         {.consider_constant = {constant}});
       });
     }},
    {"vjp",
     [](Form form, const Tensor& x) {
       return twice(form, x, [](const Tensor& loss, const Tensor& at) {
         return kt::vjp({loss}, {at}, {kt::ones_like(loss)})[0];
       });
     }},
    {"vjp of several outputs",
     [](Form form, const Tensor& x) {
       return twice(form, x, [](const Tensor& loss, const Tensor& at) {
         return kt::vjp({loss, kt::exp(-at * at)}, {at},
                        {kt::ones_like(loss), kt::zeros_like(at)})[0];
       });
     }},
    {"known_grads",
     [](Form form, const Tensor& x) {
       return twice(form, x, [](const Tensor& loss, const Tensor& at) {
         return kt::grad(Tensor(), at, {.known_grads = {{loss, kt::ones_like(loss)}}});
       });
     }},
    {"the state of a scan",
     [](Form form, const Tensor& x) {
       const Tensor sums = kt::scan(
           [form](const Tensor& row, const Tensor& state) {
             return state + total(form, kt::expand_dims(row, 0));
           },
           {.sequences = {x}, .outputs_info = {kt::zeros({}, x.dtype())}});
       return with_second(sums[-1], x);
     }},
    {"a value of each step that depends on a state",
     [](Form form, const Tensor& x) {
       const auto result = kt::scan(
           [form](const Tensor& row, const Tensor& state) {
             const Tensor next = state * 0.5 + 0.5;
             return std::pair(next, total(form, kt::expand_dims(row * (next / next), 0)));
           },
           {.sequences = {x}, .outputs_info = {kt::ones({}, x.dtype()), kt::none}});
       return with_second(kt::sum(result[1]), x);
     }},
    {"map",
     [](Form form, const Tensor& x) {
       const Tensor each =
           kt::map([form](const Tensor& row) { return total(form, kt::expand_dims(row, 0)); }, {x});
       return with_second(kt::sum(each), x);
     }},
    {"ifelse",
     [](Form form, const Tensor& x) {
       return with_second(kt::ifelse(kt::sum(x) < 1e30, total(form, x), 0), x);
     }},
    {"ifelse in map",
     [](Form form, const Tensor& x) {
       const Tensor each = kt::map(
           [form](const Tensor& row) {
             return kt::ifelse(row < 1e30, total(form, kt::expand_dims(row, 0)), row);
           },
           {x});
       return with_second(kt::sum(each), x);
     }},
};

template <class T>
std::vector<double> as_doubles(const Array& array) {
  return {array.data<T>().begin(), array.data<T>().end()};
}

template <class T>
void check(const Loss& loss, const Way& way) {
  CAPTURE(loss.text);
  CAPTURE(way.text);
  constexpr bool wide = std::is_same_v<T, double>;
  CAPTURE(wide);
  const T points[] = {-1e4F, -1e3F, -1e2F, -3, 0, 2, 1e2F, 1e3F, 1e4F};
  const Tensor x = kt::tensor("x", {9}, kt::dtype_of<T>);
  std::vector<Tensor> outputs = way.gradient(loss.form, x);
  outputs.push_back(loss.form(x));
  const auto results = kt::function({x}, outputs)(Array::from(std::span<const T>(points)));
  const Closed expected[] = {loss.first, loss.second, loss.value};
  for (std::size_t k = 0; k < 3; ++k) {
    CAPTURE(k);
    const std::vector<double> got = as_doubles<T>(results[k]);
    for (std::size_t i = 0; i < std::size(points); ++i) {
      CAPTURE(points[i]);
      const double want = expected[k](static_cast<double>(points[i]));
      CHECK(std::fabs(got[i] - want) <= (wide ? 1e-14 : 1e-6) * std::fmax(1, std::fabs(want)));
    }
  }
}

}  // namespace

TEST_CASE("stable forms are differentiated however the gradient is asked for") {
  for (const Loss& loss : losses) {
    for (const Way& way : ways) {
      check<float>(loss, way);
      check<double>(loss, way);
    }
  }
}
