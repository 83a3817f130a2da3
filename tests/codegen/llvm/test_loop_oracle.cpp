// The kernels of whole functions, run by the loop interpreter and as machine code: what the code
// generator prints is what the loop IR says.
#include <doctest/doctest.h>

#include "compiler/codegen/llvm/jit.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "runtime/pool.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/program_call.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

void run(ProgramCall& call, const codegen::CompiledProgram& code) {
  std::vector<void*> args = call.args();
  const std::vector<std::int64_t> sizes = call.sizes();
  kroton_context context = make_serial_context();
  REQUIRE(code.entry()(args.data(), sizes.data(), call.arena(), &context) == 0);
}

// Elementwise results are the same bits; sums are added up in another order by the interpreter,
// which runs vector loops one lane after the other.
void check(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
           const std::vector<std::pair<Shared, Tensor>>& updates,
           const std::vector<std::vector<Array>>& calls, bool same_bits) {
  Graph graph(inputs, outputs, updates);
  run_passes(graph);
  const codegen::CpuTarget target = codegen::host_target();
  const Program program = lower(graph, "oracle", target.machine);
  const auto code = codegen::link_objects(codegen::generate_objects(program, target));
  for (const std::vector<Array>& values : calls) {
    ProgramCall by_loops(program, values);
    ProgramCall by_code(program, values);
    REQUIRE(!by_loops.interpret());
    run(by_code, *code);
    for (std::size_t k = 0; k < by_code.arrays().size(); ++k) {
      const Array& want = by_loops.arrays()[k];
      const Array& have = by_code.arrays()[k];
      CAPTURE(k);
      CHECK(difference(from_array(want), have,
                       same_bits ? Tolerance{0, 0} : Tolerance{2e-6, 1e-14}) == "");
    }
  }
}

}  // namespace

TEST_CASE("loop interpreter and machine code agree: elementwise") {
  const Tensor x = matrix("x");
  const Tensor v = vector("v");
  const Tensor d = vector("d", f64);
  const Tensor i = vector("i", i64);
  const std::vector<Tensor> outputs = {exp(x) + v,
                                       tanh(x) * log1p(abs(x)),
                                       transpose(x) / (1 + square(transpose(x))),
                                       where(x > v, x, -v),
                                       sin(d) + erf(d),
                                       floor(d * 3) + pow(abs(d), 1.5),
                                       i % 3 + cast(d, i64),
                                       sigmoid(x)(slice(end, end, -1)),
                                       take(x, i % 3 - 3),
                                       concatenate({x, x * 2}, 1),
                                       one_hot(i % 5, 5)};
  std::vector<std::vector<Array>> calls;
  for (const std::int64_t n : {1, 3, 17, 40}) {
    calls.push_back({random_array({3, n}, f32, 1), random_array({n}, f32, 2),
                     random_array({n}, f64, 3), random_array({n}, i64, 4)});
  }
  check({x, v, d, i}, outputs, {}, calls, true);
}

TEST_CASE("loop interpreter and machine code agree: reductions and row kernels") {
  const Tensor x = matrix("x");
  const Tensor d = matrix("d", f64);
  const std::vector<Tensor> outputs = {softmax(x),   sum(x, 0),  sum(x),     max(x, 1),
                                       argmax(x, 1), mean(d, 0), prod(d, 1), var(d)};
  std::vector<std::vector<Array>> calls;
  for (const std::int64_t n : {1, 3, 17, 70}) {
    calls.push_back({random_array({5, n}, f32, 1), random_array({n, 4}, f64, 2)});
  }
  check({x, d}, outputs, {}, calls, false);
}

TEST_CASE("loop interpreter and machine code agree: products and a training step") {
  const Tensor x = matrix("x");
  const Tensor labels = vector("labels", i64);
  const Shared w1 = shared(Array::normal({33, 20}, 1), "w1");
  const Shared b1 = shared(Array::normal({20}, 2), "b1");
  const Shared w2 = shared(Array::normal({20, 5}, 3), "w2");
  const Tensor hidden = relu(dot(x, w1) + b1);
  const Tensor loss = mean(softmax_cross_entropy(dot(hidden, w2), labels));
  const auto [g1, gb, g2] = grad(loss, w1, b1, w2);
  std::vector<std::vector<Array>> calls;
  for (const std::int64_t rows : {1, 3, 17}) {
    Array classes = Array::zeros({rows}, i64);
    for (std::int64_t k = 0; k < rows; ++k) {
      classes.data<std::int64_t>()[static_cast<std::size_t>(k)] = k % 5;
    }
    calls.push_back({random_array({rows, 33}, f32, 4), classes});
  }
  check({x, labels}, {loss, dot(transpose(hidden), x)},
        {{w1, w1 - 0.1 * g1}, {b1, b1 - 0.1 * gb}, {w2, w2 - 0.1 * g2}}, calls, false);
}
