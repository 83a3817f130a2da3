// Losses of sequences that are not aligned with their labels.
#pragma once
#include <kroton/ops.h>

#include <cstdint>

namespace kroton::nn {

struct CtcOptions {
  std::int64_t blank = 0;      // the class that stands for no label
  bool per_label = false;      // each example's loss over its number of labels (over 1 of none):
                               // PyTorch's reduction="mean"
  bool zero_infinity = false;  // examples that no path fits count as 0
};
// Connectionist temporal classification, Graves et al. (2006): the mean over the batch of -log of
// the sum of the probabilities of all paths of classes that read as the labels when repeated
// classes are taken once and blanks left out, step by step from the logits' softmax.
//
// logits (batch, steps, classes), floating; labels (batch, length), input_lengths and label_lengths
// (batch), integers: of example n the first input_lengths[n] steps and label_lengths[n] labels
// count, what follows may be anything. Infinite where no path fits (more labels than steps, a step
// more for each two equal neighbours), with gradient 0. ValueError of the call for a label that is
// no class, and for lengths below 0 or above what is there.
Tensor ctc(const Operand& logits, const Operand& labels, const Operand& input_lengths,
           const Operand& label_lengths, const CtcOptions& options = {});

}  // namespace kroton::nn
