// Metrics of networks.
#include <kroton/error.h>
#include <kroton/nn_metrics.h>

#include "frontend/train/loss_tools.h"

namespace kroton::nn {

namespace {

// Labels and logits as rows, and which labels count, if they have weights: others are class 0.
struct Counted {
  Rows rows;
  Tensor weights;
};
Counted counted(const char* name, const Tensor& logits, const Tensor& labels, const Tensor& given) {
  Rows rows = rows_of(logits, labels);
  if (!given) return {std::move(rows), {}};
  const Tensor weights = flatten(weights_for(name, given, labels));
  rows.labels = where(ne(weights, 0), rows.labels, 0);
  return {std::move(rows), weights};
}

}  // namespace

Tensor Accuracy::operator()(const Operand& given_logits, const Operand& given_labels,
                            const MetricOptions& options) const {
  const LineScope scope(line_of_call(given_logits), "accuracy");
  const Tensor logits = given_logits.tensor(), labels = given_labels.tensor();
  check_classes("accuracy", logits, labels);
  const Tensor predicted = argmax(logits, -1);
  const Tensor is_right = eq(predicted, cast(of_same_shape(predicted, labels), i64));
  return weighted_mean("accuracy", cast(is_right, f32), options.weights);
}

Tensor BinaryAccuracy::operator()(const Operand& given_logits, const Operand& given_labels,
                                  double threshold, const MetricOptions& options) const {
  const LineScope scope(line_of_call(given_logits), "binary_accuracy");
  const Tensor logits = given_logits.tensor(), labels = given_labels.tensor();
  check_floating("binary_accuracy", "logits", logits);
  check_same_shape("binary_accuracy", logits, labels);
  const Tensor is_right = eq(gt(logits, threshold), ne(of_same_shape(logits, labels), 0));
  return weighted_mean("binary_accuracy", cast(is_right, f32), options.weights);
}

Tensor top_k_accuracy(const Operand& given_logits, const Operand& given_labels, std::int64_t k,
                      const MetricOptions& options) {
  const LineScope scope(line_of_call(given_logits), "top_k_accuracy");
  const Tensor logits = given_logits.tensor(), labels = given_labels.tensor();
  check_classes("top_k_accuracy", logits, labels);
  const Dim classes = logits.shape(-1);
  if (k < 1 || (classes.is_constant() && k > classes.constant())) {
    fail_value("top_k_accuracy", "k is " + std::to_string(k) + ", expected one from 1 to the " +
                                     classes.to_string() + " classes");
  }
  const auto [rows, weights] = counted("top_k_accuracy", logits, labels, options.weights);
  const Tensor own = pick(rows.logits, as_index("a label", rows.labels));
  const Tensor larger = sum(cast(logical_not(le(rows.logits, expand_dims(own, 1))), i64), 1);
  return weighted_mean("top_k_accuracy", cast(lt(larger, k), f32), weights);
}

Tensor ConfusionMatrix::operator()(const Operand& given_logits, const Operand& given_labels,
                                   const MetricOptions& options) const {
  const LineScope scope(line_of_call(given_logits), "confusion_matrix");
  const Tensor logits = given_logits.tensor(), labels = given_labels.tensor();
  check_classes("confusion_matrix", logits, labels);
  const Dim classes = logits.shape(-1);
  // Counts are exact up to 2^53.
  const auto [rows, weights] = counted("confusion_matrix", logits, labels, options.weights);
  Tensor truth = one_hot(checked("a label", rows.labels, classes), classes, f64);
  if (weights) truth = where(expand_dims(ne(weights, 0), 1), truth, 0);
  const Tensor predicted = one_hot(argmax(rows.logits, -1), classes, f64);
  return cast(dot(transpose(truth), predicted), i64);
}

namespace {

Tensor checked_confusion(const char* name, const Operand& given) {
  const Tensor confusion = given.tensor();
  if (confusion.rank() == 2) return confusion;
  throw ShapeError(std::string(name) + ": takes a confusion matrix: " + confusion.name() + " is " +
                   to_string(confusion.type()) + "  [" + to_string(line_of_call(given)) + "]");
}

Tensor hits(const Tensor& confusion) {
  const Dims& shape = confusion.shape();
  return cast(sum(where(eq(iota(shape, 0), iota(shape, 1)), confusion, 0), 1), f32);
}

Tensor part_of(const Tensor& x, const Tensor& whole) {
  return where(gt(whole, 0), x / maximum(whole, 1), 0);
}

}  // namespace

Tensor precision(const Operand& confusion) {
  const LineScope scope(line_of_call(confusion), "precision");
  const Tensor counts = checked_confusion("precision", confusion);
  return part_of(hits(counts), cast(sum(counts, 0), f32));
}

Tensor recall(const Operand& confusion) {
  const LineScope scope(line_of_call(confusion), "recall");
  const Tensor counts = checked_confusion("recall", confusion);
  return part_of(hits(counts), cast(sum(counts, 1), f32));
}

Tensor f1_score(const Operand& confusion) {
  const LineScope scope(line_of_call(confusion), "f1_score");
  const Tensor counts = checked_confusion("f1_score", confusion);
  const Tensor all = cast(sum(counts, 0), f32) + cast(sum(counts, 1), f32);
  return part_of(2 * hits(counts), all);
}

Tensor perplexity(const Operand& loss) {
  const LineScope scope(line_of_call(loss), "perplexity");
  return exp(loss);
}

Tensor RSquared::operator()(const Operand& given_predicted, const Operand& given_y,
                            const MetricOptions& options) const {
  const LineScope scope(line_of_call(given_predicted), "r_squared");
  const Tensor predicted = given_predicted.tensor(), given = given_y.tensor();
  check_same_shape("r_squared", predicted, given);
  const Tensor y = of_same_shape(predicted, given);
  if (!options.weights) {
    return 1 - sum(square(predicted - y)) / sum(square(y - mean(y)));
  }
  const Tensor shown = where_counted(predicted, options.weights);
  const Tensor wanted = where_counted(y, options.weights);
  const auto of = [&](const Tensor& x) { return weighted_mean("r_squared", x, options.weights); };
  return 1 - of(square(shown - wanted)) / of(square(wanted - of(wanted)));
}

}  // namespace kroton::nn
