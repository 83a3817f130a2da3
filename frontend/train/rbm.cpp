// Restricted Boltzmann machines.
#include <kroton/error.h>
#include <kroton/nn_rbm.h>
#include <kroton/ops.h>
#include <kroton/scan.h>

#include "frontend/train/layer_tools.h"

namespace kroton::nn {

Rbm::Rbm(std::int64_t visible, std::int64_t hidden, RbmOptions options, const Location& at)
    : visible_(visible),
      hidden_(hidden),
      options_(std::move(options)),
      parameters_(options_.name),
      line_(line_of(at)) {
  if (visible < 1 || hidden < 1) {
    fail("Rbm",
         std::to_string(visible) + " visible and " + std::to_string(hidden) + " hidden units",
         line_);
  }
  if (options_.chains < 0) fail("Rbm", "chains is " + std::to_string(options_.chains), line_);
}

std::vector<Shared> Rbm::parameters() const {
  return {parameters_.get("weight", {visible_, hidden_}, options_.weight, {visible_, hidden_}),
          parameters_.get("visible_bias", {visible_}, zeros()),
          parameters_.get("hidden_bias", {hidden_}, zeros())};
}

Shared Rbm::chains() const {
  if (options_.chains == 0) fail("Rbm", "has no persistent chains", line_);
  return parameters_.get("chains", {options_.chains, visible_}, zeros(), {}, f32, true);
}

std::vector<Shared> Rbm::state() const {
  std::vector<Shared> all = parameters();
  if (options_.chains > 0) all.push_back(chains());
  return all;
}

namespace {

// Units of which an example has one number each.
void check_units(const Tensor& x, const char* what, std::int64_t units, const SourceLine& line) {
  check_input("Rbm", x, 2, 2, what, line);
  if (differ(x.shape(1), Dim(units))) {
    fail_shape("Rbm", x, "there are " + std::to_string(units) + " units", line);
  }
}

}  // namespace

Tensor Rbm::hidden_given(const Tensor& v) const {
  const LineScope scope(line_, "Rbm");
  check_units(v, "(batch, visible)", visible_, line_);
  const std::vector<Shared> p = parameters();
  return kroton::sigmoid(times_matrix(v, p[0]) + p[2]);
}

Tensor Rbm::visible_given(const Tensor& h) const {
  const LineScope scope(line_, "Rbm");
  check_units(h, "(batch, hidden)", hidden_, line_);
  const std::vector<Shared> p = parameters();
  return kroton::sigmoid(times_matrix(h, transpose(p[0])) + p[1]);
}

Tensor Rbm::free_energy(const Tensor& v) const {
  const LineScope scope(line_, "Rbm");
  check_units(v, "(batch, visible)", visible_, line_);
  const std::vector<Shared> p = parameters();
  return -dot(v, p[1]) - sum(kroton::softplus(times_matrix(v, p[0]) + p[2]), 1);
}

Tensor Rbm::gibbs(const Tensor& v, std::int64_t steps) const {
  const LineScope scope(line_, "Rbm");
  check_units(v, "(batch, visible)", visible_, line_);
  if (steps < 0) fail("Rbm", "gibbs of " + std::to_string(steps) + " steps", line_);
  if (steps == 0) return stop_gradient(v);
  const RandomStream& random = random_numbers();
  const auto drawn = [&](const Tensor& probabilities) {
    return cast(random.bernoulli(probabilities.shape(), probabilities), v.dtype());
  };
  const Tensor states =
      scan([&](const Tensor& now) { return drawn(visible_given(drawn(hidden_given(now)))); },
           {.outputs_info = {stop_gradient(v)}, .n_steps = steps, .name = "gibbs"});
  return stop_gradient(states[-1]);
}

Rbm::Divergence Rbm::contrastive_divergence(const Tensor& v, std::int64_t k) const {
  const LineScope scope(line_, "Rbm");
  if (k < 1) fail("Rbm", "contrastive divergence of " + std::to_string(k) + " steps", line_);
  Divergence result;
  if (options_.chains > 0) {
    const Shared persistent = chains();
    const Tensor next = gibbs(persistent, k);
    result.samples = with_update(next, persistent, next);
  } else {
    result.samples = gibbs(v, k);
  }
  result.loss = mean(free_energy(v)) - mean(free_energy(result.samples));
  const Tensor hidden = hidden_given(v);
  const Tensor drawn = cast(random_numbers().bernoulli(hidden.shape(), hidden), v.dtype());
  const Tensor logits =
      times_matrix(stop_gradient(drawn), transpose(parameters()[0])) + parameters()[1];
  result.reconstruction = mean(sum(kroton::softplus(logits) - v * logits, 1));
  return result;
}

}  // namespace kroton::nn
