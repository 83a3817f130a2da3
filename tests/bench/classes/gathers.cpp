// Gathers, scatters, and updates of few rows.
#include "programs.h"

namespace kt = kroton;

namespace bench {
namespace {

using T = kt::Tensor;

// (table's rows, width, how many are taken)
Program take_rows(const Sizes& n) {
  Inputs in;
  const auto table = in.known({n[0], n[1]});
  return in.gives({kt::take(table, in.numbers({n[2]}, n[0]))});
}

Program take_rows_gradient(const Sizes& n) {
  Inputs in;
  const auto table = in.known({n[0], n[1]});
  const auto taken = kt::take(table, in.numbers({n[2]}, n[0]));
  return in.gives({kt::grad(weighed(taken, in.data({n[2], n[1]})), table)});
}

Program take_columns(const Sizes& n) {
  Inputs in;
  const auto table = in.data({n[0], n[1]});
  return in.gives({kt::take(table, in.numbers({n[2]}, n[1]), 1)});
}

// (rows of the result, width, rows that are added)
Program scatter(const Sizes& n) {
  Inputs in;
  const auto values = in.data({n[2], n[1]});
  return in.gives({kt::scatter_add(values, in.numbers({n[2]}, n[0]), {n[0], n[1]})});
}

// (places, numbers)
Program histogram(const Sizes& n) {
  Inputs in;
  const auto weights = in.data({n[1]});
  return in.gives({kt::scatter_add(weights, in.numbers({n[1]}, n[0]), {n[0]})});
}

Program pick(const Sizes& n) {
  Inputs in;
  const auto x = in.data({n[0], n[1]});
  return in.gives({kt::pick(kt::log_softmax(x), in.labels({n[0]}, n[1]))});
}

// (nodes, points): linear between the nodes of a table.
Program interpolation(const Sizes& n) {
  Inputs in;
  const auto table = in.known({n[0]}), at = (in.data({n[1]}) + 0.5) * (n[0] - 2);
  const auto node = kt::floor(at), part = at - node;
  const auto index = kt::cast(node, kt::i64);
  return in.gives({kt::take(table, index) * (1 - part) + kt::take(table, index + 1) * part});
}

struct Bundle {
  Inputs in;
  T cameras, points, residuals;
};

// (cameras, points, observations): a camera turns, moves, projects and distorts.
Bundle bundle(const Sizes& n) {
  Bundle made;
  made.cameras = made.in.known({n[0], 9});
  made.points = made.in.known({n[1], 3});
  const auto camera = kt::take(made.cameras, made.in.numbers({n[2]}, n[0]));
  const auto point = kt::take(made.points, made.in.numbers({n[2]}, n[1]));
  const auto seen = made.in.data({n[2], 2});
  const auto of = [&](int k) { return camera(kt::all, k); };
  const auto x = point(kt::all, 0), y = point(kt::all, 1), z = point(kt::all, 2);
  const auto square = of(0) * of(0) + of(1) * of(1) + of(2) * of(2) + 1e-4;
  const auto angle = kt::sqrt(square), cosine = kt::cos(angle), sine = kt::sin(angle) / angle;
  const auto along = (of(0) * x + of(1) * y + of(2) * z) * (1 - cosine) / square;
  const auto turned = [&](const T& p, const T& a, const T& cross) {
    return p * cosine + cross * sine + a * along;
  };
  const auto px = turned(x, of(0), of(1) * z - of(2) * y) + of(3);
  const auto py = turned(y, of(1), of(2) * x - of(0) * z) + of(4);
  const auto pz = turned(z, of(2), of(0) * y - of(1) * x) + of(5) + 5;
  const auto u = px / pz, v = py / pz, radius = u * u + v * v;
  const auto scale = (of(6) + 2) * (1 + radius * (of(7) + of(8) * radius));
  made.residuals = kt::stack({scale * u, scale * v}, 1) - seen;
  return made;
}

Program bundle_residuals(const Sizes& n) {
  const Bundle made = bundle(n);
  return made.in.gives({made.residuals});
}

Program bundle_gradient(const Sizes& n) {
  const Bundle made = bundle(n);
  return made.in.gives(
      kt::grad(kt::sum(kt::square(made.residuals)), std::vector<T>{made.cameras, made.points}));
}

// Values along edges of a graph are added at the nodes they lead to: (nodes, width, edges).
Program message_passing(const Sizes& n) {
  Inputs in;
  const auto nodes = in.known({n[0], n[1]});
  const auto from = in.numbers({n[2]}, n[0]), to = in.numbers({n[2]}, n[0]);
  return in.gives({kt::scatter_add(kt::relu(kt::take(nodes, from)), to, {n[0], n[1]})});
}

// (rows of the table, width, rows in a step)
template <const char* kind>
Program embedding_step(const Sizes& n) {
  Inputs in;
  const auto table = in.parameter({n[0], n[1]}), weights = in.parameter({n[1]});
  const auto rows = kt::take(table, in.numbers({n[2]}, n[0]));
  const auto loss = kt::mean(kt::square(kt::dot(kt::tanh(rows), weights) - in.data({n[2]})));
  return in.gives({loss}, {.updates = descent(kind, loss, {table, weights})});
}

constexpr char sgd[] = "sgd", momentum[] = "momentum", adam[] = "adam";

}  // namespace

Family gather_programs() {
  return {{"take_rows", take_rows},
          {"take_rows_gradient", take_rows_gradient},
          {"take_columns", take_columns},
          {"scatter", scatter},
          {"histogram", histogram},
          {"pick", pick},
          {"interpolation", interpolation},
          {"bundle", bundle_residuals},
          {"bundle_gradient", bundle_gradient},
          {"message_passing", message_passing}};
}

Family sparse_programs() {
  return {{"embedding_sgd", embedding_step<sgd>},
          {"embedding_momentum", embedding_step<momentum>},
          {"embedding_adam", embedding_step<adam>}};
}

}  // namespace bench
