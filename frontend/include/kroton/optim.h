// Optimizers: symbolic updates of parameters, which a compiled function makes in each call.
//
//     optim::Adam adam({.rate = 1e-3, .weight_decay = 1e-4});
//     auto train = kt::function({x, y}, loss, {.updates = adam.minimize(loss, parameters)});
//
// All arithmetic is in the dtype of the parameter. The options mean what PyTorch's do and have its
// defaults, and so does the arithmetic; where Keras differs in more than a name, it says so. Keras'
// epsilon is 1e-7 throughout, its rate 1e-2 for SGD and 1e-3 for the others. g is the gradient, p
// the parameter, t = 1, 2, ... the number of the step. Constructors throw ValueError, naming the
// optimizer and the option, for a value outside its range and for an epsilon below 0.
#pragma once

#include <kroton/lbfgs.h>
#include <kroton/moving_average.h>
#include <kroton/optimizer.h>
#include <kroton/schedule.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kroton::optim {

/// v = momentum * v + (1 - dampening) * g, in the first step v = g; p -= rate * v, with `nesterov`
/// p -= rate * (g + momentum * v). Without momentum p -= rate * g; then an update that changes few
/// rows of a table touches no others. Keras puts the rate inside v. Sutskever et al., "On the
/// Importance of Initialization and Momentum in Deep Learning", 2013.
struct SgdOptions {
  Schedule rate = 1e-3;
  double momentum = 0;    ///< in [0, 1)
  double dampening = 0;   ///< in [0, 1]
  bool nesterov = false;  ///< ValueError without momentum or with dampening
  double weight_decay = 0;
  std::optional<double> clip_value = {}, clip_norm = {};
  std::int64_t accumulate = 1;
  std::vector<Group> groups = {};
};
class Sgd : public Optimizer {
 public:
  explicit Sgd(const SgdOptions& options = {});

 protected:
  Tensor rule(Step& step) override;

 private:
  SgdOptions options_;
};

/// s += g^2; p -= rate / (1 + (t - 1) * rate_decay) * g / (sqrt(s) + epsilon) in step t = 1, 2, ...
/// Keras starts s at 0.1 and has the epsilon under the root. Duchi, Hazan and Singer, "Adaptive
/// Subgradient Methods for Online Learning and Stochastic Optimization", 2011.
struct AdagradOptions {
  Schedule rate = 1e-2;
  double rate_decay = 0;
  double initial = 0;  ///< of s
  double epsilon = 1e-10;
  double weight_decay = 0;
  std::optional<double> clip_value = {}, clip_norm = {};
  std::int64_t accumulate = 1;
  std::vector<Group> groups = {};
};
class Adagrad : public Optimizer {
 public:
  explicit Adagrad(const AdagradOptions& options = {});

 protected:
  Tensor rule(Step& step) override;

 private:
  AdagradOptions options_;
};

/// s = rho * s + (1 - rho) * g^2; d = sqrt(u + epsilon) / sqrt(s + epsilon) * g;
/// u = rho * u + (1 - rho) * d^2; p -= rate * d. Keras' rho is 0.95. Zeiler, "ADADELTA: An Adaptive
/// Learning Rate Method", 2012.
struct AdadeltaOptions {
  Schedule rate = 1.0;
  double rho = 0.9;  ///< in [0, 1]
  double epsilon = 1e-6;
  double weight_decay = 0;
  std::optional<double> clip_value = {}, clip_norm = {};
  std::int64_t accumulate = 1;
  std::vector<Group> groups = {};
};
class Adadelta : public Optimizer {
 public:
  explicit Adadelta(const AdadeltaOptions& options = {});

 protected:
  Tensor rule(Step& step) override;

 private:
  AdadeltaOptions options_;
};

/// s = alpha * s + (1 - alpha) * g^2; d = g / (sqrt(s) + epsilon); p -= rate * d. With `centered`
/// a = alpha * a + (1 - alpha) * g, and sqrt(s - a^2) in place of sqrt(s), a negative difference
/// counting as 0. With momentum b = momentum * b + d, and p -= rate * b. Keras' alpha is 0.9, and
/// its epsilon under the root. Tieleman and Hinton, "Lecture 6.5: RMSProp", 2012; Graves,
/// "Generating Sequences with Recurrent Neural Networks", 2013 (centered).
struct RmsPropOptions {
  Schedule rate = 1e-2;
  double alpha = 0.99;  ///< in [0, 1]
  double epsilon = 1e-8;
  double momentum = 0;  ///< in [0, 1)
  bool centered = false;
  double weight_decay = 0;
  std::optional<double> clip_value = {}, clip_norm = {};
  std::int64_t accumulate = 1;
  std::vector<Group> groups = {};
};
class RmsProp : public Optimizer {
 public:
  explicit RmsProp(const RmsPropOptions& options = {});

 protected:
  Tensor rule(Step& step) override;

 private:
  RmsPropOptions options_;
};

/// m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2;
/// p -= rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon). With `amsgrad` the
/// largest v so far stands for v. Keras adds its epsilon before the correction of v. Kingma and Ba,
/// "Adam: A Method for Stochastic Optimization", 2015; Reddi, Kale and Kumar, "On the Convergence
/// of Adam and Beyond", 2018 (amsgrad).
struct AdamOptions {
  Schedule rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;  ///< in [0, 1)
  double epsilon = 1e-8;
  double weight_decay = 0;
  bool amsgrad = false;
  std::optional<double> clip_value = {}, clip_norm = {};
  std::int64_t accumulate = 1;
  std::vector<Group> groups = {};
};
class Adam : public Optimizer {
 public:
  explicit Adam(const AdamOptions& options = {});

 protected:
  Adam(std::string name, const AdamOptions& options, Decay decay);
  Tensor rule(Step& step) override;

 private:
  AdamOptions options_;
};

/// Adam with decoupled weight decay: p is multiplied by 1 - rate * weight_decay first. Keras'
/// weight_decay is 0.004. Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
struct AdamWOptions {
  Schedule rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;  ///< in [0, 1)
  double epsilon = 1e-8;
  double weight_decay = 1e-2;
  bool amsgrad = false;
  std::optional<double> clip_value = {}, clip_norm = {};
  std::int64_t accumulate = 1;
  std::vector<Group> groups = {};
};
class AdamW : public Adam {
 public:
  explicit AdamW(const AdamWOptions& options = {});
};

/// Adam with Nesterov's momentum: with mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2),
/// M_t = mu_1 * ... * mu_t, m and v as Adam has them and d = sqrt(v / (1 - beta2^t)) + epsilon,
/// p -= rate * ((1 - mu_t) / (1 - M_t) * g + mu_(t+1) / (1 - M_(t+1)) * m) / d. Dozat,
/// "Incorporating Nesterov Momentum into Adam", 2016.
struct NAdamOptions {
  Schedule rate = 2e-3;
  double beta1 = 0.9, beta2 = 0.999;  ///< in [0, 1)
  double epsilon = 1e-8;
  double momentum_decay = 4e-3;
  double weight_decay = 0;
  std::optional<double> clip_value = {}, clip_norm = {};
  std::int64_t accumulate = 1;
  std::vector<Group> groups = {};
};
class NAdam : public Optimizer {
 public:
  explicit NAdam(const NAdamOptions& options = {});

 protected:
  Tensor rule(Step& step) override;

 private:
  NAdamOptions options_;
};

/// m as Adam has it; u = max(beta2 * u, |g| + epsilon); p -= rate / (1 - beta1^t) * m / u. Keras
/// adds its epsilon to u at the end. Kingma and Ba, 2015, section 7.1.
struct AdamaxOptions {
  Schedule rate = 2e-3;
  double beta1 = 0.9, beta2 = 0.999;  ///< in [0, 1)
  double epsilon = 1e-8;
  double weight_decay = 0;
  std::optional<double> clip_value = {}, clip_norm = {};
  std::int64_t accumulate = 1;
  std::vector<Group> groups = {};
};
class Adamax : public Optimizer {
 public:
  explicit Adamax(const AdamaxOptions& options = {});

 protected:
  Tensor rule(Step& step) override;

 private:
  AdamaxOptions options_;
};

/// With d Adam's corrected m / (sqrt(v) + epsilon) and r = d + weight_decay * p,
/// p -= rate * |p| / |r| * r, where |.| is the Euclidean norm of the whole parameter and the
/// quotient is 1 if either is 0. You et al., "Large Batch Optimization for Deep Learning: Training
/// BERT in 76 minutes", 2020, with the identity for phi.
struct LambOptions {
  Schedule rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;  ///< in [0, 1)
  double epsilon = 1e-6;
  double weight_decay = 0;
  std::optional<double> clip_value = {}, clip_norm = {};
  std::int64_t accumulate = 1;
  std::vector<Group> groups = {};
};
class Lamb : public Optimizer {
 public:
  explicit Lamb(const LambOptions& options = {});

 protected:
  Tensor rule(Step& step) override;

 private:
  LambOptions options_;
};

/// p -= rate * (sign(beta1 * m + (1 - beta1) * g) + weight_decay * p); then
/// m = beta2 * m + (1 - beta2) * g. Keras' rate is 1e-3. Chen et al., "Symbolic Discovery of
/// Optimization Algorithms", 2023.
struct LionOptions {
  Schedule rate = 1e-4;
  double beta1 = 0.9, beta2 = 0.99;  ///< in [0, 1)
  double weight_decay = 0;
  std::optional<double> clip_value = {}, clip_norm = {};
  std::int64_t accumulate = 1;
  std::vector<Group> groups = {};
};
class Lion : public Optimizer {
 public:
  explicit Lion(const LionOptions& options = {});

 protected:
  Tensor rule(Step& step) override;

 private:
  LionOptions options_;
};

/// The parameters that Muon leaves to AdamW, and how that treats them: embeddings, biases, the last
/// layer. Weight decay is that of Muon or of the group; the rate is a number times Muon's.
struct MuonFallback {
  std::vector<Shared> parameters = {};
  double rate = 1;                    ///< multiplies the optimizer's rate
  double beta1 = 0.9, beta2 = 0.999;  ///< in [0, 1)
  double epsilon = 1e-8;
};

/// For matrices, and for filters and other parameters of more axes, which are matrices with a row
/// for each index of the first one: m = momentum * m + (1 - momentum) * g; with `nesterov`
/// d = (1 - momentum) * g + momentum * m, else d = m; o is d with its singular values brought near
/// 1, by `iterations` steps X = a X + (b X X^T + c (X X^T)^2) X of Newton and Schulz from
/// X = d / max(|d|, epsilon); p = p * (1 - rate * weight_decay) - rate * scale * o. PyTorch's, which
/// takes matrices alone and computes o in bfloat16, Kroton in the dtype of the parameter. A
/// parameter of less than two axes that is not named in `fallback` is a ShapeError. Jordan et al.,
/// "Muon: An Optimizer for Hidden Layers in Neural Networks", 2024, which flattens filters so; Liu
/// et al., "Muon is Scalable for LLM Training", 2025 (Scale::rms).
struct MuonOptions {
  enum class Scale : std::uint8_t {
    original,  ///< sqrt(max(1, rows / columns))
    rms        ///< 0.2 * sqrt(max(rows, columns)): rates are about those of AdamW
  };
  Schedule rate = 1e-3;
  double momentum = 0.95;  ///< in [0, 1)
  bool nesterov = true;
  double a = 3.4445, b = -4.7750, c = 2.0315;
  double epsilon = 1e-7;
  int iterations = 5;
  Scale scale = Scale::original;
  MuonFallback fallback = {};
  double weight_decay = 0.1;
  std::optional<double> clip_value = {}, clip_norm = {};
  std::int64_t accumulate = 1;
  std::vector<Group> groups = {};
};
class Muon : public Optimizer {
 public:
  explicit Muon(const MuonOptions& options = {});

 protected:
  Tensor rule(Step& step) override;

 private:
  MuonOptions options_;
};

}  // namespace kroton::optim
