// Pictures changed at random, for training: the changes of Keras's ImageDataGenerator, random
// crops, cutout and mixup.
//
//     kt::data::Dataset train = kt::data::augmented(
//         kt::data::from_images(images, labels),
//         {.seed = 1, .horizontal_flip = true, .padding = 4, .cutout = 8});
#pragma once
#include <kroton/array.h>
#include <kroton/dataset.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace kroton::data {

// What lies outside a picture a b c d.
enum class Fill {
  constant,  // one value: v v | a b c d | v v
  nearest,   // the edge goes on: a a | a b c d | d d
  reflect,   // mirrored, the edge twice: b a | a b c d | d c
  wrap,      // the picture again: c d | a b c d | a b
};

// An affine change around a picture's centre, made of those below in Keras's order: each pixel of
// the result takes what is at
//     rotation * shift * shear * zoom * (row, col), from the centre,
// of the picture, between four pixels bilinearly.
struct Affine {
  double rotation = 0;   // degrees, clockwise
  double row_shift = 0;  // pixels: the picture moves up by so many
  double col_shift = 0;  // and to the left
  double shear = 0;      // degrees
  double row_zoom = 1;   // below 1 the picture gets larger, above 1 smaller
  double col_zoom = 1;
};

// Pictures f32 (..., rows, cols), each changed so, in their size. TypeError for another dtype,
// ShapeError for a rank below 2, ValueError for values that are not finite, and for a zoom that is
// not positive or above 1e6.
[[nodiscard]] Array affine(const Array& pictures, const Affine& change, Fill fill = Fill::nearest,
                           double fill_value = 0);

// Every number that is drawn is a function of the seed, the epoch and the example's row, so that
// batches are the same whichever thread makes them. Each kind of change has numbers of its own: one
// more does not alter the others. What is left at its default changes nothing. The order is that of
// the members. Values are those of pictures from 0 to 1 where nothing else is said.
struct AugmentOptions {
  std::uint64_t seed = 1;

  // One affine change (see Affine), with what is drawn evenly from these ranges, a crop and flips:
  // each pixel is interpolated once at most. Without an affine change pixels are only copied.
  double rotation = 0;  // degrees, from -rotation to rotation
  // From -shift to shift: below 1 a part of the width or height, else pixels.
  double width_shift = 0;
  double height_shift = 0;
  double shear = 0;  // degrees, from -shear to shear
  // Of rows and columns, each drawn: below 1 larger, above 1 smaller pictures.
  struct Range {
    double low = 1;
    double high = 1;
  };
  Range zoom = {};
  // A part of this size, from anywhere in the picture with `padding` pixels more on each side; 0:
  // the picture's own size, so that with padding it moves by whole pixels.
  std::int64_t crop_rows = 0;
  std::int64_t crop_cols = 0;
  std::int64_t padding = 0;
  Fill fill = Fill::nearest;     // what comes in from outside
  double fill_value = 0;         // of Fill::constant
  bool horizontal_flip = false;  // left for right, in half of the pictures
  bool vertical_flip = false;    // top for bottom

  // One number from -channel_shift to channel_shift is added to all values; they stay between the
  // picture's least and largest.
  double channel_shift = 0;
  // A factor, after which values stay between 0 and `white`.
  Range brightness = {};
  double white = 1;

  // What a user changes of a picture, f32 (channels, rows, cols), in place. Several threads may
  // call it at once.
  std::function<void(Array picture, std::uint32_t row, std::uint64_t epoch)> function = {};

  double rescale = 1;  // a factor
  // Subtracts the picture's mean; divides by its standard deviation (and 1e-6 more).
  bool samplewise_center = false;
  bool samplewise_std = false;
  // Subtracts from each channel a mean and divides it by a standard deviation (and 1e-6 more):
  // those of the data set, see channel_moments. One number stands for all channels; none: not done.
  std::vector<double> mean = {};
  std::vector<double> stddev = {};
  // f32 (values, values), values = channels * rows * cols: each picture as a row is multiplied by
  // it. See zca_matrix. Empty: not done.
  Array zca = {};

  // A square of so many pixels a side becomes `cutout_value`. Its centre is any pixel, so that it
  // may lie outside in part. DeVries, Taylor, "Improved regularization of convolutional neural
  // networks with cutout", arXiv:1708.04552.
  std::int64_t cutout = 0;
  double cutout_value = 0;

  // Each example becomes r of itself and 1 - r of another one of its batch (itself where that has
  // one only), with r from Beta(mixup, mixup). Labels become f32 (batch, classes): from i64
  // (batch), which needs `classes`, or from such. A batch depends on who is in it then. Zhang,
  // Cisse, Dauphin, Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.
  double mixup = 0;
  std::int64_t classes = 0;
};

// The pictures of a data set, changed anew in each epoch. Its batches have x f32 (batch, channels,
// rows, cols): TypeError, ShapeError for others, when one is made; also for a crop larger than the
// padded picture, for as many means as neither 1 nor the channels, for a `zca` of another size than
// the pictures, and with mixup for labels of another kind (ValueError for a label that is no
// class). ValueError for options out of range.
[[nodiscard]] Dataset augmented(const Dataset& dataset, const AugmentOptions& options);

// The mean and the standard deviation of each channel, over all pictures of a data set in epoch 0.
struct ChannelMoments {
  std::vector<double> mean;
  std::vector<double> stddev;
};
// Errors as augmented; ValueError without examples.
[[nodiscard]] ChannelMoments channel_moments(const Dataset& dataset);

// The matrix by which pictures as rows become values without correlation that look like the
// pictures: of all pictures of a data set in epoch 0 as rows X, whose singular values are s and
// right vectors V, V diag(sqrt(count) / (s + epsilon)) V^T, f32 (values, values); what no picture
// has a part in becomes 0. Keras's zca_whitening. Pictures are to be centered before, here and
// where they are whitened:
//
//     kt::data::AugmentOptions options{.mean = {0.49, 0.48, 0.45}};
//     options.zca = kt::data::zca_matrix(kt::data::augmented(train, options));
//
// For pictures of a few thousand values: the work grows with their cube. Errors as channel_moments;
// ValueError for an epsilon that is negative or not finite, and for values that are not finite.
[[nodiscard]] Array zca_matrix(const Dataset& dataset, double epsilon = 1e-6);

}  // namespace kroton::data
