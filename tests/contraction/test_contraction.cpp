// Contractions made by hand: products under every plan, convolutions and their gradients as
// contractions of several axes. Against plain loops, by the interpreter and compiled.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "compiler/codegen/llvm/jit.h"
#include "compiler/contraction/gpu_tiles.h"
#include "compiler/contraction/library_product.h"
#include "compiler/contraction/tiles.h"
#include "compiler/ir/reference.h"
#include "compiler/loop/traverse.h"
#include "compiler/lower/kernel_context.h"
#include "compiler/lower/plan.h"
#include "runtime/pool.h"
#include "tests/tools/program_call.h"

using namespace kroton;  // NOLINT: a test
using compiled_test::ProgramCall;

namespace {

// The sum of step * place over the axes.
struct Linear {
  std::vector<std::int64_t> steps;
  loop::Expr operator()(const std::vector<loop::Expr>& at) const {
    loop::Expr index = loop::integer(0);
    for (std::size_t k = 0; k < at.size(); ++k) index = index + at[k] * loop::integer(steps[k]);
    return index;
  }
  std::size_t operator()(const std::vector<std::int64_t>& at) const {
    return static_cast<std::size_t>(
        std::inner_product(at.begin(), at.end(), steps.begin(), std::int64_t{0}));
  }
};

// y = the contraction of arrays a and b, over axes with sizes.
struct Problem {
  const char* name;
  std::vector<std::int64_t> batch, rows, columns, inner;
  std::int64_t a_size, b_size, y_size;
  Linear a, b, y;  // places along all axes: batch, rows, columns, inner
};

Linear linear(std::vector<std::int64_t> steps) { return {std::move(steps)}; }

struct Made {
  Contraction contraction;
  Program program;
  Graph graph{std::vector<Tensor>{}, std::vector<Tensor>{}, {}};
  BufferTable buffers{graph};
};

std::unique_ptr<Made> make(const Problem& problem) {
  auto made = std::make_unique<Made>();
  Contraction& c = made->contraction;
  c.dtype = DType::f32;
  std::vector<loop::Expr> at;
  const auto axes = [&](const char* name, const std::vector<std::int64_t>& sizes, AxisList& to) {
    for (const std::int64_t size : sizes) {
      to.push_back({loop::fresh_variable(name), Dim(size)});
      at.push_back(loop::variable(to.back().variable));
    }
  };
  axes("batch", problem.batch, c.batch);
  axes("row", problem.rows, c.rows);
  axes("column", problem.columns, c.columns);
  axes("inner", problem.inner, c.inner);
  const auto argument = [&](const char* name, std::int64_t size, int number) {
    const loop::BufferRef buffer = made->buffers.create(name, DType::f32, Dim(size));
    made->program.placements[buffer->id].kind = Placement::Kind::argument;
    made->program.placements[buffer->id].argument = number;
    auto& list = number == 2 ? made->program.outputs : made->program.inputs;
    list.push_back(TensorType{DType::f32, {Dim(size)}});
    return buffer;
  };
  const loop::BufferRef a = argument("a", problem.a_size, 0);
  const loop::BufferRef b = argument("b", problem.b_size, 1);
  const loop::BufferRef y = argument("y", problem.y_size, 2);
  c.a = loop::load(a, problem.a(at));
  c.b = loop::load(b, problem.b(at));
  c.sum = loop::fresh_variable("sum");
  c.sum.dtype = DType::f32;
  // What is stored is the sum and a half.
  c.stores = {loop::Store{y, problem.y(at), loop::variable(c.sum) + loop::real(0.5, DType::f32)}};
  c.cost = 1;
  made->program.name = "contraction";
  made->program.sizes = {worker_count().as_variable()};
  return made;
}

// The same by plain loops.
std::vector<double> expected(const Problem& problem, const Contraction& c, const Array& a,
                             const Array& b) {
  std::vector<double> y(static_cast<std::size_t>(problem.y_size), 0);
  AxisList axes = c.batch;
  for (const AxisList* more : {&c.rows, &c.columns, &c.inner}) {
    axes.insert(axes.end(), more->begin(), more->end());
  }
  std::vector<std::int64_t> at(axes.size());
  const std::function<void(std::size_t)> walk = [&](std::size_t axis) {
    if (axis == axes.size()) {
      y[problem.y(at)] +=
          static_cast<double>(a.data<float>()[problem.a(at)]) * b.data<float>()[problem.b(at)];
      return;
    }
    for (std::int64_t& k = at[axis] = 0; k < axes[axis].extent.constant(); ++k) walk(axis + 1);
  };
  walk(0);
  for (double& value : y) value += 0.5;
  return y;
}

void check(const Problem& problem, const std::string& plan, Made& made, loop::Kernel kernel,
           bool compiled) {
  CAPTURE(std::string(problem.name));
  CAPTURE(plan);
  kernel.name = "k0";
  collect_buffers(kernel);
  loop::verify(kernel);
  Program program = made.program;
  program.steps.emplace_back().kind = std::move(kernel);
  plan_memory(program);
  const Array a = Array::uniform({problem.a_size}, 1, -1, 1);
  const Array b = Array::uniform({problem.b_size}, 2, -1, 1);
  const std::vector<double> wanted = expected(problem, made.contraction, a, b);
  const auto differs = [&](const Array& y) {
    for (std::size_t k = 0; k < wanted.size(); ++k) {
      const double found = y.data<float>()[k];
      if (!(std::abs(found - wanted[k]) <= 1e-4)) {
        return "element " + std::to_string(k) + " is " + std::to_string(found) + ", expected " +
               std::to_string(wanted[k]);
      }
    }
    return std::string();
  };
  ProgramCall by_loops(program, {a, b});
  REQUIRE(!by_loops.interpret());
  CHECK(differs(by_loops.outputs()[0]) == "");
  if (!compiled) return;
  const auto code =
      codegen::link_objects(codegen::generate_objects(program, codegen::host_target()));
  ProgramCall call(program, {a, b});
  kroton_context context = make_serial_context();
  std::vector<void*> args = call.args();
  const std::vector<std::int64_t> sizes = call.sizes();
  REQUIRE(code->entry()(args.data(), sizes.data(), call.arena(), &context) == 0);
  CHECK(differs(call.outputs()[0]) == "");
}

// Under the plan for each kind of machine; under the host's compiled too.
void check(const Problem& problem) {
  const Machine host = codegen::host_target().machine;
  for (const Machine& machine : {host, x86_machine(16), arm_machine()}) {
    const auto made = make(problem);
    const TilePlan plan = plan_tiles(made->contraction, machine);
    check(problem, plan.to_string(), *made,
          build_tiles(made->contraction, plan, made->buffers.maker()), &machine == &host);
  }
  const auto made = make(problem);
  const GpuTilePlan plan = plan_gpu_tiles(made->contraction, gpu_machine()).front();
  check(problem, plan.to_string(), *made,
        build_gpu_tiles(made->contraction, plan, made->buffers.maker()), false);
}

Problem product(std::int64_t m, std::int64_t k, std::int64_t n, bool ta, bool tb) {
  return {"product",
          {},
          {m},
          {n},
          {k},
          m * k,
          k * n,
          m * n,
          ta ? linear({1, 0, m}) : linear({k, 0, 1}),
          tb ? linear({0, k, 1}) : linear({0, 1, n}),
          linear({n, 1, 0})};
}

// A picture of c channels, h x w; filters of kh x kw; o of them; steps of s.
struct Convolution {
  std::int64_t n, c, h, w, o, kh, kw, s;
  std::int64_t oh() const { return (h - kh) / s + 1; }
  std::int64_t ow() const { return (w - kw) / s + 1; }
  std::int64_t x_size() const { return n * c * h * w; }
  std::int64_t w_size() const { return o * c * kh * kw; }
  std::int64_t y_size() const { return n * o * oh() * ow(); }

  // y[n, o, oh, ow]; rows n, oh, ow; columns o; inner c, kh, kw.
  Problem forward() const {
    return {"forward",
            {},
            {n, oh(), ow()},
            {o},
            {c, kh, kw},
            x_size(),
            w_size(),
            y_size(),
            linear({c * h * w, s * w, s, 0, h * w, w, 1}),
            linear({0, 0, 0, c * kh * kw, kh * kw, kw, 1}),
            linear({o * oh() * ow(), ow(), 1, oh() * ow(), 0, 0, 0})};
  }
  // The same with filters as rows: batch n; rows o; columns oh, ow; inner c, kh, kw.
  Problem forward_of_filters() const {
    return {"filters as rows",
            {n},
            {o},
            {oh(), ow()},
            {c, kh, kw},
            w_size(),
            x_size(),
            y_size(),
            linear({0, c * kh * kw, 0, 0, kh * kw, kw, 1}),
            linear({c * h * w, 0, s * w, s, h * w, w, 1}),
            linear({o * oh() * ow(), oh() * ow(), ow(), 1, 0, 0, 0})};
  }
  // dw[o, c, kh, kw] = Σ dy[n, o, oh, ow] x[n, c, oh s + kh, ow s + kw]; rows o; columns c, kh, kw;
  // inner n, oh, ow.
  Problem filter_gradient() const {
    return {"filter gradient",
            {},
            {o},
            {c, kh, kw},
            {n, oh(), ow()},
            y_size(),
            x_size(),
            w_size(),
            linear({oh() * ow(), 0, 0, 0, o * oh() * ow(), ow(), 1}),
            linear({0, h * w, w, 1, c * h * w, s * w, s}),
            linear({c * kh * kw, kh * kw, kw, 1, 0, 0, 0})};
  }
};

}  // namespace

TEST_CASE("contraction: products of every layout") {
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      for (const auto& [m, k, n] : std::vector<std::array<std::int64_t, 3>>{
               {1, 1, 1}, {3, 17, 5}, {17, 33, 70}, {13, 1100, 18}, {100, 3, 130}}) {
        check(product(m, k, n, ta, tb));
      }
    }
  }
}

TEST_CASE("contraction: products under plans given by hand") {
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      const Problem problem = product(53, 37, 45, ta, tb);
      TilePlan plan;
      for (const bool in_place : {false, true}) {
        for (const std::int64_t rows_of_block : {0, 8}) {
          for (const std::int64_t rows_of_task : {0, 16}) {
            for (const std::int64_t panels : {1, 3}) {
              plan.b_in_place = in_place && !tb;
              plan.rows_to_pack_from = plan.b_in_place && panels == 3 ? 53 - rows_of_task : 0;
              plan.rows_of_block = rows_of_block;
              plan.rows_of_task = rows_of_task;
              plan.panels_of_task = panels;
              plan.inner_block = 16;
              plan.inner_run = rows_of_task == 0 ? 16 : 32;
              const bool packs_rest = plan.b_in_place && plan.rows_to_pack_from == 0;
              if (packs_rest && panels != 1 && !plan.parts_in_place) continue;
              const auto made = make(problem);
              check(problem, plan.to_string(), *made,
                    build_tiles(made->contraction, plan, made->buffers.maker()), true);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("contraction: what is packed follows from how a panel lies in the caches") {
  const auto plan = [](std::int64_t m, std::int64_t k, std::int64_t n, bool ta = false) {
    const auto made = make(product(m, k, n, ta, false));
    CHECK(copies_a(made->contraction) == (ta && k >= 384 && n >= 256));
    return plan_tiles(made->contraction, x86_machine(64));
  };
  // Rows 4 KB apart meet in few sets; 1000 rows of 1000 lie on as many pages; 256 rows of 256 do
  // not.
  CHECK(plan(13, 1024, 1024).b_in_place);
  CHECK(!plan(14, 1024, 1024).b_in_place);
  CHECK(plan(32, 1000, 1000).b_in_place);
  CHECK(!plan(33, 1000, 1000).b_in_place);
  CHECK(plan(100, 256, 256).b_in_place);
  CHECK(!plan(128, 256, 1024).b_in_place);  // it always pays for so many rows
  CHECK(plan(1000, 1000, 64).b_in_place);   // a panel as it is
  plan(1024, 1024, 1024, true);
  plan(64, 1024, 64, true);
}

TEST_CASE("contraction: a number of rows that is seen at run time") {
  const auto w = tensor("w", {1024, 70});
  const auto x = tensor("x", {dim("rows"), 1024});
  const auto wide = tensor("wide", {1024, 1024});
  const auto f = function({x, w, wide}, {dot(x, w), dot(x, wide)});
  const auto ws = Array::normal({1024, 70}, 1), wides = Array::normal({1024, 1024}, 2);
  for (const std::int64_t rows : {0, 1, 3, 13, 14, 17, 33}) {
    const auto xs = Array::normal({rows, 1024}, 3);
    const auto results = f(xs, ws, wides);
    for (const auto& [k, n, values] :
         {std::tuple{0U, std::int64_t{70}, ws}, std::tuple{1U, std::int64_t{1024}, wides}}) {
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < n; j += 23) {
          double sum = 0;
          for (std::int64_t at = 0; at < 1024; ++at) {
            sum += static_cast<double>(xs.data<float>()[i * 1024 + at]) *
                   static_cast<double>(values.data<float>()[at * n + j]);
          }
          CHECK(static_cast<double>(results[k].data<float>()[i * n + j]) ==
                doctest::Approx(sum).epsilon(1e-4).scale(30));
        }
      }
    }
  }
}

TEST_CASE("contraction: transformations of points, and what is computed of them") {
  for (const std::int64_t k : {1, 2, 3, 4}) {
    for (const std::int64_t n : {1, 2, 3, 4}) {
      for (int flags = 0; flags < 4; ++flags) {
        const auto rows = dim("rows");
        const bool ta = (flags & 1) != 0, tb = (flags & 2) != 0;
        const auto x = tensor("x", ta ? Dims{k, rows} : Dims{rows, k}, f64);
        const auto w = tensor("w", tb ? Dims{n, k} : Dims{k, n}, f64);
        const auto y = dot(ta ? transpose(x) : Tensor(x), tb ? transpose(w) : Tensor(w));
        const std::vector<Tensor> outputs{y, relu(y + 1), sum(square(y), 1),
                                          grad(sum(square(y)), w)};
        const auto f = function({x, w}, outputs);
        for (const std::int64_t count : {0, 1, 3, 17, 100}) {
          const auto xs = Array::normal(ta ? Shape{k, count} : Shape{count, k}, 1, 0, 1, f64);
          const auto ws = Array::normal(tb ? Shape{n, k} : Shape{k, n}, 2, 0, 1, f64);
          const auto have = f(xs, ws);
          const auto want =
              evaluate(outputs, {{&x.node(), from_array(xs)}, {&w.node(), from_array(ws)}});
          for (std::size_t out = 0; out < have.size(); ++out) {
            CHECK(all_close(have[out], to_array(want[out]), 1e-11, 1e-11));
          }
        }
      }
    }
  }
}

TEST_CASE("contraction: convolutions and their gradients, of several axes") {
  for (const Convolution& c :
       {Convolution{2, 3, 7, 5, 4, 3, 3, 1}, Convolution{1, 1, 3, 3, 1, 3, 3, 1},
        Convolution{3, 2, 9, 19, 17, 2, 3, 2}, Convolution{2, 130, 5, 6, 20, 3, 3, 1}}) {
    check(c.forward());
    check(c.forward_of_filters());
    check(c.filter_gradient());
  }
}

TEST_CASE("contraction: the text of a contraction and of its plan") {
  const auto made = make(product(512, 256, 1024, false, true));
  CHECK(made->contraction.to_string() ==
        "contraction f32\n"
        "  rows: row < 512\n"
        "  columns: column < 1024\n"
        "  inner: inner < 256\n"
        "  a[row*256 + inner] * b[column*256 + inner]\n"
        "  y[row*1024 + column] = sum + 0.5\n");
  CHECK(plan_tiles(made->contraction, x86_machine(64)).to_string() ==
        "tile 6 rows x 4 vectors of 16; B packed; A in place; a task: 1 panels, all rows; sums of "
        "1024, runs of 1024");
  // NEON has as many registers as AVX-512.
  CHECK(plan_tiles(made->contraction, arm_machine()).tile_rows(4) == 6);
  CHECK(library_product(made->contraction) == nullptr);
  made->contraction.stores[0].value = loop::variable(made->contraction.sum);
  const auto product = library_product(made->contraction);
  REQUIRE(product != nullptr);
  CHECK(product->b.transposed);
  CHECK(product->alpha == 1);
}
