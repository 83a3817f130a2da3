// Operations of the user's own: kt::ExternalOp. What they compute, and where they take part.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>

#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/error_text.h"

using namespace kroton;  // NOLINT: tests
using error_text::message_of;
using error_text::value_error;

namespace {

using Types = std::vector<TensorType>;
using Tensors = std::vector<Tensor>;

int calls = 0;

// y = x^3 elementwise, f32 of any shape; refuses elements above 100.
std::int32_t cube(void* const* arrays, const std::int64_t* sizes) {
  ++calls;
  const auto* x = static_cast<const float*>(arrays[0]);
  auto* y = static_cast<float*>(arrays[1]);
  for (std::int64_t i = 0; i < sizes[0]; ++i) {
    if (x[i] > 100) return 7;
    y[i] = x[i] * x[i] * x[i];
  }
  return 0;
}

ExternalOptions cube_options() {
  return {.name = "cube",
          .function = cube,
          .results = [](std::span<const TensorType> in) { return Types{in[0]}; },
          .gradient = [](std::span<const Tensor> in, std::span<const Tensor>,
                         std::span<const Tensor> g) { return Tensors{3 * in[0] * in[0] * g[0]}; }};
}

// Of x (r, c) and n: the rows' sums times n as f64, their count as i64, and whether there are any.
std::int32_t row_sums(void* const* arrays, const std::int64_t* sizes) {
  const auto* x = static_cast<const float*>(arrays[0]);
  const auto n = *static_cast<const std::int64_t*>(arrays[1]);
  auto* sums = static_cast<double*>(arrays[2]);
  for (std::int64_t r = 0; r < sizes[0]; ++r) {
    sums[r] = 0;
    for (std::int64_t c = 0; c < sizes[1]; ++c) sums[r] += static_cast<double>(x[r * sizes[1] + c]);
    sums[r] *= static_cast<double>(n);
  }
  *static_cast<std::int64_t*>(arrays[3]) = sizes[0];
  *static_cast<std::uint8_t*>(arrays[4]) = sizes[0] > 0 ? 1 : 0;
  // The sizes of the result follow those of the operands: (r), (), ().
  return sizes[2] == sizes[0] ? 0 : 1;
}

const ExternalOp& rows() {
  static const ExternalOp op(
      {.name = "row_sums", .function = row_sums, .results = [](std::span<const TensorType> in) {
         return Types{{f64, {in[0].shape[0]}}, {i64, {}}, {boolean, {}}};
       }});
  return op;
}

}  // namespace

TEST_CASE("external: results of several dtypes and sizes, of operands that lie nowhere in memory") {
  const Tensor x = matrix("x");
  const Tensors y = rows()({transpose(x) + 1, 3});
  const auto f = function({x}, {y[0], y[1] + 1, logical_not(y[2])});
  for (const int r : {0, 1, 3, 17}) {
    for (const int c : {0, 1, 5}) {
      CAPTURE(r);
      CAPTURE(c);
      const auto result = f(Array::full({r, c}, 0.5));
      REQUIRE(result[0].shape() == Shape{c});
      for (int k = 0; k < c; ++k) CHECK(result[0].data<double>()[k] == 3 * 1.5 * r);
      CHECK(result[1].item<std::int64_t>() == c + 1);
      CHECK(result[2].item<bool>() == (c == 0));
    }
  }
}

TEST_CASE("external: what nobody needs is not called, equal calls once") {
  const ExternalOp op(cube_options());
  const Tensor x = vector("x");
  const auto f = function({x}, {op({x})[0] + op({x})[0], x});
  calls = 0;
  f(Array::ones({3}));
  CHECK(calls == 1);
  const auto g = function({x}, {x + 1});
  static_cast<void>(op({x}));
  g(Array::ones({3}));
  CHECK(calls == 1);
}

TEST_CASE("external: gradients of first and second order") {
  const ExternalOp op(cube_options());
  const Tensor x = vector("x");
  const Array at = Array::from({-0.5F, 0.0F, 0.3F, 0.7F});
  const auto outer =
      function({x}, {grad(sum(sin(op({2 * x})[0])), x), cos(pow(2 * x, 3)) * 24 * x * x});
  const auto both = outer(at);
  CHECK(all_close(both[0], both[1]));
  const Tensor slope = grad(sum(op({x})[0]), x);
  const Tensor curvature = grad(sum(slope), x);
  const auto f = function({x}, {slope, curvature});
  const auto result = f(at);
  for (int i = 0; i < 4; ++i) {
    const float v = at.data<float>()[i];
    CHECK(result[0].data<float>()[i] == doctest::Approx(3 * v * v));
    CHECK(result[1].data<float>()[i] == doctest::Approx(6 * v));
  }
}

TEST_CASE("external: an error number ends the call, which has updated nothing") {
  const ExternalOp op(cube_options());
  const Tensor x = vector("x");
  Shared w = shared(Array::ones({2}), "w");
  const auto f = function({x}, op({x})[0], {.updates = {{w, w + 1}}, .name = "step"});
  f(Array::ones({2}));
  CHECK(message_of<ExternalError>([&] { f(Array::full({2}, 101.0)); }) ==
        "step: cube: the function returned 7  [here]");
  CHECK(array_equal(w.get_value(), Array::full({2}, 2.0)));
  CHECK(f(Array::ones({2})).data<float>()[1] == 1);
}

TEST_CASE("external: in the steps of a scan, and on one side of an ifelse") {
  const ExternalOp op(cube_options());
  const Tensor x = matrix("x"), start = vector("start");
  const Tensor states = scan([&](Tensor row, Tensor state) { return op({0.5 * state})[0] + row; },
                             {.sequences = {x}, .outputs_info = {start}});
  const Tensor unrolled = [&] {
    Tensor state = start;
    for (int k = 0; k < 3; ++k) state = pow(0.5 * state, 3) + x[k];
    return state;
  }();
  const Tensors wrt = {x, start};
  Tensors outputs = grad(sum(states[-1]), wrt);
  for (const Tensor& g : grad(sum(unrolled), wrt)) outputs.push_back(g);
  const auto f = function({x, start}, outputs);
  const auto results = f(Array::uniform({3, 4}, 1, -1, 1), Array::uniform({4}, 2, -1, 1));
  CHECK(all_close(results[0], results[2]));
  CHECK(all_close(results[1], results[3]));

  const Tensor wanted = scalar("wanted", boolean), v = vector("v");
  const auto g = function({wanted, v}, ifelse(wanted, op({v})[0], v));
  calls = 0;
  CHECK(g(false, Array::full({2}, 101.0)).data<float>()[0] == 101);
  CHECK(calls == 0);
  CHECK(g(true, Array::full({2}, 2.0)).data<float>()[0] == 8);
}

TEST_CASE("external: a state that the function reads is the old one") {
  const ExternalOp op(cube_options());
  Shared w = shared(Array::full({2}, 2.0), "w");
  const auto f = function({}, Tensors{}, {.updates = {{w, w + op({w})[0]}}});
  f();
  CHECK(array_equal(w.get_value(), Array::full({2}, 10.0)));
}

TEST_CASE("cuda: external functions run on the host") {
  const gpu_emulator::TestCuda cuda;
  const ExternalOp op(cube_options());
  const Tensor x = vector("x");
  const auto f = function({x}, op({x + 1})[0] * 2, {.target = kroton::cuda()});
  CHECK(array_equal(f(Array::ones({3})), Array::full({3}, 16.0)));
  CHECK_THROWS_AS(f(Array::full({3}, 100.5)), ExternalError);
  CHECK(array_equal(f(Array::ones({3})), Array::full({3}, 16.0)));
}

TEST_CASE("external: mistakes are told with the line") {
  const Tensor x = vector("x");
  const auto refused = [](const std::function<void(ExternalOptions&)>& change) {
    ExternalOptions options = cube_options();
    change(options);
    return value_error([&] { ExternalOp{options}; });
  };
  CHECK(refused([](auto& o) { o.name = "my cube"; }).find("cannot be that of a C function") !=
        std::string::npos);
  CHECK(refused([](auto& o) { o.name = "kroton_cube"; }) ==
        "ExternalOp: names that begin with kroton_ are taken: kroton_cube  [here]");
  CHECK(refused([](auto& o) { o.function = nullptr; }) ==
        "cube: ExternalOptions::function is null  [here]");
  CHECK(refused([](auto& o) { o.results = {}; }) ==
        "cube: ExternalOptions::results is missing  [here]");

  ExternalOptions negative = cube_options();
  negative.results = [](auto) { return Types{{f32, {-4}}}; };
  CHECK(message_of<ShapeError>([&] { static_cast<void>(ExternalOp(negative)({x})); }) ==
        "cube: a size is negative in (-4,)  [here]");
  CHECK(value_error([&] { static_cast<void>(ExternalOp(cube_options())({Tensor()})); }) ==
        "cube: a Tensor is empty: no expression has been assigned to it  [here]");

  ExternalOptions without = cube_options();
  without.gradient = {};
  const ExternalOp plain(without);
  CHECK(value_error([&] { grad(sum(plain({x})[0]), x); }) ==
        "cube: the gradient goes through it, and it has none: give ExternalOptions::gradient, or "
        "stop_gradient() before it  [here]");
  CHECK_NOTHROW(grad(sum(plain({stop_gradient(x)})[0] * x), x));

  ExternalOptions wrong = cube_options();
  wrong.gradient = [](auto, auto, std::span<const Tensor> g) { return Tensors{sum(g[0])}; };
  const ExternalOp bad(wrong);
  CHECK(value_error([&] { grad(sum(bad({x})[0]), x); }) ==
        "cube: gradient: the cotangent of input 0 is f32 (), expected f32 (x.shape[0],)  [here]");

  ExternalOptions other = cube_options();
  other.function = row_sums;
  const ExternalOp same_name(other);
  CHECK(value_error([&] {
          function({x}, {plain({x})[0], same_name({x})[0]});
        }).find("two functions are called cube") != std::string::npos);
}
