#include "problems.h"

#include <cmath>
#include <numbers>

namespace bench {
namespace {

namespace kt = kroton;
using T = kt::Tensor;

std::int64_t number(std::size_t n) { return static_cast<std::int64_t>(n); }

template <class Element>
T add(Problem& problem, const std::string& name, const kt::Shape& shape,
      const std::vector<Element>& values) {
  const kt::Array array = kt::Array::from(values).reshape(shape);
  kt::Dims sizes;
  for (const std::int64_t size : shape) sizes.emplace_back(size);
  problem.inputs.push_back(kt::tensor(name, sizes, array.dtype()));
  problem.arguments.push_back(array);
  return problem.inputs.back();
}

T joined(const std::vector<T>& parts) {
  std::vector<T> flat;
  for (const T& part : parts) flat.push_back(kt::reshape(part, {kt::element_count(part.shape())}));
  return kt::concatenate(flat);
}

// sum log gamma(a + (1 - j) / 2), with what belongs to it.
double log_gamma_of(double a, std::size_t d) {
  const auto size = static_cast<double>(d);
  double result = 0.25 * size * (size - 1) * std::log(std::numbers::pi);
  for (std::size_t j = 0; j < d; ++j) result += std::lgamma(a - 0.5 * static_cast<double>(j));
  return result;
}

}  // namespace

Problem problem(const by_hand::Mixture& of) {
  Problem made;
  const std::int64_t n = number(of.n), d = number(of.d), k = number(of.k);
  const auto alphas = add(made, "alphas", {k}, of.alphas);
  const auto means = add(made, "means", {k, d}, of.means);
  const auto factors = add(made, "factors", {k, d * (d + 1) / 2}, of.factors);
  const auto points = add(made, "points", {n, d}, of.points);

  // Matrices with the exponentials on their diagonals.
  std::vector<std::int64_t> places;
  std::vector<double> below;
  for (std::int64_t i = 0; i < d; ++i) {
    for (std::int64_t j = 0; j < d; ++j) {
      places.push_back(j < i ? d + i * (i - 1) / 2 + j : 0);
      below.push_back(j < i ? 1 : 0);
    }
  }
  const auto logs = factors(kt::all, kt::slice(0, d));
  const auto diagonal = kt::exp(logs);
  const auto lower = kt::reshape(kt::take(factors, kt::constant(kt::Array::from(places)), 1) *
                                     kt::constant(kt::Array::from(below)),
                                 {k, d, d});
  const auto matrices = lower + kt::eye(d, std::nullopt, 0, kt::f64) * kt::expand_dims(diagonal, 1);
  const auto turned =
      kt::reshape(kt::dot(points, kt::transpose(kt::reshape(matrices, {k * d, d}))), {n, k, d}) -
      kt::sum(matrices * kt::expand_dims(means, 1), 2);
  const auto terms = alphas + kt::sum(logs, 1) - 0.5 * kt::sum(kt::square(turned), 2);
  const double constant =
      static_cast<double>(n) * 0.5 * static_cast<double>(d) * std::log(2 * std::numbers::pi);
  const double degrees = static_cast<double>(d) + of.m + 1;
  const double prior = static_cast<double>(k) * (degrees * static_cast<double>(d) *
                                                     (std::log(of.gamma) - 0.5 * std::log(2.0)) -
                                                 log_gamma_of(0.5 * degrees, of.d));
  made.value = kt::sum(kt::logsumexp(terms, 1)) - static_cast<double>(n) * kt::logsumexp(alphas) +
               0.5 * of.gamma * of.gamma *
                   (kt::sum(kt::square(diagonal)) +
                    kt::sum(kt::square(factors(kt::all, kt::slice(d, d * (d + 1) / 2))))) -
               static_cast<double>(of.m) * kt::sum(logs) - (constant + prior);
  made.derivatives = kt::grad(made.value, std::vector<T>{alphas, means, factors});
  return made;
}

Problem problem(const by_hand::Bundle& of) {
  Problem made;
  const std::int64_t seen = number(of.seen);
  const auto cameras = add(made, "cameras", {number(of.cameras), 11}, of.camera);
  const auto points = add(made, "points", {number(of.points), 3}, of.point);
  const auto weights = add(made, "weights", {seen}, of.weight);
  const auto features = add(made, "features", {seen, 2}, of.features);
  const auto camera = kt::take(cameras, add(made, "camera_of", {seen}, of.camera_of));
  const auto point = kt::take(points, add(made, "point_of", {seen}, of.point_of));

  // Of each observation, which the Jacobian is by.
  std::vector<T> of_row;
  for (int k = 0; k < 11; ++k) of_row.push_back(camera(kt::all, k));
  for (int k = 0; k < 3; ++k) of_row.push_back(point(kt::all, k));
  of_row.push_back(weights);
  const auto c = [&](std::size_t k) { return of_row[k]; };
  const auto x = c(11) - c(3), y = c(12) - c(4), z = c(13) - c(5);
  const auto square = kt::square(c(0)) + kt::square(c(1)) + kt::square(c(2)) + 1e-300;
  const auto angle = kt::sqrt(square);
  const auto cosine = kt::cos(angle), sine = kt::sin(angle) / angle;
  const auto along = (c(0) * x + c(1) * y + c(2) * z) * (1 - cosine) / square;
  const auto px = x * cosine + (c(1) * z - c(2) * y) * sine + c(0) * along;
  const auto py = y * cosine + (c(2) * x - c(0) * z) * sine + c(1) * along;
  const auto pz = z * cosine + (c(0) * y - c(1) * x) * sine + c(2) * along;
  const auto u = px / pz, v = py / pz, radius = u * u + v * v;
  const auto scale = c(6) * (1 + radius * (c(9) + c(10) * radius));
  const std::vector<T> errors = {weights * (u * scale + c(7) - features(kt::all, 0)),
                                 weights * (v * scale + c(8) - features(kt::all, 1))};
  const auto of_weights = 1 - kt::square(weights);
  made.value = joined({kt::stack(errors, 1), of_weights});

  // Each error depends on its own rows only: the sum's gradient by them is its row of the Jacobian.
  std::vector<T> columns;
  for (const T& error : errors) {
    const auto row = kt::grad(kt::sum(error), of_row, {.allow_unused = true});
    columns.insert(columns.end(), row.begin(), row.end());
  }
  made.derivatives = {kt::stack(columns, 1), kt::grad(kt::sum(of_weights), weights)};
  return made;
}

namespace {

// A turn and a move, of a bone against the one before.
struct Motion {
  T turn, move;
};

Motion after(const Motion& a, const Motion& b) {
  return {kt::dot(a.turn, b.turn), kt::dot(a.turn, b.move) + a.move};
}

T matrix3(const std::vector<T>& elements) { return kt::reshape(kt::stack(elements), {3, 3}); }

}  // namespace

Problem problem(const by_hand::Hand& of) {
  Problem made;
  const std::int64_t points = number(of.points), bones = number(by_hand::Hand::bones);
  const auto theta = add(made, "theta", {number(by_hand::Hand::parameters)}, of.theta);
  const auto rest = add(made, "rest", {bones, 3}, of.rest);
  const auto skin = add(made, "skin", {points, 3}, of.skin);
  const auto share = add(made, "share", {points, bones}, of.share);
  const auto measured = add(made, "measured", {points, 3}, of.measured);

  const auto zero = kt::zeros({}, kt::f64), one = kt::ones({}, kt::f64);
  const auto w = [&](int k) { return theta(k); };
  const auto square = w(0) * w(0) + w(1) * w(1) + w(2) * w(2) + 1e-300;
  const auto angle = kt::sqrt(square);
  const auto c = kt::cos(angle), s = kt::sin(angle) / angle, r = (1 - c) / square;
  std::vector<Motion> moves = {
      {matrix3({c + r * w(0) * w(0), r * w(0) * w(1) - s * w(2), r * w(0) * w(2) + s * w(1),
                r * w(0) * w(1) + s * w(2), c + r * w(1) * w(1), r * w(1) * w(2) - s * w(0),
                r * w(0) * w(2) - s * w(1), r * w(1) * w(2) + s * w(0), c + r * w(2) * w(2)}),
       theta(kt::slice(3, 6)) + rest(0)}};
  std::vector<T> homes = {rest(0)};
  for (int finger = 0; finger < 5; ++finger) {
    for (int k = 0; k < 4; ++k) {
      const int bone = 1 + 4 * finger + k;
      const std::size_t before = k == 0 ? 0 : static_cast<std::size_t>(bone) - 1;
      const auto bent = theta(6 + 5 * finger + 1 + k);
      const auto cx = kt::cos(bent), sx = kt::sin(bent);
      const auto side = theta(6 + 5 * finger);
      const T cz = k == 0 ? kt::cos(side) : one, sz = k == 0 ? kt::sin(side) : zero;
      const auto turn = matrix3({cz, -sz * cx, sz * sx, sz, cz * cx, -cz * sx, zero, sx, cx});
      moves.push_back(after(moves[before], {turn, rest(bone)}));
      homes.push_back(homes[before] + rest(bone));
    }
  }
  // A point goes to the sum over bones of share * (turn * (point - home) + move). What it is of the
  // hand at rest is one row, and the motions of all bones are one matrix.
  std::vector<T> motions;
  for (std::size_t b = 0; b < moves.size(); ++b) {
    const auto moved = moves[b].move - kt::dot(moves[b].turn, homes[b]);
    motions.push_back(kt::concatenate({kt::transpose(moves[b].turn), kt::expand_dims(moved, 0)}));
  }
  const auto places = kt::concatenate({skin, kt::ones({points, 1}, kt::f64)}, 1);
  const auto rows =
      kt::reshape(kt::expand_dims(share, 2) * kt::expand_dims(places, 1), {points, bones * 4});
  const auto all = kt::concatenate(motions);
  const auto placed = kt::dot(rows, all);
  // For one hand it is less work to blend the motions for each point, for 31 tangents to have rows.
  const auto blended = kt::reshape(kt::dot(share, kt::reshape(all, {bones, 12})), {points, 4, 3});
  made.value = kt::sum(blended(kt::all, kt::slice(0, 3)) * kt::expand_dims(skin, 2), 1) +
               blended(kt::all, 3) - measured;
  made.derivatives = {kt::moveaxis(kt::jacobian(placed, theta), 2, 0)};
  return made;
}

Problem problem(const by_hand::Lstm& of) {
  Problem made;
  const std::int64_t layers = number(of.layers), steps = number(of.steps), width = number(of.width);
  const auto main = add(made, "main", {layers, 8, width}, of.main);
  const auto extra = add(made, "extra", {3, width}, of.extra);
  const auto state = add(made, "state", {layers, 2, width}, of.state);
  const auto sequence = add(made, "sequence", {steps, width}, of.sequence);
  const auto loss = kt::scan(
      [&](const T& row, const T& next, const T& before) {
        T x = row * extra(0);
        std::vector<T> now;
        for (int layer = 0; layer < static_cast<int>(layers); ++layer) {
          const auto w = [&](int k) { return main(layer, k); };
          const auto hidden = before(layer, 0), cell = before(layer, 1);
          const auto forget = kt::sigmoid(x * w(0) + w(4)), in = kt::sigmoid(hidden * w(1) + w(5)),
                     out = kt::sigmoid(x * w(2) + w(6)), change = kt::tanh(hidden * w(3) + w(7));
          const auto kept = cell * forget + in * change;
          x = out * kt::tanh(kept);
          now.push_back(kt::stack({x, kept}));
        }
        const auto y = x * extra(1) + extra(2);
        const auto cost = kt::sum(next * (y - kt::log(kt::sum(kt::exp(y)) + 2)));
        return std::pair{cost, kt::stack(now)};
      },
      {.sequences = {sequence(kt::slice(0, steps - 1)), sequence(kt::slice(1, steps))},
       .outputs_info = {kt::none, state}})[0];
  made.value = -kt::sum(loss) / static_cast<double>((steps - 1) * width);
  made.derivatives = kt::grad(made.value, std::vector<T>{main, extra});
  return made;
}

}  // namespace bench
