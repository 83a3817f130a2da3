// Random small graphs, compiled and by the reference interpreter. A failure prints the seed and the
// smallest part of the graph that fails by itself.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/backend/backend_tools.h"

using namespace kroton;        // NOLINT: tests
using namespace backend_test;  // NOLINT: tests

namespace {

class RandomGraph {
 public:
  explicit RandomGraph(std::uint64_t seed) : random_(seed) {
    dtype_ = below(3) == 0 ? DType::f64 : DType::f32;
    const std::int64_t sizes[] = {0, 1, 3, 17};
    for (std::int64_t& size : sizes_) size = sizes[below(4)];
    // 0 is rare: it makes everything around it empty.
    if (sizes_[0] == 0 && below(2) == 0) sizes_[0] = 3;
    free_ = below(2) == 0;
    for (std::size_t k = 0, count = 1 + below(3); k < count; ++k) add_input(k);
    for (std::size_t k = 0, count = 3 + below(12); k < count; ++k) grow();
  }

  Problem problem() const {
    Problem result{inputs_, {}, values_};
    // Everything, so that values have several users and are outputs as well.
    const std::size_t outputs = std::min<std::size_t>(3, pool_.size());
    result.outputs.assign(pool_.end() - static_cast<std::ptrdiff_t>(outputs), pool_.end());
    return result;
  }
  const std::vector<Tensor>& nodes() const { return pool_; }

 private:
  std::size_t below(std::size_t n) { return random_() % n; }
  const Tensor& any() { return pool_[below(pool_.size())]; }

  void add_input(std::size_t k) {
    const std::string name(1, static_cast<char>('x' + k));
    Dims dims;
    Shape shape;
    for (std::size_t axis = 0, rank = below(4); axis < rank; ++axis) {
      const std::size_t which = below(3);
      shape.push_back(sizes_[which]);
      // A free size never repeats, so a size of 1 that may do so is a constant.
      dims.push_back(free_ && sizes_[which] != 1 ? size_variables_[which] : Dim(sizes_[which]));
    }
    inputs_.push_back(tensor(name, dims, dtype_));
    values_.push_back(Array::uniform(shape, random_(), -1.5, 1.5, dtype_));
    pool_.push_back(inputs_.back());
  }

  // Another tensor that broadcasts with x.
  Tensor partner(const Tensor& x) {
    for (int tries = 0; tries < 8; ++tries) {
      const Tensor& y = any();
      bool fits = true;
      for (int axis = 1; axis <= std::min(x.rank(), y.rank()); ++axis) {
        const Dim& a = x.shape(x.rank() - axis);
        const Dim& b = y.shape(y.rank() - axis);
        fits = fits && (a == b || a.is_constant(1) || b.is_constant(1));
      }
      if (fits) return y;
    }
    return x;
  }

  Tensor unary(const Tensor& x) {
    switch (below(9)) {
      case 0:
        return tanh(x);
      case 1:
        return relu(x);
      case 2:
        return exp(-abs(x));
      case 3:
        return sigmoid(x);
      case 4:
        return sqrt(abs(x) + 1);
      case 5:
        return x * 0.5 + 1;
      case 6:
        return where(x > 0, x, x * 0.1);
      case 7:
        return sin(clip(x, -3, 3));
      default:
        return log1p(x * x);
    }
  }

  Tensor binary(const Tensor& x) {
    const Tensor y = partner(x);
    switch (below(5)) {
      case 0:
        return x + y;
      case 1:
        return x - y;
      case 2:
        return x * y;
      case 3:
        return maximum(x, y);
      default:
        return x / (y * y + 1);
    }
  }

  Tensor reduce(const Tensor& x) {
    const int axis = static_cast<int>(below(static_cast<std::size_t>(x.rank())));
    const bool keep = below(2) == 0;
    const bool empty = x.shape(axis).is_constant(0);
    switch (below(empty ? 2 : 6)) {
      case 0:
        return sum(x, axis, keep);
      case 1:
        return sum(x, {}, keep);
      case 2:
        return max(x, axis, keep);
      case 3:
        return logsumexp(x, axis, keep);
      case 4:
        return x - mean(x, axis, true);
      default: {
        // Of an input: elsewhere two elements may be closer than rounding errors.
        const Tensor& input = inputs_[below(inputs_.size())];
        if (input.rank() == 0 || input.shape(0).is_constant(0)) return x;
        return cast(argmax(input, 0, keep), dtype_) * 0.1;
      }
    }
  }

  Tensor view(const Tensor& x) {
    const int axis = static_cast<int>(below(static_cast<std::size_t>(x.rank())));
    switch (below(7)) {
      case 0:
        return transpose(x);
      case 1:
        return swapaxes(x, 0, axis);
      case 2:
        return reshape(x, {element_count(x.shape())});
      case 3:
        return x.rank() < 4 ? expand_dims(x, axis) : x;
      case 4: {
        std::vector<IndexItem> items(static_cast<std::size_t>(x.rank()), IndexItem(all));
        const Slice slices[] = {slice(end, end, -1), slice(1, end), slice(end, -1),
                                slice(end, end, 2), slice(end, end, -2)};
        items[static_cast<std::size_t>(axis)] = slices[below(5)];
        return index(x, items);
      }
      case 5:
        return x.rank() < 3 ? broadcast_to(
                                  expand_dims(x, 0),
                                  [&] {
                                    Dims shape = x.shape();
                                    shape.insert(shape.begin(), 3);
                                    return shape;
                                  }())
                            : x;
      default:
        return concatenate({x, unary(x)}, axis);
    }
  }

  Tensor product(const Tensor& x) {
    if (x.rank() == 1) return below(2) == 0 ? dot(x, x) : outer(x, x) * 0.1;
    const Tensor y = swapaxes(x, x.rank() - 1, x.rank() - 2);
    return matmul(x, below(2) == 0 ? y : tanh(y)) * 0.1;
  }

  void grow() {
    const Tensor x = any();
    const std::size_t choice = below(12);
    Tensor y;
    if (x.rank() == 0 || choice < 3) {
      y = unary(x);
    } else if (choice < 6) {
      y = binary(x);
    } else if (choice < 8) {
      y = reduce(x);
    } else if (choice < 11 || x.rank() > 3) {
      y = view(x);
    } else {
      y = product(x);
    }
    // Concatenations of concatenations and outer products grow fast.
    const Dim count = element_count(y.shape());
    const std::int64_t elements = count.evaluate([&](const DimAtom& atom) {
      for (std::size_t k = 0; k < 3; ++k) {
        if (size_variables_[k].as_variable()->identity == atom.identity) return sizes_[k];
      }
      return std::int64_t{0};
    });
    if (elements <= 20000) pool_.push_back(y);
  }

  std::mt19937_64 random_;
  DType dtype_ = DType::f32;
  std::array<std::int64_t, 3> sizes_{};
  std::array<Dim, 3> size_variables_{Dim::fresh("l"), Dim::fresh("m"), Dim::fresh("n")};
  bool free_ = false;
  std::vector<Tensor> inputs_, pool_;
  std::vector<Array> values_;
};

// "" when all outputs agree, else what is wrong.
std::string failure_of(const Problem& problem) {
  const std::vector<ReferenceValue> want = expected(problem);
  // Differences of large intermediate results carry their rounding errors.
  Tolerance tolerance{1e-5, 1e-13, 0};
  const std::vector<Tensor> nodes = topological_order(problem.outputs);
  for (const ReferenceValue& value : expected(Problem{problem.inputs, nodes, problem.values})) {
    for (const double x : value.data) {
      if (std::isfinite(x)) tolerance.magnitude = std::max(tolerance.magnitude, std::abs(x));
    }
  }
  try {
    const std::vector<Array> have = compiled(problem);
    std::string text;
    for (std::size_t k = 0; k < want.size(); ++k) {
      const std::string different = difference(want[k], have[k], tolerance);
      if (!different.empty()) text += "output " + std::to_string(k) + ": " + different + "\n";
    }
    return text;
  } catch (const Error& error) {
    return error.what();
  }
}

// The first node, operands before users, that fails as the only output; else the whole problem.
Problem shrunk(const Problem& problem) {
  for (const Tensor& node : topological_order(problem.outputs)) {
    Problem part{problem.inputs, {node}, problem.values};
    if (!failure_of(part).empty()) return part;
  }
  for (const Tensor& output : problem.outputs) {
    Problem part{problem.inputs, {output}, problem.values};
    if (!failure_of(part).empty()) return part;
  }
  return problem;
}

void check_seed(std::uint64_t seed) {
  CAPTURE(seed);
  const Problem problem = RandomGraph(seed).problem();
  if (failure_of(problem).empty()) return;
  const Problem small = shrunk(problem);
  std::string sizes;
  for (const Array& value : small.values) sizes += " " + to_string(value.shape());
  FAIL_CHECK(failure_of(small) << "seed " << seed << ", inputs of shapes" << sizes << "\n"
                               << describe(small.outputs));
}

}  // namespace

TEST_CASE("random graphs agree with the reference, seeds 0 to 79") {
  for (std::uint64_t seed = 0; seed < 80; ++seed) check_seed(seed);
}

TEST_CASE("random graphs agree with the reference, seeds 80 to 159") {
  for (std::uint64_t seed = 80; seed < 160; ++seed) check_seed(seed);
}
