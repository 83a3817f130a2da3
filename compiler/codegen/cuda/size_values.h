// What the host knows in a call of a Program: the sizes, and where its loops are.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "compiler/lower/program.h"

namespace kroton::codegen {

class SizeValues {
 public:
  explicit SizeValues(const Program& program) : program_(program) {}

  // The values of Program::sizes.
  void set(std::span<const std::int64_t> sizes);
  // Of a loop's variable, as long as it runs.
  void begin(const loop::Variable& variable, std::int64_t value) {
    variables_[variable.id] = value;
  }
  void end(const loop::Variable& variable) { variables_.erase(variable.id); }
  void end_all() { variables_.clear(); }

  // InternalError for what is not known.
  std::int64_t of(const DimAtom& size) const;
  std::int64_t of(const Dim& dim) const;
  std::int64_t of(const loop::Expr& e) const;

 private:
  const Program& program_;
  std::map<std::uint64_t, std::int64_t> sizes_;  // by the variable's identity
  std::map<int, std::int64_t> variables_;        // by id
};

}  // namespace kroton::codegen
