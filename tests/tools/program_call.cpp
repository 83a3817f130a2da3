#include "tests/tools/program_call.h"

#include "compiler/ops/call.h"

using namespace kroton;  // NOLINT: tests

namespace compiled_test {

ProgramCall::ProgramCall(const Program& program, const std::vector<Array>& inputs)
    : program_(program) {
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

std::optional<loop::IndexFault> ProgramCall::interpret() { return interpret(program_.steps); }

std::optional<loop::IndexFault> ProgramCall::interpret(const std::vector<Step>& steps) {
  using Fault = std::optional<loop::IndexFault>;
  for (const Step& step : steps) {
    const Fault fault = visit(
        step,
        [this](const loop::Kernel& kernel) -> Fault {
          loop::Memory memory;
          memory.size_of = [this](const DimAtom& atom) { return values_.at(atom.identity); };
          for (const auto* list : {&kernel.inputs, &kernel.outputs}) {
            for (const loop::BufferRef& buffer : *list) {
              memory.buffers[buffer->id] = {address(buffer), value(buffer->size)};
            }
          }
          return loop::interpret(kernel, memory);
        },
        [this](const Scan& scan) -> Fault {
          const std::int64_t extent = value(scan.extent);
          for (std::int64_t k = 0; k < extent; ++k) {
            steps_[scan.variable.id] = k;
            if (const Fault inside = interpret(scan.steps)) return inside;
          }
          return std::nullopt;
        },
        [this](const Branch& branch) -> Fault {
          const auto* taken = static_cast<const std::uint8_t*>(address(branch.condition));
          return interpret(*taken != 0 ? branch.then_steps : branch.else_steps);
        },
        [this](const Call& call) -> Fault {
          if (call.callee) invoke(call);
          return std::nullopt;
        });
    if (fault) return fault;
  }
  return std::nullopt;
}

void ProgramCall::invoke(const Call& call) {
  std::vector<void*> arrays;
  std::vector<std::int64_t> sizes;
  for (const auto* list : {&call.inputs, &call.outputs}) {
    for (const Call::Value& given : *list) {
      arrays.push_back(address(given.buffer));
      for (const Dim& dim : given.type.shape) sizes.push_back(value(dim));
    }
  }
  const Callee& callee = *call.callee;
  if (kroton::invoke(callee, callee.options.function, arrays, sizes).code != KROTON_OK) {
    throw ExternalError(call.title());
  }
}

std::vector<Array> ProgramCall::outputs() const {
  return {arrays_.end() - static_cast<std::ptrdiff_t>(program_.outputs.size()), arrays_.end()};
}

std::vector<void*> ProgramCall::args() {
  std::vector<void*> result;
  for (Array& array : arrays_) result.push_back(array.raw());
  return result;
}

std::vector<std::int64_t> ProgramCall::sizes() const {
  std::vector<std::int64_t> result;
  for (const DimAtomRef& atom : program_.sizes) result.push_back(values_.at(atom->identity));
  return result;
}

std::int64_t ProgramCall::value(const Dim& dim) const {
  return dim.evaluate([this](const DimAtom& atom) { return values_.at(atom.identity); });
}

std::int64_t ProgramCall::number(const loop::Expr& e) const {
  std::vector<std::int64_t> args;
  for (const loop::Expr& arg : e->args) args.push_back(number(arg));
  switch (e->op) {
    case loop::Op::integer:
      return e->integer;
    case loop::Op::size:
      return value(e->dim);
    case loop::Op::variable:
      return steps_.at(e->variable.id);
    case loop::Op::add:
      return args[0] + args[1];
    case loop::Op::sub:
      return args[0] - args[1];
    case loop::Op::mul:
      return args[0] * args[1];
    case loop::Op::mod:
      return args[0] % args[1];
    default:
      throw InternalError("not the start of a part: " + loop::to_string(e));
  }
}

void* ProgramCall::address(const loop::BufferRef& buffer) {
  const Placement& place = program_.placements.at(buffer->id);
  switch (place.kind) {
    case Placement::Kind::argument:
      return arrays_.at(static_cast<std::size_t>(place.argument)).raw();
    case Placement::Kind::constant:
      // Kernels only read it.
      return const_cast<void*>(
          program_.constants.at(static_cast<std::size_t>(place.argument)).raw());
    case Placement::Kind::part:
      return static_cast<std::byte*>(address(place.of)) +
             number(place.start) * static_cast<std::int64_t>(size_of(buffer->dtype));
    default:
      return static_cast<std::byte*>(arena_.raw()) + value(place.offset);
  }
}

}  // namespace compiled_test
