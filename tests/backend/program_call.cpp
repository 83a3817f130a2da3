#include "tests/backend/program_call.h"

using namespace kroton;  // NOLINT: tests

namespace backend_test {

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
  for (const Step& step : steps) {
    if (const auto* branch = std::get_if<std::shared_ptr<const Branch>>(&step.kind)) {
      const auto* taken = static_cast<const std::uint8_t*>(address((*branch)->condition));
      const auto fault = interpret(*taken != 0 ? (*branch)->then_steps : (*branch)->else_steps);
      if (fault) return fault;
      continue;
    }
    const auto& kernel = std::get<loop::Kernel>(step.kind);
    loop::Memory memory;
    memory.size_of = [this](const DimAtom& atom) { return values_.at(atom.identity); };
    for (const auto* list : {&kernel.inputs, &kernel.outputs}) {
      for (const loop::BufferRef& buffer : *list) {
        memory.buffers[buffer->id] = {address(buffer), value(buffer->size)};
      }
    }
    if (auto fault = loop::interpret(kernel, memory)) return fault;
  }
  return std::nullopt;
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

void* ProgramCall::address(const loop::BufferRef& buffer) {
  const Placement& place = program_.placements.at(buffer->id);
  switch (place.kind) {
    case Placement::Kind::argument:
      return arrays_.at(static_cast<std::size_t>(place.argument)).raw();
    case Placement::Kind::constant:
      // Kernels only read it.
      return const_cast<void*>(
          program_.constants.at(static_cast<std::size_t>(place.argument)).raw());
    default:
      return static_cast<std::byte*>(arena_.raw()) + value(place.offset);
  }
}

}  // namespace backend_test
