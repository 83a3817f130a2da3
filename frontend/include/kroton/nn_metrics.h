// Metrics: f32 scalars, unless they say otherwise. Errors end with the line of the call.
#pragma once
#include <kroton/ops.h>

#include <cstdint>

namespace kroton::nn {

// The part of the labels, integers (...) (TypeError), that logits (..., classes) are largest at.
Tensor accuracy(const Operand& logits, const Operand& labels);
// That are among the k largest, 1 <= k <= classes (ValueError, where their number is known). A NaN
// counts as large, that of the label as small. A label that is no class is a ValueError of the
// call.
Tensor top_k_accuracy(const Operand& logits, const Operand& labels, std::int64_t k);
// The part of the labels, 0 or 1 of any dtype, that are 1 where the logit, of the same shape, is
// above the threshold and 0 where it is not.
struct BinaryAccuracy {
  Tensor operator()(const Operand& logits, const Operand& labels, double threshold = 0) const;
};
inline constexpr BinaryAccuracy binary_accuracy;  // an object, for a Trainer to take by name
// Counts (true class, predicted class), i64. A label that is no class is a ValueError of the call.
Tensor confusion_matrix(const Operand& logits, const Operand& labels);
// Of each class, from a confusion matrix: f32 (classes); 0 where there is nothing to divide by.
Tensor precision(const Operand& confusion);
Tensor recall(const Operand& confusion);
Tensor f1_score(const Operand& confusion);
Tensor perplexity(const Operand& loss);  // exp(loss)
Tensor r_squared(const Operand& predicted, const Operand& y);

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
