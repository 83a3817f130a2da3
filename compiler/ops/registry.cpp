#include "compiler/ops/records.h"

namespace kroton {

std::span<const OpRecord* const> all_ops() {
#define KROTON_ADDRESS(name) &name##_op,
  static constexpr const OpRecord* records[] = {KROTON_EACH_OP(KROTON_ADDRESS)};
#undef KROTON_ADDRESS
  return records;
}

const OpRecord& op_named(std::string_view name) {
  for (const OpRecord* record : all_ops()) {
    if (record->name == name) {
      return *record;
    }
  }
  throw InternalError("op_named: there is no op \"" + std::string(name) + "\"");
}

}  // namespace kroton
