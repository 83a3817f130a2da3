// Losses and metrics of networks.
#include <kroton/error.h>
#include <kroton/nn.h>

namespace kroton::nn {

namespace {

// The mean of the examples' losses by these weights, of all if there are none.
Tensor weighted_mean(const Tensor& losses, const Tensor& weights) {
  if (!weights) return mean(losses);
  const Tensor total = sum(weights), is_any = ne(total, 0);
  return where(is_any, sum(losses * weights) / where(is_any, total, 1), 0);
}

// Losses of two tensors do not broadcast: a column against a vector would be compared in all pairs.
void check_same_shape(const char* name, const Tensor& x, const Tensor& y) {
  bool fits = x.rank() == y.rank();
  for (int axis = 0; fits && axis < x.rank(); ++axis) {
    const Dim difference = x.shape(axis) - y.shape(axis);
    fits = !difference.is_constant() || difference.is_constant(0);
  }
  if (fits) return;
  throw ShapeError(std::string(name) + ": takes two tensors of one shape: " + x.name() + " is " +
                   to_string(x.type()) + ", " + y.name() + " is " + to_string(y.type()) + "  [" +
                   to_string(x.line()) + "]");
}

Tensor times(const Tensor& weights, const Tensor& more) { return weights ? weights * more : more; }

Tensor square_distance(const Tensor& x, const Tensor& y) { return sum(square(x - y), -1); }

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& labels,
                     const CrossEntropyOptions& options) {
  const LineScope scope(logits.line(), "cross_entropy");
  const auto fail = [&](const std::string& what) {
    throw ShapeError("cross_entropy: " + what + ": " + logits.name() + " is " +
                     to_string(logits.type()) + ", " + labels.name() + " is " +
                     to_string(labels.type()) + "  [" + to_string(logits.line()) + "]");
  };
  if (logits.rank() < 1 || labels.rank() != logits.rank() - 1) {
    fail("takes logits (..., classes) and labels (...)");
  }
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1)) {
    throw ValueError("cross_entropy: label_smoothing is " +
                     to_string(Array(options.label_smoothing)) + ", expected one in [0, 1)");
  }
  const Dim classes = logits.shape(-1);
  const Tensor rows = logits.rank() == 2 ? logits : reshape(logits, {-1, classes});
  Tensor index = labels.rank() == 1 ? labels : flatten(labels);
  Tensor weights;
  if (options.mask) weights = cast(flatten(options.mask), rows.dtype());
  if (options.ignored_label) {
    const Tensor counts = ne(index, *options.ignored_label);
    weights = times(weights, cast(counts, rows.dtype()));
    index = where(counts, index, 0);
  }
  // A negative label does not count from the end.
  index = where(lt(index, 0), index - size_of_dim(classes, index.dtype()), index);
  if (options.class_weights) {
    const Dims& sizes = options.class_weights.shape();
    if (sizes.size() != 1 ||
        ((sizes[0] - classes).is_constant() && !(sizes[0] - classes).is_constant(0))) {
      fail("there are class weights " + to_string(sizes));
    }
    weights = times(weights, take(options.class_weights, index));
  }
  Tensor losses = softmax_cross_entropy(rows, index);
  if (options.label_smoothing > 0) {
    const double rest = options.label_smoothing;
    losses = (1 - rest) * losses - rest * mean(log_softmax(rows, -1), -1);
  }
  return weighted_mean(losses, weights);
}

Tensor soft_cross_entropy(const Tensor& logits, const Tensor& probabilities) {
  const LineScope scope(logits.line(), "soft_cross_entropy");
  check_same_shape("soft_cross_entropy", logits, probabilities);
  return -mean(sum(probabilities * log_softmax(logits, -1), -1));
}

Tensor binary_cross_entropy(const Tensor& logits, const Tensor& labels) {
  const LineScope scope(logits.line(), "binary_cross_entropy");
  check_same_shape("binary_cross_entropy", logits, labels);
  const Tensor y = cast(labels, logits.dtype());
  return mean(kroton::softplus(logits) - y * logits);
}

Tensor mean_squared_error(const Tensor& x, const Tensor& y) {
  const LineScope scope(x.line(), "mean_squared_error");
  check_same_shape("mean_squared_error", x, y);
  return mean(square(x - y));
}

Tensor mean_absolute_error(const Tensor& x, const Tensor& y) {
  const LineScope scope(x.line(), "mean_absolute_error");
  check_same_shape("mean_absolute_error", x, y);
  return mean(abs(x - y));
}

Tensor huber(const Tensor& x, const Tensor& y, double delta) {
  const LineScope scope(x.line(), "huber");
  check_same_shape("huber", x, y);
  if (!(delta > 0)) {
    throw ValueError("huber: delta is " + to_string(Array(delta)) + ", expected one above 0");
  }
  const Tensor distance = abs(x - y);
  const Tensor near = minimum(distance, delta);
  return mean(0.5 * square(near) + delta * (distance - near));
}

Tensor hinge(const Tensor& x, const Tensor& y) {
  const LineScope scope(x.line(), "hinge");
  check_same_shape("hinge", x, y);
  return mean(maximum(1 - cast(y, x.dtype()) * x, 0));
}

Tensor kl_divergence(const Tensor& log_q, const Tensor& p) {
  const LineScope scope(log_q.line(), "kl_divergence");
  check_same_shape("kl_divergence", log_q, p);
  // p log p is 0 where p is.
  const Tensor entropy = where(gt(p, 0), p * log(where(gt(p, 0), p, 1)), 0);
  return mean(sum(entropy - p * log_q, -1));
}

Tensor cosine_loss(const Tensor& x, const Tensor& y, double epsilon) {
  const LineScope scope(x.line(), "cosine_loss");
  check_same_shape("cosine_loss", x, y);
  const Tensor squares = sum(square(x), -1) * sum(square(y), -1);
  return mean(1 - sum(x * y, -1) / sqrt(maximum(squares, epsilon * epsilon)));
}

Tensor triplet(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
               double margin) {
  const LineScope scope(anchor.line(), "triplet");
  constexpr double tiny = 1e-12;  // no slope without end where points coincide
  const auto distance = [&](const Tensor& other) {
    return sqrt(square_distance(anchor, other) + tiny);
  };
  return mean(maximum(distance(positive) - distance(negative) + margin, 0));
}

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

// ---- Metrics

Tensor accuracy(const Tensor& logits, const Tensor& labels) {
  const LineScope scope(logits.line(), "accuracy");
  return mean(cast(eq(argmax(logits, -1), cast(labels, i64)), f32));
}

Tensor top_k_accuracy(const Tensor& logits, const Tensor& labels, std::int64_t k) {
  const LineScope scope(logits.line(), "top_k_accuracy");
  const Tensor own = sum(logits * one_hot(labels, logits.shape(-1), logits.dtype()), -1, true);
  const Tensor larger = sum(cast(gt(logits, own), i64), -1);
  return mean(cast(lt(larger, k), f32));
}

Tensor confusion_matrix(const Tensor& logits, const Tensor& labels) {
  const LineScope scope(logits.line(), "confusion_matrix");
  const Dim classes = logits.shape(-1);
  const Tensor truth = one_hot(flatten(labels), classes, f32);
  const Tensor predicted = one_hot(flatten(argmax(logits, -1)), classes, f32);
  return cast(dot(transpose(truth), predicted), i64);
}

namespace {

Tensor hits(const Tensor& confusion) {
  const Dims& shape = confusion.shape();
  return cast(sum(where(eq(iota(shape, 0), iota(shape, 1)), confusion, 0), 1), f32);
}

Tensor part_of(const Tensor& x, const Tensor& whole) {
  return where(gt(whole, 0), x / maximum(whole, 1), 0);
}

}  // namespace

Tensor precision(const Tensor& confusion) {
  return part_of(hits(confusion), cast(sum(confusion, 0), f32));
}

Tensor recall(const Tensor& confusion) {
  return part_of(hits(confusion), cast(sum(confusion, 1), f32));
}

Tensor f1_score(const Tensor& confusion) {
  const Tensor all = cast(sum(confusion, 0), f32) + cast(sum(confusion, 1), f32);
  return part_of(2 * hits(confusion), all);
}

Tensor perplexity(const Tensor& loss) { return exp(loss); }

Tensor r_squared(const Tensor& predicted, const Tensor& y) {
  const LineScope scope(predicted.line(), "r_squared");
  check_same_shape("r_squared", predicted, y);
  return 1 - sum(square(predicted - y)) / sum(square(y - mean(y)));
}

}  // namespace kroton::nn
