// Attention and the block of transformers.
#pragma once
#include <kroton/nn_layers.h>
#include <kroton/nn_normalization.h>

#include <string>

namespace kroton::nn {

// Of every position of x (batch, positions, width) to those of `memory` (batch, others, width), x
// itself unless given: Vaswani et al. (2017), with `heads` that divide the width. `causal`: only to
// positions up to its own.
//
// With a mask, which broadcasts to (batch, heads, positions, others), a position sees another one
// where it is not 0; that of padding, (batch, steps), is expand_dims(expand_dims(mask, 1), 1). What
// is masked may be anything, a NaN too: it has no part in what others give, in their gradients and
// in those of the weights, and its own gradient is 0. A position that sees nothing gives 0, without
// the bias; one that sees what is not finite gives NaN, and has no part in gradients. Without a
// mask nothing of this is looked for: a NaN reaches all positions of its example, in front of it,
// too, where the layer is causal.
struct AttentionOptions {
  bool causal = false;
  Initializer weight = glorot_uniform();
  std::string name = {};
};
class MultiHeadAttention {
 public:
  static constexpr const char* kind = "attention";
  explicit MultiHeadAttention(std::int64_t heads, AttentionOptions options = {},
                              const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const { return (*this)(x, x); }
  // ShapeError for a mask that is known not to broadcast.
  Tensor operator()(const Tensor& x, const Tensor& memory, const Tensor& mask = {}) const;
  const std::string& name() const { return options_.name; }

 private:
  std::int64_t heads_;
  AttentionOptions options_;
  Parameters parameters_;
  SourceLine line_;
};

// x + attention(norm(x)), then that + dense(gelu(dense(norm))): the block of GPT-2, norms first. A
// mask is the attention's; in a position that nobody sees a NaN, or what is beyond 1e15, counts as
// 0. In a network it is captured: [=](const kt::Tensor& x) { return block(x, mask); }.
class TransformerBlock {
 public:
  static constexpr const char* kind = "block";
  TransformerBlock(std::int64_t heads, std::int64_t hidden, AttentionOptions options = {},
                   double dropout = 0, const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const { return (*this)(x, {}); }
  Tensor operator()(const Tensor& x, const Tensor& mask) const;
  const std::string& name() const { return name_; }

 private:
  std::int64_t heads_, hidden_;
  std::string name_;
  MultiHeadAttention attention_;
  LayerNormalization first_, second_;
  Dense wide_;
  Parameters parameters_;
  SourceLine line_;
  Dropout dropout_;
};

}  // namespace kroton::nn
