// Convolutions, of signals, pictures and volumes, and their transposes.
//
// As everywhere in this field a convolution is a cross-correlation: the filter is laid over the
// picture as it is. With `flip` it is turned around along each spatial axis first.
//
// Shapes: x is (batch, channels, spatial...), or (batch, spatial..., channels) with
// Layout::channels_last, and so is the result. Filters are (out, in / groups, spatial...) under
// either layout. Any size may be free. Sizes of 0 are defined, but a window that has more positions
// than the picture with its padding is a ShapeError, of the call where sizes are free.
//
// Floating point only; dtypes are promoted. Gradients of any order. Products are added in an order
// that does not depend on the number of threads.
#pragma once
#include <kroton/ops.h>

namespace kroton {

// Where the axis of the channels is.
enum class Layout : std::uint8_t {
  channels_first,  // (batch, channels, spatial...)
  channels_last    // (batch, spatial..., channels)
};

// A number for all spatial axes, or one for each.
class PerAxis {
 public:
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  PerAxis(T all) : values_{static_cast<std::int64_t>(all)} {}               // NOLINT
  PerAxis(std::initializer_list<std::int64_t> values) : values_(values) {}  // NOLINT
  explicit PerAxis(std::vector<std::int64_t> values) : values_(std::move(values)) {}
  // One for each of `axes` axes. ValueError naming `op` and `what` for another number of them, and
  // for one below `least`.
  std::vector<std::int64_t> resolve(int axes, const char* op, const char* what,
                                    std::int64_t least = 1) const;
  const std::vector<std::int64_t>& values() const { return values_; }

 private:
  std::vector<std::int64_t> values_;
};

// By how many positions a picture is extended, at the start and at the end of each spatial axis,
// before the window goes over it.
class Padding {
 public:
  enum class Kind : std::uint8_t { valid, same, full, given };
  static constexpr Kind valid = Kind::valid;  // none: windows lie inside
  // As much as gives ceil(size / stride) positions, the odd one at the end.
  static constexpr Kind same = Kind::same;
  // As much as a window reaches further than its first position, at both ends: every window that
  // meets the picture.
  static constexpr Kind full = Kind::full;

  Padding(Kind kind) : kind_(kind) {}  // NOLINT
  // The same at both ends of every axis.
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  Padding(T width) : Padding(Dim(static_cast<std::int64_t>(width))) {}        // NOLINT
  Padding(const Dim& width) : kind_(Kind::given), widths_{{width, width}} {}  // NOLINT
  // {before, after} for each spatial axis.
  Padding(std::vector<std::pair<Dim, Dim>> widths)  // NOLINT
      : kind_(Kind::given), widths_(std::move(widths)) {}
  Padding(std::initializer_list<std::pair<Dim, Dim>> widths)  // NOLINT
      : kind_(Kind::given), widths_(widths) {}

  Kind kind() const { return kind_; }
  const std::vector<std::pair<Dim, Dim>>& widths() const { return widths_; }
  // {before, after} for each axis of `sizes`, for windows that reach over `reach` positions (of
  // dilated filters) and move by `strides`. ValueError naming `op` for another number of them, or
  // a negative one.
  std::vector<std::pair<Dim, Dim>> resolve(const Dims& sizes, const Dims& reach,
                                           const std::vector<std::int64_t>& strides,
                                           const char* op) const;

 private:
  Kind kind_;
  std::vector<std::pair<Dim, Dim>> widths_;
};

struct ConvolutionOptions {
  PerAxis stride = 1;                // from one window to the next
  Padding padding = Padding::valid;  // zeros around the picture
  PerAxis dilation = 1;              // from one element of the filter to the next
  std::int64_t groups = 1;           // group g of the filters sees group g of the channels only
  Layout layout = Layout::channels_first;
  bool flip = false;  // convolution as mathematics has it
};

// y[n, o, p] = sum over c, k of x[n, c, p * stride + k * dilation - padding] * filters[o, c, k].
// Sizes: floor((size + padding - (window - 1) * dilation - 1) / stride) + 1. ShapeError unless
// ranks are 3 (4, 5) and the channels are `groups` times those of a filter; `groups` must divide
// the filters.
Tensor conv1d(const Operand& x, const Operand& filters, const ConvolutionOptions& options = {});
Tensor conv2d(const Operand& x, const Operand& filters, const ConvolutionOptions& options = {});
Tensor conv3d(const Operand& x, const Operand& filters, const ConvolutionOptions& options = {});

struct ConvTransposeOptions {
  PerAxis stride = 1;                // from one window of the result to the next
  Padding padding = Padding::valid;  // of the result
  PerAxis output_padding = 0;  // further positions of the result, at its end: below the stride
  PerAxis dilation = 1;
  std::int64_t groups = 1;
  Layout layout = Layout::channels_first;
  bool flip = false;
};

// What the gradient of a convolution with these options and filters gives its picture: the result z
// has conv(z, filters) of the size of x. So the filters are (channels of x, out / groups,
// spatial...). Sizes: (size - 1) * stride + (window - 1) * dilation + 1 - padding + output_padding;
// with `same` size * stride.
Tensor conv_transpose1d(const Operand& x, const Operand& filters,
                        const ConvTransposeOptions& options = {});
Tensor conv_transpose2d(const Operand& x, const Operand& filters,
                        const ConvTransposeOptions& options = {});
Tensor conv_transpose3d(const Operand& x, const Operand& filters,
                        const ConvTransposeOptions& options = {});

}  // namespace kroton
