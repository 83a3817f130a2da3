// Layers made of layers: around a shortcut, side by side.
#pragma once
#include <kroton/nn_network.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace kroton::nn {

// activation(x + f(x)) with f the layers one after the other: He et al. (2016). Where f changes the
// shape, `projection` brings x to it: activation(projection(x) + f(x)). ShapeError where the two
// have different shapes; nothing broadcasts.
struct ResidualOptions {
  std::optional<Layer> projection = {};
  Activation activation = {};
  std::string name = {};
};
class Residual {
 public:
  static constexpr const char* kind = "residual";
  Residual(std::initializer_list<Layer> layers, ResidualOptions options = {},
           const Location& at = Location::current());
  explicit Residual(std::vector<Layer> layers, ResidualOptions options = {},
                    const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return options_.name; }

 private:
  Sequential layers_;
  ResidualOptions options_;
  SourceLine line_;
};

// What each branch gives of the same x, joined along `axis`: by default the channels (axis 1 of
// channels first). Branches are named as layers of a Sequential are. A branch of several layers is
// a Sequential, one that hands on x itself kt::nn::identity().
struct ConcatenateOptions {
  int axis = 1;
  std::string name = {};
};
class Concatenate {
 public:
  static constexpr const char* kind = "concatenate";
  Concatenate(std::initializer_list<Layer> branches, ConcatenateOptions options = {},
              const Location& at = Location::current());
  explicit Concatenate(std::vector<Layer> branches, ConcatenateOptions options = {},
                       const Location& at = Location::current());
  Tensor operator()(const Tensor& x) const;
  const std::string& name() const { return options_.name; }

 private:
  std::vector<Layer> branches_;
  std::vector<std::string> names_;
  ConcatenateOptions options_;
  SourceLine line_;
};

// A layer that gives what it is called on.
Layer identity();

}  // namespace kroton::nn
