// Four problems on which tools for derivatives are compared, with their derivatives written by
// hand: loops over scalars, as one writes them. The problems are those of Srajer, Kukelova and
// Fitzgibbon, "A benchmark of selected algorithmic differentiation tools on some problems in
// computer vision and machine learning", 2018.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench::by_hand {

using Numbers = std::vector<double>;

// Negative log-likelihood of points under a mixture of Gaussians with a Wishart prior. Of each of
// k Gaussians of d dimensions: its weight before a softmax, its mean, and the inverse factor of its
// covariance: d logarithms of the diagonal, then the rows of the strict lower triangle.
struct Mixture {
  std::size_t n = 0, d = 0, k = 0;
  Numbers alphas = {}, means = {}, factors = {},
          points = {};  // (k), (k, d), (k, d (d + 1) / 2), (n, d)
  double gamma = 1;
  int m = 0;

  double value() const;
  // By alphas, means and factors, joined.
  double gradient(Numbers& result) const;
};

// Where cameras see points. A camera: a turn, its place, its focal length, the centre of its
// picture, two numbers of radial distortion.
struct Bundle {
  static constexpr std::size_t camera_size = 11, row = 15;
  std::size_t cameras = 0, points = 0, seen = 0;
  Numbers camera = {}, point = {}, weight = {},
          features = {};  // (cameras, 11), (points, 3), (seen), (seen, 2)
  std::vector<std::int64_t> camera_of = {}, point_of = {};

  // Errors of the places, (seen, 2), then 1 - w^2 of the weights, (seen).
  void values(Numbers& result) const;
  // The parts that are not 0: (seen, 2, 15), by camera, point and weight, and (seen).
  void jacobian(Numbers& result) const;
};

// Points on the skin of a hand. Each of four joints on five fingers turns by an angle, the first
// also sideways; the whole hand turns and moves.
struct Hand {
  static constexpr std::size_t bones = 21, parameters = 6 + 5 * 5;
  std::size_t points = 0;
  Numbers theta = {};     // (31): a turn, a move, then by finger: sideways, and four angles
  Numbers rest = {};      // (21, 3): where each bone begins in the one before, the wrist first
  Numbers skin = {};      // (points, 3), in the hand at rest
  Numbers share = {};     // (points, 21): how much of each point goes with each bone
  Numbers measured = {};  // (points, 3)

  void values(Numbers& result) const;    // (points, 3)
  void jacobian(Numbers& result) const;  // (31, points, 3)
};

// A network of LSTM layers whose weights are diagonal, which predicts the next element of a
// sequence: the mean of the cross-entropy.
struct Lstm {
  std::size_t layers = 0, steps = 0, width = 0;
  Numbers main = {}, extra = {}, state = {}, sequence = {};  // (layers, 8, width), (3, width),
                                                             // (layers, 2, width), (steps, width)
  double value() const;
  // By main and extra, joined.
  double gradient(Numbers& result) const;
};

// Of those sizes, with the same numbers each time.
Mixture mixture(std::size_t n, std::size_t d, std::size_t k);
Bundle bundle(std::size_t cameras, std::size_t points, std::size_t seen);
Hand hand(std::size_t points);
Lstm lstm(std::size_t layers, std::size_t steps, std::size_t width);

// What `use` makes of the problem of that name, "gmm", "ba", "hand" or "lstm", at those sizes.
template <class Use>
auto with_problem(const std::string& name, const std::vector<std::size_t>& n, const Use& use) {
  if (name == "gmm") return use(mixture(n.at(0), n.at(1), n.at(2)));
  if (name == "ba") return use(bundle(n.at(0), n.at(1), n.at(2)));
  if (name == "hand") return use(hand(n.at(0)));
  if (name == "lstm") return use(lstm(n.at(0), n.at(1), n.at(2)));
  throw std::runtime_error("no such problem: " + name);
}

}  // namespace bench::by_hand
