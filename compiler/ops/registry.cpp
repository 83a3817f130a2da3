// The list of op families.
#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"

namespace kroton {

namespace {

std::vector<const OpRecord*> collect() {
  std::vector<const OpRecord*> records;
  for (const Family family :
       {leaf_family(), unary_family(), elementary_family(), binary_family(), compare_family(),
        shape_family(), join_family(), reduce_family(), prod_others_family(), dot_family(),
        index_family(), branch_family(), softmax_family(), loop_family(), call_family(),
        print_family()}) {
    records.insert(records.end(), family.begin(), family.end());
  }
  return records;
}

}  // namespace

std::span<const OpRecord* const> all_ops() {
  // Never destroyed, as every table here: static destructors may use them.
  static const auto& records = *new std::vector<const OpRecord*>(collect());
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
