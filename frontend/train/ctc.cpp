// Connectionist temporal classification.
#include <kroton/index.h>
#include <kroton/nn_sequence_losses.h>
#include <kroton/scan.h>

#include <cmath>

#include "frontend/train/loss_tools.h"

namespace kroton::nn {

namespace {

// The logarithm of 0: sums of it and of logarithms that are not stay apart from each other, and no
// difference of two is NaN.
constexpr double log_of_0 = -1e30;
constexpr double impossible = -1e29;  // what is below is 0

// x at so many places earlier along its last axis, `value` in front.
Tensor shifted(const Tensor& x, int places, const Tensor& value) {
  const Tensor front = broadcast_to(value, {x.shape(0), places});
  return concatenate({front, x}, 1)(all, slice(0, x.shape(1)));
}

Tensor log_sum(const Tensor& a, const Tensor& b, const Tensor& c) {
  const Tensor largest = stop_gradient(maximum(maximum(a, b), c));
  return largest + log(exp(a - largest) + exp(b - largest) + exp(c - largest));
}

}  // namespace

Tensor ctc(const Operand& given_logits, const Operand& given_labels,
           const Operand& given_input_lengths, const Operand& given_label_lengths,
           const CtcOptions& options) {
  const LineScope scope(line_of_call(given_logits), "ctc");
  const Tensor logits = given_logits.tensor();
  check_floating("ctc", "logits", logits);
  if (logits.rank() != 3) {
    check_shape("ctc", "logits", logits,
                {Dim::named("batch"), Dim::named("steps"), Dim::named("classes")});
  }
  const Dim batch = logits.shape(0), steps = logits.shape(1), classes = logits.shape(2);
  const auto integers = [&](const Operand& given, const char* what, const Dims& shape) {
    const Tensor x = given.tensor();
    check_integers("ctc", what, x);
    check_shape("ctc", what, x, shape);
    return cast(reshape(x, shape), i64);
  };
  const Tensor given = given_labels.tensor();
  const Dim length = given.rank() == 2 ? given.shape(1) : Dim::named("length");
  const Tensor all_labels = integers(given_labels, "labels", {batch, length});
  // Of what a call checks there is one more than of steps and labels.
  const Tensor input_lengths = checked(
      "an input length", integers(given_input_lengths, "input_lengths", {batch}), steps + 1);
  const Tensor label_lengths = checked(
      "a label length", integers(given_label_lengths, "label_lengths", {batch}), length + 1);
  const std::int64_t blank = options.blank;
  if (blank < 0 || (classes.is_constant() && blank >= classes.constant())) {
    fail_value("ctc", "blank is " + std::to_string(blank) + ", expected one of the " +
                          classes.to_string() + " classes");
  }

  // Blanks before, between and after the labels, (batch, places); past an example's own blanks too.
  const Dims label_shape = {batch, length};
  const Tensor counts = lt(iota(label_shape, 1), expand_dims(label_lengths, 1));
  const Tensor labels = checked("a label", where(counts, all_labels, blank), classes);
  const Tensor blanks = full(label_shape, Operand(blank).tensor(i64));
  const Dim places = 2 * length + 1;
  const Tensor path = concatenate({reshape(stack({blanks, labels}, 2), {batch, 2 * length}),
                                   full({batch, 1}, Operand(blank).tensor(i64))},
                                  1);
  // A label may follow the one before without a blank between, if it is another one.
  const Tensor before_last = shifted(path, 2, Operand(blank).tensor(i64));
  const Tensor may_skip = logical_and(ne(path, blank), ne(path, before_last));

  // What each place costs at each step: (steps, batch, places).
  const Tensor is_step = lt(iota({batch, steps, 1}, 1), reshape(input_lengths, {batch, 1, 1}));
  const Tensor by_step = swapaxes(log_softmax(where(is_step, logits, 0), -1), 0, 1);
  const Tensor flat = reshape(by_step, {steps, batch * classes});
  const Tensor column = path + iota({batch, places}, 0) * size_of_dim(classes);
  const Tensor gains = maximum(take(flat, column, 1), log_of_0);
  const Tensor runs = lt(iota({steps, batch, 1}, 0), reshape(input_lengths, {1, batch, 1}));

  // The sums over all paths up to a place; before the first step all paths are at the first blank.
  const Tensor zero = Operand(Array(log_of_0).cast(logits.dtype())).tensor();
  const Tensor start = where(eq(iota({batch, places}, 1), 0), 0, zero);
  const Tensor end = foldl(
      [&](const Tensor& gain, const Tensor& run, const Tensor& sums) {
        const LineScope inner(line_of_call(given_logits), "ctc");
        const Tensor skipping = where(may_skip, shifted(sums, 2, zero), log_of_0);
        return where(run, gain + log_sum(sums, shifted(sums, 1, zero), skipping), sums);
      },
      {Sequence(gains), Sequence(runs)}, start);

  // A path ends at the last label or at the blank after it.
  const Tensor last = expand_dims(2 * label_lengths, 1);
  const Tensor place = iota({batch, places}, 1);
  const Tensor is_end = logical_or(eq(place, last), eq(place, last - 1));
  const Tensor total = logsumexp(where(is_end, end, log_of_0), 1);
  const Tensor fits = logical_not(le(total, impossible));  // a NaN stays one
  Tensor losses = where(fits, -where(fits, total, 0), options.zero_infinity ? 0 : HUGE_VAL);
  if (options.per_label) {
    losses = losses / cast(maximum(label_lengths, 1), losses.dtype());
  }
  return mean(losses);
}

}  // namespace kroton::nn
