// What losses and metrics have in common: checks, labels as indices, weighted means.
#pragma once
#include <kroton/ops.h>
#include <kroton/tensor.h>

#include <string>

namespace kroton::nn {

// Where a loss was called; through a std::function, as a Trainer does, where x was made.
SourceLine line_of_call(const Operand& x);

// ShapeError for two tensors whose shapes are known to differ.
void check_same_shape(const char* name, const Tensor& x, const Tensor& y);
// ShapeError where x, called `what`, is known to have another shape.
void check_shape(const char* name, const char* what, const Tensor& x, const Dims& shape);
// y, or where an operation with x might repeat one of the two what is compared with x at the call.
Tensor of_same_shape(const Tensor& x, const Tensor& y);
void check_floating(const char* name, const char* what, const Tensor& x);
void check_integers(const char* name, const char* what, const Tensor& x);
// Logits (..., classes), floating, and labels (...), integers.
void check_classes(const char* name, const Tensor& logits, const Tensor& labels);
[[noreturn]] void fail_value(const char* name, const std::string& what);

// The labels as one axis, and the logits as rows. ShapeError of the call where sizes differ.
struct Rows {
  Tensor logits;  // (rows, classes)
  Tensor labels;  // (rows)
};
Rows rows_of(const Tensor& logits, const Tensor& labels);
// The same numbers, as indices that do not count from the end: at the call ValueError for one that
// is negative, which says that `what`, "a label", is.
Tensor as_index(const char* what, const Tensor& numbers);
// The same numbers; at the call ValueError for one that is negative or not below `size`.
Tensor checked(const char* what, const Tensor& numbers, const Dim& size);

// x where the weight is not 0, else `otherwise`: what does not count has no part in a gradient,
// whatever it is, where 0 times a NaN would have one. x itself without weights, and for those that
// do not have the shape of its first axes, which weighted_mean refuses.
Tensor where_counted(const Tensor& x, const Tensor& weights, double otherwise = 0);

// Weights of the labels' shape, of those of that shape or of its first axes; else ShapeError.
Tensor weights_for(const char* name, const Tensor& weights, const Tensor& labels);

// The sum of losses * weights over the sum of weights, whose shape is the losses' or that of their
// first axes; 0 where all are 0, also for losses that are not finite. The mean without weights.
Tensor weighted_mean(const char* name, const Tensor& losses, const Tensor& weights);

}  // namespace kroton::nn
