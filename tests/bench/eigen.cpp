// A contender for linear algebra: Eigen, with the sizes of small matrices known when it is
// compiled.
#include <Eigen/Dense>
#include <map>
#include <memory>
#include <stdexcept>

#include "bench.h"

namespace {

template <int N>
using Matrix = Eigen::Matrix<float, N, N, Eigen::RowMajor>;
template <int N>
using Vector = Eigen::Matrix<float, N, 1>;

// Symmetric and positive definite: x x' + 1. Compiled once for all that begins with it.
template <int N>
[[gnu::noinline]] void make_definite(const float* x, int n, Matrix<N>& result) {
  const Eigen::Map<const Matrix<N>> at(x, n, n);
  result.noalias() = at * at.transpose();
  result.diagonal().array() += 1.0F;
}

// `of` a matrix by its number, for all of them on all threads.
template <class F>
bench::Case each(int count, std::size_t size, F of) {
  const auto results = std::make_shared<std::vector<float>>(static_cast<std::size_t>(count) * size);
  const auto run = [=] {
#pragma omp parallel for
    for (int k = 0; k < count; ++k) of(k, results->data() + static_cast<std::size_t>(k) * size);
  };
  return {run, [=] {
            std::vector<double> values;
            for (int call = 0; call < 3; ++call) {
              run();
              for (const double value : bench::sample(*results)) values.push_back(value);
            }
            return values;
          }};
}

using Numbers = std::shared_ptr<std::vector<float>>;

Numbers numbers(std::size_t count, std::size_t seed) {
  auto all = std::make_shared<std::vector<float>>(count);
  for (std::size_t i = 0; i < count; ++i) (*all)[i] = static_cast<float>(bench::element(i, seed));
  return all;
}

template <int N>
auto matrix(const Numbers& all, int k, int n) {
  return Eigen::Map<const Matrix<N>>(all->data() + static_cast<std::ptrdiff_t>(k) * n * n, n, n);
}

// What `of` makes of each definite matrix, of `columns` columns.
template <int N, class F>
bench::Case of_definite(int count, int n, int columns, F of) {
  const auto size = static_cast<std::size_t>(n);
  const Numbers x = numbers(static_cast<std::size_t>(count) * size * size, 0);
  return each(count, size * static_cast<std::size_t>(columns), [=](int k, float* result) {
    Matrix<N> definite(n, n);
    make_definite<N>(matrix<N>(x, k, n).data(), n, definite);
    of(k, definite, result);
  });
}

template <int N>
bench::Case cholesky(int count, int n) {
  return of_definite<N>(count, n, n, [n](int, const Matrix<N>& a, float* result) {
    Eigen::Map<Matrix<N>>(result, n, n) = Matrix<N>(a.llt().matrixL());
  });
}

template <int N>
bench::Case inv(int count, int n) {
  return of_definite<N>(count, n, n, [n](int, const Matrix<N>& a, float* result) {
    Eigen::Map<Matrix<N>>(result, n, n) = a.inverse();
  });
}

template <int N>
bench::Case solve(int count, int n) {
  const Numbers b = numbers(static_cast<std::size_t>(count) * static_cast<std::size_t>(n), 1);
  return of_definite<N>(count, n, 1, [=](int k, const Matrix<N>& a, float* result) {
    const float* at = b->data() + static_cast<std::ptrdiff_t>(k) * n;
    Eigen::Map<Vector<N>>(result, n) = a.partialPivLu().solve(Eigen::Map<const Vector<N>>(at, n));
  });
}

template <int N>
bench::Case eigvalsh(int count, int n) {
  return of_definite<N>(count, n, 1, [n](int, const Matrix<N>& a, float* result) {
    const Eigen::SelfAdjointEigenSolver<Matrix<N>> found(a, Eigen::EigenvaluesOnly);
    Eigen::Map<Vector<N>>(result, n) = found.eigenvalues();
  });
}

template <int N>
bench::Case products(int count, int n) {
  const auto size = static_cast<std::size_t>(n) * static_cast<std::size_t>(n);
  const auto all = [&](std::size_t seed) {
    return numbers(static_cast<std::size_t>(count) * size, seed);
  };
  const Numbers x = all(0), y = all(1), z = all(2);
  return each(count, size, [=](int k, float* result) {
    Eigen::Map<Matrix<N>>(result, n, n).noalias() =
        matrix<N>(x, k, n) * matrix<N>(y, k, n) * matrix<N>(z, k, n);
  });
}

// The cases by name and size; 0: any other size.
constexpr int any = Eigen::Dynamic;
const std::map<std::pair<std::string, int>, bench::Case (*)(int count, int n)> cases = {
    {{"cholesky", 6}, cholesky<6>},
    {{"cholesky", 0}, cholesky<any>},
    {{"inv", 4}, inv<4>},
    {{"inv", 0}, inv<any>},
    {{"solve", 6}, solve<6>},
    {{"solve", 0}, solve<any>},
    {{"eigvalsh", 0}, eigvalsh<any>},
    {{"products", 3}, products<3>},
    {{"products", 8}, products<8>}};

bench::Case made(const bench::Parts& parts) {
  const bench::Parts sizes = bench::split(parts.at(3), 'x');
  const int count = std::stoi(sizes.at(0)), n = std::stoi(sizes.at(1));
  for (const int size : {n, 0}) {
    const auto found = cases.find({parts.at(2), size});
    if (found != cases.end()) return found->second(count, n);
  }
  throw std::runtime_error("has no gradients");
}

}  // namespace

int main() { return bench::serve(made); }
