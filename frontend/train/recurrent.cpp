// Layers with a memory of steps, written with scan.
#include <kroton/error.h>
#include <kroton/index.h>
#include <kroton/nn.h>
#include <kroton/scan.h>

#include "frontend/train/lines.h"

namespace kroton::nn {

namespace {

// What the layers have in common: their parameters, and the loop over the steps.
class Recurrence {
 public:
  Recurrence(const char* layer, const Tensor& x, const Tensor& mask, std::int64_t units,
             std::int64_t parts, const RecurrentOptions& options, const Parameters& parameters,
             const SourceLine& line)
      : x_(x), mask_(mask), units_(units), options_(options), line_(line) {
    if (x.rank() != 3 || (mask && mask.rank() != 2)) {
      throw ShapeError(std::string(layer) +
                       ": takes x (batch, steps, features) and a mask (batch, steps): " + x.name() +
                       " is " + to_string(x.type()) + "  [" + to_string(line) + "]");
    }
    const Dim inputs = x.shape(2);
    const std::int64_t width = parts * units;
    const Fans fans{inputs.is_constant() ? inputs.constant() : 1, units};
    weight = parameters.get("weight", {inputs, width}, options.weight, fans, x.dtype());
    recurrent =
        parameters.get("recurrent", {units, width}, options.recurrent, {units, units}, x.dtype());
  }

  // Part k of something whose last axis has all parts.
  Tensor part(const Tensor& all_parts, std::int64_t k) const {
    return all_parts(all, slice(k * units_, (k + 1) * units_));
  }

  // The states of all steps, or the last. `step` gives the new states of what a step sees of the
  // input, (batch, width), and the old ones.
  template <class Step>
  Tensor run(const Tensor& of_inputs, std::size_t states, const Step& step) const {
    const Tensor zero = broadcast_to(kroton::zeros({}, x_.dtype()), {x_.shape(0), units_});
    ScanOptions options;
    options.sequences = {Sequence(swapaxes(of_inputs, 0, 1))};
    if (mask_) options.sequences.emplace_back(swapaxes(mask_, 0, 1));
    for (std::size_t k = 0; k < states; ++k) options.outputs_info.emplace_back(zero);
    options.go_backwards = options_.backwards;
    options.name = "recurrent";
    const std::vector<Tensor> stacks = scan(
        [&](std::span<const Tensor> arguments) {
          const LineScope scope(line_, "");
          const std::size_t first = mask_ ? 2 : 1;
          const std::vector<Tensor> old(arguments.begin() + static_cast<std::ptrdiff_t>(first),
                                        arguments.end());
          std::vector<Tensor> next = step(arguments[0], old);
          if (mask_) {
            const Tensor counts = expand_dims(ne(arguments[1], 0), 1);
            for (std::size_t k = 0; k < next.size(); ++k) next[k] = where(counts, next[k], old[k]);
          }
          return next;
        },
        options);
    return options_.sequences ? swapaxes(stacks[0], 0, 1) : stacks[0][-1];
  }

  Tensor weight, recurrent;

 private:
  const Tensor& x_;
  const Tensor& mask_;
  const std::int64_t units_;
  const RecurrentOptions& options_;
  const SourceLine line_;
};

[[noreturn]] void fail_units(const char* layer, std::int64_t units, const SourceLine& line) {
  throw ValueError(std::string(layer) + ": units is " + std::to_string(units) + "  [" +
                   to_string(line) + "]");
}

}  // namespace

SimpleRnn::SimpleRnn(std::int64_t units, RecurrentOptions options, const Location& at)
    : units_(units), options_(std::move(options)), line_(line_of(at)) {
  if (units < 1) fail_units("SimpleRnn", units, line_);
}

Tensor SimpleRnn::operator()(const Tensor& x, const Tensor& mask) const {
  const LineScope scope(line_, "");
  const Recurrence r("SimpleRnn", x, mask, units_, 1, options_, parameters_, line_);
  const Tensor bias = parameters_.get("bias", {units_}, zeros(), {}, x.dtype());
  return r.run(matmul(x, r.weight) + bias, 1,
               [&](const Tensor& input, const std::vector<Tensor>& old) {
                 return std::vector<Tensor>{kroton::tanh(input + dot(old[0], r.recurrent))};
               });
}

Lstm::Lstm(std::int64_t units, RecurrentOptions options, const Location& at)
    : units_(units), options_(std::move(options)), line_(line_of(at)) {
  if (units < 1) fail_units("Lstm", units, line_);
}

Tensor Lstm::operator()(const Tensor& x, const Tensor& mask) const {
  const LineScope scope(line_, "");
  const Recurrence r("Lstm", x, mask, units_, 4, options_, parameters_, line_);
  // What is remembered stays at first: Gers et al. (2000), Jozefowicz et al. (2015).
  const Initializer remembers = [](const Shape& shape, const Fans&, std::uint64_t, DType dtype) {
    Array bias = Array::zeros(shape, f64);
    const auto units = static_cast<std::size_t>(shape[0] / 4);
    for (std::size_t k = units; k < 2 * units; ++k) bias.data<double>()[k] = 1;
    return bias.cast(dtype);
  };
  const Tensor bias = parameters_.get("bias", {4 * units_}, remembers, {}, x.dtype());
  return r.run(
      matmul(x, r.weight) + bias, 2, [&](const Tensor& input, const std::vector<Tensor>& old) {
        const Tensor gates = input + dot(old[0], r.recurrent);
        const Tensor cell = kroton::sigmoid(r.part(gates, 1)) * old[1] +
                            kroton::sigmoid(r.part(gates, 0)) * kroton::tanh(r.part(gates, 2));
        return std::vector<Tensor>{kroton::sigmoid(r.part(gates, 3)) * kroton::tanh(cell), cell};
      });
}

Gru::Gru(std::int64_t units, RecurrentOptions options, const Location& at)
    : units_(units), options_(std::move(options)), line_(line_of(at)) {
  if (units < 1) fail_units("Gru", units, line_);
}

Tensor Gru::operator()(const Tensor& x, const Tensor& mask) const {
  const LineScope scope(line_, "");
  const Recurrence r("Gru", x, mask, units_, 3, options_, parameters_, line_);
  const Tensor bias = parameters_.get("bias", {3 * units_}, zeros(), {}, x.dtype());
  const Tensor recurrent_bias =
      parameters_.get("recurrent_bias", {3 * units_}, zeros(), {}, x.dtype());
  return r.run(
      matmul(x, r.weight) + bias, 1, [&](const Tensor& input, const std::vector<Tensor>& old) {
        const Tensor of_state = dot(old[0], r.recurrent) + recurrent_bias;
        const auto gate = [&](int k) {
          return kroton::sigmoid(r.part(input, k) + r.part(of_state, k));
        };
        const Tensor update = gate(1);
        const Tensor fresh = kroton::tanh(r.part(input, 2) + gate(0) * r.part(of_state, 2));
        return std::vector<Tensor>{(1 - update) * fresh + update * old[0]};
      });
}

template <class Recurrent>
Layer bidirectional(std::int64_t units, RecurrentOptions options) {
  RecurrentOptions there = options, back = options;
  there.backwards = false;
  back.backwards = true;
  const Recurrent forward(units, there), backward(units, back);
  return [forward, backward, sequences = options.sequences](const Tensor& x) {
    const auto call = [&](const char* name, const Recurrent& layer) {
      const Scope path(name);
      return layer(x);
    };
    const Tensor first = call("forward", forward);
    Tensor second = call("backward", backward);
    if (!sequences) return concatenate({first, second}, 1);
    return concatenate({first, second(all, slice(end, end, -1))}, 2);
  };
}

template Layer bidirectional<SimpleRnn>(std::int64_t, RecurrentOptions);
template Layer bidirectional<Lstm>(std::int64_t, RecurrentOptions);
template Layer bidirectional<Gru>(std::int64_t, RecurrentOptions);

}  // namespace kroton::nn
