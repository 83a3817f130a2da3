// Optimisers that keep a state of the parameters' size.
#include <stdexcept>

#include "programs.h"

namespace kt = kroton;

namespace bench {
namespace {

Program alone(const std::string& kind, const Sizes& n) {
  Inputs in;
  const auto p = in.parameter({n[0]});
  const auto loss = 0.5 * kt::sum(kt::square(p - in.known({n[0]})));
  return in.gives({loss}, {.updates = descent(kind, loss, {p})});
}

// (batch, inputs, hidden, classes)
Program classifier(const std::string& kind, const Sizes& n) {
  Inputs in;
  const auto w1 = in.parameter({n[1], n[2]}, 0.1), b1 = in.parameter({n[2]}, 0.1);
  const auto w2 = in.parameter({n[2], n[3]}, 0.1), b2 = in.parameter({n[3]}, 0.1);
  const auto x = in.data({n[0], n[1]}), labels = in.labels({n[0]}, n[3]);
  const auto logits = kt::dot(kt::relu(kt::dot(x, w1) + b1), w2) + b2;
  const auto loss = kt::mean(kt::softmax_cross_entropy(logits, labels));
  return in.gives({loss}, {.updates = descent(kind, loss, {w1, b1, w2, b2})});
}

}  // namespace

std::vector<kt::Update> descent(const std::string& kind, const kt::Tensor& loss,
                                const std::vector<kt::Shared>& parameters) {
  const std::vector<kt::Tensor> gradients = kt::grad(loss, parameters);
  std::vector<kt::Update> updates;
  const auto zeros_like = [](const kt::Shared& p) {
    return kt::shared(kt::Array::zeros(p.get_value().shape()));
  };
  kt::Tensor first_share, second_share;
  if (kind == "adam") {
    const auto steps = kt::shared(0.0F);
    const auto now = steps + 1;
    updates.emplace_back(steps, now);
    first_share = 1 - kt::pow(0.9, now);
    second_share = kt::sqrt(1 - kt::pow(0.999, now));
  }
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const kt::Shared& p = parameters[k];
    const kt::Tensor& g = gradients[k];
    if (kind == "sgd") {
      updates.emplace_back(p, p - 0.01 * g);
    } else if (kind == "momentum") {
      const auto velocity = zeros_like(p);
      const auto next = 0.9 * velocity + g;
      updates.emplace_back(velocity, next);
      updates.emplace_back(p, p - 0.01 * next);
    } else if (kind == "adam") {
      const auto first = zeros_like(p), second = zeros_like(p);
      const auto m = 0.9 * first + 0.1 * g;
      const auto v = 0.999 * second + 0.001 * kt::square(g);
      updates.emplace_back(first, m);
      updates.emplace_back(second, v);
      updates.emplace_back(p, p - 0.001 / first_share * m / (kt::sqrt(v) / second_share + 1e-8));
    } else {
      throw std::runtime_error("no such optimiser: " + kind);
    }
  }
  return updates;
}

Family optimiser_programs() {
  Family programs;
  for (const std::string kind : {"sgd", "momentum", "adam"}) {
    programs[kind] = [kind](const Sizes& n) { return alone(kind, n); };
    programs[kind + "_classifier"] = [kind](const Sizes& n) { return classifier(kind, n); };
  }
  return programs;
}

}  // namespace bench
