// The checking mode: what it finds in kernels that are wrong, what it says of values that are not
// finite, and that it changes nothing for programs that are right.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "compiler/codegen/cuda/run_program.h"
#include "compiler/codegen/llvm/jit.h"
#include "compiler/lower/checks.h"
#include "compiler/passes/passes.h"
#include "runtime/device.h"
#include "runtime/pool.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/cache_tools.h"
#include "tests/tools/error_text.h"
#include "tests/tools/program_call.h"
#include "tests/tools/quick_code.h"
#include "tests/tools/sample_tools.h"

namespace test_checks {

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests
using namespace error_text;     // NOLINT: tests

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// A Program of one kernel, made by hand, from x to y, both f32 (n,).
class HandMade {
 public:
  explicit HandMade(bool gpu = false)
      : machine_(gpu ? gpu_machine() : x86_machine(32)), buffers_(graph_) {
    x = buffers_.create("x", DType::f32, n);
    y = buffers_.create("y", DType::f32, n);
    Placement place;
    place.kind = Placement::Kind::argument;
    program_.placements[x->id] = place;
    place.argument = 1;
    program_.placements[y->id] = place;
    program_.name = "by_hand";
    program_.inputs = {TensorType{DType::f32, {n}}};
    program_.outputs = {TensorType{DType::f32, {n}}};
    program_.sizes = {n.as_variable(), worker_count().as_variable()};
  }
  loop::BufferRef buffer(const char* name, const Dim& size,
                         loop::Space space = loop::Space::global) {
    return buffers_.create(name, DType::f32, size, space);
  }
  void add(loop::Block body, bool scheduled = true) {
    loop::Kernel kernel;
    kernel.body = std::move(body);
    kernel.work = loop::integer(1);
    if (scheduled) kernel = schedule(kernel, machine_);
    kernel.name = "k" + std::to_string(program_.steps.size());
    kernel.source = "hand.cpp:1";
    collect_buffers(kernel);
    program_.steps.push_back({std::move(kernel)});
  }
  // y[i + written] = x[i + read] for i in 0..n.
  void copy(const loop::Expr& written, const loop::Expr& read) {
    add(loop::nest({i}, {n}, {loop::Store{y, at + written, loop::load(x, at + read)}}));
  }
  const Program& checked() {
    check_memory(program_, buffers_, machine_);
    return finished();
  }
  const Program& finished() {
    check_gaps(program_, buffers_, plan_memory_with_gaps(program_, host_line), machine_);
    program_.sites = buffers_.sites();
    return program_;
  }

  const Dim n = dim("n");
  const loop::Variable i = loop::fresh_variable("i");
  const loop::Expr at = loop::variable(i);
  loop::BufferRef x, y;

 private:
  Machine machine_;
  const Graph graph_{std::vector<Tensor>{}, std::vector<Tensor>{}, {}};
  BufferTable buffers_;
  Program program_;
};

// What stops a call for n elements, compiled and by the interpreter: "" or the site's message with
// its numbers.
std::string fault(const Program& program, std::int64_t n) {
  const auto text = [&](int site, std::int64_t index, std::int64_t size) {
    return program.sites.at(static_cast<std::size_t>(site)).message + " (" + std::to_string(index) +
           ", " + std::to_string(size) + ")";
  };
  std::string interpreted;
  ProgramCall by_loops(program, {Array::ones({n})});
  if (const auto found = by_loops.interpret()) {
    interpreted = text(found->site, found->index, found->size);
  }
  ProgramCall call(program, {Array::ones({n})});
  const auto code =
      codegen::link_objects(codegen::generate_objects(program, codegen::host_target()));
  kroton_context context = make_serial_context();
  std::vector<void*> args = call.args();
  const std::vector<std::int64_t> sizes = call.sizes();
  const std::int32_t status = code->entry()(args.data(), sizes.data(), call.arena(), &context);
  const std::string compiled =
      status == 0 ? "" : text(context.error.site, context.error.index, context.error.size);
  // Several elements may be wrong: which one is found first is open.
  CHECK(compiled.substr(0, compiled.find('(')) == interpreted.substr(0, interpreted.find('(')));
  return compiled;
}

std::string without_numbers(const std::string& fault) { return fault.substr(0, fault.find(" (")); }

const loop::Expr zero = loop::integer(0), one = loop::integer(1);

template <class F>
std::string not_finite(const F& f) {
  return message_of<NotFiniteError>(f);
}

}  // namespace

TEST_CASE("checks: stores and loads outside of an argument") {
  for (const std::int64_t n : {1, 8, 33}) {
    CAPTURE(n);
    HandMade right;
    right.copy(zero, zero);
    CHECK(fault(right.checked(), n) == "");
    HandMade past;
    past.copy(one, zero);
    CHECK(without_numbers(fault(past.checked(), n)) ==
          "kernel k0 writes y at index %index, whose size is %size  [hand.cpp:1]");
    HandMade before;
    before.copy(zero, loop::integer(-1));
    CHECK(fault(before.checked(), n) ==
          "kernel k0 reads x at index %index, whose size is %size  [hand.cpp:1] (-1, " +
              std::to_string(n) + ")");
  }
}

TEST_CASE("checks: in a whole vector and in its masked rest every lane is looked at") {
  // Only the last of n elements is wrong.
  for (const std::int64_t n : {1, 7, 8, 9, 16, 17, 40}) {
    HandMade one_wrong;
    const loop::Expr last = loop::binary(loop::Op::eq, one_wrong.at, loop::size(one_wrong.n) - one);
    one_wrong.copy(zero, loop::select(last, loop::size(one_wrong.n) * loop::integer(3), zero));
    CHECK(fault(one_wrong.checked(), n) ==
          "kernel k0 reads x at index %index, whose size is %size  [hand.cpp:1] (" +
              std::to_string(4 * n - 1) + ", " + std::to_string(n) + ")");
  }
}

TEST_CASE("checks: registers, the stack and a worker's memory") {
  for (const loop::Space space :
       {loop::Space::registers, loop::Space::stack, loop::Space::worker}) {
    for (const int reach : {0, 1}) {
      HandMade made;
      const loop::BufferRef held = made.buffer("held", 4, space);
      const loop::Variable k = loop::fresh_variable("k"), j = loop::fresh_variable("j");
      const auto four = [&](const loop::Variable& v, loop::Stmt body) {
        loop::For loop;
        loop.variable = v;
        loop.extent = loop::integer(4);
        loop.kind = loop::LoopKind::unroll;
        loop.body = {std::move(body)};
        return loop::statement(std::move(loop));
      };
      loop::Block body;
      if (space != loop::Space::worker) body.push_back(loop::Allocate{held});
      body.push_back(four(k, loop::Store{held, loop::variable(k), loop::real(1, DType::f32)}));
      body.push_back(
          four(j, loop::Store{made.y, loop::variable(j),
                              loop::load(held, loop::variable(j) + loop::integer(reach))}));
      made.add(std::move(body), false);
      CHECK(fault(made.checked(), 4) ==
            (reach == 0 ? ""
                        : "kernel k0 reads held at index %index, whose size is %size  "
                          "[hand.cpp:1] (4, 4)"));
    }
  }
}

TEST_CASE("checks: an element that nothing has written is not read") {
  for (const bool all : {true, false}) {
    HandMade made;
    const loop::BufferRef between = made.buffer("between", made.n);
    const Dim written = all ? made.n : made.n - Dim(1);
    made.add(loop::nest({made.i}, {written},
                        {loop::Store{between, made.at, loop::load(made.x, made.at)}}));
    made.add(loop::nest({made.i}, {made.n},
                        {loop::Store{made.y, made.at, loop::load(between, made.at)}}));
    CHECK(fault(made.checked(), 19) ==
          (all ? ""
               : "kernel k1 reads what nothing has written: between at index %index, whose size is "
                 "%size  [hand.cpp:1] (18, 19)"));
  }
  for (const loop::Space space : {loop::Space::stack, loop::Space::worker}) {
    HandMade made;
    const loop::BufferRef held = made.buffer("held", 2, space);
    loop::Block body;
    if (space == loop::Space::stack) body.push_back(loop::Allocate{held});
    body.push_back(loop::Store{held, zero, loop::real(1, DType::f32)});
    body.push_back(loop::Store{made.y, zero, loop::load(held, one)});
    made.add(std::move(body), false);
    CHECK(without_numbers(fault(made.checked(), 3)) ==
          "kernel k0 reads what nothing has written: held at index %index, whose size is %size  "
          "[hand.cpp:1]");
  }
}

TEST_CASE("checks: what is written behind a buffer of the arena") {
  HandMade made;
  const loop::BufferRef between = made.buffer("between", 16);
  // Held to nothing: one element too far.
  made.add(loop::nest({made.i}, {17}, {loop::Store{between, made.at, loop::load(made.x, zero)}}));
  made.add(
      loop::nest({made.i}, {made.n}, {loop::Store{made.y, made.at, loop::load(between, zero)}}));
  const Program& program = made.finished();
  ProgramCall call(program, {Array::ones({3})});
  const auto code =
      codegen::link_objects(codegen::generate_objects(program, codegen::host_target()));
  kroton_context context = make_serial_context();
  std::vector<void*> args = call.args();
  const std::vector<std::int64_t> sizes = call.sizes();
  REQUIRE(code->entry()(args.data(), sizes.data(), call.arena(), &context) != 0);
  CHECK(program.sites.at(static_cast<std::size_t>(context.error.site)).message ==
        "something was written behind between, outside of every buffer of the arena");
}

TEST_CASE("cuda: checks in programs") {
  const gpu_emulator::TestCuda cuda;
  const auto device_fault = [](const Program& program, std::int64_t n) -> std::string {
    codegen::DeviceProgram device(program, codegen::emit_cuda(program), cuda_device(0), {});
    Array x = Array::ones({n}), y = Array::zeros({n});
    const codegen::ArgumentMemory input{x.raw(), n * 4}, output{y.raw(), n * 4};
    const std::vector<std::int64_t> sizes{n, 1};
    const kroton_error error = device.run(std::span(&input, 1), std::span(&output, 1), sizes);
    if (error.code == KROTON_OK) return "";
    return program.sites.at(static_cast<std::size_t>(error.site)).message;
  };
  HandMade right(true);
  right.copy(zero, zero);
  CHECK(device_fault(right.checked(), 33) == "");
  HandMade past(true);
  past.copy(one, zero);
  CHECK(device_fault(past.checked(), 33) ==
        "kernel k0 writes y at index %index, whose size is %size  [hand.cpp:1]");
}

TEST_CASE("cuda: checks of values") {
  const gpu_emulator::TestCuda cuda;
  const Tensor x = matrix("x", f64);
  const Tensor y = softmax(log(x), 1);
  const auto f = function({x}, {y, dot(x, transpose(x)), sum(x, 0)},
                          {.name = "f", .target = kroton::cuda(), .check = Check::all});
  const auto plain = function({x}, {y, dot(x, transpose(x)), sum(x, 0)}, {.check = Check::off});
  Array value = Array::full({5, 40}, 2.0, f64);
  const auto have = f(value), want = plain(value);
  for (std::size_t k = 0; k < want.size(); ++k) {
    CHECK(difference(from_array(want[k]), have[k], {1e-6, 1e-13}) == "");
  }
  value.data<double>()[7] = 0;
  CHECK(not_finite([&] { f(value); }) ==
        "f: log: the result, f64 (x.shape[0], x.shape[1]), at index 7 is -inf though its operands "
        "are finite  [here]");
  CHECK(not_finite([&] { f(Array::full({5, 40}, 1e200, f64)); }).substr(0, 18) ==
        "f: dot: the result");
}

TEST_CASE("checks: the message of a call") {
  const Tensor x = vector("x", f64);
  const auto f = function({x}, {log(x) + 1.0, x}, {.name = "f", .check = Check::all});
  CHECK(all_close(f(Array::from({1.0, 2.0}))[0], Array::from({1.0, 1 + std::log(2.0)})));
  CHECK(not_finite([&] { f(Array::from({1.0, 0.0, 2.0})); }) ==
        "f: log: the result, f64 (x.shape[0],), at index 1 is -inf though its operands are finite  "
        "[here]");
  CHECK(not_finite([&] { f(Array::from({1.0, -2.0, 2.0})); }) ==
        "f: log: the result, f64 (x.shape[0],), at index 1 is NaN though its operands are finite  "
        "[here]");
  // What comes in is not the function's doing.
  const auto [y, same] = f(Array::from({1.0, infinity, std::nan("")}));
  CHECK(y.data<double>()[1] == infinity);
  CHECK(std::isnan(y.data<double>()[2]));
}

TEST_CASE("checks: values of every kind of kernel") {
  const Tensor x = matrix("x", f64);
  const auto says = [&](const Tensor& y, const Array& value, const std::string& op) {
    CAPTURE(op);
    const auto f = function({x}, y, {.check = Check::values});
    CHECK_NOTHROW(f(Array::full({3, 3}, 1.0, f64)));
    const std::string message = not_finite([&] { f(value); });
    CHECK(message.substr(0, message.find(", ")) ==
          (op.empty() ? "no error" : "function: " + op + ": the result"));
  };
  const Array large = Array::full({3, 3}, 1e200, f64);
  says(x * x, large, "mul");
  says(sum(x * 1e108, 1), Array::full({3, 3}, 1e200, f64), "sum");
  says(sum(x * 1e108), Array::full({3, 3}, 1e200, f64), "sum");
  says(prod(x, 0), large, "prod");
  says(dot(x, x), large, "dot");
  says(dot(x, x) * 0.5, large, "dot");
  says(cast(x, f32), large, "cast");
  says(max(x, 1), Array::full({3, 3}, infinity, f64), "");
  says(softmax(x, 1), Array::full({3, 3}, 1e300, f64), "");
  says(scatter_add(x, zeros({3}, i64), {1, 3}), Array::full({3, 3}, 1e308, f64), "scatter_add");
  const Tensor stepped = scan([](Tensor row, Tensor h) { return h * row * 1e3; },
                              {.sequences = {x}, .outputs_info = {ones({3}, f64)}});
  says(stepped, Array::full({3, 3}, 1e120, f64), "mul");
}

TEST_CASE("checks: a side that is not taken is not looked at") {
  const Tensor x = vector("x", f64);
  const Tensor safe = where(x > 0.0, log(x), 0.0);
  const auto f = function({x}, {safe, grad(sum(safe), x)}, {.check = Check::all});
  const auto [y, g] = f(Array::from({-2.0, 1.0, -1.0, 2.0}));
  CHECK(all_close(y, Array::from({0.0, 0.0, 0.0, std::log(2.0)})));
  CHECK(all_close(g, Array::from({0.0, 1.0, 0.0, 0.5})));
  // 0 / 0: a gradient of 0 does not help.
  CHECK(not_finite([&] { f(Array::from({0.0})); }) ==
        "function: div: the result, f64 (x.shape[0],), at index 0 is NaN though its operands are "
        "finite  [here]");
  const auto taken = function({x}, where(x > -1.0, log(x), 0.0), {.check = Check::values});
  CHECK(not_finite([&] { taken(Array::from({1.0, 0.0})); }) ==
        "function: log: the result, f64 (x.shape[0],), at index 1 is -inf though its operands are "
        "finite  [here]");
  const Tensor c = scalar("c", boolean);
  const auto lazy = function({c, x}, ifelse(c, sum(log(x)), sum(x)), {.check = Check::all});
  CHECK(lazy(0, Array::from({0.0, -1.0})).item<double>() == -1.0);
  CHECK(not_finite([&] { lazy(1, Array::from({0.0, -1.0})); }) != "no error");
}

TEST_CASE("checks: after an error shared variables are as before") {
  const Shared w = shared(Array::from({1.0, 2.0}), "w");
  const Shared count = shared(Array::full({}, 0, i64), "count");
  const Tensor x = vector("x", f64);
  const auto train = function({x}, sum(log(x)),
                              {.updates = {{w, w * x}, {count, count + 1}}, .check = Check::all});
  train(Array::from({1.0, 3.0}));
  CHECK(all_close(w.get_value(), Array::from({1.0, 6.0})));
  CHECK(not_finite([&] { train(Array::from({1.0, 0.0})); }) != "no error");
  const auto overflow =
      function({}, std::vector<Tensor>{}, {.updates = {{w, w * 1e308}}, .check = Check::all});
  CHECK(not_finite([&] { overflow(); }) != "no error");
  CHECK(all_close(w.get_value(), Array::from({1.0, 6.0})));
  CHECK(count.get_value().item<std::int64_t>() == 1);
}

TEST_CASE("checks: KROTON_CHECK") {
  const auto checks = [](const char* value) {
    const cache_test::Setting setting("KROTON_CHECK", value);
    const Checks found = Checks::from_environment();
    return std::string(found.memory ? "memory " : "") + (found.values ? "values" : "");
  };
  CHECK(checks("0") == "");
  CHECK(checks("") == "");
  CHECK(checks("1") == "memory values");
  CHECK(checks("memory") == "memory ");
  CHECK(checks("values") == "values");
  CHECK(value_error([&] { checks("yes"); }) ==
        "KROTON_CHECK is \"yes\", expected 0, 1, memory or values");
  const cache_test::Setting setting("KROTON_CHECK", "values");
  const Tensor x = vector("x", f64);
  const auto asked = function({x}, log(x));
  const auto not_asked = function({x}, log(x), {.check = Check::off});
  CHECK(not_finite([&] { asked(Array::from({0.0})); }) != "no error");
  CHECK(not_asked(Array::from({0.0})).item<double>() == -infinity);
}

TEST_CASE("checks: programs that are right compute the same") {
  const Dim n = dim("n");
  const Tensor x = tensor("x", {n, 33});
  const Tensor a = tensor("a", {17, 33});
  const Tensor v = tensor("v", {33});
  const Tensor ids = tensor("ids", {n}, i64);
  const Tensor stepped = scan([&](Tensor row, Tensor h) { return tanh(h * 0.5 + row * v); },
                              {.sequences = {x}, .outputs_info = {zeros({33})}});
  const Tensor h = softmax(relu(dot(x, transpose(a)) + 1.0), 1);
  const Tensor cost = -mean(log(pick(h, ids)));
  const std::vector<Tensor> outputs{softmax(x, 1),
                                    dot(a, v),
                                    dot(x, v),
                                    dot(transpose(a), a),
                                    sum(x, 0),
                                    sum(x),
                                    argmax(x, 1),
                                    stepped,
                                    grad(cost, a),
                                    take(exp(x), ids),
                                    concatenate({x, a}, 0)};
  const std::vector<Tensor> inputs{x, a, v, ids};
  const auto plain = function(inputs, outputs, {.check = Check::off});
  const auto memory = function(inputs, outputs, {.check = Check::memory});
  const auto all = function(inputs, outputs, {.check = Check::all});
  for (const std::int64_t rows : {1, 5, 40}) {
    CAPTURE(rows);
    const std::vector<Array> values{Array::normal({rows, 33}, 1), Array::normal({17, 33}, 2),
                                    Array::normal({33}, 3), Array::zeros({rows}, i64)};
    const auto call = [&](const auto& f) { return f(values[0], values[1], values[2], values[3]); };
    const std::vector<Array> want = call(plain), held = call(memory), watched = call(all);
    for (std::size_t k = 0; k < want.size(); ++k) {
      CAPTURE(k);
      CHECK(difference(from_array(want[k]), held[k], {0, 0}) == "");
      // More is accumulated at once: sums may be added up in another order.
      CHECK(difference(from_array(want[k]), watched[k]) == "");
    }
  }
}

TEST_CASE("checks: samples and gradients of every op are the same, and accesses are right") {
  const QuickCode quick;
  const cache_test::Setting setting("KROTON_CHECK", "memory");
  for (const OpRecord* op : all_ops()) {
    std::vector<Trial> trials;
    for (const std::vector<Trial>& all :
         {value_trials(*op, false), value_trials(*op, true), gradient_trials(*op, true)}) {
      for (const Trial& trial : at_most(all, std::min<std::size_t>(all.size() / 5 + 1, 4))) {
        trials.push_back(trial);
      }
    }
    check_trials(trials);
  }
}

}  // namespace test_checks
