// Restricted Boltzmann machines of binary units.
#pragma once
#include <kroton/nn_layers.h>

#include <cstdint>
#include <string>
#include <vector>

namespace kroton::nn {

// p(v, h) is in proportion to exp(v . visible_bias + h . hidden_bias + v weight h) over v (visible)
// and h (hidden) of 0 and 1: Smolensky (1986), Hinton (2002). Parameters: weight (visible, hidden),
// visible_bias, hidden_bias, f32.
struct RbmOptions {
  Initializer weight = normal(0.01);
  // How many chains persist from call to call (Tieleman, 2008), from zeros on; 0: each call's start
  // from its data.
  std::int64_t chains = 0;
  std::string name = {};
};
class Rbm {
 public:
  static constexpr const char* kind = "rbm";
  Rbm(std::int64_t visible, std::int64_t hidden, RbmOptions options = {},
      const Location& at = Location::current());

  // Probabilities: of the hidden units given v (batch, visible), which is what the machine is as a
  // layer, and of the visible ones given h (batch, hidden). v and h are floating, from 0 to 1.
  Tensor operator()(const Tensor& v) const { return hidden_given(v); }
  Tensor hidden_given(const Tensor& v) const;
  Tensor visible_given(const Tensor& h) const;
  // -log of the sum over h of the above, (batch): p(v) is in proportion to exp(-free_energy(v)).
  Tensor free_energy(const Tensor& v) const;
  // Where v comes to when hidden and visible units are drawn in turn `steps` times, 0 for none:
  // numbers 0 and 1, other ones in each call, constants for gradients. The draws are those of
  // kt::nn::random_numbers().
  Tensor gibbs(const Tensor& v, std::int64_t steps) const;

  struct Divergence {
    // mean free_energy(v) - mean free_energy(samples): its gradient is that of contrastive
    // divergence, its value says little.
    Tensor loss;
    Tensor samples;  // (batch, visible), or of the chains
    // The mean over the batch of -log p(v | h drawn once given v): what is worth watching. A
    // function that has it draws once more.
    Tensor reconstruction;
  };
  // CD-k, or with persistent chains PCD-k, for k >= 1 steps. A function of the loss or of its
  // gradients moves the chains on by itself:
  //
  //     const auto cd = rbm.contrastive_divergence(v, 1);
  //     const auto step = kt::function({v}, cd.loss, {.updates = sgd.minimize(cd.loss,
  //                                                                           rbm.parameters())});
  Divergence contrastive_divergence(const Tensor& v, std::int64_t k) const;

  // weight, visible_bias, hidden_bias.
  std::vector<Shared> parameters() const;
  // These and the chains: what a checkpoint holds.
  std::vector<Shared> state() const;
  // The persistent chains, (chains, visible). ValueError where there are none.
  Shared chains() const;
  const std::string& name() const { return options_.name; }

 private:
  std::int64_t visible_, hidden_;
  RbmOptions options_;
  Parameters parameters_;
  SourceLine line_;
};

}  // namespace kroton::nn
