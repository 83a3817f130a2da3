#include "compiler/codegen/cuda/size_values.h"

#include <kroton/error.h>

#include <algorithm>

namespace kroton::codegen {
namespace {

std::int64_t floor_quotient(std::int64_t a, std::int64_t b) {
  return b == 0 ? 0 : a / b - ((a % b != 0) && ((a < 0) != (b < 0)) ? 1 : 0);
}

}  // namespace

void SizeValues::set(std::span<const std::int64_t> sizes) {
  for (std::size_t k = 0; k < sizes.size(); ++k) sizes_[program_.sizes[k]->identity] = sizes[k];
}

std::int64_t SizeValues::of(const DimAtom& size) const {
  const auto found = sizes_.find(size.identity);
  if (found == sizes_.end()) {
    throw InternalError("cuda: " + program_.name + " does not get the size " + size.name);
  }
  return found->second;
}

std::int64_t SizeValues::of(const Dim& dim) const {
  if (dim.is_constant()) return dim.constant();
  return dim.evaluate([&](const DimAtom& size) { return of(size); });
}

std::int64_t SizeValues::of(const loop::Expr& e) const {
  const auto argument = [&](std::size_t k) { return of(e->args[k]); };
  switch (e->op) {
    case loop::Op::integer:
      return e->integer;
    case loop::Op::size:
      return of(e->dim);
    case loop::Op::variable:
      if (const auto found = variables_.find(e->variable.id); found != variables_.end()) {
        return found->second;
      }
      break;
    case loop::Op::add:
      return argument(0) + argument(1);
    case loop::Op::sub:
      return argument(0) - argument(1);
    case loop::Op::mul:
      return argument(0) * argument(1);
    case loop::Op::neg:
      return -argument(0);
    case loop::Op::min:
      return std::min(argument(0), argument(1));
    case loop::Op::max:
      return std::max(argument(0), argument(1));
    case loop::Op::floor_div:
      return floor_quotient(argument(0), argument(1));
    case loop::Op::mod:
      return argument(1) == 0
                 ? 0
                 : argument(0) - floor_quotient(argument(0), argument(1)) * argument(1);
    default:
      break;
  }
  throw InternalError("cuda: the host cannot evaluate " + loop::to_string(e) + " of " +
                      program_.name);
}

}  // namespace kroton::codegen
