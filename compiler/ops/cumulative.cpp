// Running sums, products and extremes along an axis.
#include <kroton/cumulative.h>

#include <cmath>
#include <limits>

#include "compiler/ops/records.h"
#include "compiler/ops/running.h"

namespace kroton {

using ops::Accepts;
using ops::RunningFunction;
using Tensors = std::vector<Tensor>;

namespace {

using Combine = Number (*)(const Number& before, const Number& x);

// What each of these ops is: y[i] = operation(y[i-1], x[i]).
struct Running {
  std::string_view name;
  loop::Op operation;
  Combine reference;  // null: a compensated sum
  RunningFunction function;
  ops::Accept accept;  // for the fuzzer
  std::vector<Tensor> (*vjp)(const Tensor& y, const Tensor& g);
  std::vector<Sample> (*more_samples)() = nullptr;
};

std::vector<Sample> samples(const Running& how) {
  std::vector<Sample> result = ops::running_samples(how.function);
  if (how.more_samples == nullptr) return result;
  for (Sample& sample : how.more_samples()) result.push_back(std::move(sample));
  return result;
}

void write(WriteContext& context, loop::Op operation) {
  ops::running_write(context,
                     [operation](WriteContext& c, const Index& here, const loop::Expr& before) {
                       const loop::Expr x = c.input(0, here);
                       return before ? loop::binary(operation, before, x) : x;
                     },
                     {operation});
}

void evaluate(ReferenceContext& c, Combine combine) {
  ops::CompensatedSum sum;
  Number result;
  ops::run_along(c, [&](std::size_t offset, bool is_first) {
    const Number& x = c.inputs[0]->data[offset];
    if (combine == nullptr) {
      if (is_first) sum = {};
      sum.add(x);
      result = sum.value();
    } else {
      result = is_first ? x : combine(result, x);
    }
    c.output.data[offset] = result;
  });
}

// The record of `op`, which `how` describes: it runs along attributes.axes[0], from the other end
// if attributes.integers[0] is 1; numbers.
template <const OpRecord& op, const Running& how>
constexpr OpRecord running() {
  return {.name = how.name,
          .kind = OpKind::write,
          .adds = how.operation == loop::Op::add,
          .linear = how.operation == loop::Op::add ? Linear::jointly : Linear::no,
          .infer = ops::same_type<Accepts::numbers>,
          .vjp = how.vjp,
          .write = [](WriteContext& context) { write(context, how.operation); },
          .reference = [](ReferenceContext& context) { evaluate(context, how.reference); },
          .batch = ops::batch_along_axes<op>,
          .draw = [](ops::Draw& d) { ops::draw_running(d, how.name, how.function, how.accept); },
          .samples = [] { return samples(how); }};
}

// An element that is taken has the cotangents of all results up to where the next one is taken: a
// recurrence that begins anew there.
Tensors running_extreme_vjp(const Tensor& y, const Tensor& g) {
  const Attributes& attributes = y.node().attributes;
  const Tensor before = ops::element_before(y, attributes);
  const Tensor taken = ops::is_first_on_way(y, attributes) | (ne(y, before) & eq(before, before));
  const Tensor goes_on = cast(logical_not(taken), g.dtype());
  return {where(taken, ops::running_cotangent(goes_on, g, attributes), 0)};
}

// The second element is taken for itself and all behind it, some of which are equal to it.
std::vector<Sample> extreme_ties(RunningFunction function, const std::vector<double>& x) {
  return {ops::kink_sample(
      {x}, [=](std::span<const Tensor> in) { return function(in[0], 0, false); },
      [](std::span<const Tensor> in) {
        return take(in[0], Array::from<std::int64_t>({0, 1, 1, 1, 1}));
      })};
}

Number larger_before(const Number& best, const Number& x) {
  return std::isnan(best) || best > x ? best : x;
}

Number smaller_before(const Number& best, const Number& x) {
  return std::isnan(best) || best < x ? best : x;
}

}  // namespace

// vjp: dx = the running sum of dy from the other end
constexpr Running cumsum_how = {
    .name = "cumsum",
    .operation = loop::Op::add,
    .reference = nullptr,
    .function = cumsum,
    .accept = ops::any_dtype,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      return {cumsum(g, y.node().attributes.axes[0], !ops::runs_backwards(y.node().attributes))};
    }};
constinit const OpRecord cumsum_op = running<cumsum_op, cumsum_how>();

// vjp: dx[i] = y[i-1] times c[i] = dy[i] + x[i+1] c[i+1]: nothing is divided by x
constexpr Running cumprod_how = {
    .name = "cumprod",
    .operation = loop::Op::mul,
    .reference = [](const Number& y, const Number& x) { return y * x; },
    .function = cumprod,
    .accept = ops::any_dtype,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      const Attributes& attributes = y.node().attributes;
      const Tensor c = ops::running_cotangent(y.node().inputs[0], g, attributes);
      return {c *
              where(ops::is_first_on_way(y, attributes), 1, ops::element_before(y, attributes))};
    }};
constinit const OpRecord cumprod_op = running<cumprod_op, cumprod_how>();

// y[i] = the largest of x[0] ... x[i] along attributes.axes[0], from the other end if
// attributes.integers[0] is 1; NaN from the first one on; numbers. vjp: to the element taken
constexpr Running cummax_how = {
    .name = "cummax",
    .operation = loop::Op::max,
    .reference = larger_before,
    .function = cummax,
    .accept = ops::number,
    .vjp = running_extreme_vjp,
    .more_samples = [] { return extreme_ties(cummax, {1, 3, 3, 2, 3}); }};
constinit const OpRecord cummax_op = running<cummax_op, cummax_how>();

// The same of the smallest.
constexpr Running cummin_how = {
    .name = "cummin",
    .operation = loop::Op::min,
    .reference = smaller_before,
    .function = cummin,
    .accept = ops::number,
    .vjp = running_extreme_vjp,
    .more_samples = [] { return extreme_ties(cummin, {3, 1, 1, 2, 1}); }};
constinit const OpRecord cummin_op = running<cummin_op, cummin_how>();

namespace {

Tensor run(const OpRecord& op, const Tensor& x, int axis, bool reverse) {
  return ops::apply(op, {x}, ops::running_attributes(op.name, axis, x.rank(), reverse));
}

}  // namespace

Tensor cumsum(const Operand& x, int axis, bool reverse) {
  const LineScope scope(x.line());
  return run(cumsum_op, ops::widened(x), axis, reverse);
}

Tensor cumprod(const Operand& x, int axis, bool reverse) {
  const LineScope scope(x.line());
  return run(cumprod_op, ops::widened(x), axis, reverse);
}

Tensor cummax(const Operand& x, int axis, bool reverse) {
  const LineScope scope(x.line());
  return run(cummax_op, x.tensor(), axis, reverse);
}

Tensor cummin(const Operand& x, int axis, bool reverse) {
  const LineScope scope(x.line());
  return run(cummin_op, x.tensor(), axis, reverse);
}

// With c[i] the largest element so far, s[i] = exp(c[i-1] - c[i]) s[i-1] + exp(x[i] - c[i]) has no
// exponent above 0, and y = c + log(s). What cancels has no derivative: c is taken as a constant.
Tensor logcumsumexp(const Operand& x, int axis, bool reverse) {
  const LineScope scope(x.line());
  const Tensor t = x.tensor();
  if (!is_float(t.dtype())) {
    ops::fail_type(OpRecord{.name = "logcumsumexp"}, {t}, "takes floating point only");
  }
  const Attributes attributes = ops::running_attributes("logcumsumexp", axis, t.rank(), reverse);
  const Tensor c = stop_gradient(cummax(t, axis, reverse));
  const Tensor before = ops::element_before(c, attributes);
  // Infinities that are equal differ by 0.
  const auto difference = [&](const Tensor& a) {
    const double infinity = std::numeric_limits<double>::infinity();
    return where(eq(a, c) & eq(abs(c), Operand(infinity).tensor(c.dtype())), 0, a - c);
  };
  const Tensor s = linear_recurrence(exp(difference(before)), exp(difference(t)), axis, reverse);
  return c + log(s);
}

}  // namespace kroton
