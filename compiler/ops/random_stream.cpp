// Random numbers as users draw them: distributions, as compositions of uniform and normal deviates.
#include <kroton/ops.h>
#include <kroton/random.h>

#include <cmath>
#include <numbers>

#include "compiler/ir/leaf.h"
#include "compiler/ir/node.h"
#include "compiler/ops/random.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/weak.h"

namespace kroton {

using ops::Ends;

namespace {

SourceLine line_at(const RandomStream::Location& at) { return {at.file_name(), at.line()}; }

Array first_place(std::uint64_t seed) {
  Array place = Array::zeros({2}, DType::i64);
  place.data<std::int64_t>()[0] = static_cast<std::int64_t>(seed);
  return place;
}

// Draws of one call of a user's function.
class Draws {
 public:
  Draws(const char* name, const Shared& state, std::int64_t& count, Dims shape, DType dtype,
        const RandomStream::Location& at)
      : name_(name),
        state_(state),
        count_(count),
        shape_(std::move(shape)),
        dtype_(dtype),
        scope_(line_at(at), name) {
    if (!is_float(dtype))
      ops::fail_value(name,
                      "the dtype is " + std::string(name_of(dtype)) + ", expected a floating one");
  }

  Tensor uniform(Ends ends = Ends::half_open) const {
    if (is_only_stored(dtype_)) {
      // As many random bits as the dtype has digits: rounding would reach 1.
      const double steps = std::ldexp(1.0, info_of(dtype_).digits);
      return cast(floor(uniform_of(info_of(dtype_).computed_in, ends) * steps) / steps, dtype_);
    }
    return uniform_of(dtype_, ends);
  }
  Tensor uniform_of(DType dtype, Ends ends) const {
    return ops::random_uniform(state_, ops::step_number(), count_++, shape_, dtype, ends);
  }
  Tensor normal() const {
    return ops::random_normal(state_, ops::step_number(), count_++, shape_, dtype_);
  }
  // -log u
  Tensor exponential() const { return -log(uniform(Ends::open)); }

  // A parameter in the draws' dtype, which must broadcast to their shape: it would repeat them.
  Tensor parameter(const Operand& x) const {
    const Tensor tensor = x.tensor(dtype_);
    const Dims& own = tensor.shape();
    bool fits = own.size() <= shape_.size();
    for (std::size_t k = 1; fits && k <= own.size(); ++k) {
      const Dim& size = own[own.size() - k];
      const Dim difference = size - shape_[shape_.size() - k];
      fits = size.is_constant(1) || !difference.is_constant() || difference.is_constant(0);
    }
    if (!fits) {
      ops::fail_shape(OpRecord{.name = name_}, {tensor},
                      "a parameter does not broadcast to " + to_string(shape_));
    }
    if (!is_float(tensor.dtype()) && tensor.dtype() != DType::boolean) return cast(tensor, dtype_);
    return ops::met_by(tensor, dtype_);
  }
  void check_literal(const Operand& x, bool (*allowed)(double), const std::string& expected) const {
    double value = 0;
    if (literal_value(x.tensor(), value) && !allowed(value)) {
      ops::fail_value(name_, expected + " is expected, it is " + to_string(Array(value)));
    }
  }

 private:
  const char* name_;
  const Shared& state_;
  std::int64_t& count_;
  const Dims shape_;
  const DType dtype_;
  const LineScope scope_;
};

bool is_positive(double x) { return x > 0; }
bool is_not_negative(double x) { return x >= 0; }
bool is_probability(double x) { return x >= 0 && x <= 1; }

// The number whose error function is y, |y| < 1: an estimate by Winitzki (2008), then Halley's
// steps, each of which triples the digits.
Tensor inverse_erf(const Tensor& y) {
  constexpr double a = 0.147;
  const Tensor logarithm = log1p(-(y * y));
  const Tensor middle = 2 / (std::numbers::pi * a) + 0.5 * logarithm;
  Tensor x = sign(y) * sqrt(sqrt(middle * middle - logarithm / a) - middle);
  for (int step = 0; step < 3; ++step) {
    const Tensor error = (erf(x) - y) * (0.5 * std::sqrt(std::numbers::pi)) * exp(x * x);
    x = x - error / (1 + x * error);
  }
  return x;
}

// Marsaglia and Tsang's method, for alpha of at least 1: candidates are accepted with a probability
// of 0.95 and more, so that none of these is with one of 1e-8 at most.
Tensor gamma_above_one(const Draws& draws, const Tensor& alpha) {
  constexpr int candidates = 6;
  const Tensor d = alpha - 1.0 / 3;
  const Tensor c = 1 / sqrt(9 * d);
  Tensor result;
  for (int k = 0; k < candidates; ++k) {
    const Tensor x = draws.normal();
    const Tensor base = 1 + c * x;
    const Tensor v = base * base * base;
    const Tensor candidate = d * v;
    if (!result) {
      result = d + 0 * x;  // the mode, roughly, if no candidate is accepted
    }
    const Tensor bound = 0.5 * x * x + d * (1 - v + log(maximum(v, 1e-30)));
    const Tensor accepted = logical_and(gt(v, 0), lt(log(draws.uniform(Ends::open)), bound));
    result = where(accepted, candidate, result);
  }
  return result;
}

// The logarithm of a deviate: for a small alpha it may be no number itself. Its gradient by alpha
// is that at which the share of the distribution below it stays (Figurnov et al. 2018).
Tensor log_gamma_deviate(const Draws& draws, const Tensor& alpha) {
  const Tensor fixed = stop_gradient(alpha);
  // Below 1: one of alpha + 1 times a power of a uniform number.
  const Tensor is_small = lt(fixed, 1);
  const Tensor whole = log(gamma_above_one(draws, where(is_small, fixed + 1, fixed)));
  const Tensor power = log(draws.uniform(Ends::open)) / fixed;
  return ops::apply_binary(gamma_deviate_op, alpha, where(is_small, whole + power, whole));
}

// Below this rate by inversion.
constexpr double large_rate = 30;

// Of how many events a process of that rate never has more: the rest of the distribution is less
// than the smallest difference of uniform numbers.
int most_events(double rate) {
  double probability = std::exp(-rate);
  int k = 0;
  while (k < rate || probability > 1e-18) probability *= rate / ++k;
  return k;
}

// How many sums of the probabilities of 0, 1, 2, ... a uniform number reaches.
Tensor poisson_of_small_rate(const Draws& draws, const Tensor& rate, int most) {
  const Tensor u = draws.uniform();
  Tensor probability = exp(-rate);
  Tensor sum = probability;
  Tensor count = cast(ge(u, sum), f64);
  for (int k = 1; k < most; ++k) {
    probability = probability * (rate / k);
    sum = sum + probability;
    count = count + cast(ge(u, sum), f64);
  }
  return count;
}

// log(k! / product) for whole k from 0 on, by Stirling's series of k + 9.
struct Factorial {
  Tensor log_rest, product;
};
Factorial factorial(const Tensor& k) {
  Tensor product = k + 1;
  for (int step = 2; step <= 8; ++step) product = product * (k + step);
  const Tensor x = k + 9;
  const Tensor inverse = 1 / x;
  const Tensor square = inverse * inverse;
  const Tensor series =
      inverse * (1.0 / 12 - square * (1.0 / 360 - square * (1.0 / 1260 - square / 1680)));
  return {(x - 0.5) * log(x) - x + 0.5 * std::log(2 * std::numbers::pi) + series, product};
}

// Hörmann's PTRS: candidates are accepted with a probability of 0.82 and more. Where none of these
// is, in one of a thousand, it is the expansion of Cornish and Fisher around a normal deviate,
// whose probabilities are right to a thousandth.
Tensor poisson_of_large_rate(const Draws& draws, const Tensor& rate) {
  constexpr int candidates = 4;
  const Tensor root = sqrt(rate);
  const Tensor b = 0.931 + 2.53 * root;
  const Tensor a = 0.02483 * b - 0.059;
  const Tensor inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
  const Tensor log_rate = log(rate);
  const Tensor w = draws.normal();
  const Tensor square = w * w;
  const Tensor expansion =
      rate + root * w + (1.0 / 3 + square / 6) - w * (2 + square) / (72 * root);
  Tensor result = maximum(floor(expansion), 0);
  for (int number = 0; number < candidates; ++number) {
    const Tensor u = draws.uniform(Ends::open) - 0.5;
    const Tensor v = draws.uniform(Ends::open);
    const Tensor us = 0.5 - abs(u);
    const Tensor k = floor((2 * a / us + b) * u + rate + 0.43);
    // v inverse_alpha / (a / us^2 + b) <= rate^k exp(-rate) / k!
    const Factorial of_k = factorial(maximum(k, 0));
    const Tensor height = v * inverse_alpha * (us * us) / ((a + b * us * us) * of_k.product);
    const Tensor below = le(log(height), k * log_rate - rate - of_k.log_rest);
    result = where(logical_and(ge(k, 0), below), k, result);
  }
  return result;
}

}  // namespace

RandomStream::RandomStream(std::uint64_t seed, std::string name, const Location& at)
    : state_(first_place(seed), std::move(name), line_at(at)),
      draws_(std::make_shared<std::int64_t>(0)) {
  state_.state()->counts_calls = true;
}

Tensor RandomStream::uniform(Dims shape, const Operand& low, const Operand& high, DType dtype,
                             const Location& at) const {
  const Draws draws("uniform", state_, *draws_, std::move(shape), dtype, at);
  double least = 0, most = 0;
  if (literal_value(low.tensor(), least) && literal_value(high.tensor(), most) && !(least < most)) {
    ops::fail_value("uniform", "low < high is expected, low is " + to_string(Array(least)) +
                                   ", high is " + to_string(Array(most)));
  }
  const Tensor from = draws.parameter(low), to = draws.parameter(high);
  const Tensor number = from + (to - from) * draws.uniform();
  // Rounding may reach `high`, which the range excludes; not that of the unit interval.
  const bool is_unit = low.is_literal() && high.is_literal() && least == 0 && most == 1;
  return is_unit ? number : where(lt(number, to), number, from);
}

Tensor RandomStream::normal(Dims shape, const Operand& mean, const Operand& stddev, DType dtype,
                            const Location& at) const {
  if (is_only_stored(dtype)) {
    return cast(normal(std::move(shape), mean, stddev, info_of(dtype).computed_in, at), dtype);
  }
  const Draws draws("normal", state_, *draws_, std::move(shape), dtype, at);
  draws.check_literal(stddev, is_not_negative, "a stddev that is not negative");
  return draws.parameter(mean) + draws.parameter(stddev) * draws.normal();
}

Tensor RandomStream::truncated_normal(Dims shape, const Operand& mean, const Operand& stddev,
                                      double reach, DType dtype, const Location& at) const {
  if (is_only_stored(dtype)) {
    return cast(
        truncated_normal(std::move(shape), mean, stddev, reach, info_of(dtype).computed_in, at),
        dtype);
  }
  const Draws draws("truncated_normal", state_, *draws_, std::move(shape), dtype, at);
  draws.check_literal(stddev, is_not_negative, "a stddev that is not negative");
  if (!(reach > 0 && reach <= 8)) {
    ops::fail_value("truncated_normal",
                    "reach is " + to_string(Array(reach)) + ", expected one above 0, 8 at most");
  }
  // Beyond 5 the error function is 1 in f32.
  const double bound = size_of(dtype) < size_of(f64) ? 5 : 8;
  const double farthest = std::erf(std::min(reach, bound) / std::numbers::sqrt2);
  const Tensor probability = farthest * (2 * draws.uniform(Ends::open) - 1);
  return draws.parameter(mean) +
         draws.parameter(stddev) * (std::numbers::sqrt2 * inverse_erf(probability));
}

Tensor RandomStream::bernoulli(Dims shape, const Operand& p, const Location& at) const {
  const DType given = p.tensor(f32).dtype();
  const DType dtype = is_float(given) ? info_of(given).computed_in : f32;
  const Draws draws("bernoulli", state_, *draws_, std::move(shape), dtype, at);
  draws.check_literal(p, is_probability, "a probability");
  return lt(draws.uniform(), draws.parameter(p));
}

Tensor RandomStream::integers(Dims shape, const Operand& low, const Operand& high, DType dtype,
                              const Location& at) const {
  const Draws draws("integers", state_, *draws_, std::move(shape), f64, at);
  if (!is_integer(dtype)) {
    ops::fail_value("integers",
                    "the dtype is " + std::string(name_of(dtype)) + ", expected an integer one");
  }
  const auto bound = [&](const Operand& x) {
    const Tensor tensor = x.tensor(DType::i64);
    if (!is_integer(tensor.dtype())) ops::fail_value("integers", "the bounds are integers");
    return cast(tensor, DType::i64);
  };
  const Tensor from = bound(low), to = bound(high);
  const Tensor range = cast(to, f64) - cast(from, f64);
  double least = 0, most = 0;
  if (literal_value(from, least) && literal_value(to, most)) {
    if (!(least < most) || most - least > 0x1p52) {
      ops::fail_value("integers", "low < high and at most 2^52 numbers are expected, low is " +
                                      std::to_string(static_cast<std::int64_t>(least)) +
                                      ", high is " +
                                      std::to_string(static_cast<std::int64_t>(most)));
    }
  }
  return cast(from + cast(floor(draws.uniform() * range), DType::i64), dtype);
}

Tensor RandomStream::exponential(Dims shape, const Operand& rate, DType dtype,
                                 const Location& at) const {
  if (is_only_stored(dtype)) {
    return cast(exponential(std::move(shape), rate, info_of(dtype).computed_in, at), dtype);
  }
  const Draws draws("exponential", state_, *draws_, std::move(shape), dtype, at);
  draws.check_literal(rate, is_positive, "a positive rate");
  return draws.exponential() / draws.parameter(rate);
}

Tensor RandomStream::gumbel(Dims shape, const Operand& location, const Operand& scale, DType dtype,
                            const Location& at) const {
  if (is_only_stored(dtype)) {
    return cast(gumbel(std::move(shape), location, scale, info_of(dtype).computed_in, at), dtype);
  }
  const Draws draws("gumbel", state_, *draws_, std::move(shape), dtype, at);
  draws.check_literal(scale, is_not_negative, "a scale that is not negative");
  return draws.parameter(location) - draws.parameter(scale) * log(draws.exponential());
}

Tensor RandomStream::laplace(Dims shape, const Operand& location, const Operand& scale, DType dtype,
                             const Location& at) const {
  if (is_only_stored(dtype)) {
    return cast(laplace(std::move(shape), location, scale, info_of(dtype).computed_in, at), dtype);
  }
  const Draws draws("laplace", state_, *draws_, std::move(shape), dtype, at);
  draws.check_literal(scale, is_not_negative, "a scale that is not negative");
  const Tensor u = draws.uniform(Ends::open) - 0.5;
  return draws.parameter(location) -
         draws.parameter(scale) * sign(u) * log(maximum(1 - 2 * abs(u), 1e-30));
}

Tensor RandomStream::logistic(Dims shape, const Operand& location, const Operand& scale,
                              DType dtype, const Location& at) const {
  if (is_only_stored(dtype)) {
    return cast(logistic(std::move(shape), location, scale, info_of(dtype).computed_in, at), dtype);
  }
  const Draws draws("logistic", state_, *draws_, std::move(shape), dtype, at);
  draws.check_literal(scale, is_not_negative, "a scale that is not negative");
  const Tensor u = draws.uniform(Ends::open);
  return draws.parameter(location) + draws.parameter(scale) * (log(u) - log1p(-u));
}

Tensor RandomStream::gamma(Dims shape, const Operand& alpha, DType dtype,
                           const Location& at) const {
  if (is_only_stored(dtype)) {
    return cast(gamma(std::move(shape), alpha, info_of(dtype).computed_in, at), dtype);
  }
  const Draws draws("gamma", state_, *draws_, std::move(shape), dtype, at);
  draws.check_literal(alpha, is_positive, "a positive alpha");
  return exp(log_gamma_deviate(draws, draws.parameter(alpha)));
}

Tensor RandomStream::beta(Dims shape, const Operand& a, const Operand& b, DType dtype,
                          const Location& at) const {
  if (is_only_stored(dtype)) {
    return cast(beta(std::move(shape), a, b, info_of(dtype).computed_in, at), dtype);
  }
  const Draws draws("beta", state_, *draws_, std::move(shape), dtype, at);
  draws.check_literal(a, is_positive, "a positive parameter");
  draws.check_literal(b, is_positive, "a positive parameter");
  const Tensor x = log_gamma_deviate(draws, draws.parameter(a));
  return sigmoid(x - log_gamma_deviate(draws, draws.parameter(b)));
}

Tensor RandomStream::poisson(Dims shape, const Operand& rate, DType dtype,
                             const Location& at) const {
  const Draws draws("poisson", state_, *draws_, shape, f64, at);
  if (dtype == DType::boolean)
    ops::fail_value("poisson", "the dtype is boolean, expected a number");
  draws.check_literal(rate, [](double x) { return x >= 0 && x < 0x1p52; }, "a rate from 0 to 2^52");
  const Tensor mean = stop_gradient(draws.parameter(rate));
  double known = 0;
  if (literal_value(rate.tensor(), known)) {
    const Tensor all = broadcast_to(mean, shape);
    return cast(known < large_rate ? poisson_of_small_rate(draws, all, most_events(known))
                                   : poisson_of_large_rate(draws, all),
                dtype);
  }
  const Tensor small =
      poisson_of_small_rate(draws, minimum(mean, large_rate), most_events(large_rate));
  const Tensor large = poisson_of_large_rate(draws, maximum(mean, large_rate));
  return cast(where(lt(mean, large_rate), small, large), dtype);
}

Tensor RandomStream::permutation(const Dim& n, const Location& at) const {
  const Draws draws("permutation", state_, *draws_, {n}, f64, at);
  const Tensor places = iota({n}, 0);
  return fisher_yates(cast(floor(draws.uniform() * cast(places + 1, f64)), DType::i64));
}

namespace {

// Something with rows, which `name` asks for.
Tensor rows_of(const char* name, const Operand& x) {
  const Tensor tensor = x.tensor();
  if (tensor.rank() == 0) ops::fail_shape(OpRecord{.name = name}, {tensor}, "takes rows (n, ...)");
  return tensor;
}

}  // namespace

Tensor RandomStream::shuffle(const Operand& x, const Location& at) const {
  const LineScope scope(line_at(at), "shuffle");
  const Tensor rows = rows_of("shuffle", x);
  return take(rows, permutation(rows.shape(0), at));
}

Tensor RandomStream::choice(const Operand& x, Dims shape, const ChoiceOptions& options,
                            const Location& at) const {
  const LineScope scope(line_at(at), "choice");
  const Tensor rows = rows_of("choice", x);
  const Dim& count = rows.shape(0);
  const OpRecord op{.name = "choice"};
  if (!options.replace) {
    if (options.p) ops::fail_value("choice", "p is for choices with replace");
    if (shape.size() != 1) {
      ops::fail_shape(op, {rows},
                      "without replace the shape has one axis, it is " + to_string(shape));
    }
    const Tensor order = ops::size_check(permutation(count, at), "choice", {rows}, count, shape[0],
                                         "there are %0 rows, without replace %1 are asked for");
    return take(rows, ops::strided_slice(order, {0}, shape, {1}));
  }
  const Tensor some =
      ops::size_check(rows, "choice", {rows}, count, 1, "there are %0 rows to choose from");
  if (!options.p) return take(some, integers(std::move(shape), 0, size_of_dim(count), i64, at));
  if (!is_float(options.p.dtype())) ops::fail_type(op, {rows, options.p}, "p is not floating");
  if (options.p.rank() != 1) ops::fail_shape(op, {rows, options.p}, "p is not (rows)");
  const char* const differs = "p has not as many elements as there are rows: %0 and %1";
  const Dim& weights = options.p.shape(0);
  const Tensor p = ops::size_check(
      ops::size_check(options.p, "choice", {rows, options.p}, weights, count, differs), "choice",
      {rows, options.p}, count, weights, differs);
  const Draws draws("choice", state_, *draws_, shape, f64, at);
  // How many of the sums of p, but the last, a number below the whole reaches.
  const Tensor sums = cumsum(cast(p, f64), 0);
  const Tensor whole = max(sums);
  const Tensor number = expand_dims(draws.uniform() * whole, -1);
  const Tensor reached = sum(cast(logical_and(ge(number, sums), lt(sums, whole)), DType::i64), -1);
  return take(some, reached);
}

namespace {

// The logits, with the axis of the classes.
Tensor logits_of(const char* name, const Operand& x) {
  const Tensor logits = x.tensor();
  const OpRecord op{.name = name};
  if (!is_float(logits.dtype())) ops::fail_type(op, {logits}, "takes floating point only");
  if (logits.rank() == 0) ops::fail_shape(op, {logits}, "takes logits (..., classes)");
  return logits;
}

}  // namespace

Tensor RandomStream::categorical(const Operand& logits, const Location& at) const {
  const LineScope scope(line_at(at), "categorical");
  const Tensor given = logits_of("categorical", logits);
  const Draws draws("categorical", state_, *draws_, given.shape(), given.dtype(), at);
  // The largest logit of those that Gumbel deviates are added to.
  return argmax(given - log(draws.exponential()), -1);
}

Tensor RandomStream::multinomial(std::int64_t count, const Operand& logits,
                                 const Location& at) const {
  const LineScope scope(line_at(at), "multinomial");
  const Tensor given = logits_of("multinomial", logits);
  if (count < 0) ops::fail_value("multinomial", "count is " + std::to_string(count));
  const Dim classes = given.shape(-1);
  Dims shape = given.shape();
  shape.insert(shape.begin(), Dim(count));
  const Tensor drawn = categorical(broadcast_to(given, shape), at);
  return sum(cast(one_hot(drawn, classes), DType::i64), 0);
}

}  // namespace kroton
