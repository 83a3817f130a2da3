// Metrics: f32 scalars, unless they say otherwise. Errors end with the line of the call.
//
// Weights, of the labels' shape or of its first axes, are those of a mask, say: means are weighted
// by them, counts are of the labels whose weight is not 0. What has weight 0 may be anything, also
// a label that is no class. 0 where all weights are 0. Those that are objects can be handed to a
// Trainer by name.
#pragma once
#include <kroton/nn_losses.h>
#include <kroton/ops.h>

#include <cstdint>

namespace kroton::nn {

using MetricOptions = LossOptions;

// The part of the labels, integers (...) (TypeError), that logits (..., classes) are largest at.
struct Accuracy {
  Tensor operator()(const Operand& logits, const Operand& labels,
                    const MetricOptions& options = {}) const;
};
inline constexpr Accuracy accuracy;
// That are among the k largest, 1 <= k <= classes (ValueError, where their number is known). A NaN
// counts as large, that of the label as small. A label that is no class is a ValueError of the
// call.
Tensor top_k_accuracy(const Operand& logits, const Operand& labels, std::int64_t k,
                      const MetricOptions& options = {});
// The part of the labels, 0 or 1 of any dtype, that are 1 where the logit, of the same shape, is
// above the threshold and 0 where it is not.
struct BinaryAccuracy {
  Tensor operator()(const Operand& logits, const Operand& labels, double threshold = 0,
                    const MetricOptions& options = {}) const;
  Tensor operator()(const Operand& logits, const Operand& labels,
                    const MetricOptions& options) const {
    return (*this)(logits, labels, 0, options);
  }
};
inline constexpr BinaryAccuracy binary_accuracy;
// Counts (true class, predicted class), i64. A label that is no class is a ValueError of the call.
struct ConfusionMatrix {
  Tensor operator()(const Operand& logits, const Operand& labels,
                    const MetricOptions& options = {}) const;
};
inline constexpr ConfusionMatrix confusion_matrix;
// Of each class, from a confusion matrix: f32 (classes); 0 where there is nothing to divide by.
Tensor precision(const Operand& confusion);
Tensor recall(const Operand& confusion);
Tensor f1_score(const Operand& confusion);
Tensor perplexity(const Operand& loss);  // exp(loss)
// 1 - the sum of the squared errors over that of the squared distances of y from its mean; of x's
// dtype. Of a data set it is no mean over batches: it is to be of the whole predictions.
struct RSquared {
  Tensor operator()(const Operand& predicted, const Operand& y,
                    const MetricOptions& options = {}) const;
};
inline constexpr RSquared r_squared;

// Of whole arrays, on the host: scores of any dtype, labels 0 or 1, one each. ShapeError for
// another number of labels; ValueError for a NaN, for other labels, and where one of the classes is
// missing (of average_precision: the 1).
//
// The area under the curve of true positives over false ones: the probability that a 1 has a higher
// score than a 0, half of it where they are equal.
double roc_auc(const Array& scores, const Array& labels);
// The sum over thresholds of precision times the recall won there; equal scores are one threshold.
double average_precision(const Array& scores, const Array& labels);

}  // namespace kroton::nn
