// Losses of networks.
#include <kroton/error.h>
#include <kroton/nn_losses.h>

#include <cmath>

#include "frontend/train/layer_tools.h"
#include "frontend/train/loss_tools.h"

namespace kroton::nn {

// ---- Of two tensors of one shape

namespace {

constexpr double log_of_2 = 0.6931471805599453;
constexpr double tiny = 1e-30;  // no slope without end of roots

Tensor square_distance(const Tensor& x, const Tensor& y) { return sum(square(x - y), -1); }

Tensor binary(const Tensor& x, const Tensor& y) { return kroton::softplus(x) - y * x; }

// Both checked, y with the dtype of x; without what does not count.
std::pair<Tensor, Tensor> operands(const char* name, const Operand& x, const Operand& y,
                                   const Tensor& weights, double y_otherwise = 0) {
  const Tensor first = x.tensor(), given = y.tensor();
  check_floating(name, "x", first);
  check_same_shape(name, first, given);
  const Tensor second = of_same_shape(first, given);
  const Tensor of_dtype = second.dtype() == first.dtype() ? second : cast(second, first.dtype());
  return {where_counted(first, weights), where_counted(of_dtype, weights, y_otherwise)};
}

void check_last_axis(const char* name, const Tensor& x) {
  if (x.rank() > 0) return;
  throw ShapeError(std::string(name) + ": takes x (..., n): " + x.name() + " is a scalar  [" +
                   to_string(LineScope::current().value_or(x.line())) + "]");
}

}  // namespace

Tensor Loss::operator()(const Operand& x, const Operand& y, const LossOptions& options) const {
  const LineScope scope(line_of_call(x), name_);
  const auto [first, second] = operands(name_, x, y, options.weights);
  return weighted_mean(name_, formula_(first, second), options.weights);
}

constinit const Loss mean_squared_error("mean_squared_error", [](const Tensor& x, const Tensor& y) {
  return square(x - y);
});
constinit const Loss mean_absolute_error("mean_absolute_error",
                                         [](const Tensor& x, const Tensor& y) {
                                           return abs(x - y);
                                         });
constinit const Loss log_cosh("log_cosh", [](const Tensor& x, const Tensor& y) {
  const Tensor distance = abs(x - y);
  return distance + kroton::softplus(-2 * distance) - log_of_2;
});
constinit const Loss hinge("hinge",
                           [](const Tensor& x, const Tensor& y) { return maximum(1 - y * x, 0); });
constinit const Loss squared_hinge("squared_hinge", [](const Tensor& x, const Tensor& y) {
  return square(maximum(1 - y * x, 0));
});
constinit const Loss categorical_hinge("categorical_hinge", [](const Tensor& x, const Tensor& y) {
  check_last_axis("categorical_hinge", x);
  const Tensor others = max(where(gt(y, 0), -HUGE_VAL, x), -1);
  return maximum(others - sum(y * x, -1) + 1, 0);
});
constinit const Loss soft_cross_entropy("soft_cross_entropy", [](const Tensor& x, const Tensor& y) {
  check_last_axis("soft_cross_entropy", x);
  // A class of no probability counts for nothing, also where its logit is -inf.
  return -sum(where(ne(y, 0), y * log_softmax(x, -1), 0), -1);
});
constinit const Loss kl_divergence("kl_divergence", [](const Tensor& log_q, const Tensor& p) {
  check_last_axis("kl_divergence", p);
  const Tensor is_any = gt(p, 0);
  return sum(where(is_any, p * (log(where(is_any, p, 1)) - log_q), 0), -1);
});
constinit const Loss binary_cross_entropy("binary_cross_entropy", binary);
constinit const Loss poisson_nll("poisson_nll",
                                 [](const Tensor& x, const Tensor& y) { return exp(x) - y * x; });

Tensor Huber::operator()(const Operand& x, const Operand& y, double delta,
                         const LossOptions& options) const {
  const LineScope scope(line_of_call(x), "huber");
  if (!(delta > 0) || std::isinf(delta)) {
    fail_value("huber", "delta is " + to_string(Array(delta)) + ", expected a number above 0");
  }
  const auto [first, second] = operands("huber", x, y, options.weights);
  const Tensor distance = abs(first - second);
  const Tensor near = minimum(distance, delta);
  return weighted_mean("huber", 0.5 * square(near) + delta * (distance - near), options.weights);
}

Tensor gaussian_nll(const Operand& mean, const Operand& y, const Operand& variance, double epsilon,
                    const LossOptions& options) {
  const LineScope scope(line_of_call(mean), "gaussian_nll");
  if (!(epsilon > 0)) {
    fail_value("gaussian_nll",
               "epsilon is " + to_string(Array(epsilon)) + ", expected one above 0");
  }
  const auto [x, target] = operands("gaussian_nll", mean, y, options.weights);
  const Tensor given = operands("gaussian_nll", mean, variance, options.weights, 1).second;
  const Tensor spread = maximum(given, epsilon);
  return weighted_mean("gaussian_nll", 0.5 * (log(spread) + square(x - target) / spread),
                       options.weights);
}

Tensor CosineLoss::operator()(const Operand& x, const Operand& y, double epsilon,
                              const LossOptions& options) const {
  const LineScope scope(line_of_call(x), "cosine_loss");
  const auto [first, second] = operands("cosine_loss", x, y, options.weights);
  check_last_axis("cosine_loss", first);
  const Tensor squares = sum(square(first), -1) * sum(square(second), -1);
  const Tensor cosine = sum(first * second, -1) / sqrt(maximum(squares, epsilon * epsilon));
  return weighted_mean("cosine_loss", 1 - cosine, options.weights);
}

Tensor triplet(const Operand& anchor, const Operand& positive, const Operand& negative,
               double margin, const LossOptions& options) {
  const LineScope scope(line_of_call(anchor), "triplet");
  constexpr double least = 1e-12;  // no slope without end where points coincide
  const auto distance = [&](const Operand& other) {
    const auto [x, y] = operands("triplet", anchor, other, options.weights);
    check_last_axis("triplet", x);
    return sqrt(square_distance(x, y) + least);
  };
  return weighted_mean("triplet", maximum(distance(positive) - distance(negative) + margin, 0),
                       options.weights);
}

Tensor BinaryFocal::operator()(const Operand& logits, const Operand& y, double gamma, double alpha,
                               const LossOptions& options) const {
  const LineScope scope(line_of_call(logits), "binary_focal");
  if (!(gamma >= 0)) fail_value("binary_focal", "gamma is " + to_string(Array(gamma)));
  if (!(alpha <= 1)) {
    fail_value("binary_focal", "alpha is " + to_string(Array(alpha)) + ", expected at most 1");
  }
  const auto [x, target] = operands("binary_focal", logits, y, options.weights);
  Tensor losses = binary(x, target);
  if (gamma > 0) {
    const Tensor p = kroton::sigmoid(x);
    losses = losses * pow(maximum(p * (1 - target) + (1 - p) * target, tiny), gamma);
  }
  if (alpha >= 0) losses = losses * (alpha * target + (1 - alpha) * (1 - target));
  return weighted_mean("binary_focal", losses, options.weights);
}

// ---- Of classes

namespace {

// The mean over the labels that count; with gamma that of (1 - p)^gamma times each.
Tensor of_classes(const char* name, const Operand& given_logits, const Operand& given_labels,
                  const CrossEntropyOptions& options, double gamma) {
  const Tensor logits = given_logits.tensor(), labels = given_labels.tensor();
  check_classes(name, logits, labels);
  const Dim classes = logits.shape(-1);
  auto [rows, index] = rows_of(logits, labels);
  Tensor mask;
  if (options.mask) {
    check_shape(name, "masks", options.mask, labels.shape());
    mask = cast(flatten(with_shape(options.mask, labels.shape())), rows.dtype());
    index = where(ne(mask, 0), index, 0);  // what fills up may be no class
  }
  const auto times = [](const Tensor& some, const Tensor& more) {
    return some ? some * more : more;
  };
  if (options.ignored_label) {
    const Tensor counts = ne(index, *options.ignored_label);
    mask = times(mask, cast(counts, rows.dtype()));
    index = where(counts, index, 0);
  }
  index = as_index("a label", index);
  const double shared = options.label_smoothing;
  Tensor weights, of_class;
  if (options.class_weights) {
    check_shape(name, "class weights", options.class_weights, {classes});
    of_class = cast(options.class_weights, rows.dtype());
    weights = take(of_class, index);
  }
  rows = where_counted(rows, mask);
  // A class of weight 0 has a part in smoothed losses.
  if (shared == 0) rows = where_counted(rows, weights);
  Tensor losses = softmax_cross_entropy(rows, index);
  if (gamma > 0) losses = losses * pow(maximum(-expm1(-losses), tiny), gamma);
  if (weights) losses = losses * weights;
  if (shared > 0) {
    const Tensor all_classes = log_softmax(rows, -1);
    losses =
        (1 - shared) * losses - shared * mean(of_class ? all_classes * of_class : all_classes, -1);
  }
  if (!mask && !weights) return mean(losses);
  const Tensor counted = mask ? where(ne(mask, 0), losses, 0) * mask : losses;
  const Tensor total = sum(!weights ? mask : times(mask, weights));
  const Tensor is_any = ne(total, 0);
  return where(is_any, sum(counted) / where(is_any, total, 1), 0);
}

}  // namespace

Tensor CrossEntropy::operator()(const Operand& logits, const Operand& labels,
                                const CrossEntropyOptions& options) const {
  const LineScope scope(line_of_call(logits), "cross_entropy");
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1)) {
    fail_value("cross_entropy", "label_smoothing is " + to_string(Array(options.label_smoothing)) +
                                    ", expected one in [0, 1)");
  }
  return of_classes("cross_entropy", logits, labels, options, 0);
}

Tensor Focal::operator()(const Operand& logits, const Operand& labels, double gamma,
                         const CrossEntropyOptions& options) const {
  const LineScope scope(line_of_call(logits), "focal");
  if (!(gamma >= 0)) fail_value("focal", "gamma is " + to_string(Array(gamma)));
  if (options.label_smoothing != 0) fail_value("focal", "has no label_smoothing");
  return of_classes("focal", logits, labels, options, gamma);
}

// ---- Of parameters

Tensor l1(const std::vector<Shared>& parameters) {
  Tensor total = Operand(0.0F).tensor();
  for (const Shared& parameter : parameters) total = total + sum(abs(parameter));
  return total;
}

Tensor l2(const std::vector<Shared>& parameters) {
  Tensor total = Operand(0.0F).tensor();
  for (const Shared& parameter : parameters) total = total + sum(square(parameter));
  return total;
}

}  // namespace kroton::nn
