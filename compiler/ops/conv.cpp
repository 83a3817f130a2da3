// Convolutions as users write them: views and padding around the op `convolution` and its gradient.
#include <kroton/convolution.h>
#include <kroton/index.h>

#include <algorithm>
#include <limits>

#include "compiler/ir/at.h"
#include "compiler/ops/convolution.h"
#include "compiler/ops/rules.h"

namespace kroton {
namespace {

// Of strides, dilations, windows and paddings: sums and products with sizes stay far from overflow.
constexpr std::int64_t greatest = std::numeric_limits<std::int32_t>::max();

// What both directions have in common: operands with the channels first, their groups split.
struct ConvolutionOperands {
  std::vector<Tensor> given;  // as the user gave them, in one dtype
  Tensor x;                   // (batch, groups, channels, spatial...)
  Tensor w;                   // (groups, out, in, window...)
  int front = 2;              // axes before the spatial ones: 3 if there are several groups
  ops::Windows windows;
  Dims window;  // the sizes of the filter
  Dims reach;
};

// Whether both are known and a is no multiple of b.
bool is_no_multiple(const Dim& a, std::int64_t b) {
  return a.is_constant() && a.constant() % b != 0;
}

Tensor with_channels_first(const Tensor& x) { return ops::move_axis(x, x.rank() - 1, 1); }
Tensor with_channels_last(const Tensor& x) { return ops::move_axis(x, 1, x.rank() - 1); }

// `is_transposed`: x has the channels that the filters give, otherwise those that they see.
ConvolutionOperands operands_of(const char* name, const Operand& picture, const Operand& filters,
                                int axes, const PerAxis& stride, const PerAxis& dilation,
                                std::int64_t groups, Layout layout, bool flip, bool is_transposed) {
  const OpRecord op{.name = name};
  const std::vector<Tensor> given = ops::promoted(picture, filters);
  const auto fail = [&](const std::string& what) { ops::fail_shape(op, given, what); };
  if (!is_float(given[0].dtype())) ops::fail_type(op, given, "takes floating point only");
  const int rank = axes + 2;
  if (given[0].rank() != rank || given[1].rank() != rank) {
    fail("takes x (batch, channels, spatial...) and filters (out, in, window...) of rank " +
         std::to_string(rank));
  }
  if (groups < 1) ops::fail_value(name, "groups is " + std::to_string(groups));
  ConvolutionOperands result;
  result.given = given;
  result.windows = {stride.resolve(axes, name, "stride"), dilation.resolve(axes, name, "dilation")};
  Tensor x = given[0];
  Tensor w = given[1];
  if (layout == Layout::channels_last) x = with_channels_first(x);
  const Dim& channels = x.shape()[1];
  const Dim& outer = w.shape()[0];  // channels of the convolution's result
  const std::string by_groups = groups == 1 ? "" : " in " + std::to_string(groups) + " groups";
  if (is_no_multiple(outer, groups)) {
    fail(outer.to_string() + " filters cannot be divided into " + std::to_string(groups) +
         " groups");
  }
  const Dim seen = is_transposed ? outer : w.shape()[1] * Dim(groups);
  if ((channels - seen).is_constant() && channels != seen) {
    fail("x has " + channels.to_string() + " channels, the filters are for " + seen.to_string() +
         by_groups);
  }
  for (int axis = 0; axis < axes; ++axis) {
    const Dim& size = w.shape()[at(axis + 2)];
    if (size.is_constant(0)) fail("the filters have no positions");
    result.window.push_back(size);
    result.reach.push_back(ops::reach(size, result.windows.dilations[at(axis)]));
  }
  if (flip) {
    std::vector<IndexItem> items(2, all);
    for (int axis = 0; axis < axes; ++axis) items.emplace_back(slice(end, end, -1));
    w = index(w, items);
  }
  result.x = x;
  result.w = w;
  if (groups > 1) {
    result.front = 3;
    result.x = reshape(x, ops::replace_axis(x.shape(), 1, {Dim(groups), floor_div(seen, groups)}));
    result.w = reshape(w, ops::replace_axis(w.shape(), 0, {Dim(groups), floor_div(outer, groups)}));
  }
  return result;
}

// (batch, groups, channels, spatial...) as the user has it.
Tensor merged(const Tensor& y, int front, Layout layout) {
  Dims shape = y.shape();
  if (front == 3) {
    shape[1] = shape[1] * shape[2];
    shape.erase(shape.begin() + 2);
  }
  const Tensor result = reshape(y, shape);
  return layout == Layout::channels_last ? with_channels_last(result) : result;
}

Tensor conv(const char* name, int axes, const Operand& picture, const Operand& filters,
            const ConvolutionOptions& options) {
  ConvolutionOperands o =
      operands_of(name, picture, filters, axes, options.stride, options.dilation, options.groups,
                  options.layout, options.flip, false);
  const Dims sizes(o.x.shape().begin() + o.front, o.x.shape().end());
  const auto padding = options.padding.resolve(sizes, o.reach, o.windows.strides, name);
  std::vector<std::pair<Dim, Dim>> widths(at(o.front));
  bool is_padded = false;
  for (int axis = 0; axis < axes; ++axis) {
    const auto& [before, after] = padding[at(axis)];
    widths.emplace_back(before, after);
    is_padded = is_padded || !before.is_constant(0) || !after.is_constant(0);
    const Dim& size = sizes[at(axis)];
    o.x = ops::with_room_for_window(o.x, name, o.given, axis, o.reach[at(axis)], size,
                                    size + before + after);
  }
  return merged(ops::convolution(is_padded ? pad(o.x, widths) : o.x, o.w, o.windows), o.front,
                options.layout);
}

Tensor conv_transpose(const char* name, int axes, const Operand& picture, const Operand& filters,
                      const ConvTransposeOptions& options) {
  ConvolutionOperands o =
      operands_of(name, picture, filters, axes, options.stride, options.dilation, options.groups,
                  options.layout, options.flip, true);
  const std::vector<std::int64_t> more =
      options.output_padding.resolve(axes, name, "output_padding", 0);
  Dims starts, sizes, whole;
  for (int axis = 0; axis < axes; ++axis) {
    const std::int64_t stride = o.windows.strides[at(axis)];
    if (more[at(axis)] >= stride && more[at(axis)] > 0) {
      ops::fail_value(name, "output_padding is " + std::to_string(more[at(axis)]) +
                                ", it has to be less than the stride, " + std::to_string(stride));
    }
    const Dim& size = o.x.shape()[at(axis + o.front)];
    whole.push_back(size * Dim(stride) - Dim(stride) + o.reach[at(axis)]);
    sizes.push_back(size * Dim(stride));  // of a result that has `same`
  }
  const auto padding = options.padding.resolve(sizes, o.reach, o.windows.strides, name);
  for (int axis = 0; axis < axes; ++axis) {
    const auto& [before, after] = padding[at(axis)];
    starts.push_back(before);
    const Dim least = before + after;
    const Dim& size = whole[at(axis)];
    if (options.padding.kind() != Padding::Kind::same) {
      o.x = ops::size_check(
          o.x, name, o.given, size + Dim(more[at(axis)]), least,
          "the padding takes away %1 of %0 positions of spatial axis " + std::to_string(axis));
      sizes[at(axis)] = size - least;
    }
    sizes[at(axis)] = sizes[at(axis)] + Dim(more[at(axis)]);
  }
  return merged(ops::input_gradient(o.x, o.w, o.windows, starts, sizes), o.front, options.layout);
}

}  // namespace

std::vector<std::int64_t> PerAxis::resolve(int axes, const char* op, const char* what,
                                           std::int64_t least) const {
  if (values_.size() != 1 && values_.size() != at(axes)) {
    ops::fail_value(op, std::string(what) + " has " + std::to_string(values_.size()) +
                            " numbers for " + std::to_string(axes) + " spatial axes");
  }
  for (const std::int64_t value : values_) {
    if (value < least || value > greatest) {
      ops::fail_value(op, std::string(what) + " is " + std::to_string(value) +
                              (value < least ? ", at least " + std::to_string(least)
                                             : ", at most " + std::to_string(greatest)) +
                              " is possible");
    }
  }
  return values_.size() == at(axes) ? values_ : std::vector<std::int64_t>(at(axes), values_[0]);
}

std::vector<std::pair<Dim, Dim>> Padding::resolve(const Dims& sizes, const Dims& reach,
                                                  const std::vector<std::int64_t>& strides,
                                                  const char* op) const {
  if (kind_ == Kind::given) {
    if (widths_.size() != 1 && widths_.size() != sizes.size()) {
      ops::fail_value(op, "padding has " + std::to_string(widths_.size()) + " pairs for " +
                              std::to_string(sizes.size()) + " spatial axes");
    }
    for (const auto& [before, after] : widths_) {
      for (const Dim& width : {before, after}) {
        if (!width.is_constant()) continue;
        if (width.constant() < 0) {
          ops::fail_value(op, "padding is negative: " + width.to_string());
        }
        if (width.constant() > greatest) {
          ops::fail_value(op, "padding is " + width.to_string() + ", at most " +
                                  std::to_string(greatest) + " is possible");
        }
      }
    }
    return widths_.size() == sizes.size()
               ? widths_
               : std::vector<std::pair<Dim, Dim>>(sizes.size(), widths_[0]);
  }
  std::vector<std::pair<Dim, Dim>> widths;
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    const Dim further = reach[axis] - Dim(1);
    if (kind_ == Kind::valid) {
      widths.emplace_back(0, 0);
    } else if (kind_ == Kind::full) {
      widths.emplace_back(further, further);
    } else {
      const Dim positions = ceil_div(sizes[axis], strides[axis]);
      const Dim needed = (positions - Dim(1)) * Dim(strides[axis]) + reach[axis] - sizes[axis];
      const Dim width = provably_at_least(needed, 0) ? needed : maximum(needed, 0);
      const Dim before = floor_div(width, 2);
      widths.emplace_back(before, width - before);
    }
  }
  return widths;
}

Tensor conv1d(const Operand& x, const Operand& filters, const ConvolutionOptions& options) {
  const LineScope scope(x.line());
  return conv("conv1d", 1, x, filters, options);
}

Tensor conv2d(const Operand& x, const Operand& filters, const ConvolutionOptions& options) {
  const LineScope scope(x.line());
  return conv("conv2d", 2, x, filters, options);
}

Tensor conv3d(const Operand& x, const Operand& filters, const ConvolutionOptions& options) {
  const LineScope scope(x.line());
  return conv("conv3d", 3, x, filters, options);
}

Tensor conv_transpose1d(const Operand& x, const Operand& filters,
                        const ConvTransposeOptions& options) {
  const LineScope scope(x.line());
  return conv_transpose("conv_transpose1d", 1, x, filters, options);
}

Tensor conv_transpose2d(const Operand& x, const Operand& filters,
                        const ConvTransposeOptions& options) {
  const LineScope scope(x.line());
  return conv_transpose("conv_transpose2d", 2, x, filters, options);
}

Tensor conv_transpose3d(const Operand& x, const Operand& filters,
                        const ConvTransposeOptions& options) {
  const LineScope scope(x.line());
  return conv_transpose("conv_transpose3d", 3, x, filters, options);
}

}  // namespace kroton
