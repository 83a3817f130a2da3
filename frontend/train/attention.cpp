// Attention and the block of transformers.
#include <kroton/elementwise.h>
#include <kroton/error.h>
#include <kroton/nn_attention.h>
#include <kroton/ops.h>

#include <cmath>
#include <optional>
#include <string>

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

// x (batch, positions, width), 0 where it is hidden and so large that what is computed of it might
// overflow, or a NaN.
Tensor without_wild(const Tensor& x, const Tensor& is_shown) {
  constexpr double most = 1e15;
  return where(logical_or(is_shown, le(abs(x), most)), x, 0);
}

// A mask of pairs under all its four axes. ShapeError where it is known not to broadcast.
Tensor of_pairs(const char* layer, const Tensor& mask, const Dims& whole, const SourceLine& line) {
  bool fits = mask.rank() <= 4;
  for (int axis = -1; fits && axis >= -mask.rank(); --axis) {
    const Dim& size = mask.shape(axis);
    fits = size.is_constant(1) || !differ(size, whole[index_of(4 + axis)]);
  }
  if (!fits) {
    throw ShapeError(std::string(layer) +
                     ": takes a mask that broadcasts to (batch, heads, positions, others), " +
                     to_string(whole) + ": " + mask.name() + " is " + to_string(mask.type()) +
                     "  [" + to_string(line) + "]");
  }
  Tensor pairs = mask;
  while (pairs.rank() < 4) pairs = expand_dims(pairs, 0);
  return ne(pairs, 0);
}

// What a mask lets through, where what it hides may be anything. Numbers that are not finite are
// computed with as 0, so that they are in no sum, of which 0 times a NaN would be one; a position
// that sees some becomes NaN at the end, through a `where`, whose gradient for it is 0.
class Visible {
 public:
  // pairs: true where a position sees another one; each axis is of size 1 or that of (batch, heads,
  // positions, others).
  Visible(const Tensor& pairs, const Tensor& x, const Tensor& memory)
      : sees_(any(pairs, 3, true)),
        sees_in_a_head_(expand_dims(any(pairs, {1, 3}), 2)),
        is_seen_(expand_dims(any(pairs, {1, 2}), 2)),
        // Of attention to itself a position that nobody sees is hidden, too.
        asks_(same(x, memory) ? is_seen_ : sees_in_a_head_) {
    const Mask is_wrong = logical_not(all(isfinite(x), 2, true));
    const Mask is_wrong_memory = logical_not(all(isfinite(memory), 2));
    const Tensor others = expand_dims(expand_dims(is_wrong_memory, 1), 1);
    const Tensor sees_wrong = expand_dims(any(logical_and(pairs, others), {1, 3}), 2);
    is_nan_ = logical_and(logical_or(sees_wrong, logical_and(is_wrong, asks_)), sees_in_a_head_);
  }
  Tensor query(const Tensor& x) const { return where(isfinite(x), without_wild(x, asks_), 0); }
  Tensor memory(const Tensor& x) const { return where(logical_and(isfinite(x), is_seen_), x, 0); }
  Tensor weights(const Tensor& all_weights) const { return where(sees_, all_weights, 0); }
  Tensor result(const Tensor& y) const {
    return where(is_nan_, std::nan(""), where(sees_in_a_head_, y, 0));
  }

 private:
  Tensor sees_;            // (batch, heads, positions, 1)
  Tensor sees_in_a_head_;  // (batch, positions, 1)
  Tensor is_seen_;         // (batch, others, 1)
  Tensor asks_;            // (batch, positions, 1)
  Tensor is_nan_;          // (batch, positions, 1)
};

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
  Tensor pairs;
  if (options_.causal) {
    const Dims square = {x.shape(1), memory.shape(1)};
    pairs = le(iota(square, 1), iota(square, 0));
  }
  std::optional<Visible> visible;
  if (mask) {
    const Dims whole = {x.shape(0), heads_, x.shape(1), memory.shape(1)};
    const Tensor given = of_pairs("MultiHeadAttention", mask, whole, line_);
    pairs = pairs ? logical_and(given, pairs) : given;
    visible.emplace(pairs, x, memory);
  }
  const Tensor shown = visible ? visible->memory(memory) : memory;
  const Tensor query = by_heads(projected("query", visible ? visible->query(x) : x));
  const Tensor key = by_heads(projected("key", shown));
  const Tensor value = by_heads(projected("value", shown));
  Tensor scores = product(query, swapaxes(key, 2, 3)) * (1 / std::sqrt(static_cast<double>(each)));
  // Finite, so that a place that sees nothing is no NaN.
  if (pairs) scores = where(pairs, scores, -1e30);
  Tensor weights = kroton::softmax(scores, -1);
  if (visible) weights = visible->weights(weights);
  const Tensor seen = transpose(product(weights, value), {0, 2, 1, 3});
  const Tensor y = projected("out", reshape(seen, {x.shape(0), x.shape(1), width}));
  return visible ? visible->result(y) : y;
}

TransformerBlock::TransformerBlock(std::int64_t heads, std::int64_t hidden,
                                   AttentionOptions options, double dropout, const Location& at)
    : heads_(heads),
      hidden_(hidden),
      name_(options.name),
      attention_(heads, without_name(options), at),
      first_(1e-5, {}, at),
      second_(1e-5, {}, at),
      wide_(hidden, {.activation = gelu, .weight = options.weight}, at),
      line_(line_of(at)),
      dropout_(dropout, {}, at) {}

Tensor TransformerBlock::operator()(const Tensor& given, const Tensor& mask) const {
  const LineScope scope(line_, "TransformerBlock");
  check_input("TransformerBlock", given, 3, 3, "(batch, positions, width)", line_);
  Tensor x = given;
  if (mask) {
    // What nobody sees has no part in gradients of the weights, whatever it is.
    const Dims whole = {x.shape(0), heads_, x.shape(1), x.shape(1)};
    const Tensor is_seen = any(of_pairs("TransformerBlock", mask, whole, line_), {1, 2});
    x = without_wild(x, expand_dims(is_seen, 2));
  }
  const Scope own = Scope::of_layer(name_);
  const auto part = [&](const char* name, const auto& layer, const Tensor& input) {
    const Scope path(name);
    return layer(input);
  };
  const auto attend = [&](const Tensor& input) { return attention_(input, input, mask); };
  const Tensor middle = x + dropout_(part("attention", attend, part("norm1", first_, x)));
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
