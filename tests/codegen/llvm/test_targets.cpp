// The code for older processors gives the same results as the reference, here on this processor.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "compiler/codegen/llvm/jit.h"
#include "compiler/ir/graph.h"
#include "compiler/ir/reference.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "runtime/pool.h"

namespace kt = kroton;

namespace {

// y = relu(x·w + b), the softmax of its rows and products of y, for x of 17 rows, compiled for
// `target`.
void check_target(const kt::codegen::CpuTarget& target) {
  const auto x = kt::tensor("x", {kt::dim("rows"), 19});
  const auto w = kt::tensor("w", {19, 21});
  const auto b = kt::tensor("b", {21});
  const std::vector<kt::Tensor> inputs{x, w, b};
  const kt::Tensor y = kt::relu(kt::dot(x, w) + b);
  const std::vector<kt::Tensor> outputs{y, kt::softmax(y, 1), kt::sum(kt::tanh(y), 0),
                                        kt::dot(y, kt::transpose(w)), kt::dot(kt::transpose(y), x)};
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  const kt::Program program = kt::lower(graph, "f", target.machine);
  const auto code = kt::codegen::link_objects(kt::codegen::generate_objects(program, target));

  const kt::Array xs = kt::Array::normal({17, 19}, 1);
  const kt::Array ws = kt::Array::normal({19, 21}, 2);
  const kt::Array bs = kt::Array::normal({21}, 3);
  std::vector<kt::Array> results{kt::Array::empty({17, 21}), kt::Array::empty({17, 21}),
                                 kt::Array::empty({21}), kt::Array::empty({17, 19}),
                                 kt::Array::empty({21, 19})};
  kroton_context context = kt::make_serial_context();
  std::vector<std::int64_t> sizes;
  const auto value_of = [](const kt::DimAtom& atom) -> std::int64_t {
    return atom.name == "rows" ? 17 : 1;
  };
  for (const kt::DimAtomRef& atom : program.sizes) sizes.push_back(value_of(*atom));
  std::vector<std::byte> memory(static_cast<std::size_t>(program.arena_bytes.evaluate(value_of)) +
                                64);
  auto* arena = reinterpret_cast<std::byte*>(
      (reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64);
  std::vector<void*> args{const_cast<void*>(xs.raw()), const_cast<void*>(ws.raw()),
                          const_cast<void*>(bs.raw())};
  for (kt::Array& result : results) args.push_back(result.raw());
  REQUIRE(code->entry()(args.data(), sizes.data(), arena, &context) == 0);

  const auto expected = kt::evaluate(outputs, {{&x.node(), kt::from_array(xs)},
                                               {&w.node(), kt::from_array(ws)},
                                               {&b.node(), kt::from_array(bs)}});
  for (std::size_t k = 0; k < results.size(); ++k) {
    CHECK(kt::all_close(results[k], kt::to_array(expected[k]), 1e-5, 1e-5));
  }
}

}  // namespace

TEST_CASE("code for x86-64-v2: 16-byte vectors, no fused multiply-add") {
  check_target({"x86-64-v2", "", kt::x86_machine(16)});
}

TEST_CASE("code for x86-64-v3: 32-byte vectors, 16 registers") {
  const kt::codegen::CpuTarget host = kt::codegen::host_target();
  // On a processor without AVX2 this code cannot run; the host's own is checked instead.
  check_target(host.machine.vector_bytes >= 32
                   ? kt::codegen::CpuTarget{"x86-64-v3", "", kt::x86_machine(32)}
                   : host);
}

TEST_CASE("code for this processor") { check_target(kt::codegen::host_target()); }
