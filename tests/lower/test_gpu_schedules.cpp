// Kernels scheduled for GPUs, run by the interpreter of the loop IR: the schedules keep what the
// kernels compute.
#include <doctest/doctest.h>

#include <array>
#include <functional>

#include "compiler/lower/lower.h"
#include "tests/tools/gpu_loops.h"
#include "tests/tools/program_call.h"
#include "tests/tools/sample_tools.h"

using namespace op_test;        // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

std::string text_of(const Program& program) {
  std::string text;
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) { text += to_string(kernel); });
  return text;
}

using MakeTrials = std::vector<Trial> (*)(const OpRecord&, bool);

void check_samples(MakeTrials make, bool free_sizes) {
  for (const OpRecord* op : all_ops()) {
    SUBCASE(std::string(op->name).c_str()) {
      for (const Trial& trial : every_third(make(*op, free_sizes))) {
        CAPTURE(trial.name);
        Problem problem;
        problem.inputs = trial.sample.inputs;
        problem.outputs = trial.outputs;
        for (const Tensor& input : problem.inputs) {
          problem.values.push_back(to_array(trial.sample.bindings.at(&input.node())));
        }
        check_for_gpu(problem, trial.tolerance);
      }
    }
  }
}

}  // namespace

TEST_CASE("GPU schedules: samples of every op, sizes known") { check_samples(value_trials, false); }

TEST_CASE("GPU schedules: samples of every op, sizes free") { check_samples(value_trials, true); }

TEST_CASE("GPU schedules: gradients of every op, sizes known") {
  check_samples(gradient_trials, false);
}

TEST_CASE("GPU schedules: gradients of every op, sizes free") {
  check_samples(gradient_trials, true);
}

TEST_CASE("GPU schedules: rows, columns and whole arrays") {
  const Tensor x = matrix("x");
  const Tensor rows = tensor("rows", {dim("n"), 33});
  const Tensor d = tensor3("d", f64);
  for (const std::int64_t n : {0, 1, 3, 17, 300}) {
    CAPTURE(n);
    check_for_gpu({{x, rows, d},
                   {softmax(rows), log_softmax(x), sum(x, 0), sum(x, 1), mean(rows, 0),
                    argmax(rows, 1), argmin(x, 0), prod(d, 2), sum(d, {0, 2}), transpose(x) + 1.0,
                    exp(rows) / sum(exp(rows)), concatenate({x, x * 2}, 0)},
                   {random_array({n, 17}, f32, 1), random_array({n, 33}, f32, 2),
                    random_array({n, 3, 2}, f64, 3)}},
                  {1e-5, 1e-12});
  }
}

// The usual number of elements does not fit in 64 bits.
TEST_CASE("GPU schedules: what is kept in between has eight free axes") {
  Dims shape;
  for (int axis = 0; axis < 8; ++axis) shape.push_back(Dim::fresh("n"));
  const Tensor x = tensor("x", shape, f64);
  check_for_gpu({{x}, {cumsum(cumsum(x, 0), 1)}, {random_array({3, 2, 1, 2, 1, 2, 1, 2}, f64, 1)}});
}

TEST_CASE("GPU schedules: whole arrays in chunks, independent of the schedule's width") {
  const Tensor x = vector("x");
  for (const std::int64_t n : {1, 8192, 8193, 20001}) {
    check_for_gpu({{x}, {sum(x), max(x), argmax(x)}, {random_array({n}, f32, 4)}}, {1e-5, 1e-12});
  }
}

namespace {

// The same with sizes known and free.
void check_both(const std::vector<std::pair<Shape, DType>>& shapes,
                const std::function<std::vector<Tensor>(const std::vector<Tensor>&)>& outputs) {
  for (const bool free : {false, true}) {
    CAPTURE(free);
    Problem problem;
    for (std::size_t k = 0; k < shapes.size(); ++k) {
      const auto& [shape, dtype] = shapes[k];
      const std::string name = "x" + std::to_string(k);
      Dims dims;
      for (int axis = 0; axis < shape.rank(); ++axis) {
        dims.push_back(free ? dim("s" + std::to_string(shape[axis])) : Dim(shape[axis]));
      }
      problem.inputs.push_back(tensor(name, dims, dtype));
      problem.values.push_back(random_array(shape, dtype, k + 1));
    }
    problem.outputs = outputs(problem.inputs);
    check_for_gpu(problem, {1e-5, 1e-12});
  }
}

}  // namespace

// Sizes on both sides of those from which runs are made.
TEST_CASE("GPU schedules: few long rows in runs that blocks share") {
  for (const std::int64_t m : {16384, 16385}) {
    CAPTURE(m);
    check_both({{{2, m}, f32}}, [](const std::vector<Tensor>& x) {
      return std::vector<Tensor>{softmax(x[0]), sum(x[0], 1), argmax(x[0], 1)};
    });
  }
  check_both({{{2, 3, 8200}, f64}}, [](const std::vector<Tensor>& x) {
    return std::vector<Tensor>{max(x[0], {0, 2}), var(x[0], {1, 2})};
  });
}

TEST_CASE("GPU schedules: columns of many rows in runs that blocks share") {
  for (const std::int64_t m : {1, 3, 8, 40}) {
    for (const std::int64_t n : {1, 128, 129, 1030}) {
      CAPTURE(n);
      CAPTURE(m);
      check_both({{{n, m}, f32}}, [](const std::vector<Tensor>& x) {
        return std::vector<Tensor>{softmax(x[0], 0), sum(x[0] * 2, 0), argmin(x[0], 0)};
      });
    }
  }
  check_both({{{5, 3, 40, 30}, f32}}, [](const std::vector<Tensor>& x) {
    return std::vector<Tensor>{sum(x[0], {0, 2, 3}), mean(x[0], {1, 2})};
  });
}

TEST_CASE("GPU schedules: whole arrays in stages, in runs that blocks share") {
  for (const std::int64_t n : {1, 16384, 16385}) {
    CAPTURE(n);
    check_both({{{n}, f32}}, [](const std::vector<Tensor>& x) {
      return std::vector<Tensor>{softmax(x[0], 0), sum(square(x[0] - mean(x[0])))};
    });
  }
}

TEST_CASE("GPU schedules: several axes are shared out whichever of them is long") {
  const Tensor x = tensor3("x", f64), each = vector("each", f64);
  const Tensor weighted = square(x) * reshape(each, {each.shape(0), 1, 1});
  const Tensor centred = x - mean(x, {0, 2}, true);
  const std::vector<Tensor> outputs = {sum(x),
                                       sum(weighted),
                                       max(x, {0, 1}),
                                       sum(x, {0, 2}),
                                       mean(square(centred)),
                                       argmax(x),
                                       mean(square(centred), {0, 2})};
  for (const Shape& shape : {Shape{1, 3, 7000}, Shape{7000, 3, 1}, Shape{2, 9000, 3}}) {
    const Problem problem{
        {x, each}, outputs, {random_array(shape, f64, 1), random_array({shape[0]}, f64, 2)}};
    check_for_gpu(problem);
    check_agrees(problem);
  }
  const Tensor known = tensor("known", {1, 3, 90000}, f64);
  CHECK(text_of(lowered_for_gpu({{known}, {sum(known)}, {}})).find("partial: f64[66]") !=
        std::string::npos);
  const std::vector<Tensor> inputs{known}, totals{sum(known)};
  CHECK(text_of(lower(Graph(inputs, totals, {}), "on_cpu", x86_machine(64)))
            .find("partial: f64[33]") != std::string::npos);
}

TEST_CASE("GPU schedules: products whose inner elements blocks share") {
  using Sizes = std::array<std::int64_t, 3>;
  for (const auto& [m, k, n] : {Sizes{3, 1100, 70}, Sizes{65, 513, 3}, Sizes{17, 512, 5}}) {
    CAPTURE(m);
    CAPTURE(k);
    check_both({{{m, k}, f32}, {{k, n}, f32}}, [](const std::vector<Tensor>& x) {
      return std::vector<Tensor>{relu(dot(x[0], x[1]))};
    });
  }
  check_both({{{3, 5, 600}, f64}, {{3, 600, 7}, f64}}, [](const std::vector<Tensor>& x) {
    return std::vector<Tensor>{relu(matmul(x[0], x[1]))};
  });
}

TEST_CASE("GPU schedules: products of all shapes and transpositions") {
  for (const std::int64_t m : {2, 65}) {
    for (const std::int64_t k : {0, 17}) {
      const std::int64_t n = m == 2 ? 70 : 3;
      CAPTURE(m);
      CAPTURE(k);
      const Tensor a = matrix("a");
      const Tensor b = matrix("b");
      const Tensor bias = vector("bias");
      const Tensor at = matrix("at");
      const Tensor bt = matrix("bt");
      check_for_gpu(
          {{a, b, bias, at, bt},
           {relu(dot(a, b) + bias), dot(transpose(at), b), dot(a, transpose(bt)),
            dot(transpose(at), transpose(bt)) * 2, dot(exp(a), b)},
           {random_array({m, k}, f32, 1), random_array({k, n}, f32, 2), random_array({n}, f32, 3),
            random_array({k, m}, f32, 4), random_array({n, k}, f32, 5)}},
          {1e-5, 1e-12});
    }
  }
  const Tensor a = tensor("a", {dim("batch"), 5, dim("k")}, f64);
  const Tensor b = tensor("b", {dim("batch"), dim("k"), 7}, f64);
  check_for_gpu({{a, b},
                 {matmul(a, b)},
                 {random_array({3, 5, 20}, f64, 1), random_array({3, 20, 7}, f64, 2)}});
}

TEST_CASE("GPU schedules: rows added at repeated indices, in blocks that have rows of their own") {
  const Tensor ids = vector("ids", i64);
  const Shared table = shared(Array::normal({7, 40}, 1), "table");
  const Tensor cost = sum(square(take(table, ids)));
  const Program program = lowered_for_gpu({{ids}, {grad(cost, table)}, {}});
  const std::string text = text_of(program);
  CAPTURE(text);
  CHECK(text.find("check_index") != std::string::npos);
  CHECK(text.find("shared mine") != std::string::npos);
}

TEST_CASE("GPU schedules: rows added at repeated indices, few and many of them") {
  const Tensor ids = tensor("ids", {dim("n")}, i64);
  const Tensor values = tensor("values", {dim("n"), 17});
  for (const std::int64_t rows : {7, 600}) {
    for (const std::int64_t n : {0, 33, 2100}) {
      if (rows == 7 && n == 2100) continue;
      CAPTURE(rows);
      CAPTURE(n);
      Array places = Array::zeros({n}, i64);
      for (std::int64_t k = 0; k < n; ++k) places.data<std::int64_t>()[k] = k * k % rows;
      check_for_gpu({{values, ids},
                     {scatter_add(values, ids, {rows, 17})},
                     {random_array({n, 17}, f32, 1), places}},
                    {1e-5, 1e-12});
    }
  }
}

TEST_CASE("GPU schedules: an index out of range is reported") {
  const Tensor x = matrix("x");
  const Tensor ids = vector("ids", i64);
  const Program program = lowered_for_gpu({{x, ids}, {take(x, ids)}, {}});
  Array indices = Array::zeros({3}, i64);
  indices.data<std::int64_t>()[1] = 5;
  ProgramCall call(program, {random_array({4, 3}, f32, 1), indices});
  const auto fault = call.interpret();
  REQUIRE(fault);
  CHECK(fault->index == 5);
  CHECK(fault->size == 4);
}
