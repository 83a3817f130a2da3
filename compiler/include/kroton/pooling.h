// What goes over signals, pictures and volumes by windows besides convolutions: pooling, patches,
// and pictures of another size. Rank 3, 4 or 5: (batch, channels, spatial...), or (batch,
// spatial..., channels) with Layout::channels_last. Any size may be free; a window that has more
// positions than the picture with its padding is a ShapeError, of the call where sizes are free.
#pragma once
#include <kroton/convolution.h>

namespace kroton {

struct MaxPoolOptions {
  std::optional<PerAxis> stride = {};  // from one window to the next; by default the window's size
  Padding padding = Padding::valid;    // no position of it is the largest
  PerAxis dilation = 1;                // from one element of the window to the next
  bool ceil_mode = false;  // a last window may reach past the end, if it begins before it
  Layout layout = Layout::channels_first;
};

// The largest element of each window, of numbers; a NaN gives NaN. The gradient goes to the first
// one among equals, in row-major order. Sizes: floor((size + padding - (window - 1) * dilation - 1)
// / stride) + 1, rounded up with ceil_mode. TypeError for booleans.
Tensor max_pool(const Operand& x, const PerAxis& window, const MaxPoolOptions& options = {});

struct AveragePoolOptions {
  std::optional<PerAxis> stride = {};
  Padding padding = Padding::valid;
  bool counts_padding = false;  // zeros of the padding count as elements of a window
  bool ceil_mode = false;       // what lies past the padding never counts
  Layout layout = Layout::channels_first;
};

// The mean of the elements of each window. Floating point only. Sizes as of max_pool.
Tensor avg_pool(const Operand& x, const PerAxis& window, const AveragePoolOptions& options = {});

// The largest element (the mean) over all spatial axes: (batch, channels).
Tensor global_max_pool(const Operand& x, Layout layout = Layout::channels_first);
Tensor global_avg_pool(const Operand& x, Layout layout = Layout::channels_first);

struct PatchOptions {
  PerAxis stride = 1;
  Padding padding = Padding::valid;  // zeros around the picture
  PerAxis dilation = 1;
  Layout layout = Layout::channels_first;
};

// Each window's elements: (batch, channels, window..., positions...), or (batch, positions...,
// window..., channels) with channels_last. Any dtype.
Tensor images_to_patches(const Operand& x, const PerAxis& window, const PatchOptions& options = {});
// The pictures with spatial `sizes` that have each window's elements added where they are from, as
// the gradient of images_to_patches does: what overlaps adds up. Numbers.
Tensor patches_to_images(const Operand& patches, const Dims& sizes,
                         const PatchOptions& options = {});

enum class Interpolation : std::uint8_t {
  nearest,  // element floor(i * size / new_size)
  linear    // between the two (4, 8) nearest, each axis for itself
};
// Where the first and the last elements of an axis lie.
enum class Corners : std::uint8_t {
  half_pixel,  // elements are the middles of equal parts of the same length
  aligned      // first on first, last on last
};
struct ResizeOptions {
  Interpolation interpolation = Interpolation::nearest;
  Corners corners = Corners::half_pixel;  // of linear
  Layout layout = Layout::channels_first;
};

// x with spatial `sizes`. Linear: floating point only.
Tensor resize(const Operand& x, const Dims& sizes, const ResizeOptions& options = {});
// x with `factors` times the elements along each spatial axis.
Tensor upsample(const Operand& x, const PerAxis& factors, const ResizeOptions& options = {});

}  // namespace kroton
