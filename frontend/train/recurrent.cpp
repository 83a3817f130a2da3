// Layers with a memory of steps, written with scan.
#include <kroton/error.h>
#include <kroton/index.h>
#include <kroton/nn_recurrent.h>
#include <kroton/ops.h>
#include <kroton/scan.h>

#include "frontend/train/layer_tools.h"
#include "frontend/train/loss_tools.h"

namespace kroton::nn {

namespace {

// What is remembered stays at first: Gers et al. (2000), Jozefowicz et al. (2015).
Array lstm_bias(const Shape& shape, const Fans&, std::uint64_t, DType dtype) {
  Array bias = Array::zeros(shape, f64);
  const auto units = static_cast<std::size_t>(shape[0] / 4);
  for (std::size_t k = units; k < 2 * units; ++k) bias.data<double>()[k] = 1;
  return bias.cast(dtype);
}

}  // namespace

// One call of a layer: its parameters, what a step does, and the loop over the steps.
struct RecurrentLayer::Loop {
  Loop(const RecurrentLayer& of_layer, const Tensor& sequence, const Tensor& mask)
      : layer(of_layer), x(sequence), name(layer_name(of_layer.cell_)) {
    check_input(name, x, 3, 3, "(batch, steps, features)", layer.line_);
    if (mask && (mask.rank() != 2 || differ(mask.shape(0), x.shape(0)) ||
                 differ(mask.shape(1), x.shape(1)))) {
      fail_shape(name, mask, "a mask is (batch, steps) of x, which is " + to_string(x.type()),
                 layer.line_);
    }
    // What fills up may be anything, and is in no gradient.
    x = where_counted(x, mask);
    const RecurrentOptions& o = layer.options_;
    if (o.stateful > 0) {
      if (differ(x.shape(0), Dim(o.stateful))) {
        fail_shape(name, x, "stateful, takes batches of " + std::to_string(o.stateful),
                   layer.line_);
      }
      x = reshape(x, {o.stateful, x.shape(1), x.shape(2)});
    }
    const std::int64_t units = layer.units_;
    const std::int64_t parts = layer.cell_ == Cell::simple ? 1 : layer.cell_ == Cell::lstm ? 4 : 3;
    const Dim inputs = x.shape(2);
    const auto get = [&](const char* parameter, const Dims& shape, const Initializer& initial,
                         const Fans& fans = {}) -> Tensor {
      return layer.parameters_.get(parameter, shape, initial, fans, x.dtype());
    };
    const Tensor weight = get("weight", {inputs, parts * units}, o.weight, {known(inputs), units});
    recurrent = get("recurrent", {units, parts * units}, o.recurrent, {units, units});
    const Tensor bias =
        get("bias", {parts * units}, layer.cell_ == Cell::lstm ? Initializer(lstm_bias) : zeros());
    if (layer.cell_ == Cell::gru) recurrent_bias = get("recurrent_bias", {parts * units}, zeros());
    if (o.peepholes) peephole = get("peephole", {3, units}, zeros());
    of_inputs = times_matrix(x, weight) + bias;
    Recorder::note_multiply_adds(x.shape(0) * x.shape(1) * units * (parts * units));
  }

  static const char* layer_name(Cell cell) {
    return cell == Cell::simple ? "SimpleRnn" : cell == Cell::lstm ? "Lstm" : "Gru";
  }

  // Part k of something whose last axis has all parts.
  Tensor part(const Tensor& all_parts, std::int64_t k) const {
    return all_parts(all, slice(k * layer.units_, (k + 1) * layer.units_));
  }

  // The new states of what a step sees of the input, (batch, parts * units), and of the old ones.
  std::vector<Tensor> step(const Tensor& input, const std::vector<Tensor>& old) const {
    if (layer.cell_ == Cell::simple) return {kroton::tanh(input + dot(old[0], recurrent))};
    if (layer.cell_ == Cell::lstm) {
      const Tensor gates = input + dot(old[0], recurrent);
      const auto gate = [&](std::int64_t k, std::int64_t hole, const Tensor& cell) {
        const Tensor sum = part(gates, k);
        return kroton::sigmoid(peephole ? sum + peephole[hole] * cell : sum);
      };
      const Tensor cell =
          gate(1, 1, old[1]) * old[1] + gate(0, 0, old[1]) * kroton::tanh(part(gates, 2));
      return {gate(3, 2, cell) * kroton::tanh(cell), cell};
    }
    const Tensor of_state = dot(old[0], recurrent) + recurrent_bias;
    const auto gate = [&](int k) { return kroton::sigmoid(part(input, k) + part(of_state, k)); };
    const Tensor update = gate(1);
    const Tensor fresh = kroton::tanh(part(input, 2) + gate(0) * part(of_state, 2));
    return {(1 - update) * fresh + update * old[0]};
  }

  // The states of all steps, (steps, batch, units).
  std::vector<Tensor> states(const std::vector<Tensor>& initial, const Tensor& mask) const {
    ScanOptions options;
    options.sequences = {Sequence(swapaxes(of_inputs, 0, 1))};
    if (mask) {
      const Tensor counts = with_shape(ne(mask, 0), {x.shape(0), x.shape(1)});
      options.sequences.emplace_back(expand_dims(swapaxes(counts, 0, 1), 2));
    }
    for (const Tensor& state : initial) options.outputs_info.emplace_back(state);
    options.go_backwards = layer.options_.backwards;
    options.name = name;
    return scan(
        [&](std::span<const Tensor> arguments) {
          const LineScope scope(layer.line_, name);
          const auto first = arguments.begin() + (mask ? 2 : 1);
          const std::vector<Tensor> old(first, arguments.end());
          std::vector<Tensor> next = step(arguments[0], old);
          for (std::size_t k = 0; mask && k < next.size(); ++k) {
            next[k] = where(arguments[1], next[k], old[k]);
          }
          return next;
        },
        options);
  }

  // Zeros, or the caller's, which must fit.
  std::vector<Tensor> initial_states(const std::vector<Tensor>& given) const {
    const std::vector<Shared> kept =
        layer.options_.stateful > 0 ? layer.kept(x.dtype()) : std::vector<Shared>{};
    if (given.empty() && !kept.empty()) return {kept.begin(), kept.end()};
    const Dims shape = {x.shape(0), layer.units_};
    if (given.empty()) {
      return std::vector<Tensor>(layer.states(), broadcast_to(kroton::zeros({}, x.dtype()), shape));
    }
    if (given.size() != layer.states()) {
      fail(name,
           "an initial state is " + std::to_string(layer.states()) + " tensors, given are " +
               std::to_string(given.size()),
           layer.line_);
    }
    std::vector<Tensor> states;
    for (const Tensor& state : given) {
      if (state.dtype() != x.dtype() || differ(state.shape(), shape)) {
        fail_shape(name, state, "an initial state is " + to_string(TensorType{x.dtype(), shape}),
                   layer.line_);
      }
      states.push_back(with_shape(state, shape));
    }
    return states;
  }

  const RecurrentLayer& layer;
  Tensor x;
  const char* name;
  Tensor recurrent, recurrent_bias, peephole, of_inputs;
};

RecurrentLayer::RecurrentLayer(Cell cell, std::int64_t units, RecurrentOptions options,
                               const Location& at)
    : cell_(cell),
      units_(units),
      options_(std::move(options)),
      parameters_(options_.name),
      line_(line_of(at)) {
  const char* name = Loop::layer_name(cell);
  if (units < 1) fail(name, "units is " + std::to_string(units), line_);
  if (options_.stateful < 0) {
    fail(name, "stateful is " + std::to_string(options_.stateful) + ", the size of a batch", line_);
  }
  if (options_.peepholes && cell != Cell::lstm) fail(name, "has no peepholes", line_);
}

std::vector<Shared> RecurrentLayer::kept(DType dtype) const {
  const Dims shape = {options_.stateful, units_};
  std::vector<Shared> found = {parameters_.get("last_h", shape, zeros(), {}, dtype, true)};
  if (states() == 2) {
    found.push_back(parameters_.get("last_c", shape, zeros(), {}, dtype, true));
  }
  return found;
}

RecurrentResult RecurrentLayer::call(const Tensor& x, const std::vector<Tensor>& initial,
                                     const Tensor& mask, bool last) const {
  const char* name = Loop::layer_name(cell_);
  const LineScope scope(line_, name);
  const Loop loop(*this, x, mask);
  const bool has_no_steps = loop.x.shape(1).is_constant(0);
  if (last && has_no_steps) fail_shape(name, x, "there is no last step", line_);
  const std::vector<Tensor> first = loop.initial_states(initial);
  std::vector<Tensor> stacks = loop.states(first, mask);
  RecurrentResult result;
  const auto last_of = [&](std::size_t k) { return has_no_steps ? first[k] : stacks[k][-1]; };
  if (options_.stateful > 0) {
    const std::vector<Shared> states = kept(x.dtype());
    Tensor carrying = stacks[0];
    for (std::size_t k = 0; k < states.size(); ++k) {
      carrying = with_update(carrying, states[k], last_of(k));
    }
    stacks[0] = carrying;
  }
  if (last) return {{}, {last_of(0)}};
  result.outputs = swapaxes(stacks[0], 0, 1);
  for (std::size_t k = 0; k < stacks.size(); ++k) result.state.push_back(last_of(k));
  return result;
}

Tensor RecurrentLayer::operator()(const Tensor& x, const Tensor& mask) const {
  const RecurrentResult result = call(x, {}, mask, !options_.sequences);
  return options_.sequences ? result.outputs : result.state[0];
}

RecurrentResult RecurrentLayer::run(const Tensor& x, const std::vector<Tensor>& initial,
                                    const Tensor& mask) const {
  return call(x, initial, mask, false);
}

void RecurrentLayer::reset_state() const {
  if (options_.stateful == 0) fail(Loop::layer_name(cell_), "is not stateful", line_);
  for (const char* name : {"last_h", "last_c"}) {
    std::optional<Shared> state = parameters_.find(name);
    if (state) state->set_value(Array::zeros({options_.stateful, units_}, state->dtype()));
  }
}

SimpleRnn::SimpleRnn(std::int64_t units, RecurrentOptions options, const Location& at)
    : RecurrentLayer(Cell::simple, units, std::move(options), at) {}
Lstm::Lstm(std::int64_t units, RecurrentOptions options, const Location& at)
    : RecurrentLayer(Cell::lstm, units, std::move(options), at) {}
Gru::Gru(std::int64_t units, RecurrentOptions options, const Location& at)
    : RecurrentLayer(Cell::gru, units, std::move(options), at) {}

}  // namespace kroton::nn
