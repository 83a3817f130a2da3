// Layers one after the other.
#pragma once
#include <kroton/nn_layers.h>

#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace kroton::nn {

// Layers one after the other. Parameters are named after the layer: its own name, or its kind and
// number, as "conv1.weight". It is a layer, too.
class Sequential {
 public:
  static constexpr const char* kind = "net";
  Sequential(std::initializer_list<Layer> layers, std::string name = {});
  explicit Sequential(std::vector<Layer> layers, std::string name = {});
  Tensor operator()(const Tensor& x) const;
  // The same while training.
  Tensor train(const Tensor& x) const;
  const std::string& name() const { return name_; }

  // The parameters that training changes, in the order of the layers. ValueError before the first
  // call, which makes them.
  std::vector<Shared> parameters() const;
  // Those of this path and below it: loss + 1e-4 * kt::nn::l2(net.parameters("dense1")) draws one
  // layer's to 0. ValueError, which lists paths that are near, if there are none.
  std::vector<Shared> parameters(const std::string& path) const;
  // These, those that are frozen, and running statistics: what a checkpoint holds.
  std::vector<Shared> state() const;
  // How many numbers the parameters have, frozen ones included.
  std::int64_t parameter_count() const;
  // Whether training changes the parameter of this path, or all below it ("conv1"). ValueError,
  // which lists paths that are near, if there are none.
  void set_trainable(const std::string& path, bool trainable) const;
  // A table of the layers as they were called last: the shapes that they give, their parameters,
  // the millions of floating operations of their products and convolutions (a multiplication and an
  // addition each) and the MiB of what they give. Sizes that are not known count as `sizes` says by
  // their names ({{"batch", 32}}), as 1 otherwise: the work of one example. "?" where a window is
  // larger than such a picture. A layer of one's own counts what it calls layers for, and what it
  // notes (Recorder::note_multiply_adds).
  std::string summary(const std::map<std::string, std::int64_t>& sizes = {}) const;

 private:
  struct Call {
    std::string name;
    TensorType gives;
    std::int64_t parameters = 0;
    Dim multiply_adds = {};
  };
  struct Made {
    std::vector<std::shared_ptr<Parameter>> parameters;
    std::vector<Call> calls;
    bool is_called = false;
  };
  std::vector<std::shared_ptr<Parameter>> below(const char* what, const std::string& path) const;
  std::vector<Layer> layers_;
  std::vector<std::string> names_;
  std::string name_;
  std::shared_ptr<Made> made_;
};

}  // namespace kroton::nn
