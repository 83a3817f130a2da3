// Layers around a shortcut, and side by side.
#include <kroton/error.h>
#include <kroton/nn_blocks.h>
#include <kroton/ops.h>

#include "frontend/train/layer_names.h"
#include "frontend/train/layer_tools.h"

namespace kroton::nn {

Residual::Residual(std::initializer_list<Layer> layers, ResidualOptions options, const Location& at)
    : Residual(std::vector<Layer>(layers), std::move(options), at) {}

Residual::Residual(std::vector<Layer> layers, ResidualOptions options, const Location& at)
    : layers_(std::move(layers)), options_(std::move(options)), line_(line_of(at)) {}

Tensor Residual::operator()(const Tensor& x) const {
  const Scope own = Scope::of_layer(options_.name);
  const Tensor y = layers_(x);
  Tensor shortcut = x;
  if (options_.projection) {
    const std::string& name = options_.projection->name();
    const Scope path(name.empty() ? "projection" : name);
    shortcut = (*options_.projection)(x);
  }
  if (differ(shortcut.shape(), y.shape()) || shortcut.dtype() != y.dtype()) {
    throw ShapeError("Residual: the shortcut is " + to_string(shortcut.type()) +
                     ", the layers give " + to_string(y.type()) + "  [" + to_string(line_) + "]");
  }
  const LineScope scope(line_, "Residual");
  return activated(options_.activation, shortcut + y);
}

Concatenate::Concatenate(std::initializer_list<Layer> branches, ConcatenateOptions options,
                         const Location& at)
    : Concatenate(std::vector<Layer>(branches), std::move(options), at) {}

Concatenate::Concatenate(std::vector<Layer> branches, ConcatenateOptions options,
                         const Location& at)
    : branches_(std::move(branches)),
      names_(names_of("Concatenate", branches_)),
      options_(std::move(options)),
      line_(line_of(at)) {
  if (branches_.empty()) fail("Concatenate", "there are no branches", line_);
}

Tensor Concatenate::operator()(const Tensor& x) const {
  const Scope own = Scope::of_layer(options_.name);
  std::vector<Tensor> results;
  for (std::size_t k = 0; k < branches_.size(); ++k) {
    const Scope path(names_[k]);
    results.push_back(branches_[k](x));
  }
  const LineScope scope(line_, "Concatenate");
  return concatenate(results, options_.axis);
}

Layer identity() {
  return [](const Tensor& x) { return x; };
}

}  // namespace kroton::nn
