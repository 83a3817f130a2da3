// Windows over pictures, as compositions: each axis for itself, by slices that begin at the
// elements of a window.
#include <kroton/pooling.h>

#include <limits>

#include "compiler/ir/at.h"
#include "compiler/ops/convolution.h"
#include "compiler/ops/rules.h"

namespace kroton {
namespace {

// The spatial axes of a picture.
struct Spatial {
  int first = 2, count = 0;
  int axis(int k) const { return first + k; }
};

Spatial spatial_axes(const char* name, const Tensor& x, Layout layout) {
  if (x.rank() < 3 || x.rank() > 5) {
    ops::fail_shape(OpRecord{.name = name}, {x},
                    "takes x (batch, channels, spatial...) of rank 3 to 5");
  }
  return {layout == Layout::channels_last ? 1 : 2, x.rank() - 2};
}

// Where windows lie on one axis.
struct Walk {
  std::int64_t window = 1, stride = 1, dilation = 1;
  Dim before, after;  // padding; `after` reaches as far as the last window does
  Dim padded;         // what the axis has with the padding that the user gave
  Dim count;          // windows
};

struct How {
  const std::optional<PerAxis>& stride;
  const Padding& padding;
  const PerAxis& dilation;
  bool ceil_mode = false;
};

// `picture` becomes one that is checked to have room for a window.
std::vector<Walk> walks(const char* name, Tensor& picture, const Spatial& spatial,
                        const PerAxis& window, const How& how) {
  const Tensor x = picture;

  const auto windows = window.resolve(spatial.count, name, "window");
  const auto strides = how.stride ? how.stride->resolve(spatial.count, name, "stride") : windows;
  const auto dilations = how.dilation.resolve(spatial.count, name, "dilation");
  Dims sizes, reach;
  for (int k = 0; k < spatial.count; ++k) {
    sizes.push_back(x.shape(spatial.axis(k)));
    reach.push_back(ops::reach(windows[at(k)], dilations[at(k)]));
  }
  const auto padding = how.padding.resolve(sizes, reach, strides, name);
  std::vector<Walk> result;
  for (int k = 0; k < spatial.count; ++k) {
    const auto& [before, after] = padding[at(k)];
    Walk walk{windows[at(k)], strides[at(k)], dilations[at(k)], before, after, {}, {}};
    walk.padded = sizes[at(k)] + before + after;
    const Dim rest = walk.padded - reach[at(k)];
    picture =
        ops::with_room_for_window(picture, name, {x}, k, reach[at(k)], sizes[at(k)], walk.padded);
    walk.count = floor_div(rest, walk.stride) + Dim(1);
    if (how.ceil_mode && walk.stride > 1) {
      walk.count = minimum(ceil_div(rest, walk.stride) + Dim(1),
                           ceil_div(sizes[at(k)] + before, walk.stride));
      const Dim more = (walk.count - Dim(1)) * Dim(walk.stride) + reach[at(k)] - walk.padded;
      walk.after = after + (provably_at_least(0, more) ? Dim(0) : maximum(more, 0));
    }
    result.push_back(walk);
  }
  return result;
}

// The elements that the windows have at their place k.
Tensor elements(const Tensor& x, int axis, const Walk& walk, std::int64_t k) {
  Dims starts(x.shape().size(), Dim(0)), sizes = x.shape();
  std::vector<std::int64_t> steps(x.shape().size(), 1);
  starts[at(axis)] = k * walk.dilation;
  sizes[at(axis)] = walk.count;
  steps[at(axis)] = walk.stride;
  return ops::strided_slice(x, starts, sizes, steps);
}

// All elements of the windows joined by `join`, from the first to the last.
template <class Join>
Tensor folded(const Tensor& x, int axis, const Walk& walk, const Join& join) {
  Tensor result = elements(x, axis, walk, 0);
  for (std::int64_t k = 1; k < walk.window; ++k) result = join(result, elements(x, axis, walk, k));
  return result;
}

// The last axis first, so that of equal elements the one that comes first in row-major order is met
// first.
template <class Join>
Tensor pooled(Tensor x, const Spatial& spatial, const std::vector<Walk>& axes, const Join& join) {
  for (int k = spatial.count - 1; k >= 0; --k) x = folded(x, spatial.axis(k), axes[at(k)], join);
  return x;
}

std::vector<std::pair<Dim, Dim>> widths_of(const Tensor& x, const Spatial& spatial,
                                           const std::vector<Walk>& axes) {
  std::vector<std::pair<Dim, Dim>> widths(x.shape().size());
  for (int k = 0; k < spatial.count; ++k) {
    widths[at(spatial.axis(k))] = {axes[at(k)].before, axes[at(k)].after};
  }
  return widths;
}

bool is_padded(const std::vector<Walk>& axes) {
  return std::any_of(axes.begin(), axes.end(), [](const Walk& walk) {
    return !walk.before.is_constant(0) || !walk.after.is_constant(0);
  });
}

// What no element is less than.
Operand least(DType dtype) {
  if (is_float(dtype)) return -std::numeric_limits<double>::infinity();
  return lowest_of(dtype);
}

// How many elements each window has along an axis.
Tensor counts(const Walk& walk, const Dim& size, bool counts_padding) {
  const Tensor start = arange(walk.count) * walk.stride - size_of_dim(walk.before);
  const Tensor end = start + walk.window;
  const Tensor first = counts_padding ? -size_of_dim(walk.before) : size_of_dim(0);
  const Tensor last = size_of_dim(counts_padding ? walk.padded - walk.before : size);
  return minimum(end, last) - maximum(start, first);
}

std::vector<int> spatial_list(const Spatial& spatial) {
  return ops::axes_from(spatial.first, spatial.count);
}

Tensor resized_axis(const Tensor& x, int axis, const Dim& size, const ResizeOptions& options) {
  const Dim& old = x.shape()[at(axis)];
  if (size == old) return x;
  const Tensor i = arange(size);
  const Tensor from = size_of_dim(old), to = size_of_dim(size);
  if (options.interpolation == Interpolation::nearest) {
    return take(x, floor_div(i * from, to), axis);
  }
  // The place among the old elements, as a fraction.
  const bool aligned = options.corners == Corners::aligned;
  const Tensor numerator = aligned ? i * (from - 1) : maximum((2 * i + 1) * from - to, 0);
  const Tensor denominator = aligned ? maximum(to - 1, 1) : 2 * to;
  const Tensor low = floor_div(numerator, denominator);
  const Tensor high = minimum(low + 1, from - 1);
  Dims shape(x.shape().size(), Dim(1));
  shape[at(axis)] = size;
  const Tensor share =
      reshape(cast(numerator - low * denominator, x.dtype()) / cast(denominator, x.dtype()), shape);
  return take(x, low, axis) * (1 - share) + take(x, high, axis) * share;
}

void check_sizes(const char* name, const Dims& sizes, const Spatial& spatial) {
  if (static_cast<int>(sizes.size()) != spatial.count) {
    ops::fail_value(name, "there are " + std::to_string(sizes.size()) + " sizes for " +
                              std::to_string(spatial.count) + " spatial axes");
  }
  for (const Dim& size : sizes) {
    if (size.is_constant() && size.constant() < 0) {
      ops::fail_value(name, "a size is negative: " + size.to_string());
    }
  }
}

}  // namespace

Tensor max_pool(const Operand& x, const PerAxis& window, const MaxPoolOptions& options) {
  const LineScope scope(x.line());
  Tensor picture = x.tensor();
  const Spatial spatial = spatial_axes("max_pool", picture, options.layout);
  if (picture.dtype() == DType::boolean) {
    ops::fail_type(OpRecord{.name = "max_pool"}, {picture}, "takes numbers only");
  }
  const std::vector<Walk> axes =
      walks("max_pool", picture, spatial, window,
            {options.stride, options.padding, options.dilation, options.ceil_mode});
  const Tensor padded = is_padded(axes) ? pad(picture, widths_of(picture, spatial, axes),
                                              PadMode::constant, least(picture.dtype()))
                                        : picture;
  return pooled(padded, spatial, axes,
                [](const Tensor& a, const Tensor& b) { return maximum(a, b); });
}

Tensor avg_pool(const Operand& x, const PerAxis& window, const AveragePoolOptions& options) {
  const LineScope scope(x.line());
  Tensor picture = x.tensor();
  const Spatial spatial = spatial_axes("avg_pool", picture, options.layout);
  if (!is_float(picture.dtype())) {
    ops::fail_type(OpRecord{.name = "avg_pool"}, {picture}, "takes floating point only");
  }
  if (is_only_stored(picture.dtype())) {
    return ops::computed(picture, [&](const Tensor& t) { return avg_pool(t, window, options); });
  }
  const std::vector<Walk> axes = walks("avg_pool", picture, spatial, window,
                                       {options.stride, options.padding, 1, options.ceil_mode});
  const Tensor padded = is_padded(axes) ? pad(picture, widths_of(picture, spatial, axes)) : picture;
  const Tensor sums =
      pooled(padded, spatial, axes, [](const Tensor& a, const Tensor& b) { return a + b; });
  std::int64_t whole = 1;  // the elements of windows, where all have the same number
  Tensor number;
  for (int k = 0; k < spatial.count; ++k) {
    const Walk& walk = axes[at(k)];
    const bool has_all = walk.before.is_constant(0) && walk.after.is_constant(0);
    if (has_all || (options.counts_padding && !options.ceil_mode)) {
      whole *= walk.window;
      continue;
    }
    Dims shape(picture.shape().size(), Dim(1));
    shape[at(spatial.axis(k))] = walk.count;
    const Tensor along =
        reshape(counts(walk, picture.shape()[at(spatial.axis(k))], options.counts_padding), shape);
    number = number ? number * along : along;
  }
  return number ? sums / cast(number * whole, picture.dtype()) : sums / whole;
}

Tensor global_max_pool(const Operand& x, Layout layout) {
  const LineScope scope(x.line());
  const Tensor picture = x.tensor();
  const Spatial spatial = spatial_axes("global_max_pool", picture, layout);
  return max(picture, Axes(spatial_list(spatial)));
}

Tensor global_avg_pool(const Operand& x, Layout layout) {
  const LineScope scope(x.line());
  const Tensor picture = x.tensor();
  const Spatial spatial = spatial_axes("global_avg_pool", picture, layout);
  if (!is_float(picture.dtype())) {
    ops::fail_type(OpRecord{.name = "global_avg_pool"}, {picture}, "takes floating point only");
  }
  return mean(picture, Axes(spatial_list(spatial)));
}

Tensor images_to_patches(const Operand& x, const PerAxis& window, const PatchOptions& options) {
  const LineScope scope(x.line());
  Tensor result = x.tensor();
  const Spatial spatial = spatial_axes("images_to_patches", result, options.layout);
  const std::vector<Walk> axes = walks("images_to_patches", result, spatial, window,
                                       {options.stride, options.padding, options.dilation});
  if (is_padded(axes)) result = pad(result, widths_of(result, spatial, axes));
  const bool last = options.layout == Layout::channels_last;
  for (int k = 0; k < spatial.count; ++k) {
    // The axes of windows stand between the channels and the positions.
    const int axis = last ? spatial.axis(k) : spatial.axis(k) + k;
    std::vector<Tensor> parts;
    for (std::int64_t place = 0; place < axes[at(k)].window; ++place) {
      parts.push_back(elements(result, axis, axes[at(k)], place));
    }
    result = stack(parts, last ? 1 + spatial.count + k : 2 + k);
  }
  return result;
}

Tensor patches_to_images(const Operand& patches, const Dims& sizes, const PatchOptions& options) {
  const LineScope scope(patches.line());
  Tensor result = patches.tensor();
  const auto count = static_cast<int>(sizes.size());
  const bool last = options.layout == Layout::channels_last;
  const OpRecord op{.name = "patches_to_images"};
  if (count < 1 || count > 3 || result.rank() != 2 + 2 * count) {
    ops::fail_shape(op, {result},
                    "takes patches (batch, channels, window..., positions...) of rank " +
                        std::to_string(2 + 2 * count) + " for " + std::to_string(count) + " sizes");
  }
  if (result.dtype() == DType::boolean) ops::fail_type(op, {result}, "takes numbers only");
  const int windows = last ? 1 + count : 2;
  std::vector<std::int64_t> window;
  for (int k = 0; k < count; ++k) {
    const Dim& size = result.shape()[at(windows + k)];
    if (!size.is_constant() || size.constant() < 1) {
      ops::fail_shape(op, {result}, "the window's sizes must be known, and at least 1");
    }
    window.push_back(size.constant());
  }
  Dims shape = {result.shape(0)};
  if (!last) shape.push_back(result.shape(1));
  shape.insert(shape.end(), sizes.begin(), sizes.end());
  if (last) shape.push_back(result.shape(-1));
  Tensor picture = broadcast_to(zeros({}, result.dtype()), shape);
  const Spatial spatial{last ? 1 : 2, count};
  const std::vector<Walk> axes = walks(op.name.data(), picture, spatial, PerAxis(window),
                                       {options.stride, options.padding, options.dilation});
  for (int k = 0; k < count; ++k) {
    const Dim& positions = result.shape()[at(last ? 1 + k : 2 + count + k)];
    if ((positions - axes[at(k)].count).is_constant() && positions != axes[at(k)].count) {
      ops::fail_shape(op, {result},
                      "there are " + axes[at(k)].count.to_string() +
                          " windows along spatial axis " + std::to_string(k));
    }
  }
  for (int k = count - 1; k >= 0; --k) {
    const Walk& walk = axes[at(k)];
    const int axis = last ? spatial.axis(k) : spatial.axis(k) + k;  // without the window's axis
    Tensor total;
    for (std::int64_t place = 0; place < walk.window; ++place) {
      const int of_window = windows + k;
      Dims starts(result.shape().size(), Dim(0)), one = result.shape();
      starts[at(of_window)] = place;
      one[at(of_window)] = 1;
      Tensor part =
          ops::strided_slice(result, starts, one, std::vector<std::int64_t>(starts.size(), 1));
      part = reshape(part, ops::replace_axis(part.shape(), of_window, {}));
      Dims place_of(part.shape().size(), Dim(0)), whole = part.shape();
      place_of[at(axis)] = place * walk.dilation;
      whole[at(axis)] = walk.padded;
      std::vector<std::int64_t> steps(whole.size(), 1);
      steps[at(axis)] = walk.stride;
      const Tensor placed = ops::unslice(part, place_of, whole, std::move(steps));
      total = total ? total + placed : placed;
    }
    Dims starts(total.shape().size(), Dim(0)), inside = total.shape();
    starts[at(axis)] = walk.before;
    inside[at(axis)] = sizes[at(k)];
    result = ops::strided_slice(total, starts, inside, std::vector<std::int64_t>(starts.size(), 1));
  }
  return result;
}

Tensor resize(const Operand& x, const Dims& sizes, const ResizeOptions& options) {
  const LineScope scope(x.line());
  Tensor result = x.tensor();
  const Spatial spatial = spatial_axes("resize", result, options.layout);
  check_sizes("resize", sizes, spatial);
  if (options.interpolation == Interpolation::linear && !is_float(result.dtype())) {
    ops::fail_type(OpRecord{.name = "resize"}, {result}, "takes floating point only");
  }
  for (int k = 0; k < spatial.count; ++k) {
    result = resized_axis(result, spatial.axis(k), sizes[at(k)], options);
  }
  return result;
}

Tensor upsample(const Operand& x, const PerAxis& factors, const ResizeOptions& options) {
  const LineScope scope(x.line());
  Tensor result = x.tensor();
  const Spatial spatial = spatial_axes("upsample", result, options.layout);
  const auto numbers = factors.resolve(spatial.count, "upsample", "factors");
  Dims sizes;
  for (int k = 0; k < spatial.count; ++k) {
    sizes.push_back(result.shape(spatial.axis(k)) * Dim(numbers[at(k)]));
  }
  if (options.interpolation == Interpolation::linear) return resize(x, sizes, options);
  for (int k = 0; k < spatial.count; ++k) {
    const int axis = spatial.axis(k);
    const Dim size = result.shape(axis);
    if (numbers[at(k)] == 1) continue;
    const Dims split = ops::replace_axis(result.shape(), axis, {size, Dim(numbers[at(k)])});
    const Dims merged = ops::replace_axis(result.shape(), axis, {sizes[at(k)]});
    result = reshape(broadcast_to(expand_dims(result, axis + 1), split), merged);
  }
  return result;
}

}  // namespace kroton
