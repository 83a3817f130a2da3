// Programs that are measured for the time to compile them, too.
#include "programs.h"

namespace kt = kroton;

namespace bench {
namespace {

using T = kt::Tensor;

Program product(const Sizes& n) {
  Inputs in;
  const auto x = in.known({n[0], n[0]}), y = in.known({n[0], n[0]});
  return in.gives({kt::dot(x, y)});
}

// Points on the bones of a hand, each turned and moved against the one before on its finger:
// a product of 3 x 3 matrices for each bone, and slices at other offsets for each.
Program hand(const Sizes& n) {
  Inputs in;
  const std::int64_t bones = n[0], points = n[1];
  const auto angles = in.known({3 * bones});
  const auto base = in.known({bones, 3, points}), seen = in.known({bones, 3, points});
  std::vector<T> found;
  T turn;
  for (std::int64_t k = 0; k < bones; ++k) {
    const auto a = angles[3 * k], b = angles[3 * k + 1], c = angles[3 * k + 2];
    const auto cosine = kt::cos(a), sine = kt::sin(a);
    const auto own =
        kt::reshape(kt::stack({cosine, -sine, b, sine, cosine, c, -b, -c, kt::cos(b)}), {3, 3});
    turn = k % 4 == 0 ? own : kt::dot(turn, own);
    found.push_back(kt::dot(turn, base[k]));
  }
  const auto loss = kt::sum(kt::square(kt::stack(found) - seen));
  return in.gives({loss, kt::grad(loss, angles)});
}

// A training step of a variational autoencoder: (batch, inputs, hidden, code).
Program autoencoder(const Sizes& n) {
  Inputs in;
  const auto w1 = in.parameter({n[1], n[2]}, 0.1), b1 = in.parameter({n[2]}, 0.1);
  const auto wm = in.parameter({n[2], n[3]}, 0.1), wv = in.parameter({n[2], n[3]}, 0.1);
  const auto w3 = in.parameter({n[3], n[2]}, 0.1), b3 = in.parameter({n[2]}, 0.1);
  const auto w4 = in.parameter({n[2], n[1]}, 0.1), b4 = in.parameter({n[1]}, 0.1);
  const auto x = in.data({n[0], n[1]}) + 0.5, noise = in.data({n[0], n[3]});
  const auto hidden = kt::relu(kt::dot(x, w1) + b1);
  const auto mean = kt::dot(hidden, wm), logarithm = kt::dot(hidden, wv);
  const auto code = mean + kt::exp(0.5 * logarithm) * noise;
  const auto logits = kt::dot(kt::relu(kt::dot(code, w3) + b3), w4) + b4;
  const auto apart = 0.5 * kt::sum(kt::exp(logarithm) + kt::square(mean) - 1 - logarithm);
  const auto loss =
      kt::mean(kt::sum(kt::softplus(logits) - x * logits, 1)) + apart / static_cast<double>(n[0]);
  return in.gives({loss}, {.updates = descent("sgd", loss, {w1, b1, wm, wv, w3, b3, w4, b4})});
}

// With a constant of the program's own.
Program constant(const Sizes& n) {
  static const kt::Array table = filled({12'500'000}, 7);
  const kt::Array used = n[0] == table.shape()[0] ? table : filled({n[0]}, 7);
  Inputs in;
  return in.gives({kt::sum(in.data({n[0]}) * used)});
}

// So many layers of a product, a slice, a join and a reduction, and the gradient.
Program layers(const Sizes& n) {
  Inputs in;
  const auto w = in.known({16, 16}, 0.9), x = in.known({8, 16});
  T y = x;
  for (std::int64_t k = 0; k < n[0]; ++k) {
    const auto z = kt::tanh(kt::dot(y, w) + 0.01 * static_cast<double>(k));
    const auto turned =
        kt::concatenate({z(kt::all, kt::slice(4, kt::end)), z(kt::all, kt::slice(0, 4))}, 1);
    y = turned - kt::mean(z, 1, true);
  }
  const auto loss = kt::sum(kt::square(y));
  return in.gives({kt::grad(loss, w)});
}

}  // namespace

Family graph_programs() {
  return {{"product", product},
          {"hand", hand},
          {"autoencoder", autoencoder},
          {"constant", constant},
          {"layers", layers}};
}

}  // namespace bench
