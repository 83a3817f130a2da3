// Metrics of scores in their order, on the host.
#include <kroton/error.h>
#include <kroton/nn_metrics.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

namespace kroton::nn {

namespace {

[[noreturn]] void fail(const char* name, const std::string& what) {
  throw ValueError(std::string(name) + ": " + what);
}

// How many 1 and 0 have scores as large as the threshold, for each threshold from the highest on.
struct Ranked {
  struct Place {
    double ones, zeros;  // at this threshold alone
  };
  std::vector<Place> places;
  double ones = 0, zeros = 0;
};

Ranked ranked(const char* name, const Array& scores, const Array& labels) {
  if (scores.size() != labels.size()) {
    throw ShapeError(std::string(name) + ": scores are " + to_string(scores.shape()) +
                     ", labels are " + to_string(labels.shape()) + ": each score has a label");
  }
  const Array all_scores = scores.contiguous().cast(f64),
              all_labels = labels.contiguous().cast(f64);
  const auto score = all_scores.data<double>(), label = all_labels.data<double>();
  for (std::size_t k = 0; k < score.size(); ++k) {
    if (std::isnan(score[k])) fail(name, "score " + std::to_string(k) + " is NaN");
    if (label[k] != 0 && label[k] != 1) {
      fail(name, "label " + std::to_string(k) + " is " + to_string(Array(label[k])) +
                     ", expected 0 or 1");
    }
  }
  std::vector<std::size_t> order(score.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return score[a] > score[b]; });
  Ranked result;
  for (std::size_t k = 0; k < order.size(); ++k) {
    if (k == 0 || score[order[k]] != score[order[k - 1]]) result.places.push_back({0, 0});
    const bool is_one = label[order[k]] == 1;
    (is_one ? result.places.back().ones : result.places.back().zeros) += 1;
    (is_one ? result.ones : result.zeros) += 1;
  }
  if (result.ones == 0) fail(name, "no label is 1");
  return result;
}

}  // namespace

double roc_auc(const Array& scores, const Array& labels) {
  const Ranked all = ranked("roc_auc", scores, labels);
  if (all.zeros == 0) fail("roc_auc", "no label is 0");
  double area = 0, ones = 0;  // the ones above a threshold
  for (const Ranked::Place& place : all.places) {
    area += place.zeros * (ones + place.ones / 2);
    ones += place.ones;
  }
  return area / (all.ones * all.zeros);
}

double average_precision(const Array& scores, const Array& labels) {
  const Ranked all = ranked("average_precision", scores, labels);
  double sum = 0, ones = 0, zeros = 0;
  for (const Ranked::Place& place : all.places) {
    ones += place.ones;
    zeros += place.zeros;
    sum += place.ones / all.ones * (ones / (ones + zeros));
  }
  return sum;
}

}  // namespace kroton::nn
