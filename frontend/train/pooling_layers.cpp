// Pools, padding, and pictures of other sizes.
#include <kroton/error.h>
#include <kroton/nn_convolution.h>

#include "frontend/train/layer_tools.h"

namespace kroton::nn {

namespace {

void check_rank(const char* layer, const Tensor& x, const SourceLine& line) {
  if (x.rank() >= 3 && x.rank() <= 5) return;
  fail_shape(layer, x, "takes x (batch, channels, spatial...) of rank 3 to 5", line);
}

}  // namespace

MaxPool::MaxPool(PerAxis window, MaxPoolOptions options, const Location& at)
    : window_(std::move(window)), options_(std::move(options)), line_(line_of(at)) {}
Tensor MaxPool::operator()(const Tensor& x) const {
  const LineScope scope(line_, "MaxPool");
  check_rank("MaxPool", x, line_);
  return max_pool(x, window_, options_);
}

AveragePool::AveragePool(PerAxis window, AveragePoolOptions options, const Location& at)
    : window_(std::move(window)), options_(std::move(options)), line_(line_of(at)) {}
Tensor AveragePool::operator()(const Tensor& x) const {
  const LineScope scope(line_, "AveragePool");
  check_rank("AveragePool", x, line_);
  return avg_pool(x, window_, options_);
}

GlobalAveragePool::GlobalAveragePool(Layout layout, const Location& at)
    : layout_(layout), line_(line_of(at)) {}
Tensor GlobalAveragePool::operator()(const Tensor& x) const {
  const LineScope scope(line_, "GlobalAveragePool");
  check_rank("GlobalAveragePool", x, line_);
  return global_avg_pool(x, layout_);
}

GlobalMaxPool::GlobalMaxPool(Layout layout, const Location& at)
    : layout_(layout), line_(line_of(at)) {}
Tensor GlobalMaxPool::operator()(const Tensor& x) const {
  const LineScope scope(line_, "GlobalMaxPool");
  check_rank("GlobalMaxPool", x, line_);
  return global_max_pool(x, layout_);
}

ZeroPadding::ZeroPadding(Padding widths, Layout layout, const Location& at)
    : widths_(std::move(widths)), layout_(layout), line_(line_of(at)) {
  if (widths_.kind() != Padding::Kind::given) {
    fail("ZeroPadding", "the widths must be given as numbers", line_);
  }
}
Tensor ZeroPadding::operator()(const Tensor& x) const {
  const LineScope scope(line_, "ZeroPadding");
  check_rank("ZeroPadding", x, line_);
  const std::size_t first = layout_ == Layout::channels_last ? 1 : 2;
  const auto axes = index_of(x.rank() - 2);
  const auto begin = x.shape().begin() + static_cast<std::ptrdiff_t>(first);
  const Dims sizes(begin, begin + static_cast<std::ptrdiff_t>(axes));
  // The reach and the strides of windows are of no account for given widths.
  const auto given =
      widths_.resolve(sizes, Dims(axes, Dim(1)), std::vector<std::int64_t>(axes, 1), "ZeroPadding");
  std::vector<std::pair<Dim, Dim>> widths(index_of(x.rank()), {Dim(0), Dim(0)});
  for (std::size_t k = 0; k < axes; ++k) widths[first + k] = given[k];
  return pad(x, widths);
}

Upsample::Upsample(PerAxis factors, ResizeOptions options, const Location& at)
    : factors_(std::move(factors)), options_(options), line_(line_of(at)) {}
Tensor Upsample::operator()(const Tensor& x) const {
  const LineScope scope(line_, "Upsample");
  check_rank("Upsample", x, line_);
  return upsample(x, factors_, options_);
}

}  // namespace kroton::nn
