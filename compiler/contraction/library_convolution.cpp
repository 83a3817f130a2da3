#include "compiler/contraction/library_convolution.h"

#include <algorithm>

namespace kroton {
namespace {

using loop::Expr;
using loop::Op;

class ConvolutionMatcher {
 public:
  ConvolutionMatcher(const Contraction& contraction, const WindowAxes& axes)
      : c_(contraction), axes_(axes) {
    all_ = {axes.batch.variable, axes.filter.variable, axes.channel.variable};
    if (axes.group) all_.push_back(axes.group->variable);
    for (const WindowAxes::Spatial& axis : axes.spatial) {
      all_.push_back(axis.position.variable);
      all_.push_back(axis.place.variable);
    }
  }

  std::shared_ptr<const LibraryProduct> run() {
    if (!is_float(c_.dtype) || c_.stores.size() != 1) return nullptr;
    const loop::Store& store = c_.stores[0];
    const Expr picture = loaded(c_.b), filters = loaded(c_.a);
    if (!picture || !filters || loop::is_conditional(*filters)) return nullptr;
    const DType operands = picture->buffer->dtype;
    if (operands != filters->buffer->dtype || info_of(operands).computed_in != c_.dtype) {
      return nullptr;
    }
    // Rounded once at most.
    const bool is_rounded =
        store.value->op == Op::cast && store.value->dtype == operands && is_only_stored(operands);
    const Expr& stored = is_rounded ? store.value->args[0] : store.value;
    if (stored->op != Op::variable || stored->variable != c_.sum) return nullptr;
    picture_ = picture->args[0];
    filters_ = filters->args[0];
    result_ = store.index;
    found_.dtype = c_.dtype;
    if (axes_.group) found_.groups = axes_.group->extent;
    const bool found = axes_.is_gradient ? find_gradient_by_filters()
                                         : find_convolution() || find_gradient_by_picture();
    if (!found) return nullptr;
    auto product = std::make_shared<LibraryProduct>();
    product->dtype = c_.dtype;
    product->a.buffer = filters->buffer;
    product->b.buffer = picture->buffer;
    product->result.buffer = store.buffer;
    product->convolution = std::make_shared<const LibraryConvolution>(std::move(found_));
    return product;
  }

 private:
  // The load that the operand is, perhaps converted, perhaps with zeros around.
  static Expr loaded(Expr e) {
    while (true) {
      if (e->op == Op::cast && is_only_stored(e->args[0]->dtype)) {
        e = Expr(e->args[0]);
      } else if (e->op == Op::select && is_zero(e->args[2])) {
        e = Expr(e->args[1]);
      } else {
        return e->op == Op::load ? e : nullptr;
      }
    }
  }
  static bool is_zero(const Expr& e) {
    if (e->op == Op::cast) return is_zero(e->args[0]);
    std::int64_t value = -1;
    return (e->op == Op::real && e->real == 0) ||
           (loop::is_integer_constant(e, value) && value == 0);
  }

  // Elements from one position of the axis to the next; nothing unless that is a size.
  static std::optional<Dim> step(const Expr& index, const Axis& axis) {
    const Expr found = loop::stride_of(index, axis.variable);
    return found ? loop::as_dim(found) : std::nullopt;
  }
  // The index where all axes begin.
  std::optional<Dim> start(const Expr& index) const {
    std::vector<std::pair<loop::Variable, Expr>> zeros;
    for (const loop::Variable& v : all_) zeros.emplace_back(v, loop::integer(0));
    return loop::as_dim(loop::substitute(index, zeros));
  }

  enum class Groups : std::uint8_t { none, of_first, of_second };

  // An array of these two axes and spatial ones. Groups of an axis lie as far apart as it reaches.
  std::optional<LibraryConvolution::Array> array_of(const Expr& index, const Axis& first,
                                                    const Axis& second, Groups groups,
                                                    const LibraryConvolution::Array& spatial) {
    LibraryConvolution::Array array;
    for (const bool is_first : {true, false}) {
      const Axis& axis = is_first ? first : second;
      const std::optional<Dim> stride = step(index, axis);
      if (!stride) return std::nullopt;
      array.sizes.push_back(axis.extent);
      array.strides.push_back(*stride);
      if (groups != (is_first ? Groups::of_first : Groups::of_second) || !axes_.group) continue;
      const std::optional<Dim> to_next = step(index, *axes_.group);
      if (!to_next || *to_next != axis.extent * *stride) return std::nullopt;
      array.sizes.back() = axis.extent * axes_.group->extent;
    }
    array.sizes.insert(array.sizes.end(), spatial.sizes.begin(), spatial.sizes.end());
    array.strides.insert(array.strides.end(), spatial.strides.begin(), spatial.strides.end());
    return array;
  }

  // The spatial axes of the picture, which begins at its first element, of the operand in the
  // filters' place, and of the result.
  std::optional<LibraryConvolution::Array> positions_in_picture() const {
    std::optional<Dim> begin = start(picture_);
    LibraryConvolution::Array spatial;
    for (const WindowAxes::Spatial& axis : axes_.spatial) {
      const std::optional<Dim> position = step(picture_, axis.position);
      const std::optional<Dim> place = step(picture_, axis.place);
      if (!position || !place || !begin) return std::nullopt;
      const Dim one = floor_div(*place, axis.dilation);
      if (one * Dim(axis.dilation) != *place || one * Dim(axis.stride) != *position) {
        return std::nullopt;
      }
      spatial.sizes.push_back(axis.size);
      spatial.strides.push_back(one);
      begin = *begin + axis.first * one;
    }
    return begin && begin->is_constant(0) ? std::optional(spatial) : std::nullopt;
  }
  // `flipped`: the last place is the first in memory.
  std::optional<LibraryConvolution::Array> places_in_filters(bool& flipped) const {
    const std::optional<Dim> begin = start(filters_);
    LibraryConvolution::Array spatial;
    Dim behind = 0;
    for (const WindowAxes::Spatial& axis : axes_.spatial) {
      const std::optional<Dim> place = step(filters_, axis.place);
      if (!place) return std::nullopt;
      spatial.sizes.push_back(axis.place.extent);
      spatial.strides.push_back(*place);
      behind = behind + (Dim(1) - axis.place.extent) * *place;
    }
    if (!begin) return std::nullopt;
    flipped = !begin->is_constant(0);
    if (!flipped) return spatial;
    if (*begin != behind) return std::nullopt;
    for (Dim& stride : spatial.strides) stride = Dim(0) - stride;
    return spatial;
  }
  std::optional<LibraryConvolution::Array> positions_in_result() const {
    const std::optional<Dim> begin = start(result_);
    LibraryConvolution::Array spatial;
    for (const WindowAxes::Spatial& axis : axes_.spatial) {
      const std::optional<Dim> position = step(result_, axis.position);
      if (!position) return std::nullopt;
      spatial.sizes.push_back(axis.position.extent);
      spatial.strides.push_back(*position);
    }
    return begin && begin->is_constant(0) ? std::optional(spatial) : std::nullopt;
  }

  static bool has_one_place(const LibraryConvolution::Array& spatial) {
    return std::all_of(spatial.sizes.begin(), spatial.sizes.end(),
                       [](const Dim& size) { return size.is_constant(1); });
  }

  // Filters lie without gaps: (filters, channels, window) or (filters, window, channels). The
  // library knows no others.
  static bool is_dense(const LibraryConvolution::Array& w) {
    const auto is = [&](const std::vector<std::size_t>& order) {
      Dim reach = 1;
      for (auto axis = order.rbegin(); axis != order.rend(); ++axis) {
        if (!w.sizes[*axis].is_constant(1) && w.strides[*axis] != reach) return false;
        reach = reach * w.sizes[*axis];
      }
      return true;
    };
    std::vector<std::size_t> first{0, 1}, last{0};
    for (std::size_t k = 2; k < w.sizes.size(); ++k) {
      first.push_back(k);
      last.push_back(k);
    }
    last.push_back(1);
    return is(first) || is(last);
  }

  // Zeros before and behind the picture: the windows reach over so much.
  struct Zeros {
    Dim before, after;
  };
  static Zeros zeros_of(const WindowAxes::Spatial& axis) {
    const Dim seen = (axis.position.extent - Dim(1)) * Dim(axis.stride) +
                     (axis.place.extent - Dim(1)) * Dim(axis.dilation) + Dim(1);
    return {axis.first, seen - axis.first - axis.size};
  }

  bool find_convolution() {
    bool flipped = false;
    const auto picture = positions_in_picture(), places = places_in_filters(flipped);
    const auto positions = positions_in_result();
    if (!picture || !places || !positions) return false;
    const auto x = array_of(picture_, axes_.batch, axes_.channel, Groups::of_second, *picture);
    const auto w = array_of(filters_, axes_.filter, axes_.channel, Groups::of_first, *places);
    const auto y = array_of(result_, axes_.batch, axes_.filter, Groups::of_second, *positions);
    if (!x || !w || !y || !is_dense(*w)) return false;
    set_arrays(DeviceConvolution::Wanted::y, *x, *w, *y);
    found_.flipped = flipped;
    for (const WindowAxes::Spatial& axis : axes_.spatial) {
      const Zeros zeros = zeros_of(axis);
      add_axis(zeros.before, zeros.after, axis.stride, axis.dilation);
    }
    return true;
  }

  // Of a convolution whose stride is 1: the picture is the gradient of its result, with zeros as
  // far as a window reaches but for its own, the filters are turned around, and their two first
  // axes exchanged.
  bool find_gradient_by_picture() {
    bool flipped = false;
    const auto picture = positions_in_picture(), places = places_in_filters(flipped);
    const auto positions = positions_in_result();
    if (!picture || !places || !positions) return false;
    const auto y = array_of(picture_, axes_.batch, axes_.channel, Groups::of_second, *picture);
    const auto w = array_of(filters_, axes_.channel, axes_.filter, Groups::of_first, *places);
    const auto x = array_of(result_, axes_.batch, axes_.filter, Groups::of_second, *positions);
    if (!x || !w || !y || !is_dense(*w)) return false;
    set_arrays(DeviceConvolution::Wanted::x, *x, *w, *y);
    found_.flipped = !flipped && !has_one_place(*places);
    for (const WindowAxes::Spatial& axis : axes_.spatial) {
      if (axis.stride != 1) return false;
      const Dim further = (axis.place.extent - Dim(1)) * Dim(axis.dilation);
      const Zeros zeros = zeros_of(axis);
      add_axis(further - zeros.before, further - zeros.after, 1, axis.dilation);
    }
    return true;
  }

  // Windows move as the places do that are wanted.
  bool find_gradient_by_filters() {
    bool flipped = false;
    const auto picture = positions_in_picture(), places = places_in_filters(flipped);
    const auto positions = positions_in_result();
    if (!picture || !places || !positions || flipped) return false;
    const auto x = array_of(picture_, axes_.channel, axes_.batch, Groups::of_second, *picture);
    const auto y = array_of(filters_, axes_.channel, axes_.filter, Groups::of_second, *places);
    const auto w = array_of(result_, axes_.filter, axes_.batch, Groups::of_first, *positions);
    if (!x || !w || !y || !is_dense(*w)) return false;
    set_arrays(DeviceConvolution::Wanted::w, *x, *w, *y);
    for (const WindowAxes::Spatial& axis : axes_.spatial) {
      const Zeros zeros = zeros_of(axis);
      add_axis(zeros.before, zeros.after, axis.dilation, axis.stride);
    }
    return true;
  }

  void set_arrays(DeviceConvolution::Wanted wanted, const LibraryConvolution::Array& x,
                  const LibraryConvolution::Array& w, const LibraryConvolution::Array& y) {
    found_.wanted = wanted;
    found_.x = x;
    found_.w = w;
    found_.y = y;
  }
  void add_axis(const Dim& before, const Dim& after, std::int64_t stride, std::int64_t dilation) {
    found_.before.push_back(before);
    found_.after.push_back(after);
    found_.stride.push_back(stride);
    found_.dilation.push_back(dilation);
  }

  const Contraction& c_;
  const WindowAxes& axes_;
  std::vector<loop::Variable> all_;
  Expr picture_, filters_, result_;  // indices
  LibraryConvolution found_;
};

}  // namespace

std::shared_ptr<const LibraryProduct> library_convolution(const Contraction& contraction,
                                                          const WindowAxes& axes) {
  return ConvolutionMatcher(contraction, axes).run();
}

}  // namespace kroton
