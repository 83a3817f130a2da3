// The kernels of whole functions, run by the loop interpreter and as machine code: what the code
// generator prints is what the loop IR says.
#include <doctest/doctest.h>

#include "compiler/codegen/llvm/jit.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "runtime/pool.h"
#include "tests/backend/backend_tools.h"
#include "tests/backend/program_call.h"

using namespace kroton;        // NOLINT: tests
using namespace backend_test;  // NOLINT: tests

namespace {

<<<<<<< HEAD
// A Program, and the memory of one call of it.
class Call {
 public:
  Call(const Program& program, const std::vector<Array>& inputs) : program_(program) {
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      arrays_.push_back(inputs[k].copy());
      const Dims& dims = program.inputs[k].shape;
      for (std::size_t axis = 0; axis < dims.size(); ++axis) {
        const DimAtomRef atom = dims[axis].as_variable();
        if (atom) values_[atom->identity] = inputs[k].shape()[static_cast<int>(axis)];
      }
    }
    values_[worker_count().as_variable()->identity] = 1;
    for (const auto& state : program.states) arrays_.push_back(state->value.copy());
    for (const TensorType& type : program.outputs) {
      Shape shape;
      for (const Dim& dim : type.shape) shape.push_back(value(dim));
      arrays_.push_back(Array::zeros(shape, type.dtype));
    }
    arena_ = Array::zeros({value(program.arena_bytes) / 8 + 8}, i64);
  }

  void interpret() { interpret(program_.steps); }

  void run(const codegen::CompiledProgram& code) {
    std::vector<void*> args;
    for (Array& array : arrays_) args.push_back(array.raw());
    std::vector<std::int64_t> sizes;
    for (const DimAtomRef& atom : program_.sizes) sizes.push_back(values_.at(atom->identity));
    kroton_context context = make_serial_context();
    REQUIRE(code.entry()(args.data(), sizes.data(), arena_.raw(), &context) == 0);
  }

  // Inputs, shared variables, outputs.
  const std::vector<Array>& arrays() const { return arrays_; }

 private:
  void interpret(const std::vector<Step>& steps) {
    for (const Step& step : steps) {
      if (const auto* branch = std::get_if<std::shared_ptr<const Branch>>(&step.kind)) {
        const auto* taken = static_cast<const std::uint8_t*>(
            address(program_.placements.at((*branch)->condition->id)));
        interpret(*taken != 0 ? (*branch)->then_steps : (*branch)->else_steps);
        continue;
      }
      const auto& kernel = std::get<loop::Kernel>(step.kind);
      loop::Memory memory;
      memory.size_of = [this](const DimAtom& atom) { return values_.at(atom.identity); };
      for (const auto* list : {&kernel.inputs, &kernel.outputs}) {
        for (const loop::BufferRef& buffer : *list) {
          memory.buffers[buffer->id] = {address(program_.placements.at(buffer->id)),
                                        value(buffer->size)};
        }
      }
      REQUIRE(!loop::interpret(kernel, memory));
    }
  }

  std::int64_t value(const Dim& dim) const {
    return dim.evaluate([this](const DimAtom& atom) { return values_.at(atom.identity); });
  }

  void* address(const Placement& place) {
    switch (place.kind) {
      case Placement::Kind::argument:
        return arrays_.at(static_cast<std::size_t>(place.argument)).raw();
      case Placement::Kind::constant:
        // The interpreter only reads it.
        return const_cast<void*>(
            program_.constants.at(static_cast<std::size_t>(place.argument)).raw());
      default:
        return static_cast<std::byte*>(arena_.raw()) + value(place.offset);
    }
  }

  const Program& program_;
  std::map<std::uint64_t, std::int64_t> values_;
  std::vector<Array> arrays_;
  Array arena_;
};
=======
void run(ProgramCall& call, const codegen::CompiledProgram& code) {
  std::vector<void*> args = call.args();
  const std::vector<std::int64_t> sizes = call.sizes();
  kroton_context context = make_serial_context();
  REQUIRE(code.entry()(args.data(), sizes.data(), call.arena(), &context) == 0);
}
>>>>>>> cuda

// Elementwise results are the same bits; sums are added up in another order by the interpreter,
// which runs vector loops one lane after the other.
void check(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
           const std::vector<std::pair<Shared, Tensor>>& updates,
           const std::vector<std::vector<Array>>& calls, bool same_bits) {
  Graph graph(inputs, outputs, updates);
  run_passes(graph);
  const codegen::CpuTarget target = codegen::host_target();
  const Program program = lower(graph, "oracle", {false, target.vector_bytes});
  const auto code = codegen::link_object(codegen::generate_object(program, target), program.name);
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
