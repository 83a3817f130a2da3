// Losses: means over the examples, scalars, of the dtype of their first argument. ShapeError for
// two tensors of different shapes: nothing broadcasts. Errors end with the line of the call.
//
// All but triplet and gaussian_nll, which take more, can be handed to a Trainer by name, which
// gives them the weights of a batch and of classes: they are objects.
#pragma once
#include <kroton/ops.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace kroton::nn {

struct LossOptions {
  // The mean is weighted by them: 0 or 1 of a mask, booleans, or any numbers. Of the shape of what
  // the mean is taken of, or of its first axes: (batch) or (batch, steps) for (batch, steps, n).
  // 0 where all weights are. What has weight 0 may be anything, a NaN too: its gradient is 0.
  Tensor weights = {};
};

// A loss of what a network gives and of what it should give.
class Loss {
 public:
  using Formula = Tensor (*)(const Tensor& x, const Tensor& y);
  constexpr Loss(const char* name, Formula formula) : name_(name), formula_(formula) {}
  Tensor operator()(const Operand& x, const Operand& y, const LossOptions& options = {}) const;

 private:
  const char* name_;
  Formula formula_;  // what the mean is taken of
};

extern const Loss mean_squared_error;
extern const Loss mean_absolute_error;
extern const Loss log_cosh;       // log(cosh(x - y))
extern const Loss hinge;          // max(0, 1 - y x), y of -1 and 1
extern const Loss squared_hinge;  // its square
// max(0, 1 + the largest x of another class - that of the class), y (..., classes) of 0 and one 1:
// means are taken over what precedes the last axis, here and in the next two.
extern const Loss categorical_hinge;
// -sum of y log softmax(x), y probabilities (..., classes).
extern const Loss soft_cross_entropy;
// The sum over the last axis of p log(p / q), given log q and p.
extern const Loss kl_divergence;
// -y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)), without overflow.
extern const Loss binary_cross_entropy;
// exp(x) - y x: of counts y whose rate has the logarithm x, without the part that is y's alone.
extern const Loss poisson_nll;

struct CrossEntropyOptions {
  // This part of the probability is shared by all classes, with class weights in their proportion,
  // as PyTorch does.
  double label_smoothing = 0;
  Tensor class_weights = {};  // (classes): the mean is weighted by them
  std::optional<std::int64_t> ignored_label = {};
  Tensor mask = {};  // of the labels' shape, 0 or 1, or weights; labels and logits under a 0
                     // may be any, and have the gradient 0
};
// -log softmax(logits)[label]; logits (..., classes), labels integers (...) from 0, else ValueError
// at the call. 0 where no label counts.
struct CrossEntropy {
  Tensor operator()(const Operand& logits, const Operand& labels,
                    const CrossEntropyOptions& options = {}) const;
};
inline constexpr CrossEntropy cross_entropy;
// The same times (1 - p)^gamma for the probability p of the label: Lin et al. (2017). No label
// smoothing.
struct Focal {
  Tensor operator()(const Operand& logits, const Operand& labels, double gamma = 2,
                    const CrossEntropyOptions& options = {}) const;
  Tensor operator()(const Operand& logits, const Operand& labels,
                    const CrossEntropyOptions& options) const {
    return (*this)(logits, labels, 2, options);
  }
};
inline constexpr Focal focal;
// Of two classes, y 0 or 1 and p the probability of y; times alpha where y is 1, 1 - alpha where it
// is 0, unless alpha is negative.
struct BinaryFocal {
  Tensor operator()(const Operand& logits, const Operand& y, double gamma = 2, double alpha = 0.25,
                    const LossOptions& options = {}) const;
  Tensor operator()(const Operand& logits, const Operand& y, const LossOptions& options) const {
    return (*this)(logits, y, 2, 0.25, options);
  }
};
inline constexpr BinaryFocal binary_focal;
// Quadratic within `delta`, linear beyond.
struct Huber {
  Tensor operator()(const Operand& x, const Operand& y, double delta = 1,
                    const LossOptions& options = {}) const;
  Tensor operator()(const Operand& x, const Operand& y, const LossOptions& options) const {
    return (*this)(x, y, 1, options);
  }
};
inline constexpr Huber huber;
// (log(variance) + (mean - y)^2 / variance) / 2, where a variance is `epsilon` at least.
Tensor gaussian_nll(const Operand& mean, const Operand& y, const Operand& variance,
                    double epsilon = 1e-6, const LossOptions& options = {});
// 1 - cosine, along the last axis.
struct CosineLoss {
  Tensor operator()(const Operand& x, const Operand& y, double epsilon = 1e-8,
                    const LossOptions& options = {}) const;
  Tensor operator()(const Operand& x, const Operand& y, const LossOptions& options) const {
    return (*this)(x, y, 1e-8, options);
  }
};
inline constexpr CosineLoss cosine_loss;
Tensor triplet(const Operand& anchor, const Operand& positive, const Operand& negative,
               double margin = 1,
               const LossOptions& options = {});  // of Euclidean distances along the last axis

// Sums of absolute values, and of squares, over parameters, to be added to a loss:
// loss + 1e-4 * kt::nn::l2(net.parameters("conv1")).
Tensor l1(const std::vector<Shared>& parameters);
Tensor l2(const std::vector<Shared>& parameters);

}  // namespace kroton::nn
