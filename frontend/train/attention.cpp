// Attention and the block of transformers.
#include <kroton/error.h>
#include <kroton/nn_attention.h>
#include <kroton/ops.h>

#include <cmath>

#include "frontend/train/layer_tools.h"

namespace kroton::nn {

namespace {

AttentionOptions without_name(AttentionOptions options) {
  options.name.clear();
  return options;
}

// Both have (batch, heads, ...): the products of the last two axes.
Tensor product(const Tensor& x, const Tensor& y) {
  Recorder::note_multiply_adds(count_of(x.shape()) * y.shape(3));
  return matmul(x, y);
}

}  // namespace

MultiHeadAttention::MultiHeadAttention(std::int64_t heads, AttentionOptions options,
                                       const Location& at)
    : heads_(heads), options_(std::move(options)), parameters_(options_.name), line_(line_of(at)) {
  if (heads < 1) fail("MultiHeadAttention", "heads is " + std::to_string(heads), line_);
}

Tensor MultiHeadAttention::operator()(const Tensor& x, const Tensor& memory,
                                      const Tensor& mask) const {
  const LineScope scope(line_, "MultiHeadAttention");
  constexpr const char* expected = "and memory (batch, positions, width)";
  check_input("MultiHeadAttention", x, 3, 3, expected, line_);
  check_input("MultiHeadAttention", memory, 3, 3, expected, line_);
  const Dim width = x.shape(2);
  if (!width.is_constant() || width.constant() % heads_ != 0) {
    fail_shape("MultiHeadAttention", x, std::to_string(heads_) + " heads cannot share the width",
               line_);
  }
  const std::int64_t each = width.constant() / heads_;
  const auto projected = [&](const char* name, const Tensor& input) {
    const Dim inputs = input.shape(2);
    const Fans fans{known(inputs), width.constant()};
    const Tensor weight = parameters_.get(std::string(name) + "_weight", {inputs, width},
                                          options_.weight, fans, x.dtype());
    const Tensor bias =
        parameters_.get(std::string(name) + "_bias", {width}, zeros(), fans, x.dtype());
    return times_matrix(input, weight) + bias;
  };
  // (batch, heads, positions, each)
  const auto by_heads = [&](const Tensor& t) {
    return transpose(reshape(t, {t.shape(0), t.shape(1), heads_, each}), {0, 2, 1, 3});
  };
  const Tensor query = by_heads(projected("query", x));
  const Tensor key = by_heads(projected("key", memory));
  const Tensor value = by_heads(projected("value", memory));
  Tensor scores = product(query, swapaxes(key, 2, 3)) * (1 / std::sqrt(static_cast<double>(each)));
  // Finite, so that a place that sees nothing sees all alike, and not NaN.
  constexpr double nowhere = -1e30;
  if (options_.causal) {
    const Dims square = {x.shape(1), memory.shape(1)};
    scores = where(le(iota(square, 1), iota(square, 0)), scores, nowhere);
  }
  if (mask) scores = where(ne(mask, 0), scores, nowhere);
  const Tensor seen = transpose(product(kroton::softmax(scores, -1), value), {0, 2, 1, 3});
  return projected("out", reshape(seen, {x.shape(0), x.shape(1), width}));
}

TransformerBlock::TransformerBlock(std::int64_t heads, std::int64_t hidden,
                                   AttentionOptions options, double dropout, const Location& at)
    : hidden_(hidden),
      name_(options.name),
      attention_(heads, without_name(options), at),
      first_(1e-5, {}, at),
      second_(1e-5, {}, at),
      wide_(hidden, {.activation = gelu, .weight = options.weight}, at),
      line_(line_of(at)),
      dropout_(dropout, {}, at) {}

Tensor TransformerBlock::operator()(const Tensor& x) const {
  const LineScope scope(line_, "TransformerBlock");
  check_input("TransformerBlock", x, 3, 3, "(batch, positions, width)", line_);
  const Scope own = Scope::of_layer(name_);
  const auto part = [&](const char* name, const auto& layer, const Tensor& input) {
    const Scope path(name);
    return layer(input);
  };
  const Tensor middle = x + dropout_(part("attention", attention_, part("norm1", first_, x)));
  const Tensor wide = part("dense1", wide_, part("norm2", second_, middle));
  const Dim width = x.shape(2);
  const Scope path("dense2");
  const Tensor weight = parameters_.get("weight", {hidden_, width}, glorot_uniform(),
                                        {hidden_, known(width)}, x.dtype());
  const Tensor bias = parameters_.get("bias", {width}, zeros(), {}, x.dtype());
  const Tensor narrow = times_matrix(wide, weight) + bias;
  return middle + dropout_(narrow);
}

}  // namespace kroton::nn
