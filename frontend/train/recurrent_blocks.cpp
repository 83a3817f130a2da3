// Recurrent layers one after the other, and in two directions.
#include <kroton/error.h>
#include <kroton/index.h>
#include <kroton/nn_recurrent.h>
#include <kroton/ops.h>

#include "frontend/train/layer_tools.h"

namespace kroton::nn {

// ---- Stacked

template <class Recurrent>
Stacked<Recurrent>::Stacked(std::int64_t units, std::int64_t layers, StackedOptions options,
                            const Location& at)
    : name_(options.recurrent.name),
      dropout_(options.dropout, {}, at),
      sequences_(options.recurrent.sequences),
      line_(line_of(at)) {
  if (layers < 1) fail("Stacked", "layers is " + std::to_string(layers), line_);
  if (options.recurrent.backwards) {
    fail("Stacked", "has no backwards: each layer would turn the steps around again", line_);
  }
  for (std::int64_t k = 0; k < layers; ++k) {
    RecurrentOptions own = options.recurrent;
    own.name = "layer" + std::to_string(k + 1);
    own.sequences = true;
    layers_.emplace_back(units, std::move(own), at);
  }
}

template <class Recurrent>
RecurrentResult Stacked<Recurrent>::run(const Tensor& x, const std::vector<Tensor>& initial,
                                        const Tensor& mask) const {
  const Scope own = Scope::of_layer(name_);
  const std::size_t each = layers_.front().states();
  if (!initial.empty() && initial.size() != each * layers_.size()) {
    fail("Stacked",
         "an initial state is " + std::to_string(each * layers_.size()) + " tensors, given are " +
             std::to_string(initial.size()),
         line_);
  }
  RecurrentResult result{x, {}};
  for (std::size_t k = 0; k < layers_.size(); ++k) {
    std::vector<Tensor> of_layer;
    for (std::size_t i = 0; !initial.empty() && i < each; ++i) {
      of_layer.push_back(initial[k * each + i]);
    }
    const Tensor input = k == 0 ? x : dropout_(result.outputs);
    const RecurrentResult next = layers_[k].run(input, of_layer, mask);
    result.outputs = next.outputs;
    result.state.insert(result.state.end(), next.state.begin(), next.state.end());
  }
  return result;
}

template <class Recurrent>
Tensor Stacked<Recurrent>::operator()(const Tensor& x, const Tensor& mask) const {
  const RecurrentResult result = run(x, {}, mask);
  if (sequences_) return result.outputs;
  if (x.shape(1).is_constant(0)) fail_shape("Stacked", x, "there is no last step", line_);
  return result.state[result.state.size() - layers_.front().states()];
}

template <class Recurrent>
void Stacked<Recurrent>::reset_state() const {
  for (const Recurrent& layer : layers_) layer.reset_state();
}

template class Stacked<SimpleRnn>;
template class Stacked<Lstm>;
template class Stacked<Gru>;

// ---- Two directions

namespace {

RecurrentOptions in_direction(RecurrentOptions options, const char* name, bool backwards) {
  options.name = name;
  options.backwards = backwards;
  return options;
}

}  // namespace

template <class Recurrent>
Bidirectional<Recurrent>::Bidirectional(std::int64_t units, RecurrentOptions options,
                                        const Location& at)
    : name_(options.name),
      forward_(units, in_direction(options, "forward", false), at),
      backward_(units, in_direction(options, "backward", true), at),
      line_(line_of(at)) {}

template <class Recurrent>
Tensor Bidirectional<Recurrent>::operator()(const Tensor& x, const Tensor& mask) const {
  const Scope own = Scope::of_layer(name_);
  const Tensor first = forward_(x, mask);
  const Tensor second = backward_(x, mask);
  const LineScope scope(line_, "Bidirectional");
  if (first.rank() == 2) return concatenate({first, second}, 1);
  return concatenate({first, second(all, slice(end, end, -1))}, 2);
}

template <class Recurrent>
void Bidirectional<Recurrent>::reset_state() const {
  forward_.reset_state();
  backward_.reset_state();
}

template class Bidirectional<SimpleRnn>;
template class Bidirectional<Lstm>;
template class Bidirectional<Gru>;

}  // namespace kroton::nn
