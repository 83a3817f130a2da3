// kt::print: values shown while a function runs.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <sstream>

#include "compiler/codegen/llvm/jit.h"
#include "compiler/ir/graph.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "runtime/pool.h"

namespace kt = kroton;

namespace {

// Catches what is shown until the end of its life.
class Capture {
 public:
  Capture() : before_(kt::set_print_stream(stream_)) {}
  ~Capture() { kt::set_print_stream(before_); }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  // What was shown since the last call.
  std::string text() {
    std::string result = stream_.str();
    stream_.str("");
    return result;
  }

 private:
  std::ostringstream stream_;
  std::ostream& before_;
};

}  // namespace

TEST_CASE("kt print: message, type and values, and the value itself") {
  Capture shown;
  auto x = kt::vector("x");
  const auto f = kt::function({x}, kt::print(x * 2, "twice") + 1);
  CHECK(shown.text().empty());
  const kt::Array y = f(kt::Array::from({1.f, 2.f, 4.f}));
  CHECK(shown.text() == "twice f32 (3,)\n[2. 4. 8.]\n");
  CHECK(kt::all_close(y, kt::Array::from({3.f, 5.f, 9.f}), 0, 0));
  f(kt::Array::zeros({1}));
  CHECK(shown.text() == "twice f32 (1,)\n[0.]\n");
  f(kt::Array::zeros({0}));
  CHECK(shown.text() == "twice f32 (0,)\n[]\n");
}

TEST_CASE("kt print: every dtype, scalars, matrices, a name instead of a message") {
  Capture shown;
  auto s = kt::scalar("s", kt::i64);
  auto m = kt::matrix("m", kt::f64);
  const auto f = kt::function({s, m}, {kt::print(s), kt::print(kt::gt(m, 1.0), "large"),
                                       kt::print(kt::cast(m, kt::i32), ""), kt::print(m)});
  f(7, kt::Array::from({{0.5, 1.5}, {2.5, -1.0}}));
  const std::string text = shown.text();
  CAPTURE(text);
  CHECK(text.find("s i64 ()\n7\n") != std::string::npos);
  CHECK(text.find("m f64 (2, 2)\n") != std::string::npos);
  CHECK(text.find("large boolean (2, 2)\n") != std::string::npos);
  CHECK(text.find("cast i32 (2, 2)\n") != std::string::npos);  // no name: its operation
}

TEST_CASE("kt print: once, however often the value is used, and not at all if it is not") {
  Capture shown;
  auto x = kt::vector("x");
  const kt::Tensor y = kt::print(kt::exp(x), "y");
  const auto f = kt::function({x}, {y + 1, kt::sum(y), kt::softmax(y), y});
  f(kt::Array::zeros({3}));
  CHECK(shown.text() == "y f32 (3,)\n[1. 1. 1.]\n");
  const auto g = kt::function({x}, kt::exp(x));
  g(kt::Array::zeros({3}));
  CHECK(shown.text().empty());
}

TEST_CASE("kt print: constants are shown at each call") {
  Capture shown;
  auto x = kt::vector("x");
  const auto f = kt::function({x}, x * kt::print(kt::Array::from({2.f, 3.f}), "factors"));
  for (int k = 0; k < 2; ++k) {
    f(kt::Array::ones({2}));
    CHECK(shown.text() == "factors f32 (2,)\n[2. 3.]\n");
  }
  const auto g = kt::function({x}, x * kt::print(2.5, "factor"));
  CHECK(g(kt::Array::ones({1})).item<float>() == 2.5f);
  CHECK(shown.text() == "factor f32 ()\n2.5\n");
}

TEST_CASE("kt print: what depends on another is shown after it") {
  Capture shown;
  auto x = kt::vector("x");
  const kt::Tensor first = kt::print(kt::sum(x), "first");
  const kt::Tensor second = kt::print(first * 10, "second");
  const kt::Tensor third = kt::print(second + 1, "third");
  kt::function({x}, third)(kt::Array::ones({3}));
  CHECK(shown.text() == "first f32 ()\n3.0\nsecond f32 ()\n30.0\nthird f32 ()\n31.0\n");
}

TEST_CASE("kt print: the gradient passes through") {
  Capture shown;
  auto x = kt::vector("x");
  const kt::Tensor cost = kt::sum(kt::print(x * x, "squares") * x);
  const kt::Tensor gradient = kt::grad(cost, x);
  const kt::Tensor second = kt::grad(kt::sum(gradient), x);
  const auto f = kt::function({x}, {gradient, second});
  const auto [g, h] = f(kt::Array::from({2.f, 3.f}));
  CHECK(kt::all_close(g, kt::Array::from({12.f, 27.f}), 0, 0));
  CHECK(kt::all_close(h, kt::Array::from({12.f, 18.f}), 0, 0));
  CHECK(shown.text() == "squares f32 (2,)\n[4. 9.]\n");
}

TEST_CASE("kt print: in a training step, old values before their update") {
  Capture shown;
  auto w = kt::shared(kt::Array::ones({2}), "w");
  const auto f =
      kt::function({}, kt::sum(w), {.updates = {{w, kt::print(kt::print(w) * 2, "new w")}}});
  f();
  CHECK(shown.text() == "w f32 (2,)\n[1. 1.]\nnew w f32 (2,)\n[2. 2.]\n");
  f();
  CHECK(shown.text() == "w f32 (2,)\n[2. 2.]\nnew w f32 (2,)\n[4. 4.]\n");
  CHECK(w.get_value().data<float>()[1] == 4);
}

TEST_CASE("kt print: a step of scan shows in every iteration, in order") {
  Capture shown;
  auto x = kt::vector("x");
  const kt::Tensor h = kt::scan(
      [](const kt::Tensor& row, const kt::Tensor& before) {
        return kt::print(kt::print(row, "row") + before, "state");
      },
      {.sequences = {x}, .outputs_info = {kt::Tensor(kt::sum(x) * 0)}});
  const auto f = kt::function({x}, h[-1]);
  CHECK(f(kt::Array::from({1.f, 2.f})).item<float>() == 3);
  CHECK(shown.text() == "row f32 ()\n1.0\nstate f32 ()\n1.0\nrow f32 ()\n2.0\nstate f32 ()\n3.0\n");
  CHECK(f(kt::Array::from({5.f})).item<float>() == 5);
  CHECK(shown.text() == "row f32 ()\n5.0\nstate f32 ()\n5.0\n");
}

TEST_CASE("kt print: a context without it shows nothing") {
  Capture shown;
  auto x = kt::tensor("x", {3});
  const std::vector<kt::Tensor> inputs{x}, outputs{kt::print(x, "x") * 2};
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  const kt::Program program = kt::lower(graph, "f", {false, 16});
  const auto code = kt::codegen::link_object(
      kt::codegen::generate_object(program, kt::codegen::host_target()));
  const kt::Array values = kt::Array::from({1.f, 2.f, 3.f});
  kt::Array result = kt::Array::zeros({3});
  kt::Array arena = kt::Array::zeros({256}, kt::i64);
  std::vector<void*> args{const_cast<void*>(values.raw()), result.raw()};
  const std::int64_t sizes[2] = {1, 1};
  kroton_context context = kt::make_serial_context();
  REQUIRE(code->entry()(args.data(), sizes, arena.raw(), &context) == 0);
  CHECK(shown.text().empty());
  CHECK(result.data<float>()[2] == 6);
}
