// Recurrent layers: x (batch, steps, features) -> the last state (batch, units), or with
// `sequences` the states of all steps (batch, steps, units). Without `sequences` no steps are an
// error, of the call where their number is free.
#pragma once
#include <kroton/index.h>
#include <kroton/nn_layers.h>

#include <cstdint>
#include <string>
#include <vector>

namespace kroton::nn {

struct RecurrentOptions {
  bool sequences = false;
  bool backwards = false;  // from the last step to the first; the states stand in that order
  Initializer weight = glorot_uniform();
  Initializer recurrent = orthogonal();
  std::string name = {};
  // The size of the batches of a layer that goes on from call to call: its last state, which is
  // part of a network's state(), is where the next call of the function starts. 0: from zeros. Not
  // inside of a scan, and once in a function.
  std::int64_t stateful = 0;
  bool peepholes = false;  // of Lstm only
};

// What a recurrent layer gives in full.
struct RecurrentResult {
  Tensor outputs;  // of all steps (batch, steps, units), in the order they were taken
  // The last: {h}, of Lstm {h, c}, (batch, units) each. Of no steps the initial one; where the
  // number of steps is free, none is an error of the call of a function of the state.
  std::vector<Tensor> state;
};

// What the three layers have in common.
class RecurrentLayer {
 public:
  // Steps for which mask (batch, steps) is not 0; in the others the state stays.
  Tensor operator()(const Tensor& x, const Tensor& mask = {}) const;
  // From an initial state {h}, of Lstm {h, c}, on; from zeros where the list is empty (from the
  // last state if stateful). An encoder and a decoder:
  //
  //     const auto encoded = encoder.run(x);
  //     const auto decoded = decoder.run(y, encoded.state);
  RecurrentResult run(const Tensor& x, const std::vector<Tensor>& initial = {},
                      const Tensor& mask = {}) const;
  // Zeros as the last state of a stateful layer. ValueError for one that is not.
  void reset_state() const;
  const std::string& name() const { return options_.name; }
  const RecurrentOptions& options() const { return options_; }
  // How many tensors a state has.
  std::size_t states() const { return cell_ == Cell::lstm ? 2 : 1; }

 protected:
  enum class Cell : std::uint8_t { simple, lstm, gru };
  RecurrentLayer(Cell cell, std::int64_t units, RecurrentOptions options, const Location& at);
  ~RecurrentLayer() = default;
  RecurrentLayer(const RecurrentLayer&) = default;
  RecurrentLayer& operator=(const RecurrentLayer&) = default;

 private:
  struct Loop;
  // With `last` only the last h counts; otherwise all of the result.
  RecurrentResult call(const Tensor& x, const std::vector<Tensor>& initial, const Tensor& mask,
                       bool last) const;
  // The last state of a stateful layer.
  std::vector<Shared> kept(DType dtype) const;

  Cell cell_;
  std::int64_t units_;
  RecurrentOptions options_;
  Parameters parameters_;
  SourceLine line_;
};

// h' = tanh(x weight + h recurrent + bias): weight (features, units), recurrent (units, units),
// bias (units). Of PyTorch's: weight_ih^T, weight_hh^T, bias_ih + bias_hh.
class SimpleRnn : public RecurrentLayer {
 public:
  static constexpr const char* kind = "rnn";
  explicit SimpleRnn(std::int64_t units, RecurrentOptions options = {},
                     const Location& at = Location::current());
};
// i, f, g, o = the four parts, in this order (PyTorch's), of x weight + h recurrent + bias, whose
// last axes are 4 * units;
// c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'). The bias of f starts from 1.
// Of PyTorch's: weight_ih^T, weight_hh^T, bias_ih + bias_hh. With peepholes i and f see c too, and
// o sees c', each by a weight a unit, peephole (3, units) in the order i, f, o: Gers et al. (2002).
class Lstm : public RecurrentLayer {
 public:
  static constexpr const char* kind = "lstm";
  explicit Lstm(std::int64_t units, RecurrentOptions options = {},
                const Location& at = Location::current());
};
// r, z, n = the three parts, in this order (PyTorch's): r and z are sigmoids of x weight + bias + h
// recurrent + recurrent_bias, n = tanh(x weight + bias + r (h recurrent + recurrent_bias));
// h' = (1 - z) n + z h. Of PyTorch's: weight_ih^T, weight_hh^T, bias_ih, bias_hh.
class Gru : public RecurrentLayer {
 public:
  static constexpr const char* kind = "gru";
  explicit Gru(std::int64_t units, RecurrentOptions options = {},
               const Location& at = Location::current());
};

// `layers` recurrent layers, each on the states of the one before, "layer1" to "layerN": the result
// is that of the last.
struct StackedOptions {
  double dropout = 0;               // while training, between the layers
  RecurrentOptions recurrent = {};  // of each; `sequences` of the last; not `backwards`
};
template <class Recurrent>
class Stacked {
 public:
  static constexpr const char* kind = "stacked";
  Stacked(std::int64_t units, std::int64_t layers, StackedOptions options = {},
          const Location& at = Location::current());
  Tensor operator()(const Tensor& x, const Tensor& mask = {}) const;
  // The states of all layers, one after the other: {h1, c1, h2, c2} of two Lstms.
  RecurrentResult run(const Tensor& x, const std::vector<Tensor>& initial = {},
                      const Tensor& mask = {}) const;
  void reset_state() const;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  std::vector<Recurrent> layers_;
  Dropout dropout_;
  bool sequences_;
  SourceLine line_;
};
extern template class Stacked<SimpleRnn>;
extern template class Stacked<Lstm>;
extern template class Stacked<Gru>;

// Two directions of one recurrent layer, "forward" and "backward", with `backwards` off and on; the
// last axes are joined. With `sequences` both stand in the order of the steps. A mask leaves out
// the same steps of both.
template <class Recurrent>
class Bidirectional {
 public:
  static constexpr const char* kind = "bidirectional";
  explicit Bidirectional(std::int64_t units, RecurrentOptions options = {},
                         const Location& at = Location::current());
  Tensor operator()(const Tensor& x, const Tensor& mask = {}) const;
  void reset_state() const;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  Recurrent forward_, backward_;
  SourceLine line_;
};
extern template class Bidirectional<SimpleRnn>;
extern template class Bidirectional<Lstm>;
extern template class Bidirectional<Gru>;

template <class Recurrent>
Bidirectional<Recurrent> bidirectional(std::int64_t units, RecurrentOptions options = {},
                                       const Location& at = Location::current()) {
  return Bidirectional<Recurrent>(units, std::move(options), at);
}

}  // namespace kroton::nn
